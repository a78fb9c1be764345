"""Layouts of source and stylized picture in the window."""

from typing import Literal

import numpy as np

from ...common.arrays import Image

View = Literal["split", "full", "side by side"]
VIEWS: tuple[View, ...] = ("split", "full", "side by side")


def compose(source: Image, stylized: Image, view: View, divider: float) -> Image:
    """Combine source and stylized frame, both (H, W, 3) uint8 RGB, into one of the same shape.

    "split" shows the source left of `divider` (0 to 1, of the width), "full" only the stylized frame.
    "side by side" gives (H, 2W, 3).
    """
    if view == "full":
        return stylized
    if view == "side by side":
        return np.hstack([source, stylized])
    column = round(divider * source.shape[1])
    both = stylized.copy()
    both[:, :column] = source[:, :column]
    both[:, max(0, column - 1) : column + 1] = 255
    return both
