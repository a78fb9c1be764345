"""What a video keeps beside its pictures: all sound and subtitles, chapters, its date."""

from pathlib import Path

import av
import pytest

from steadystyle.tests.video.material import CREATED, TEXTS, make_rich, times
from steadystyle.video.frames import open_sink, open_source


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
