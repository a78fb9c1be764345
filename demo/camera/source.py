"""The newest frame of a camera: a thread reads, keeps one frame, and opens the camera again when it vanishes.

Whoever is slower than the camera gets the newest frame and never an old one; what was put aside meanwhile is counted.
A file is played at its own pace, so that everything can be tried without a camera.
"""

import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Self

import cv2
import numpy as np

from ..common.files import InputError
from ..video.frames import Frame, FrameSource, open_source
from ..video.sources import DEFAULT_RATE

FIRST_WAIT_S, LONGEST_WAIT_S = 0.25, 4.0
"""Back-off of opening a camera again: doubled after each try."""
PATIENCE_S = 2.0
"""A camera that is open and gives nothing for so long is told of."""
LATE_S = 0.1
"""A file that is decoded later than this is played later from there on: a camera gives no burst to catch up."""
READ_ENDS_S = 12.0
"""The longest that a camera may sit in a read (V4L2 gives up after ten seconds)."""


def fit_height(frame: Frame, height: int) -> Frame:
    """Make a taller frame so high, averaging areas; both sides come out even. A smaller one stays as it is.

    Args:
        frame: of any size.
        height: in pixels.
    """
    tall, wide = frame.image.shape[:2]
    if tall <= height:
        return frame
    size = (max(2, 2 * round(wide * height / tall / 2)), max(2, 2 * round(height / 2)))
    return Frame(np.asarray(cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA), np.uint8), frame.time_s)


class Capture:
    """Reads a source in a thread of its own: `with Capture("0", height=360) as capture: frame = capture.take(0.1)`.

    Attributes:
        name: of the source, for people.
        size: width and height of the first frame in pixels, as it is given.
        frame_rate: what the source says, frames per second, or None.
        received: number of frames that the source gave.
        dropped: number of those that were replaced by a newer one before anybody took them.
        reopened: how often the source was opened again after it had vanished.
        ended: whether there is nothing more to come: a file that is not looped is over.
    """

    def __init__(self, spec: str, *, height: int, loop: bool = False) -> None:
        """Open the source and begin to read.

        Args:
            spec: as for `open_source`.
            height: a taller frame is made this high, in pixels.
            loop: play a file again and again.

        Raises:
            InputError: the source cannot be opened.
        """
        self._spec, self._height, self._loop = spec, height, loop
        source = open_source(spec)
        self.name, self.frame_rate = source.info.name, source.info.frame_rate
        first = fit_height(Frame(np.empty((source.info.height, source.info.width, 3), np.uint8), 0.0), height)
        self.size = (first.image.shape[1], first.image.shape[0])
        self._endless = source.info.kind == "camera" or loop
        self.received = self.dropped = self.reopened = 0
        self.ended = False
        self._newest: Frame | None = None
        self._error: BaseException | None = None
        self._gone = False
        self._last = time.monotonic()
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._guarded, args=(source,), name="capture", daemon=True)
        self._thread.start()

    def take(self, timeout_s: float) -> Frame | None:
        """Take the newest frame, which nobody has taken before.

        Args:
            timeout_s: how long to wait for one.

        Returns:
            The frame, its time that of its arrival (`time.monotonic`), or None: there is none yet.
        """
        with self._changed:
            if self._newest is None and self._error is None and not self.ended:
                self._changed.wait(timeout_s)
            if self._error is not None:
                raise self._error
            frame, self._newest = self._newest, None
            return frame

    @property
    def trouble(self) -> str:
        """What keeps frames from coming, for the screen; empty where they come."""
        with self._changed:
            if self._gone:
                return f"{self.name} is gone: waiting for it"
            silent = not self.ended and time.monotonic() - self._last > PATIENCE_S
            return f"{self.name} gives no picture: waiting for it" if silent else ""

    def close(self) -> None:
        """End the thread and let go of the source."""
        self._closing.set()
        self._thread.join(READ_ENDS_S)

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def _guarded(self, source: FrameSource) -> None:
        try:
            self._read(source)
        except BaseException as error:  # a defect: it is raised where frames are taken
            with self._changed:
                self._error = error
        with self._changed:
            self.ended = True
            self._changed.notify_all()

    def _read(self, source: FrameSource) -> None:
        """Play the source; again where it is endless, however long it takes to come back."""
        opened: FrameSource | None = source
        while opened is not None:
            whole = False
            with opened, suppress(InputError, OSError, cv2.error):  # it may be pulled out while it is read
                whole = self._play(opened)
            if self._closing.is_set() or not self._endless:
                return
            opened = self._open_again(gone=not whole)

    def _play(self, source: FrameSource) -> bool:
        """Hand on all frames, those of a file at its own pace; whether it is a file that ended as it should."""
        live = source.info.kind == "camera"
        step_s = float(1 / (source.info.frame_rate or DEFAULT_RATE))
        start, due = time.monotonic(), 0.0
        for frame in source:
            if not live:
                start = max(start, time.monotonic() - frame.time_s - LATE_S)
                self._closing.wait(max(0.0, start + frame.time_s - time.monotonic()))
                due = start + frame.time_s + step_s
            if self._closing.is_set():
                return True
            self._put(fit_height(frame, self._height))
        self._closing.wait(max(0.0, due - time.monotonic()))
        return not live

    def _put(self, frame: Frame) -> None:
        with self._changed:
            self._last = time.monotonic()
            self._gone = False
            self.received += 1
            self.dropped += self._newest is not None
            self._newest = Frame(frame.image, self._last)
            self._changed.notify_all()

    def _open_again(self, gone: bool) -> FrameSource | None:
        """Open the source again, with longer and longer pauses; None where the capture was closed meanwhile."""
        wait_s = FIRST_WAIT_S
        while not self._closing.is_set():
            if gone:
                with self._changed:
                    self._gone = True
                self._closing.wait(wait_s)
                wait_s = min(2 * wait_s, LONGEST_WAIT_S)
            try:
                source = open_source(self._spec)
            except (InputError, OSError, cv2.error):
                gone = True
                continue
            self.reopened += gone
            return source
        return None
