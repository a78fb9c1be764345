"""Copies the sound and the subtitles of a source video into an output file, in step with its frames."""

import io
import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import av.error
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Discard, Stream
from av.subtitles.stream import SubtitleStream

from .limits import open_container

_GAP_S = Fraction(1, 5)  # a longer gap in the source's audio is kept
_DELAY_S = 0.1  # a codec may begin so much earlier than its sound
_AHEAD_S = 1  # streams are written this far ahead of video, so that all lie close together in the file
_MILLISECOND = Fraction(1, 1000)

_TEXTS = {"mp4": "mov_text", "mov": "mov_text", "matroska": "subrip", "webm": "webvtt"}
"""Container -> its codec for subtitles of text; FFmpeg's names."""

UNUSABLE = (av.error.FFmpegError, ValueError, ArithmeticError)
"""What PyAV raises for a stream that is broken; those that are OSError or MemoryError, too, are no fault of it."""


class Streams:
    """Copies all sound and subtitles of a file into an output container while the video is written.

    It opens the file a second time, so that memory stays constant. What the container cannot hold is converted, sound
    to AAC (Opus in WebM), subtitles of text to the container's own. What cannot be read or written is left out.
    """

    def __init__(
        self, path: Path, origin: Fraction, output: OutputContainer, notes: list[str], *, end_s: float | None = None
    ) -> None:
        """Add the streams to `output` before its first packet; source time `origin` (seconds) becomes 0.

        What begins before that, or later than `end_s` seconds after it, is left out. `notes` gets a sentence for each
        stream that is left out or breaks off.
        """
        self._notes = notes
        self._origin = origin
        self._end_s = math.inf if end_s is None else end_s
        self._input = open_container(path)
        self._pending: Packet[Stream] | None = None
        self._tracks: dict[int, _Track] = {}
        self._names: dict[int, str] = {}
        try:
            kinds = Counter(stream.type for stream in self._input.streams)
            seen = Counter[str]()
            for stream in self._input.streams:
                stream.discard = Discard.all
                if isinstance(stream, (AudioStream, SubtitleStream)):
                    seen[stream.type] += 1
                    name = "the sound" if isinstance(stream, AudioStream) else "the subtitles"
                    several = f" {seen[stream.type]} of {kinds[stream.type]}" if kinds[stream.type] > 1 else ""
                    self._names[stream.index] = f"{name}{several}"
                    with self._guarded(stream.index):
                        track = _Sound if isinstance(stream, AudioStream) else _Subtitles
                        self._tracks[stream.index] = track(stream, origin, output)
                        stream.discard = Discard.default
        except BaseException:
            self.close()
            raise
        self._packets: Iterator[Packet[Stream]] = self._input.demux([self._input.streams[i] for i in self._tracks])

    def write_until(self, time_s: Fraction | None) -> None:
        """Write what lies before `time_s` seconds after the origin, and a little more; None writes all of it."""
        while self._tracks and (packet := self._next()) is not None:
            position = None if packet.pts is None else packet.pts * packet.time_base - self._origin
            if time_s is not None and position is not None and position > time_s + _AHEAD_S:
                self._pending = packet
                return
            index = packet.stream.index  # `stream_index` of the empty packet at the end is always 0
            shown_s = (
                packet.duration * packet.time_base
                if packet.duration and isinstance(packet.stream, SubtitleStream)
                else 0
            )
            within = position is None or ((position > -_DELAY_S or position + shown_s > 0) and position < self._end_s)
            if index in self._tracks and within:
                with self._guarded(index):
                    self._tracks[index].write(packet)

    def finish(self) -> None:
        """Flush the encoders and close the source."""
        for index in list(self._tracks):
            with self._guarded(index):
                self._tracks[index].finish()
        self.close()

    def close(self) -> None:
        """Close the source without writing anything more."""
        self._input.close()

    def _next(self) -> "Packet[Stream] | None":
        if self._pending is not None:
            packet, self._pending = self._pending, None
            return packet
        try:
            return next(self._packets, None)
        except av.error.FFmpegError:  # a truncated file: the video reader reports it
            return None

    @contextmanager
    def _guarded(self, index: int) -> Iterator[None]:
        # Where a stream fails, the others go on without it.
        try:
            yield
        except UNUSABLE as error:
            if isinstance(error, (OSError, MemoryError)):
                raise
            self._tracks.pop(index, None)
            reason = getattr(error, "strerror", None) or error
            verb = "are left out or break off" if "subtitles" in self._names[index] else "is left out or breaks off"
            pronoun = "they" if "subtitles" in self._names[index] else "it"
            self._notes.append(f"{self._names[index]} {verb}, because {pronoun} cannot be read or written ({reason})")


