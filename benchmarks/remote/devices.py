"""`--device`: where a benchmark runs, and the reports of several devices in one."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from ...common.files import InputError, made_folder
from ...runtimes.registry import bundled_models
from ..record import Report
from ..report.merge import merge_reports
from ..report.write import check_folder, write_report

LOCAL, CUDA = "local", "cuda"
_FORMS = "local, cuda, ssh://user@host[:port], adb, adb:SERIAL"


class Here(Protocol):
    """Runs the benchmark on this machine, on its processor or its GPU; `completed` as in `run.benchmark`."""

    def __call__(self, completed: Callable[[Report], Report] | None) -> Report:
        """Run it and write the report."""
        ...


def parse_devices(texts: Sequence[str]) -> list[str]:
    """Check what was given as `--device`; without any it is this machine.

    Raises:
        InputError: one has no form that we know, or is there twice.
    """
    for text in texts:
        # A host that begins with a dash would be an option of ssh.
        if not re.fullmatch(r"local|cuda|adb(:[\w.:-]+)?|ssh://([\w.+-]+@)?[\w.\[][\w.:\[\]-]*", text, re.ASCII):
            raise InputError(f"unknown device '{text}': give one of {_FORMS}")
    if len(set(texts)) < len(texts):
        raise InputError("a device was given twice: give each once")
    return list(texts) or [LOCAL]


def on_cuda(artifacts: Sequence[str]) -> list[str]:
    """The artifacts as they run on a CUDA GPU: each with that provider, of a bundled model the checkpoint.

    One that names its provider itself keeps it.
    """
    checkpoints = {model.name: model.checkpoint for model in bundled_models()}
    chosen: list[str] = []
    for artifact in artifacts or list(checkpoints):
        if artifact in checkpoints:
            chosen.append(f"{checkpoints[artifact]}@cuda")
        else:
            chosen.append(artifact if "@" in artifact and not Path(artifact).exists() else f"{artifact}@cuda")
    return chosen


def benchmark_on(
    devices: Sequence[str],
    here: Here,
    elsewhere: Mapping[str, Callable[[], Report]],
    *,
    out_dir: str | Path,
    command: str = "",
) -> Report:
    """Measure on each device and write one report; a device that fails is a hole in it.

    Args:
        devices: as `parse_devices` gives them.
        here: runs on the device that `elsewhere` does not have, and writes the report; its bad input is everybody's.
        elsewhere: how to measure on each of the other devices.
        out_dir: folder for the report.
        command: the command line, for the record.

    Returns:
        The report as written.

    Raises:
        InputError: bad input, or no device gave a report; nothing is written then.
        OSError: writing fails.
    """
    far = [device for device in devices if device in elsewhere]

    def merged(own: Sequence[Report]) -> Report:
        reports, holes = list(own), []
        for device in far:
            try:
                reports.append(elsewhere[device]())
            except InputError as error:
                holes.append(str(error))
        if not reports:
            raise InputError(holes[0])
        return merge_reports(reports, holes=holes, command=command)

    if len(far) < len(devices):
        return here((lambda report: merged([report])) if far else None)
    folder = check_folder(out_dir)
    report = merged([])
    with made_folder(folder):
        return write_report(report, [None] * len(report.clips), folder)
