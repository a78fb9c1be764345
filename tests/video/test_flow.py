"""The direction, the masks and the scale of optical flow, on motions that are known."""

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from steadystyle.common.files import InputError
from steadystyle.video.flow import (
    consistency_mask,
    estimate_flow,
    flow_pair,
    motion_boundary_mask,
    read_flo,
    warp,
)
from steadystyle.video.images import read_image

DATA = Path(__file__).resolve().parents[2] / ".." / "shared" / "data"
MARGIN = 20


def _texture(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).standard_normal((height, width, 3)).astype(np.float32)
    smooth = sum(cv2.GaussianBlur(noise, (0, 0), sigma) * sigma for sigma in (1.5, 4, 8))
    return np.asarray(np.clip(128 + 60 * smooth / np.std(smooth), 0, 255), np.uint8)


def _seen_at(texture: NDArray[np.uint8], dx: float, dy: float) -> NDArray[np.uint8]:
    """The texture moved by (dx, dy), without its margin."""
    height, width = texture.shape[0] - 2 * MARGIN, texture.shape[1] - 2 * MARGIN
    move = np.array([[1, 0, dx - MARGIN], [0, 1, dy - MARGIN]], np.float64)
    return np.asarray(cv2.warpAffine(texture, move, (width, height), flags=cv2.INTER_CUBIC), np.uint8)


def _constant(height: int, width: int, dx: float, dy: float) -> NDArray[np.float32]:
    return np.full((height, width, 2), (dx, dy), np.float32)


@pytest.mark.parametrize(("dx", "dy"), [(5, -3), (-8, 6), (1.5, -0.75), (0.25, 0.5), (0, 0)])
def test_flow_says_where_a_pixel_of_the_source_is_in_the_target(dx: float, dy: float) -> None:
    texture = _texture(120, 160)
    flow = estimate_flow(_seen_at(texture, 0, 0), _seen_at(texture, dx, dy))
    inner = flow[15:-15, 15:-15]
    assert flow.dtype == np.float32
    assert np.abs(inner - (dx, dy)).mean() < 0.1


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (17, 13), (8, 100)])
def test_tiny_frames_have_flow_too(size: tuple[int, int]) -> None:
    frame = _texture(*size)
    pair = flow_pair(frame, frame)
    assert pair.flow.shape == (*size, 2)
    assert np.abs(pair.flow).max() < 0.1
    assert pair.valid.all()


def test_frames_of_two_sizes_or_another_type_are_refused() -> None:
    with pytest.raises(ValueError, match=r"of one size, but are \(40, 50, 3\) and \(40, 52, 3\)"):
        estimate_flow(_texture(40, 50), _texture(40, 52))
    with pytest.raises(ValueError, match="source must be"):
        estimate_flow(_texture(40, 50)[..., 0], _texture(40, 50))


def test_warp_by_whole_pixels_is_a_shift() -> None:
    image = _texture(30, 40)
    warped, inside = warp(image, _constant(30, 40, 4, -3))
    assert warped.dtype == np.uint8
    assert np.array_equal(warped[3:, :-4], image[:-3, 4:])  # warped(x) = image(x + flow)
    assert inside[3:, :-4].all()
    assert inside.sum() == 27 * 36


def test_warp_by_parts_of_a_pixel_is_bilinear() -> None:
    rows, columns = np.mgrid[0:20, 0:30].astype(np.float32)
    slope = 10 * columns - 3 * rows
    warped, inside = warp(slope, _constant(20, 30, 0.3, 1.6))
    assert np.abs(warped - (slope + 10 * 0.3 - 3 * 1.6))[inside].max() < 1e-3
    two_pixels = np.array([[[0, 100], [8, 60]]], np.float32)
    assert np.allclose(warp(two_pixels, _constant(1, 2, 0.25, 0))[0][0, 0], [2, 90], atol=1e-3)


def test_warp_keeps_what_is_on_the_border_and_drops_what_is_beyond() -> None:
    image = _texture(10, 10)
    _, inside = warp(image, _constant(10, 10, 0, 0))
    assert inside.all()
    _, inside = warp(image, _constant(10, 10, 0.01, 0))
    assert not inside[:, -1].any()
    assert inside[:, :-1].all()


def test_unknown_flow_is_not_inside() -> None:
    flow = _constant(10, 10, 0, 0)
    flow[2, 3] = np.nan
    warped, inside = warp(_texture(10, 10).astype(np.float32), flow)
    assert not inside[2, 3]
    assert inside.sum() == 99
    assert np.isfinite(warped).all()


def test_flow_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"flow must be \(10, 10, 2\), but is \(10, 9, 2\)"):
        warp(_texture(10, 10), _constant(10, 9, 0, 0))


def test_flows_that_undo_each_other_are_consistent_where_they_stay_in_the_frame() -> None:
    mask = consistency_mask(_constant(20, 30, 6, 2), _constant(20, 30, -6, -2))
    assert mask[:-2, :-6].all()
    assert mask.sum() == 18 * 24


