"""What the tests of the camera share: a film, and waiting for what happens in another process."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from steadystyle.video.frames import write_video

QUICK = "great-wave"
LONG_S = 300  # for a machine that does other things at the same time


def textured(width: int, height: int, shift: int = 0) -> NDArray[np.uint8]:
    noise = np.random.default_rng(0).integers(0, 256, (height // 8 + 1, width // 8 + 9, 3), np.uint8)
    return np.ascontiguousarray(noise.repeat(8, axis=0).repeat(8, axis=1)[:height, shift : shift + width])


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """A second of 160x90 at 25 frames a second."""
    path = tmp_path / "film.mp4"
    write_video(path, [textured(160, 90, t) for t in range(25)], 25)
    return path


@pytest.fixture
def unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    """SDL's driver without a screen: windows open, nobody sees them."""
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")


def wait_for(condition: Callable[[], bool], what: str, limit_s: float = LONG_S) -> None:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < limit_s, f"waited {limit_s} s for {what}"
        time.sleep(0.05)
