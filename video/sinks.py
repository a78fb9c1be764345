"""Frames to video files, images, and folders of images, one at a time; the target appears only when complete."""

import errno
import math
import os
import re
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import av.error
import cv2
import numpy as np
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from ..common.arrays import Image
from ..common.files import (
    InputError,
    atomic_path,
    check_folder_writable,
    check_writable,
    made_folder,
    remove_abandoned,
    temporary_name,
)
from .codecs import AS_EVER, VIDEO_SUFFIXES, Encoder, Encoding
from .images import ALPHA_SUFFIXES, IMAGE_SUFFIXES, write_image
from .sources.base import DEFAULT_RATE, Frame, FrameSource
from .streams import Streams

__all__ = ["VIDEO_SUFFIXES", "FrameSink", "open_sink"]

# FFmpeg's numbers for BT.709 (colour matrix, primaries and transfer alike, ITU-T H.273) and for limited range.
_BT709, _LIMITED_RANGE = 1, 1


class FrameSink(ABC):
    """Takes frames and writes them: `with open_sink(path, source) as sink: sink.write(frame)`.

    The target appears at `close`; leaving the `with` block by an exception removes the unfinished output.

    Attributes:
        notes: sentences for the user, complete after `close`.
    """

    def __init__(self, target: Path) -> None:
        self.notes: list[str] = []
        self._target = target
        self._cleanup = ExitStack()
        self._closed = False
        self._count = 0

    def write(self, frame: Frame) -> None:
        """Write one frame, (H, W, 3) uint8 RGB, whose time is later than that of the frame before.

        Raises InputError if it does not fit the output, for instance in size, and OSError if writing fails.
        """
        if frame.alpha is not None and frame.alpha.shape != frame.image.shape[:2]:
            raise ValueError(f"alpha {frame.alpha.shape} does not fit a frame {frame.image.shape}")
        if frame.image.ndim != 3 or frame.image.shape[2] != 3 or frame.image.dtype != np.uint8:
            raise ValueError(f"a frame must be (H, W, 3) uint8, but is {frame.image.shape} {frame.image.dtype}")
        self._write(frame)
        self._count += 1

    def close(self) -> None:
        """Finish and rename to the target; calling it again does nothing.

        Raises InputError if no frame was written, and OSError if writing fails.
        """
        if self._closed:
            return
        self._closed = True
        with self._cleanup:
            try:
                if self._count == 0:
                    raise InputError(f"there is no frame to write to '{self._target}': check the input")
                self._finish()
            except BaseException:
                self._give_up()
                raise

    def _opaque(self, frame: Frame, why: str = "cannot hold it; .png, .webp and .mov with prores can") -> Image:
        """The image on white, and a note if it was transparent somewhere; for an output without alpha."""
        note = f"what is transparent became white: '{self._target.name}' {why}"
        if frame.alpha is not None and note not in self.notes:
            self.notes.append(note)
        return frame.on_white

    @abstractmethod
    def _write(self, frame: Frame) -> None: ...

    def _finish(self) -> None:
        return

    def _give_up(self) -> None:
        return

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        elif not self._closed:
            self._closed = True
            self._give_up()
            self._cleanup.__exit__(kind, error, trace)


