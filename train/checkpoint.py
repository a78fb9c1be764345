"""Checkpoints, for export, and training states, for ``--resume``: ``.safetensors`` with a JSON header, no pickle.

``NAME.safetensors`` holds the network; ``training-state.safetensors`` adds the optimizer and random generators.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from ..common.checkpoint import HEADER_KEY, checkpoint_header, read_checkpoint_file, seal, unsealed
from ..common.checkpoint import CheckpointHeader as CheckpointHeader
from ..common.files import InputError, atomic_path
from .networks import build_network

_WEIGHTS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True)
class Checkpoint:
    """A network in evaluation mode and its header."""

    network: nn.Module
    header: CheckpointHeader


def write_tensors(path: Path, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
    """Write tensors and a JSON header, sealed by its hash, to ``path``: atomically, and onto the disk.

    InputError when the path cannot be written, OSError when writing fails.
    """
    contiguous = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    # Not safetensors' own writer: its I/O errors are no OSError, and only the owner may read its files.
    with atomic_path(path, durable=True) as partial:
        partial.write_bytes(seal(save(contiguous, {HEADER_KEY: unsealed(header)})))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what :func:`write_tensors` wrote; InputError when the file is missing, damaged or has no such header."""
    content, header, _ = read_checkpoint_file(path)
    return _decoded(content, path), header


def _decoded(content: bytes, path: Path) -> dict[str, Tensor]:
    try:
        return load(content)
    except (SafetensorError, LookupError, ValueError, TypeError, RuntimeError) as error:
        raise InputError(f"{path} is not a whole .safetensors file: copy it again") from error


def _check_shapes(network: nn.Module, shapes: Mapping[str, tuple[int, ...]], path: Path) -> None:
    wanted = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    for key, shape in wanted.items():
        if key not in shapes:
            raise InputError(f"{path} lacks the weight '{key}': the checkpoint is damaged, train or fetch it again")
        if shapes[key] != shape:
            raise InputError(f"{path} has weight '{key}' of shape {shapes[key]} where {shape} is expected")
    extra = sorted(set(shapes) - set(wanted))
    if extra:
        raise InputError(f"{path} has a weight {extra[0][:80]!r} that its network does not know")


def load_weights(network: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Load ``tensors`` into ``network``; InputError names a missing, extra, misshapen or non-finite weight."""
    _check_shapes(network, {key: tuple(value.shape) for key, value in tensors.items()}, path)
    for key, value in tensors.items():
        if value.dtype not in _WEIGHTS:
            raise InputError(f"{path} has weight '{key}' of type {value.dtype}: give a checkpoint that `train` wrote")
        if not torch.isfinite(value).all():
            raise InputError(f"{path} holds values that are not finite in '{key}': take an earlier checkpoint")
    network.load_state_dict(tensors)


def save_checkpoint(path: Path, network: nn.Module, header: CheckpointHeader) -> None:
    """Write a checkpoint (errors as :func:`write_tensors`)."""
    write_tensors(path, network.state_dict(), dataclasses.asdict(header))


def load_checkpoint(path: Path) -> Checkpoint:
    """Load a checkpoint onto the CPU, in evaluation mode; InputError when it is missing, damaged or unknown."""
    content, values, shapes = read_checkpoint_file(path)
    header = checkpoint_header(values, path)
    try:
        with torch.device("meta"):  # shapes alone: sizes take memory only when the file has weights for them
            skeleton = build_network(header.architecture, header.sizes)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error
    _check_shapes(skeleton, shapes, path)
    network = build_network(header.architecture, header.sizes)
    load_weights(network, _decoded(content, path), path)
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
