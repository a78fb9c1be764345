"""Where a run starts from: another network's weights, made to fit."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from ..common.files import InputError
from .checkpoint import Checkpoint


def starting_weights(start: Checkpoint, target: nn.Module, architecture: str, path: Path) -> dict[str, Tensor]:
    """Weights of a checkpoint for a network that may differ from it a little.

    Residual blocks that the target has fewer of are left out, the last ones first; those that it has more of begin as
    the identity. An ``edge`` checkpoint may start an ``edge-lp`` network: of its four places of enlargement, which the
    bilinear one does without, the mean is taken.

    Args:
        start: the checkpoint.
        target: the network to be trained, with fresh weights.
        architecture: of the target.
        path: of the checkpoint, for messages.

    Raises:
        InputError: a network of another kind or width.
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
            last = key.endswith(("second.weight", "second.bias"))  # what a block adds is nothing at first
            chosen[key] = torch.zeros_like(value) if last else value
    fits = all(key in chosen and chosen[key].shape == value.shape for key, value in wanted.items())
    if not fits or any(not key.startswith("blocks.") for key in weights.keys() - wanted.keys()):
        raise InputError(
            f"{path} holds another network ({start.header.architecture}) than the recipe's ({architecture}): "
            "choose a recipe of the same architecture"
        )
    return chosen
