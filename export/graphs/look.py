"""A look inside a graph: what `runtimes/look/painted.py` does before and after the network, on the same bytes."""

from functools import reduce

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...common.arrays import Size
from ...runtimes.look import Look

LUMA = (0.2126, 0.7152, 0.0722)  # ITU-R BT.709

Taps = tuple[NDArray[np.int64], NDArray[np.float32]]
"""For each place after resizing, (places, n), the places before that it is made of, and their weights."""


def taps(length: int, to: int) -> Taps:
    """How `common.arrays.resized` makes `to` places of `length`, read off OpenCV's own resizing of unit pulses."""
    way = cv2.INTER_AREA if to < length else cv2.INTER_CUBIC
    pulses = np.eye(length, dtype=np.float32)
    matrix = np.asarray(cv2.resize(pulses, (length, to), interpolation=way), np.float32)  # (to, length)
    count = int((matrix != 0).sum(axis=1).max())
    places = np.sort(np.argsort(-np.abs(matrix), axis=1, kind="stable")[:, :count], axis=1)
    return places, np.take_along_axis(matrix, places, axis=1)


def rounds_up(columns: Taps, rows: Taps) -> bool:
    """Whether OpenCV rounds halves up after resizing; means of other areas than 2x2 it rounds to even numbers."""
    weights = np.concatenate([columns[1].ravel(), rows[1].ravel()])
    return bool(weights.min() < 0 or (weights == 0.5).all())


class BeforeNetwork(nn.Module):
    """The frame as the network sees it at another stroke: (H, W, 3) uint8 to (h, w, 3) uint8."""

    def __init__(self, look: Look, size: Size) -> None:
        super().__init__()
        self.columns, self.rows = (taps(*sides) for sides in zip(size, look.network_size(*size), strict=True))

    def forward(self, frame: Tensor) -> Tensor:
        """Resize."""
        seen = _resized(_resized(frame.float(), self.rows, 0), self.columns, 1)
        return _whole(seen, rounds_up(self.columns, self.rows)).to(torch.uint8)


class AfterNetwork(nn.Module):
    """Puts the look on a painting; `size` is that of the frames and matters for another stroke only."""

    def __init__(self, look: Look, size: Size | None) -> None:
        super().__init__()
        self.look = look
        self.columns: Taps | None = None
        if look.stroke != 1 and size is not None:
            self.columns, self.rows = (taps(*sides) for sides in zip(look.network_size(*size), size, strict=True))
        self.luma: Tensor = nn.Buffer(torch.tensor(LUMA))

    def forward(self, frame: Tensor, painting: Tensor) -> Tensor:
        """Map (H, W, 3) uint8 and the painting, (h, w, 3) uint8, to (H, W, 3) uint8."""
        source, painted = frame.float(), painting.float()
        if self.columns is not None:  # columns first, while there are fewer rows
            painted = _resized(_resized(painted, self.columns, 1), self.rows, 0)
            painted = _whole(painted, rounds_up(self.columns, self.rows))
        if self.look.keep_colors:
            levels, own = ((image * self.luma).sum(2, keepdim=True).round() for image in (painted, source))
            darkest, lightest = source.amin(2, keepdim=True), source.amax(2, keepdim=True)
            painted = source + torch.minimum(torch.maximum(levels - own, -darkest), 255.0 - lightest)
        if self.look.strength < 1:
            painted = self.look.strength * painted + (1 - self.look.strength) * source
        return painted.round().to(torch.uint8)


def _resized(image: Tensor, made_of: Taps, axis: int) -> Tensor:
    places, weights = made_of
    shape = [-1, 1, 1] if axis == 0 else [1, -1, 1]
    parts = (
        image.index_select(axis, torch.tensor(place)) * torch.tensor(weight).reshape(shape)
        for place, weight in zip(places.T, weights.T, strict=True)
    )
    return reduce(torch.add, parts)


def _whole(image: Tensor, up: bool) -> Tensor:
    return ((image + 0.5).floor() if up else image.round()).clamp(0.0, 255.0)
