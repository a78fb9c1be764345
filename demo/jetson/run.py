"""GStreamer source, stylizer and GStreamer sink: three processes and two pipes of raw frames.

A source that dies is restarted after growing pauses while the sink waits; its incomplete frame is dropped. If this
process dies, the sink sees the end of its pipe and finishes the file.
"""

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np

from ...common.arrays import Size
from ...common.files import InputError, check_not_input
from ...common.machine import memory_mib, peak_memory_mib
from ...common.progress import Notify, Progress, no_notify, no_progress
from ...common.signals import stop_on_signal
from ...runtimes.look import Look
from ...runtimes.pipeline import run
from ...runtimes.registry import open_stylizer, resolve
from ...runtimes.stylizer import Stylizer
from ...video.frames import open_source
from ..requests import JetsonRequest
from .launch import Ends, board_of, check_elements, load_profiles, source_end
from .sink import GstSink
from .source import GstSource

MEMORY_MARKS = (500, 2000)


@dataclass
class LiveReport:
    """What a run did; of live sources only are `dropped` and `repeated` above 0."""

    board: str
    source: str
    sink: str
    model: str
    engine: str  # with its version, provider and threads
    width: int  # of the frames, in pixels
    height: int
    warm_up_s: float = 0.0  # to open the model and stylize one empty frame, including TensorRT's engine build
    frames_in: int = 0  # complete frames from the source
    dropped: int = 0  # of these, those that a newer one replaced
    frames_out: int = 0  # stylized frames sent to the sink
    repeated: int = 0  # frames sent again to keep the pace of a recording
    restarts: int = 0  # of the source
    seconds: float = 0.0  # from the start of the source to the end of the sink
    fps: float = 0.0  # stylized frames per second over that time
    latency_ms: dict[str, float] = field(default_factory=dict)  # from receiving a frame to writing it; median and p99
    stylize_ms: dict[str, float] = field(default_factory=dict)  # of the stylizer alone; median and p99
    peak_memory_mib: float = 0.0  # resident memory of this process, without GStreamer's two
    memory_mib: dict[int, float] = field(default_factory=dict)  # resident memory by number of frames done
    complete: bool = True  # False if the source did not come back, or one that is not live was interrupted
    interrupted: bool = False  # by Ctrl-C or SIGTERM
    notes: list[str] = field(default_factory=list)


