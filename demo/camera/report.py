"""Results of a camera session."""

from collections import deque
from dataclasses import dataclass
from pathlib import Path

import numpy as np

WARM_UP = 5  # calls excluded from all figures, as in the benchmark
LIVE_S = 2.0  # period of the figures on the picture
KEPT = 100_000  # latencies in the final figures: the last hour at 25 frames per second


@dataclass(frozen=True)
class ModelLatency:
    """Latency of a model's stylizer call. `frames` excludes the warm-up; without frames, both times are None."""

    model: str
    engine: str
    frames: int
    median_ms: float | None
    p90_ms: float | None


@dataclass(frozen=True)
class CameraResult:
    """What a camera session did."""

    source: str
    width: int  # of the last stylized frame, in pixels; 0 without one
    height: int
    seconds: float  # from the first frame to the end, including pauses
    received: int  # frames from the source
    shown: int
    dropped: int  # frames that a newer one replaced
    paused: int  # frames that came during a pause
    reopened: int  # how often a lost camera was opened again
    fps: float  # shown frames per second
    models: list[ModelLatency]  # in the order of their first frames
    files: list[Path]  # recordings and pictures
    notes: list[str]


class Meter:
    """Latency of one model: the last `LIVE_S` seconds for the screen, all calls for the result."""

    def __init__(self) -> None:
        self._warm_up = WARM_UP
        self._recent: deque[tuple[float, float]] = deque()
        self._all: deque[float] = deque(maxlen=KEPT)
        self.count = 0

    def warm_up(self) -> None:
        """Exclude the next calls: the model resumes after a pause, or the frame size changed."""
        self._warm_up = WARM_UP

    def add(self, now: float, latency_ms: float) -> None:
        """Add a call that ended at `now` (seconds of `time.monotonic`)."""
        if self._warm_up:
            self._warm_up -= 1
            return
        self.count += 1
        self._all.append(latency_ms)
        self._recent.append((now, latency_ms))
        while self._recent[0][0] < now - LIVE_S:
            self._recent.popleft()

    def recent(self) -> str:
        """Median and 90th percentile of the last `LIVE_S` seconds, as text."""
        if not self._recent:
            return "– ms"
        median, p90 = np.percentile([ms for _, ms in self._recent], (50, 90))
        return f"{median:.1f} ms median, {p90:.1f} p90"

    def result(self, model: str, engine: str) -> ModelLatency:
        """Figures of all calls after the warm-up."""
        figures = np.percentile(list(self._all), (50, 90)) if self._all else (None, None)
        median, p90 = (None if figure is None else float(figure) for figure in figures)
        return ModelLatency(model, engine, self.count, median, p90)
