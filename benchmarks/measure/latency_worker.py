"""The process that measures one method's latency for `latency.py`, by JSON lines.

Each line on standard input is a request, `{"do": "open" | "time" | "memory" | "end_to_end", ...}`. The answer is one
line on standard output: the result, or `{"error": sentence}`.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from ...common.arrays import Image
from ...common.files import InputError
from ...common.machine import peak_memory_mib
from ...runtimes.pipeline import run
from ...runtimes.registry import open_stylizer
from ...video.frames import open_sink, open_source
from .peer import open_peer


class _Worker:
    """The requests' handlers; `open` comes first."""

    def __init__(self) -> None:
        self.memory_before = peak_memory_mib()
        self.frames_run = 0
        self.stylize: Callable[[Image], Image]
        self.frames: NDArray[np.uint8]

    def open(self, kind: str, file: str, threads: int, frames: str) -> dict[str, Any]:
        """Load the frames, (N, H, W, 3) uint8 in a .npy file, and the method."""
        self.frames = np.load(frames)
        self.memory_before = peak_memory_mib()
        method = open_peer(file, threads=threads) if kind == "peer" else open_stylizer(file, threads=threads)
        self.stylize = method
        return {"engine": method.engine}

    def time(self, warm_up: int, frames: int, seconds: float) -> dict[str, Any]:
        """Time at least so many frames and so many seconds; the warm-up is not counted."""
        samples: list[float] = []
        for _ in range(warm_up):
            self._next()
        started = time.perf_counter()
        while len(samples) < frames or time.perf_counter() - started < seconds:
            samples.append(self._next())
        return {"ms": samples}

    def _next(self) -> float:
        frame = self.frames[self.frames_run % len(self.frames)]
        self.frames_run += 1
        begun = time.perf_counter_ns()
        self.stylize(frame)
        return (time.perf_counter_ns() - begun) / 1e6

    def memory(self) -> dict[str, Any]:
        return {"peak_mib": peak_memory_mib(), "before_mib": self.memory_before, "frames": self.frames_run}

    def end_to_end(self, clip: str, target: str) -> dict[str, Any]:
        with open_source(clip) as source, open_sink(Path(target), source) as sink:
            begun = time.perf_counter()
            report = run(source, self.stylize, sink)
        # After the block: closing the sink finishes the file.
        seconds = time.perf_counter() - begun
        return {"frames": report.frames, "seconds": seconds, "inference_seconds": sum(report.stylize_ms) / 1000}


def serve(requests: TextIO, answers: TextIO) -> None:
    """Answer requests until the input ends."""
    worker = _Worker()
    for line in requests:
        request = json.loads(line)
        handler = getattr(worker, request.pop("do"))
        try:
            answer = handler(**request)
        except (InputError, OSError) as error:
            answer = {"error": str(error)}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def main() -> None:
    """Serve on standard input and output."""
    # Ctrl-C reaches all processes of the terminal; the parent ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Libraries may print to standard output: send that to standard error and keep the channel clean.
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    serve(sys.stdin, channel)


if __name__ == "__main__":
    main()
