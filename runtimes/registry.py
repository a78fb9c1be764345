"""Opens what it is given: an artifact file by its ending, or a bundled model by its name."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..video.files import InputError
from .stylizer import Stylizer

MODELS = Path(__file__).parent / "models"

Opener = Callable[[Path, int | None, str | None], Stylizer]


def _open_onnx(path: Path, threads: int | None, provider: str | None) -> Stylizer:
    try:
        from .onnx import OnnxStylizer
    except ModuleNotFoundError as error:
        if error.name != "onnxruntime":
            raise
        raise InputError(
            f"'{path.name}' needs onnxruntime, which is not installed: pip install 'steadystyle[onnx]'"
        ) from error
    return OnnxStylizer(path, threads=threads, provider=provider)


RUNTIMES: Mapping[str, Opener] = {".onnx": _open_onnx}
"""Ending of an artifact -> what opens it. Each engine is imported when it is asked for, so that one is enough."""


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
        for card_json in sorted(MODELS.glob("*.json"))
    ]


def open_stylizer(model: str | Path, *, threads: int | None = None, provider: str | None = None) -> Stylizer:
    """Open an artifact.

    Args:
        model: the name of a bundled model, or an artifact file.
        threads: of the engine; None leaves the choice to the engine.
        provider: what the engine shall compute on, for example ``cpu`` or ``cuda``; None is the CPU.

    Raises:
        InputError: no such model or file, not an artifact, or an engine or provider that is not installed.
    """
    if isinstance(model, str):
        for bundled in bundled_models():
            if bundled.name == model:
                return RUNTIMES[bundled.path.suffix](bundled.path, threads, provider)
    path = Path(model)
    ending = path.suffix.lower()
    if ending == ".safetensors":
        raise InputError(f"'{model}' is a checkpoint and not an artifact: export it first and give the exported file")
    if ending not in RUNTIMES:
        raise InputError(f"unknown model '{model}': {_choices('an artifact file', *RUNTIMES)}")
    if not path.is_file():
        raise InputError(f"there is no file '{model}': check the path")
    return RUNTIMES[ending](path, threads, provider)


def find_checkpoint(model: str | Path) -> Path:
    """The checkpoint of a bundled model, or the checkpoint file that was given.

    Args:
        model: the name of a bundled model, or a ``.safetensors`` file.

    Raises:
        InputError: there is no such model or file.
    """
    if isinstance(model, str):
        for bundled in bundled_models():
            if bundled.name == model:
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
