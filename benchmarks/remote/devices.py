"""`--device`: where a benchmark runs, and the merged report of several devices.

A device is an address with options as a query (``ssh://pi@host?python=/opt/bin/python3&install=onnx``), or an entry's
name in `devices.toml`::

    [pi]
    address = "ssh://pi@raspberrypi"
    install = "onnx"
"""

import dataclasses
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import msgspec

from ...common.files import InputError
from ...common.progress import Progress, no_progress
from ...common.untrusted import read_toml
from ...runtimes.registry import bundled_models
from ..record import Report
from ..report.merge import merge_reports
from ..report.write import check_folder, write_report
from ..request import BenchmarkRequest
from ..run import benchmark
from .adb import benchmark_over_adb
from .ssh import benchmark_over_ssh
from .target import Target

LOCAL, CUDA = "local", "cuda"
DEVICES_FILE = Path("devices.toml")
_FORMS = "local, cuda, ssh://user@host[:port], adb, adb:SERIAL"
# What starts with a dash would be an option of ssh or adb.
_ADDRESS = re.compile(r"local|cuda|adb(:[\w.:][\w.:-]*)?|ssh://([\w.+][\w.+-]*@)?[\w.\[][\w.:\[\]-]*", re.ASCII)
_KEYS = {"ssh": ("python", "install", "options"), "adb": ("benchmark_model",)}
"""Options of an address, by its scheme."""
Here = Callable[[Callable[[Report], Report] | None], Report]
"""Runs the benchmark on this machine's processor or GPU; takes `completed` of `run.benchmark`."""


def parse_devices(texts: Sequence[str], file: Path | None = None) -> list[Target]:
    """Parse `--device` values, addresses or names of entries; without any it is this machine.

    `file` None takes the `devices.toml` of the current folder, if any. InputError for an unknown form, a device given
    twice, or an unreadable file.
    """
    if file is not None and not file.is_file():
        raise InputError(f"the devices file '{file}' does not exist: check the path")
    named = any(not _ADDRESS.fullmatch(text.partition("?")[0]) for text in texts)
    entries = _read_devices(file or DEVICES_FILE) if file or named else {}
    targets = [_parse(text, entries) for text in texts] or [Target(LOCAL, LOCAL)]
    if len({target.address for target in targets}) < len(targets):
        raise InputError("a device was given twice: give each once")
    return targets


def _parse(text: str, entries: Mapping[str, Target]) -> Target:
    if text in entries:
        return entries[text]
    address, _, query = text.partition("?")
    if not _ADDRESS.fullmatch(address):
        names = f", or a name from {DEVICES_FILE}: {', '.join(entries)}" if entries else ""
        raise InputError(f"unknown device '{text}': give one of {_FORMS}{names}")
    more: dict[str, Any] = {
        key: values if key == "options" else values[-1]
        for key, values in parse_qs(query, keep_blank_values=True).items()
    }
    return _target(address, {"address": address, **more}, f"the device '{text}'")


def _read_devices(file: Path) -> dict[str, Target]:
    if not file.is_file():
        return {}
    entries = read_toml(file, "the devices file")
    targets = {}
    for name, entry in entries.items():
        where = f"'{file}', [{name}]"
        if not isinstance(entry, dict) or not _ADDRESS.fullmatch(str(entry.get("address"))):
            raise InputError(f"{where} needs an address: one of {_FORMS}")
        target = _target(name, entry, where)
        if target.benchmark_model:  # relative to the file, not to the current folder
            target = dataclasses.replace(target, benchmark_model=str(file.parent / target.benchmark_model))
        targets[name] = target
    return targets


def _target(name: str, entry: Mapping[str, Any], where: str) -> Target:
    form = re.split(r"[:/]", str(entry["address"]))[0]
    allowed = ("address", *_KEYS.get(form, ()))
    unknown = next((key for key in entry if key not in allowed), None)
    if unknown is not None:
        raise InputError(f"{where} has the unknown key '{unknown}': {form} takes {', '.join(allowed)}")
    try:
        return msgspec.convert({"name": name, **entry}, Target)
    except msgspec.ValidationError as error:
        raise InputError(f"{where} cannot be read ({error}): correct it") from error


def on_cuda(artifacts: Sequence[str]) -> list[str]:
    """Artifacts for a CUDA GPU: with provider ``cuda`` unless they name one; of a bundled model its checkpoint."""
    checkpoints = {model.name: model.checkpoint for model in bundled_models()}
    given = [str(checkpoints.get(artifact, artifact)) for artifact in artifacts or checkpoints]
    return [one if "@" in one and not Path(one).exists() else f"{one}@cuda" for one in given]


def benchmark_everywhere(
    request: BenchmarkRequest,
    targets: Sequence[Target],
    *,
    out_dir: Path,
    pictures: bool = True,
    command: str = "",
    progress: Progress = no_progress,
) -> Report:
    """Run a benchmark on each device of `parse_devices` and write one report; a device that fails is a hole in it.

    For `pictures` see `run.benchmark`. InputError for bad input, or if no device gave a report, and nothing is written;
    OSError if writing fails.
    """
    request.check()
    addresses = {target.address: target for target in targets}

    def run(on: str, folder: Path, pictures: bool, completed: Callable[[Report], Report] | None = None) -> Report:
        artifacts = tuple(on_cuda(request.artifacts)) if on == CUDA else request.artifacts
        return benchmark(
            dataclasses.replace(request, artifacts=artifacts),
            out_dir=folder,
            device=addresses[on].name,
            pictures=pictures,
            completed=completed,
            command=command,
            progress=progress,
        )

    def run_cuda_too() -> Report:
        with tempfile.TemporaryDirectory() as folder:
            return run(CUDA, Path(folder), pictures=False)

    elsewhere: dict[str, Callable[[], Report]] = {}
    for address, target in addresses.items():
        if address.startswith(("ssh:", "adb")):
            over = benchmark_over_ssh if address.startswith("ssh:") else benchmark_over_adb
            elsewhere[target.name] = partial(over, target, request, command=command, progress=progress)
        elif address == CUDA and LOCAL in addresses:
            elsewhere[target.name] = run_cuda_too
    here = partial(run, LOCAL if LOCAL in addresses else CUDA, out_dir, pictures)
    return benchmark_on([target.name for target in targets], here, elsewhere, out_dir=out_dir, command=command)


def benchmark_on(
    devices: Sequence[str],
    here: Here,
    elsewhere: Mapping[str, Callable[[], Report]],
    *,
    out_dir: str | Path,
    command: str = "",
) -> Report:
    """Measure on each named device and write one report; a device that fails is a hole in it.

    `here` measures on the device that `elsewhere` lacks and writes the report; its InputError ends the benchmark. Each
    function of `elsewhere` measures on another device, by its name. Raises as in `benchmark_everywhere`.
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
    return write_report(merged([]), [], folder)
