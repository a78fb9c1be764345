"""Core ML: reads ``.mlpackage`` artifacts on any machine, and runs them on a Mac.

A package is a folder: ``Manifest.json``, which says where the rest is, the model as a protocol buffer, and its weights.
What an artifact says of itself is read here with the standard library alone, so that `info` needs no coremltools.
"""

import hashlib
import json
import logging
import platform
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partialmethod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..common.arrays import Image
from ..common.files import InputError
from .artifact import METADATA_KEY, NO_HASH, ArtifactMetadata, parse_metadata
from .stylizer import Stylizer

INPUT, OUTPUT = "frame", "stylized"
"""Names of the image that a model takes and of the one that it gives."""

PROVIDERS = {"all": "ALL", "cpu": "CPU_ONLY", "gpu": "CPU_AND_GPU", "ane": "CPU_AND_NE"}
"""Short name -> coremltools' name of the compute units. The CPU takes what the others cannot do."""

# Field numbers of Core ML's Model.proto and FeatureTypes.proto.
_DESCRIPTION, _INPUTS, _OUTPUTS, _METADATA, _USER_DEFINED = 2, 1, 10, 100, 100
_NAME, _TYPE, _IMAGE, _WIDTH, _HEIGHT, _COLOURS = 1, 3, 4, 1, 2, 3
_COLOUR_SPACES = {10: "greyscale", 20: "RGB", 30: "BGR"}


class End(NamedTuple):
    """An input or output of a model.

    Attributes:
        name: of the feature.
        width: in pixels; 0 where it is no image.
        height: in pixels; 0 where it is no image.
        colours: ``RGB``, or what else it is.
    """

    name: str
    width: int
    height: int
    colours: str

    def __str__(self) -> str:
        """For people."""
        return f"'{self.name}', {self.colours} {self.width}x{self.height}"


class CoremlStylizer(Stylizer):
    """An ``.mlpackage`` artifact run by Core ML, on a Mac.

    No Mac was at hand when this was written: opening, checks and the handling of pictures are tested with a stand-in
    for the one call of Core ML, whose own speed and rounding were not seen.

    Args:
        path: the artifact, a folder.
        threads: has no effect, Core ML chooses itself.
        provider: a key of `PROVIDERS`, in any case; None lets Core ML choose among all compute units.

    Raises:
        InputError: this is not a Mac, coremltools or Pillow is not installed, the provider is unknown, or the artifact
            cannot be used (see `read_metadata`).
    """

    def __init__(self, path: Path, *, threads: int | None = None, provider: str | None = None) -> None:
        short = (provider or "all").lower()
        if short not in PROVIDERS:
            raise InputError(f"unknown provider '{provider}': choose one of {', '.join(PROVIDERS)}")
        if platform.system() != "Darwin":
            raise InputError(
                f"'{path.name}' cannot run here because Core ML runs on a Mac or iPhone only: export for another "
                "target, for example onnx"
            )
        self.metadata = read_metadata(path)
        try:
            with quiet():
                import coremltools
            from PIL import Image as Pillow
        except ModuleNotFoundError as error:
            if error.name not in ("coremltools", "PIL"):
                raise
            raise InputError(
                f"'{path.name}' needs coremltools and Pillow, which are not installed: "
                "pip install 'steadystyle[coreml]'"
            ) from error
        units = PROVIDERS[short]
        try:
            self._model: Any = coremltools.models.MLModel(
                str(path), compute_units=getattr(coremltools.ComputeUnit, units)
            )
        except Exception as error:  # coremltools hands on whatever the framework says, with no class of its own
            raise InputError(f"Core ML does not open '{path}': export it again ({error})") from error
        self._from_array: Any = Pillow.fromarray
        self.engine = f"Core ML, macOS {platform.mac_ver()[0]}, {units}, coremltools {coremltools.__version__}"

    def _stylize(self, frame: Image) -> Image:
        image = self._model.predict({INPUT: self._from_array(frame)})[OUTPUT]
        return np.array(image.convert("RGB"), np.uint8)

    def close(self) -> None:
        """Let go of the model."""
        self._model = None


def read_metadata(path: Path) -> ArtifactMetadata:
    """What a package says of itself, on any machine; it is checked to be whole, ours, and as its metadata says.

    Args:
        path: the package, a folder.

    Raises:
        InputError: it is not; the sentence says what to do.
    """
    inputs, outputs, texts = _read_description(path)
    if METADATA_KEY not in texts:
        raise InputError(f"'{path}' has no steadystyle metadata: give an artifact that `steadystyle export` wrote")
    metadata = parse_metadata(path, texts[METADATA_KEY])
    if metadata.content_sha256 != package_sha256(path, metadata.content_sha256):
        raise InputError(f"'{path}' is damaged or was edited: export it again")
    for what, name, found in (("takes", INPUT, inputs), ("gives", OUTPUT, outputs)):
        wanted = End(name, metadata.width or 0, metadata.height or 0, "RGB")
        if found != [wanted]:
            raise InputError(
                f"'{path}' cannot be used because it {what} {', '.join(map(str, found)) or 'nothing'} where its "
                f"metadata says {wanted}: export it again"
            )
    return metadata


