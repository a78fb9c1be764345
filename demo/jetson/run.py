"""A source that is started again when it dies, a stylizer, and a sink that goes on: three processes and two pipes.

Two ``gst-launch-1.0`` stand on both sides of this process. A source that crashes is a process that ends: it is started
again, after a pause that grows, while the sink waits. The pipes carry raw frames of one size, and nothing else; a frame
that breaks off with its source is thrown away. Where this process dies itself, its sink sees the end of the pipe and
finishes the file.
"""

import os
import re
import select
import signal
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from io import FileIO
from pathlib import Path
from types import FrameType
from typing import IO

import numpy as np
from numpy.typing import NDArray

from ...common.files import InputError, atomic_path, check_not_input
from ...runtimes.pipeline import run
from ...runtimes.registry import open_stylizer, resolve
from ...runtimes.stylizer import Stylizer
from ...video.frames import Frame, FrameSink, FrameSource, SourceInfo, open_source
from .launch import (
    LAUNCH,
    End,
    board_of,
    check_elements,
    load_profiles,
    own_source,
    sink_words,
    source_end,
    source_words,
)

Image = NDArray[np.uint8]
Say = Callable[[str], None]

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 8.0
"""Before a source is started again; doubled each time that it gives no frame."""

STALL_S = 10.0
"""A live source that gives nothing for so long is taken for dead."""

FINISH_S = 60.0
"""A sink has so long to write its index."""

LATENCIES = 10_000
"""The report's latencies are those of so many frames at the end, so that a run of weeks needs no more memory."""

MEMORY_MARKS = (500, 2000)
PROVIDERS = ("tensorrt", "cuda", "cpu")
"""The order in which ONNX Runtime's are tried where none is asked for."""


@dataclass
class LiveReport:
    """What a run did.

    Attributes:
        board: name of the profile.
        source: what the frames came from.
        sink: where they went.
        model: name of the model.
        engine: engine, its version, provider and threads.
        width: of the frames, in pixels.
        height: of the frames, in pixels.
        warm_up_s: time to open the model and stylize one empty frame; TensorRT builds its engine in it.
        frames_in: whole frames that came out of the source.
        dropped: of these, those that a newer one overtook (live sources only).
        frames_out: stylized frames that went to the sink.
        repeated: frames that the sink got once more, so that a live recording keeps its pace (live sources only).
        restarts: how often the source was started again.
        seconds: from the start of the source to the end of the sink.
        fps: stylized frames a second over that time.
        latency_ms: median and p99 of the time from a whole frame here to its stylized frame in the sink's hands.
        stylize_ms: median and p99 of the stylizer alone.
        peak_memory_mib: largest resident memory of this process; GStreamer's two are not in it.
        memory_mib: resident memory after so many frames.
        complete: whether the run came to its own end; not when it was interrupted, or the source did not come back.
        interrupted: whether it was by Ctrl-C or SIGTERM.
        notes: sentences that a person should read.
    """

    board: str
    source: str
    sink: str
    model: str
    engine: str
    width: int
    height: int
    warm_up_s: float = 0.0
    frames_in: int = 0
    dropped: int = 0
    frames_out: int = 0
    repeated: int = 0
    restarts: int = 0
    seconds: float = 0.0
    fps: float = 0.0
    latency_ms: dict[str, float] = field(default_factory=dict)
    stylize_ms: dict[str, float] = field(default_factory=dict)
    peak_memory_mib: float = 0.0
    memory_mib: dict[int, float] = field(default_factory=dict)
    complete: bool = True
    interrupted: bool = False
    notes: list[str] = field(default_factory=list)