def test_the_forward_backward_threshold_is_that_of_the_paper() -> None:
    # |w + w'|² <= 0.01 (|w|² + |w'|²) + 0.5 with w = (10, 0) and w' = (e - 10, 0): the limit for e is about 1.49.
    flow = _constant(20, 40, 10, 0)
    assert consistency_mask(flow, _constant(20, 40, -8.55, 0))[:, :30].all()
    assert not consistency_mask(flow, _constant(20, 40, -8.47, 0)).any()
    # At rest only the constant counts: |w'|² <= 0.01 |w'|² + 0.5.
    rest = _constant(5, 5, 0, 0)
    assert consistency_mask(rest, _constant(5, 5, 0.70, 0)).all()
    assert not consistency_mask(rest, _constant(5, 5, 0.72, 0)).any()


def test_the_reverse_flow_is_looked_up_where_the_flow_leads() -> None:
    flow = _constant(10, 30, 10, 0)
    reverse = _constant(10, 30, 0, 0)
    reverse[:, 15:20] = (-10, 0)
    assert np.flatnonzero(consistency_mask(flow, reverse)[0]).tolist() == [5, 6, 7, 8, 9]


def test_motion_boundaries_are_where_the_flow_jumps() -> None:
    flow = _constant(20, 30, 0, 0)
    flow[:, 15:] = (2, 0)
    assert np.flatnonzero(motion_boundary_mask(flow)[10]).tolist() == [14, 15]


def test_the_motion_boundary_threshold_is_that_of_the_paper() -> None:
    # |∇u|² + |∇v|² > 0.01 |w|² + 0.002: slopes of 0.03 pass near rest (0.0009), slopes of 0.06 do not (0.0036).
    columns = np.arange(-4, 5, dtype=np.float32)
    for slope, expected in ((0.03, False), (0.06, True)):
        flow = np.zeros((5, 9, 2), np.float32)
        flow[..., 1] = slope * columns
        assert motion_boundary_mask(flow)[2, 4] == expected
        flow[..., 0] = 10  # fast motion allows more: 0.01 · 100 + 0.002
        assert not motion_boundary_mask(flow).any()


def test_what_a_moving_square_uncovers_is_not_valid() -> None:
    background, square = _texture(90, 120, seed=1), _texture(30, 30, seed=2)
    earlier, later = background.copy(), background.copy()
    earlier[30:60, 40:70] = square
    later[30:60, 48:78] = square
    pair = flow_pair(earlier, later)
    assert np.abs(pair.flow[36:54, 54:72] - (-8, 0)).mean() < 0.3  # from the later frame back to the earlier one
    assert pair.valid[36:54, 54:72].mean() > 0.8
    assert pair.valid[33:57, 41:47].mean() < 0.2  # was behind the square
    still = np.ones((90, 120), bool)
    still[18:72, 28:90] = False
    assert pair.valid[still].mean() > 0.95


def test_what_comes_into_the_frame_is_not_valid() -> None:
    texture = _texture(120, 160)
    pair = flow_pair(_seen_at(texture, 0, 0), _seen_at(texture, 9, 0))
    assert not pair.valid[:, :8].any()
    assert pair.valid[5:-5, 16:-16].mean() > 0.9


def test_flo_files_are_laid_out_as_middlebury_says(tmp_path: Path) -> None:
    path = tmp_path / "flow.flo"
    path.write_bytes(b"PIEH" + struct.pack("<ii4f", 2, 1, 1.5, -2.5, 2e9, 2e9))
    flow = read_flo(path)
    assert flow.shape == (1, 2, 2)
    assert flow[0, 0].tolist() == [1.5, -2.5]
    assert np.isnan(flow[0, 1]).all()


def test_bad_flo_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "flow.flo"
    with pytest.raises(InputError, match="does not exist"):
        read_flo(path)
    path.write_bytes(b"not a flow file at all")
    with pytest.raises(InputError, match=r"not a Middlebury \.flo file"):
        read_flo(path)
    path.write_bytes(b"PIEH" + struct.pack("<ii4f", 20, 10, 1, 2, 3, 4))
    with pytest.raises(InputError, match="breaks off: it should hold 20x10"):
        read_flo(path)


@pytest.mark.parametrize(("pair", "limit"), [("RubberWhale", 0.4), ("Grove2", 0.5), ("Urban2", 1.5)])
def test_estimated_flow_agrees_with_middlebury(pair: str, limit: float) -> None:
    folder = DATA / "flow" / f"middlebury_{pair}"
    if not folder.is_dir():
        pytest.skip("the data folder is not beside this checkout")
    flow = estimate_flow(read_image(folder / "frame10.png"), read_image(folder / "frame11.png"))
    error = np.linalg.norm(flow - read_flo(folder / "flow10.flo"), axis=2)
    assert np.nanmean(error) < limit
