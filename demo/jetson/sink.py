"""The sink: stylized frames to a ``gst-launch-1.0``."""

import tempfile
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import numpy as np

from ...common.files import InputError, atomic_path
from ...video.frames import Frame, FrameSink
from .launch import End, masked
from .process import end_process, first_error, piped

FINISH_S = 60.0  # longest time for a sink to write its index
LATENCIES = 10_000  # newest latencies kept: bounds the memory of long runs


class GstSink(FrameSink):
    """Gives frames to a ``gst-launch-1.0`` that reads them from a pipe.

    Args:
        end: the sink; for a file, its address is the path.
        make_words: makes the sink's arguments for a temporary file in place of its address.
        pace: frames per second of a live recording, kept by repeating or skipping frames; None writes each frame once.
    """

    def __init__(
        self, end: End, make_words: Callable[[str], Sequence[str]], clock: Callable[[], float], pace: Fraction | None
    ) -> None:
        super().__init__(Path(end.address if end.kind == "file" else masked(end.address) or end.name))
        self.repeated = self.skipped = 0
        self.latencies_ms: deque[float] = deque(maxlen=LATENCIES)
        self._clock, self._pace = clock, pace
        self._written, self._first_s = 0, 0.0
        words: Sequence[str] = end.words
        with ExitStack() as stack:
            if end.kind == "file":
                words = make_words(str(stack.enter_context(atomic_path(self._target))))
            self._log = stack.enter_context(tempfile.TemporaryFile())
            self._process, self._pipe = stack.enter_context(piped(words, self._log, reads=True))
            self._cleanup = stack.pop_all()

    def _write(self, frame: Frame) -> None:
        if self._written == 0:
            self._first_s = frame.time_s
        copies = 1
        if self._pace is not None:
            due = int((frame.time_s - self._first_s) * self._pace) + 1
            copies = 0 if self._written - due >= 2 else max(1, due - self._written)
        data = np.ascontiguousarray(frame.image).data.cast("B")
        for _ in range(copies):
            self._hand_over(data)
        self._written += copies
        self.repeated += max(0, copies - 1)
        self.skipped += copies == 0
        self.latencies_ms.append((self._clock() - frame.time_s) * 1e3)

    def _hand_over(self, rest: memoryview) -> None:
        try:
            while rest:
                rest = rest[self._pipe.write(rest) :]
        except BrokenPipeError as error:
            raise self._failed() from error

    def _failed(self) -> InputError:
        code = end_process(self._process)
        message = first_error(self._log) or f"it ended with code {code}"
        return InputError(f"the sink {self._target} failed ({message}): check it, or give another")

    def _finish(self) -> None:
        self._pipe.close()  # end of stream: now the file's index is written
        if self._process.wait(FINISH_S) != 0:
            raise self._failed()

    def _give_up(self) -> None:
        end_process(self._process)
