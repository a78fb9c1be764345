"""The synthetic scene: the same every time, and its flow and mask are exact."""

import numpy as np
import pytest
from numpy.typing import NDArray

from steadystyle.video.flow import FlowPair, flow_pair, warp
from steadystyle.video.synthetic.harbour import harbour
from steadystyle.video.synthetic.scene import Layer, Matrix, Plane, Scene


@pytest.fixture(scope="module")
def clean() -> Scene:
    return harbour(noise=0)


def _difference(scene: Scene, t: int, interval: int, pair: FlowPair) -> NDArray[np.float32]:
    warped, _ = warp(scene.frame(t).astype(np.float32), pair.flow)
    return np.asarray((warped - scene.frame(t + interval)) / 255, np.float32)


def test_frames_are_made_alone_and_always_alike() -> None:
    first, second = harbour(96, 54, frames=12), harbour(96, 54, frames=12)
    frame = first.frame(7)
    assert frame.shape == (54, 96, 3)
    assert frame.dtype == np.uint8
    for t in (3, 7, 11):
        assert np.array_equal(second.frame(t), first.frame(t))
    assert np.array_equal(list(first)[7], frame)
    assert len(list(first)) == first.frames == 12
    assert not np.array_equal(first.frame(7), first.frame(8))


@pytest.mark.parametrize("size", [(1, 1), (17, 13), (54, 96), (96, 54)])
def test_any_size_can_be_made(size: tuple[int, int]) -> None:
    scene = harbour(*size, frames=8)
    assert scene.frame(5).shape == (size[1], size[0], 3)
    pair = scene.pair(2, 5)
    assert pair.flow.shape == (size[1], size[0], 2)
    assert pair.flow.dtype == np.float32
    assert pair.valid.dtype == np.bool_


def test_noise_has_the_strength_that_was_asked_for() -> None:
    noisy, clean = harbour(96, 54, noise=4 / 255), harbour(96, 54, noise=0)
    grain = noisy.frame(0).astype(np.float32) - clean.frame(0)
    middle = (clean.frame(0) > 20) & (clean.frame(0) < 235)
    assert grain[middle].std() == pytest.approx(4, rel=0.05)
    again = noisy.frame(1).astype(np.float32) - clean.frame(1)
    assert abs(np.corrcoef(grain[middle], again[middle])[0, 1]) < 0.05


@pytest.mark.parametrize(("t", "interval"), [(0, 1), (40, 1), (85, 1), (20, 5), (70, 5)])
def test_an_earlier_frame_warped_by_the_exact_flow_is_the_later_one(clean: Scene, t: int, interval: int) -> None:
    pair = clean.pair(t, interval)
    difference = _difference(clean, t, interval, pair)
    assert pair.valid.mean() > 0.8
    assert np.sqrt(np.square(difference[pair.valid]).mean()) < 0.01
    assert np.abs(difference[pair.valid]).max() < 0.25
    # What is masked is masked for a reason, and nothing stands still.
    assert np.square(difference[~pair.valid]).mean() > 10 * np.square(difference[pair.valid]).mean()
    assert np.linalg.norm(pair.flow, axis=2)[pair.valid].mean() > 0.2 * interval


def test_estimated_flow_agrees_with_the_exact_flow_in_most_places(clean: Scene) -> None:
    exact = clean.pair(30, 1)
    estimated = flow_pair(clean.frame(30), clean.frame(31))
    error = np.linalg.norm(estimated.flow - exact.flow, axis=2)[exact.valid]
    assert np.median(error) < 0.2
    assert (error < 1).mean() > 0.9


def test_frames_outside_the_clip_are_refused(clean: Scene) -> None:
    for t in (-1, clean.frames):
        with pytest.raises(IndexError, match="is not one of the 96 frames of harbour"):
            clean.frame(t)
    with pytest.raises(IndexError):
        clean.pair(clean.frames - 1, 1)


