"""Still images in and out; every image is read as 8-bit RGB."""

from pathlib import Path

import cv2
import numpy as np

from ..common.arrays import Image
from ..common.files import InputError, atomic_path

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})  # read and written

_FULL_SCALE = {"uint8": 255, "uint16": 65535, "float32": 1}


def read_image(path: Path) -> Image:
    """Read an image file as (H, W, 3) uint8 RGB.

    Grayscale is spread to three channels, alpha is composited on white, 16-bit values are scaled to 8 bits, and EXIF
    orientation is applied. Raises InputError if the file is missing, cannot be opened, or is not an image.
    """
    if not path.is_file():
        raise InputError(f"the image '{path}' does not exist: check the path")
    try:
        # OpenCV itself cannot open every file name on every system.
        content = np.fromfile(path, np.uint8)
        image = cv2.imdecode(content, cv2.IMREAD_UNCHANGED)
        if image is not None and (image.ndim == 2 or image.shape[2] != 4):
            # IMREAD_UNCHANGED keeps alpha but ignores EXIF orientation: without alpha, decode again.
            image = cv2.imdecode(content, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR)
    except OSError as error:
        raise InputError(f"the image '{path}' cannot be opened ({error.strerror}): make it readable") from error
    except cv2.error:
        image = None
    if image is None or image.dtype.name not in _FULL_SCALE:
        raise InputError(f"'{path}' is not an image that can be read: give a whole PNG, JPEG, WebP, BMP or TIFF file")
    if image.dtype == np.uint8 and image.shape[2] == 3:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
    values = image.astype(np.float32) / _FULL_SCALE[image.dtype.name]
    colour = values[:, :, 2::-1]
    if values.shape[2] == 4:
        alpha = values[:, :, 3:]
        colour = colour * alpha + (1 - alpha)
    return np.rint(np.clip(colour, 0, 1) * 255).astype(np.uint8)


def write_image(path: Path, image: Image) -> None:
    """Write (H, W, 3) uint8 RGB or (H, W) uint8 gray as an image file, which appears only when it is complete.

    The suffix selects the format; JPEG has quality 95. Raises InputError for a suffix not in `IMAGE_SUFFIXES` or an
    unwritable path, OSError if writing fails, for instance on a full disk.
    """
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        raise InputError(f"cannot write an image as '{path}': end its name in {', '.join(sorted(IMAGE_SUFFIXES))}")
    suffix = path.suffix.lower()
    ordered = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    options = [cv2.IMWRITE_JPEG_QUALITY, 95] if suffix in (".jpg", ".jpeg") else []
    _, content = cv2.imencode(suffix, ordered, options)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.tobytes())
