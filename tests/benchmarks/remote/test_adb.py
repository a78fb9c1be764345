"""What benchmark_model printed on real machines is read; the road to a phone is walked with a stand-in for `adb`.

No phone was at hand. The logs are quoted from public repositories: WITH_MEDIAN from the README of a container for
Qualcomm boards (a QRB2210, TensorFlow Lite's benchmark_model of 2024), WITHOUT_MEDIAN from
github.com/tensorflow/tensorflow/issues/42507 (of 2020).
"""

import dataclasses
import os
from pathlib import Path

import pytest

from steadystyle.benchmarks.record import Report, check
from steadystyle.benchmarks.remote.adb import Timing, benchmark_over_adb, parse_benchmark_model
from steadystyle.benchmarks.remote.target import Target
from steadystyle.benchmarks.report.merge import merge_reports
from steadystyle.benchmarks.report.write import write_report
from steadystyle.benchmarks.request import BenchmarkRequest
from steadystyle.common.files import InputError
from steadystyle.runtimes.artifact import ArtifactMetadata
from steadystyle.runtimes.tflite import sealed, with_metadata

WITH_MEDIAN = """\
INFO: STARTING!
INFO: Loaded model mobilenet_quant_v1_224.tflite
INFO: Created TensorFlow Lite XNNPACK delegate for CPU.
INFO: The input model file size (MB): 4.2761
INFO: Initialized session in 87.639ms.
INFO: Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if exceeding 150 seconds.
INFO: count=5 first=106436 curr=105929 min=105929 max=106436 avg=106065 std=193 p5=105929 median=105948 p95=106436

INFO: Running benchmark for at least 50 iterations and at least 1 seconds but terminate if exceeding 150 seconds.
INFO: count=50 first=106022 curr=105780 min=105416 max=106528 avg=105784 std=260 p5=105485 median=105718 p95=106281

INFO: Inference timings in us: Init: 87639, First inference: 106436, Warmup (avg): 106065, Inference (avg): 105784
INFO: Note: as the benchmark tool itself affects memory footprint, the following is only APPROXIMATE to the actual \
memory footprint of the model at runtime. Take the information at your discretion.
INFO: Memory footprint delta from the start of the tool (MB): init=14.4414 overall=14.8164
"""
WITHOUT_MEDIAN = """\
STARTING!
Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if exceeding 150 seconds.
count=15 first=49060 curr=33682 min=32825 max=49060 avg=34825.1 std=3930

Running benchmark for at least 50 iterations and at least 1 seconds but terminate if exceeding 150 seconds.
count=50 first=32891 curr=33978 min=32641 max=34005 avg=33209.4 std=450

Inference timings in us: Init: 855, First inference: 49060, Warmup (avg): 34825.1, Inference (avg): 33209.4
Peak memory footprint (MB): init=0 overall=12.8672
"""


