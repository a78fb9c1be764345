import dataclasses

import pytest

from steadystyle.benchmarks.costs import EndToEnd, Latency
from steadystyle.benchmarks.measure.roofline import measure_peak, roofline, roofline_row
from steadystyle.benchmarks.record import Method
from steadystyle.train.networks import build_network, cost, multiplications

PEAK = {"gflops": 100.0, "gb_per_s": 10.0}


def latency(method: str, median_ms: float) -> Latency:
    figures = (median_ms, median_ms, median_ms, 1000 / 30, 0.0, "ours", 1.0, 1.0, 1.0)
    end = EndToEnd(10, 1.0, 10.0, 1.0, 0.9)
    return Latency(method, "local", "engine", 640, 360, 2, 15, 10, *figures, [[median_ms]] * 10, 0.0, end, 150, 60, 115)


def artifact(precision: str = "fp32", size: tuple[int | None, int | None] = (None, None), bytes: int = 10**6) -> Method:
    width, height = size
    metadata: dict[str, object] = {
        "architecture": "huang2017",
        "sizes": {},
        "precision": precision,
        "width": width,
        "height": height,
    }
    return Method("ours", "artifact", file="ours.onnx", bytes=bytes, metadata=metadata)


def test_a_cost_is_that_of_the_real_network() -> None:
    network = build_network("huang2017")
    assert cost("huang2017", (64, 48)) == (
        multiplications(network, (64, 48)),
        sum(value.numel() for value in network.parameters()),
    )


def test_the_share_is_the_bound_over_the_latency() -> None:
    count, _ = cost("huang2017", (640, 360))
    row = roofline_row(PEAK, latency("ours", 250.0), artifact())
    assert row.multiplications == count
    assert row.bound_by == "arithmetic"
    assert row.bound_ms == pytest.approx(1000 * 2 * count / 100e9)
    assert row.bound_ms is not None and row.share == pytest.approx(row.bound_ms / 250)
    # Twice as slow: half the share.
    slower = roofline_row(PEAK, latency("ours", 500.0), artifact())
    assert row.share is not None and slower.share == pytest.approx(row.share / 2)


def test_where_arithmetic_is_plenty_the_memory_is_the_bound() -> None:
    row = roofline_row({"gflops": 1e9, "gb_per_s": 10.0}, latency("ours", 10.0), artifact())
    assert row.bound_by == "memory"
    # 640 x 360 pixels of three bytes in and out, and the file.
    assert row.least_bytes == 2 * 640 * 360 * 3 + 10**6
    assert row.bound_ms == pytest.approx(1000 * row.least_bytes / 10e9)


def test_an_artifact_of_fixed_size_computes_at_its_own() -> None:
    row = roofline_row(PEAK, latency("ours", 10.0), artifact(size=(320, 180)))
    assert row.multiplications == cost("huang2017", (320, 180))[0]


def test_an_artifact_that_tells_its_sizes_is_counted_by_them() -> None:
    small = {"stem": 8, "half": 8, "quarter": 8, "blocks": 1}
    plain = artifact(bytes=20_000)
    told = dataclasses.replace(plain, metadata=(plain.metadata or {}) | {"sizes": small})
    row = roofline_row(PEAK, latency("ours", 10.0), told)
    assert row.multiplications == cost("huang2017", (640, 360), small)[0] < cost("huang2017", (640, 360))[0] / 4
    other = dataclasses.replace(plain, metadata=(plain.metadata or {}) | {"sizes": {"wide": 2}})
    assert "no size 'wide'" in str(roofline_row(PEAK, latency("ours", 10.0), other).absent)


def test_what_is_not_known_is_said() -> None:
    unknown = dataclasses.replace(artifact(), metadata={"architecture": "other", "sizes": {}, "precision": "fp32"})
    peer = Method("ours", "peer", file="peer.onnx", bytes=10**6)
    for method, reason in (
        (peer, "other people's networks"),
        (unknown, "does not know the architecture other"),
    ):
        row = roofline_row(PEAK, latency("ours", 10.0), method)
        assert (row.multiplications, row.bound_ms, row.share) == (None, None, None)
        assert row.absent is not None and reason in row.absent


@pytest.mark.parametrize(
    ("engine", "known"),
    [
        ("onnxruntime 1.32.0 CPUExecutionProvider, 2 threads", True),
        ("onnxruntime 1.32.0 CUDAExecutionProvider, 2 threads", False),
        ("torch 2.13.0 CPU, 2 threads", True),
        ("torch 2.13.0 NVIDIA H100 80GB HBM3", False),
        ("Core ML, macOS 26.1, CPU_AND_NE, coremltools 9.0", False),
        ("openvino 2026.4.1 CPU, 2 threads", True),
        ("LiteRT 2.3.0 XNNPACK, 2 threads", True),
    ],
)
def test_another_processor_is_not_held_against_this_ones_peak(engine: str, known: bool) -> None:
    row = roofline_row(PEAK, dataclasses.replace(latency("ours", 10.0), engine=engine), artifact())
    assert (row.share is not None) == known
    assert known or (row.absent is not None and "another processor" in row.absent)


def test_the_peak_of_this_machine_is_plausible() -> None:
    peak = measure_peak(1)
    assert 0.5 < peak["gflops"] < 10_000
    assert 0.2 < peak["gb_per_s"] < 5_000
    whole = roofline(peak, [latency("ours", 20.0)], [artifact()])
    assert (whole.gflops, whole.gb_per_s, whole.threads) == (peak["gflops"], peak["gb_per_s"], 2)
    assert [row.method for row in whole.rows] == ["ours"]
