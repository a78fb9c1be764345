"""Known offsets and steps are found, in a stylized look too."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from steadystyle.benchmarks.alignment import Alignment, Sketched, align, sketch
from steadystyle.common.files import InputError

Frame = NDArray[np.uint8]


def moving(frames: int) -> list[Frame]:
    """A texture that moves a pixel a frame, at 160 x 90."""
    noise = np.random.default_rng(3).integers(0, 256, (90, 160 + frames, 3)).astype(np.uint8)
    wide = cv2.GaussianBlur(noise, (0, 0), 2)
    wide = cv2.normalize(wide, np.empty_like(wide), 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    return [np.ascontiguousarray(wide[:, frames - t : frames - t + 160]) for t in range(frames)]


def painted(frame: Frame) -> Frame:
    """Inverted, in few colours, and noisy: nothing of the brightness is left, the outlines are."""
    noise = np.random.default_rng(int(frame[0, 0, 0])).normal(0, 12, frame.shape)
    return np.clip((255 - frame) // 64 * 64 + noise, 0, 255).astype(np.uint8)


def sketched(frames: list[Frame], rate: float | None = 24) -> Sketched:
    return sketch("clip.mp4", (160, 90), rate, frames)


@pytest.mark.parametrize(
    ("first", "last", "offset"),
    [(0, 30, 0), (1, 30, 1), (2, 30, 2), (1, 29, 1), (0, 28, 0), (-1, 30, -1), (-2, 30, -2), (0, 32, 0), (-1, 31, -1)],
)
def test_frames_missing_or_too_many_at_an_end_are_found(first: int, last: int, offset: int) -> None:
    whole = moving(34)  # of which the source is 2..32
    video = sketched([painted(frame) for frame in whole[2 + first : 2 + last]])
    found = align(video, sketched(whole[2:32]))
    assert (found.offset, found.step) == (offset, 1)
    assert bool(found.note) == (last - first != 30)


@pytest.mark.parametrize(("step", "phase"), [(2, 0), (2, 1), (3, 0), (3, 2)])
def test_one_frame_in_so_many_is_found_by_the_frame_rates(step: int, phase: int) -> None:
    source = moving(31)
    video = sketched([painted(frame) for frame in source[phase::step]], 24 / step)
    found = align(video, sketched(source))
    assert (found.offset, found.step) == (phase, step)
    assert f"one frame in {step}" in found.note


def test_a_picture_that_stands_still_is_taken_from_the_first_frame() -> None:
    still = moving(1) * 12
    assert align(sketched(still[:10]), sketched(still)).offset == 0
    assert align(sketched(still), sketched(still, None)) == Alignment(0, 1)


@pytest.mark.parametrize(
    ("frames", "rate", "sentence"),
    [
        (27, 24, "has 27 frames and its source 'clip.mp4' 30: give"),
        (33, None, "has 33 frames and its source 'clip.mp4' 30: give"),
        (25, 20, "has 20 frames a second and its source 'clip.mp4' 24, so that"),
        (60, 48, "has 48 frames a second"),
        (10, 12, "has 10 frames and its source 'clip.mp4' 30, of which it should have one in 2: give"),
    ],
)
def test_another_length_or_rate_is_refused_and_the_reason_told(frames: int, rate: float | None, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        align(sketched(moving(frames), rate), sketched(moving(30)))
