"""The figures of steadiness, on clips whose figures are known."""

import math

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from steadystyle.common.files import InputError
from steadystyle.runtimes.registry import open_stylizer
from steadystyle.video.flow import FlowPair
from steadystyle.video.synthetic.harbour import harbour
from steadystyle.video.synthetic.motions import SCENES
from steadystyle.video.temporal import (
    box_blur,
    drift,
    error_map,
    extended,
    flow_pairs,
    is_cut,
    pair_error,
    shift_errors,
    temporal_error,
)

Image = NDArray[np.uint8]


def _picture(seed: int, height: int = 60, width: int = 90) -> Image:
    noise = np.random.default_rng(seed).standard_normal((height, width, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 4)
    return np.asarray(np.clip(128 + 55 * smooth / smooth.std(), 0, 255), np.uint8)


def _motion(height: int, width: int, dx: float, dy: float, valid: bool = True) -> FlowPair:
    return FlowPair(np.full((height, width, 2), (dx, dy), np.float32), np.full((height, width), valid))


def _flat(level: int) -> Image:
    return np.full((20, 30, 3), level, np.uint8)


def test_a_scene_that_moves_exactly_has_no_error() -> None:
    large = _picture(0, 60, 120)
    frames = [large[:, 3 * t : 3 * t + 90] for t in range(5)]  # the camera moves right by 3 pixels a frame
    for interval in (1, 2):
        pair = _motion(60, 90, 3 * interval, 0)
        pair.valid[:, 90 - 3 * interval :] = False
        pairs = {t: pair for t in range(5 - interval)}
        error = temporal_error(frames, pairs, interval, "ground truth")
        assert error.value == 0
        assert (error.pairs, error.interval, error.flow_source) == (5 - interval, interval, "ground truth")
        assert error.mask_share == pytest.approx(1 - interval / 30)


def test_the_wrong_direction_of_flow_is_an_error() -> None:
    large = _picture(0, 60, 120)
    pair = _motion(60, 90, -3, 0)
    pair.valid[:, :3] = False
    assert pair_error(large[:, :90], large[:, 3:93], pair) > 1e-3


def test_known_noise_has_a_known_error() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 6, (9, 60, 90, 3))
    frames = [np.rint(128 + n).astype(np.uint8) for n in noise]
    error = temporal_error(frames, {t: _motion(60, 90, 0, 0) for t in range(8)}, 1)
    assert error.value == pytest.approx(math.sqrt(2 * (36 + 1 / 12)) / 255, rel=0.02)


def test_squares_are_averaged_over_pairs_before_the_root() -> None:
    frames = [_flat(100), _flat(110), _flat(130)]
    error = temporal_error(frames, {t: _motion(20, 30, 0, 0) for t in range(2)}, 1)
    assert error.per_pair == pytest.approx([(10 / 255) ** 2, (20 / 255) ** 2])
    assert error.value == pytest.approx(math.sqrt((100 + 400) / 2) / 255)


def test_the_mean_is_over_channels() -> None:
    later = _flat(100)
    later[..., 1] = 130
    assert pair_error(_flat(100), later, _motion(20, 30, 0, 0)) == pytest.approx((30 / 255) ** 2 / 3)


def test_masked_pixels_do_not_count() -> None:
    later = _flat(100)
    later[:5] = 255
    pair = _motion(20, 30, 0, 0)
    pair.valid[:5] = False
    assert pair_error(_flat(100), later, pair) == 0
    assert temporal_error([_flat(100), later], {0: pair}, 1).mask_share == pytest.approx(0.75)


def test_a_pair_without_valid_pixels_does_not_count() -> None:
    nothing = _motion(20, 30, 0, 0, valid=False)
    assert math.isnan(pair_error(_flat(1), _flat(2), nothing))
    error = temporal_error([_flat(0), _flat(255), _flat(245)], {0: nothing, 1: _motion(20, 30, 0, 0)}, 1)
    assert error.pairs == 1
    assert error.value == pytest.approx(10 / 255)


@pytest.mark.parametrize("pairs", [{}, {0: _motion(20, 30, 0, 0, valid=False)}])
def test_without_any_pair_there_is_no_figure(pairs: dict[int, FlowPair]) -> None:
    with pytest.raises(InputError, match="give a longer clip"):
        temporal_error([_flat(0), _flat(1)], pairs, 1)