class GstSource(FrameSource):
    """Frames from a ``gst-launch-1.0`` that writes them to a pipe, started again whenever it dies.

    A source that is not live begins anew when it is started again: the frames that were taken already are read over, so
    that none is lost and none comes twice.

    Args:
        end: the source.
        size: width and height of its frames, in pixels.
        fps: frames a second, as the sink counts them.
        frames: take so many; None takes all.
        patience: how many starts in a row may give no frame.
        say: told in one sentence when it is started again.
    """

    def __init__(
        self, end: End, size: tuple[int, int], fps: Fraction, frames: int | None, patience: int, say: Say
    ) -> None:
        self.info = SourceInfo(end.name, "video", *size, fps, frames, None, has_audio=False)
        self.taken = self.dropped = self.restarts = 0
        self.lost = False
        self._end, self._limit, self._patience, self._say = end, frames, patience, say
        self._stopped = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._began = time.monotonic()

    def now(self) -> float:
        """Seconds since the source was made; the clock of its frames' times."""
        return time.monotonic() - self._began

    def stop(self) -> None:
        """End the source now; the frames that are on their way still come."""
        self._stopped.set()
        if self._process is not None:
            self._process.terminate()

    def close(self) -> None:
        """Stop, and wait for the process to be gone."""
        self.stop()
        if self._process is not None:
            _end_process(self._process)

    def _frames(self) -> Iterator[Frame]:
        return self._newest() if self._end.live else self._all()

    def _newest(self) -> Iterator[Frame]:
        """The newest frame whenever one is asked for; those that nobody asked for in time are dropped."""
        slot: deque[Frame] = deque(maxlen=1)
        changed = threading.Condition()
        ended = False
        error: BaseException | None = None

        def grab() -> None:
            nonlocal ended, error
            try:
                for frame in self._all():
                    with changed:
                        self.dropped += len(slot)
                        slot.append(frame)
                        changed.notify()
            except BaseException as found:
                error = found
            with changed:
                ended = True
                changed.notify()

        threading.Thread(target=grab, name="grab", daemon=True).start()
        while True:
            with changed:
                changed.wait_for(lambda: bool(slot) or ended)
                if not slot:
                    break
                frame = slot.popleft()
            yield frame
        if error is not None:
            raise error

    def _all(self) -> Iterator[Frame]:
        fruitless = 0
        while not self._stopped.is_set():
            before = self.taken
            with tempfile.TemporaryFile() as log:
                yield from self._one_start(0 if self._end.live else before, log)
                process = self._process
                if self._stopped.is_set() or process is None or self.taken == self._limit:
                    return
                code, message = process.wait(), _first_error(log)
            if code == 0 and not self._end.live:
                return
            ended = f"ended by signal {-code}" if code < 0 else f"ended with code {code}"
            why = f"{ended}: {message}" if message else ended
            if self.taken == 0:
                raise InputError(f"the source {self._end.name} gives no picture ({why}): check it, or give another")
            fruitless = 0 if self.taken > before else fruitless + 1
            if fruitless >= self._patience:
                self.lost = True
                self.note = f"the source did not come back after {fruitless} starts ({why})"
                return
            pause = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**fruitless)
            self._say(f"the source {why}; it is started again in {pause:.1f} s")
            if self._stopped.wait(pause):
                return
            self.restarts += 1

    def _one_start(self, read_over: int, log: IO[bytes]) -> Iterator[Frame]:
        """The frames of one process, from its start to its end or ours."""
        with _piped(self._end.words, log, reads=False) as (process, pipe):
            self._process = process
            if self._stopped.is_set():  # between the check and the start
                process.terminate()
            count = 0
            while (image := self._read(pipe)) is not None:
                count += 1
                if count <= read_over:
                    continue
                self.taken += 1
                yield Frame(image, self.now())
                if self.taken == self._limit:
                    return
            # What closes its pipe ends by itself, and how it does is to be known.
            with suppress(subprocess.TimeoutExpired):
                process.wait(5)

    def _read(self, pipe: FileIO) -> Image | None:
        image = np.empty((self.info.height, self.info.width, 3), np.uint8)
        rest = image.data.cast("B")
        while rest:
            if self._end.live and not select.select([pipe], [], [], STALL_S)[0]:
                if self._process is not None:
                    self._process.kill()
                return None
            # None of it is kept where the source ends within a frame.
            count = pipe.readinto(rest)
            if not count:
                return None
            rest = rest[count:]
        return image


class GstSink(FrameSink):
    """Gives frames to a ``gst-launch-1.0`` that reads them from a pipe.

    Args:
        end: the sink; its address is the file to write where it is one.
        make_words: gives the sink's words for a temporary file in place of its address.
        clock: the clock of the frames' times.
        pace: frames a second that a live recording keeps, by repeating frames; None writes each frame once.
    """

    def __init__(
        self, end: End, make_words: Callable[[str], Sequence[str]], clock: Callable[[], float], pace: Fraction | None
    ) -> None:
        super().__init__(Path(end.address or end.name))
        self.repeated = self.skipped = 0
        self.latencies_ms: deque[float] = deque(maxlen=LATENCIES)
        self._clock, self._pace = clock, pace
        self._written, self._first_s = 0, 0.0
        words: Sequence[str] = end.words
        with ExitStack() as stack:
            if end.kind == "file":
                words = make_words(str(stack.enter_context(atomic_path(self._target))))
            self._log = stack.enter_context(tempfile.TemporaryFile())
            self._process, self._pipe = stack.enter_context(_piped(words, self._log, reads=True))
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

    def _hand_over(self, data: memoryview) -> None:
        rest = data
        try:
            while rest:
                rest = rest[self._pipe.write(rest) :]
        except BrokenPipeError as error:
            raise self._failed() from error

    def _failed(self) -> InputError:
        code = _end_process(self._process)
        message = _first_error(self._log) or f"it ended with code {code}"
        return InputError(f"the sink {self._target} failed ({message}): check it, or give another")

    def _finish(self) -> None:
        self._pipe.close()  # the end of the stream, after which the file's index is written
        if self._process.wait(FINISH_S) != 0:
            raise self._failed()

    def _give_up(self) -> None:
        _end_process(self._process)


