"""What a video keeps beside its pictures: all sound and subtitles, chapters, its date."""

from pathlib import Path

import av
import pytest

from steadystyle.tests.video.material import CREATED, TEXTS, make_clip, make_rich, times
from steadystyle.video.frames import open_part, open_sink, open_source


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


@pytest.mark.parametrize(("subtitles", "ending"), [("mov_text", "mp4"), ("mov_text", "mkv"), ("mov_text", "webm")])
def test_a_text_on_screen_at_the_start_stays_for_what_is_left_of_it(
    tmp_path: Path, subtitles: str, ending: str
) -> None:
    target = tmp_path / f"part.{ending}"
    # "hello" lasts from 0.2 to 0.8 s, "you" from 1 to 1.5 s.
    with open_part(make_rich(tmp_path / "clip.mp4", subtitles), 0.4) as part, open_sink(target, part) as sink:
        for frame in part:
            sink.write(frame)
    assert sink.notes == []
    assert texts(target) == [(0, "hello"), (600, "you")]
    with av.open(str(target)) as container:
        shown = [(p.duration or 0) * p.time_base for p in container.demux(subtitles=0) if p.size > 2]
        lengths = [round(length * 1000) for length in shown if length]
    assert lengths == [400, 500]


@pytest.mark.parametrize("sound", ["flac", "aac"])
@pytest.mark.parametrize("ending", ["mp4", "mkv", "webm"])  # .webm takes neither, and gets Opus
def test_a_part_keeps_its_times_with_sound_that_begins_before_it(tmp_path: Path, ending: str, sound: str) -> None:
    clip = make_clip(tmp_path / "clip.mkv", 60, audio=sound)
    target = tmp_path / f"part.{ending}"
    with open_part(clip, 0.9) as part, open_sink(target, part) as sink:
        wanted = []
        for frame in part:
            wanted.append(frame.time_s)
            sink.write(frame)
    assert sink.notes == []
    with av.open(str(target)) as container:
        assert [frame.time for frame in container.decode(video=0)] == pytest.approx(wanted, abs=1.1e-3)
        container.seek(0)
        heard = [frame.time for frame in container.decode(audio=0) if frame.time is not None]
    assert -0.1 <= heard[0] < 0.1 and heard[-1] == pytest.approx(1.5, abs=0.1)


def test_a_part_after_the_sound_has_ended_has_no_note(tmp_path: Path) -> None:
    clip, silent = make_clip(tmp_path / "clip.mp4", 20, audio="aac"), make_clip(tmp_path / "silent.mp4", 100)
    joined = tmp_path / "joined.mkv"
    with av.open(str(clip)) as loud, av.open(str(silent)) as long, av.open(str(joined), "w") as out:
        kept = [long.streams.video[0], loud.streams.audio[0]]
        streams = [out.add_stream_from_template(source) for source in kept]
        for file, source, stream in zip((long, loud), kept, streams, strict=True):
            for packet in file.demux(source):
                if packet.size:
                    packet.stream = stream
                    out.mux(packet)
    for ending in ("mp4", "webm"):
        with open_part(joined, 2) as part, open_sink(tmp_path / f"part.{ending}", part) as sink:
            for frame in part:
                sink.write(frame)
        assert sink.notes == []
        assert len(times(tmp_path / f"part.{ending}")) == 50
