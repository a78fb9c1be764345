"""How source and stylized picture share the window."""

from typing import Literal

import numpy as np

from ...common.arrays import Image

View = Literal["split", "full", "side by side"]
VIEWS: tuple[View, ...] = ("split", "full", "side by side")


def compose(source: Image, stylized: Image, view: View, divider: float) -> Image:
    """Put source and stylized picture together.

    Args:
        source: (H, W, 3) uint8 RGB.
        stylized: of the same shape.
        view: "split": the source to the left of the divider; "side by side": twice as wide; "full": stylized alone.
        divider: 0 to 1, of the width.

    Returns:
        (H, W, 3) uint8 RGB, or (H, 2W, 3).
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
