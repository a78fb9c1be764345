"""Opens what it is given: an artifact file by its ending, or a bundled model by its name."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..common.files import InputError
from .artifact import ArtifactMetadata

if TYPE_CHECKING:  # the command line imports this file for its default: numpy and OpenCV would double its start
    from .stylizer import Stylizer

MODELS = Path(__file__).parent / "models"

DEFAULT_MODEL = "udnie"
"""What commands, demos and pages start with: the fast network of the best-looking style."""

RENAMED: Mapping[str, str] = {"great-wave-edge": "great-wave"}
"""Names that bundled models had once, which still open, with a warning -> their names now."""

Opener = Callable[[Path, int | None, str | None, Path | None], "Stylizer"]


def _open_onnx(path: Path, threads: int | None, provider: str | None, engine_cache: Path | None) -> Stylizer:
    if provider == "openvino":
        with _needing("openvino", "openvino", path):
            from .openvino import OpenVinoStylizer

            return OpenVinoStylizer(path, threads=threads)
    with _needing("onnxruntime", "onnx", path):
        from .onnx import OnnxStylizer

        return OnnxStylizer(path, threads=threads, provider=provider, engine_cache=engine_cache)


def _open_tflite(path: Path, threads: int | None, provider: str | None, engine_cache: Path | None) -> Stylizer:
    from .tflite import TfliteStylizer

    return TfliteStylizer(path, threads=threads, provider=provider)


def _open_coreml(path: Path, threads: int | None, provider: str | None, engine_cache: Path | None) -> Stylizer:
    from .coreml import CoremlStylizer

    return CoremlStylizer(path, threads=threads, provider=provider)


def _open_checkpoint(path: Path, threads: int | None, provider: str | None, engine_cache: Path | None) -> Stylizer:
    with _needing("torch", "train", path), _needing("safetensors", "train", path):
        from .pytorch import PytorchStylizer

        return PytorchStylizer(path, threads=threads, provider=provider)


@contextmanager
def _needing(module: str, extra: str, path: Path) -> Iterator[None]:
    """Say how to get the engine where it is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        hint = ", or export it and give the exported file" if extra == "train" else ""
        raise InputError(
            f"'{path.name}' needs {module}, which is not installed: pip install 'steadystyle[{extra}]'{hint}"
        ) from error


RUNTIMES: Mapping[str, Opener] = {
    ".onnx": _open_onnx,
    ".tflite": _open_tflite,
    ".mlpackage": _open_coreml,
    ".safetensors": _open_checkpoint,
}
"""Ending -> what opens it. Each engine is imported when it is asked for, so that one is enough."""


class RenamedModelWarning(FutureWarning):
    """A bundled model was asked for by the name that it had once."""


@dataclass(frozen=True)
class BundledModel:
    """A model that comes with the package.

    Attributes:
        name: for example ``great-wave``.
        style: file name of the style image.
        path: the artifact, ONNX for frames of any size.
        checkpoint: the weights, ``.safetensors``.
        card: the model card, Markdown.
        card_json: the same figures for machines.
    """

    name: str
    style: str
    path: Path
    checkpoint: Path
    card: Path
    card_json: Path


def bundled_models() -> list[BundledModel]:
    """All models that come with the package, by name.

    A model is its machine-readable card ``NAME.json`` (which holds at least ``style``) and the files beside it.
    """
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
) -> Stylizer:
    """Open an artifact.

    Args:
        model: the name of a bundled model, an artifact file, or a checkpoint, which PyTorch runs; after an ``@`` the
            provider, where it is not given by itself.
        threads: of the engine; None leaves the choice to the engine.
        provider: what shall compute it, and on what, for example ``cpu``, ``cuda`` or ``openvino``; None is the file's
            first engine, on the CPU (a checkpoint: on CUDA where there is one).
        engine_cache: folder in which TensorRT keeps the engines that it builds; None keeps none.

    Raises:
        InputError: no such model or file, not an artifact, or an engine or provider that is not installed.
    """
    path, own_provider = resolve(model)
    ending = path.suffix.lower()
    if ending not in RUNTIMES:
        raise InputError(f"unknown model '{model}': {_choices('an artifact file', *RUNTIMES)}")
    if not path.exists():
        raise InputError(f"there is no file '{model}': check the path")
    return RUNTIMES[ending](path, threads, provider or own_provider, engine_cache)


def resolve(model: str | Path) -> tuple[Path, str | None]:
    """File and provider of a model as people name it: ``great-wave``, ``wave.onnx``, ``wave.onnx@openvino``.

    Args:
        model: the name of a bundled model, or a file; after an ``@``, a provider.

    Returns:
        The file, which need not be there, and the provider; None where none is named.
    """
    paths = {bundled.name: bundled.path for bundled in bundled_models()}
    whole = current_name(str(model))
    if whole in paths:
        return paths[whole], None
    name, at, provider = str(model).rpartition("@")
    if not at or Path(model).exists():
        return Path(model), None
    return paths.get(current_name(name), Path(name)), provider


def current_name(name: str) -> str:
    """The name that a bundled model has now; a `RenamedModelWarning` where it was asked for by an older one."""
    if name not in RENAMED or Path(name).exists():
        return name
    warnings.warn(f"the model '{name}' is called '{RENAMED[name]}' now", RenamedModelWarning, stacklevel=2)
    return RENAMED[name]


def read_metadata(model: str | Path) -> ArtifactMetadata:
    """What an artifact says of itself; no engine is needed where the format can be read without.

    Args:
        model: the name of a bundled model, or an artifact file.

    Raises:
        InputError: no such model or file, damaged or edited, or an engine that is needed is not installed.
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
    """The checkpoint of a bundled model, or the checkpoint file that was given.

    Args:
        model: the name of a bundled model, or a ``.safetensors`` file.

    Raises:
        InputError: there is no such model or file.
    """
    if isinstance(model, str):
        name = current_name(model)
        for bundled in bundled_models():
            if bundled.name == name:
                return bundled.checkpoint
    path = Path(model)
    if path.suffix.lower() != ".safetensors":
        raise InputError(f"unknown model '{model}': {_choices('a checkpoint file', '.safetensors')}")
    if not path.is_file():
        raise InputError(f"there is no checkpoint '{model}': check the path")
    return path


def _choices(what: str, *endings: str) -> str:
    file = f"give {what} ({', '.join(endings)})"
    names = [bundled.name for bundled in bundled_models()]
    return f"choose one of {', '.join(names)}, or {file}" if names else file
