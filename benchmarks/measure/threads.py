"""Latency of one method with several numbers of threads, alternating in rounds as in `growth.py`."""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from ...common.arrays import Image
from ...common.progress import Progress, no_progress
from ..costs import ThreadPoint, ThreadScaling
from .latency import SETTLE_S, WARM_UP_AT_START, WARM_UP_EACH_ROUND, MethodProcess, Subject, spread_of

ROUNDS = 5


def measure_threads(
    subject: Subject,
    frames: Sequence[Image],
    folder: Path,
    *,
    counts: Sequence[int],
    device: str = "local",
    seconds: float = 3,
    at_least: int = 20,
    progress: Progress = no_progress,
) -> ThreadScaling:
    """Measure one method with each of `counts` threads; InputError if it fails.

    Each count gets at least `at_least` frames and at least `seconds`, split over five rounds. `frames` are a few, each
    (H, W, 3) uint8 RGB, of one size; `folder` exists and takes temporary files.
    """
    stills = folder / "threads.npy"
    np.save(stills, np.stack(frames))
    rounds: dict[int, list[list[float]]] = {count: [] for count in counts}
    chunk = {"frames": -(-at_least // ROUNDS), "seconds": seconds / ROUNDS}
    with ExitStack() as stack:
        processes = {count: stack.enter_context(MethodProcess(subject)) for count in counts}
        for count, process in processes.items():
            process.ask("open", kind=subject.kind, file=subject.file, threads=count, frames=str(stills))
        for number in range(ROUNDS):
            for done, (count, process) in enumerate(processes.items()):
                progress(f"threads of {subject.name}", number * len(counts) + done, ROUNDS * len(counts))
                time.sleep(SETTLE_S)
                warm_up = WARM_UP_EACH_ROUND + (WARM_UP_AT_START if number == 0 else 0)
                rounds[count].append(process.ask("time", warm_up=warm_up, **chunk)["ms"])
        peaks = {count: process.ask("memory")["peak_mib"] for count, process in processes.items()}
    height, width = frames[0].shape[:2]
    points = [
        ThreadPoint(
            threads=count,
            frames=sum(map(len, rounds[count])),
            median_ms=float(np.median(np.concatenate(rounds[count]))),
            rounds_ms=rounds[count],
            spread=spread_of(rounds[count]),
            peak_memory_mib=peaks[count],
        )
        for count in counts
    ]
    return ThreadScaling(subject.name, device, width, height, points)
