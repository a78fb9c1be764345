"""One device to measure on, and what it says."""

from dataclasses import dataclass


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


def last_line(text: str) -> str:
    """The last line of a command's output that is not blank, empty if there is none."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
