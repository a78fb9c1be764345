"""One device to measure on, what it says, and how long it may take."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from ...common.files import InputError
from ..request import BenchmarkRequest

SHORT_S = 60.0
"""Longest time to connect, and for a command that does little."""

LONG_S = 3600.0
"""Longest time to copy a file, or to install the package."""


@dataclass(frozen=True)
class Target:
    """A device, and how to use it.

    Attributes:
        address: ``local``, ``cuda``, ``ssh://[user@]host[:port]``, ``adb`` or ``adb:SERIAL``.
        python: ssh: the Python there, which has the package's dependencies.
        install: ssh: extras to install there with the package, in a virtual environment, for example ``onnx``; None
            installs nothing.
        options: ssh: each ``KEY=VALUE`` as in its configuration file.
        benchmark_model: adb: path of LiteRT's tool for the phone.
    """

    name: str
    address: str
    python: str = "python3"
    install: str | None = None
    options: tuple[str, ...] = ()
    benchmark_model: str | None = None


def measuring_s(request: BenchmarkRequest, methods: int) -> float:
    """Longest time in seconds for a benchmark of so many methods elsewhere: six hours, and ten times what is asked."""
    asked = 60 * request.minutes + request.latency_seconds * (1 + len(request.sizes) + len(request.thread_counts))
    return min(6 * 3600 + 10 * methods * asked, 30 * 86400)


def call(device: str, command: Sequence[str], limit_s: float) -> "subprocess.CompletedProcess[str]":
    """Run a command with its own, empty standard input; InputError if it takes over `limit_s` seconds."""
    try:
        return subprocess.run(
            command,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=limit_s,
        )
    except subprocess.TimeoutExpired as error:
        raise InputError(
            f"{device}: {command[0]} was not done after {limit_s:.0f} s: check the device and the way to it"
        ) from error


def last_line(text: str) -> str:
    """The last line of a command's output that is not blank, empty if there is none."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
