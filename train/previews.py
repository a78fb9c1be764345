"""What a run paints on the way, for a person to look at."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import nn

from ..common.arrays import Image, resized
from ..video.temporal import error_map
from .pairs import Pair
from .tensors import to_frame, to_tensor


def preview_sheet(network: nn.Module, style_image: Image, pairs: Sequence[Pair], device: torch.device) -> Image:
    """A sheet with a row a pair: style, source, stylized, error map between the two stylized frames (white = large).

    Args:
        network: maps (B, 3, H, W) RGB in [0, 1] to the same; it is in training mode afterwards.
        style_image: (H, W, 3) uint8 RGB.
        pairs: what to paint.
        device: where the network is.

    Returns:
        (H, W, 3) uint8 RGB.
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
