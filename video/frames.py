"""Frames in and out: video files, images, folders of images, and cameras.

`open_source` gives an iterable of frames with their presentation times; `open_sink` takes frames and writes them with
the same times and the source's sound. Both work frame by frame, so that memory does not grow with the length of a
video. For whole small clips there are `read_frames` and `write_video`.
"""

import itertools
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import cv2

from ..common.arrays import Image, resized, size_at_height
from ..common.files import InputError
from .images import IMAGE_SUFFIXES, read_image, write_image
from .sinks import VIDEO_SUFFIXES, FrameSink, open_sink
from .sources import Frame, FrameSource, SourceInfo, open_source

__all__ = [
    "IMAGE_SUFFIXES",
    "VIDEO_SUFFIXES",
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
    """Read a whole small clip into memory.

    Args:
        spec: anything that `open_source` takes.
        height: resize to this height, averaging areas; the width keeps the aspect ratio, rounded to the nearest even
            number.
        max_frames: read at most so many frames.
        start: leave out so many frames at the beginning.

    Returns:
        The frames, each (H, W, 3) uint8 RGB.

    Raises:
        InputError: as `open_source`.
    """
    stop = None if max_frames is None else start + max_frames
    with open_source(spec) as source:
        images = (frame.image for frame in itertools.islice(source, start, stop))
        return [image if height is None else resize_to_height(image, height) for image in images]


def resize_to_height(image: Image, height: int) -> Image:
    """Resize (H, W, 3) uint8 by averaging areas; the width keeps the aspect ratio, rounded to the nearest even."""
    size = size_at_height((image.shape[1], image.shape[0]), height)
    return resized(image, size, enlarge=cv2.INTER_AREA)


def write_video(target: Path, frames: Iterable[Image], frame_rate: Fraction | float = 25, crf: int = 18) -> None:
    """Write a video with a constant frame rate and no sound.

    Args:
        target: the file to write, ending in .mp4, .mov or .mkv.
        frames: each (H, W, 3) uint8 RGB, all of one size.
        frame_rate: frames per second.
        crf: quality of H.264, 0 (lossless) to 51.

    Raises:
        InputError: as `open_sink`, or there are no frames.
        OSError: writing fails.
    """
    if target.suffix.lower() not in VIDEO_SUFFIXES:
        raise InputError(f"cannot write '{target}' as a video: end its name in {', '.join(sorted(VIDEO_SUFFIXES))}")
    rate = Fraction(frame_rate).limit_denominator(1001)
    with open_sink(target, None, frame_rate=rate, crf=crf) as sink:
        for index, image in enumerate(frames):
            sink.write(Frame(image, float(index / rate)))
