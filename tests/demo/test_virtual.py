"""The camera for calls, to the last step that needs no kernel module: a file takes the bytes that the device would."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from steadystyle import cli
from steadystyle.common.files import InputError
from steadystyle.demo.camera import virtual
from steadystyle.demo.camera.session import run_camera
from steadystyle.demo.camera.virtual import VirtualCamera, find_device
from steadystyle.demo.requests import CameraRequest
from steadystyle.runtimes.registry import DEFAULT_MODEL, open_stylizer
from steadystyle.video.frames import write_video


def test_the_device_gets_each_frame_as_yuyv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtual, "_FORMAT", "rawvideo")
    colours = [(200, 40, 90), (10, 250, 30)]
    with VirtualCamera(tmp_path / "device", (64, 48), Fraction(25)) as camera:
        camera.write(np.full((48, 64, 3), colours[0], np.uint8))
        camera.write(np.full((96, 128, 3), colours[1], np.uint8))  # of another size
    frames = np.fromfile(tmp_path / "device", np.uint8).reshape(2, 48, 64, 2)
    for frame, colour in zip(frames, colours, strict=True):
        shown = cv2.cvtColor(frame, cv2.COLOR_YUV2RGB_YUY2)
        assert np.abs(shown.astype(int) - colour).max() <= 3


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--virtual",), "there is no virtual camera on this machine"),
        (("--virtual", "--loop"), "there is no virtual camera on this machine"),
        (("--virtual", "/dev/video-none"), "the virtual camera '/dev/video-none' cannot be opened"),
    ],
)
def test_the_command_asks_for_the_first_device_or_for_one(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: Sequence[str],
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(virtual, "_DEVICES", tmp_path)
    write_video(tmp_path / "film.mp4", [np.zeros((48, 64, 3), np.uint8)] * 3)
    with pytest.raises(SystemExit) as leaving:
        cli.main(["demo", "camera", "film.mp4", *words])
    assert leaving.value.code == 2
    assert capsys.readouterr().err.startswith(sentence)
    assert [path.name for path in tmp_path.iterdir()] == ["film.mp4"]


def test_the_camera_for_calls_shows_the_painting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setattr(virtual, "_FORMAT", "rawvideo")
    write_video(tmp_path / "film.mp4", [np.zeros((48, 64, 3), np.uint8)] * 10)
    device = tmp_path / "device"
    request = CameraRequest(source=str(tmp_path / "film.mp4"), virtual=str(device), frames=4, output=tmp_path)
    result = run_camera(request, threads=1)
    frames = np.fromfile(device, np.uint8).reshape(-1, 48, 64, 2)
    assert len(frames) == result.shown == 4
    with open_stylizer(DEFAULT_MODEL, threads=1) as stylizer:
        painting = stylizer(np.zeros((48, 64, 3), np.uint8))
    shown = cv2.cvtColor(frames[-1], cv2.COLOR_YUV2RGB_YUY2)
    assert np.abs(shown.astype(int) - painting).mean() < 5


def test_what_is_no_virtual_camera_is_refused_with_the_way_to_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    for device in (tmp_path / "missing", tmp_path / "file"):
        with pytest.raises(InputError, match=r"cannot be opened .*modprobe v4l2loopback"):
            VirtualCamera(device, (64, 48), None)
    assert not (tmp_path / "missing").exists()
    monkeypatch.setattr(virtual, "_DEVICES", tmp_path)
    with pytest.raises(InputError, match="no virtual camera"):
        find_device()
    (tmp_path / "video10").mkdir()
    (tmp_path / "video9").mkdir()
    assert find_device() == Path("/dev/video9")


def test_an_ffmpeg_without_virtual_cameras_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtual, "_FORMAT", "a format that no FFmpeg has")
    with pytest.raises(InputError, match=r"the virtual camera .* cannot be opened"):
        VirtualCamera(tmp_path / "device", (64, 48), None)


def test_a_camera_that_goes_away_ends_no_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setattr(virtual, "_FORMAT", "rawvideo")
    write_video(tmp_path / "film.mp4", [np.zeros((480, 640, 3), np.uint8)] * 90)  # a slow machine drops most
    request = CameraRequest(source=str(tmp_path / "film.mp4"), virtual="/dev/full", frames=4, output=tmp_path)
    result = run_camera(request, threads=1)
    assert result.shown == 4
    assert any(note.startswith("the virtual camera is gone") for note in result.notes)
