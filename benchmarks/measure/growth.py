"""Cost of one method at several frame sizes, with its exponents, and with several numbers of threads.

Sizes, or numbers of threads, alternate in rounds, so that a machine that slows down does not bend the line. Each has
its own process, because peak memory never falls.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import linear_regression
from typing import Any, TypeVar

import numpy as np

from ...common.arrays import Image, Size
from ...common.files import InputError
from ...common.progress import Progress, no_progress
from ..costs import CostGrowth, CostPoint, ThreadPoint, ThreadScaling
from .latency import MethodProcess, Subject, figures_of

ROUNDS = 5
Key = TypeVar("Key")


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
    ways: dict[Size, tuple[Path, int]] = {}
    for size, given in frames.items():
        if size not in absent:
            ways[size] = folder / f"growth-{size[0]}x{size[1]}.npy", threads
            np.save(ways[size][0], np.stack(given))
    found = _measure_each(subject, ways, "cost growth", seconds, at_least, progress, absent)
    points = [
        CostPoint(
            width=width,
            height=height,
            **figures,
            memory_before_mib=memory["before_mib"],
            memory_frames=memory["frames"],
        )
        for (width, height), (figures, memory) in found.items()
    ]
    return cost_growth(
        subject.name, points, {f"{width}x{height}": why for (width, height), why in absent.items()}, device
    )


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
    """Measure one method with each of `counts` threads, on a few frames of one size; InputError if it fails.

    The rest is as in `measure_growth`.
    """
    stills = folder / "threads.npy"
    np.save(stills, np.stack(frames))
    ways = {count: (stills, count) for count in counts}
    found = _measure_each(subject, ways, "threads", seconds, at_least, progress)
    height, width = frames[0].shape[:2]
    points = [ThreadPoint(threads=count, **figures) for count, (figures, _) in found.items()]
    return ThreadScaling(subject.name, device, width, height, points)


def _measure_each(
    subject: Subject,
    ways: Mapping[Key, tuple[Path, int]],
    what: str,
    seconds: float,
    at_least: int,
    progress: Progress,
    failed: dict[Key, str] | None = None,
) -> dict[Key, tuple[dict[str, Any], dict[str, Any]]]:
    """Measure one method in several ways, each a file of frames and a number of threads, in alternating rounds.

    Returns the figures that both kinds of point have, and the worker's answer about memory. A way that fails is left
    out and its reason put into `failed`; without that, InputError.
    """
    rounds: dict[Key, list[list[float]]] = {way: [] for way in ways}
    memory: dict[Key, dict[str, Any]] = {}
    with ExitStack() as stack:
        processes = {way: stack.enter_context(MethodProcess(subject)) for way in ways}
        for number in range(ROUNDS):
            for place, (way, process) in enumerate(processes.items()):
                if failed and way in failed:
                    continue
                progress(f"{what} of {subject.name}", number * len(ways) + place, ROUNDS * len(ways))
                try:
                    if number == 0:
                        process.open(*ways[way])
                    rounds[way].append(process.time_round(number, ROUNDS, seconds, at_least))
                    memory[way] = process.ask("memory")
                except InputError as error:
                    if failed is None:
                        raise
                    failed[way] = str(error)
    return {
        way: (figures_of(rounds[way]) | {"peak_memory_mib": memory[way]["peak_mib"]}, memory[way])
        for way in ways
        if not failed or way not in failed
    }


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
    return linear_regression(np.log(pixels).tolist(), np.log(figures).tolist()).slope
