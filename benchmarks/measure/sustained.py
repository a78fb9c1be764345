"""A sustained run: one method for minutes, alone, to see what heat and neighbours do to it."""

import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np

from ...common.arrays import Image
from ...common.progress import Progress, no_progress
from ..costs import Sustained
from .latency import DEADLINE_MS, SETTLE_S, WARM_UP_AT_START, MethodProcess, Subject

_LEAST_SECONDS = 3
"""A slope through fewer points would say nothing."""


def measure_sustained(
    subject: Subject,
    frames: Sequence[Image],
    folder: Path,
    *,
    minutes: float,
    threads: int = 2,
    device: str = "local",
    progress: Progress = no_progress,
) -> Sustained:
    """Run one method for so many minutes in a process of its own, frame after frame without a pause.

    That is harder than a camera, which gives a quick method time to cool between two frames.

    Args:
        subject: the method.
        frames: a few real frames, each (H, W, 3) uint8 RGB, taken in turn.
        folder: an existing folder for temporary files.
        minutes: how long; at least three seconds are run.
        threads: threads for its engine.
        device: what the report calls this machine.
        progress: told every second.

    Returns:
        Its figures, see `sustained`.

    Raises:
        InputError: the method cannot be opened or its process ended.
    """
    stills = folder / "sustained.npy"
    np.save(stills, np.stack(frames))
    height, width = frames[0].shape[:2]
    whole = max(_LEAST_SECONDS, round(60 * minutes))
    at_s: list[float] = []
    seconds_ms: list[list[float]] = []
    with MethodProcess(subject) as process:
        process.ask("open", kind=subject.kind, file=subject.file, threads=threads, frames=str(stills))
        time.sleep(SETTLE_S)
        process.ask("time", warm_up=WARM_UP_AT_START, frames=0, seconds=0)
        began = time.perf_counter()
        # A frame that takes longer than a second makes its second longer, hence the clock and not the count.
        while len(at_s) < _LEAST_SECONDS or time.perf_counter() - began < whole:
            progress(f"sustained run of {subject.name}", min(whole, int(time.perf_counter() - began)), whole)
            at_s.append(time.perf_counter() - began)
            seconds_ms.append(process.ask("time", warm_up=0, frames=1, seconds=1)["ms"])
    return sustained(subject.name, at_s, seconds_ms, width=width, height=height, threads=threads, device=device)


def sustained(
    method: str,
    at_s: Sequence[float],
    seconds_ms: Sequence[Sequence[float]],
    *,
    width: int,
    height: int,
    threads: int,
    device: str = "local",
) -> Sustained:
    """The figures of a sustained run.

    Args:
        method: name of the method.
        at_s: when each second began, in seconds.
        seconds_ms: the frames of each second, in milliseconds; at least one in each.
        width: of the frames, in pixels.
        height: of the frames, in pixels.
        threads: of the engine.
        device: what the report calls this machine.
    """
    samples = np.concatenate(seconds_ms)
    medians = [float(median(second)) for second in seconds_ms]
    p10, p50, p90, p99 = (float(share) for share in np.percentile(samples, (10, 50, 90, 99)))
    return Sustained(
        method=method,
        device=device,
        width=width,
        height=height,
        threads=threads,
        frames=len(samples),
        at_s=list(at_s),
        medians_ms=medians,
        median_ms=p50,
        p99_ms=p99,
        worst_ms=float(samples.max()),
        slope_ms_per_minute=slope_per_minute(at_s, medians),
        jitter_ms=p90 - p10,
        deadline_ms=DEADLINE_MS,
        over_deadline=float((samples > DEADLINE_MS).mean()),
    )


def slope_per_minute(at_s: Sequence[float], figures: Sequence[float]) -> float:
    """Slope of the least-squares line through figures over time, in the figures' unit a minute.

    Args:
        at_s: time of each figure in seconds; at least two that differ.
        figures: in any unit.
    """
    minutes = np.asarray(at_s) / 60
    across = minutes - minutes.mean()
    return float(across @ np.asarray(figures) / (across @ across))
