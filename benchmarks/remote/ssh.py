"""Device ``ssh://[user@]host[:port]``: the benchmark on another machine by the system's `ssh` and `scp`.

Package, request and its files are copied to a new folder under `~/.cache/steadystyle` there, which is removed after
report.json is fetched. Nothing is installed there unless the target says so.
"""

import dataclasses
import re
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

from ...common.files import InputError
from ...common.progress import Progress, no_progress
from ...runtimes.registry import bundled_models, resolve
from ..fields import FILE, with_marked
from ..record import Report, load_report
from ..report.merge import rename
from ..request import BenchmarkRequest
from .target import LONG_S, SHORT_S, Target, call, last_line, measuring_s
from .wheel import write_wheel

_CACHE = ".cache/steadystyle"
_SSH_FAILED, _NOT_FOUND = 255, 127


def benchmark_over_ssh(
    target: Target, request: BenchmarkRequest, *, command: str = "", progress: Progress = no_progress
) -> Report:
    """Run a benchmark on another machine, to which the request's files are copied.

    The report has local file names. InputError if the machine is unreachable, lacks a module, or takes too long, or if
    the benchmark fails.
    """
    machine, notes = _Machine(target, progress), list[str]()
    folder = machine.run(f"mkdir -p {_CACHE} && mktemp -d {_CACHE}/run.XXXXXX").strip()
    try:
        with tempfile.TemporaryDirectory() as here:
            wheel, asked = write_wheel(Path(here)), Path(here) / "request.json"
            machine.copy(wheel, f"{folder}/{wheel.name}")
            there, names = _carried(machine, request, folder)
            asked.write_bytes(there.to_json())
            machine.copy(asked, f"{folder}/{asked.name}")
            python = machine.prepare(folder, wheel.name)
            limit_s = measuring_s(request, len(request.artifacts or bundled_models()) + len(request.peers))
            report = machine.measure(folder, python, asked.name, Path(here) / "report.json", limit_s)
    finally:
        try:
            machine.run(f"rm -rf {shlex.quote(folder)}", check=False)
        except InputError as error:  # the report counts, or the error before
            notes.append(f"{target.name}: {folder} may still be there ({error}).")
    runs = [
        dataclasses.replace(with_marked(run, {FILE: lambda file: names.get(file, file)}), command=command)
        for run in report.runs
    ]
    report = dataclasses.replace(report, runs=runs, notes=[*report.notes, *notes])
    return rename(report, devices={"local": target.name})


def _carried(machine: "_Machine", request: BenchmarkRequest, folder: str) -> tuple[BenchmarkRequest, dict[str, str]]:
    """Copy the request's files; returns the request with remote names, and local names by remote ones."""
    bundled = {model.name for model in bundled_models()}
    names: dict[str, str] = {}

    def carry(given: str) -> str:
        if given.partition("@")[0] in bundled:
            return given  # in the package
        path, provider = resolve(given)
        if not path.exists():
            return given  # the remote command reports it
        # In its own folder, so that it keeps its name.
        place, name = len(names), path.absolute().name
        machine.run(f"mkdir {shlex.quote(f'{folder}/{place}')}")
        machine.copy(path, f"{folder}/{place}/{name}")
        there = f"{place}/{name}" + (f"@{provider}" if provider else "")
        names[there] = given
        return there

    return with_marked(request, {FILE: carry}), names


