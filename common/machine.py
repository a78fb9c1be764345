"""Description of the machine and its software, and the process's memory."""

import os
import platform
import re
import subprocess
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

from msgspec import Meta

_PACKAGES = ("numpy", "opencv-python-headless", "opencv-python", "av", "onnxruntime", "torch")


@dataclass(frozen=True)
class Device:
    """The machine and software that figures were measured with; None where unknown or absent.

    Attributes:
        name: as the report calls it: ``local``, ``cuda``, ``ssh://user@host``, ``adb:SERIAL``.
        cores: logical cores that this process may use.
        commit: of the source checkout, with "+" if files were changed since; None for an installed package.
        load_average: one-minute average at the start.
    """

    name: str
    system: str
    processor: str
    cores: Annotated[int, Meta(ge=1)]
    memory_gib: Annotated[float, Meta(ge=0)] | None
    python: str | None
    versions: dict[str, str]
    commit: str | None
    load_average: Annotated[float, Meta(ge=0)] | None


def this_device(name: str = "local") -> Device:
    """Describe this machine and the installed software, without importing any of it."""
    return Device(
        name=name,
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        processor=_processor(),
        # A container or taskset may leave the process fewer cores than the machine has.
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_gib=_memory_gib(),
        python=platform.python_version(),
        versions={name: found for name in _PACKAGES if (found := _version(name)) is not None},
        commit=_commit(),
        load_average=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    # x86 has "model name", many ARM boards only "Hardware" or "Model".
    for key in ("model name", "Hardware", "Model"):
        if found := re.search(rf"^{key}[ \t]*:[ \t]*(\S.*)$", text, re.MULTILINE):
            return found[1].strip()
    return platform.processor() or platform.machine() or "unknown"


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, ValueError, OSError):
        return None


def _commit() -> str | None:
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--exclude=*", "--abbrev=40", "--dirty=+"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def memory_mib() -> float:
    """Resident memory of this process now, in MiB; OSError on a system without /proc."""
    figure = _memory_figure("VmRSS")
    if figure is None:
        raise OSError("resident memory is read from /proc/self/status, which this system does not have")
    return figure


def peak_memory_mib() -> float:
    """Peak resident memory of this process, in MiB; on Linux VmHWM, as `ru_maxrss` starts at the parent's size."""
    figure = _memory_figure("VmHWM")
    if figure is not None:
        return figure
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if platform.system() == "Darwin" else peak / 1024


def _memory_figure(name: str) -> float | None:
    status = Path("/proc/self/status")
    found = re.search(rf"^{name}:\s*(\d+)", status.read_text(encoding="utf-8") if status.exists() else "", re.MULTILINE)
    return int(found[1]) / 1024 if found else None
