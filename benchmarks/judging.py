"""Which style image belongs to which row, and whether style can be judged here at all; `style.py` does the judging."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..video.files import InputError, sha256_of
from ..video.frames import read_image
from .clips import Frame
from .report import Method
from .steadiness import IDENTITY, Judge

StyleImages = str | Path | Mapping[str, str | Path] | None
"""One style image for every method, or images by the name of a method or of its style ("" for all others)."""


def parse_style_options(options: Sequence[str]) -> dict[str, str]:
    """Turn the command line's `--style IMAGE` and `--style NAME=IMAGE` into `StyleImages`.

    Args:
        options: what was given, in order.

    Raises:
        InputError: two images for one name.
    """
    images: dict[str, str] = {}
    for option in options:
        # An existing file is a file, whatever its name looks like.
        name, equals, path = ("", "", "") if Path(option).exists() else option.partition("=")
        key, value = (name, path) if equals else ("", option)
        if key in images:
            raise InputError(
                f"there are two style images for {key or 'all methods'}: give one, or NAME=IMAGE for each method"
            )
        images[key] = value
    return images


@dataclass(frozen=True)
class StyleImage:
    """A style image that was read.

    Attributes:
        file: the file's name.
        sha256: of the file.
        image: (H, W, 3) uint8 RGB.
    """

    file: str
    sha256: str
    image: Frame


def read_style_images(images: StyleImages) -> dict[str, StyleImage]:
    """Read the style images.

    Raises:
        InputError: one is missing or not an image.
    """
    by_name = images if isinstance(images, Mapping) else {} if images is None else {"": images}
    return {name: _read(Path(file)) for name, file in by_name.items()}


def _read(path: Path) -> StyleImage:
    image = read_image(path)
    return StyleImage(path.name, sha256_of(path), image)


@dataclass(frozen=True)
class Judging:
    """Whether and how style is judged.

    Attributes:
        judge: None where it cannot be.
        absent: why, by the figure's name.
        settings: for the report.
    """

    judge: Judge | None
    absent: dict[str, str]
    settings: dict[str, Any] = field(default_factory=dict)


def open_judging(
    methods: Sequence[Method],
    images: Mapping[str, StyleImage],
    loss_network: str | Path | None,
    styles: Mapping[str, str],
) -> Judging:
    """Open the loss network and give each row its style image.

    Args:
        methods: the rows.
        images: see `StyleImages`.
        loss_network: VGG-19 weights; None takes the environment variable STEADYSTYLE_LOSS_NETWORK, and style is
            absent without it.
        styles: name of the style of each method that has one.

    Raises:
        InputError: an image is for a method that is not there, or the given weights cannot be used.
    """
    known = {method.name for method in methods} | set(styles.values()) | {""}
    for name in images:
        if name not in known:
            names = ", ".join(sorted(method.name for method in methods if method.control is None))
            raise InputError(f"there is no method or style '{name}' for a style image: choose one of {names}")
    chosen: dict[str, StyleImage] = {}
    for method in methods:
        made_by = method.of or method.name
        keys = [made_by, styles.get(made_by, ""), ""]
        # Identity is measured against itself, so any style image gives it the score 1.
        keys += list(images) if method.name == IDENTITY else []
        found = [images[key] for key in keys if key in images]
        if found:
            chosen[method.name] = found[0]
    settings: dict[str, Any] = {
        "style images": {name or "all": f"{image.file}, SHA-256 {image.sha256}" for name, image in images.items()}
    }
    try:
        from ..train.style_score import StyleJudge
    except ModuleNotFoundError as error:
        reason = f"{error.name} is not installed (pip install 'steadystyle[train]')"
        return Judging(None, {"score": reason, "content": reason}, settings)
    path = None if loss_network is None else Path(loss_network)
    try:
        judge = StyleJudge(path, {name: style.image for name, style in chosen.items()})
    except InputError as error:
        if path is not None:
            raise
        return Judging(None, {"score": str(error), "content": str(error)}, settings)
    settings |= {
        "loss network": judge.loss_network,
        "style layers": ", ".join(judge.style_layers),
        "content layer": judge.content_layer,
    }
    return Judging(judge, {} if chosen else {"score": "no style image was given (--style)"}, settings)
