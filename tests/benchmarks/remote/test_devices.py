"""Which device measures what, and what becomes of the report when one of them fails."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from steadystyle.benchmarks.record import Report, load_report
from steadystyle.benchmarks.remote.devices import benchmark_on, on_cuda, parse_devices
from steadystyle.benchmarks.remote.target import Target
from steadystyle.benchmarks.report.merge import rename
from steadystyle.benchmarks.request import BenchmarkRequest
from steadystyle.benchmarks.run import benchmark
from steadystyle.common.files import InputError
from steadystyle.runtimes.registry import find_checkpoint


def refuse() -> Report:
    raise InputError("ssh://b cannot be reached")


def test_devices_have_one_of_four_forms() -> None:
    assert [target.name for target in parse_devices([])] == ["local"]
    fine = ["local", "cuda", "adb", "adb:R5CT10", "ssh://pi@raspberrypi", "ssh://10.0.0.7:2222"]
    assert [target.name for target in parse_devices(fine)] == fine
    assert [target.address for target in parse_devices(fine)] == fine
    options = ("ssh://-oProxyCommand=x", "ssh://-x@host", "adb:-x")
    for text in (*options, "gpu", "ssh://", "ssh:host", "ssh://a b", "ssh://h;reboot", "adb:$(x)"):
        with pytest.raises(InputError, match="unknown device"):
            parse_devices([text])
    with pytest.raises(InputError, match="twice"):
        parse_devices(["adb", "adb"])


def test_what_a_device_needs_is_part_of_its_address() -> None:
    asked = "ssh://pi@host:22?python=/opt/bin/python3&install=onnx&options=IdentityFile=/k&options=Compression=yes"
    (target,) = parse_devices([asked])
    assert target == Target(
        "ssh://pi@host:22",
        "ssh://pi@host:22",
        python="/opt/bin/python3",
        install="onnx",
        options=("IdentityFile=/k", "Compression=yes"),
    )
    assert parse_devices(["ssh://h?install="])[0].install == ""  # the package alone
    assert parse_devices(["adb:R5?benchmark_model=a/b"])[0].benchmark_model == "a/b"
    for text, key in (("ssh://h?pythn=x", "pythn"), ("local?python=x", "python"), ("adb?install=onnx", "install")):
        with pytest.raises(InputError, match=f"unknown key '{key}'"):
            parse_devices([text])


def test_a_name_is_an_entry_of_the_devices_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "devices.toml"
    file.write_text(
        '[pi]\naddress = "ssh://pi@raspberrypi"\npython = "python3.12"\noptions = ["Port=2222"]\n'
        '[phone]\naddress = "adb"\nbenchmark_model = "tools/benchmark_model"\n'
    )
    pi, phone = parse_devices(["pi", "phone"], file)
    assert pi == Target("pi", "ssh://pi@raspberrypi", python="python3.12", options=("Port=2222",))
    assert (phone.address, phone.benchmark_model) == ("adb", str(tmp_path / "tools" / "benchmark_model"))
    with pytest.raises(InputError, match=r"unknown device 'board': .* or a name from devices.toml: pi, phone"):
        parse_devices(["board"], file)
    with pytest.raises(InputError, match="twice"):
        parse_devices(["pi", "ssh://pi@raspberrypi"], file)
    with pytest.raises(InputError, match="unknown device 'pi'"):
        parse_devices(["pi"])
    monkeypatch.chdir(tmp_path)
    assert parse_devices(["pi"]) == [pi]
    file.write_text("[broken")
    assert parse_devices(["local"]) == [Target("local", "local")]  # what is not asked for is not read
    with pytest.raises(InputError, match="cannot be read"):
        parse_devices(["pi"])


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ('[pi]\naddress = "ssh://pi"\npyton = "x"\n', r"\[pi\] has the unknown key 'pyton': ssh takes address, python"),
        ('[pi]\naddress = "ssh://pi"\nbenchmark_model = "x"\n', "unknown key 'benchmark_model'"),
        ('[pi]\naddress = "ssh://pi"\npython = 3\n', r"\[pi\] cannot be read"),
        ('[pi]\naddress = "ftp://pi"\n', "needs an address"),
        ('[pi]\npython = "x"\n', "needs an address"),
        ('pi = "ssh://pi"\n', "needs an address"),
        ("[pi\n", "cannot be read"),
    ],
)
def test_a_devices_file_that_is_wrong_is_refused_in_a_sentence(tmp_path: Path, content: str, complaint: str) -> None:
    (tmp_path / "mine.toml").write_text(content)
    with pytest.raises(InputError, match=complaint) as refusal:
        parse_devices([], tmp_path / "mine.toml")
    assert "\n" not in str(refusal.value)
    with pytest.raises(InputError, match="does not exist"):
        parse_devices([], tmp_path / "none.toml")


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
def test_without_a_gpu_it_is_refused_in_a_sentence(
    ask: Callable[..., BenchmarkRequest], clip: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="finds no CUDA device"):
        benchmark(ask(artifacts=on_cuda(["great-wave"]), clips=[clip]), out_dir=tmp_path / "report", device="cuda")
    assert not (tmp_path / "report").exists()
