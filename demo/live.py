"""A live source: the newest frame wins, and what breaks off is opened again with growing pauses.

A thread reads and keeps one frame. Whoever is slower than the source gets the newest frame and never an old one; what
was put aside meanwhile is counted.
"""

import threading
import time
from abc import abstractmethod
from collections.abc import Iterator

from ..common.progress import Notify, no_notify
from ..video.frames import Frame, FrameSource, SourceInfo

READ_ENDS_S = 12.0
"""The longest that a source may sit in a read (V4L2 gives up after ten seconds)."""


class SourceLost(Exception):
    """A source broke off and may come back; the message says how it did."""


class LiveSource(FrameSource):
    """Frames of something that may vanish and come back.

    Either iterate it, as any source, or call `start` once and then `take`.

    Attributes:
        received: number of whole frames that came.
        dropped: number of those that a newer one replaced before anybody took them.
        reopened: how often frames came again after the source had broken off.
        gone: whether it has broken off and no frame came since.
        ended: whether nothing more will come, once it was started.
        lost: whether it was given up after `patience` failed restarts.
    """

    def __init__(
        self,
        info: SourceInfo,
        *,
        newest_only: bool = True,
        first_pause_s: float,
        patience: int | None = None,
        notify: Notify = no_notify,
    ) -> None:
        """Prepare; nothing is read yet.

        Args:
            info: what the source says of itself.
            newest_only: whether iterating drops frames that nobody asked for in time.
            first_pause_s: pause before it is opened again; doubled after each failed restart, up to 16 times this.
            patience: give up after so many consecutive failed restarts; None never does.
            notify: told of each pause.
        """
        self.info = info
        self.received = self.dropped = self.reopened = 0
        self.gone = self.ended = self.lost = False
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
        """Open the source and give its frames until it ends.

        Raises:
            SourceLost: it broke off.
        """

    def start(self) -> None:
        """Begin to read, in a thread."""
        self._thread = threading.Thread(target=self._read, name="capture", daemon=True)
        self._thread.start()

    def take(self, timeout_s: float | None) -> Frame | None:
        """Take the newest frame, which nobody has taken before.

        Args:
            timeout_s: how long to wait for one; None waits until one comes or the source has ended.

        Returns:
            The frame, or None: none came in time, or the source has ended.

        Raises:
            BaseException: whatever stopped the thread that reads.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._newest is not None or self.ended, timeout_s)
            if self._error is not None:
                raise self._error
            frame, self._newest = self._newest, None
            return frame

    def silent_s(self) -> float:
        """Seconds since the last frame came, 0 once the source has ended."""
        return 0.0 if self.ended else time.monotonic() - self._last_s

    def stop(self) -> None:
        """End the source soon; a frame that waits can still be taken."""
        self._stopped.set()

    def close(self) -> None:
        """End the source, and wait for its thread."""
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
        """All frames in their order, from one opening after the other."""
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
        except BaseException as error:  # a defect, or bad input: it is raised where frames are taken
            self._error = error
        with self._changed:
            self.ended = True
            self._changed.notify_all()
