"""Decode | stylize | encode, side by side: the slowest of the three sets the pace.

Decoding and encoding have a thread each, stylizing stays in the caller's, so that Ctrl-C arrives where the engine is
called. The queues between them are short, so that memory does not grow with the length of a video.
"""

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from queue import Empty, Full, Queue

from ..common.arrays import Image
from ..video.frames import Frame, FrameSink, FrameSource
from .stylizer import Stylizer

_LOOK_UP_S = 0.1
"""How often a waiting stage looks whether the run was stopped; it wakes at once when there is a frame to work on."""

_KEPT = 100_000
"""So many frames' times are kept at least, and at most twice as many: a camera may run for weeks."""


@dataclass
class RunReport:
    """What a run did.

    Attributes:
        frames: number of frames that were stylized.
        seconds: from the first frame asked for to the last one written, in seconds.
        fps: frames per second over that time.
        stylize_ms: time of each frame in the stylizer alone, in milliseconds; of the latest ones, where there are very
            many.
        notes: sentences that a person should read, for instance that a file breaks off.
    """

    frames: int = 0
    seconds: float = 0.0
    fps: float = 0.0
    stylize_ms: list[float] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class _Run:
    """What the stages of one run share: whether to stop, and the first error."""

    def __init__(self) -> None:
        self._stopped = threading.Event()
        self._error: BaseException | None = None
        self._lock = threading.Lock()

    def stop(self, error: BaseException) -> None:
        """Stop all stages; the first error is the one that `raise_error` raises."""
        with self._lock:
            if self._error is None:
                self._error = error
            self._stopped.set()

    def raise_error(self) -> None:
        """Raise what stopped the run, if anything did."""
        if self._error is not None:
            raise self._error

    def put(self, queue: "Queue[Frame | None]", frame: Frame | None) -> bool:
        """Put when there is room; False when the run was stopped before."""
        while not self._stopped.is_set():
            try:
                queue.put(frame, timeout=_LOOK_UP_S)
                return True
            except Full:
                continue
        return False

    def take(self, queue: "Queue[Frame | None]") -> Iterator[Frame]:
        """Give frames until None, the mark of the end, or until the run is stopped."""
        while not self._stopped.is_set():
            try:
                frame = queue.get(timeout=_LOOK_UP_S)
            except Empty:
                continue
            if frame is None:
                return
            yield frame

    def start(self, name: str, work: Callable[[], None]) -> threading.Thread:
        """Do the work in a thread; its error stops the run."""

        def guarded() -> None:
            try:
                work()
            except BaseException as error:
                self.stop(error)

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        thread.start()
        return thread


def run(
    source: FrameSource,
    stylizer: Callable[[Image], Image],
    sinks: FrameSink | None,
    *,
    on_frame: Callable[[Frame, Image], None] | None = None,
    progress: Callable[[int, int | None], None] | None = None,
    queue_size: int = 4,
) -> RunReport:
    """Stylize all frames of a source.

    Args:
        source: where the frames come from; the caller closes it.
        stylizer: a `Stylizer`, or any function from a frame to a frame, each (H, W, 3) uint8 RGB.
        sinks: where the stylized frames go, with the times of their sources; the caller closes it. None: nowhere.
        on_frame: called in the caller's thread with each frame and its stylized image.
        progress: called in the caller's thread with the number of frames done and of all, as far as it is known.
        queue_size: number of frames that may wait before each stage.

    Returns:
        What was done, how fast, and what a person should be told.

    Raises:
        BaseException: whatever a stage raised first; the other stages have ended by then.
    """
    shared = _Run()
    decoded: Queue[Frame | None] = Queue(queue_size)
    stylized: Queue[Frame | None] = Queue(queue_size)

    def decode() -> None:
        for frame in source:
            if not shared.put(decoded, frame):
                return
        shared.put(decoded, None)

    def encode(sink: FrameSink) -> None:
        for frame in shared.take(stylized):
            sink.write(frame)

    report = RunReport()
    began = time.perf_counter()
    threads: list[threading.Thread] = []
    try:
        threads.append(shared.start("decode", decode))
        if sinks is not None:
            sink = sinks
            threads.append(shared.start("encode", lambda: encode(sink)))
        for frame in shared.take(decoded):
            before = time.perf_counter()
            image = stylizer(frame.image)
            report.stylize_ms.append((time.perf_counter() - before) * 1e3)
            if len(report.stylize_ms) > 2 * _KEPT:
                del report.stylize_ms[:_KEPT]
            if sinks is not None:
                shared.put(stylized, dataclasses.replace(frame, image=image))
            if on_frame is not None:
                on_frame(frame, image)
            report.frames += 1
            if progress is not None:
                progress(report.frames, source.info.frames)
        shared.put(stylized, None)
        for thread in threads:
            thread.join()
    except BaseException as error:
        shared.stop(error)
        # Nothing may still read the source or write to the sink when the caller closes them.
        for thread in threads:
            thread.join()
    shared.raise_error()
    report.seconds = time.perf_counter() - began
    report.fps = report.frames / report.seconds
    size_note = stylizer.note(source.info.width, source.info.height) if isinstance(stylizer, Stylizer) else ""
    report.notes = [note for note in (size_note, source.note) if note]
    return report
