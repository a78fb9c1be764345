"""What an artifact says of itself: the metadata that every artifact carries inside."""

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

METADATA_KEY = "steadystyle"
"""Key under which the JSON text stands in the artifact's own metadata."""

FORMAT_VERSION = 1

STYLE_SIZE = 384
"""Shorter side of the style image that a network was trained for, in pixels, where the file does not state it."""

NO_HASH = "0" * 64
"""Stands where the hash of the content will stand: hashes are taken with it."""


@dataclass(frozen=True)
class ArtifactMetadata:
    """What an artifact says of itself.

    Attributes:
        name: of the model, for example ``great-wave``.
        style: file name of the style image.
        architecture: of the stylizing network.
        sizes: all sizes of the network, by their names (see ``train/networks.py``).
        precision: ``fp32``, ``fp16`` or ``int8``.
        width: of the frames it takes, in pixels; None for any.
        height: of the frames it takes, in pixels; None for any. Both are None, or neither.
        checkpoint_sha256: of the checkpoint it was made from.
        calibration_sha256: of the clip it was calibrated on; None where nothing was calibrated.
        steps: optimizer steps of the training.
        float_layers: layers that an 8-bit artifact computes in float.
        sensitivity: of an 8-bit artifact: layer -> what it does alone in 8 bits (see ``export/quantization.py``).
        content_sha256: of the artifact with this value left out (see `content_sha256`).
        verification: what running the written file against the checkpoint gave (see ``export/verify.py``).
        producer: what wrote it, with versions.
        style_size: shorter side of the style image that the network was trained for, in pixels; files of earlier
            versions do not state it.
        layout: of a frame; always height, width, channels.
        colour_order: of a pixel.
        format_version: of this record.
    """

    name: str
    style: str
    architecture: str
    sizes: dict[str, int]
    precision: str
    width: int | None
    height: int | None
    checkpoint_sha256: str
    calibration_sha256: str | None
    steps: int
    producer: str
    float_layers: list[str] = field(default_factory=list)
    sensitivity: dict[str, dict[str, float]] = field(default_factory=dict)
    content_sha256: str = ""
    verification: dict[str, float | str] = field(default_factory=dict)
    style_size: int = STYLE_SIZE
    layout: str = "HWC"
    colour_order: str = "RGB"
    format_version: int = FORMAT_VERSION

    @property
    def size_text(self) -> str:
        """``640x360``, or ``any``."""
        return "any" if self.width is None else f"{self.width}x{self.height}"

    def file_name(self, ending: str = "") -> str:
        """The name of an artifact's file, for example ``great-wave-640x360-fp32.onnx``.

        Args:
            ending: of the target, with its dot.
        """
        return f"{self.name}-{self.size_text}-{self.precision}{ending}"

    def to_json(self) -> str:
        """The record as JSON text with its keys in order, so that the same artifact has the same bytes."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True, allow_nan=False)

    @staticmethod
    def from_json(text: str) -> "ArtifactMetadata":
        """Read what `to_json` wrote.

        Raises:
            InputError: not JSON, another format version, a field that is missing or of another type, half a size.
        """
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise InputError("its metadata is not JSON: export it again") from error
        if not isinstance(values, dict):
            raise InputError("its metadata is not a JSON object: export it again")
        if values.get("format_version") != FORMAT_VERSION:
            found = values.get("format_version")
            raise InputError(
                f"its metadata has format version {found} and this steadystyle reads version {FORMAT_VERSION}: "
                "export it again with this version"
            )
        values.setdefault("style_size", STYLE_SIZE)  # files of earlier versions do not state it
        for name, kinds in _KINDS.items():
            if name not in values:
                raise InputError(f"its metadata lacks '{name}': export it again")
            # JSON's true is a Python int too, and no field here is a truth value.
            if not isinstance(values[name], kinds) or isinstance(values[name], bool):
                raise InputError(f"its metadata has a '{name}' that does not fit: export it again")
        metadata = ArtifactMetadata(**{name: values[name] for name in _KINDS})
        _check_values(metadata)
        return metadata


def content_sha256(data: bytes, stated: str = "") -> str:
    """SHA-256 of a file whose metadata states this very hash: with 64 zeros in its place.

    Args:
        data: of the whole file.
        stated: the hash that stands in it; nothing, or 64 zeros, before there is one.
    """
    return hashlib.sha256(data.replace(stated.encode(), NO_HASH.encode()) if stated else data).hexdigest()


def parse_metadata(path: Path, text: str) -> ArtifactMetadata:
    """Read the metadata of a file; the error names the file (see `ArtifactMetadata.from_json`)."""
    try:
        return ArtifactMetadata.from_json(text)
    except InputError as error:
        raise InputError(f"'{path}' cannot be used because {error}") from error


def check_content(path: Path, text: str) -> ArtifactMetadata:
    """Read the metadata of a file that states its own hash, and check that nothing of the file has changed since.

    Args:
        path: the artifact.
        text: the metadata, JSON, as the engine found it.

    Raises:
        InputError: the metadata cannot be read, or the file is not the one that was written.
    """
    metadata = parse_metadata(path, text)
    if metadata.content_sha256 != content_sha256(path.read_bytes(), metadata.content_sha256):
        raise InputError(f"'{path}' is damaged or was edited (its hash does not fit): copy or export it again")
    return metadata


ArrayType = tuple[tuple[int | None, ...], str]
"""Shape (None for a side of any length) and number type of a model's input or output."""


def check_ends(
    path: Path, metadata: ArtifactMetadata, inputs: Sequence[ArrayType], outputs: Sequence[ArrayType], kind: str
) -> None:
    """Check that a model takes one frame and gives one, both of the size that its metadata says.

    Args:
        path: the artifact.
        metadata: the artifact's.
        inputs: of the model.
        outputs: of the model.
        kind: what the engine calls uint8.

    Raises:
        InputError: it does not.
    """
    wanted = ((metadata.height, metadata.width, 3), kind)
    for what, ends in (("takes", inputs), ("gives", outputs)):
        if list(ends) != [wanted]:
            raise InputError(
                f"'{path}' cannot be used because its model {what} {', '.join(map(_end_text, ends)) or 'nothing'} "
                f"where its metadata says {_end_text(wanted)}: export it again"
            )


def _end_text(end: ArrayType) -> str:
    return f"{'x'.join('any' if side is None else str(side) for side in end[0])} {end[1]}"


def _kinds(hint: Any) -> tuple[type[Any], ...]:
    """The classes of JSON values that a field's type allows: those of a union, or the one without its parameters."""
    return typing.get_args(hint) if isinstance(hint, UnionType) else (typing.get_origin(hint) or hint,)


_KINDS = {name: _kinds(hint) for name, hint in typing.get_type_hints(ArtifactMetadata).items()}
"""Field -> what its value may be in JSON."""


def _check_values(metadata: ArtifactMetadata) -> None:
    if (metadata.layout, metadata.colour_order) != ("HWC", "RGB"):
        raise InputError(
            f"its metadata says that frames are {metadata.layout} {metadata.colour_order} "
            "and this steadystyle knows HWC RGB only: export it again"
        )
    if metadata.style_size < 1:
        raise InputError("its metadata has a 'style_size' that does not fit: export it again")
    sides = (metadata.width, metadata.height)
    if sides != (None, None) and not all(side is not None and side > 0 for side in sides):
        raise InputError(f"its metadata has no size in {metadata.width}x{metadata.height}: export it again")
