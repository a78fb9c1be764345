"""One device to measure on."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """A device, and how to work there.

    Attributes:
        name: what the report calls it.
        address: ``local``, ``cuda``, ``ssh://[user@]host[:port]``, ``adb`` or ``adb:SERIAL``.
        python: ssh: the Python there, which has the package's dependencies.
        install: ssh: extras of the package to install there first, in an environment of its own, for example ``onnx``;
            None installs nothing.
        options: of ssh, each ``KEY=VALUE`` as in its configuration file.
        benchmark_model: adb: LiteRT's tool for the phone.
    """

    name: str
    address: str
    python: str = "python3"
    install: str | None = None
    options: tuple[str, ...] = ()
    benchmark_model: str | None = None
