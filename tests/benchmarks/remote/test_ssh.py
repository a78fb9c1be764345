"""The whole road over a real sshd on the loopback, with a host key, a user's key and a configuration of its own."""

import getpass
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import steadystyle
from steadystyle.benchmarks.record import Report
from steadystyle.benchmarks.remote import ssh
from steadystyle.benchmarks.remote.ssh import benchmark_over_ssh
from steadystyle.benchmarks.remote.target import Target, measuring_s
from steadystyle.benchmarks.remote.wheel import write_wheel
from steadystyle.benchmarks.request import BenchmarkRequest
from steadystyle.common.files import InputError

SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin")
needs_sshd = pytest.mark.skipif(SSHD is None, reason="there is no sshd: apt-get install openssh-server")
QUICK = BenchmarkRequest(size=(64, 48), height=48, threads=1, latency_seconds=0, max_frames=3)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, list[str]]]:
    """The device's address, and the options that log in there."""
    assert SSHD is not None
    folder = tmp_path_factory.mktemp("sshd")
    for key in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True)
    shutil.copy(folder / "user.pub", folder / "authorized_keys")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized_keys\n"
        f"PidFile {folder}/pid\nUsePAM no\nStrictModes no\nPasswordAuthentication no\nPermitRootLogin yes\n"
        "Subsystem sftp internal-sftp\n"
    )
    Path("/run/sshd").mkdir(exist_ok=True)  # where it confines itself before anybody has logged in
    daemon = subprocess.Popen([SSHD, "-D", "-e", "-f", folder / "config"], stderr=(folder / "log").open("w"))
    options = [f"IdentityFile={folder}/user", f"UserKnownHostsFile={folder}/known", "StrictHostKeyChecking=no"]
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert daemon.poll() is None, (folder / "log").read_text()
            time.sleep(0.1)
        yield f"ssh://{getpass.getuser()}@127.0.0.1:{port}", [*options, "IdentitiesOnly=yes"]
    finally:
        daemon.terminate()
        daemon.wait()


def leftovers() -> set[Path]:
    return set((Path.home() / ".cache" / "steadystyle").glob("run.*"))


@needs_sshd
def test_a_report_comes_back_and_nothing_stays(
    server: tuple[str, list[str]], any_size_artifact: Path, clip: Path, tmp_path: Path
) -> None:
    device, options = server
    before, told = leftovers(), list[str]()
    odd = tmp_path / "an odd 'name'.mp4"
    shutil.copy(clip, odd)
    request = replace(QUICK, artifacts=(f"{any_size_artifact}@cpu",), clips=(str(odd),))
    target = Target(device, device, sys.executable, options=tuple(options))
    report = benchmark_over_ssh(target, request, command="here", progress=lambda step, done, total: told.append(step))
    assert isinstance(report, Report)
    assert report.device.name == device
    (row,) = report.latency
    assert (row.device, row.method, row.width) == (device, "tiny-any-fp32@cpu", 64) and row.median_ms > 0
    assert [(run.device, run.command, run.request) for run in report.runs] == [(device, "here", request)]
    assert (report.clips[0].name, report.clips[0].frames) == ("an odd 'name'.mp4", 3)
    assert f"measuring on {device}" in told
    assert leftovers() == before


@needs_sshd
def test_what_is_missing_there_is_told_in_a_sentence(
    server: tuple[str, list[str]], any_size_artifact: Path, tmp_path: Path
) -> None:
    device, options = server
    bare = tmp_path / "bare-python"  # without site-packages there is no engine, and no PyAV either
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
    bare.chmod(0o755)
    before = leftovers()
    for python, artifacts, sentence in (
        ("/nowhere/python3", (), "there is no /nowhere/python3: install Python there"),
        (sys.executable, ("nowhere.onnx",), "nowhere.onnx"),
        (sys.executable, ("great-wave@tensorrt",), "tensorrt"),
        (str(bare), (), "lacks steadystyle"),
    ):
        with pytest.raises(InputError, match=sentence) as refusal:
            benchmark_over_ssh(
                Target(device, device, python, options=tuple(options)), replace(QUICK, artifacts=artifacts)
            )
        assert str(refusal.value).startswith(device) and "\n" not in str(refusal.value)
    assert leftovers() == before


@needs_sshd
def test_a_host_that_is_not_there_is_told() -> None:
    with pytest.raises(InputError, match=r"ssh://nobody@127.0.0.1:1 cannot be reached \(.*refused\)"):
        benchmark_over_ssh(Target("ssh://nobody@127.0.0.1:1", "ssh://nobody@127.0.0.1:1"), QUICK)


needs_ssh = pytest.mark.skipif(shutil.which("ssh") is None, reason="there is no ssh")