class _VideoSink(FrameSink):
    def __init__(
        self, target: Path, source: FrameSource | None, frame_rate: Fraction | None, encoding: Encoding
    ) -> None:
        super().__init__(target)
        self._source = source
        self._rate = (source.info.frame_rate if source else None) or frame_rate or DEFAULT_RATE
        self._tick = _tick(source.time_base if source else None, self._rate)
        self._encoding = encoding
        info = source.info if source else None
        self._encoder = self._checked(info.width, info.height, info.has_alpha) if info else None
        self._size: tuple[int, ...] = ()
        self._last_pts = -1
        self._last_time = Fraction(0)
        self._streams: Streams | None = None
        temporary = self._cleanup.enter_context(atomic_path(target))
        # Index at the front of the file, so that a partial download plays.
        options = {"movflags": "+faststart"} if target.suffix.lower() in (".mp4", ".mov") else {}
        with self._system_errors():
            self._container = av.open(f"file:{temporary}", "w", options=options)

    def _checked(self, width: int, height: int, alpha: bool) -> Encoder:
        return Encoder(self._encoding, self._target, (width, height), self._rate, alpha=alpha)

    def _start(self, encoder: Encoder, height: int, width: int) -> None:
        self._size = (height, width)
        stream = self._container.add_stream(
            encoder.name, rate=self._rate, options=encoder.options, width=width + width % 2, height=height + height % 2
        )
        assert isinstance(stream, VideoStream)
        self._stream = stream
        codec = stream.codec_context
        codec.pix_fmt = encoder.pixels
        if codec.name == "libx265" and self._target.suffix.lower() != ".mkv":
            codec.codec_tag = "hvc1"  # Apple's players know no other
        codec.time_base = self._tick
        self._stream.time_base = self._tick
        codec.color_primaries = codec.color_trc = codec.colorspace = _BT709
        codec.color_range = _LIMITED_RANGE
        if self._source is not None:
            codec.sample_aspect_ratio = self._source.pixel_aspect
            self._keep_data(self._source)
            if self._source.streams_path is not None:
                self._streams = Streams(
                    self._source.streams_path,
                    self._source.origin,
                    self._container,
                    self.notes,
                    end_s=self._source.end_s,
                )
        self._container.start_encoding()

    def _keep_data(self, source: FrameSource) -> None:
        if source.created:
            self._container.metadata["creation_time"] = source.created
        self._container.set_chapters(
            [
                {
                    "id": number,
                    "start": round(chapter.start_s * 1000),
                    "end": round(chapter.end_s * 1000),
                    "time_base": Fraction(1, 1000),
                    "metadata": {"title": chapter.title},
                }
                for number, chapter in enumerate(source.chapters, 1)
            ]
        )

    def _write(self, frame: Frame) -> None:
        if self._encoder is None:
            self._encoder = self._checked(frame.image.shape[1], frame.image.shape[0], frame.alpha is not None)
        if not self._size:
            with self._system_errors():
                self._start(self._encoder, *frame.image.shape[:2])
        height, width = self._size
        if frame.image.shape[:2] != self._size:
            raise InputError(
                f"frame {self._count + 1} is {frame.image.shape[1]}x{frame.image.shape[0]} and does not fit "
                f"'{self._target}' of {width}x{height}: give pictures of one size, or write to a folder"
            )
        if self._encoder.has_alpha:
            opaque = np.full(self._size, 255, np.uint8)
            image = np.dstack([frame.image, opaque if frame.alpha is None else frame.alpha])
        elif self._target.suffix.lower() in (".webm", ".mov"):
            image = self._opaque(frame, "was begun without, for its first frame is opaque or its codec has no alpha")
        else:
            image = self._opaque(frame)
        # 4:2:0 needs even sides.
        even = cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        picture = VideoFrame.from_ndarray(np.asarray(even, np.uint8), "rgba" if self._encoder.has_alpha else "rgb24")
        # libswscale 9.5 with threads spoils lines of 10 bits: of a flat picture, by up to 85 of 1023.
        threads = None if self._encoder.pixels == "yuv420p" else 1
        picture = picture.reformat(
            format=self._encoder.pixels, dst_colorspace="ITU709", dst_color_range="MPEG", threads=threads
        )
        self._last_time = Fraction(frame.time_s)
        self._last_pts = max(self._last_pts + 1, round(self._last_time / self._tick))
        picture.pts, picture.time_base = self._last_pts, self._tick
        picture.duration = round(1 / self._rate / self._tick)
        with self._system_errors():
            if self._streams is not None:
                self._streams.write_until(self._last_time)
            self._container.mux(self._stream.encode(picture))

    def _finish(self) -> None:
        with self._system_errors():
            if self._streams is not None:
                whole = self._source is not None and self._source.exhausted
                self._streams.write_until(None if whole else self._last_time)
                self._streams.finish()
            packets = self._stream.encode(None)
            if self._stream.codec_context.name == "libx265" and self._count < 3:
                for packet in packets:
                    packet.dts = packet.pts  # libx265 4.1 leaves it at what the memory held
            self._container.mux(packets)
            self._container.close()

    def _give_up(self) -> None:
        if self._streams is not None:
            self._streams.close()
        with suppress(av.error.FFmpegError, OSError):  # it is removed anyway
            self._container.close()

    @contextmanager
    def _system_errors(self) -> Iterator[None]:
        # Callers expect Python's own exceptions.
        try:
            yield
        except av.error.FFmpegError as error:
            if error.errno is not None and error.errno in errno.errorcode:
                raise OSError(error.errno, os.strerror(error.errno), str(self._target)) from error
            raise OSError(f"writing '{self._target}' failed: {error.strerror}") from error


def _tick(time_base: Fraction | None, rate: Fraction) -> Fraction:
    # The source's clock keeps its time stamps exact; else a tick of about 0.1 ms divides the frame interval.
    if time_base is not None and time_base.denominator <= 1_000_000:
        return time_base
    return Fraction(1, rate.numerator * math.ceil(10_000 / rate.numerator))


class _ImageSink(FrameSink):
    def _write(self, frame: Frame) -> None:
        if self._count:
            raise InputError(f"'{self._target}' can hold one picture only: end the output in .mp4, or give a folder")
        holds_alpha = self._target.suffix.lower() in ALPHA_SUFFIXES
        self._frame = frame if holds_alpha else Frame(self._opaque(frame), frame.time_s)

    def _finish(self) -> None:
        write_image(self._target, self._frame.image, self._frame.alpha)


