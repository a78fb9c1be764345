"""Gatys et al. 2016, "Image Style Transfer Using Convolutional Neural Networks", on each frame of a video alone."""

from collections.abc import Sequence

from ...common.arrays import Image
from .iterative import Finished, Painter


def stylize(frames: Sequence[Image], painter: Painter, finished: Finished) -> int:
    """Optimize each frame from noise of its own; nothing ties a frame to the next.

    Args:
        frames: each (H, W, 3) uint8 RGB.
        painter: paints them.
        finished: keeps them; those that are there are not done again.

    Returns:
        The number of the pass in which the result stands.
    """
    for index, frame in enumerate(frames):
        if not finished.has(index):
            finished.write(painter.paint(frame, painter.noise(frame, index)), index)
    return 0
