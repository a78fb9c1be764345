"""Frames in: videos, images, folders and cameras."""

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from steadystyle.common.files import InputError
from steadystyle.tests.video.material import Image, copy, make_clip, picture, times
from steadystyle.video.frames import open_sink, open_source, read_frames, write_image


def test_a_clip_says_what_it_is_and_gives_all_its_frames(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mp4", 30, audio="aac")
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
    path = make_clip(tmp_path / "turned.mp4", 3, matrix=[*matrix, 0, 0, 1 << 30])
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
    path = make_clip(tmp_path / "turned.mp4", 3, matrix=[0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30])
    copy(path, tmp_path / "out.mp4")
    before, after = read_frames(path), read_frames(tmp_path / "out.mp4")
    assert after[0].shape == (64, 48, 3)
    assert np.abs(before[0].astype(int) - after[0]).mean() < 4


@pytest.mark.parametrize(("ending", "options"), [("mp4", {"movflags": "faststart"}), ("mkv", {})])
def test_of_a_video_cut_in_half_what_decodes_is_delivered_and_said(
    tmp_path: Path, ending: str, options: dict[str, str]
) -> None:
    whole = make_clip(tmp_path / f"whole.{ending}", 120, audio="aac", options=options).read_bytes()
    path = tmp_path / f"half.{ending}"
    path.write_bytes(whole[: len(whole) // 2])
    source = copy(path, tmp_path / "out.mp4")
    count = len(times(tmp_path / "out.mp4"))
    assert 30 < count < 90
    assert source.note == f"the file breaks off: {count} of about 120 frames were decoded"


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_a_video_damaged_in_the_middle_is_read_past_the_damage(tmp_path: Path, ending: str) -> None:
    content = bytearray(make_clip(tmp_path / f"whole.{ending}", 120).read_bytes())
    middle = len(content) // 2
    content[middle : middle + 300] = bytes(300)
    path = tmp_path / f"damaged.{ending}"
    path.write_bytes(content)
    with open_source(path) as source:
        times = [frame.time_s for frame in source]
    assert times[-1] == pytest.approx(119 / 25, abs=0.05)
    assert source.note == f"the file is damaged in places: {len(times)} of about 120 frames were decoded"


def test_a_mp4_without_its_index_is_refused(tmp_path: Path) -> None:
    whole = make_clip(tmp_path / "whole.mp4").read_bytes()
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
        "notes.txt": "is not a video",
        "sound.m4a": "there is no video",
        "folder": "there are no images",
    }
    for name, reason in reasons.items():
        with pytest.raises(InputError, match=reason) as refusal:
            open_source(tmp_path / name)
        assert "\n" not in str(refusal.value)
        assert ":" in str(refusal.value)  # it says what to do


def test_a_video_without_frames_is_refused(tmp_path: Path) -> None:
    content = make_clip(tmp_path / "whole.mkv", 3).read_bytes()
    path = tmp_path / "no_frames.mkv"
    path.write_bytes(content[: content.index(b"\x1f\x43\xb6\x75")])  # up to the first cluster
    with pytest.raises(InputError, match=r"no picture .* can be decoded|not a video|no video"):
        open_source(path)


def test_a_colon_in_a_name_is_not_a_protocol(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mp4", 2).rename(tmp_path / "http:clip.mp4")
    assert len(read_frames(path)) == 2


def test_read_frames_resizes_and_selects(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mp4", 12, size=(48, 66))
    frames = read_frames(path, height=20, start=4, max_frames=3)
    assert [frame.shape for frame in frames] == [(20, 28, 3)] * 3
    assert [round(float(frame[16:, 20:, 2].mean())) for frame in frames] == pytest.approx([8, 10, 12], abs=4)
    assert len(read_frames(path)) == 12


def test_an_image_is_a_source_of_one_frame(tmp_path: Path) -> None:
    write_image(tmp_path / "one.png", picture(0))
    source = copy(tmp_path / "one.png", tmp_path / "out.png")
    assert (source.info.kind, source.info.frames, source.info.width) == ("image", 1, 64)
    assert np.array_equal(read_frames(tmp_path / "out.png")[0], picture(0))


def test_a_folder_is_read_in_natural_order_and_written_under_the_same_names(tmp_path: Path) -> None:
    names = ["shot2.png", "shot10.png", "Shot1.png"]
    for name, index in zip(names, (2, 10, 1), strict=True):
        write_image(tmp_path / "in" / name, picture(index))
    (tmp_path / "in" / "notes.txt").write_text("not an image")
    (tmp_path / "in" / "._shot1.png").write_text("what some systems leave on USB sticks")
    source = copy(tmp_path / "in", tmp_path / "new" / "out")
    assert (source.info.kind, source.info.frames) == ("folder", 3)
    assert sorted(p.name for p in (tmp_path / "new" / "out").iterdir()) == sorted(names)
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["out"]
    images = read_frames(tmp_path / "new" / "out")
    assert [int(image[40, 50, 2]) for image in images] == [2, 4, 20]


def test_a_folder_becomes_a_video_and_a_video_a_folder(tmp_path: Path) -> None:
    for index in range(4):
        write_image(tmp_path / "in" / f"{index}.png", picture(index))
    copy(tmp_path / "in", tmp_path / "out.mp4")
    assert times(tmp_path / "out.mp4") == pytest.approx([0, 0.04, 0.08, 0.12])
    copy(tmp_path / "out.mp4", tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [f"00000{n}.png" for n in (1, 2, 3, 4)]


def test_pictures_of_two_sizes_cannot_be_one_video(tmp_path: Path) -> None:
    write_image(tmp_path / "in" / "a.png", picture(0))
    write_image(tmp_path / "in" / "b.png", picture(0, 20, 20))
    with pytest.raises(InputError, match="frame 2 is 20x20 and does not fit"):
        copy(tmp_path / "in", tmp_path / "out.mp4")
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
    assert len(times(tmp_path / "out.mp4")) == 3
    with pytest.raises(InputError, match="camera 0 gives no picture"):
        open_source("0")


@pytest.mark.parametrize("number", ["4294967296", "camera:99999999999999999999", "999999999"])
def test_a_number_that_no_camera_has_is_refused(number: str) -> None:
    with pytest.raises(InputError, match=r"does not exist|gives no picture"):
        open_source(number)
