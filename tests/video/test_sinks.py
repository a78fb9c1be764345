"""Frames out, and what a video keeps on the way: frames, times, sound, colours."""

import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from steadystyle.common.files import InputError
from steadystyle.runtimes.pipeline import run
from steadystyle.tests.video.material import copy, make_clip, packets, picture, times
from steadystyle.video.frames import Frame, open_sink, open_source, read_frames, write_video


@pytest.mark.parametrize("ending", ["mp4", "mov", "mkv"])
def test_frames_times_and_sound_are_kept(tmp_path: Path, ending: str) -> None:
    path = make_clip(tmp_path / "clip.mp4", 50, audio="aac")
    target = tmp_path / f"out.{ending}"
    copy(path, target)
    assert times(target) == pytest.approx(times(path), abs=1e-3 if ending == "mkv" else 1e-6)
    with av.open(str(path)) as before, av.open(str(target)) as after:
        assert after.streams.audio[0].codec_context.name == "aac"
        assert after.duration == pytest.approx(before.duration, abs=40_000)
    original = packets(path, "audio")
    copied = packets(target, "audio")
    assert copied in (original, original[1:])  # Matroska goes without the packet that lies before time 0
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["clip.mp4", target.name])


@pytest.mark.parametrize(("codec", "rate"), [("adpcm_ms", 22050), ("wmav2", 44100)])
def test_sound_that_the_container_cannot_hold_becomes_aac(tmp_path: Path, codec: str, rate: int) -> None:
    path = make_clip(tmp_path / "clip.avi", 50, audio=codec, audio_rate=rate)
    copy(path, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        sound = container.streams.audio[0]
        assert (sound.codec_context.name, sound.rate) == ("aac", rate)
        heard = np.concatenate([f.to_ndarray()[0] for f in container.decode(sound)])
        assert len(times(tmp_path / "out.mp4")) == 50
    assert 1.999 < len(heard) / rate < 2.1  # the last of it is what the decoder held back
    assert 0.1 < np.abs(heard[rate // 2 : rate]).max() < 0.4  # the tone of 8000 / 32768


def test_sound_stays_in_step_when_the_pictures_begin_later(tmp_path: Path) -> None:
    late = range(500, 1500, 40)
    path = make_clip(tmp_path / "clip.mkv", 25, ticks=late, time_base=Fraction(1, 1000), audio="aac")
    copy(path, tmp_path / "out.mp4")
    assert times(path)[0] == pytest.approx(0.5, abs=0.03)
    assert times(tmp_path / "out.mp4") == pytest.approx(times(path), abs=2e-3)


def test_sound_is_read_in_step_with_the_pictures_not_all_at_once(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mkv", 250, size=(16, 16), audio="pcm_s16le")
    target = tmp_path / "out.mkv"
    with open_source(path) as source, open_sink(target, source) as sink:
        frames = iter(source)
        for _ in range(25):
            sink.write(next(frames))
    # One second of pictures was written of a source of ten seconds: the sound ends near there too.
    with av.open(str(target)) as container:
        sound = container.streams.audio[0]
        last = max(p.pts * p.time_base for p in container.demux(sound) if p.pts is not None)
    assert 0.8 < last < 2.1


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_a_variable_frame_rate_is_kept(tmp_path: Path, ending: str) -> None:
    ticks = [0, 17, 50, 51, 133, 400, 401, 900, 933, 2100]
    path = make_clip(tmp_path / f"clip.{ending}", 10, ticks=ticks, time_base=Fraction(1, 1000))
    copy(path, tmp_path / "out.mp4")
    assert times(tmp_path / "out.mp4") == pytest.approx([tick / 1000 for tick in ticks], abs=1.1e-3)


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (17, 13), (2, 64), (33, 48)])
def test_odd_and_tiny_sizes_can_be_written(tmp_path: Path, size: tuple[int, int]) -> None:
    image = np.full((*size, 3), (180, 90, 40), np.uint8)
    write_video(tmp_path / "out.mp4", [image] * 3)
    frames = read_frames(tmp_path / "out.mp4")
    assert len(frames) == 3
    assert frames[0].shape == (size[0] + size[0] % 2, size[1] + size[1] % 2, 3)
    assert np.abs(frames[1].astype(int) - (180, 90, 40)).max() <= 4


def test_a_video_of_one_frame(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "one.mp4", 1)
    source = copy(path, tmp_path / "out.mp4")
    assert source.info.frames == 1
    assert times(tmp_path / "out.mp4") == [0]
    assert source.note == ""


def test_colours_come_back_and_are_tagged(tmp_path: Path) -> None:
    colours = [(0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 255, 0), (0, 0, 255), (10, 200, 90), (255, 128, 0)]
    write_video(tmp_path / "out.mp4", [np.full((32, 32, 3), colour, np.uint8) for colour in colours])
    for frame, colour in zip(read_frames(tmp_path / "out.mp4"), colours, strict=True):
        assert np.abs(frame.astype(int) - colour).max() <= 4
    with av.open(str(tmp_path / "out.mp4")) as container:
        codec = container.streams.video[0].codec_context
        assert (codec.colorspace, codec.color_primaries, codec.color_trc, codec.color_range) == (1, 1, 1, 1)
        assert (codec.name, codec.pix_fmt) == ("h264", "yuv420p")


@pytest.mark.parametrize("rate", [25, 29.97, Fraction(30000, 1001), 12.5])
def test_a_written_frame_rate_is_exact(tmp_path: Path, rate: float | Fraction) -> None:
    write_video(tmp_path / "out.mp4", [picture(index) for index in range(20)], rate)
    exact = Fraction(rate).limit_denominator(1001)
    assert times(tmp_path / "out.mp4") == pytest.approx([float(index / exact) for index in range(20)], abs=1e-9)
    with open_source(tmp_path / "out.mp4") as source:
        assert source.info.frame_rate == pytest.approx(exact)


def test_pixels_that_are_not_square_stay_so(tmp_path: Path) -> None:
    path = tmp_path / "wide.mkv"
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, width=32, height=32)
        video.codec_context.sample_aspect_ratio = Fraction(16, 11)
        container.mux(video.encode(av.VideoFrame.from_ndarray(picture(0, 32, 32), "rgb24")))
        container.mux(video.encode(None))
    copy(path, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(16, 11)


def changed(path: Path, before: bytes, after: bytes) -> Path:
    content = path.read_bytes()
    assert before in content and len(before) == len(after)
    path.write_bytes(content.replace(before, after))
    return path


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_sound_of_an_unknown_codec_is_left_out_and_said(tmp_path: Path, ending: str) -> None:
    path = changed(make_clip(tmp_path / "clip.mkv", 30, audio="aac"), b"A_AAC", b"A_ZZZ")
    target = tmp_path / f"out.{ending}"
    with open_source(path) as source, open_sink(target, source) as sink:
        report = run(source, np.invert, sink)
    why = "because it cannot be read or written (its codec is unknown)"
    assert report.notes == [f"the sound is left out or breaks off, {why}"]
    assert len(times(target)) == 30
    with av.open(str(target)) as container:
        assert not container.streams.audio


def test_sound_that_cannot_be_decoded_is_left_out_and_said(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.avi", 30, audio="wmav2", audio_rate=44100)
    content = path.read_bytes()
    for chunk in re.finditer(rb"01wb(..)\0\0", content.partition(b"idx1")[0], re.DOTALL):
        length = int.from_bytes(chunk[1], "little")
        content = content[: chunk.end()] + b"\xff" * length + content[chunk.end() + length :]
    path.write_bytes(content)
    target = tmp_path / "out.mp4"
    with open_source(path) as source, open_sink(target, source) as sink:
        report = run(source, np.invert, sink)
    assert len(report.notes) == 1 and "(nothing of it can be decoded)" in report.notes[0]
    assert len(times(target)) == len(times(path))


def test_nothing_stands_at_the_target_before_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    sink = open_sink(target, None)
    sink.write(Frame(picture(0), 0))
    assert not target.exists()
    sink.close()
    sink.close()
    assert target.exists()
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.png", "out", "new/out.mp4", "new/out"])
def test_an_exception_leaves_nothing_behind(tmp_path: Path, name: str) -> None:
    with pytest.raises(KeyboardInterrupt), open_sink(tmp_path / name, None) as sink:
        sink.write(Frame(picture(0), 0))
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["out.mp4", "out.png", "out"])
def test_a_sink_without_frames_is_an_error_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="there is no frame to write"), open_sink(tmp_path / name, None):
        pass
    assert list(tmp_path.iterdir()) == []


def test_bad_targets_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", 2)
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "file").write_text("a file without ending")
    locked = tmp_path / "locked.mp4"
    locked.touch()
    locked.chmod(0o444)
    before = sorted(tmp_path.iterdir())
    reasons = {
        "folder.mp4": "is a folder",
        "locked.mp4": "is read-only",
        "file": "is a file",
        "file/out.mp4": "is a file",
        "out.avi": "end its name in",
        "out.png": "can hold one picture only",
        "/": "has no name of its own",
    }
    with open_source(clip) as source:
        for name, reason in reasons.items():
            with pytest.raises(InputError, match=reason):
                open_sink(tmp_path / name, source)
    with pytest.raises(InputError, match="as a video"):
        write_video(tmp_path / "out.png", [picture(0)])
    with pytest.raises(InputError, match="can hold one picture only"), open_sink(tmp_path / "out.png", None) as sink:
        sink.write(Frame(picture(0), 0))
        sink.write(Frame(picture(1), 0.04))
    assert sorted(tmp_path.iterdir()) == before