def test_frames_that_do_not_fit_the_flow_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit a flow pair"):
        pair_error(_flat(0), _flat(0), _motion(20, 31, 0, 0))


def test_the_controls_behave_as_their_names_say() -> None:
    scene, noisy = harbour(240, 135, frames=6, noise=0), harbour(240, 135, frames=6, noise=6 / 255)
    pairs = {t: scene.pair(t, 5) for t in range(1)}
    identity = temporal_error(list(scene), pairs, 5).value
    still = temporal_error([scene.frame(0)] * 6, pairs, 5).value
    with_noise = temporal_error(list(noisy), pairs, 5).value
    blur = temporal_error([box_blur(frame) for frame in noisy], pairs, 5).value
    assert identity < 0.015  # interpolation only
    assert still > 2 * identity
    assert identity < with_noise < 2 * 6 / 255
    assert blur < 0.6 * with_noise


def test_estimated_flow_gives_nearly_the_error_of_the_true_flow() -> None:
    scene = harbour(320, 180, frames=3)
    source = [scene.frame(t) for t in range(3)]
    true = temporal_error(source, {t: scene.pair(t, 1) for t in range(2)}, 1, "ground truth").value
    estimated = temporal_error(source, flow_pairs(source, 1), 1).value
    assert estimated == pytest.approx(true, rel=0.5)


def test_an_error_map_has_a_fixed_scale() -> None:
    later = _flat(100)
    later[0] = 100 + 64  # 0.251
    later[1] = 100 + 32  # 0.125
    later[2] = 255
    pair = _motion(20, 30, 0, 0)
    pair.valid[2] = False
    shades = error_map(_flat(100), later, pair)
    assert shades.shape == (20, 30)
    assert shades.dtype == np.uint8
    assert [int(shades[row, 5]) for row in range(4)] == [255, 128, 0, 0]


def test_pairs_across_a_scene_cut_are_dropped() -> None:
    frames = [_picture(1)] * 4 + [_picture(2)] * 3
    assert sorted(flow_pairs(frames, 1)) == [0, 1, 2, 4, 5]
    assert sorted(flow_pairs(frames, 2)) == [0, 1, 4]
    assert sorted(flow_pairs(frames, 1, every=2)) == [0, 2, 4]
    assert flow_pairs(frames[:1], 1) == {}
    pair = flow_pairs(frames, 1)[0]
    assert np.abs(pair.flow).max() < 0.1
    assert pair.valid.all()


def test_the_pairs_are_later_to_earlier() -> None:
    large = _picture(0, 80, 140)
    pairs = flow_pairs([large[:, 4 * t : 4 * t + 100] for t in range(3)], 2)
    assert np.abs(pairs[0].flow[20:60, 20:70] - (8, 0)).mean() < 0.2


