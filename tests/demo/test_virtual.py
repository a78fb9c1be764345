"""The camera for calls, to the last step that needs no kernel module: a file takes the bytes that the device would."""

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from steadystyle.common.files import InputError
from steadystyle.demo.camera import virtual
from steadystyle.demo.camera.virtual import VirtualCamera, find_device


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
