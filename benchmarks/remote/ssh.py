"""`--device ssh://[user@]host[:port]`: the benchmark on another machine, by the system's `ssh` and `scp`.

The package and the files to measure are copied into a folder of their own under `~/.cache/steadystyle` there, the same
command runs there, its report.json comes back, and the folder goes again. Nothing is installed there unless `Remote`
says so.
"""

import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...common.files import InputError
from ...runtimes.registry import bundled_models, resolve
from ..record import Report, load_report
from ..report.merge import rename
from .wheel import write_wheel

_CACHE = ".cache/steadystyle"
_SSH_FAILED, _NOT_FOUND = 255, 127


@dataclass(frozen=True)
class Word:
    """A word of the command to run there: text, or a file of this machine with text around it.

    Attributes:
        text: the word, or what stands before the file.
        file: a file or folder that is to be copied, None for plain text.
        after: what stands behind the file.
    """

    text: str
    file: Path | None = None
    after: str = ""


def word_of(value: str) -> Word:
    """The word for a value that may name a file here: ``clip.mp4``, ``wave.onnx@openvino``, ``wave=wave.jpg``."""
    if value.partition("@")[0] in {model.name for model in bundled_models()}:
        return Word(value)  # the package brings it
    key, equals, rest = ("", "", value) if resolve(value)[0].exists() else value.partition("=")
    path, provider = resolve(rest)
    if not rest or not path.exists():
        return Word(value)  # the other side says what is wrong with it
    return Word(key + equals, path, f"@{provider}" if provider else "")


@dataclass(frozen=True)
class Remote:
    """How to work on the other machine.

    Attributes:
        python: the Python there, which has the package's dependencies.
        install: extras of the package to install there first, in an environment of its own, for example ``onnx``;
            None installs nothing.
        options: of ssh, each ``KEY=VALUE`` as in its configuration file.
    """

    python: str = "python3"
    install: str | None = None
    options: Sequence[str] = ()


def benchmark_over_ssh(
    device: str,
    words: Sequence[Word],
    remote: Remote | None = None,
    tell: Callable[[str], None] | None = None,
) -> Report:
    """Run `steadystyle benchmark` on another machine.

    Args:
        device: ``ssh://[user@]host[:port]``, as `devices.parse_device` let it pass.
        words: the command's arguments, without an output folder.
        remote: how to work there.
        tell: told what is being done.

    Returns:
        The report from there, in which the machine is called by `device`.

    Raises:
        InputError: the machine cannot be reached, has no such Python, lacks a module or refuses the work.
    """
    machine = _Machine(device, remote or Remote(), tell or (lambda what: None))
    folder = machine.run(f"mkdir -p {_CACHE} && mktemp -d {_CACHE}/run.XXXXXX").strip()
    try:
        with tempfile.TemporaryDirectory() as here:
            wheel = write_wheel(Path(here))
            machine.copy(wheel, f"{folder}/{wheel.name}")
            command = [_carried(machine, word, f"{folder}/{number}") for number, word in enumerate(words)]
            python = machine.prepare(folder, wheel.name)
            report = machine.measure(folder, python, command, Path(here) / "report.json")
    finally:
        machine.run(f"rm -rf {shlex.quote(folder)}", check=False)
    return rename(report, devices={"local": device})


def _carried(machine: "_Machine", word: Word, folder: str) -> str:
    """The word as it is there; a file is copied first, into a folder of its own, so that it keeps its name."""
    if word.file is None:
        return shlex.quote(word.text)
    machine.run(f"mkdir {shlex.quote(folder)}")
    machine.copy(word.file, f"{folder}/{word.file.name}")
    # The home folder is where ssh begins, and the command runs elsewhere.
    return f'{shlex.quote(word.text)}"$HOME"/{shlex.quote(f"{folder}/{word.file.name}{word.after}")}'


