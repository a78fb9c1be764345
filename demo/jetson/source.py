"""The source: frames from a ``gst-launch-1.0`` that is restarted whenever it dies."""

import select
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from io import FileIO

import numpy as np

from ...common.arrays import Image, Size
from ...common.files import InputError
from ...common.progress import Notify
from ...video.frames import Frame, SourceInfo
from ..live import LiveSource, SourceLost
from .launch import End
from .process import end_process, first_error, piped

FIRST_PAUSE_S = 0.5  # before a restart
STALL_S = 10.0  # a live source silent for so long counts as dead


class GstSource(LiveSource):
    """Frames from a ``gst-launch-1.0`` that writes them to a pipe, restarted whenever it dies.

    A live source drops frames that are not taken in time. Other sources begin anew after a restart; frames already
    received are skipped, so none is lost or repeated. `size` is width and height in pixels, `fps` the frame rate for
    the sink; `frames` limits how many are taken, None takes all.
    """

    def __init__(self, end: End, size: Size, fps: Fraction, frames: int | None, patience: int, notify: Notify) -> None:
        super().__init__(
            SourceInfo(end.name, "video", *size, fps, frames, None, has_audio=False),
            newest_only=end.live,
            first_pause_s=FIRST_PAUSE_S,
            patience=patience,
            notify=notify,
        )
        self.starts = 0
        self._end, self._limit = end, frames
        self._process: subprocess.Popen[bytes] | None = None
        self._began = time.monotonic()

    def now(self) -> float:
        """Seconds since the source was made; the clock of its frame times."""
        return time.monotonic() - self._began

    def stop(self) -> None:
        """End the source now; frames already in the pipe still come."""
        super().stop()
        if self._process is not None:
            self._process.terminate()

    def close(self) -> None:
        """Stop, and wait for the process to end."""
        self.stop()
        if self._process is not None:
            end_process(self._process)
        super().close()

    def _attempt(self) -> Iterator[Frame]:
        """Yield the frames of one process."""
        self.starts += 1
        read_over = 0 if self._end.live else self.received
        with tempfile.TemporaryFile() as log:
            with piped(self._end.words, log, reads=False) as (process, pipe):
                self._process = process
                if self._stopped.is_set():  # stopped between check and start
                    process.terminate()
                while (image := self._read_frame(process, pipe)) is not None:
                    if read_over:
                        read_over -= 1
                        continue
                    yield Frame(image, self.now())
                    if self.received == self._limit:
                        return
                # A process that closes its pipe ends by itself: wait for its own exit code.
                with suppress(subprocess.TimeoutExpired):
                    process.wait(5)
            code, message = process.wait(), first_error(log)
        if self._stopped.is_set() or (code == 0 and not self._end.live):
            return
        ended = f"ended by signal {-code}" if code < 0 else f"ended with code {code}"
        why = f"{ended}: {message}" if message else ended
        if self.received == 0:
            raise InputError(f"the source {self._end.name} gives no picture ({why}): check it, or give another")
        raise SourceLost(why)

    def _read_frame(self, process: subprocess.Popen[bytes], pipe: FileIO) -> Image | None:
        image = np.empty((self.info.height, self.info.width, 3), np.uint8)
        rest = image.data.cast("B")
        while rest:
            if self._end.live and not select.select([pipe], [], [], STALL_S)[0]:
                process.kill()
                return None
            # An incomplete frame is dropped.
            count = pipe.readinto(rest)
            if not count:
                return None
            rest = rest[count:]
        return image