def run_live(
    request: JetsonRequest,
    *,
    threads: int | None = None,
    provider: str | None = None,
    notify: Notify = no_notify,
    progress: Progress = no_progress,
) -> LiveReport:
    """Stylize a source into a sink until the source ends, enough frames are done, or Ctrl-C or SIGTERM comes.

    `threads` and `provider` are those of `open_best`; `progress` is called with "live" and numbers of frames. Raises
    InputError for an invalid argument, a missing GStreamer or element, a source without picture, or a failing sink.
    """
    profiles = load_profiles(request.config)
    board = board_of(profiles, request.board)
    own_source, own_sink = request.source_elements, request.sink_elements
    kind, address = ("elements", "") if own_source is not None else source_end(board, request.source)
    sink = request.sink or ("elements" if own_sink is not None else "null" if request.headless else "display")
    if request.headless and sink.startswith("display"):
        raise InputError("--headless and --sink display exclude each other: leave one out")
    if sink.startswith("file:") and own_sink is None:
        check_not_input(Path(sink.removeprefix("file:")), address if kind == "file" else None, request.model)
    size, own_rate, note = frame_size(request.size, Path(address) if kind == "file" else None)
    rate = (request.fps or own_rate or Fraction(30)).limit_denominator(1001)
    ends = Ends(profiles, board, size, rate)
    start, end = ends.source(kind, address, own_source, live=request.live), ends.sink(sink, own_sink)
    check_elements([*start.words, "!", *end.words], profiles["packages"])
    began = time.monotonic()
    with open_best(
        request.model, threads=threads, provider=provider, engine_cache=request.engine_cache, look=request.look
    ) as stylizer:
        stylizer(np.zeros((size[1], size[0], 3), np.uint8))
        report = LiveReport(board["name"], start.name, end.name, stylizer.metadata.name, stylizer.engine, *size)
        report.warm_up_s = time.monotonic() - began
        taps = GstSource(start, size, rate, request.frames, request.restarts, notify)
        drain = GstSink(
            end, lambda path: ends.sink(f"file:{path}", own_sink).words, taps.now, rate if start.live else None
        )
        with taps, drain, stop_on_signal(taps.stop) as interrupted:

            def on_progress(count: int, total: int | None) -> None:
                if count in MEMORY_MARKS:
                    report.memory_mib[count] = memory_mib()
                progress("live", count, total)

            before = taps.now()
            done = run(taps, stylizer, drain, progress=on_progress, queue_size=1 if start.live else 4)
        report.seconds = taps.now() - before
    report.frames_in, report.dropped, report.restarts = taps.received, taps.dropped + drain.skipped, taps.starts - 1
    report.frames_out, report.repeated = done.frames - drain.skipped, drain.repeated
    report.fps = report.frames_out / report.seconds
    report.latency_ms, report.stylize_ms = _percentiles(drain.latencies_ms), _percentiles(done.stylize_ms)
    report.peak_memory_mib = peak_memory_mib()
    report.interrupted = interrupted.is_set()
    report.complete = not taps.lost and not (report.interrupted and not start.live)
    report.notes = [text for text in (note, *done.notes) if text]
    return report


def _percentiles(milliseconds: Sequence[float]) -> dict[str, float]:
    ordered = np.asarray(milliseconds, np.float64)
    return {"median": float(np.median(ordered)), "p99": float(np.percentile(ordered, 99))} if ordered.size else {}


def frame_size(asked: Size | None, path: Path | None) -> tuple[Size, Fraction | None, str]:
    """Frame size on the pipes, the frame rate of a file, and a note for the user.

    Widths are multiples of 4, because GStreamer pads RGB rows to 4 bytes; heights are even, because H.264 requires it.
    `asked` is width and height in pixels; None is that of the file, else 640 x 360.
    Raises InputError if `asked` violates this, or the file cannot be read.
    """
    rate, own, note = None, (640, 360), ""
    if path is not None:
        with open_source(path) as clip:
            info = clip.info
        rate, own = info.frame_rate, (max(4, round(info.width / 4) * 4), max(2, round(info.height / 2) * 2))
        if asked is None and own != (info.width, info.height):
            note = f"the source is scaled from {info.width}x{info.height} to {own[0]}x{own[1]}"
    size = asked or own
    if size[0] % 4 or size[1] % 2 or min(size) < 2:
        near = f"{max(4, round(size[0] / 4) * 4)}x{max(2, round(size[1] / 2) * 2)}"
        raise InputError(f"{size[0]}x{size[1]} does not divide by 4 (width) and 2 (height): give --size {near}")
    return size, rate, note


def open_best(
    model: str,
    *,
    provider: str | None = None,
    threads: int | None = None,
    engine_cache: Path | None = None,
    look: Look | None = None,
) -> Stylizer:
    """Open a model as `open_stylizer` does, with its errors, on the best provider: TensorRT, else CUDA, else the CPU.

    `provider` takes this one only; `engine_cache` is a folder for TensorRT engines.
    """
    path, own_provider = resolve(model)
    wanted = provider or own_provider
    if wanted is None and path.suffix.lower() == ".onnx":
        for name in ("tensorrt", "cuda"):
            with suppress(InputError):
                return open_stylizer(path, threads=threads, provider=name, engine_cache=engine_cache, look=look)
        wanted = "cpu"
    return open_stylizer(path, threads=threads, provider=wanted, engine_cache=engine_cache, look=look)
