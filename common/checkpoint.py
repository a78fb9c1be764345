"""Files of checkpoints and training states: header and hash, read and checked without torch.

A ``.safetensors`` file whose metadata holds our header, JSON text, under ``steadystyle``. The header's ``sha256`` is of
the whole file with zeros in place of these 64 digits. Files of earlier versions have none, and load.
"""

import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from .files import InputError
from .untrusted import checked_name, parse_json, read_safetensors_header

FORMAT_VERSION = 1
HEADER_KEY = "steadystyle"
_UNSEALED = "0" * 64
_DIGEST = re.compile("[0-9a-f]{64}")
_MOST_BYTES = 1 << 30
Size = Annotated[int, Meta(ge=0, le=4096)]
Count = Annotated[int, Meta(ge=0, le=1 << 40)]


class _StyleImage(msgspec.Struct):
    """Of a recipe's values, those that say how large the style image was: its shorter side in px, and a factor."""

    style_size: Annotated[int, Meta(ge=1, le=1 << 16)] = 384
    stroke: Annotated[float, Meta(gt=0, le=16)] = 1.0


@dataclass(frozen=True)
class CheckpointHeader:
    """The header of a checkpoint; ``sizes`` are all sizes of the network. InputError for a name that is not allowed.

    Attributes:
        style: file name of the style image, without folder.
        steps: optimizer steps done, including those of the checkpoint it started from.
        losses: last smoothed value of each loss term.
        recipe_values: the recipe as run; nested, in earlier files flat.
    """

    name: str
    style: str
    architecture: str
    sizes: dict[str, Size]
    recipe: str
    steps: Count
    losses: dict[str, float] = field(default_factory=dict)
    recipe_values: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        """Raise ValueError for a name that is not allowed, or a style image without size."""
        checked_name(self.name)
        if self.style_size < 1:
            raise ValueError("its style image has no size")

    @property
    def style_size(self) -> int:
        """Shorter side of the style image that the network was trained for, px; 384 where none is recorded."""
        values = self.recipe_values.get("loss", self.recipe_values)  # recipes were flat once
        image = msgspec.convert(values, _StyleImage)
        return round(image.style_size * image.stroke)


def seal(content: bytes) -> bytes:
    """The bytes of a file whose header has `unsealed`'s zeros for its SHA-256, with the true one."""
    return content.replace(_entry(_UNSEALED), _entry(hashlib.sha256(content).hexdigest()), 1)


def unsealed(header: dict[str, Any]) -> str:
    """The JSON text of a header, to be written and then sealed."""
    return json.dumps({"sha256": _UNSEALED, **header})


def _entry(digest: str) -> bytes:
    return json.dumps(f'"sha256": "{digest}"')[1:-1].encode()  # inside JSON text that is a string of JSON text


def read_checkpoint_file(path: Path) -> tuple[bytes, dict[str, Any], dict[str, tuple[int, ...]]]:
    """Content, our header without its hash, and the shape of each tensor, of a checkpoint or training state.

    InputError when the file is missing, larger than 1 GiB, damaged, or has no such header.
    """
    if not path.is_file():
        raise InputError(f"there is no checkpoint at {path}: give a .safetensors file that `train` wrote")
    metadata, shapes = read_safetensors_header(path)
    if HEADER_KEY not in metadata:
        raise InputError(f"{path} has no steadystyle header: give a checkpoint that `train` wrote")
    try:
        header = parse_json(metadata[HEADER_KEY])
    except ValueError as error:
        raise InputError(f"the header of {path} is broken: give a checkpoint that `train` wrote") from error
    if not isinstance(header, dict) or header.get("format_version") != FORMAT_VERSION:
        raise InputError(f"{path} has another format version than {FORMAT_VERSION}: use the steadystyle that wrote it")
    if path.stat().st_size > _MOST_BYTES:
        raise InputError(f"{path} is larger than 1 GiB: give a checkpoint that `train` wrote")
    content, digest = path.read_bytes(), header.pop("sha256", None)
    if digest is None:  # of an earlier version, unless the key is what was damaged
        whole = not any(isinstance(value, str) and _DIGEST.fullmatch(value) for value in header.values())
    else:
        bare = content.replace(_entry(str(digest)), _entry(_UNSEALED), 1)
        whole = hashlib.sha256(bare).hexdigest() == digest
    if not whole:
        raise InputError(f"{path} is damaged: its hash does not fit; copy it again, or take an earlier one")
    return content, header, shapes


def checkpoint_header(values: dict[str, Any], path: Path) -> CheckpointHeader:
    """The header of the checkpoint at ``path``; InputError for a missing field, or one of another type or range."""
    try:
        return msgspec.convert(values, CheckpointHeader)
    except msgspec.ValidationError as error:
        raise InputError(f"the header of {path} is wrong ({error}): give a checkpoint that `train` wrote") from error