class _Machine:
    """The other machine, its failures turned into sentences."""

    def __init__(self, device: str, remote: Remote, tell: Callable[[str], None]) -> None:
        self._device = device
        self._remote = remote
        self._tell = tell
        found = re.fullmatch(r"ssh://(.*?)(?::(\d+))?", device)
        assert found is not None
        self._host, port = found[1], found[2]
        options = [
            "BatchMode=yes",
            "ConnectTimeout=15",
            "ServerAliveInterval=30",
            *([f"Port={port}"] if port else []),
            *remote.options,
        ]
        self._options = [part for option in options for part in ("-o", option)]

    def run(self, script: str, *, check: bool = True) -> str:
        """Run a line of shell there and give what it prints."""
        done = self._call(["ssh", *self._options, self._host, script])
        if check and done.returncode != 0:
            raise InputError(f"{self._device}: {_last_line(done.stderr) or 'it refused the work'}: check the machine")
        return done.stdout

    def copy(self, file: Path, target: str) -> None:
        """Copy a file or folder there."""
        self._tell(f"copying {file.name} to {self._device}")
        done = self._call(["scp", "-q", "-r", *self._options, str(file.absolute()), f"{self._host}:{target}"])
        if done.returncode != 0:
            raise InputError(
                f"{self._device}: '{file.name}' could not be copied there ({_last_line(done.stderr)}): check its disk"
            )

    def prepare(self, folder: str, wheel: str) -> str:
        """Make the package importable there; gives the Python that has it."""
        python = self._remote.python
        if self._remote.install is None:
            self._python(f"cd {folder} && {shlex.quote(python)} -m zipfile -e {wheel} package", python)
            return f'PYTHONPATH="$HOME"/{folder}/package {shlex.quote(python)}'
        self._tell(f"installing the package on {self._device}")
        environment = f"{_CACHE}/venv"
        self._python(f"{shlex.quote(python)} -m venv --system-site-packages {environment}", python)
        # Again, even where this version is installed: its code may be another.
        extra = f"[{self._remote.install}]" if self._remote.install else ""
        package = shlex.quote(f"{folder}/{wheel}{extra}")
        self.run(
            f"{environment}/bin/python -m pip install -q {package} 1>&2 && "
            f"{environment}/bin/python -m pip install -q --force-reinstall --no-deps {folder}/{wheel} 1>&2"
        )
        return f'"$HOME"/{environment}/bin/python'

    def _python(self, script: str, python: str) -> None:
        done = self._call(["ssh", *self._options, self._host, script])
        if done.returncode == _NOT_FOUND:
            raise InputError(
                f"{self._device}: there is no {python}: install Python there, or name it (--remote-python)"
            )
        if done.returncode != 0:
            raise InputError(f"{self._device}: {python} failed ({_last_line(done.stderr)}): check it there")

    def measure(self, folder: str, python: str, command: Sequence[str], target: Path) -> Report:
        """Run the benchmark there and fetch its report."""
        self._tell(f"measuring on {self._device}")
        words = " ".join(command)
        script = f"cd {folder} && {python} -m steadystyle.cli benchmark {words} --no-pictures -o report --json"
        done = self._call(["ssh", *self._options, self._host, script])
        if done.returncode not in (0, 1) or not done.stdout.strip():
            raise InputError(f"{self._device}: {self._reason(done.stderr, done.returncode)}")
        target.write_text(done.stdout, encoding="utf-8")
        return load_report(target)

    def _reason(self, errors: str, code: int) -> str:
        last = _last_line(errors)
        missing = re.search(r"No module named '([\w.]+)'", last)
        if missing:
            return (
                f"its {self._remote.python} lacks {missing[1]}: install what steadystyle needs there, name another "
                "Python (--remote-python), or let it be installed (--install onnx)"
            )
        return last or f"the benchmark ended there with exit code {code}: free memory, or take a smaller --size"

    def _call(self, command: list[str]) -> "subprocess.CompletedProcess[str]":
        if shutil.which(command[0]) is None:
            raise InputError(f"there is no {command[0]} on this machine: install an OpenSSH client")
        # Its standard input must not be ours: ssh would read it empty.
        done = subprocess.run(
            command, capture_output=True, text=True, encoding="utf-8", errors="replace", stdin=subprocess.DEVNULL
        )
        if done.returncode == _SSH_FAILED and command[0] == "ssh":
            raise InputError(
                f"{self._device} cannot be reached ({_last_line(done.stderr)}): check the address, and that "
                f"`ssh {self._host}` logs in with a key and without a question"
            )
        return done


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
