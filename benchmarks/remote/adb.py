"""Device ``adb[:SERIAL]``: latency on an Android phone by `adb` and LiteRT's `benchmark_model`.

The user provides the tool, see https://ai.google.dev/edge/litert/models/measurement. It returns no frames, hence no
temporal error or style. Not tested on a phone: its output is parsed as in published logs.
"""

import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

from ...common.files import InputError
from ...common.machine import Device
from ...common.progress import Progress, no_progress
from ...runtimes.registry import read_metadata, resolve
from ..costs import Latency
from ..measure.latency import DEADLINE_MS
from ..record import JUDGED, Method, Report, summarize
from ..request import BenchmarkRequest
from ..subjects import method_of
from .target import LONG_S, SHORT_S, Target, call, last_line, measuring_s

_FOLDER = "/data/local/tmp/steadystyle"
_ABSENT = "benchmark_model gives back no frames: measure it on another device too (--device local)"
_NUMBER = r"([\d.]+(?:e[+-]?\d+)?)"


@dataclass(frozen=True)
class Timing:
    """Output of benchmark_model about its timed runs; `warm_up` runs before `frames` runs.

    `memory_mib` is the growth of its memory until the end, None if not printed.
    """

    frames: int
    median_ms: float
    p95_ms: float
    warm_up: int
    memory_mib: float | None


def parse_benchmark_model(text: str) -> Timing:
    """Parse benchmark_model's output; InputError without a median. The last line of counts is the timed runs'."""
    counts = re.findall(r"count=(\d+)(.*)", text)
    found = re.search(rf"median={_NUMBER} p95={_NUMBER}", counts[-1][1]) if counts else None
    if found is None:
        reason = "its version prints no median: get a newer one" if counts else last_line(text) or "it printed nothing"
        raise InputError(f"benchmark_model gave no figures ({reason})")
    memory = re.search(rf"Memory footprint delta from the start of the tool \(MB\): init=\S+ overall={_NUMBER}", text)
    return Timing(
        frames=int(counts[-1][0]),
        median_ms=float(found[1]) / 1000,
        p95_ms=float(found[2]) / 1000,
        warm_up=sum(int(count) for count, _ in counts[:-1]),
        memory_mib=float(memory[1]) if memory else None,
    )


def benchmark_over_adb(
    target: Target, request: BenchmarkRequest, *, command: str = "", progress: Progress = no_progress
) -> Report:
    """Time a request's `.tflite` artifacts on a phone; any other artifact is a hole in the report.

    Of the rest of the request, threads and latency count; the report has latency only. InputError without tool, adb or
    phone, if a step takes too long, or if no artifact could be timed.
    """
    device, tool = target.name, Path(target.benchmark_model or "")
    if not tool.is_file():
        raise InputError(
            f"{device} needs LiteRT's benchmark_model for the phone: give it (--device 'adb?benchmark_model=FILE')"
        )
    phone = _Phone(device, target.address)
    described = phone.describe()
    phone.run("shell", f"mkdir -p {_FOLDER}")
    phone.run("push", str(tool), f"{_FOLDER}/benchmark_model", limit_s=LONG_S)
    phone.run("shell", f"chmod 755 {_FOLDER}/benchmark_model")
    methods, latency, holes, notes = [], list[Latency](), list[str](), list[str]()
    try:
        for artifact in request.artifacts:
            progress(f"measuring {artifact} on {device}", 0, None)
            try:
                method, row, p95_ms = _time(phone, artifact, request, latency[0] if latency else None)
            except InputError as error:
                holes.append(str(error) if str(error).startswith(device) else f"{device}: {error}")
                continue
            methods.append(method)
            latency.append(row)
            notes.append(f"{device}: the 95th percentile of {method.name} is {p95_ms:.2f} ms.")
    finally:
        try:
            phone.call("shell", f"rm -rf {_FOLDER}")
        except InputError as error:  # the report counts, or the error before
            notes.append(f"{device}: {_FOLDER} may still be there ({error}).")
    if not latency:
        raise InputError(holes[0] if holes else f"{device} runs .tflite artifacts: give one")
    return replace(
        Report.begun("benchmark", described, methods, command, request),
        settings={"reference": latency[0].method},
        latency=latency,
        summary=summarize([], [], [method.name for method in methods]),
        absent=dict.fromkeys(("short", "long", *JUDGED, "shift", "drift"), _ABSENT),
        holes=holes,
        notes=notes,
    )


