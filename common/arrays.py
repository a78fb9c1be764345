"""The image and size types, and image resizing."""

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""(H, W, 3) uint8 RGB, or (H, W) uint8 where a function says so."""

Size = tuple[int, int]
"""(width, height) in pixels."""


def resized(image: Image, size: Size, *, enlarge: int = cv2.INTER_CUBIC) -> Image:
    """Resize (H, W, 3) or (H, W) uint8: shrink by area averages, grow by OpenCV's `enlarge`; no copy at equal size."""
    height, width = image.shape[:2]
    if (width, height) == size:
        return image
    way = cv2.INTER_AREA if size[0] * size[1] < width * height else enlarge
    return np.asarray(cv2.resize(image, size, interpolation=way), np.uint8)


def scaled(image: Image, factor: float) -> Image:
    """Resize an image by exactly this factor, as `resized` does; its sides are rounded."""
    way = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, None, fx=factor, fy=factor, interpolation=way), np.uint8)


def size_at_height(size: Size, height: int) -> Size:
    """The size with this height and the same aspect ratio; the width is rounded to an even number, at least 2."""
    return (max(2, 2 * round(size[0] * height / size[1] / 2)), height) if size[1] != height else size


def size_at_shorter_side(size: Size, side: int) -> Size:
    """The size with this shorter side and the same aspect ratio; sides are rounded, at least 1."""
    scale = side / min(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def size_within_height(size: Size, height: int) -> Size:
    """The size at most this high with the same aspect ratio; sides are rounded to even numbers, at least 2."""
    scale = min(1, height / size[1])
    return max(2, 2 * round(size[0] * scale / 2)), max(2, 2 * round(size[1] * scale / 2))
