from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from steadystyle.benchmarks.costs import CostPoint
from steadystyle.benchmarks.measure.growth import ROUNDS, cost_growth, exponent, measure_growth
from steadystyle.benchmarks.measure.latency import Subject

WritePeer = Callable[..., Path]
SIZES = [(32, 24), (64, 48), (128, 96)]


def frames(*sizes: tuple[int, int]) -> dict[tuple[int, int], list[NDArray[np.uint8]]]:
    return {(width, height): [np.zeros((height, width, 3), np.uint8)] * 2 for width, height in sizes}


def point(width: int, height: int, median_ms: float, taken_mib: float) -> CostPoint:
    return CostPoint(width, height, 10, median_ms, [[median_ms] * 10], 0.0, 60 + taken_mib, 60, 16)


@pytest.mark.parametrize("true", [0.0, 0.5, 1.0, 1.7])
def test_the_exponent_of_a_power_is_found(true: float) -> None:
    pixels = [320 * 180, 640 * 360, 1280 * 720, 1920 * 1080]
    assert exponent(pixels, [3e-4 * count**true for count in pixels]) == pytest.approx(true)


def test_the_exponent_is_that_of_the_least_squares_line() -> None:
    # In logarithms to the base 2: (0, 0), (1, 2), (2, 1); the line through them has the slope 1/2.
    assert exponent([1, 2, 4], [1, 4, 2]) == pytest.approx(0.5)


def test_no_line_no_exponent() -> None:
    assert exponent([100], [1.0]) is None
    assert exponent([100, 100], [1.0, 2.0]) is None
    assert exponent([100, 200], [1.0, 0.0]) is None


def test_latency_and_memory_have_each_their_own_exponent() -> None:
    points = [point(100, 100, 2, 10), point(200, 200, 8, 20), point(400, 400, 32, 40)]
    found = cost_growth("ours", points, {"1x1": "too small"})
    # Four times the pixels: four times as long, and twice the memory over the 60 MiB that were there before.
    assert found.latency_exponent == pytest.approx(1)
    assert found.memory_exponent == pytest.approx(0.5)
    assert found.absent == {"1x1": "too small"}
    alone = cost_growth("ours", points[:1], {})
    assert alone.latency_exponent is None and "two numbers of pixels" in alone.absent["exponents"]


def test_every_size_is_measured_in_turns(peer_file: Path, tmp_path: Path) -> None:
    told: list[int] = []
    found = measure_growth(
        Subject("inverts", "peer", str(peer_file)),
        frames(*SIZES),
        tmp_path,
        threads=1,
        seconds=0,
        at_least=10,
        progress=lambda stage, done, total: told.append(done),
    )
    assert told == list(range(ROUNDS * len(SIZES)))
    assert [(one.width, one.height) for one in found.points] == SIZES
    for one in found.points:
        assert [len(samples) for samples in one.rounds_ms] == [2] * ROUNDS
        assert one.median_ms == np.median(one.rounds_ms) > 0
        assert one.peak_memory_mib > one.memory_before_mib > 20
    assert found.absent == {} and found.latency_exponent is not None


def test_a_size_that_cannot_be_done_is_a_hole_and_the_others_go_on(
    fixed_size_artifact: Path, write_peer: WritePeer, tmp_path: Path
) -> None:
    subject = Subject("tiny", "artifact", str(fixed_size_artifact))
    fixed = measure_growth(subject, frames(*SIZES), tmp_path, own_size=(64, 48), threads=1, seconds=0, at_least=5)
    assert [(one.width, one.height) for one in fixed.points] == [(64, 48)]
    assert fixed.absent["32x24"] == fixed.absent["128x96"] == "it is made for 64x48 only"
    assert fixed.latency_exponent is None
    narrower = write_peer(tmp_path / "narrower.onnx", left_out=4)
    broken = measure_growth(
        Subject("narrower", "peer", str(narrower)), frames(*SIZES[:2]), tmp_path, threads=1, seconds=0, at_least=5
    )
    assert broken.points == []
    assert "its sizes must agree" in broken.absent["32x24"] and "its sizes must agree" in broken.absent["64x48"]
