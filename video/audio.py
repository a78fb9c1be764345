"""The sound of a source video, brought into an output file in step with its pictures."""

import io
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import av.error
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Discard

_GAP_S = Fraction(1, 5)
"""A silence that the source leaves out is kept when it is longer than this."""

_AHEAD_S = 1
"""Sound is written this far ahead of the pictures, so that the two lie close together in the file."""


class AudioTrack:
    """Copies the audio stream of a file into an output container, bit by bit as the video is written.

    It opens the file a second time and reads along, so that memory stays flat however long the file is. Where the
    container cannot hold the codec, the sound is transcoded to AAC.
    """

    def __init__(self, path: Path, origin: Fraction, output: OutputContainer) -> None:
        """Add an audio stream to `output`, before its first packet is written.

        Args:
            path: the source file, which has an audio stream.
            origin: time in the source, in seconds, that becomes time 0.
            output: the container to write to.
        """
        self._origin = origin
        self._output = output
        self._input = av.open(f"file:{path}", metadata_errors="replace")
        self._source = self._input.streams.audio[0]
        for stream in self._input.streams:
            if stream.index != self._source.index:
                stream.discard = Discard.all
        self._packets: Iterator[Packet[AudioStream]] = self._input.demux(self._source)
        self._pending: Packet[AudioStream] | None = None
        self._heard_s: Fraction | None = None
        self._copies = _can_hold(output.format.name, self._source)
        if self._copies:
            self._stream = output.add_stream_from_template(self._source)
        else:
            self._stream = _add_aac(output, self._source)

    def write_until(self, time_s: Fraction | None) -> None:
        """Write the sound up to a time, and a little more.

        Args:
            time_s: time in seconds since the origin; None = up to the end.
        """
        while (packet := self._next()) is not None:
            position = None if packet.pts is None else packet.pts * packet.time_base - self._origin
            if time_s is not None and position is not None and position > time_s + _AHEAD_S:
                self._pending = packet
                return
            self._write(packet)

    def finish(self) -> None:
        """Write what the encoder still holds back, and close the source."""
        if not self._copies:
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
        except av.error.FFmpegError:  # the file breaks off: the video's reader says so, and the sound ends here too
            return None

    def _write(self, packet: "Packet[AudioStream]") -> None:
        if self._copies:
            if packet.dts is None:  # the empty packet at the end that flushes a decoder
                return
            shift = round(self._origin / packet.time_base)
            packet.dts -= shift
            packet.pts = packet.dts if packet.pts is None else packet.pts - shift
            if packet.dts < 0 and self._output.format.name == "matroska":
                # An audio codec starts up a little before time 0. Matroska knows no such times, and would shift all
                # pictures.
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
        # The stamps of old codecs jitter, and an encoder wants one sample after the other: count samples, but follow
        # a gap.
        start = self._heard_s
        if frame.pts is not None and frame.time_base is not None:
            stamped = frame.pts * frame.time_base - self._origin
            if start is None or stamped > start + _GAP_S:
                start = stamped
        start = start or Fraction(0)
        frame.time_base = Fraction(1, frame.sample_rate)
        frame.pts = round(start * frame.sample_rate)
        self._heard_s = start + Fraction(frame.samples, frame.sample_rate)


def _can_hold(container_format: str, stream: AudioStream) -> bool:
    # The list of codecs that a muxer "supports" is longer than what it can write without further ado: try it.
    try:
        with av.open(io.BytesIO(), "w", format=container_format) as trial:
            trial.add_stream_from_template(stream)
            trial.start_encoding()
    except (av.error.FFmpegError, ValueError):
        return False
    return True


def _add_aac(output: OutputContainer, source: AudioStream) -> AudioStream:
    rates = av.Codec("aac", "w").audio_rates or [48000]
    rate = source.rate if source.rate in rates else 48000
    stream = output.add_stream("aac", rate=rate)
    # By number, because old formats do not say which channel is which.
    stream.layout = {1: "mono", 6: "5.1", 8: "7.1"}.get(source.layout.nb_channels, "stereo")
    return stream