def _texture(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    texture = np.random.default_rng(seed).integers(0, 256, (height, width, 4), dtype=np.uint8)
    texture[..., 3] = 255
    return texture


def _moving(right: float, down: float) -> Matrix:
    return np.array([[1, 0, right], [0, 1, down]], np.float64)


def test_a_square_over_a_still_background_uncovers_what_is_behind() -> None:
    layers = [
        Layer(_texture(40, 60, 0), lambda _: _moving(0, 0)),
        Layer(_texture(10, 10, 1), lambda time_s: _moving(20 + 30 * time_s, 15 + 10 * time_s)),
    ]
    scene = Scene("square", 60, 40, 4, 10, layers, noise=0)
    pair = scene.pair(1, 2)  # the square goes from (23, 16) to (29, 18)
    on_square = np.zeros((40, 60), bool)
    on_square[18:28, 29:39] = True
    before = np.zeros((40, 60), bool)
    before[16:26, 23:33] = True
    assert np.allclose(pair.flow[on_square], (-6, -2), atol=1e-4)
    assert np.abs(pair.flow[~on_square]).max() == 0
    assert np.array_equal(pair.valid, on_square | ~before)
    assert np.abs(_difference(scene, 1, 2, pair)[pair.valid]).max() == 0


def test_places_half_a_pixel_from_an_edge_are_masked() -> None:
    layers = [
        Layer(_texture(40, 60, 0), lambda _: _moving(0, 0)),
        Layer(_texture(10, 10, 1), lambda time_s: _moving(20 + 5 * time_s, 15)),
    ]
    scene = Scene("square", 60, 40, 4, 10, layers, noise=0)
    valid = scene.pair(0, 1).valid[20]  # its left edge goes from 20 to 20.5: two pixels of the later frame are mixtures
    assert np.flatnonzero(~valid).tolist() == [20, 30]


def test_what_leaves_the_frame_is_masked() -> None:
    layers = [Layer(_texture(40, 90, 0), lambda time_s: _moving(-20 + 20 * time_s, 0))]
    scene = Scene("pan", 60, 40, 4, 10, layers, noise=0)
    pair = scene.pair(0, 1)
    assert np.allclose(pair.flow, (-2, 0), atol=1e-4)
    assert not pair.valid[:, :2].any()
    assert pair.valid[:, 2:].all()


def test_layers_that_bend_turn_and_repeat_can_be_followed_there_and_back() -> None:
    def turn(time_s: float) -> Matrix:
        return np.array([[np.cos(time_s), -np.sin(time_s), 9], [np.sin(time_s), np.cos(time_s), 4]])

    def bend(columns: Plane, time_s: float) -> Plane:
        return np.asarray(5 * np.sin(columns / 7 + time_s), np.float32)

    x, y = np.meshgrid(np.arange(30, dtype=np.float32), np.arange(20, dtype=np.float32))
    for layer in (
        Layer(_texture(20, 30, 0), turn, bend, reach=5),
        Layer(_texture(20, 31, 0), lambda time_s: _moving(200 * time_s, 3), bend, reach=5, repeats=True),
    ):
        back_x, back_y = layer.frame_position(*layer.texture_position(x, y, 0.4), 0.4)
        assert np.abs(back_x - x).max() < 1e-3
        assert np.abs(back_y - y).max() < 1e-3


def test_a_repeating_layer_has_no_seam() -> None:
    ring = np.zeros((10, 21, 4), np.uint8)
    ring[..., 0] = np.rint(100 + 90 * np.sin(np.arange(21) * 2 * np.pi / 20))
    ring[..., 3] = 255
    scene = Scene("ring", 80, 10, 9, 10, [Layer(ring, lambda s: _moving(37 * s, 0), repeats=True)], noise=0)
    pair = scene.pair(2, 4)
    difference = _difference(scene, 2, 4, pair)
    assert pair.valid.mean() > 0.75
    assert np.abs(difference[pair.valid]).max() < 0.02
    assert np.array_equal(scene.frame(0)[:, :20], scene.frame(0)[:, 40:60])