class _Machine:
    """The other machine; failures raise InputError."""

    def __init__(self, target: Target, progress: Progress) -> None:
        self._device = target.name
        self._target = target
        self._progress = progress
        found = re.fullmatch(r"ssh://(.*?)(?::(\d+))?", target.address)
        assert found is not None
        self._host, port = found[1], found[2]
        options = ["BatchMode=yes", "ConnectTimeout=15", "ServerAliveInterval=30", *([f"Port={port}"] if port else [])]
        self._options = [part for option in (*options, *target.options) for part in ("-o", option)]

    def run(self, script: str, *, check: bool = True, limit_s: float | None = None) -> str:
        """Run a shell command there, for at most `limit_s` seconds or a minute, and return its output."""
        done = self._ssh(script, limit_s or SHORT_S)
        if check and done.returncode != 0:
            raise InputError(f"{self._device}: {last_line(done.stderr) or 'it refused the work'}: check the machine")
        return done.stdout

    def copy(self, file: Path, target: str) -> None:
        self._progress(f"copying {file.name} to {self._device}", 0, None)
        source = str(file.absolute())
        done = self._call(["scp", "-q", "-r", *self._options, "--", source, f"{self._host}:{target}"], LONG_S)
        if done.returncode != 0:
            raise InputError(
                f"{self._device}: '{file.name}' could not be copied there ({last_line(done.stderr)}): check its disk"
            )

    def prepare(self, folder: str, wheel: str) -> str:
        """Make the package importable there; returns the Python command."""
        python = self._target.python
        if self._target.install is None:
            self._python(f"cd {folder} && {shlex.quote(python)} -m zipfile -e {wheel} package", python)
            return f'PYTHONPATH="$HOME"/{folder}/package {shlex.quote(python)}'
        self._progress(f"installing the package on {self._device}", 0, None)
        environment = f"{_CACHE}/venv"
        self._python(f"{shlex.quote(python)} -m venv --system-site-packages {environment}", python)
        # Forced: the same version may have other code.
        extra = f"[{self._target.install}]" if self._target.install else ""
        package = shlex.quote(f"{folder}/{wheel}{extra}")
        self.run(
            f"{environment}/bin/python -m pip install -q {package} 1>&2 && "
            f"{environment}/bin/python -m pip install -q --force-reinstall --no-deps {folder}/{wheel} 1>&2",
            limit_s=LONG_S,
        )
        return f'"$HOME"/{environment}/bin/python'

    def _python(self, script: str, python: str) -> None:
        done = self._ssh(script, LONG_S)
        if done.returncode == _NOT_FOUND:
            raise InputError(
                f"{self._device}: there is no {python}: install Python there, or name it "
                "(--device 'ADDRESS?python=PATH')"
            )
        if done.returncode != 0:
            raise InputError(f"{self._device}: {python} failed ({last_line(done.stderr)}): check it there")

    def measure(self, folder: str, python: str, request: str, target: Path, limit_s: float) -> Report:
        """Run the benchmark there and fetch its report."""
        self._progress(f"measuring on {self._device}", 0, None)
        words = f"--request {request} --no-pictures -o report --json"
        script = f"cd {folder} && {python} -m steadystyle.cli benchmark {words}"
        done = self._ssh(script, limit_s)
        if done.returncode not in (0, 1) or not done.stdout.strip():
            raise InputError(f"{self._device}: {self._reason(done.stderr, done.returncode)}")
        target.write_text(done.stdout, encoding="utf-8")
        return load_report(target)

    def _reason(self, errors: str, code: int) -> str:
        last = last_line(errors)
        missing = re.search(r"No module named '([\w.]+)'", last)
        if missing:
            return (
                f"its {self._target.python} lacks {missing[1]}: install what steadystyle needs there, name another "
                "Python (--device 'ADDRESS?python=PATH'), or let it be installed (--device 'ADDRESS?install=onnx')"
            )
        return last or f"the benchmark ended there with exit code {code}: free memory, or take a smaller --size"

    def _ssh(self, script: str, limit_s: float) -> "subprocess.CompletedProcess[str]":
        # After "--" nothing is an option.
        done = self._call(["ssh", *self._options, "--", self._host, script], limit_s)
        if done.returncode == _SSH_FAILED:
            raise InputError(
                f"{self._device} cannot be reached ({last_line(done.stderr)}): check the address, and that "
                f"`ssh {self._host}` logs in with a key and without a question"
            )
        return done

    def _call(self, command: list[str], limit_s: float) -> "subprocess.CompletedProcess[str]":
        if shutil.which(command[0]) is None:
            raise InputError(f"there is no {command[0]} on this machine: install an OpenSSH client")
        return call(self._device, command, limit_s)
