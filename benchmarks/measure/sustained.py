"""Sustained run: one method alone for minutes, to show effects of heat and other load."""

import time
from collections.abc import Sequence
from pathlib import Path
from statistics import linear_regression, median

import numpy as np

from ...common.arrays import Image
from ...common.progress import Progress, no_progress
from ..costs import Sustained
from .latency import DEADLINE_MS, SETTLE_S, WARM_UP_AT_START, MethodProcess, Subject

_LEAST_SECONDS = 3
"""Minimum for a meaningful slope."""


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
    """Run one method in its own process for `minutes`, at least three seconds, without a pause between frames.

    That is harder than a camera, which lets a fast method pause. `frames` are a few, each (H, W, 3) uint8 RGB, taken in
    turn; `folder` exists and takes temporary files. InputError if the method fails.
    """
    stills = folder / "sustained.npy"
    np.save(stills, np.stack(frames))
    height, width = frames[0].shape[:2]
    whole = max(_LEAST_SECONDS, round(60 * minutes))
    at_s: list[float] = []
    seconds_ms: list[list[float]] = []
    with MethodProcess(subject) as process:
        process.open(stills, threads)
        time.sleep(SETTLE_S)
        process.ask("time", warm_up=WARM_UP_AT_START, frames=0, seconds=0)
        began = time.perf_counter()
        # By the clock: a frame that takes longer than a second extends its second.
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
    """Compute the figures from each second's start in seconds and its frames' latencies, at least one."""
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
    """Least-squares slope of figures over at least two different times, in the figures' unit per minute."""
    return linear_regression([second / 60 for second in at_s], figures).slope
