from pathlib import Path

import numpy as np
import pytest

from steadystyle.benchmarks.measure.latency import Subject
from steadystyle.benchmarks.measure.sustained import measure_sustained, slope_per_minute, sustained


def test_the_slope_of_a_made_up_series_is_found() -> None:
    at_s = [0.0, 1.1, 2.0, 3.2, 60.0]
    assert slope_per_minute(at_s, [20 + 6 * second / 60 for second in at_s]) == pytest.approx(6)
    assert slope_per_minute(at_s, [20.0] * 5) == pytest.approx(0)
    # Through (0, 0), (1 min, 2), (2 min, 1) the least-squares line has the slope 1/2.
    assert slope_per_minute([0, 60, 120], [0, 2, 1]) == pytest.approx(0.5)


def test_the_figures_of_a_made_up_run() -> None:
    # A minute that begins at 10 ms and ends at 69, a second at a time, and one frame of each second ten times as slow.
    seconds = [[10.0 + t, 10.0 + t, 10 * (10.0 + t)] for t in range(60)]
    found = sustained("ours", range(60), seconds, width=64, height=48, threads=1)
    assert found.medians_ms == [10.0 + t for t in range(60)]
    assert found.slope_ms_per_minute == pytest.approx(60)
    assert found.frames == 180 and found.worst_ms == 690
    # 24 to 59: those seconds' frames are late; of the others only the slow ones.
    assert found.over_deadline == pytest.approx((36 * 3 + 24) / 180)
    samples = np.concatenate(seconds)
    assert found.jitter_ms == pytest.approx(np.percentile(samples, 90) - np.percentile(samples, 10))


def test_a_steady_run_has_no_slope_jitter_or_misses() -> None:
    found = sustained("ours", [0, 1, 2], [[5.0] * 9] * 3, width=64, height=48, threads=1)
    assert found.slope_ms_per_minute == pytest.approx(0, abs=1e-9)  # how a least-squares line rounds, processors differ
    assert (found.jitter_ms, found.over_deadline, found.median_ms) == (0, 0, 5)


def test_a_method_runs_as_long_as_asked(peer_file: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    found = measure_sustained(
        Subject("inverts", "peer", str(peer_file)),
        [np.zeros((48, 64, 3), np.uint8)],
        tmp_path,
        minutes=0,
        threads=1,
        progress=lambda stage, done, total: told.append((done, total)),
    )
    assert len(found.at_s) == len(found.medians_ms) == 3  # the least that has a slope
    assert [later - earlier >= 1 for earlier, later in zip(found.at_s, found.at_s[1:], strict=False)] == [True, True]
    assert found.frames >= 3 and 0 < found.median_ms <= found.p99_ms <= found.worst_ms
    assert told[0] == (0, 3)