def test_the_figures_of_the_timed_runs_are_read() -> None:
    assert parse_benchmark_model(WITH_MEDIAN) == Timing(50, 105.718, 106.281, 5, 14.8164)
    slow = WITH_MEDIAN.replace("median=105718 p95=106281", "median=2.71985e+06 p95=3.0254e+06")
    assert parse_benchmark_model(slow).median_ms == pytest.approx(2719.85)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (WITHOUT_MEDIAN, "its version prints no median"),
        ("", "it printed nothing"),
        ("INFO: STARTING!\nERROR: Failed to load model\n", "ERROR: Failed to load model"),
    ],
)
def test_what_has_no_median_is_refused(text: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        parse_benchmark_model(text)


@pytest.fixture
def phone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for `adb`, which keeps what it was asked in a log and answers as a phone would."""
    log = tmp_path / "log"
    (tmp_path / "output").write_text(WITH_MEDIAN)
    answers = {
        "getprop ro.product.manufacturer": "echo Google",
        "getprop ro.product.model": "echo 'Pixel 8'",
        "getprop ro.soc.model": "echo 'Tensor G3'",
        "getprop ro.build.version.release": "echo 15",
        "nproc": "echo 9",
        "cat /proc/meminfo": "echo 'MemTotal:        7809148 kB'",
        "*broken.tflite*": "echo 'ERROR: Failed to load model'",
        "*benchmark_model --graph*": f"cat {tmp_path}/output",
    }
    cases = "\n".join(f"{pattern.replace(' ', chr(92) + ' ')}) {answer};;" for pattern, answer in answers.items())
    adb = tmp_path / "bin" / "adb"
    adb.parent.mkdir()
    adb.write_text(
        f'#!/bin/sh\necho "$*" >> {log}\n'
        'if [ "$1" = -s ]; then [ "$2" = ABC ] || { echo "adb: device \'$2\' not found" >&2; exit 1; }; shift 2; fi\n'
        f'[ "$1" = shell ] || exit 0\ncase "$2" in\n{cases}\nesac\n'
    )
    adb.chmod(0o755)
    monkeypatch.setenv("PATH", f"{adb.parent}{os.pathsep}{os.environ['PATH']}")
    return log


def artifact(path: Path) -> Path:
    """A file that says of itself what a .tflite artifact says; its network is never run here."""
    metadata = ArtifactMetadata(
        name="wave",
        style="wave.jpg",
        architecture="edge",
        sizes={},
        precision="fp32",
        width=640,
        height=360,
        checkpoint_sha256="0" * 64,
        calibration_sha256=None,
        steps=1,
        producer="test",
    )
    content = b"\0\0\0\0TFL3 a network"
    path.write_bytes(with_metadata(content, dataclasses.replace(metadata, content_sha256=sealed(content, metadata))))
    return path


def test_an_artifact_is_pushed_and_timed(phone: Path, whole: Report, tmp_path: Path) -> None:
    wave, broken = artifact(tmp_path / "wave.tflite"), artifact(tmp_path / "broken.tflite")
    (tmp_path / "benchmark_model").touch()
    given = [str(wave), "great-wave", str(broken)]
    tool = tmp_path / "benchmark_model"
    request = BenchmarkRequest(artifacts=tuple(given), threads=4, latency_seconds=2, latency_frames=60)
    report = benchmark_over_adb(Target("adb:ABC", "adb:ABC", benchmark_model=str(tool)), request)
    assert [(run.device, run.request) for run in report.runs] == [("adb:ABC", request)]
    check(report.to_dict())
    (row,) = report.latency
    assert (row.device, row.method, row.width, row.height, row.threads) == ("adb:ABC", "wave", 640, 360, 4)
    assert (row.median_ms, row.p90_ms, row.p99_ms, row.frames, row.warm_up_frames) == (105.718, None, None, 50, 5)
    assert (row.peak_memory_mib, row.ratio, row.rounds_ms, row.end_to_end) == (14.8164, 1, [], None)
    assert report.notes == ["adb:ABC: the 95th percentile of wave is 106.28 ms."]
    assert report.device.processor == "Google Pixel 8 Tensor G3"
    assert (report.device.system, report.device.cores, report.device.memory_gib) == ("Android 15", 9, 7.4)
    assert "is no .tflite file" in report.holes[0] and "ERROR: Failed to load model" in report.holes[1]
    log = phone.read_text()
    assert f"-s ABC push {wave} /data/local/tmp/steadystyle/wave.tflite" in log
    assert "--graph=/data/local/tmp/steadystyle/wave.tflite --num_threads=4 --num_runs=60 --min_secs=2" in log
    assert log.splitlines()[-1] == "-s ABC shell rm -rf /data/local/tmp/steadystyle"
    # A page of it alone, and merged with one that has pictures to show.
    write_report(report, [], tmp_path / "alone")
    both = merge_reports([whole, report], command="")
    write_report(both, [None] * len(both.clips), tmp_path / "both")
    assert "Latency and memory on adb:ABC" in (tmp_path / "both" / "report.html").read_text()


def test_a_phone_that_hangs_is_told(phone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wave, tool = artifact(tmp_path / "wave.tflite"), tmp_path / "benchmark_model"
    tool.touch()
    request = BenchmarkRequest(artifacts=(str(wave),))
    adb = tmp_path / "bin" / "adb"
    sound = adb.read_text()
    monkeypatch.setattr("steadystyle.benchmarks.remote.adb.SHORT_S", 1.0)
    adb.write_text(sound.replace("#!/bin/sh\n", '#!/bin/sh\ncase "$*" in *"rm -rf"*) exec sleep 60;; esac\n'))
    report = benchmark_over_adb(Target("adb", "adb", benchmark_model=str(tool)), request)
    # What was measured is kept.
    assert report.latency[0].median_ms == 105.718
    assert "adb: /data/local/tmp/steadystyle may still be there (adb: adb was not done after 1 s" in report.notes[-1]
    adb.write_text("#!/bin/sh\nexec sleep 60\n")
    with pytest.raises(InputError, match="adb: adb was not done after 1 s"):
        benchmark_over_adb(Target("adb", "adb", benchmark_model=str(tool)), request)


def test_what_is_missing_is_told(phone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "benchmark_model"

    def phone_at(address: str) -> Target:
        return Target(address, address, benchmark_model=str(tool))

    with pytest.raises(InputError, match="adb needs LiteRT's benchmark_model for the phone"):
        benchmark_over_adb(phone_at("adb"), BenchmarkRequest(artifacts=("a.tflite",)))
    tool.touch()
    with pytest.raises(InputError, match=r"adb:XYZ: adb shell failed \(adb: device 'XYZ' not found\)"):
        benchmark_over_adb(phone_at("adb:XYZ"), BenchmarkRequest(artifacts=("a.tflite",)))
    with pytest.raises(InputError, match=r"'great-wave-any-fp32.onnx' is no .tflite file"):
        benchmark_over_adb(phone_at("adb"), BenchmarkRequest(artifacts=("great-wave",)))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="adb needs adb, which is not here"):
        benchmark_over_adb(phone_at("adb"), BenchmarkRequest(artifacts=("a.tflite",)))
