"""What all runtimes have in common: the checks, and the resizing around a fixed size."""

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from steadystyle.runtimes.stylizer import Stylizer
from steadystyle.tests.runtimes.material import METADATA


class Negative(Stylizer):
    """Turns a picture into its negative and notes what it was given."""

    def __init__(self, width: int | None = None, height: int | None = None) -> None:
        self.metadata = dataclasses.replace(METADATA, width=width, height=height)
        self.engine = "numpy"
        self.given: list[NDArray[np.uint8]] = []
        self.closed = False

    def _stylize(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        self.given.append(frame)
        return np.asarray(255 - frame, np.uint8)

    def close(self) -> None:
        self.closed = True


def ramp(width: int, height: int) -> NDArray[np.uint8]:
    """Smooth, so that resizing there and back loses little."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 // width, y * 255 // height, (x + y) * 255 // (width + height)], axis=2).astype(np.uint8)


@pytest.mark.parametrize(("width", "height"), [(32, 24), (1, 1), (7, 31)])
def test_a_frame_that_fits_is_given_as_it_is(width: int, height: int) -> None:
    stylizer = Negative()
    frame = ramp(width, height)
    assert np.array_equal(stylizer(frame), 255 - frame)
    assert np.shares_memory(stylizer.given[0], frame), "a copy that nobody needs"
    assert stylizer.note(width, height) == ""


@pytest.mark.parametrize(("width", "height"), [(64, 48), (16, 12), (100, 20), (1, 1), (65, 47)])
def test_a_frame_of_another_size_is_resized_and_back(width: int, height: int) -> None:
    stylizer = Negative(32, 24)
    frame = ramp(width, height)
    stylized = stylizer(frame)
    assert stylizer.given[0].shape == (24, 32, 3)
    assert stylized.shape == frame.shape
    assert np.abs(stylized.astype(int) - (255 - frame)).mean() < 8
    note = stylizer.note(width, height)
    assert "32x24" in note
    assert f"{width}x{height}" in note


def test_the_size_is_width_by_height() -> None:
    stylizer = Negative(32, 24)
    assert stylizer.note(32, 24) == ""
    assert stylizer.note(24, 32) != ""


def test_a_view_is_given_to_the_engine_without_gaps() -> None:
    stylizer = Negative()
    frame = ramp(32, 24)[::2, ::-1]
    assert np.array_equal(stylizer(frame), 255 - frame)
    assert stylizer.given[0].flags.c_contiguous


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((24, 32, 3), np.float32),
        np.zeros((24, 32), np.uint8),
        np.zeros((24, 32, 4), np.uint8),
        np.zeros((1, 24, 32, 3), np.uint8),
        np.zeros((0, 32, 3), np.uint8),
    ],
)
def test_what_is_no_frame_is_refused_with_its_shape(frame: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match=r"\(H, W, 3\) uint8") as refusal:
        Negative()(frame)
    assert str(frame.shape) in str(refusal.value)
    assert str(frame.dtype) in str(refusal.value)


def test_a_with_block_closes_it() -> None:
    with Negative() as stylizer:
        assert not stylizer.closed
    assert stylizer.closed
