"""What the tests of sources and sinks share: small pictures and clips."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from numpy.typing import NDArray

from steadystyle.video.frames import FrameSource, open_sink, open_source

Image = NDArray[np.uint8]


def picture(index: int, height: int = 48, width: int = 64) -> Image:
    """Red on the upper left quarter, and a blue that grows with the index."""
    image = np.full((height, width, 3), (20, 60, 2 * index % 250), np.uint8)
    image[: height // 2, : width // 2] = (220, 30, 30)
    return image


def make_clip(
    path: Path,
    count: int = 30,
    *,
    size: tuple[int, int] = (48, 64),
    ticks: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    audio: str | None = None,
    audio_rate: int = 48000,
    frame_rate: int = 25,
    matrix: Sequence[int] | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """A small H.264 file with B-frames, made with PyAV alone; the sound is as long as the frames take."""
    time_base = time_base or Fraction(1, frame_rate)
    with av.open(str(path), "w", options=options or {}) as container:
        video = container.add_stream("libx264", rate=frame_rate, options={"bf": "3", "g": "12", "threads": "1"})
        video.height, video.width = size
        video.pix_fmt = "yuv420p"
        video.codec_context.time_base = time_base
        if matrix is not None:
            video.set_display_matrix(matrix)
        sound: AudioStream | None = None
        if audio is not None:
            stream = container.add_stream(audio, rate=audio_rate, bit_rate=128_000)
            assert isinstance(stream, AudioStream)
            sound = stream
        for index in range(count):
            shown = av.VideoFrame.from_ndarray(picture(index, *size), "rgb24")
            shown.pts, shown.time_base = (index if ticks is None else ticks[index]), time_base
            container.mux(video.encode(shown))
            if sound is not None:
                samples = audio_rate // frame_rate
                wave = 8000 * np.sin(np.arange(index * samples, (index + 1) * samples) * 0.06)
                tone = av.AudioFrame.from_ndarray(np.repeat(wave, 2)[None].astype(np.int16), "s16", "stereo")
                tone.sample_rate, tone.pts, tone.time_base = audio_rate, index * samples, Fraction(1, audio_rate)
                container.mux(sound.encode(tone))
        container.mux(video.encode(None))
        if sound is not None:
            container.mux(sound.encode(None))
    return path


def copy(source_path: Path, target: Path) -> FrameSource:
    with open_source(source_path) as source, open_sink(target, source) as sink:
        for frame in source:
            sink.write(frame)
    return source


def times(path: Path) -> list[float]:
    with open_source(path) as source:
        return [frame.time_s for frame in source]


def packets(path: Path, kind: str) -> list[bytes]:
    with av.open(str(path)) as container:
        stream = next(s for s in container.streams if s.type == kind)
        return [bytes(packet) for packet in container.demux(stream) if packet.size]
