"""The metadata that every artifact carries inside."""

import dataclasses
import hashlib
import json
import typing
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Any

from ..common.files import InputError
from ..common.untrusted import checked_name, parse_json
from .look import PLAIN, Look

METADATA_KEY = "steadystyle"
"""Key under which the JSON text stands in the artifact's own metadata."""

FORMAT_VERSION = 1

STYLE_SIZE = 384
"""Shorter side of the style image in training, in pixels, for files that do not state it."""

LAYOUTS = {"frame": "HWC", "nhwc": "NHWC", "nchw": "NCHW"}
"""Name of what an artifact takes and gives -> axes: HWC is uint8, the others are float32 in [0, 1], N is 1."""

NO_HASH = "0" * 64
"""Placeholder for the content's hash while the hash is computed."""


@dataclass(frozen=True)
class ArtifactMetadata:
    """Metadata of an artifact."""

    name: str
    style: str  # file name of the style image
    architecture: str
    sizes: dict[str, int]  # of the network, by name (see ``train/networks.py``)
    precision: str  # ``fp32``, ``fp16`` or ``int8``
    width: int | None  # of the frames, in pixels; None for any
    height: int | None  # None if the width is
    checkpoint_sha256: str
    calibration_sha256: str | None  # of the calibration frames; None without calibration
    steps: int  # optimizer steps of the training
    producer: str  # programs that wrote it, with versions
    float_layers: list[str] = field(default_factory=list)  # of an 8-bit artifact
    sensitivity: dict[str, dict[str, float]] = field(default_factory=dict)  # see ``export/quantization.py``
    content_sha256: str = ""  # of the artifact without this value (see `content_sha256`)
    verification: dict[str, float | str] = field(default_factory=dict)  # figures of ``export/verify.py``
    look: dict[str, float] = field(default_factory=dict)  # what it contains of a look (see `look_numbers`)
    style_size: int = STYLE_SIZE  # shorter side of the style image in training, in pixels
    layout: str = "HWC"  # of what it takes and gives, a value of `LAYOUTS`
    colour_order: str = "RGB"
    format_version: int = FORMAT_VERSION

    @property
    def size_text(self) -> str:
        """``640x360``, or ``any``."""
        return "any" if self.width is None else f"{self.width}x{self.height}"

    def file_name(self, ending: str = "") -> str:
        """The name of an artifact's file, such as ``great-wave-stroke2-640x360-fp32.onnx``; `ending` has its dot."""
        look, layout = _look_of(self.look).text, self.layout.lower() if self.layout != "HWC" else ""
        return "-".join(filter(None, (self.name, look, self.size_text, layout, self.precision))) + ending

    def to_json(self) -> str:
        """JSON text with sorted keys, so that equal artifacts have equal bytes."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True, allow_nan=False)

    @staticmethod
    def from_json(text: str) -> "ArtifactMetadata":
        """Read what `to_json` wrote; raises InputError for another format version, or missing or wrong fields."""
        try:
            values = parse_json(text)
        except ValueError as error:
            raise InputError(f"its metadata is not JSON of at most 1 MB ({error}): export it again") from error
        if not isinstance(values, dict):
            raise InputError("its metadata is not a JSON object: export it again")
        if values.get("format_version") != FORMAT_VERSION:
            found = values.get("format_version")
            raise InputError(
                f"its metadata has format version {found} and this steadystyle reads version {FORMAT_VERSION}: "
                "export it again with this version"
            )
        values = {"style_size": STYLE_SIZE, "look": {}, **values}  # older files lack them
        for name, kinds in _KINDS.items():
            if name not in values:
                raise InputError(f"its metadata lacks '{name}': export it again")
            # JSON's true is a Python int too, and no field here is a bool.
            if not isinstance(values[name], kinds) or isinstance(values[name], bool):
                raise InputError(f"its metadata has a '{name}' that does not fit: export it again")
        metadata = ArtifactMetadata(**{name: values[name] for name in _KINDS})
        if metadata.layout not in LAYOUTS.values() or metadata.colour_order != "RGB":
            raise InputError(
                f"its metadata says that frames are {metadata.layout} {metadata.colour_order} "
                f"and this steadystyle knows {', '.join(LAYOUTS.values())} in RGB only: export it again"
            )
        for part in (metadata.name, metadata.precision):  # file names are made of both
            checked_name(part)
        if metadata.style_size < 1 or not all(isinstance(size, int) for size in metadata.sizes.values()):
            raise InputError("its metadata has a 'style_size' or 'sizes' that does not fit: export it again")
        try:
            _look_of(metadata.look)
        except (TypeError, InputError) as error:
            raise InputError("its metadata has a 'look' that does not fit: export it again") from error
        sides = (metadata.width, metadata.height)
        if sides != (None, None) and not all(side is not None and side > 0 for side in sides):
            raise InputError(f"its metadata has no size in {metadata.width}x{metadata.height}: export it again")
        try:
            metadata.to_json()
        except ValueError as error:
            raise InputError("its metadata has a number that is not finite: export it again") from error
        return metadata


def look_numbers(look: Look) -> dict[str, float]:
    """The fields of a look in which it differs from the network's own output, as numbers."""
    fields = {"strength": look.strength, "keep_colors": float(look.keep_colors), "stroke": look.stroke}
    return {name: value for name, value in fields.items() if value != getattr(PLAIN, name)}