FULL_DISK = """
import resource, sys
from pathlib import Path
import numpy as np
from steadystyle.video.frames import Frame, open_sink
# A limit on the size of a file fails a write just like a full disk does, with another number.
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
noise = np.random.default_rng(0).integers(0, 255, (40, 96, 128, 3), dtype=np.uint8)
for name in ("out.mp4", "out.mkv", "out.png", "out"):
    try:
        with open_sink(Path(sys.argv[1]) / name, None) as sink:
            for index, image in enumerate(noise[: 1 if name == "out.png" else None]):
                sink.write(Frame(image, index / 25))
    except OSError as error:
        print(name, type(error).__name__, error.errno)
"""


def test_no_space_left_is_an_os_error_and_leaves_nothing(tmp_path: Path) -> None:
    pytest.importorskip("resource", reason="limits on file sizes are a matter of POSIX")
    child = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, check=True, timeout=60
    )
    assert child.stdout.splitlines() == [f"{name} OSError 27" for name in ("out.mp4", "out.mkv", "out.png", "out")]
    assert list(tmp_path.iterdir()) == []


LONG_VIDEO = """
import resource, sys
from pathlib import Path
from steadystyle.video.frames import open_sink, open_source
with open_source(Path(sys.argv[1])) as source, open_sink(Path(sys.argv[2]), source) as sink:
    for frame in source:
        sink.write(frame)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024))
"""


def test_memory_does_not_grow_with_the_length(tmp_path: Path) -> None:
    pytest.importorskip("resource", reason="peak memory is read as on POSIX")
    peaks = []
    for seconds in (5, 90):
        clip = make_clip(tmp_path / f"{seconds}.mkv", seconds, size=(16, 16), audio="pcm_s16le", frame_rate=1)
        command = [sys.executable, "-c", LONG_VIDEO, str(clip), str(tmp_path / "out.mkv")]
        child = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        peaks.append(int(child.stdout))
    sound_bytes = (90 - 5) * 48_000 * 4
    assert peaks[1] - peaks[0] < sound_bytes / 2
