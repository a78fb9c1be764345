"""Frames of video files."""

import itertools
import re
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import TypeVar

import av
import av.error
import cv2
import numpy as np
from av.buffer import Buffer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from ...common.arrays import Image, resized
from ...common.files import InputError
from ..codecs import Vp9Alpha
from ..hdr import TRANSFERS, ToneMapper
from ..limits import check_size, most_pixels, open_container
from .base import DEFAULT_RATE, Chapter, Frame, FrameSource, SourceInfo

Pixel = TypeVar("Pixel", bound=np.generic)

# FFmpeg's numbers for colour matrices (AVColorSpace, as in ITU-T H.273).
_BT709, _UNSPECIFIED, _BT601 = 1, 2, 6


class VideoSource(FrameSource):
    """A video file; InputError if there is no picture in it that can be decoded."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._container = open_container(path)
        except av.error.FFmpegError as error:
            raise InputError(
                f"'{path}' is not a video that can be read, or it breaks off before its index: give a whole video file"
            ) from error
        try:
            self._stream = self._video_stream()
            self._damaged = False
            self._vp9_alpha = Vp9Alpha() if self._stream.metadata.get("alpha_mode") == "1" else None
            self._decoded = self._decode()
            self._tone_mapped = ToneMapper()
            self._first = next(self._decoded, None)
            if self._first is None:
                limit = f"of up to {most_pixels() >> 20} megapixels"
                raise InputError(f"there is no picture in '{path}' that can be decoded, {limit}: give another video")
            self._describe(self._first)
        except BaseException:
            self._container.close()
            raise

    def seek(self, time_s: float) -> None:
        """As `FrameSource`."""
        if time_s <= 0:
            return
        # Many containers seek by decoding times, and MPEG-TS to any packet: look what comes, and go further back.
        for back_s in (0, 2, 20):
            if time_s <= back_s:
                break
            with suppress(av.error.FFmpegError):  # of a file without an index
                self._container.seek(int((self.origin + Fraction(time_s - back_s)) * av.time_base))
                self._decoded = self._decode()
                self._first = first = next(self._decoded, None)
                if first is None or first.pts is None or first.time_base is None:
                    continue
                if self._moment(first.pts, first.time_base) <= time_s:
                    return
        self._container.close()
        VideoSource.__init__(self, self._path)  # from the beginning

    def _video_stream(self) -> VideoStream:
        # FFmpeg takes the cover picture of a song for a video.
        streams = [s for s in self._container.streams.video if not s.disposition & Disposition.attached_pic]
        if not streams:
            raise InputError(f"there is no video in '{self._path}': give a video file")
        stream = streams[0]
        if stream.codec_context is None:
            raise InputError(f"the video in '{self._path}' is of an unknown kind: convert it to H.264")
        check_size(self._path, stream.width, stream.height)
        stream.thread_type = "AUTO"
        stream.codec_context.options = {"max_pixels": str(most_pixels())}  # a stream may change its size on the way
        return stream

    def _describe(self, first: VideoFrame) -> None:
        stream = self._stream
        self._matrix = _display_matrix(first)
        upright = _turn(np.empty((first.height, first.width), np.bool_), self._matrix)
        self._size = (upright.shape[1], upright.shape[0])
        alpha = self._alpha(first)
        # A palette or RGB may be opaque throughout, and mostly is; whoever writes YUV with alpha means it.
        has_alpha = alpha is not None and (not first.format.is_rgb or int(alpha.min()) < 255)
        rate = stream.average_rate or stream.guessed_rate or DEFAULT_RATE
        if not 0 < rate <= 1000:
            rate = DEFAULT_RATE
        duration = self._duration()
        audio = self._container.streams.audio
        starts = [s.start_time * s.time_base for s in (stream, *audio) if s.start_time is not None and s.time_base]
        self.origin = min(starts, default=Fraction(0))
        self.time_base = stream.time_base
        aspect = stream.sample_aspect_ratio or Fraction(1)
        self.pixel_aspect = 1 / aspect if self._matrix[0] == 0 else aspect
        self.streams_path = self._path if audio or self._container.streams.subtitles else None
        self.chapters = tuple(
            Chapter(self._moment(one["start"], base), self._moment(one["end"], base), one["metadata"].get("title", ""))
            for one in self._container.chapters()
            if (base := one["time_base"])
        )
        self.created = self._container.metadata.get("creation_time", "")
        self.info = SourceInfo(
            name=self._path.name,
            kind="video",
            width=self._size[0],
            height=self._size[1],
            frame_rate=rate,
            frames=max(1, round(duration * rate)) if duration is not None else stream.frames or None,
            duration_s=float(duration) if duration is not None else None,
            has_audio=bool(audio),
            has_alpha=has_alpha,
        )

    def _moment(self, ticks: int, time_base: Fraction) -> Fraction:
        return max(Fraction(0), ticks * time_base - self.origin)

    def _duration(self) -> Fraction | None:
        stream = self._stream
        if stream.duration is not None and stream.time_base is not None:
            return stream.duration * stream.time_base
        # Matroska keeps a stream's duration in a tag; the container's is that of its longest stream.
        tag = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", stream.metadata.get("DURATION", ""))
        if tag is not None:
            return int(tag[1]) * 3600 + int(tag[2]) * 60 + Fraction(tag[3])
        return None if self._container.duration is None else Fraction(self._container.duration, av.time_base)

    def _decode(self) -> Iterator[VideoFrame]:
        try:
            for packet in self._container.demux(self._stream):
                try:
                    if self._vp9_alpha is not None:
                        self._vp9_alpha.add(packet)
                    pictures = packet.decode()
                except av.error.FFmpegError:
                    check_size(self._path, self._stream.width, self._stream.height)
                    self._damaged = True
                    continue
                self._damaged |= any(picture.is_corrupt for picture in pictures)
                yield from pictures
        except av.error.FFmpegError:
            self._damaged = True

    def _frames(self) -> Iterator[Frame]:
        step = 1 / (self.info.frame_rate or DEFAULT_RATE)
        count, moment, end = 0, -step, Fraction(0)
        for picture in itertools.chain([self._first] if self._first is not None else [], self._decoded):
            if picture.pts is not None and picture.time_base is not None:
                moment = self._moment(picture.pts, picture.time_base)
            else:
                moment += step
            end = moment + (picture.duration * picture.time_base if picture.duration and picture.time_base else step)
            self._first = None  # frees its memory
            count += 1
            alpha = self._alpha(picture)
            if alpha is not None and not self.info.has_alpha and int(alpha.min()) == 255:
                alpha = None
            yield Frame(self._to_rgb(picture), float(moment), None if alpha is None else self._upright(alpha))
        self._note(count, end)

    def _note(self, count: int, end: Fraction) -> None:
        expected = self.info.frames or count
        step = 1 / (self.info.frame_rate or DEFAULT_RATE)
        missing_s = (self.info.duration_s or 0) - float(end)
        # A file's metadata are not exact; a truncated file misses far more than this.
        if count < expected and missing_s > max(1.5 * step, 0.03 * (self.info.duration_s or 0)):
            self.note = f"the file breaks off: {count} of about {expected} frames were decoded"
        elif self._damaged:
            self.note = f"the file is damaged in places: {count} of about {max(count, expected)} frames were decoded"

    def _to_rgb(self, picture: VideoFrame) -> Image:
        if picture.color_trc in TRANSFERS:
            picture = self._tone_mapped(picture)
        elif picture.colorspace == _UNSPECIFIED and not picture.format.is_rgb:
            picture.colorspace = _BT709 if min(picture.width, picture.height) >= 720 else _BT601
        return self._upright(np.asarray(picture.to_ndarray(format="rgb24"), np.uint8))

    def _alpha(self, picture: VideoFrame) -> Image | None:
        if self._vp9_alpha is not None:
            alpha = self._vp9_alpha.of(picture.pts)
            return alpha if alpha is not None and alpha.shape == (picture.height, picture.width) else None
        if not any(component.is_alpha for component in picture.format.components):
            return None
        return np.asarray(picture.to_ndarray(format="rgba"), np.uint8)[:, :, 3]

    def _upright(self, image: Image) -> Image:
        image = _turn(image, self._matrix)
        if (image.shape[1], image.shape[0]) != self._size:  # a stream may change its size on the way
            image = resized(image, self._size, enlarge=cv2.INTER_AREA)
        return np.ascontiguousarray(image)

    def close(self) -> None:
        """As `FrameSource`."""
        self._container.close()


def _display_matrix(picture: VideoFrame) -> tuple[int, int, int, int]:
    # ISO 14496-12: (a b / c d), 16.16 fixed point, maps stored (x, y) to (a x + c y, b x + d y) on the screen.
    data = picture.side_data.get("DISPLAYMATRIX")
    if not isinstance(data, Buffer):
        return 1, 0, 0, 1
    a, b, _, c, d, *_ = (round(int(value) / 65536) for value in np.frombuffer(bytes(data), "<i4"))
    quarter_turn = a * d - b * c in (-1, 1) and 0 in (a, b)
    return (a, b, c, d) if quarter_turn else (1, 0, 0, 1)


def _turn(image: NDArray[Pixel], matrix: tuple[int, int, int, int]) -> NDArray[Pixel]:
    a, b, c, d = matrix
    if a == 0:  # quarter turns
        return image.swapaxes(0, 1)[::b, ::c]
    return image[::d, ::a]
