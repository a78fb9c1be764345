"""Checkpoints, for export, and training states, for ``--resume``: ``.safetensors`` with a JSON header, no pickle.

``NAME.safetensors`` holds the network; ``training-state.safetensors`` adds the optimizer and random generators.
"""

import dataclasses
import json
import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from ..common.files import InputError, atomic_path
from .networks import build_network

FORMAT_VERSION = 1
HEADER_KEY = "steadystyle"
_STYLE_SIZE = 384  # shorter side of the style image, px, where a checkpoint records none


@dataclass(frozen=True)
class CheckpointHeader:
    """The header of a checkpoint; ``sizes`` are all sizes of the network.

    Attributes:
        style: file name of the style image, without folder.
        steps: optimizer steps done, including those of the checkpoint it started from.
        losses: last smoothed value of each loss term.
        recipe_values: the recipe as run; nested, in earlier files flat.
    """

    name: str
    style: str
    architecture: str
    sizes: dict[str, int]
    recipe: str
    steps: int
    losses: dict[str, float] = field(default_factory=dict)
    recipe_values: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(
        default_factory=lambda: {"python": platform.python_version(), "torch": str(torch.__version__)}
    )
    format_version: int = FORMAT_VERSION

    @property
    def style_size(self) -> int:
        """Shorter side of the style image that the network was trained for, px; 384 where none is recorded."""
        values = self.recipe_values.get("loss", self.recipe_values)  # recipes were flat once
        size: int = round(values.get("style_size", _STYLE_SIZE) * values.get("stroke", 1.0))
        return size


@dataclass(frozen=True)
class Checkpoint:
    """A network in evaluation mode and its header."""

    network: nn.Module
    header: CheckpointHeader


def write_tensors(path: Path, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
    """Write tensors and a JSON header to ``path`` atomically; InputError when the path cannot be written."""
    contiguous = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    # Not safetensors' own writer: its I/O errors are no OSError, and only the owner may read its files.
    with atomic_path(path) as partial:
        partial.write_bytes(save(contiguous, {HEADER_KEY: json.dumps(header)}))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what :func:`write_tensors` wrote; InputError when the file is missing, broken or has no such header."""
    if not path.is_file():
        raise InputError(f"there is no checkpoint at {path}: give a .safetensors file that `train` wrote")
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(HEADER_KEY)
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is not a whole .safetensors file: {error}") from error
    if text is None:
        raise InputError(f"{path} has no steadystyle header: give a checkpoint that `train` wrote")
    try:
        header = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"the header of {path} is broken: give a checkpoint that `train` wrote") from error
    if not isinstance(header, dict) or header.get("format_version") != FORMAT_VERSION:
        raise InputError(f"{path} has another format version than {FORMAT_VERSION}: use the steadystyle that wrote it")
    return tensors, header


def load_weights(network: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Load ``tensors`` into ``network``; InputError names a missing, extra, misshapen or non-finite weight."""
    wanted = network.state_dict()
    for key, value in wanted.items():
        if key not in tensors:
            raise InputError(f"{path} lacks the weight '{key}': the checkpoint is damaged, train or fetch it again")
        if tensors[key].shape != value.shape:
            found = tuple(tensors[key].shape)
            raise InputError(f"{path} has weight '{key}' of shape {found} where {tuple(value.shape)} is expected")
        if not torch.isfinite(tensors[key]).all():
            raise InputError(f"{path} holds values that are not finite in '{key}': take an earlier checkpoint")
    extra = sorted(set(tensors) - set(wanted))
    if extra:
        raise InputError(f"{path} has a weight '{extra[0]}' that its network does not know")
    network.load_state_dict(tensors)


def save_checkpoint(path: Path, network: nn.Module, header: CheckpointHeader) -> None:
    """Write a checkpoint atomically (errors as :func:`write_tensors`)."""
    write_tensors(path, network.state_dict(), dataclasses.asdict(header))


def load_checkpoint(path: Path) -> Checkpoint:
    """Load a checkpoint onto the CPU, in evaluation mode; InputError when it is missing, damaged or unknown."""
    tensors, values = read_tensors(path)
    try:
        header = CheckpointHeader(**{entry.name: values[entry.name] for entry in dataclasses.fields(CheckpointHeader)})
    except KeyError as error:
        raise InputError(f"the header of {path} lacks {error}: give a checkpoint that `train` wrote") from error
    try:
        network = build_network(header.architecture, header.sizes)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error
    load_weights(network, tensors, path)
    return Checkpoint(network.requires_grad_(False).eval(), header)


def starting_weights(start: Checkpoint, target: nn.Module, architecture: str, path: Path) -> dict[str, Tensor]:
    """Weights of a checkpoint, fitted to a fresh network that may differ from it a little.

    Surplus residual blocks are dropped from the end; missing ones start as the identity. An ``edge`` checkpoint may
    start an ``edge-lp`` network, whose enlargement takes the mean of the four positions. InputError, naming ``path``,
    for a network of another kind or width.
    """
    weights, wanted = dict(start.network.state_dict()), target.state_dict()
    if (start.header.architecture, architecture) == ("edge", "edge-lp"):
        for key in ("up.weight", "up.bias"):
            weights[key] = weights[key].view(4, -1, *weights[key].shape[1:]).mean(0)
    chosen = {}
    for key, value in wanted.items():
        if key in weights:
            chosen[key] = weights[key]
        elif key.startswith("blocks."):
            last = key.endswith(("second.weight", "second.bias"))  # a new block adds nothing at first
            chosen[key] = torch.zeros_like(value) if last else value
    fits = all(key in chosen and chosen[key].shape == value.shape for key, value in wanted.items())
    if not fits or any(not key.startswith("blocks.") for key in weights.keys() - wanted.keys()):
        raise InputError(
            f"{path} holds another network ({start.header.architecture}) than the recipe's ({architecture}): "
            "choose a recipe of the same architecture"
        )
    return chosen