@pytest.mark.parametrize(("interval", "every"), [(0, 1), (1, 0)])
def test_intervals_below_one_are_refused(interval: int, every: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        flow_pairs([_flat(0)], interval, every)


def test_cuts_are_found() -> None:
    assert is_cut(_picture(1), _picture(2))
    scene = harbour(160, 90, frames=1).frame(0)
    assert is_cut(scene, _picture(3, 90, 160))
    assert is_cut(scene, np.zeros_like(scene))
    assert is_cut(_flat(0), _flat(255))


def test_what_is_not_a_cut_is_not_taken_for_one() -> None:
    scene = harbour(160, 90, frames=26)
    frame = scene.frame(0)
    rng = np.random.default_rng(0)
    assert not is_cut(frame, frame)
    assert not is_cut(frame, scene.frame(25))  # a second of everything moving
    assert not is_cut(frame[:, :-16], frame[:, 16:])  # a fast pan
    assert not is_cut(frame, np.clip(frame * 1.2, 0, 255).astype(np.uint8))  # a flicker of the light
    assert not is_cut(frame, np.clip(frame * 0.8, 0, 255).astype(np.uint8))
    noise = np.clip(frame + rng.normal(0, 15, frame.shape), 0, 255).astype(np.uint8)
    assert not is_cut(frame, noise)
    plain = [np.clip(100 + rng.normal(0, 4, (90, 160, 3)), 0, 255).astype(np.uint8) for _ in range(2)]
    assert not is_cut(plain[0], plain[1])  # a wall: nothing but noise


def test_cuts_need_frames_of_one_size() -> None:
    with pytest.raises(ValueError, match="of one size"):
        is_cut(_flat(0), _picture(0))


def test_drift_is_the_mean_change_of_the_mean_colour() -> None:
    frames = [_flat(100), _flat(103), _flat(97), _flat(112)]
    assert drift(frames) == pytest.approx((3 + 3 + 12) / 3 / 255)
    assert drift([_picture(0)] * 3) == 0
    red_up = _flat(100)
    red_up[..., 0] = 130
    assert drift([_flat(100), red_up]) == pytest.approx(10 / 255)  # no cancelling, and a mean over channels
    with pytest.raises(ValueError, match="at least two frames"):
        drift(frames[:1])


_NOISE = np.random.default_rng(3).integers(0, 256, (180, 240, 3), dtype=np.uint8)


def test_what_moves_with_its_input_has_no_shift_error() -> None:
    pictures = extended(_NOISE)
    assert pictures.shape == (188, 248, 3) and (pictures[-1, -1] == _NOISE[-9, -9]).all()
    assert shift_errors(lambda frame: 255 - frame, pictures, (1, 2, 3, 4, 8), (240, 180)) == [0] * 5


@pytest.mark.parametrize("axis", [0, 1])
def test_a_stylizer_that_repeats_every_fourth_pixel_errs_between_the_steps_of_its_grid(axis: int) -> None:
    ramp = np.arange(248 if axis else 188, dtype=np.uint8)
    picture = np.broadcast_to(ramp[None, :, None] if axis else ramp[:, None, None], (188, 248, 3))
    sizes = []

    def repeats(frame: Image) -> Image:
        sizes.append(frame.shape)
        return np.repeat(frame.take(range(0, frame.shape[axis], 4), axis), 4, axis)

    found = shift_errors(repeats, picture, (1, 2, 3, 4), (240, 180))
    assert sizes == [(180, 240, 3)] * 5
    # Moved by n, a pixel is painted n too light, or 4 - n too dark where that crosses a step: n pixels of each four.
    wanted = [math.sqrt(((4 - n) * n**2 + n * (4 - n) ** 2) / 4) / 255 for n in (1, 2, 3, 4)]
    assert found == pytest.approx(wanted, rel=0.01)
    assert wanted[0] == pytest.approx(math.sqrt(3) / 255) and found[3] == 0


def test_a_bundled_network_follows_its_grid() -> None:
    pictures = [SCENES[name](width=648, height=368).frame(0) for name in SCENES]
    with open_stylizer("great-wave") as stylize:
        errors = [shift_errors(stylize, picture, (3, 8), (640, 360)) for picture in pictures]
    between, step = np.mean(errors, axis=0)
    assert 0 < step < between


def test_a_pattern_on_the_grid_errs_where_it_does_not_meet_itself() -> None:
    def gridded(frame: Image) -> Image:
        result = np.full_like(frame, 100)
        result[:, ::4] = 151  # every fourth column a fifth brighter
        return result

    between, step = shift_errors(gridded, extended(_NOISE), (1, 4), (240, 180))
    # Half of the columns are those of one grid or of the other: two in four differ by 51 of 255.
    assert between == pytest.approx(0.2 * 0.5**0.5, rel=1e-2) and step == 0


def test_what_is_painted_along_the_border_is_no_shift_error() -> None:
    def framed(frame: Image) -> Image:
        result = frame.copy()
        result[:20], result[-20:], result[:, :20], result[:, -20:] = 0, 0, 0, 0
        return result

    assert shift_errors(framed, extended(_NOISE), (1, 4), (240, 180)) == [0, 0]


def test_the_box_blur_is_5x5() -> None:
    spot = np.zeros((11, 11, 3), np.uint8)
    spot[5, 5] = 250
    blurred = box_blur(spot)
    assert blurred[3:8, 3:8].min() == blurred.max() == 10
    assert int(blurred[..., 0].sum()) == 250