def package_sha256(path: Path, stated: str = NO_HASH) -> str:
    """SHA-256 of a package's files: name, length and bytes of each, in the order of the names.

    Hidden files, which a file manager may leave in any folder, do not count.

    Args:
        path: the package, a folder.
        stated: the hash that stands in the model's metadata, which is taken as 64 zeros.

    Raises:
        OSError: a file cannot be read.
    """
    digest = hashlib.sha256()
    files = {file.relative_to(path).as_posix(): file for file in path.rglob("*") if file.is_file()}
    for name in sorted(name for name in files if not any(part.startswith(".") for part in name.split("/"))):
        content = files[name].read_bytes()
        if stated and files[name].suffix == ".mlmodel":
            content = content.replace(stated.encode(), NO_HASH.encode())
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def model_file(path: Path) -> Path:
    """Where the model of a package lies.

    Args:
        path: the package, a folder.

    Raises:
        InputError: no Core ML package, or a damaged one.
    """
    try:
        manifest = json.loads((path / "Manifest.json").read_text(encoding="utf-8"))
        file = path / "Data" / str(manifest["itemInfoEntries"][manifest["rootModelIdentifier"]]["path"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"'{path}' is damaged or not a Core ML package: copy or export it again") from error
    if not file.is_file():
        raise InputError(f"'{path}' lacks its model: copy or export it again")
    return file


def _read_description(path: Path) -> tuple[list[End], list[End], dict[str, str]]:
    """Inputs, outputs and user-defined metadata of a package."""
    try:
        description = _children(model_file(path).read_bytes(), _DESCRIPTION)[0]
        texts: dict[str, str] = {}
        for metadata in _children(description, _METADATA):
            for entry in _children(metadata, _USER_DEFINED):
                key, value = (_children(entry, number)[0].decode() for number in (1, 2))
                texts[key] = value
        inputs, outputs = ([_end(end) for end in _children(description, number)] for number in (_INPUTS, _OUTPUTS))
    except (IndexError, UnicodeDecodeError, OSError) as error:
        raise InputError(f"'{path}' is damaged or not a Core ML package: copy or export it again") from error
    return inputs, outputs, texts


def _end(feature: bytes) -> End:
    name = _children(feature, _NAME)[0].decode()
    images = [image for kind in _children(feature, _TYPE) for image in _children(kind, _IMAGE)]
    if not images:
        return End(name, 0, 0, "no image")
    numbers = {number: value for number, value in _fields(images[0]) if isinstance(value, int)}
    colours = _COLOUR_SPACES.get(numbers.get(_COLOURS, 0), "unknown colours")
    return End(name, numbers.get(_WIDTH, 0), numbers.get(_HEIGHT, 0), colours)


def _children(message: bytes, wanted: int) -> list[bytes]:
    """Strings or messages under one field number."""
    return [value for number, value in _fields(message) if number == wanted and isinstance(value, bytes)]


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of each field of a protocol buffer.

    Raises:
        IndexError: the bytes end in the middle of a field, or are no protocol buffer.
    """
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            value, position = _varint(message, position)
            yield number, value
            continue
        if kind == 2:
            length, position = _varint(message, position)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise IndexError(f"no field has the kind {kind}")
        if position + length > len(message):
            raise IndexError("the last field is cut off")
        yield number, message[position : position + length]
        position += length


def _varint(message: bytes, position: int) -> tuple[int, int]:
    """A number of seven bits a byte, least significant first, and the position after it."""
    value = shift = 0
    while True:
        byte = message[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position


@contextmanager
def quiet() -> Iterator[None]:
    """Import or use coremltools without its advice to developers and its progress bars on stderr."""
    modules: Any = sys.modules
    # Where TensorFlow is installed coremltools imports it, seconds and a page of messages for nothing that we use.
    hidden = "tensorflow" not in modules and "coremltools" not in modules
    if hidden:
        modules["tensorflow"] = None
    bars: Any = getattr(modules.get("tqdm"), "tqdm", None)
    start, logs = getattr(bars, "__init__", None), logging.root.manager.disable
    if bars is not None:
        bars.__init__ = partialmethod(start, disable=True)
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logs)
        if bars is not None:
            bars.__init__ = start
        if hidden:
            del modules["tensorflow"]
