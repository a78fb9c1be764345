"""The scenes of one motion each: exact flow, and what each is there for."""

import numpy as np
import pytest

from steadystyle.video.flow import warp
from steadystyle.video.synthetic.motions import SCENES, blur, light, still
from steadystyle.video.temporal import temporal_error

MOVING = ("pan", "zoom", "turn", "parallax", "occluder", "blur")


@pytest.mark.parametrize("name", MOVING)
@pytest.mark.parametrize("interval", [1, 5])
def test_the_flow_is_exact(name: str, interval: int) -> None:
    scene = SCENES[name](320, 180, 50)
    earlier, later, pair = scene.frame(20), scene.frame(20 + interval), scene.pair(20, interval)
    assert pair.valid.mean() > 0.6
    error = temporal_error([earlier, *[earlier] * (interval - 1), later], {0: pair}, interval).value
    assert error <= 0.01
    # The other way round it is not: this is what a swapped direction would give.
    swapped, _ = warp(earlier.astype(np.float32), -pair.flow)
    wrong = np.sqrt(np.square((swapped - later) / 255)[pair.valid].mean())
    assert wrong > 2 * error


def test_what_passes_in_front_hides() -> None:
    pair = SCENES["occluder"](320, 180, 50).pair(5, 5)
    assert 0.005 < (~pair.valid).mean() < 0.3


def test_still_has_noise_and_nothing_else() -> None:
    scene = still(320, 180, 8)
    pair = scene.pair(0, 5)
    assert np.abs(pair.flow).max() == 0 and pair.valid.mean() > 0.99
    error = temporal_error([scene.frame(t) for t in range(6)], {0: pair}, 5).value
    assert error == pytest.approx(np.sqrt(2) * 5 / 255, rel=0.1)


def test_light_comes_and_goes() -> None:
    scene = light(160, 90, 50)
    means = [scene.frame(t).mean() for t in range(0, 50, 2)]
    assert max(means) / min(means) > 1.25


def test_blur_follows_the_motion() -> None:
    scene = blur(640, 360, 50)
    # The pan is quickest in the first frame, along the rows: edges across it lose contrast, those along it do not.
    blurred, sharp = scene.frame(0).astype(np.float32), scene._painted(0.0).astype(np.float32)
    along, across = (
        np.square(np.diff(blurred, axis=axis)).mean() / np.square(np.diff(sharp, axis=axis)).mean() for axis in (1, 0)
    )
    assert along < 0.8 * across


@pytest.mark.parametrize("name", sorted(SCENES))
def test_frames_are_made_alone_always_alike_and_of_any_size(name: str) -> None:
    first, second = SCENES[name](97, 55, 6), SCENES[name](97, 55, 6)
    frame = first.frame(4)
    second.frame(1)
    assert frame.shape == (55, 97, 3) and frame.dtype == np.uint8 and frame.std() > 10
    assert np.array_equal(second.frame(4), frame)
    assert first.name == name
