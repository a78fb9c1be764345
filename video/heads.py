"""Width and height of an image file, from its head: a decoder takes the memory before it says how much."""

import re
import struct
from collections.abc import Callable

from ..common.arrays import Size


def image_size(content: bytes) -> Size | None:
    """Width and height in pixels of a PNG, JPEG, WebP, BMP or TIFF file; None if it is none or visibly not whole.

    Of a TIFF file with larger tiles than the image it is the tiles' size.
    """
    for signature, read in _READERS.items():
        if re.match(signature, content, re.DOTALL):
            try:
                return read(content)
            except (struct.error, OverflowError, KeyError):  # it breaks off, or points out of the file
                return None
    return None


def _png(content: bytes) -> Size | None:
    # OpenCV takes the memory for a chunk before it reads it: check that all chunks are there.
    at, kind = 8, b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", content, at)
        at += 12 + length
    return struct.unpack_from(">II", content, 16) if content[12:16] == b"IHDR" and at <= len(content) else None


def _jpeg(content: bytes) -> Size | None:
    at = 2
    while (marker := _MARKER.search(content, at)) is not None:
        (length,) = struct.unpack_from(">H", content, marker.end())
        if marker[1] in _FRAME_MARKERS:
            height, width = struct.unpack_from(">HH", content, marker.end() + 3)
            return width, height
        at = marker.end() + length
    return None


_MARKER = re.compile(rb"\xff([\x02-\xcf\xd8-\xfe])")  # without those that have no length
_FRAME_MARKERS = {bytes([code]) for code in range(0xC0, 0xD0)} - {b"\xc4", b"\xc8", b"\xcc"}


def _webp(content: bytes) -> Size | None:
    kind = content[12:16]
    if kind == b"VP8X":
        low_width, high_width, low_height, high_height = struct.unpack_from("<HBHB", content, 24)
        return (low_width | high_width << 16) + 1, (low_height | high_height << 16) + 1
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", content, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", content, 26)
    return width & 0x3FFF, height & 0x3FFF


def _bmp(content: bytes) -> Size | None:
    (head,) = struct.unpack_from("<I", content, 14)
    width, height = struct.unpack_from("<HH" if head == 12 else "<ii", content, 18)
    return abs(width), abs(height)  # a negative height: from the top to the bottom


def _tiff(content: bytes) -> Size | None:
    order = "<" if content[:2] == b"II" else ">"
    # The second layout is that of BigTIFF.
    start, count, entry, value = ("I", "H", 12, 8) if 42 in content[2:4] else ("Q", "Q", 20, 12)
    (at,) = struct.unpack_from(order + start, content, 4 if start == "I" else 8)
    (entries,) = struct.unpack_from(order + count, content, at)
    at += struct.calcsize(count)
    found: dict[int, int] = {}
    for place in range(at, at + min(entries, 4096) * entry, entry):
        tag, kind = struct.unpack_from(order + "HH", content, place)
        if tag in (256, 257, 322, 323):  # width and height of the image, and of its tiles
            (side,) = struct.unpack_from(order + {1: "B", 3: "H", 4: "I", 16: "Q"}[kind], content, place + value)
            found.setdefault(tag, side)
    tile = (found.get(322, 0), found.get(323, 0))
    return max((found[256], found[257]), tile, key=lambda size: size[0] * size[1])


_READERS: dict[bytes, Callable[[bytes], Size | None]] = {
    rb"\x89PNG\r\n\x1a\n": _png,
    rb"\xff\xd8\xff": _jpeg,
    rb"RIFF....WEBPVP8": _webp,
    rb"BM": _bmp,
    rb"(II[*+]\0|MM\0[*+])": _tiff,
}
