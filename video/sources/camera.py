"""Frames of a camera."""

import os
import sys
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from ...common.files import InputError
from .base import Frame, FrameSource, SourceInfo


class CameraSource(FrameSource):
    """The camera with an OpenCV number; InputError if it gives no picture."""

    def __init__(self, index: int) -> None:
        # OpenCV would print a line for each backend that it tries; the error below suffices.
        level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        try:
            self._camera = cv2.VideoCapture(index)
            opened, first = self._camera.read()
        finally:
            cv2.utils.logging.setLogLevel(level)
        if not opened:
            self._camera.release()
            raise InputError(f"camera {index} gives no picture: {_remedy(index)}")
        self._first = first
        rate = self._camera.get(cv2.CAP_PROP_FPS)
        known = Fraction(rate).limit_denominator(1001) if 1 <= rate <= 240 else None
        height, width = first.shape[:2]
        self.info = SourceInfo(f"camera {index}", "camera", width, height, known, None, None, has_audio=False)

    def _frames(self) -> Iterator[Frame]:
        start = time.monotonic()
        opened, picture = True, self._first
        while opened:
            image = np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)
            yield Frame(image, time.monotonic() - start)
            opened, picture = self._camera.read()
        self.note = "the camera stopped giving pictures"

    def close(self) -> None:
        """As `FrameSource`."""
        self._camera.release()


def _remedy(index: int) -> str:
    """Advice for a camera that cannot be opened; on Linux, its device file shows the cause."""
    device = Path(f"/dev/video{index}")
    if sys.platform == "linux" and not device.exists():
        return f"there is no {device}, so connect the camera or give another number"
    if sys.platform == "linux":
        try:
            os.close(os.open(device, os.O_RDWR | os.O_NONBLOCK))
        except PermissionError:
            return f"{device} may not be opened, so `sudo usermod -aG video $USER` and log in again"
        except OSError:
            pass  # in use, or broken
    return "connect it, allow its use, close what uses it, or give another number"