class _FolderSink(FrameSink):
    """Pictures in a folder, which appear together; `target` is the folder, or a pattern of its files' names."""

    def __init__(self, target: Path, source: FrameSource | None) -> None:
        super().__init__(target)
        self._pattern = target.name if _is_pattern(target) else ""
        self._goal = target.parent if self._pattern else target
        names = source.file_names if source and not self._pattern else ()
        stems = [Path(name).stem for name in names]
        self._stems = stems if len(set(stems)) == len(stems) else list(names)
        target = self._goal
        # Inside a folder that is there: it may be a link, or on a disk of its own.
        beside = target / "frames" if target.is_dir() else target
        self._cleanup.enter_context(made_folder(beside.parent))
        remove_abandoned(beside.parent)
        self._folder = temporary_name(beside)
        self._folder.mkdir()
        self._cleanup.callback(shutil.rmtree, self._folder, ignore_errors=True)

    def _write(self, frame: Frame) -> None:
        if self._pattern:
            name = self._pattern % (self._count + 1)
        else:
            stem = self._stems[self._count] if self._count < len(self._stems) else f"{self._count + 1:06d}"
            name = f"{stem}.png"
        holds_alpha = Path(name).suffix.lower() in ALPHA_SUFFIXES
        write_image(self._folder / name, *((frame.image, frame.alpha) if holds_alpha else (self._opaque(frame),)))

    def _finish(self) -> None:
        self._goal.mkdir(exist_ok=True)
        for path in self._folder.iterdir():
            check_writable(self._goal / path.name)
        for path in self._folder.iterdir():
            path.replace(self._goal / path.name)


def _is_pattern(target: Path) -> bool:
    """Whether the name is a pattern of images, such as %06d.png; InputError if it is one that is not understood."""
    if target.suffix.lower() not in IMAGE_SUFFIXES or not re.search(r"%\d*d", target.name):
        return False
    if not re.fullmatch(r"[^%]*%(0?[1-9])?d[^%]*", target.name):
        raise InputError(f"the pattern '{target.name}' is not understood: give it one number, such as %06d.png")
    return True


def open_sink(
    target: Path,
    source: FrameSource | None,
    *,
    frame_rate: Fraction | None = None,
    encoding: Encoding = AS_EVER,
) -> FrameSink:
    """Open an output; its suffix selects the format.

    - .mp4, .mov, .mkv, .webm: a video with BT.709 colours; odd sides grow by one repeated line. Frames keep their
      times. All sound, subtitles, chapters and the date of creation are kept; sound and subtitles are converted where
      the container cannot hold them, and left out, with a note, where they are broken.
    - an image suffix: one picture; with one number in its name, such as %06d.png, a picture for each frame, from 1.
    - no suffix: a folder of PNG files, named like the source's images, else 000001.png and so on. Other files in an
      existing folder stay.

    Args:
        target: missing parent folders are created.
        source: of the frames, for frame rate, clock, names and audio; None if there is none.
        frame_rate: frames per second if the source has none (default 25).
        encoding: of a video.

    Alpha is kept where the output can hold it: PNG, WebP, TIFF, ProRes, and VP9 in .webm and .mkv. Elsewhere
    frames lie on white, with a note; it is refused if `encoding` names a codec without alpha.

    Raises:
        InputError: the encoding does not fit or cannot be had here, the suffix is unknown or does not fit the
            source, or the target is not writable.
    """
    if not target.name:
        raise InputError(f"the output '{target}' has no name of its own: give the name of a file or of a new folder")
    suffix = target.suffix.lower()
    if suffix in VIDEO_SUFFIXES:
        return _VideoSink(target, source, frame_rate, encoding)
    if encoding != AS_EVER:
        endings = ", ".join(sorted(VIDEO_SUFFIXES))
        raise InputError(f"codec, quality and preset are a video's, but '{target}' is none: end it in {endings}")
    if (source is None or source.info.kind != "image") and _is_pattern(target):
        check_folder_writable(target.parent)
        return _FolderSink(target, source)
    if suffix in IMAGE_SUFFIXES:
        if source is not None and source.info.kind != "image":
            raise InputError(
                f"'{target}' can hold one picture only: end the output in .mp4, or give a folder or %06d.png"
            )
        check_writable(target)
        return _ImageSink(target)
    if suffix and not target.is_dir():
        endings = ", ".join(sorted(VIDEO_SUFFIXES | IMAGE_SUFFIXES))
        raise InputError(f"cannot write '{target}': end its name in {endings}, or in nothing for a folder of images")
    check_folder_writable(target)
    return _FolderSink(target, source)
