"""LiteRT, tflite-runtime and TensorFlow: runs ``.tflite`` artifacts.

A ``.tflite`` file is a flatbuffer; the ZIP archive behind it ("associated files") holds the metadata. The standard
library reads it, so that `info` needs no engine.
"""

import hashlib
import io
import os
import struct
import sys
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from ..common.arrays import Image
from ..common.files import InputError
from ..common.quiet import quiet
from ..common.untrusted import MOST_JSON_BYTES
from .artifact import METADATA_KEY, ArtifactMetadata, check_ends, parse_metadata
from .stylizer import Stylizer, as_frame, laid_out

METADATA_FILE = f"{METADATA_KEY}.json"
"""Name of the file in the archive."""

_IDENTIFIER = slice(4, 8)  # the flatbuffer's bytes for its file type
_FILE_TYPE = b"TFL3"

PROVIDERS: Mapping[str, str] = {
    "litert": "ai_edge_litert.interpreter",
    "tflite-runtime": "tflite_runtime.interpreter",
    # tensorflow.lite.Interpreter is the same, with a warning that LiteRT is to be preferred.
    "tensorflow": "tensorflow.lite.python.interpreter",
}
"""Short name -> module of the interpreter, in order of preference."""


class TfliteStylizer(Stylizer):
    """A ``.tflite`` artifact opened with LiteRT, tflite-runtime or TensorFlow.

    Args:
        threads: of the interpreter; None: one per core.
        provider: a key of `PROVIDERS`, in any case; None or ``cpu``: the first that is installed.

    Raises:
        InputError: damaged or edited file, missing or unfitting metadata, or no such interpreter installed.
    """

    def __init__(self, path: Path, *, threads: int | None = None, provider: str | None = None) -> None:
        make, engine = _interpreter_class(path, provider)
        data = path.read_bytes()
        self.metadata = _checked_metadata(path, data)
        count = threads or os.cpu_count() or 1
        with quiet_engine():
            try:
                # Interpreters may fail on a damaged file, so they get the checked bytes.
                self._interpreter = make(model_content=flatbuffer_of(data), num_threads=count)
                self._interpreter.allocate_tensors()
            except (ValueError, RuntimeError) as error:
                raise InputError(
                    f"'{path}' cannot be opened by {engine}: update the engine or choose another "
                    f"({str(error).strip().splitlines()[0]})"
                ) from error
        given, taken = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        inputs, outputs = (
            [(tuple(int(side) for side in end["shape"]), np.dtype(end["dtype"]).name) for end in ends]
            for ends in (given, taken)
        )
        check_ends(path, self.metadata, inputs, outputs, ("uint8", "float32"))
        self._input, self._output = given[0]["index"], taken[0]["index"]
        delegate = " XNNPACK" if _is_delegated(self._interpreter) else ""
        self.engine = f"{engine}{delegate}, {count} thread{'s' if count != 1 else ''}"

    def _stylize(self, frame: Image) -> Image:
        # The interpreter owns its tensors and the caller owns the result: one copy in, one copy out.
        layout = self.metadata.layout
        self._interpreter.set_tensor(self._input, laid_out(frame, layout))
        self._interpreter.invoke()
        return as_frame(self._interpreter.get_tensor(self._output), layout)

    def close(self) -> None:
        """Release the interpreter and its threads."""
        self._interpreter = None


def _interpreter_class(path: Path, provider: str | None) -> tuple[Any, str]:
    short = (provider or "cpu").lower()
    if short not in (*PROVIDERS, "cpu"):
        raise InputError(f"unknown provider '{provider}': choose one of {', '.join(PROVIDERS)}")
    for name in PROVIDERS if short == "cpu" else [short]:
        package = PROVIDERS[name].partition(".")[0]
        try:
            with quiet_engine():
                return import_module(PROVIDERS[name]).Interpreter, f"{name} {import_module(package).__version__}"
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] != package:
                raise
    if short == "cpu":
        raise InputError(f"'{path.name}' needs LiteRT, which is not installed: pip install 'steadystyle[tflite]'")
    advice = "pip install 'steadystyle[tflite]'" if short == "litert" else f"pip install {short}"
    raise InputError(f"the provider '{short}' is not installed: {advice}, or choose another provider")


def _is_delegated(interpreter: Any) -> bool:
    # Only this private method lists delegates; without it, none is named.
    with suppress(AttributeError):
        return any(operator["op_name"] == "DELEGATE" for operator in interpreter._get_ops_details())
    return False


@contextmanager
def quiet_engine() -> Iterator[None]:
    """Suppress what the engines log to stderr, their C++ code too; errors come as exceptions."""
    if sys.stderr is not None:
        sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:  # there is no stderr
        yield
        return
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        with quiet():
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def read_metadata(path: Path) -> ArtifactMetadata:
    """Metadata of a ``.tflite`` file, without an engine; raises InputError if it is missing, damaged or edited."""
    return _checked_metadata(path, path.read_bytes())


def sealed(model: bytes, metadata: ArtifactMetadata) -> str:
    """SHA-256 of the flatbuffer and of the metadata without its ``content_sha256``."""
    return hashlib.sha256(model + replace(metadata, content_sha256="").to_json().encode()).hexdigest()


def with_metadata(model: bytes, metadata: ArtifactMetadata) -> bytes:
    """The content of an artifact: the flatbuffer with the metadata behind it."""
    file = io.BytesIO(model)
    with zipfile.ZipFile(file, "a", zipfile.ZIP_STORED) as archive:
        entry = zipfile.ZipInfo(METADATA_FILE, (1980, 1, 1, 0, 0, 0))  # a fixed date, for equal bytes
        entry.create_system = 3
        entry.external_attr = 0o644 << 16
        archive.writestr(entry, metadata.to_json())
    return file.getvalue()


def flatbuffer_of(data: bytes) -> bytes:
    """The bytes of a whole file before the metadata; all of them if there is none."""
    with suppress(zipfile.BadZipFile, ValueError, struct.error), zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = archive.infolist()
        return data[: min(entry.header_offset for entry in entries)] if entries else data
    return data


def _checked_metadata(path: Path, data: bytes) -> ArtifactMetadata:
    edited = InputError(f"'{path}' is damaged or was edited (its hash does not fit): copy or export it again")
    if data[_IDENTIFIER] != _FILE_TYPE:
        raise InputError(f"'{path}' is damaged or not a TensorFlow Lite file: copy or export it again")
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        entry = archive.getinfo(METADATA_FILE)
    except (KeyError, ValueError, zipfile.BadZipFile, struct.error) as error:
        raise InputError(
            f"'{path}' has no steadystyle metadata: give a whole artifact that `steadystyle export` wrote"
        ) from error
    try:
        # Only what `with_metadata` writes is read: nothing compressed, nothing encrypted.
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 or entry.file_size > MOST_JSON_BYTES:
            raise edited
        text = archive.read(entry).decode()
    except (zipfile.BadZipFile, UnicodeDecodeError, struct.error, EOFError, NotImplementedError) as error:
        raise edited from error
    metadata = parse_metadata(path, text)
    model = flatbuffer_of(data)
    # Rebuild the whole file, so that nothing can hide between its parts or behind them.
    if metadata.content_sha256 != sealed(model, metadata) or data != with_metadata(model, metadata):
        raise edited
    return metadata
