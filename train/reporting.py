"""Reports of a running training: progress, TensorBoard and preview sheets."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import torch
from torch import nn

from ..common.arrays import Image, resized
from ..video.temporal import error_map
from .clips import Pair
from .tensors import to_frame, to_tensor


@dataclass(frozen=True)
class StepReport:
    """State of a run after a step; ``losses`` are smoothed, unweighted values by term, and ``total``."""

    step: int
    steps: int
    losses: dict[str, float]
    seconds_left: float


OnStep = Callable[[StepReport], None]


def summary_writer(folder: Path, step: int) -> Any:
    """TensorBoard's writer, which overwrites records from ``step`` on."""
    # TensorBoard's own switch against loading an installed TensorFlow, which takes seconds and prints a page.
    sys.modules.setdefault("tensorboard.compat.notf", ModuleType("notf"))
    from torch.utils.tensorboard import SummaryWriter

    writer: Any = SummaryWriter
    return writer(str(folder), purge_step=step)


def preview_sheet(network: nn.Module, style_image: Image, pairs: Sequence[Pair], device: torch.device) -> Image:
    """(H, W, 3) uint8 RGB sheet, a row a pair: style, source, stylized, error map of both outputs (white = large).

    The network maps (B, 3, H, W) RGB in [0, 1] to the same, and is in training mode afterwards.
    """
    rows = []
    network.eval()
    with torch.no_grad():
        for pair in pairs:
            height = pair.first.shape[0]
            frames = to_tensor(np.stack([pair.first, pair.second]), device)
            first, second = (to_frame(output) for output in network(frames))
            errors = cv2.cvtColor(error_map(first, second, pair.motion), cv2.COLOR_GRAY2RGB)
            style_width = max(1, round(style_image.shape[1] * height / style_image.shape[0]))
            fitted = resized(style_image, (style_width, height), enlarge=cv2.INTER_AREA)
            rows.append(np.concatenate([fitted, pair.second, second, errors], axis=1))
    network.train()
    widest = max(row.shape[1] for row in rows)
    padded = [np.pad(row, ((0, 4), (0, widest - row.shape[1]), (0, 0))) for row in rows]
    return np.asarray(np.concatenate(padded), np.uint8)
