"""What the tests of sources and sinks share: small pictures and clips."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from av.subtitles.stream import SubtitleStream
from av.subtitles.subtitle import SubtitleSet
from numpy.typing import NDArray

from steadystyle.video.frames import FrameSource, open_sink, open_source

Image = NDArray[np.uint8]
Doubles = NDArray[np.float64]

HLG, PQ, SDR = 18, 16, 1
BT2020, BT709 = 9, 1
LIMITED, FULL = 1, 2
LUMA = {BT2020: (0.2627, 0.0593), BT709: (0.2126, 0.0722)}  # weights of red and blue

CREATED = "2024-05-06T07:08:09.000000Z"
TEXTS = [(200, 600, "hello"), (1000, 500, "you")]  # start and length in ms
HEADER = b"""[Script Info]
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, Underline, \
StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, Encoding
Style: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,0

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""


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


def make_hdr(
    path: Path,
    signal: Doubles,
    transfer: int,
    colours: int,
    *,
    value_range: int = LIMITED,
    matrix: Sequence[int] | None = None,
) -> Path:
    """HEVC of 10 bits that shows an RGB signal (H, W, 3) in [0, 1], as the cameras of phones write it."""
    red, blue = LUMA[colours]
    luma = signal @ (red, 1 - red - blue, blue)
    differences = ((signal[..., 2] - luma) / (2 - 2 * blue), (signal[..., 0] - luma) / (2 - 2 * red))
    steps, black, chroma = (1023, 0, 1023) if value_range == FULL else (876, 64, 896)
    planes = [luma * steps + black, *(one[::2, ::2] * chroma + 512 for one in differences)]
    height, width = luma.shape
    with av.open(str(path), "w") as container:
        options = {"crf": "4", "x265-params": "log-level=error:bframes=0"}
        stream = container.add_stream("libx265", rate=25, width=width, height=height, options=options)
        stream.pix_fmt = "yuv420p10le"
        codec = stream.codec_context
        codec.color_trc, codec.color_primaries, codec.colorspace = transfer, colours, colours
        codec.color_range = value_range
        if matrix is not None:
            stream.set_display_matrix(matrix)
        frame = av.VideoFrame(width, height, "yuv420p10le")
        for plane, values in zip(frame.planes, planes, strict=True):
            rows = np.zeros((plane.height, plane.line_size // 2), np.uint16)
            rows[:, : values.shape[1]] = np.clip(np.rint(values), 0, 1023)
            plane.update(rows.tobytes())
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def make_rich(path: Path, subtitles: str, sound: str = "aac") -> Path:
    """Two seconds with sound in German and French, subtitles in English, two chapters and a date."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, width=64, height=48, pix_fmt="yuv420p")
        voices = [container.add_stream(sound, rate=48000) for _ in range(2)]
        for voice, language in zip(voices, ("ger", "fra"), strict=True):
            voice.metadata["language"] = language
        words = container.add_stream(subtitles)
        assert isinstance(words, SubtitleStream)
        words.metadata["language"] = "eng"
        words.codec_context.subtitle_header = HEADER
        words.codec_context.time_base = Fraction(1, 1000)
        container.metadata["creation_time"] = CREATED
        container.set_chapters(
            [
                {"id": n, "start": n - 1, "end": n, "time_base": Fraction(1), "metadata": {"title": f"Part {n}"}}
                for n in (1, 2)
            ]
        )
        container.start_encoding()
        for index, (start, length, text) in enumerate(TEXTS):
            line = SubtitleSet.create(f"{index},0,Default,,0,0,0,,{text}".encode(), 0, length, start * 1000)
            packet = words.codec_context.encode_subtitle(line)
            packet.stream, packet.time_base, packet.duration = words, Fraction(1, 1000), length
            packet.pts = packet.dts = start
            container.mux(packet)
        for index in range(50):
            shown = av.VideoFrame.from_ndarray(picture(index), "rgb24")
            shown.pts, shown.time_base = index, Fraction(1, 25)
            container.mux(video.encode(shown))
            for number, voice in enumerate(voices):
                assert isinstance(voice, AudioStream)
                wave = 8000 * np.sin(np.arange(index * 1920, (index + 1) * 1920) * 0.03 * (number + 1))
                tone = av.AudioFrame.from_ndarray(np.repeat(wave, 2)[None].astype(np.int16), "s16", "stereo")
                tone.sample_rate, tone.pts, tone.time_base = 48000, index * 1920, Fraction(1, 48000)
                container.mux(voice.encode(tone))
        for stream in (video, *voices):
            assert not isinstance(stream, SubtitleStream)
            container.mux(stream.encode(None))
    return path
