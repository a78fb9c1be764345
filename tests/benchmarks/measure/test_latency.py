import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from steadystyle.benchmarks.costs import Latency
from steadystyle.benchmarks.measure.latency import MOST_SPREAD, ROUNDS, Subject, measure_latency, noise_notes, spread_of
from steadystyle.common.files import InputError

WritePeer = Callable[..., Path]


def frames(count: int) -> list[NDArray[np.uint8]]:
    return [np.random.default_rng(t).integers(0, 256, (48, 64, 3)).astype(np.uint8) for t in range(count)]


@pytest.fixture
def two_peers(write_peer: WritePeer, tmp_path: Path) -> list[Subject]:
    files = [write_peer(tmp_path / f"{name}.onnx") for name in ("one", "other")]
    return [Subject(file.stem, "peer", str(file)) for file in files]


def test_latency_alternates_counts_and_relates(two_peers: list[Subject], tmp_path: Path) -> None:
    # A large array of the tests' own process must not be counted as the workers' memory.
    ballast = np.ones(300 * 2**20 // 8)
    told: list[str] = []
    found = measure_latency(
        two_peers,
        frames(12),
        tmp_path,
        reference="other",
        threads=1,
        seconds=0,
        at_least=25,
        progress=lambda stage, done, total: told.append(stage),
    )
    assert ballast.sum() > 0
    assert told[:4] == ["latency of one", "latency of other"] * 2
    assert [row.method for row in found] == ["one", "other"]
    for row in found:
        check_latency(row)
    one, other = found
    assert (other.ratio, other.ratio_low, other.ratio_high) == (1, 1, 1)
    medians = [(np.median(a), np.median(b)) for a, b in zip(one.rounds_ms, other.rounds_ms, strict=True)]
    ratios = [float(mine / theirs) for mine, theirs in medians]
    assert one.ratio == pytest.approx(np.median(ratios))
    assert (one.ratio_low, one.ratio_high) == pytest.approx((min(ratios), max(ratios)))


def check_latency(row: Latency) -> None:
    samples = [sample for samples in row.rounds_ms for sample in samples]
    # A tenth of 25 frames, rounded up, in each of the ten rounds.
    assert [len(samples) for samples in row.rounds_ms] == [3] * ROUNDS
    assert row.frames == len(samples) >= 25
    assert row.warm_up_frames > 0
    assert row.memory_frames == row.frames + row.warm_up_frames
    assert (row.width, row.height, row.threads) == (64, 48, 1)
    assert row.median_ms == pytest.approx(np.median(samples))
    assert row.p90_ms and row.p99_ms and row.end_to_end and row.memory_before_mib and row.peak_memory_mib
    assert 0 < row.median_ms <= row.p90_ms <= row.p99_ms <= max(samples)
    assert row.over_deadline == np.mean([sample > 1000 / 30 for sample in samples])
    assert row.end_to_end.frames == 12
    assert row.end_to_end.fps == pytest.approx(12 / row.end_to_end.seconds)
    assert row.end_to_end.share_of_inference == pytest.approx(row.end_to_end.fps / (1000 / row.median_ms))
    assert row.spread == spread_of(row.rounds_ms) > 0
    assert 0 < row.end_to_end.inference_share < 1  # decoding the first frame and encoding the last are not inference
    assert 20 < row.memory_before_mib < row.peak_memory_mib < 280


def test_the_spread_is_that_of_the_rounds_medians() -> None:
    assert spread_of([[5, 5, 900], [5, 5, 5]]) == 0  # a slow frame is no slow round
    # Medians 10, 11 ... 20: the 10th percentile is 11, the 90th 19, the median 15.
    assert spread_of([[x - 1, x, x + 30] for x in range(10, 21)]) == pytest.approx(8 / 15)


def test_a_noisy_machine_is_told_and_a_quiet_one_not(two_peers: list[Subject], tmp_path: Path) -> None:
    rows = measure_latency(two_peers, frames(2), tmp_path, reference="one", threads=1, seconds=0, at_least=10)
    one, other = (dataclasses.replace(row, spread=0.5 * MOST_SPREAD) for row in rows)
    noisy = 2 * MOST_SPREAD
    assert noise_notes([one, other]) == []
    assert noise_notes([one, dataclasses.replace(other, spread=noisy)]) == []  # the ratios are to the other one
    (sentence,) = noise_notes([dataclasses.replace(one, spread=noisy), other])
    assert "too noisy" in sentence and "one's rounds spread by 40 %" in sentence


def test_enough_seconds_are_measured_even_of_a_fast_method(two_peers: list[Subject], tmp_path: Path) -> None:
    (row,) = measure_latency(two_peers[:1], frames(3), tmp_path, reference="one", threads=1, seconds=0.5, at_least=1)
    assert row.frames > 2 * ROUNDS


def test_an_artifact_is_measured_like_a_peer(any_size_artifact: Path, tmp_path: Path) -> None:
    (row,) = measure_latency(
        [Subject("tiny", "artifact", str(any_size_artifact))],
        frames(3),
        tmp_path,
        reference="tiny",
        threads=1,
        seconds=0,
        at_least=10,
    )
    assert row.frames == 10
    assert "onnxruntime" in row.engine


def test_what_the_worker_refuses_is_told_in_its_words(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        measure_latency([Subject("gone", "peer", "gone.onnx")], frames(1), tmp_path, reference="gone", seconds=0)


def test_a_worker_that_dies_is_told(two_peers: list[Subject], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "false")
    with pytest.raises(InputError, match="'one' broke off, its process ended with exit code 1"):
        measure_latency(two_peers, frames(1), tmp_path, reference="one", seconds=0)


def test_the_workers_answers_are_lines_of_json_and_nothing_else(peer_file: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "frames.npy", np.stack(frames(2)))
    opening = {
        "do": "open",
        "kind": "peer",
        "file": str(peer_file),
        "threads": 1,
        "frames": str(tmp_path / "frames.npy"),
    }
    requests = [opening, {"do": "time", "warm_up": 1, "frames": 3, "seconds": 0}, {"do": "memory"}]
    done = subprocess.run(
        [sys.executable, "-m", "steadystyle.benchmarks.measure.latency_worker"],
        input="".join(json.dumps(request) + "\n" for request in requests),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0
    opened, timed, memory = (json.loads(line) for line in done.stdout.splitlines())
    assert "onnxruntime" in opened["engine"]
    assert len(timed["ms"]) == 3
    assert memory["frames"] == 4
