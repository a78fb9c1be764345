"""What a session in front of the camera measured."""

from collections import deque
from dataclasses import dataclass
from pathlib import Path

import numpy as np

WARM_UP = 5  # calls that no figure counts, as in the benchmark
LIVE_S = 2.0  # the figures on the picture are of so many seconds
KEPT = 100_000  # latencies that the final figures are made of: the last hour at 25 frames a second


@dataclass(frozen=True)
class ModelLatency:
    """How long one model took a frame.

    Attributes:
        model: its name.
        engine: what ran it.
        frames: number of calls that count, without the warm-up.
        median_ms: of the stylizer's call alone, as in the benchmark; None without frames.
        p90_ms: 90th percentile.
    """

    model: str
    engine: str
    frames: int
    median_ms: float | None
    p90_ms: float | None


@dataclass(frozen=True)
class CameraResult:
    """What a session did.

    Attributes:
        source: name of the camera or file.
        width: width of the last frame in pixels, as it was stylized; 0 without one.
        height: its height.
        seconds: from the first frame to the end, pauses included.
        received: number of frames that the source gave.
        shown: number of those that were stylized and shown.
        dropped: number of those that were left out because a newer one was there.
        paused: number of those that came during a pause.
        reopened: how often the camera was opened again after it had vanished.
        fps: frames shown a second.
        models: latency of each model that ran, in the order of their first frames.
        files: recordings and pictures.
        notes: sentences to show.
    """

    source: str
    width: int
    height: int
    seconds: float
    received: int
    shown: int
    dropped: int
    paused: int
    reopened: int
    fps: float
    models: list[ModelLatency]
    files: list[Path]
    notes: list[str]


class Meter:
    """Latency of one model: the last seconds for the screen, all of it for the result."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._warm_up = WARM_UP
        self._recent: deque[tuple[float, float]] = deque()
        self._all: deque[float] = deque(maxlen=KEPT)
        self.count = 0

    def warm_up(self) -> None:
        """Leave the next few calls out: the model comes back from a pause, or has a frame of a new size."""
        self._warm_up = WARM_UP

    def add(self, now: float, latency_ms: float) -> None:
        """Add a call that ended now (seconds of `time.monotonic`)."""
        if self._warm_up:
            self._warm_up -= 1
            return
        self.count += 1
        self._all.append(latency_ms)
        self._recent.append((now, latency_ms))
        while self._recent[0][0] < now - LIVE_S:
            self._recent.popleft()

    def recent(self) -> str:
        """Median and 90th percentile of the last seconds, as a text."""
        if not self._recent:
            return "– ms"
        median, p90 = np.percentile([ms for _, ms in self._recent], (50, 90))
        return f"{median:.1f} ms median, {p90:.1f} p90"

    def result(self, model: str, engine: str) -> ModelLatency:
        """The figures of all calls, those of the warm-up left out."""
        figures = np.percentile(list(self._all), (50, 90)) if self._all else (None, None)
        median, p90 = (None if figure is None else float(figure) for figure in figures)
        return ModelLatency(model, engine, self.count, median, p90)
