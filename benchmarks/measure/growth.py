"""Cost growth: latency and memory of one method at several sizes of the frame, and the exponents that they grow by.

The sizes take turns, round by round, each in a process of its own, because an exponent compares them: a machine that
slows down half-way would otherwise bend the line. Peak memory never falls again, so that it needs the process too.
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
    """Measure one method at several sizes.

    At each size at least `at_least` frames and at least `seconds` are timed, a fifth of both in each of five rounds.
    A size that the method cannot do, or breaks off at, is a hole with a sentence; the others go on. The processes of
    all sizes are in memory at the same time.

    Args:
        subject: the method.
        frames: for each size a few real frames, each (H, W, 3) uint8 RGB.
        folder: an existing folder for temporary files.
        own_size: the only size that the method is made for; None for any.
        threads: threads for its engine.
        device: what the report calls this machine.
        seconds: least time of inference at each size.
        at_least: least number of frames at each size.
        progress: told of each step.

    Returns:
        The figures, in the order of the sizes.
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
    """Fit the exponents to what was measured.

    Memory is what the method itself takes: the peak less what the process had before it was loaded. Engine and weights
    are in it and do not grow, so that its exponent is lower than that of the frames' part alone.

    Args:
        method: name of the method.
        points: its figures, one for each size.
        absent: why a size is missing, by the size.
        device: what the report calls this machine.
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
    """The exponent a of the line log(figure) = a log(pixels) + b that fits best by least squares.

    Args:
        pixels: number of pixels of a frame, one for each figure.
        figures: in any unit.

    Returns:
        1 where a figure grows in proportion to the pixels, 0 where it does not grow; None where there is no such line:
        fewer than two numbers of pixels, or a figure that is not positive.
    """
    if len(set(pixels)) < 2 or min(figures) <= 0:
        return None
    x, y = np.log(pixels), np.log(figures)
    across = x - x.mean()
    return float(across @ (y - y.mean()) / (across @ across))