@contextmanager
def _piped(words: Sequence[str], log: IO[bytes], *, reads: bool) -> Iterator[tuple[subprocess.Popen[bytes], FileIO]]:
    """A gst-launch with a pipe to it or from it; gone at the end of the block, whatever happens.

    The pipe is one of its own, because some elements print to stdout. The process has a session of its own, so that
    Ctrl-C reaches us alone, who then end it in good order.
    """
    reading, writing = os.pipe()
    theirs, ours = (reading, writing) if reads else (writing, reading)
    command = [LAUNCH, "-q", *(["-e"] if reads else []), *(word.replace("{fd}", str(theirs)) for word in words)]
    with FileIO(ours, "w" if reads else "r") as pipe:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[theirs],
                start_new_session=True,
            )
        finally:
            os.close(theirs)
        try:
            yield process, pipe
        finally:
            _end_process(process)


def _end_process(process: subprocess.Popen[bytes]) -> int:
    """End a process that may have ended; its exit code."""
    process.terminate()
    try:
        return process.wait(2)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _first_error(log: IO[bytes]) -> str:
    """What GStreamer complained of first; empty where it did not."""
    log.seek(0)
    for line in log.read(2**16).decode(errors="replace").splitlines():
        found = re.match(r"(?:ERROR|WARNING): (?:from element \S*?(\w+): |erroneous pipeline: )?(.+)", line)
        if found:
            return f"{found[1]}: {found[2]}" if found[1] else found[2]
    return ""


def frame_size(asked: tuple[int, int] | None, path: Path | None) -> tuple[tuple[int, int], Fraction | None, str]:
    """Size of the frames on the pipes, the frame rate of a file, and what a person should know of it.

    GStreamer pads rows of RGB to four bytes, so that only widths that divide by four have none; H.264 wants even
    heights.

    Args:
        asked: width and height in pixels; None is that of the file, or 640 x 360.
        path: of the file, where the source is one.

    Raises:
        InputError: the size that was asked for does not do, or the file cannot be read.
    """
    rate, own, note = None, (640, 360), ""
    if path is not None:
        with open_source(path) as clip:
            info = clip.info
        rate, own = info.frame_rate, (max(4, round(info.width / 4) * 4), max(2, round(info.height / 2) * 2))
        if asked is None and own != (info.width, info.height):
            note = f"the source is {info.width}x{info.height}: its frames are made {own[0]}x{own[1]}"
    size = asked or own
    if size[0] % 4 or size[1] % 2 or min(size) < 2:
        near = f"{max(4, round(size[0] / 4) * 4)}x{max(2, round(size[1] / 2) * 2)}"
        raise InputError(f"a size of {size[0]}x{size[1]} does not do (width by 4, height by 2): give --size {near}")
    return size, rate, note


def open_best(
    model: str, *, provider: str | None = None, threads: int | None = None, engine_cache: Path | None = None
) -> Stylizer:
    """Open a model on the best that the machine has: TensorRT, else CUDA, else the CPU.

    Args:
        model: as for `open_stylizer`.
        provider: takes this one and no other.
        threads: of the engine.
        engine_cache: folder for TensorRT's engines.

    Raises:
        InputError: as `open_stylizer`.
    """
    path, own_provider = resolve(model)
    if path.suffix.lower() != ".onnx" or (provider or own_provider) not in (None, *PROVIDERS):
        return open_stylizer(model, threads=threads, provider=provider)
    wanted = provider or own_provider
    for name in (wanted,) if wanted else PROVIDERS:
        try:
            return open_stylizer(path, threads=threads, provider=name, engine_cache=engine_cache)
        except InputError:
            if name in (wanted, PROVIDERS[-1]):
                raise
    raise AssertionError("the last provider opens or raises")


