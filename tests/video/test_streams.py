"""What a video keeps beside its pictures: all sound and subtitles, chapters, its date."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.audio.stream import AudioStream
from av.subtitles.stream import SubtitleStream
from av.subtitles.subtitle import SubtitleSet

from steadystyle.tests.video.material import picture, times
from steadystyle.video.frames import open_sink, open_source

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


def texts(path: Path) -> list[tuple[int, str]]:
    """Start in ms and text of each subtitle."""
    found = []
    with av.open(str(path)) as container:
        stream = container.streams.subtitles[0]
        for packet in container.demux(stream):
            line = stream.codec_context.decode2(packet) if packet.size else None
            if line is not None and packet.pts is not None:
                spoken = "".join(getattr(rect, "dialogue", b"").decode() for rect in line)
                found.append((round(packet.pts * packet.time_base * 1000), spoken))
    return found


@pytest.mark.parametrize("ending", ["mp4", "mov", "mkv"])
@pytest.mark.parametrize("source", ["mov_text in mp4", "subrip in mkv", "ass in mkv"])
def test_all_streams_chapters_and_the_date_are_kept(tmp_path: Path, source: str, ending: str) -> None:
    subtitles, _, kind = source.split()
    path = make_rich(tmp_path / f"clip.{kind}", subtitles)
    target = tmp_path / f"out.{ending}"
    with open_source(path) as clip, open_sink(target, clip) as sink:
        for frame in clip:
            sink.write(frame)
    assert sink.notes == []
    with av.open(str(path)) as before, av.open(str(target)) as after:
        assert after.metadata["creation_time"] == CREATED
        parts = [(float(c["start"] * (c["time_base"] or 0)), c["metadata"]["title"]) for c in after.chapters()]
        assert parts == [(0, "Part 1"), (1, "Part 2")]
        languages = [stream.metadata.get("language") for stream in after.streams.audio]
        assert languages == [stream.metadata.get("language") for stream in before.streams.audio]
        assert [stream.metadata["language"] for stream in after.streams.subtitles] == ["eng"]
        for number in range(2):  # each sound is the one it was
            spoken, kept = ([bytes(p) for p in file.demux(audio=number) if p.size] for file in (before, after))
            assert kept in (spoken, spoken[1:])
            before.seek(0)
            after.seek(0)
    assert texts(target) == [(start, text) for start, _, text in TEXTS]
    assert len(times(target)) == 50


def test_one_sound_that_cannot_be_read_takes_no_other_with_it(tmp_path: Path) -> None:
    path = make_rich(tmp_path / "clip.mkv", "subrip")
    content = path.read_bytes()
    path.write_bytes(content.replace(b"A_AAC", b"A_ZZZ", 1))
    with open_source(path) as source, open_sink(tmp_path / "out.mkv", source) as sink:
        for frame in source:
            sink.write(frame)
    why = "because it cannot be read or written (its codec is unknown)"
    assert sink.notes == [f"the sound 1 of 2 is left out or breaks off, {why}"]
    with av.open(str(tmp_path / "out.mkv")) as container:
        assert [stream.type for stream in container.streams] == ["video", "audio", "subtitle"]
        assert container.streams.audio[0].metadata["language"] == "fra"


def test_subtitles_as_pictures_are_left_out_of_mp4_and_said(tmp_path: Path) -> None:
    path = make_rich(tmp_path / "clip.mkv", "subrip")
    content = path.read_bytes()
    assert content.count(b"S_TEXT/UTF8") == 1
    path.write_bytes(content.replace(b"S_TEXT/UTF8", b"S_HDMV/PGS\0"))
    with open_source(path) as source, open_sink(tmp_path / "out.mp4", source) as sink:
        for frame in source:
            sink.write(frame)
    (note,) = sink.notes
    assert note.startswith("the subtitles are left out") and "pictures" in note
    assert len(times(tmp_path / "out.mp4")) == 50
