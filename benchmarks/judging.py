"""Assigns style images to rows and opens the loss networks; `train/loss/style_score.py` computes the scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..common.arrays import Image
from ..common.files import InputError, sha256_of
from ..video.frames import read_image
from .measure.steadiness import IDENTITY, Judge
from .record import JUDGED, Method

StyleImages = Mapping[str, str | Path]
"""Style images by method or style name, "" for all others."""


@dataclass(frozen=True)
class StyleImage:
    """A style image, (H, W, 3) uint8 RGB, with its file name and the file's SHA-256."""

    file: str
    image: Image
    sha256: str


def read_style_images(images: StyleImages) -> dict[str, StyleImage]:
    """Read the style images; InputError if one is missing or not an image."""
    paths = {name: Path(file) for name, file in images.items()}
    return {name: StyleImage(path.name, read_image(path), sha256_of(path)) for name, path in paths.items()}


@dataclass(frozen=True)
class Judging:
    """How style is judged: `judge` is None if impossible, `absent` has a reason for each missing figure."""

    judge: Judge | None
    absent: dict[str, str]
    settings: dict[str, Any] = field(default_factory=dict)


def open_judging(
    methods: Sequence[Method],
    images: Mapping[str, StyleImage],
    loss_networks: Sequence[str | Path],
    styles: Mapping[str, str],
    style_sizes: Mapping[str, int] = {},
) -> Judging:
    """Open the loss networks and give each row its style image.

    `images` are as in `StyleImages`. `loss_networks` are VGG-19 weights (style and content score), VGG-16 weights
    (stroke score), or both; none means the environment variable STEADYSTYLE_LOSS_NETWORK, and figures without weights
    are absent. `styles` has the style's name, `style_sizes` the shorter side of the style image in training in px, both
    by method, where known. InputError if an image is for an unknown method, or the given weights cannot be used.
    """
    known = {method.name for method in methods} | set(styles.values()) | {""}
    for name in images:
        if name not in known:
            names = ", ".join(sorted(method.name for method in methods if method.control is None))
            raise InputError(f"there is no method or style '{name}' for a style image: choose one of {names}")
    chosen: dict[str, Image] = {}
    for method in methods:
        made_by = method.of or method.name
        # Identity is compared with itself, so any style image gives the score 1.
        keys = [made_by, styles.get(made_by, ""), "", *(images if method.name == IDENTITY else ())]
        found = [images[key].image for key in keys if key in images]
        if found:
            chosen[method.name] = found[0]
    settings: dict[str, Any] = {
        "style images": {name or "all": f"{image.file}, SHA-256 {image.sha256}" for name, image in images.items()}
    }
    try:
        from ..train.loss.style_score import StyleJudge
    except ModuleNotFoundError as error:
        reason = f"{error.name} is not installed (pip install 'steadystyle[train]')"
        return Judging(None, dict.fromkeys(JUDGED, reason), settings)
    makers = {method.name: method.of or method.name for method in methods}
    sides = {row: style_sizes[maker] for row, maker in makers.items() if maker in style_sizes}
    lacking = ""
    try:
        judge = StyleJudge([Path(file) for file in loss_networks] or None, chosen, own_sides=sides)
    except InputError as error:
        if loss_networks:
            raise
        lacking = str(error)
        judge = StyleJudge([], chosen)
    absent = {} if chosen else dict.fromkeys(JUDGED, "no style image was given (--style)")
    absent.pop("content", None)
    if not judge.style_layers:
        reason = lacking or "VGG-19's weights are needed (--loss-network)"
        absent |= dict.fromkeys(("score", "own_score", "content"), reason)
    if not judge.stroke_layers:
        absent["stroke"] = lacking or "VGG-16's weights up to relu4_3 are needed (--loss-network)"
    if not chosen and not judge.loss_networks:
        return Judging(None, absent, settings)
    settings |= {
        "loss networks": judge.loss_networks,
        "style layers": ", ".join(judge.style_layers),
        "content layer": judge.content_layer,
        "stroke layers, at half size": ", ".join(judge.stroke_layers),
    }
    return Judging(judge, absent, settings)