def run_live(
    source: str | None,
    sink: str,
    model: str,
    *,
    board: str | None = None,
    config: Path | None = None,
    source_elements: str | None = None,
    sink_elements: str | None = None,
    live: bool = False,
    size: tuple[int, int] | None = None,
    fps: Fraction | None = None,
    frames: int | None = None,
    patience: int = 20,
    provider: str | None = None,
    threads: int | None = None,
    engine_cache: Path | None = None,
    say: Say = lambda sentence: None,
    progress: Callable[[int, int | None], None] | None = None,
) -> LiveReport:
    """Stylize a source into a sink until the source ends, so many frames are done, or Ctrl-C or SIGTERM comes.

    Args:
        source: as for `source_end`; None is the board's usual one.
        sink: as for `sink_words`.
        model: name of a bundled model, or an artifact file.
        board: name of a profile; None is what this machine is.
        config: a file of profiles over those of the package.
        source_elements: a user's own source, in place of the board's.
        sink_elements: a user's own sink, in place of the board's.
        live: whether `source_elements` is live.
        size: width and height of the frames in pixels; None is a file's own, or 640 x 360.
        fps: frames a second; None is a file's own, or 30.
        frames: stop after so many frames of the source.
        patience: so many starts of the source in a row may give no frame before the run ends.
        provider: of ONNX Runtime; None is the best that there is.
        threads: of the engine.
        engine_cache: folder for TensorRT's engines.
        say: told in one sentence what happens on the way.
        progress: called with the number of frames done, and of all.

    Returns:
        What was done, how fast, and how late.

    Raises:
        InputError: any of these does not fit, GStreamer or an element is missing, the source gives no picture at all,
            or the sink fails.
    """
    profiles = load_profiles(config)
    profile = board_of(profiles, board)
    kind, address = ("elements", "") if source_elements is not None else source_end(profile, source)
    is_file = kind == "file" and source_elements is None
    if sink.startswith("file:") and sink_elements is None:
        check_not_input(Path(sink.removeprefix("file:")), address if is_file else None, model)
    size, own_rate, note = frame_size(size, Path(address) if is_file else None)
    rate = (fps or own_rate or Fraction(30)).limit_denominator(1001)
    if source_elements is not None:
        start = own_source(profiles, source_elements, size, rate, live=live)
    else:
        start = source_words(profiles, profile, kind, address, size, rate)

    def words_to(target: str) -> list[str]:
        return sink_words(profiles, profile, f"file:{target}", size, rate, sink_elements).words

    end = sink_words(profiles, profile, sink, size, rate, sink_elements)
    check_elements([*start.words, "!", *end.words], profiles["packages"])
    began = time.monotonic()
    with open_best(model, provider=provider, threads=threads, engine_cache=engine_cache) as stylizer:
        stylizer(np.zeros((size[1], size[0], 3), np.uint8))
        report = LiveReport(
            profile["name"], start.name, end.name, stylizer.metadata.name, stylizer.engine, *size, notes=[note]
        )
        report.warm_up_s = time.monotonic() - began
        taps = GstSource(start, size, rate, frames, patience, say)
        with taps, GstSink(end, words_to, taps.now, rate if start.live else None) as drain, _ends(taps) as interrupted:

            def on_frame(frame: Frame, image: Image) -> None:
                report.frames_out += 1
                if report.frames_out in MEMORY_MARKS:
                    report.memory_mib[report.frames_out] = _memory_mib("VmRSS")

            before = taps.now()
            done = run(taps, stylizer, drain, on_frame=on_frame, progress=progress, queue_size=1 if start.live else 4)
        report.seconds = taps.now() - before
    report.frames_in, report.dropped, report.restarts = taps.taken, taps.dropped + drain.skipped, taps.restarts
    report.frames_out -= drain.skipped
    report.repeated = drain.repeated
    report.fps = report.frames_out / report.seconds
    report.latency_ms, report.stylize_ms = _percentiles(drain.latencies_ms), _percentiles(done.stylize_ms)
    report.peak_memory_mib = _memory_mib("VmHWM")
    report.interrupted = interrupted.is_set()
    report.complete = not taps.lost and not (report.interrupted and not start.live)
    report.notes = [text for text in (*report.notes, *done.notes) if text]
    return report


@contextmanager
def _ends(source: GstSource) -> Iterator[threading.Event]:
    """Ctrl-C and SIGTERM end the source, after which all ends in order; the second one is as ever."""
    interrupted = threading.Event()
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def end(number: int, frame: FrameType | None) -> None:
        interrupted.set()
        restore()
        source.stop()

    for number in numbers:
        signal.signal(number, end)
    try:
        yield interrupted
    finally:
        restore()


def _percentiles(milliseconds: Sequence[float]) -> dict[str, float]:
    ordered = np.asarray(milliseconds, np.float64)
    return {"median": float(np.median(ordered)), "p99": float(np.percentile(ordered, 99))} if ordered.size else {}


def _memory_mib(figure: str) -> float:
    """Resident memory of this process, in MiB: now (``VmRSS``) or at its largest (``VmHWM``)."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{figure}:"):
            return int(line.split()[1]) / 1024
    raise OSError(f"the kernel tells no {figure}")