class _Track(ABC):
    """One stream on its way; all methods raise one of `UNUSABLE` where it cannot go on."""

    def __init__(self, source: Stream, origin: Fraction, output: OutputContainer) -> None:
        if source.codec_context is None:
            raise ValueError("its codec is unknown")
        self._origin = origin
        self._output = output
        self._copies = _can_hold(output, _add_copy, source)
        if not self._copies:
            self._check(source)
        self._stream = (_add_copy if self._copies else self._add)(output, source)
        for key in ("language", "title"):
            if source.metadata.get(key, "und") != "und":
                self._stream.metadata[key] = source.metadata[key]
        self._stream.disposition = source.disposition

    @abstractmethod
    def _check(self, source: Stream) -> None:
        """Raise ValueError, before the output has a stream for it, if the source cannot be converted."""

    @abstractmethod
    def _add(self, output: OutputContainer, source: Stream) -> Stream: ...

    @abstractmethod
    def _convert(self, packet: "Packet[Stream]") -> None: ...

    def finish(self) -> None:
        return

    def write(self, packet: "Packet[Stream]") -> None:
        if not self._copies:
            return self._convert(packet)
        if packet.dts is None:  # the empty packet at the end, which flushes a decoder
            return None
        shift = round(self._origin / packet.time_base)
        packet.dts -= shift
        packet.pts = packet.dts if packet.pts is None else packet.pts - shift
        if packet.dts < 0 and isinstance(packet.stream, SubtitleStream):  # a text that is shown when the part begins
            packet.duration = (packet.duration or 0) + packet.dts
            packet.dts = packet.pts = 0
        if packet.dts < 0 and self._output.format.name in ("matroska", "webm"):
            # Codec delay starts before time 0; Matroska has no negative times and would shift all frames.
            if packet.pts + (packet.duration or 0) <= 0:
                return None
            packet.dts = packet.pts = 0
        packet.stream = self._stream
        return self._output.mux(packet)


class _Sound(_Track):
    _heard_s: Fraction | None = None
    _came = _decoded = False

    def _check(self, source: Stream) -> None:
        if not _can_hold(self._output, _add_sound, source):
            raise ValueError("it is not sound")

    def _add(self, output: OutputContainer, source: Stream) -> Stream:
        return _add_sound(output, source)

    def _convert(self, packet: "Packet[Stream]") -> None:
        assert isinstance(self._stream, AudioStream)
        self._came |= packet.size > 0
        try:
            frames = packet.decode()
        except av.error.FFmpegError:  # a damaged packet is a short silence
            return
        for frame in frames:
            self._decoded = True
            if isinstance(frame, AudioFrame) and self._stamp(frame):
                self._output.mux(self._stream.encode(frame))

    def finish(self) -> None:
        if not self._copies:
            if self._came and not self._decoded:
                raise ValueError("nothing of it can be decoded")
            assert isinstance(self._stream, AudioStream)
            if self._heard_s is not None:
                self._output.mux(self._stream.encode(None))

    def _stamp(self, frame: AudioFrame) -> bool:
        """Set its time; False if it begins before the pictures, whose times Matroska would move."""
        # Time stamps of old codecs jitter, but the encoder needs contiguous samples: count samples, but keep gaps.
        start = self._heard_s
        if frame.pts is not None and frame.time_base is not None:
            stamped = frame.pts * frame.time_base - self._origin
            if stamped < 0:
                return False
            if start is None or stamped > start + _GAP_S:
                start = stamped
        start = start or Fraction(0)
        frame.time_base = Fraction(1, frame.sample_rate)
        frame.pts = round(start * frame.sample_rate)
        self._heard_s = start + Fraction(frame.samples, frame.sample_rate)
        return True


class _Subtitles(_Track):
    def _check(self, source: Stream) -> None:
        assert isinstance(source, SubtitleStream)
        if not source.codec_context.codec.text_sub:
            raise ValueError("this kind of file cannot hold pictures as subtitles")
        source.codec_context.open(strict=False)  # which sets its header

    def _add(self, output: OutputContainer, source: Stream) -> Stream:
        stream = output.add_stream(_TEXTS[output.format.name])
        assert isinstance(stream, SubtitleStream) and isinstance(source, SubtitleStream)
        stream.codec_context.subtitle_header = source.codec_context.subtitle_header
        stream.codec_context.time_base = _MILLISECOND
        return stream

    def _convert(self, packet: "Packet[Stream]") -> None:
        assert isinstance(packet.stream, SubtitleStream) and isinstance(self._stream, SubtitleStream)
        texts = packet.stream.codec_context.decode2(packet) if packet.size else None
        if texts is None or packet.pts is None:  # the gap between two texts
            return
        start_s, length_s = packet.pts * packet.time_base - self._origin, (packet.duration or 0) * packet.time_base
        if start_s + length_s <= 0:
            return
        written = self._stream.codec_context.encode_subtitle(texts)
        written.stream, written.time_base = self._stream, _MILLISECOND
        begun_s = max(Fraction(0), start_s)
        written.pts = written.dts = round(begun_s / _MILLISECOND)
        written.duration = round((start_s + length_s - begun_s) / _MILLISECOND)
        self._output.mux(written)


def _can_hold(output: OutputContainer, add: Callable[[OutputContainer, Stream], Stream], source: Stream) -> bool:
    # A muxer lists more codecs than it can write: try it.
    try:
        with av.open(io.BytesIO(), "w", format=output.format.name) as trial:
            add(trial, source)
            trial.start_encoding()
    except UNUSABLE:
        return False
    return True


def _add_copy(output: OutputContainer, source: Stream) -> Stream:
    return output.add_stream_from_template(source)


def _add_sound(output: OutputContainer, source: Stream) -> Stream:
    assert isinstance(source, AudioStream)
    name = "libopus" if output.format.name == "webm" else "aac"
    rates = av.Codec(name, "w").audio_rates or [48000]
    stream = output.add_stream(name, rate=source.rate if source.rate in rates else 48000)
    assert isinstance(stream, AudioStream)
    # By channel count, because old formats do not name their channels.
    stream.layout = {1: "mono", 6: "5.1", 8: "7.1"}.get(source.layout.nb_channels, "stereo")
    return stream
