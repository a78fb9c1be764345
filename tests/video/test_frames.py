"""Video in and out: odd input works, bad input is refused, times and sound are kept."""

import subprocess
import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from av.audio.stream import AudioStream
from numpy.typing import NDArray

from steadystyle.common.files import InputError
from steadystyle.video.frames import Frame, FrameSource, open_sink, open_source, read_frames, write_image, write_video

Image = NDArray[np.uint8]


def _picture(index: int, height: int = 48, width: int = 64) -> Image:
    """Red on the upper left quarter, and a blue that grows with the index."""
    image = np.full((height, width, 3), (20, 60, 2 * index % 250), np.uint8)
    image[: height // 2, : width // 2] = (220, 30, 30)
    return image


def _make_clip(
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
            picture = av.VideoFrame.from_ndarray(_picture(index, *size), "rgb24")
            picture.pts, picture.time_base = (index if ticks is None else ticks[index]), time_base
            container.mux(video.encode(picture))
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


def _copy(source_path: Path, target: Path) -> FrameSource:
    with open_source(source_path) as source, open_sink(target, source) as sink:
        for frame in source:
            sink.write(frame)
    return source


def _times(path: Path) -> list[float]:
    with open_source(path) as source:
        return [frame.time_s for frame in source]


def _packets(path: Path, kind: str) -> list[bytes]:
    with av.open(str(path)) as container:
        stream = next(s for s in container.streams if s.type == kind)
        return [bytes(packet) for packet in container.demux(stream) if packet.size]


# --- reading


def test_a_clip_says_what_it_is_and_gives_all_its_frames(tmp_path: Path) -> None:
    path = _make_clip(tmp_path / "clip.mp4", 30, audio="aac")
    with open_source(path) as source:
        info = source.info
        frames = list(source)
    assert (info.kind, info.name, info.width, info.height) == ("video", "clip.mp4", 64, 48)
    assert (info.frame_rate, info.frames, info.has_audio) == (Fraction(25), 30, True)
    assert info.duration_s == pytest.approx(1.2, abs=0.01)
    assert [frame.time_s for frame in frames] == pytest.approx([index / 25 for index in range(30)])
    assert source.note == ""
    for index, frame in enumerate(frames):
        assert np.abs(frame.image[30:, 40:].astype(int) - (20, 60, 2 * index)).max() < 12


@pytest.mark.parametrize(
    ("matrix", "corner"),
    [
        ((0, 65536, 0, -65536, 0, 0), "upper right"),  # a phone held upright: a quarter turn clockwise
        ((0, -65536, 0, 65536, 0, 0), "lower left"),
        ((-65536, 0, 0, 0, -65536, 0), "lower right"),
        ((-65536, 0, 0, 0, 65536, 0), "upper right"),  # mirrored, as by some front cameras
    ],
)
def test_rotation_metadata_is_honoured(tmp_path: Path, matrix: tuple[int, ...], corner: str) -> None:
    path = _make_clip(tmp_path / "turned.mp4", 3, matrix=[*matrix, 0, 0, 1 << 30])
    shape = (64, 48, 3) if matrix[0] == 0 else (48, 64, 3)
    with open_source(path) as source:
        assert (source.info.height, source.info.width) == shape[:2]
        frame = next(iter(source)).image
    assert frame.shape == shape
    red = frame[..., 0] > 120
    half_height, half_width = shape[0] // 2, shape[1] // 2
    rows = slice(0, half_height) if corner.startswith("upper") else slice(half_height, None)
    columns = slice(0, half_width) if corner.endswith("left") else slice(half_width, None)
    assert red[rows, columns].mean() > 0.9
    assert red.mean() < 0.3


def test_a_portrait_clip_stays_portrait_when_written(tmp_path: Path) -> None:
    path = _make_clip(tmp_path / "turned.mp4", 3, matrix=[0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30])
    _copy(path, tmp_path / "out.mp4")
    before, after = read_frames(path), read_frames(tmp_path / "out.mp4")
    assert after[0].shape == (64, 48, 3)
    assert np.abs(before[0].astype(int) - after[0]).mean() < 4


@pytest.mark.parametrize(("ending", "options"), [("mp4", {"movflags": "faststart"}), ("mkv", {})])
def test_of_a_video_cut_in_half_what_decodes_is_delivered_and_said(
    tmp_path: Path, ending: str, options: dict[str, str]
) -> None:
    whole = _make_clip(tmp_path / f"whole.{ending}", 120, audio="aac", options=options).read_bytes()
    path = tmp_path / f"half.{ending}"
    path.write_bytes(whole[: len(whole) // 2])
    source = _copy(path, tmp_path / "out.mp4")
    count = len(_times(tmp_path / "out.mp4"))
    assert 30 < count < 90
    assert source.note == f"the file breaks off: {count} of about 120 frames were decoded"


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_a_video_damaged_in_the_middle_is_read_past_the_damage(tmp_path: Path, ending: str) -> None:
    content = bytearray(_make_clip(tmp_path / f"whole.{ending}", 120).read_bytes())
    middle = len(content) // 2
    content[middle : middle + 300] = bytes(300)
    path = tmp_path / f"damaged.{ending}"
    path.write_bytes(content)
    with open_source(path) as source:
        times = [frame.time_s for frame in source]
    assert times[-1] == pytest.approx(119 / 25, abs=0.05)
    assert source.note == f"the file is damaged in places: {len(times)} of about 120 frames were decoded"


def test_a_mp4_without_its_index_is_refused(tmp_path: Path) -> None:
    whole = _make_clip(tmp_path / "whole.mp4").read_bytes()
    path = tmp_path / "half.mp4"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="breaks off before its index"):
        open_source(path)


def test_bad_input_is_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("not a video\n" * 100)
    (tmp_path / "notes.txt").write_text("not a video\n" * 100)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_text("no image")
    with av.open(str(tmp_path / "sound.m4a"), "w", format="mp4") as container:
        sound = container.add_stream("aac", rate=48000)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.int16), "s16", "stereo")
        silence.sample_rate = 48000
        container.mux(sound.encode(silence))
        container.mux(sound.encode(None))
    reasons = {
        "missing.mp4": "does not exist",
        "empty.mp4": "is empty",
        "text.mp4": "is not a video",
        "notes.txt": "there is no video",
        "sound.m4a": "there is no video",
        "folder": "there are no images",
    }
    for name, reason in reasons.items():
        with pytest.raises(InputError, match=reason) as refusal:
            open_source(tmp_path / name)
        assert "\n" not in str(refusal.value)
        assert ":" in str(refusal.value)  # it says what to do


def test_a_video_without_frames_is_refused(tmp_path: Path) -> None:
    content = _make_clip(tmp_path / "whole.mkv", 3).read_bytes()
    path = tmp_path / "no_frames.mkv"
    path.write_bytes(content[: content.index(b"\x1f\x43\xb6\x75")])  # up to the first cluster
    with pytest.raises(InputError, match=r"no picture .* can be decoded|not a video|no video"):
        open_source(path)


def test_a_colon_in_a_name_is_not_a_protocol(tmp_path: Path) -> None:
    path = _make_clip(tmp_path / "clip.mp4", 2).rename(tmp_path / "http:clip.mp4")
    assert len(read_frames(path)) == 2


def test_read_frames_resizes_and_selects(tmp_path: Path) -> None:
    path = _make_clip(tmp_path / "clip.mp4", 12, size=(48, 66))
    frames = read_frames(path, height=20, start=4, max_frames=3)
    assert [frame.shape for frame in frames] == [(20, 28, 3)] * 3
    assert [round(float(frame[16:, 20:, 2].mean())) for frame in frames] == pytest.approx([8, 10, 12], abs=4)
    assert len(read_frames(path)) == 12


# --- images, folders, cameras


def test_an_image_is_a_source_of_one_frame(tmp_path: Path) -> None:
    write_image(tmp_path / "one.png", _picture(0))
    source = _copy(tmp_path / "one.png", tmp_path / "out.png")
    assert (source.info.kind, source.info.frames, source.info.width) == ("image", 1, 64)
    assert np.array_equal(read_frames(tmp_path / "out.png")[0], _picture(0))


def test_a_folder_is_read_in_natural_order_and_written_under_the_same_names(tmp_path: Path) -> None:
    names = ["shot2.png", "shot10.png", "Shot1.png"]
    for name, index in zip(names, (2, 10, 1), strict=True):
        write_image(tmp_path / "in" / name, _picture(index))
    (tmp_path / "in" / "notes.txt").write_text("not an image")
    (tmp_path / "in" / "._shot1.png").write_text("what some systems leave on USB sticks")
    source = _copy(tmp_path / "in", tmp_path / "new" / "out")
    assert (source.info.kind, source.info.frames) == ("folder", 3)
    assert sorted(p.name for p in (tmp_path / "new" / "out").iterdir()) == sorted(names)
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["out"]
    images = read_frames(tmp_path / "new" / "out")
    assert [int(image[40, 50, 2]) for image in images] == [2, 4, 20]


def test_a_folder_becomes_a_video_and_a_video_a_folder(tmp_path: Path) -> None:
    for index in range(4):
        write_image(tmp_path / "in" / f"{index}.png", _picture(index))
    _copy(tmp_path / "in", tmp_path / "out.mp4")
    assert _times(tmp_path / "out.mp4") == pytest.approx([0, 0.04, 0.08, 0.12])
    _copy(tmp_path / "out.mp4", tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [f"00000{n}.png" for n in (1, 2, 3, 4)]


def test_pictures_of_two_sizes_cannot_be_one_video(tmp_path: Path) -> None:
    write_image(tmp_path / "in" / "a.png", _picture(0))
    write_image(tmp_path / "in" / "b.png", _picture(0, 20, 20))
    with pytest.raises(InputError, match="frame 2 is 20x20 and does not fit"):
        _copy(tmp_path / "in", tmp_path / "out.mp4")
    assert [p.name for p in tmp_path.iterdir()] == ["in"]


class _Camera:
    """Stands in for OpenCV's camera: three frames of pure blue, then nothing."""

    def __init__(self, index: int) -> None:
        self.left = 3 if index == 1 else 0
        self.released = False

    def read(self) -> tuple[bool, Image | None]:
        self.left -= 1
        return (True, np.full((24, 32, 3), (255, 0, 0), np.uint8)) if self.left >= 0 else (False, None)

    def get(self, prop: int) -> float:
        return 29.97 if prop == cv2.CAP_PROP_FPS else 0.0

    def release(self) -> None:
        self.released = True


def test_a_camera_gives_frames_until_it_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", _Camera)
    with open_source("camera:1") as source, open_sink(tmp_path / "out.mp4", source) as sink:
        frames = list(source)
        for frame in frames:
            sink.write(frame)
    assert (source.info.kind, source.info.name, source.info.frames) == ("camera", "camera 1", None)
    assert source.info.frame_rate == Fraction(2997, 100)
    assert [frame.image[0, 0].tolist() for frame in frames] == [[0, 0, 255]] * 3
    assert len(_times(tmp_path / "out.mp4")) == 3
    with pytest.raises(InputError, match="camera 0 gives no picture"):
        open_source("0")


# --- writing


@pytest.mark.parametrize("ending", ["mp4", "mov", "mkv"])
def test_frames_times_and_sound_are_kept(tmp_path: Path, ending: str) -> None:
    path = _make_clip(tmp_path / "clip.mp4", 50, audio="aac")
    target = tmp_path / f"out.{ending}"
    _copy(path, target)
    assert _times(target) == pytest.approx(_times(path), abs=1e-3 if ending == "mkv" else 1e-6)
    with av.open(str(path)) as before, av.open(str(target)) as after:
        assert after.streams.audio[0].codec_context.name == "aac"
        assert after.duration == pytest.approx(before.duration, abs=40_000)
    original = _packets(path, "audio")
    copied = _packets(target, "audio")
    assert copied in (original, original[1:])  # Matroska goes without the packet that lies before time 0
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["clip.mp4", target.name])


@pytest.mark.parametrize(("codec", "rate"), [("adpcm_ms", 22050), ("wmav2", 44100)])
def test_sound_that_the_container_cannot_hold_becomes_aac(tmp_path: Path, codec: str, rate: int) -> None:
    path = _make_clip(tmp_path / "clip.avi", 50, audio=codec, audio_rate=rate)
    _copy(path, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        sound = container.streams.audio[0]
        assert (sound.codec_context.name, sound.rate) == ("aac", rate)
        heard = np.concatenate([f.to_ndarray()[0] for f in container.decode(sound)])
        assert len(_times(tmp_path / "out.mp4")) == 50
    assert len(heard) / rate == pytest.approx(2, abs=0.1)
    assert 0.1 < np.abs(heard[rate // 2 : rate]).max() < 0.4  # the tone of 8000 / 32768


def test_sound_stays_in_step_when_the_pictures_begin_later(tmp_path: Path) -> None:
    late = range(500, 1500, 40)
    path = _make_clip(tmp_path / "clip.mkv", 25, ticks=late, time_base=Fraction(1, 1000), audio="aac")
    _copy(path, tmp_path / "out.mp4")
    assert _times(path)[0] == pytest.approx(0.5, abs=0.03)
    assert _times(tmp_path / "out.mp4") == pytest.approx(_times(path), abs=2e-3)


def test_sound_is_read_in_step_with_the_pictures_not_all_at_once(tmp_path: Path) -> None:
    path = _make_clip(tmp_path / "clip.mkv", 250, size=(16, 16), audio="pcm_s16le")
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
    path = _make_clip(tmp_path / f"clip.{ending}", 10, ticks=ticks, time_base=Fraction(1, 1000))
    _copy(path, tmp_path / "out.mp4")
    assert _times(tmp_path / "out.mp4") == pytest.approx([tick / 1000 for tick in ticks], abs=1.1e-3)


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (17, 13), (2, 64), (33, 48)])
def test_odd_and_tiny_sizes_can_be_written(tmp_path: Path, size: tuple[int, int]) -> None:
    image = np.full((*size, 3), (180, 90, 40), np.uint8)
    write_video(tmp_path / "out.mp4", [image] * 3)
    frames = read_frames(tmp_path / "out.mp4")
    assert len(frames) == 3
    assert frames[0].shape == (size[0] + size[0] % 2, size[1] + size[1] % 2, 3)
    assert np.abs(frames[1].astype(int) - (180, 90, 40)).max() <= 4


def test_a_video_of_one_frame(tmp_path: Path) -> None:
    path = _make_clip(tmp_path / "one.mp4", 1)
    source = _copy(path, tmp_path / "out.mp4")
    assert source.info.frames == 1
    assert _times(tmp_path / "out.mp4") == [0]
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
    write_video(tmp_path / "out.mp4", [_picture(index) for index in range(20)], rate)
    exact = Fraction(rate).limit_denominator(1001)
    assert _times(tmp_path / "out.mp4") == pytest.approx([float(index / exact) for index in range(20)], abs=1e-9)
    with open_source(tmp_path / "out.mp4") as source:
        assert source.info.frame_rate == pytest.approx(exact)


def test_pixels_that_are_not_square_stay_so(tmp_path: Path) -> None:
    path = tmp_path / "wide.mkv"
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, width=32, height=32)
        video.codec_context.sample_aspect_ratio = Fraction(16, 11)
        container.mux(video.encode(av.VideoFrame.from_ndarray(_picture(0, 32, 32), "rgb24")))
        container.mux(video.encode(None))
    _copy(path, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(16, 11)


def test_nothing_stands_at_the_target_before_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    sink = open_sink(target, None)
    sink.write(Frame(_picture(0), 0))
    assert not target.exists()
    sink.close()
    sink.close()
    assert target.exists()
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.png", "out", "new/out.mp4", "new/out"])
def test_an_exception_leaves_nothing_behind(tmp_path: Path, name: str) -> None:
    with pytest.raises(KeyboardInterrupt), open_sink(tmp_path / name, None) as sink:
        sink.write(Frame(_picture(0), 0))
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["out.mp4", "out.png", "out"])
def test_a_sink_without_frames_is_an_error_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="there is no frame to write"), open_sink(tmp_path / name, None):
        pass
    assert list(tmp_path.iterdir()) == []


def test_bad_targets_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    clip = _make_clip(tmp_path / "clip.mp4", 2)
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
        "out.webm": "end its name in",
        "out.png": "can hold one picture only",
    }
    with open_source(clip) as source:
        for name, reason in reasons.items():
            with pytest.raises(InputError, match=reason):
                open_sink(tmp_path / name, source)
    with pytest.raises(InputError, match="as a video"):
        write_video(tmp_path / "out.png", [_picture(0)])
    with pytest.raises(InputError, match="can hold one picture only"), open_sink(tmp_path / "out.png", None) as sink:
        sink.write(Frame(_picture(0), 0))
        sink.write(Frame(_picture(1), 0.04))
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
        clip = _make_clip(tmp_path / f"{seconds}.mkv", seconds, size=(16, 16), audio="pcm_s16le", frame_rate=1)
        command = [sys.executable, "-c", LONG_VIDEO, str(clip), str(tmp_path / "out.mkv")]
        child = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        peaks.append(int(child.stdout))
    sound_bytes = (90 - 5) * 48_000 * 4
    assert peaks[1] - peaks[0] < sound_bytes / 2
