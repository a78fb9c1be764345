"""Opens an artifact file by its ending, or a bundled model by its name."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ..common.files import InputError
from .artifact import ArtifactMetadata

if TYPE_CHECKING:  # the command line imports this file for its default: numpy and OpenCV would double its start
    from .look import Look
    from .stylizer import Stylizer

MODELS = Path(__file__).parent / "models"

DEFAULT_MODEL = "udnie"
"""What commands, demos and pages start with: the fast network of the best-looking style."""

RENAMED: Mapping[str, str] = {"great-wave-edge": "great-wave"}
"""Former name of a bundled model, which still opens, with a warning -> its name now."""

MOST_THREADS = 1024

ENDINGS = (".onnx", ".tflite", ".mlpackage", ".safetensors")
"""Endings of files that can be opened; the engines are in `open_stylizer`."""


@contextmanager
def _needing(path: Path, extra: str, *modules: str) -> Iterator[None]:
    """Say how to install a missing engine."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in modules:
            raise
        hint = ", or export it and give the exported file" if extra == "train" else ""
        raise InputError(
            f"'{path.name}' needs {error.name}, which is not installed: pip install 'steadystyle[{extra}]'{hint}"
        ) from error


class RenamedModelWarning(FutureWarning):
    """A bundled model was asked for by its former name."""


@dataclass(frozen=True)
class BundledModel:
    """A model that comes with the package."""

    name: str
    style: str  # file name of the style image
    path: Path  # the ONNX artifact for frames of any size
    checkpoint: Path  # the weights, ``.safetensors``
    card: Path  # the model card, Markdown
    card_json: Path  # the card's figures


def bundled_models() -> list[BundledModel]:
    """All models that come with the package, by name: each is a card ``NAME.json`` and the files beside it."""
    return [
        BundledModel(
            name=card_json.stem,
            style=str(json.loads(card_json.read_text(encoding="utf-8"))["style"]),
            path=card_json.with_name(f"{card_json.stem}-any-fp32.onnx"),
            checkpoint=card_json.with_suffix(".safetensors"),
            card=card_json.with_suffix(".md"),
            card_json=card_json,
        )
        for card_json in sorted(MODELS.glob("*.json"), key=lambda path: path.stem)
    ]


def open_stylizer(
    model: str | Path,
    *,
    threads: int | None = None,
    provider: str | None = None,
    engine_cache: Path | None = None,
    look: Look | None = None,
) -> Stylizer:
    """Open an artifact.

    Args:
        model: name of a bundled model, artifact file, or checkpoint for PyTorch; ``@PROVIDER`` may follow.
        threads: of the engine; None: the engine's choice.
        provider: for example ``cpu``, ``cuda`` or ``openvino``; None: the file's first engine that is installed, on
            the CPU (a checkpoint: on CUDA if there is one).
        engine_cache: folder for TensorRT's engines; None: they are not kept.
        look: what is made of the painting; None: the network's own output. A look that the artifact itself contains
            comes first.

    Raises:
        InputError: no such model or file, not an artifact, an engine or provider that is not installed, or a look that
            the artifact cannot have.
    """
    if look is not None:
        from .look.painted import with_look

        stylizer = open_stylizer(model, threads=threads, provider=provider, engine_cache=engine_cache)
        try:
            return with_look(stylizer, look, threads)
        except InputError:
            stylizer.close()
            raise
    path, own_provider = resolve(model)
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        raise InputError(f"unknown model '{model}': {_choices('an artifact file', *ENDINGS)}")
    if not path.exists():
        raise InputError(f"there is no file '{model}': check the path")
    if threads is not None and not 1 <= threads <= MOST_THREADS:
        raise InputError(f"{threads} threads are not possible: give 1 to {MOST_THREADS}")
    provider = provider or own_provider
    # Engines are imported on demand, so that one is enough.
    if ending == ".tflite":
        from .tflite import TfliteStylizer

        return TfliteStylizer(path, threads=threads, provider=provider)
    if ending == ".mlpackage":
        from .coreml import CoremlStylizer

        return CoremlStylizer(path, threads=threads, provider=provider)
    if ending == ".safetensors":
        from .checkpoint import read_checkpoint_facts

        read_checkpoint_facts(path)  # what is wrong with a file is said before torch loads, which takes seconds
        with _needing(path, "train", "torch", "safetensors"):
            from .pytorch import PytorchStylizer

            return PytorchStylizer(path, threads=threads, provider=provider)
    if provider is None and find_spec("onnxruntime") is None and find_spec("openvino") is not None:
        provider = "openvino"
    if provider == "openvino":
        with _needing(path, "openvino", "openvino"):
            from .openvino import OpenVinoStylizer

            return OpenVinoStylizer(path, threads=threads)
    with _needing(path, "onnx", "onnxruntime"):
        from .onnx import OnnxStylizer

        return OnnxStylizer(path, threads=threads, provider=provider, engine_cache=engine_cache)


def resolve(model: str | Path) -> tuple[Path, str | None]:
    """File (may be missing) and provider (or None) of ``great-wave``, ``wave.onnx`` or ``wave.onnx@openvino``."""
    paths = {bundled.name: bundled.path for bundled in bundled_models()}
    whole = current_name(str(model))
    if whole in paths:
        return paths[whole], None
    name, at, provider = str(model).rpartition("@")
    if not at or Path(model).exists():
        return Path(model), None
    return paths.get(current_name(name), Path(name)), provider


def current_name(name: str) -> str:
    """The current name of a bundled model; warns with `RenamedModelWarning` if `name` is a former one."""
    if name not in RENAMED or Path(name).exists():
        return name
    warnings.warn(f"the model '{name}' is called '{RENAMED[name]}' now", RenamedModelWarning, stacklevel=2)
    return RENAMED[name]


def read_metadata(model: str | Path) -> ArtifactMetadata:
    """Metadata of a bundled model or an artifact file; raises InputError if it cannot be read.

    An engine is needed only for formats that cannot be read without.
    """
    path, _ = resolve(model)
    if path.suffix.lower() == ".tflite" and path.is_file():
        from .tflite import read_metadata as read_tflite

        return read_tflite(path)
    if path.suffix.lower() == ".mlpackage" and path.is_dir():
        from .coreml import read_metadata as read_coreml

        return read_coreml(path)
    with open_stylizer(model) as stylizer:
        return stylizer.metadata


def find_checkpoint(model: str | Path) -> Path:
    """The checkpoint of a bundled model, or the given ``.safetensors`` file; raises InputError if there is none."""
    checkpoints = {bundled.name: bundled.checkpoint for bundled in bundled_models()}
    path = checkpoints.get(current_name(str(model)), Path(model))
    if path.suffix.lower() != ".safetensors":
        raise InputError(f"unknown model '{model}': {_choices('a checkpoint file', '.safetensors')}")
    if not path.is_file():
        raise InputError(f"there is no checkpoint '{model}': check the path")
    return path


def _choices(what: str, *endings: str) -> str:
    file = f"give {what} ({', '.join(endings)})"
    names = [bundled.name for bundled in bundled_models()]
    return f"choose one of {', '.join(names)}, or {file}" if names else file
