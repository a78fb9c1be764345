"""The whole road over a real sshd on the loopback, with a host key, a user's key and a configuration of its own."""

import getpass
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import steadystyle
from steadystyle.benchmarks.record import Report
from steadystyle.benchmarks.remote.ssh import Remote, Word, benchmark_over_ssh, word_of
from steadystyle.benchmarks.remote.wheel import write_wheel
from steadystyle.common.files import InputError

SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin")
needs_sshd = pytest.mark.skipif(SSHD is None, reason="there is no sshd: apt-get install openssh-server")
QUICK = [Word(f"--{name}={value}") for name, value in (("size", "64x48"), ("height", 48), ("threads", 1))]
QUICK += [Word("--seconds=0"), Word("--max-frames=3")]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, list[str]]]:
    """The device's name, and the options that log in there."""
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
    words = [word_of(str(any_size_artifact)), Word("--clip"), word_of(str(odd)), *QUICK]
    report = benchmark_over_ssh(device, words, Remote(sys.executable, options=options), told.append)
    assert isinstance(report, Report)
    assert report.device.name == device
    (row,) = report.latency
    assert (row.device, row.method, row.width) == (device, "tiny-any-fp32", 64) and row.median_ms > 0
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
    for python, words, sentence in (
        ("/nowhere/python3", QUICK, "there is no /nowhere/python3: install Python there"),
        (sys.executable, [Word("nowhere.onnx"), *QUICK], "nowhere.onnx"),
        (sys.executable, [Word("great-wave@tensorrt"), *QUICK], "tensorrt"),
        (str(bare), QUICK, "lacks steadystyle"),
    ):
        with pytest.raises(InputError, match=sentence) as refusal:
            benchmark_over_ssh(device, words, Remote(python, options=options))
        assert str(refusal.value).startswith(device) and "\n" not in str(refusal.value)
    assert leftovers() == before


@needs_sshd
def test_a_host_that_is_not_there_is_told() -> None:
    with pytest.raises(InputError, match=r"ssh://nobody@127.0.0.1:1 cannot be reached \(.*refused\)"):
        benchmark_over_ssh("ssh://nobody@127.0.0.1:1", QUICK)


def test_words_know_their_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("wave.onnx").touch()
    assert word_of("great-wave") == Word("great-wave")
    assert word_of("great-wave@openvino") == Word("great-wave@openvino")
    assert word_of("wave.onnx") == Word("", Path("wave.onnx"))
    assert word_of("wave.onnx@openvino") == Word("", Path("wave.onnx"), "@openvino")
    assert word_of("udnie=wave.onnx") == Word("udnie=", Path("wave.onnx"))
    assert word_of("none.onnx") == Word("none.onnx")


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
