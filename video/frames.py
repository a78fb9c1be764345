"""Frames in and out: video files, images, folders of images, and cameras.

`open_source` gives frames with presentation times; `open_sink` writes frames with these times and the source's audio.
Both hold few frames in memory; `read_frames` and `write_video` are for whole small clips.
"""

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2

from ..common.arrays import Image, resized, size_at_height
from ..common.files import InputError
from .codecs import Encoding
from .images import read_image, write_image
from .sinks import VIDEO_SUFFIXES, FrameSink, open_sink
from .sources.base import DEFAULT_RATE, Chapter, Frame, FrameSource, SourceInfo
from .sources.opening import open_source

__all__ = [
    "VIDEO_SUFFIXES",
    "Encoding",
    "Frame",
    "FrameSink",
    "FrameSource",
    "SourceInfo",
    "open_part",
    "open_sink",
    "open_source",
    "read_frames",
    "read_image",
    "resize_to_height",
    "write_image",
    "write_video",
]


class _Part(FrameSource):
    """A part of a source, whose times begin at 0 again."""

    def __init__(self, source: FrameSource, start_s: float, duration_s: float | None) -> None:
        self._source, self._start_s = source, start_s
        self._end_s = math.inf if duration_s is None else start_s + duration_s
        info = source.info
        if info.duration_s is not None:
            length = max(0.0, min(self._end_s, info.duration_s) - start_s)
            frames = None if info.frame_rate is None else max(1, round(length * float(info.frame_rate)))
            info = replace(info, duration_s=length, frames=frames)
        self.info = info
        self.file_names = source.file_names[math.ceil(start_s * DEFAULT_RATE) :] if source.info.kind == "folder" else ()
        self.streams_path, self.time_base, self.pixel_aspect = (
            source.streams_path,
            source.time_base,
            source.pixel_aspect,
        )
        self.created = source.created
        self.origin = source.origin + Fraction(start_s)
        self.chapters = tuple(self._within(source.chapters))
        self.end_s = None if duration_s is None else duration_s

    def _within(self, chapters: Iterable[Chapter]) -> Iterator[Chapter]:
        for chapter in chapters:
            start = max(self._start_s, float(chapter.start_s)) - self._start_s
            end = min(self._end_s, float(chapter.end_s)) - self._start_s
            if start < end:
                yield Chapter(Fraction(start), Fraction(end), chapter.title)

    def _frames(self) -> Iterator[Frame]:
        found = False
        self._source.seek(self._start_s)
        for frame in self._source:
            if frame.time_s >= self._end_s:
                break
            if frame.time_s >= self._start_s:
                found = True
                yield replace(frame, time_s=frame.time_s - self._start_s)
        if not found:
            raise InputError(f"'{self.info.name}' has no frame from {self._start_s:g} s on: begin earlier")
        self.note = self._source.note

    def close(self) -> None:
        self._source.close()


def open_part(spec: str | Path, start_s: float = 0.0, duration_s: float | None = None) -> FrameSource:
    """Open a source, of which only the frames from `start_s` on are read, `duration_s` seconds of them.

    Raises InputError as `open_source`, for a part of a camera or an image, and, when read, if no frame lies there.
    """
    source = open_source(spec)
    if start_s == 0 and duration_s is None:
        return source
    if source.info.kind in ("camera", "image"):
        source.close()
        raise InputError(f"{source.info.name} has no length: a start and a duration are for videos")
    return _Part(source, start_s, duration_s)


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
        images = (frame.on_white for frame in itertools.islice(source, start, stop))
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
