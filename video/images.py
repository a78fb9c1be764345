"""Still images in and out; every image is read as 8-bit RGB."""

import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..common.arrays import Image
from ..common.files import InputError, atomic_path
from .heads import image_size
from .limits import check_size, most_pixels

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})  # read and written
ALPHA_SUFFIXES = frozenset({".png", ".webp", ".tif", ".tiff"})  # of these, those that hold alpha

_FULL_SCALE = {"uint8": 255, "uint16": 65535, "float32": 1}
_BAND = 256  # rows that are computed in float at a time


def read_image(path: Path) -> Image:
    """Read an image file as (H, W, 3) uint8 RGB, alpha on white; errors as `read_picture`."""
    image, alpha = read_picture(path)
    return image if alpha is None else on_white(image, alpha)


def read_picture(path: Path) -> tuple[Image, Image | None]:
    """Read an image file as (H, W, 3) uint8 RGB, and its alpha as (H, W) uint8, 0 transparent; None if all is opaque.

    Colours are not multiplied by alpha; what is wholly transparent is white. Grayscale is spread to three channels,
    16-bit values are scaled to 8 bits, and EXIF orientation is applied. Raises InputError if the file is missing,
    cannot be opened, is not an image, or has more than `limits.most_pixels`, before it takes memory for them.
    """
    if not path.is_file():
        raise InputError(f"the image '{path}' does not exist: check the path")
    try:
        # OpenCV itself cannot open every file name on every system. No pixel takes over 16 bytes.
        content = path.read_bytes() if path.stat().st_size <= 16 * most_pixels() else b""
    except OSError as error:
        raise InputError(f"the image '{path}' cannot be opened ({error.strerror}): make it readable") from error
    size = image_size(content)
    if size is not None:
        check_size(path, *size)
    image = None if size is None else _decoded(np.frombuffer(content, np.uint8))
    if image is None or image.dtype.name not in _FULL_SCALE:
        raise InputError(f"'{path}' is not an image that can be read: give a whole PNG, JPEG, WebP, BMP or TIFF file")
    if image.dtype == np.uint8 and image.shape[2] == 3:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8), None
    opacity = np.full(image.shape[:2], 255, np.uint8)
    rgb = np.empty((*image.shape[:2], 3), np.uint8)
    for rows in (slice(top, top + _BAND) for top in range(0, len(rgb), _BAND)):
        values = image[rows].astype(np.float32) / _FULL_SCALE[image.dtype.name]
        colour = values[:, :, 2::-1]
        if values.shape[2] == 4:
            opacity[rows] = np.rint(np.clip(values[:, :, 3], 0, 1) * 255)
        rgb[rows] = np.rint(np.clip(colour, 0, 1) * 255)
        rgb[rows][opacity[rows] == 0] = 255
    return rgb, None if opacity.min() == 255 else opacity


def on_white(image: Image, alpha: Image) -> Image:
    """Lay (H, W, 3) uint8 RGB on white, by its alpha, (H, W) uint8, 0 transparent."""
    laid = np.empty_like(image)
    for rows in (slice(top, top + _BAND) for top in range(0, len(image), _BAND)):
        share = alpha[rows, :, None].astype(np.uint16)
        laid[rows] = (image[rows] * share + 255 * (255 - share) + 127) // 255
    return laid


def _decoded(content: NDArray[np.uint8]) -> NDArray[Any] | None:
    """(H, W) or (H, W, C) in OpenCV's order, BGR or BGRA; None if it cannot be decoded."""
    try:
        image = cv2.imdecode(content, cv2.IMREAD_UNCHANGED)
        if image is not None and (image.ndim == 2 or image.shape[2] != 4):
            # IMREAD_UNCHANGED keeps alpha but ignores EXIF orientation: without alpha, decode again.
            return cv2.imdecode(content, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    return image


def write_image(path: Path, image: Image, alpha: Image | None = None) -> None:
    """Write (H, W, 3) uint8 RGB or (H, W) uint8 gray as an image file, which appears only when it is complete.

    The suffix selects the format; JPEG has quality 95. `alpha` is (H, W) uint8, 0 transparent, beside RGB; only the
    formats of `ALPHA_SUFFIXES` keep it. Raises InputError for a suffix not in `IMAGE_SUFFIXES` or an
    unwritable path, OSError if writing fails, for instance on a full disk.
    """
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        raise InputError(f"cannot write an image as '{path}': end its name in {', '.join(sorted(IMAGE_SUFFIXES))}")
    suffix = path.suffix.lower()
    ordered = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    if alpha is not None and suffix in ALPHA_SUFFIXES:
        ordered = np.dstack([ordered, alpha])
    options = [cv2.IMWRITE_JPEG_QUALITY, 95] if suffix in (".jpg", ".jpeg") else []
    _, content = cv2.imencode(suffix, ordered, options)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.tobytes())


def natural_key(name: str) -> list[tuple[int, str]]:
    """Sorts 2 before 10."""
    # The odd parts of the split are digits.
    parts = re.split(r"(\d+)", name.lower())
    return [(int(part), "") if index % 2 else (0, part) for index, part in enumerate(parts)]
