"""Cost growth: latency and memory of one method at several frame sizes, and their exponents.

Sizes alternate in rounds, so that a machine that slows down does not bend the line. Each has its own process, because
peak memory never falls.
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from ...common.arrays import Image, Size
from ...common.files import InputError
from ...common.progress import Progress, no_progress
from ..costs import CostGrowth, CostPoint
from .latency import SETTLE_S, WARM_UP_AT_START, WARM_UP_EACH_ROUND, MethodProcess, Subject, spread_of

ROUNDS = 5


def measure_growth(
    subject: Subject,
    frames: Mapping[Size, Sequence[Image]],
    folder: Path,
    *,
    own_size: Size | None = None,
    threads: int = 2,
    device: str = "local",
    seconds: float = 3,
    at_least: int = 20,
    progress: Progress = no_progress,
) -> CostGrowth:
    """Measure one method at several sizes, each with a few frames, (H, W, 3) uint8 RGB.

    Each size gets at least `at_least` frames and at least `seconds`, split over five rounds. A size that fails is a
    hole; the others continue. All processes are in memory at the same time. `folder` exists and takes temporary files;
    `own_size` is the only size that the method supports, None for any.
    """
    absent = {
        size: f"it is made for {own_size[0]}x{own_size[1]} only"
        for size in frames
        if own_size is not None and own_size != size
    }
    turns: dict[Size, list[dict[str, Any]]] = {}
    chunk = {"frames": -(-at_least // ROUNDS), "seconds": seconds / ROUNDS}
    with ExitStack() as stack:
        processes = {size: stack.enter_context(MethodProcess(subject)) for size in frames if size not in absent}
        for number in range(ROUNDS):
            for done, (size, process) in enumerate(processes.items()):
                if size in absent:
                    continue
                progress(f"cost growth of {subject.name}", number * len(processes) + done, ROUNDS * len(processes))
                try:
                    if number == 0:
                        stills = folder / f"growth-{size[0]}x{size[1]}.npy"
                        np.save(stills, np.stack(frames[size]))
                        process.ask("open", kind=subject.kind, file=subject.file, threads=threads, frames=str(stills))
                    time.sleep(SETTLE_S)
                    warm_up = WARM_UP_EACH_ROUND + (WARM_UP_AT_START if number == 0 else 0)
                    timed = process.ask("time", warm_up=warm_up, **chunk)
                    turns.setdefault(size, []).append(timed | process.ask("memory"))
                except InputError as error:
                    absent[size] = str(error)
    points = [_point(size, turns[size]) for size in processes if size not in absent]
    return cost_growth(
        subject.name, points, {f"{width}x{height}": why for (width, height), why in absent.items()}, device
    )


def _point(size: Size, turns: Sequence[Mapping[str, Any]]) -> CostPoint:
    rounds = [turn["ms"] for turn in turns]
    last = turns[-1]
    return CostPoint(
        width=size[0],
        height=size[1],
        frames=sum(map(len, rounds)),
        median_ms=float(np.median(np.concatenate(rounds))),
        rounds_ms=rounds,
        spread=spread_of(rounds),
        peak_memory_mib=last["peak_mib"],
        memory_before_mib=last["before_mib"],
        memory_frames=last["frames"],
    )


def cost_growth(
    method: str, points: Sequence[CostPoint], absent: Mapping[str, str], device: str = "local"
) -> CostGrowth:
    """Fit the exponents; memory is the peak minus the memory before loading.

    It includes engine and weights, which do not grow, so its exponent is lower than that of the frames alone.
    """
    pixels = [point.width * point.height for point in points]
    absent = dict(absent)
    if len(set(pixels)) < 2:
        absent["exponents"] = "a line needs figures at two numbers of pixels"
    return CostGrowth(
        method=method,
        device=device,
        points=list(points),
        latency_exponent=exponent(pixels, [point.median_ms for point in points]),
        memory_exponent=exponent(pixels, [point.peak_memory_mib - point.memory_before_mib for point in points]),
        absent=absent,
    )


def exponent(pixels: Sequence[float], figures: Sequence[float]) -> float | None:
    """Least-squares exponent a of log(figure) = a log(pixels) + b.

    None for fewer than two pixel counts, or a figure that is not positive.
    """
    if len(set(pixels)) < 2 or min(figures) <= 0:
        return None
    x, y = np.log(pixels), np.log(figures)
    across = x - x.mean()
    return float(across @ (y - y.mean()) / (across @ across))
