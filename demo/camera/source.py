"""A camera, or a file played at its own pace for trying the demo without a camera."""

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Self

import cv2

from ...common.arrays import resized, size_within_height
from ...common.files import InputError
from ...video.frames import Frame, FrameSource, open_source
from ...video.sources.base import DEFAULT_RATE
from ..live import LiveSource, SourceLost

FIRST_PAUSE_S = 0.25  # before a lost camera is opened again
SILENCE_S = 2.0  # an open camera without frames for so long is reported
LATE_S = 0.1  # a file decoded later than this is delayed from there on: a camera sends no burst to catch up


class Capture(LiveSource):
    """Reads a source in its own thread: `with Capture("0", height=360) as capture: frame = capture.take(0.1)`.

    Frame times are arrival times (`time.monotonic`). `info` has the scaled size of the first frame.
    """

    def __init__(self, spec: str, *, height: int, loop: bool = False) -> None:
        """Open `spec` as `open_source` does, or raise InputError.

        Taller frames are scaled down to `height` pixels, with even sides. `loop` repeats a file.
        """
        self._spec, self._height, self._loop = spec, height, loop
        self._opened: FrameSource | None = open_source(spec)
        info = self._opened.info
        width, height = self._fitting((info.width, info.height))
        super().__init__(replace(info, width=width, height=height), first_pause_s=FIRST_PAUSE_S)

    @property
    def trouble(self) -> str:
        """Why no frames come, as text for the screen; empty while they come."""
        if self.gone:
            return f"{self.info.name} is gone: waiting for it"
        return f"{self.info.name} gives no picture: waiting for it" if self.silent_s() > SILENCE_S else ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def _fitting(self, size: tuple[int, int]) -> tuple[int, int]:
        return size_within_height(size, self._height) if size[1] > self._height else size

    def _attempt(self) -> Iterator[Frame]:
        endless = self._loop or self.info.kind == "camera"
        try:
            again = True
            while again:
                source, self._opened = self._opened or open_source(self._spec), None
                with source:
                    yield from self._played(source)
                again = self._loop and source.info.kind != "camera" and not self._stopped.is_set()
        except (InputError, OSError, cv2.error) as error:  # a camera may be unplugged during a read
            if endless:
                raise SourceLost(str(error)) from error
        if self.info.kind == "camera":
            raise SourceLost("stopped giving pictures")

    def _played(self, source: FrameSource) -> Iterator[Frame]:
        """Yield all frames, those of a file at its own pace."""
        live = source.info.kind == "camera"
        step_s = float(1 / (source.info.frame_rate or DEFAULT_RATE))
        start, due = time.monotonic(), 0.0
        for frame in source:
            if not live:
                start = max(start, time.monotonic() - frame.time_s - LATE_S)
                self._stopped.wait(max(0.0, start + frame.time_s - time.monotonic()))
                due = start + frame.time_s + step_s
            if self._stopped.is_set():
                return
            height, width = frame.image.shape[:2]
            yield Frame(resized(frame.image, self._fitting((width, height))), time.monotonic())
        self._stopped.wait(max(0.0, due - time.monotonic()))