def _look_of(numbers: dict[str, float]) -> Look:
    """What `look_numbers` wrote; raises TypeError or InputError for anything else."""
    look = Look(
        strength=numbers.get("strength", 1.0),
        keep_colors=bool(numbers.get("keep_colors", 0)),
        stroke=numbers.get("stroke", 1.0),
    )
    if look_numbers(look) != numbers:
        raise TypeError(f"{numbers} is no look")
    return look


def content_sha256(data: bytes, stated: str = "") -> str:
    """SHA-256 of a file with 64 zeros in place of `stated`, the hash in its metadata (empty before there is one)."""
    return hashlib.sha256(data.replace(stated.encode(), NO_HASH.encode()) if stated else data).hexdigest()


def parse_metadata(path: Path, text: str | None) -> ArtifactMetadata:
    """`ArtifactMetadata.from_json`, with the file's name in the error; None for a file without metadata."""
    if text is None:
        raise InputError(f"'{path}' has no steadystyle metadata: give an artifact that `steadystyle export` wrote")
    try:
        return ArtifactMetadata.from_json(text)
    except InputError as error:
        raise InputError(f"'{path}' cannot be used because {error}") from error


def check_content(path: Path, text: str | None, content: bytes) -> ArtifactMetadata:
    """Read metadata that states the hash of `content`; InputError if it is missing, or the hash does not fit."""
    metadata = parse_metadata(path, text)
    if metadata.content_sha256 != content_sha256(content, metadata.content_sha256):
        raise InputError(f"'{path}' is damaged or was edited (its hash does not fit): copy or export it again")
    return metadata


ArrayType = tuple[tuple[int | None, ...], str]
"""Shape (None for a side of any length) and number type of a model's input or output."""


def check_ends(
    path: Path,
    metadata: ArtifactMetadata,
    inputs: Sequence[ArrayType],
    outputs: Sequence[ArrayType],
    kinds: tuple[str, str],
) -> None:
    """Raise InputError unless a model takes and gives a frame as its metadata says; `kinds` name uint8 and float32."""
    sides = {"H": metadata.height, "W": metadata.width, "C": 3, "N": 1}
    wanted = (tuple(sides[axis] for axis in metadata.layout), kinds[metadata.layout != "HWC"])
    for what, ends in (("takes", inputs), ("gives", outputs)):
        if list(ends) != [wanted]:
            raise InputError(
                f"'{path}' cannot be used because its model {what} {', '.join(map(_end_text, ends)) or 'nothing'} "
                f"where its metadata says {_end_text(wanted)}: export it again"
            )


def _end_text(end: ArrayType) -> str:
    return f"{'x'.join('any' if side is None else str(side) for side in end[0])} {end[1]}"


_KINDS: dict[str, tuple[type[Any], ...]] = {
    name: typing.get_args(hint) if isinstance(hint, UnionType) else (typing.get_origin(hint) or hint,)
    for name, hint in typing.get_type_hints(ArtifactMetadata).items()
}
"""Field -> classes of its JSON value."""
