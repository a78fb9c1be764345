"""Decodes, stylizes and encodes in parallel: the slowest stage sets the pace.

The stylizer runs in the caller's thread, where Ctrl-C arrives. Short queues bound the memory of a long video.
"""

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from queue import Empty, Full, Queue

from ..common.arrays import Image
from ..video.codecs import AS_EVER, Encoding
from ..video.frames import Frame, FrameSink, FrameSource, open_sink
from .stylizer import Stylizer

_LOOK_UP_S = 0.1
"""Seconds between a waiting stage's checks for a stop; a frame wakes it at once."""

_MOST_BYTES = 256_000_000
"""Most bytes of the frames that wait before a stage, of which there are two."""

_KEPT = 100_000
"""Least number of latest frame times that are kept, of at most twice as many: a camera may run for weeks."""


@dataclass
class RunReport:
    """Figures of a run."""

    frames: int = 0
    seconds: float = 0.0  # from the first frame asked for to the last one written
    fps: float = 0.0
    stylize_ms: list[float] = field(default_factory=list)  # of each frame in the stylizer; of the latest in a long run
    notes: list[str] = field(default_factory=list)  # sentences for the user; the sink adds its own until it is closed


class _Frames(Queue[Frame | None]):
    """A queue that is full with `maxsize` frames, or when one more of the last one's size would pass `_MOST_BYTES`."""

    def _qsize(self) -> int:
        waiting = [frame.image.nbytes for frame in self.queue if frame is not None]
        return self.maxsize if waiting and sum(waiting) + waiting[-1] > _MOST_BYTES else len(self.queue)


class _Run:
    """The threads of a run and their errors; the first error stops all stages."""

    def __init__(self) -> None:
        self.errors: list[BaseException] = []
        self._threads: list[threading.Thread] = []

    def put(self, queue: "Queue[Frame | None]", frame: Frame | None) -> bool:
        """Put when there is room; False if the run was stopped before."""
        while not self.errors:
            try:
                queue.put(frame, timeout=_LOOK_UP_S)
                return True
            except Full:
                continue
        return False

    def take(self, queue: "Queue[Frame | None]") -> Iterator[Frame]:
        """Give frames until None, which marks the end, or until the run is stopped."""
        while not self.errors:
            try:
                frame = queue.get(timeout=_LOOK_UP_S)
            except Empty:
                continue
            if frame is None:
                return
            yield frame

    def start(self, name: str, work: Callable[[], None]) -> None:
        """Do the work in a thread; its error stops the run."""

        def guarded() -> None:
            try:
                work()
            except BaseException as error:
                self.errors.append(error)

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        thread.start()
        self._threads.append(thread)

    def join(self) -> None:
        for thread in self._threads:
            thread.join()


def stylize_into(
    target: Path,
    source: FrameSource,
    stylizer: Stylizer,
    progress: Callable[[int, int | None], None],
    encoding: Encoding = AS_EVER,
) -> RunReport:
    """Stylize an open source into a file or a folder; Ctrl-C completes what comes from a camera.

    Raises InputError or OSError as `open_sink` and if writing fails; then nothing is written.
    """
    report, began = RunReport(), time.perf_counter()
    with open_sink(target, source, encoding=encoding) as sink:

        def on_progress(done: int, total: int | None) -> None:
            report.frames = done
            progress(done, total)

        try:
            return run(source, stylizer, sink, progress=on_progress)
        except KeyboardInterrupt:
            if source.info.kind != "camera":
                raise
            report.seconds = time.perf_counter() - began
            report.fps = report.frames / report.seconds
    return report


def run(
    source: FrameSource,
    stylizer: Callable[[Image], Image],
    sinks: FrameSink | None,
    *,
    on_frame: Callable[[Frame, Image], None] | None = None,
    progress: Callable[[int, int | None], None] | None = None,
    queue_size: int = 4,
) -> RunReport:
    """Stylize all frames of a source. Callbacks run in the caller's thread; the caller closes source and sinks.

    Args:
        stylizer: a `Stylizer`, or any function from a frame to a frame, each (H, W, 3) uint8 RGB.
        sinks: take the stylized frames with the times of their sources; None: frames are dropped.
        progress: called with the numbers of frames done and of all; None if the latter is unknown.
        queue_size: number of frames that may wait before each stage; of large ones fewer, at least one.

    Raises:
        BaseException: the first error of a stage, after all stages have ended.
    """
    shared = _Run()
    decoded, stylized = _Frames(queue_size), _Frames(queue_size)

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
    try:
        shared.start("decode", decode)
        if sinks is not None:
            shared.start("encode", partial(encode, sinks))
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
        shared.join()
    except BaseException as error:
        shared.errors.append(error)
        # Nothing may still read the source or write to the sink when the caller closes them.
        shared.join()
    if shared.errors:
        raise shared.errors[0]
    report.seconds = time.perf_counter() - began
    report.fps = report.frames / report.seconds
    size_note = stylizer.note(source.info.width, source.info.height) if isinstance(stylizer, Stylizer) else ""
    report.notes = sinks.notes if sinks is not None else []
    report.notes += [note for note in (size_note, source.note) if note]
    return report