@needs_ssh
def test_a_host_is_no_option_of_ssh() -> None:
    # Without the "--" before it ssh would print its version, and succeed.
    with pytest.raises(InputError, match="ssh://-V cannot be reached"):
        benchmark_over_ssh(Target("ssh://-V", "ssh://-V"), QUICK)


@needs_ssh
def test_a_machine_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh, "SHORT_S", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        device = f"ssh://nobody@127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(InputError, match=f"{device}: ssh was not done after 1 s"):
            benchmark_over_ssh(Target(device, device), QUICK)


def test_measuring_elsewhere_has_a_generous_limit() -> None:
    assert measuring_s(QUICK, 3) == 6 * 3600
    assert measuring_s(replace(QUICK, minutes=60, latency_seconds=10, thread_counts=(1, 2)), 3) == 130_500
    assert measuring_s(replace(QUICK, minutes=1e300), 3) == 30 * 86400


@pytest.fixture(scope="module")
def on_two_devices(
    server: tuple[str, list[str]], peer_file_of_module: Path, clip: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of a benchmark on this machine and one over ssh, of a copy of the package with one field more."""
    package = Path(steadystyle.__file__).parent
    top = tmp_path_factory.mktemp("copied")
    left_out = shutil.ignore_patterns(
        ".*", "tests", "docs", "runs", "exports", "reports", "node_modules", "__pycache__"
    )
    shutil.copytree(package, top / "steadystyle", ignore=left_out)
    asked = top / "steadystyle" / "benchmarks" / "request.py"
    place = "    def check(self) -> None:\n"
    assert place in asked.read_text()
    asked.write_text(asked.read_text().replace(place, f'    added: Annotated[int, Asked("Added.")] = 7\n\n{place}'))
    device, options = server
    board = {"address": device, "python": sys.executable, "options": options}
    lines = [f"{key} = {json.dumps(value)}" for key, value in board.items()]
    (top / "devices.toml").write_text("\n".join(["[board]", *lines, ""]))
    words = ["--peer", str(peer_file_of_module), "--clip", str(clip), "--device", "local", "--device", "board"]
    words += ["--size=64x48", "--height=48", "--threads=1", "--seconds=0", "--max-frames=3", "--added=9"]
    words += ["--minutes=0.01", "--sizes=32x24,64x48", "--thread-counts=1,2", "-o", "report", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "steadystyle.cli", "benchmark", *words],
        cwd=top,
        env=os.environ | {"PYTHONPATH": str(top)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads((top / "report" / "report.json").read_text())
    return top / "report"


@pytest.fixture(scope="module")
def peer_file_of_module(write_peer: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_peer(tmp_path_factory.mktemp("peer") / "inverts.onnx")


@needs_sshd
def test_two_devices_are_in_one_report_with_every_row(on_two_devices: Path) -> None:
    record = json.loads((on_two_devices / "report.json").read_text())
    assert [record["device"]["name"], *(one["name"] for one in record["other_devices"])] == ["local", "board"]
    for kind in ("latency", "growth", "sustained", "threads", "roofline", "runs"):
        assert [row["device"] for row in record[kind]] == ["local", "board"], kind
    assert [[row["device"] for row in rows] for rows in (record["clips"][0]["rows"], record["clips"][0]["again"])] == [
        [device] * 4 for device in ("local", "board")
    ]
    assert {row["device"] for row in record["drift"]} == {"local", "board"}
    assert all(row["frames"] >= 3 for row in record["sustained"])
    assert {"latency.png", "growth.png", "sustained.png"} <= set(record["pictures"])
    for name in ("tables.md", "report.html"):
        text = (on_two_devices / name).read_text()
        for title in ("Latency and memory", "Roofline", "Threads", "Cost growth", "Sustained run"):
            assert f"{title} on local" in text and f"{title} on board" in text, (name, title)


@needs_sshd
def test_a_field_that_is_added_in_one_place_goes_all_the_way(on_two_devices: Path) -> None:
    record = json.loads((on_two_devices / "report.json").read_text())
    # The second came back from the other machine, whose package took the request from there.
    assert [run["request"]["added"] for run in record["runs"]] == [9, 9]
    here, there = ({**run["request"]} for run in record["runs"])
    assert here == there and here["clips"][0].startswith("/")


def test_the_wheel_runs_from_its_folder(tmp_path: Path) -> None:
    wheel = write_wheel(tmp_path)
    assert wheel.name == f"steadystyle-{steadystyle.__version__}-py3-none-any.whl"
    shutil.unpack_archive(wheel, tmp_path / "package", "zip")
    program = (
        "import steadystyle; from steadystyle.benchmarks.record import schema; schema(); print(steadystyle.__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": str(tmp_path / "package")}, capture_output=True, text=True
    )
    assert done.stdout.strip() == str(tmp_path / "package" / "steadystyle" / "__init__.py"), done.stderr
    assert not (tmp_path / "package" / "steadystyle" / "tests").exists()
