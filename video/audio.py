"""Copies the audio of a source video into an output file, in sync with its frames."""

import io
import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import av.error
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Discard

from .limits import open_container

_GAP_S = Fraction(1, 5)  # a longer gap in the source's audio is kept
_DELAY_S = 0.1  # a codec may begin so much earlier than its sound
_AHEAD_S = 1  # audio is written this far ahead of video, so that both lie close together in the file

UNUSABLE = (av.error.FFmpegError, ValueError, ArithmeticError)
"""What PyAV raises for audio that is broken; those that are OSError or MemoryError, too, are no fault of the audio."""


class AudioTrack:
    """Copies the audio stream of a file into an output container while the video is written.

    It opens the file a second time, so that memory stays constant. A codec that the container cannot hold becomes AAC.
    Of a codec that is unknown, and of a stream that cannot be written, all methods raise one of `UNUSABLE`.
    """

    def __init__(self, path: Path, origin: Fraction, output: OutputContainer, end_s: float | None = None) -> None:
        """Add an audio stream to `output` before its first packet; source time `origin` (seconds) becomes 0.

        What begins later than `end_s` seconds after the origin is left out.
        """
        self._origin = origin
        self._end_s = math.inf if end_s is None else end_s
        self._output = output
        self._input = open_container(path)
        self._source = self._input.streams.audio[0]
        for stream in self._input.streams:
            if stream.index != self._source.index:
                stream.discard = Discard.all
        self._packets: Iterator[Packet[AudioStream]] = self._input.demux(self._source)
        self._pending: Packet[AudioStream] | None = None
        self._heard_s: Fraction | None = None
        try:
            if self._source.codec_context is None:
                raise ValueError("its codec is unknown")
            self._copies = _can_hold(output, _add_copy, self._source)
            if not self._copies and not _can_hold(output, _add_aac, self._source):
                raise ValueError("it is not sound")
            self._stream = (_add_copy if self._copies else _add_aac)(output, self._source)
        except BaseException:
            self.close()
            raise

    def write_until(self, time_s: Fraction | None) -> None:
        """Write the audio up to `time_s` seconds after the origin, and a little more; None writes all of it."""
        while (packet := self._next()) is not None:
            position = None if packet.pts is None else packet.pts * packet.time_base - self._origin
            if time_s is not None and position is not None and position > time_s + _AHEAD_S:
                self._pending = packet
                return
            if position is None or -_DELAY_S < position < self._end_s:
                self._write(packet)

    def finish(self) -> None:
        """Flush the encoder and close the source."""
        if not self._copies:
            if self._heard_s is None:
                raise ValueError("nothing of it can be decoded")
            self._output.mux(self._stream.encode(None))
        self.close()

    def close(self) -> None:
        """Close the source without writing anything more."""
        self._input.close()

    def _next(self) -> "Packet[AudioStream] | None":
        if self._pending is not None:
            packet, self._pending = self._pending, None
            return packet
        try:
            return next(self._packets, None)
        except av.error.FFmpegError:  # a truncated file: the video reader reports it
            return None

    def _write(self, packet: "Packet[AudioStream]") -> None:
        if self._copies:
            if packet.dts is None:  # the empty packet at the end, which flushes a decoder
                return
            shift = round(self._origin / packet.time_base)
            packet.dts -= shift
            packet.pts = packet.dts if packet.pts is None else packet.pts - shift
            if packet.dts < 0 and self._output.format.name == "matroska":
                # Codec delay starts before time 0; Matroska has no negative times and would shift all frames.
                if packet.pts + (packet.duration or 0) <= 0:
                    return
                packet.dts = packet.pts = 0
            packet.stream = self._stream
            self._output.mux(packet)
            return
        try:
            frames = packet.decode()
        except av.error.FFmpegError:  # a damaged packet is a short silence
            return
        for frame in frames:
            self._stamp(frame)
            self._output.mux(self._stream.encode(frame))

    def _stamp(self, frame: AudioFrame) -> None:
        # Time stamps of old codecs jitter, but the encoder needs contiguous samples: count samples, but keep gaps.
        start = self._heard_s
        if frame.pts is not None and frame.time_base is not None:
            stamped = frame.pts * frame.time_base - self._origin
            if start is None or stamped > start + _GAP_S:
                start = stamped
        start = start or Fraction(0)
        frame.time_base = Fraction(1, frame.sample_rate)
        frame.pts = round(start * frame.sample_rate)
        self._heard_s = start + Fraction(frame.samples, frame.sample_rate)


def _can_hold(
    output: OutputContainer, add: Callable[[OutputContainer, AudioStream], AudioStream], source: AudioStream
) -> bool:
    # A muxer lists more codecs than it can write: try it.
    try:
        with av.open(io.BytesIO(), "w", format=output.format.name) as trial:
            add(trial, source)
            trial.start_encoding()
    except UNUSABLE:
        return False
    return True


def _add_copy(output: OutputContainer, source: AudioStream) -> AudioStream:
    return output.add_stream_from_template(source)


def _add_aac(output: OutputContainer, source: AudioStream) -> AudioStream:
    rates = av.Codec("aac", "w").audio_rates or [48000]
    rate = source.rate if source.rate in rates else 48000
    stream = output.add_stream("aac", rate=rate)
    # By channel count, because old formats do not name their channels.
    stream.layout = {1: "mono", 6: "5.1", 8: "7.1"}.get(source.layout.nb_channels, "stereo")
    return stream
