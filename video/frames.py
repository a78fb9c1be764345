"""Frames in and out: video files, images, folders of images, and cameras.

`open_source` gives frames with presentation times; `open_sink` writes frames with these times and the source's audio.
Both hold few frames in memory; `read_frames` and `write_video` are for whole small clips.
"""

import itertools
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import cv2

from ..common.arrays import Image, resized, size_at_height
from ..common.files import InputError
from .codecs import Encoding
from .images import read_image, write_image
from .sinks import VIDEO_SUFFIXES, FrameSink, open_sink
from .sources import Frame, FrameSource, SourceInfo, open_source

__all__ = [
    "VIDEO_SUFFIXES",
    "Encoding",
    "Frame",
    "FrameSink",
    "FrameSource",
    "SourceInfo",
    "open_sink",
    "open_source",
    "read_frames",
    "read_image",
    "resize_to_height",
    "write_image",
    "write_video",
]


def read_frames(
    spec: str | Path, *, height: int | None = None, max_frames: int | None = None, start: int = 0
) -> list[Image]:
    """Read a whole small clip into memory, each frame (H, W, 3) uint8 RGB.

    Args:
        spec: as for `open_source`, with its errors.
        height: resize to this height as `resize_to_height` does; None keeps the size.
        max_frames: None reads all.
        start: number of frames to skip at the beginning.
    """
    stop = None if max_frames is None else start + max_frames
    with open_source(spec) as source:
        images = (frame.image for frame in itertools.islice(source, start, stop))
        return [image if height is None else resize_to_height(image, height) for image in images]


def resize_to_height(image: Image, height: int) -> Image:
    """Resize (H, W, 3) uint8 by averaging areas; the width keeps the aspect ratio, rounded to the nearest even."""
    size = size_at_height((image.shape[1], image.shape[0]), height)
    return resized(image, size, enlarge=cv2.INTER_AREA)


def write_video(target: Path, frames: Iterable[Image], frame_rate: Fraction | float = 25, quality: int = 65) -> None:
    """Write a video with a constant frame rate and no audio.

    Raises InputError as `open_sink` or if there are no frames, OSError if writing fails.

    Args:
        target: ends in .mp4, .mov, .mkv or .webm.
        frames: each (H, W, 3) uint8 RGB, all of one size.
        quality: 0 to 100, as in `Encoding`.
    """
    if target.suffix.lower() not in VIDEO_SUFFIXES:
        raise InputError(f"cannot write '{target}' as a video: end its name in {', '.join(sorted(VIDEO_SUFFIXES))}")
    rate = Fraction(frame_rate).limit_denominator(1001)
    with open_sink(target, None, frame_rate=rate, encoding=Encoding(quality=quality)) as sink:
        for index, image in enumerate(frames):
            sink.write(Frame(image, float(index / rate)))
