"""A live source: gives the newest frame, and reopens a lost source after growing pauses.

A thread reads and keeps one frame; frames that nobody took in time are counted.
"""

import threading
import time
from abc import abstractmethod
from collections.abc import Iterator

from ..common.progress import Notify, no_notify
from ..video.frames import Frame, FrameSource, SourceInfo

READ_ENDS_S = 12.0  # longest read of a source (V4L2 gives up after 10 s)


class SourceLost(Exception):
    """A source broke off and may come back; the message says how it broke off."""


class LiveSource(FrameSource):
    """Frames of a source that may vanish and come back: iterate it, or call `start` once and then `take`."""

    def __init__(
        self,
        info: SourceInfo,
        *,
        newest_only: bool = True,
        first_pause_s: float,
        patience: int | None = None,
        notify: Notify = no_notify,
    ) -> None:
        """Prepare without reading.

        Args:
            newest_only: whether iteration drops frames that are not taken in time.
            first_pause_s: pause before reopening; doubles with each failed restart, up to 16 times this.
            patience: consecutive failed restarts before giving up; None never does.
            notify: called at each pause.
        """
        self.info = info
        self.received = 0  # complete frames
        self.dropped = 0  # those that a newer one replaced before they were taken
        self.reopened = 0  # how often frames came again after a loss
        self.gone = False  # whether the source is lost now, with no frame since
        self.ended = False  # whether no more frames will come
        self.lost = False  # whether it was given up after `patience` failed restarts
        self._newest_only, self._first_pause_s = newest_only, first_pause_s
        self._patience, self._notify = patience, notify
        self._newest: Frame | None = None
        self._error: BaseException | None = None
        self._last_s = time.monotonic()
        self._changed = threading.Condition()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    @abstractmethod
    def _attempt(self) -> Iterator[Frame]:
        """Open the source and yield its frames until it ends; raises SourceLost if it breaks off."""

    def start(self) -> None:
        """Start the reading thread."""
        self._thread = threading.Thread(target=self._read, name="capture", daemon=True)
        self._thread.start()

    def take(self, timeout_s: float | None) -> Frame | None:
        """Take the newest frame not taken before; None if none came within `timeout_s` or the source has ended.

        A `timeout_s` of None waits for a frame or the end. Raises whatever stopped the reading thread.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._newest is not None or self.ended, timeout_s)
            if self._error is not None:
                raise self._error
            frame, self._newest = self._newest, None
            return frame

    def silent_s(self) -> float:
        """Seconds since the last frame; 0 once the source has ended."""
        return 0.0 if self.ended else time.monotonic() - self._last_s

    def stop(self) -> None:
        """End the source soon; a waiting frame can still be taken."""
        self._stopped.set()

    def close(self) -> None:
        """End the source and wait for its thread."""
        self.stop()
        if self._thread is not None:
            self._thread.join(READ_ENDS_S)

    def _frames(self) -> Iterator[Frame]:
        if not self._newest_only:
            yield from self._all()
            return
        self.start()
        while (frame := self.take(None)) is not None:
            yield frame

    def _all(self) -> Iterator[Frame]:
        """Yield all frames in order, across reopenings."""
        failed = 0
        while not self._stopped.is_set():
            before = self.received
            try:
                for frame in self._attempt():
                    self._came(frame)
                    yield frame
                return
            except SourceLost as loss:
                if self._stopped.is_set():
                    return
                self.gone = True
                failed = 0 if self.received > before else failed + 1
                if failed == self._patience:
                    self.lost = True
                    self.note = f"the source did not come back after {failed} restarts ({loss})"
                    return
                pause_s = self._first_pause_s * 2 ** min(4, failed)
                self._notify(f"the source {loss}: restarting in {pause_s:.1f} s")
            self._stopped.wait(pause_s)

    def _came(self, frame: Frame) -> None:
        with self._changed:
            self._last_s = time.monotonic()
            self.received += 1
            self.reopened += self.gone
            self.gone = False
            if self._thread is not None:
                self.dropped += self._newest is not None
                self._newest = frame
                self._changed.notify_all()

    def _read(self) -> None:
        try:
            for _ in self._all():
                pass
        except BaseException as error:  # raised again by `take`
            self._error = error
        with self._changed:
            self.ended = True
            self._changed.notify_all()
