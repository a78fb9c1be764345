"""Which device measures what, and what becomes of the report when one of them fails."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from steadystyle.benchmarks.record import Report, load_report
from steadystyle.benchmarks.remote.devices import benchmark_on, on_cuda, parse_devices
from steadystyle.benchmarks.report.merge import rename
from steadystyle.benchmarks.run import benchmark
from steadystyle.common.files import InputError
from steadystyle.runtimes.registry import find_checkpoint


def refuse() -> Report:
    raise InputError("ssh://b cannot be reached")


def test_devices_have_one_of_four_forms() -> None:
    assert parse_devices([]) == ["local"]
    fine = ["local", "cuda", "adb", "adb:R5CT10", "ssh://pi@raspberrypi", "ssh://10.0.0.7:2222"]
    assert parse_devices(fine) == fine
    for text in ("gpu", "ssh://", "ssh:host", "ssh://-oProxyCommand=x", "ssh://a b", "ssh://h;reboot", "adb:$(x)"):
        with pytest.raises(InputError, match="unknown device"):
            parse_devices([text])
    with pytest.raises(InputError, match="twice"):
        parse_devices(["adb", "adb"])


def test_a_device_that_fails_is_a_hole_and_the_others_are_merged(whole: Report, tmp_path: Path) -> None:
    far = {"ssh://a": lambda: rename(whole, devices={"local": "ssh://a"}), "ssh://b": refuse}

    def here(completed: Callable[[Report], Report] | None) -> Report:
        return completed(whole) if completed else whole

    both = benchmark_on(["local", "ssh://b", "ssh://a"], here, far, out_dir=tmp_path / "both")
    assert [(row.device, row.method) for row in both.latency] == [
        ("local", "ours"), ("local", "peer"), ("ssh://a", "ours"), ("ssh://a", "peer")
    ]  # fmt: skip
    assert both.holes == ["ssh://b cannot be reached"]
    assert benchmark_on(["local"], here, far, out_dir=tmp_path / "one") == whole


def test_without_this_machine_the_report_is_written_here_all_the_same(whole: Report, tmp_path: Path) -> None:
    far = {"ssh://a": lambda: rename(whole, devices={"local": "ssh://a"}), "ssh://b": refuse}

    def here(completed: Callable[[Report], Report] | None) -> Report:
        raise AssertionError("this machine was not asked for")

    report = benchmark_on(["ssh://a", "ssh://b"], here, far, out_dir=tmp_path / "far")
    assert load_report(tmp_path / "far" / "report.json") == report and len(report.holes) == 1
    with pytest.raises(InputError, match="ssh://b cannot be reached"):
        benchmark_on(["ssh://b"], here, far, out_dir=tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_cuda_takes_the_checkpoint_of_a_bundled_model() -> None:
    checkpoint = find_checkpoint("great-wave")
    assert on_cuda(["great-wave", "a.onnx", "b.onnx@tensorrt"]) == [
        f"{checkpoint}@cuda",
        "a.onnx@cuda",
        "b.onnx@tensorrt",
    ]
    assert f"{checkpoint}@cuda" in on_cuda([])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA GPU here")
def test_without_a_gpu_it_is_refused_in_a_sentence(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="finds no CUDA device"):
        benchmark(on_cuda(["great-wave"]), clips=[clip], out_dir=tmp_path / "report", device="cuda")
    assert not (tmp_path / "report").exists()
