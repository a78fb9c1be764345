"""Core ML: reads ``.mlpackage`` artifacts on any machine, and runs them on a Mac.

A package is a folder: ``Manifest.json`` (which locates the parts), the model as a protocol buffer, and its weights.
The standard library reads the metadata, so that `info` needs no coremltools.
"""

import hashlib
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partialmethod
from pathlib import Path
from typing import Any

import numpy as np

from ..common.arrays import Image
from ..common.files import InputError
from ..common.protobuf import children, fields, texts
from ..common.quiet import quiet as silent
from ..common.untrusted import parse_json
from .artifact import METADATA_KEY, NO_HASH, ArtifactMetadata, parse_metadata
from .stylizer import Stylizer

INPUT, OUTPUT = "frame", "stylized"
"""Names of a model's input and output image."""

PROVIDERS = {"all": "ALL", "cpu": "CPU_ONLY", "gpu": "CPU_AND_GPU", "ane": "CPU_AND_NE"}
"""Short name -> coremltools' name of the compute units. The CPU takes what the others cannot do."""

# Field numbers of Core ML's Model.proto and FeatureTypes.proto.
_DESCRIPTION, _INPUTS, _OUTPUTS, _METADATA, _USER_DEFINED = 2, 1, 10, 100, 100
_NAME, _TYPE, _IMAGE, _WIDTH, _HEIGHT, _COLOURS = 1, 3, 4, 1, 2, 3
_COLOUR_SPACES = {10: "greyscale", 20: "RGB", 30: "BGR"}


class CoremlStylizer(Stylizer):
    """An ``.mlpackage`` artifact run by Core ML, on a Mac.

    Written without a Mac: tests replace the one call of Core ML, whose speed and rounding were not measured.

    Args:
        threads: no effect; Core ML chooses.
        provider: a key of `PROVIDERS`, in any case; None: all compute units.

    Raises:
        InputError: no Mac, no coremltools or Pillow, unknown provider, or unusable artifact (see `read_metadata`).
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
        except Exception as error:  # coremltools passes on the framework's errors, which have no common class
            raise InputError(f"Core ML does not open '{path}': export it again ({error})") from error
        self._from_array: Any = Pillow.fromarray
        self.engine = f"Core ML, macOS {platform.mac_ver()[0]}, {units}, coremltools {coremltools.__version__}"

    def _stylize(self, frame: Image) -> Image:
        image = self._model.predict({INPUT: self._from_array(frame)})[OUTPUT]
        return np.array(image.convert("RGB"), np.uint8)

    def close(self) -> None:
        """Release the model."""
        self._model = None


def read_metadata(path: Path) -> ArtifactMetadata:
    """Metadata of a package, on any machine; raises InputError if it is damaged or does not fit the model."""
    inputs, outputs, texts = _read_description(path)
    metadata = parse_metadata(path, texts.get(METADATA_KEY))
    if metadata.content_sha256 != package_sha256(path, metadata.content_sha256):
        raise InputError(f"'{path}' is damaged or was edited: export it again")
    for what, name, found in (("takes", INPUT, inputs), ("gives", OUTPUT, outputs)):
        wanted = f"'{name}', RGB {metadata.width or 0}x{metadata.height or 0}"
        if found != [wanted]:
            raise InputError(
                f"'{path}' cannot be used because it {what} {', '.join(found) or 'nothing'} where its "
                f"metadata says {wanted}: export it again"
            )
    return metadata


def package_sha256(path: Path, stated: str = NO_HASH) -> str:
    """SHA-256 of name, length and bytes of a package's files, sorted by name, without hidden files.

    `stated` is the hash in the model's metadata, which counts as 64 zeros. File managers may leave hidden files.
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
    """Path of the model in a package; raises InputError if it is damaged or no Core ML package."""
    try:
        manifest = parse_json((path / "Manifest.json").read_bytes())
        file = path / "Data" / str(manifest["itemInfoEntries"][manifest["rootModelIdentifier"]]["path"])
        inside = file.resolve().is_relative_to((path / "Data").resolve())
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"'{path}' is damaged or not a Core ML package: copy or export it again") from error
    if not inside:
        raise InputError(f"'{path}' names a model outside of itself: export it again")
    if not file.is_file():
        raise InputError(f"'{path}' lacks its model: copy or export it again")
    return file


def _read_description(path: Path) -> tuple[list[str], list[str], dict[str, str]]:
    """Inputs, outputs (see `_end`) and user-defined metadata of a package."""
    try:
        description = children(model_file(path).read_bytes(), _DESCRIPTION)[0]
        entries = [entry for one in children(description, _METADATA) for entry in children(one, _USER_DEFINED)]
        own = {texts(entry, 1)[0]: texts(entry, 2)[0] for entry in entries}
        inputs, outputs = ([_end(end) for end in children(description, number)] for number in (_INPUTS, _OUTPUTS))
    except InputError:
        raise
    except (IndexError, ValueError, OSError) as error:
        raise InputError(f"'{path}' is damaged or not a Core ML package: copy or export it again") from error
    return inputs, outputs, own


def _end(feature: memoryview) -> str:
    """An input or output, such as ``'frame', RGB 640x360``."""
    name = texts(feature, _NAME)[0]
    images = [image for kind in children(feature, _TYPE) for image in children(kind, _IMAGE)]
    numbers = {number: value for image in images for number, value in fields(image) if isinstance(value, int)}
    colours = _COLOUR_SPACES.get(numbers.get(_COLOURS, 0), "unknown colours") if images else "no image"
    return f"'{name}', {colours} {numbers.get(_WIDTH, 0)}x{numbers.get(_HEIGHT, 0)}"


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress coremltools' messages to developers and its progress bars on stderr."""
    modules: Any = sys.modules
    # coremltools imports an installed TensorFlow, which takes seconds, prints a lot, and is not used here.
    hidden = "tensorflow" not in modules and "coremltools" not in modules
    if hidden:
        modules["tensorflow"] = None
    bars: Any = getattr(modules.get("tqdm"), "tqdm", None)
    start = getattr(bars, "__init__", None)
    if bars is not None:
        bars.__init__ = partialmethod(start, disable=True)
    try:
        with silent():
            yield
    finally:
        if bars is not None:
            bars.__init__ = start
        if hidden:
            del modules["tensorflow"]
