"""Gatys et al. 2016, "Image Style Transfer Using Convolutional Neural Networks", on each frame alone."""

from collections.abc import Sequence

from ...common.arrays import Image
from .iterative import Finished, Painter


def stylize(frames: Sequence[Image], painter: Painter, finished: Finished) -> int:
    """Optimize each frame, (H, W, 3) uint8 RGB, from its own noise; returns the pass that holds the result, 0."""
    for index, frame in enumerate(frames):
        if not finished.has(index):
            finished.write(painter.paint(frame, painter.noise(frame, index)), index)
    return 0