def _time(
    phone: "_Phone", artifact: str, request: BenchmarkRequest, first: Latency | None
) -> tuple[Method, Latency, float]:
    """Time one artifact; returns it, its latency, with ratios to `first` or itself, and the 95th percentile in ms."""
    path, _ = resolve(artifact)
    if path.suffix.lower() != ".tflite":
        raise InputError(f"'{path.name}' is no .tflite file, which is all that benchmark_model runs: export one")
    metadata = read_metadata(path)
    if metadata.width is None or metadata.height is None:
        raise InputError(f"'{path.name}' has no size of its own: export it with --size")
    there, seconds = f"{_FOLDER}/{path.name}", request.latency_seconds
    phone.run("push", str(path), there, limit_s=LONG_S)
    output = phone.run(
        "shell",
        f"{_FOLDER}/benchmark_model --graph={shlex.quote(there)} --num_threads={request.threads} "
        f"--num_runs={request.latency_frames} --min_secs={seconds:g} --max_secs={max(150.0, 4 * seconds):g} 2>&1",
        limit_s=measuring_s(request, 1),
    )
    timing = parse_benchmark_model(output)
    ratio = timing.median_ms / first.median_ms if first else 1.0
    method = method_of(path.stem, "artifact", path, "LiteRT benchmark_model", metadata)
    row = Latency(
        method=method.name,
        device=phone.name,
        engine="LiteRT benchmark_model",
        width=metadata.width,
        height=metadata.height,
        threads=request.threads,
        warm_up_frames=timing.warm_up,
        frames=timing.frames,
        median_ms=timing.median_ms,
        p90_ms=None,
        p99_ms=None,
        deadline_ms=DEADLINE_MS,
        over_deadline=None,
        reference=first.method if first else path.stem,
        ratio=ratio,
        ratio_low=ratio,
        ratio_high=ratio,
        rounds_ms=[],
        spread=None,
        end_to_end=None,
        peak_memory_mib=timing.memory_mib,
        memory_before_mib=None,
        memory_frames=timing.frames + timing.warm_up,
    )
    return method, row, timing.p95_ms


class _Phone:
    """A phone behind `adb`; failures raise InputError."""

    def __init__(self, name: str, address: str) -> None:
        self.name = name
        serial = address.partition(":")[2]
        self._adb = ["adb", *(["-s", serial] if serial else [])]
        if shutil.which("adb") is None:
            raise InputError(f"{name} needs adb, which is not here: install Android's platform tools")

    def call(self, *arguments: str, limit_s: float | None = None) -> "subprocess.CompletedProcess[str]":
        """Run adb for at most `limit_s` seconds or a minute."""
        return call(self.name, [*self._adb, *arguments], limit_s or SHORT_S)

    def run(self, *arguments: str, limit_s: float | None = None) -> str:
        """Run adb as `call` does, and return its output; InputError if it fails or takes too long."""
        done = self.call(*arguments, limit_s=limit_s)
        if done.returncode != 0:
            reason = last_line(done.stderr) or last_line(done.stdout) or f"exit code {done.returncode}"
            raise InputError(f"{self.name}: adb {arguments[0]} failed ({reason}): check `adb devices`")
        return done.stdout

    def describe(self) -> Device:
        names = ("ro.product.manufacturer", "ro.product.model", "ro.soc.model", "ro.build.version.release")
        maker, model, chip, version = (self.run("shell", f"getprop {name}").strip() for name in names)
        cores = self.run("shell", "nproc").strip()
        memory = re.search(r"MemTotal:\s+(\d+) kB", self.run("shell", "cat /proc/meminfo"))
        return Device(
            name=self.name,
            system=f"Android {version}",
            processor=" ".join(part for part in (maker, model, chip) if part) or "unknown",
            cores=int(cores) if cores.isdigit() else 1,
            memory_gib=round(int(memory[1]) / 2**20, 1) if memory else None,
            python=None,
            versions={},
            commit=None,
            load_average=None,
        )
