"""Latency and memory: every method in its own process, in alternating rounds.

Two ONNX Runtime sessions in one process disturb each other by spinning threads, and a machine's speed varies by the
minute. So processes alternate while the others sleep, and ratios are taken within a round.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from statistics import median
from typing import Any, Literal

import numpy as np

from ...common.arrays import Image
from ...common.files import InputError
from ...common.progress import Progress, no_progress
from ...video.frames import write_video
from ..costs import EndToEnd, Latency

DEADLINE_MS = 1000 / 30
ROUNDS = 10
MOST_SPREAD = 0.2
"""Latency ratios are unreliable if the reference's rounds spread more than this.

For independent normal rounds, the standard error of the median of ten is 0.15 times the spread (see `spread_of`), that
of a ratio of two such medians 0.22 times. With a spread of 0.2, 95 % of ratios are within 9 % of the true one.
"""
WARM_UP_AT_START = 5
WARM_UP_EACH_ROUND = 1
FRAMES_IN_MEMORY = 8
SETTLE_S = 0.1
"""An engine's threads keep spinning for a moment after a run; the next process waits for that."""


@dataclass(frozen=True)
class Subject:
    """An artifact of ours or a peer's network; `file` may be a bundled model's name."""

    name: str
    kind: Literal["artifact", "peer"]
    file: str


class MethodProcess(AbstractContextManager["MethodProcess"]):
    """A fresh process with one method, see `latency_worker`."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.latency_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if error is not None:
            self._process.kill()
        self._process.communicate()  # closes its standard input, which ends it, and waits

    def open(self, stills: Path, threads: int) -> str:
        """Load the method and the frames, (N, H, W, 3) uint8 RGB in a .npy file; returns the engine."""
        subject = self._subject
        answer = self.ask("open", kind=subject.kind, file=subject.file, threads=threads, frames=str(stills))
        return str(answer["engine"])

    def time_round(self, number: int, of: int, seconds: float, at_least: int) -> list[float]:
        """One of several rounds, numbered from 0: each frame's ms, in the round's share of seconds and frames."""
        time.sleep(SETTLE_S)
        warm_up = WARM_UP_EACH_ROUND + (WARM_UP_AT_START if number == 0 else 0)
        return list(self.ask("time", warm_up=warm_up, frames=-(-at_least // of), seconds=seconds / of)["ms"])

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """Send a request and wait for the answer; InputError if the worker refuses or its process ends."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **request}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            code = self._process.wait()
            raise InputError(
                f"measuring '{self._subject.name}' broke off, its process ended with exit code {code}: "
                "free memory or take a smaller --size"
            )
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise InputError(answer["error"])
        return answer


def measure_latency(
    subjects: Sequence[Subject],
    frames: Iterable[Image],
    folder: Path,
    *,
    reference: str,
    device: str = "local",
    threads: int = 2,
    seconds: float = 10,
    at_least: int = 100,
    frame_rate: float = 25,
    progress: Progress = no_progress,
) -> list[Latency]:
    """Measure latency, alone and end to end, and peak memory.

    Each method runs at least `at_least` frames and at least `seconds`, split over ten rounds. Memory is read after
    them, before the end-to-end run. `frames` are (H, W, 3) uint8 RGB, all of one size: inference takes the first few in
    turn, and end to end all, as an H.264 clip of `frame_rate`. `reference` is the subject that ratios refer to;
    `folder` exists and takes temporary files. InputError if a method cannot be opened or its process ends.
    """
    clip, stills = folder / "latency.mp4", folder / "latency.npy"
    coming = iter(frames)
    first = list(islice(coming, FRAMES_IN_MEMORY))
    height, width = first[0].shape[:2]
    np.save(stills, np.stack(first))
    write_video(clip, chain(first, coming), frame_rate)
    with ExitStack() as stack:
        processes = {subject.name: stack.enter_context(MethodProcess(subject)) for subject in subjects}
        engines = {name: process.open(stills, threads) for name, process in processes.items()}
        rounds: dict[str, list[list[float]]] = {name: [] for name in processes}
        for number in range(ROUNDS):
            for name, process in processes.items():
                progress(f"latency of {name}", number, ROUNDS)
                rounds[name].append(process.time_round(number, ROUNDS, seconds, at_least))
        memory = {name: process.ask("memory") for name, process in processes.items()}
        end_to_end = {}
        for name, process in processes.items():
            progress(f"end to end with {name}", 0, None)
            time.sleep(SETTLE_S)
            end_to_end[name] = process.ask("end_to_end", clip=str(clip), target=str(folder / "latency-stylized.mp4"))
    return [
        Latency(
            method=name,
            device=device,
            engine=engines[name],
            width=width,
            height=height,
            threads=threads,
            warm_up_frames=WARM_UP_AT_START + ROUNDS * WARM_UP_EACH_ROUND,
            deadline_ms=DEADLINE_MS,
            reference=reference,
            **_figures(rounds[name], rounds[reference], end_to_end[name]),
            peak_memory_mib=memory[name]["peak_mib"],
            memory_before_mib=memory[name]["before_mib"],
            memory_frames=memory[name]["frames"],
        )
        for name in processes
    ]


def figures_of(rounds: Sequence[Sequence[float]]) -> dict[str, Any]:
    """The fields of a record that follow from the samples of each round alone, in ms."""
    samples = np.concatenate(rounds)
    return {
        "frames": len(samples),
        "median_ms": float(np.median(samples)),
        "rounds_ms": rounds,
        "spread": spread_of(rounds),
    }


def spread_of(rounds: Sequence[Sequence[float]]) -> float:
    """90th minus 10th percentile of the rounds' medians, over the median of these; samples in any unit."""
    low, middle, high = np.percentile([median(samples) for samples in rounds], (10, 50, 90))
    return float((high - low) / middle)


def noise_notes(latency: Sequence[Latency]) -> list[str]:
    """A warning if the reference's rounds spread by more than `MOST_SPREAD`."""
    return [
        "The machine was too noisy for its ratios of latency to be trusted: the medians of "
        f"{row.method}'s rounds spread by {100 * row.spread:.0f} % (90th minus 10th percentile, over their median; "
        f"limit {100 * MOST_SPREAD:.0f} %). Measure again with nothing else running."
        for row in latency
        if row.method == row.reference and row.spread is not None and row.spread > MOST_SPREAD
    ]


def _figures(rounds: list[list[float]], reference: list[list[float]], end_to_end: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of `Latency` that depend on samples."""
    samples = np.concatenate(rounds)
    p90, p99 = (float(np.percentile(samples, share)) for share in (90, 99))
    own = figures_of(rounds)
    ratios = [median(mine) / median(theirs) for mine, theirs in zip(rounds, reference, strict=True)]
    fps = end_to_end["frames"] / end_to_end["seconds"]
    return own | {
        "p90_ms": p90,
        "p99_ms": p99,
        "over_deadline": float((samples > DEADLINE_MS).mean()),
        "ratio": median(ratios),
        "ratio_low": min(ratios),
        "ratio_high": max(ratios),
        "end_to_end": EndToEnd(
            frames=end_to_end["frames"],
            seconds=end_to_end["seconds"],
            fps=fps,
            share_of_inference=fps * own["median_ms"] / 1000,
            inference_share=end_to_end["inference_seconds"] / end_to_end["seconds"],
        ),
    }
