"""The live demo: a camera through a model into a window, styles switched by keys, the latency on the picture.

Reading has a thread (`capture.py`); stylizing, drawing and recording take turns in the caller's, so that nothing
competes with the engine while it is timed and Ctrl-C arrives where it is called. A model that is chosen is opened in
another thread while the one before goes on. The window (`window.py`) knows nothing of either.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from ..common.files import InputError, check_folder_writable
from ..runtimes.registry import bundled_models, open_stylizer
from ..runtimes.stylizer import Stylizer
from .capture import Capture
from .recorder import Recorder
from .window import Panel, Window

Image = NDArray[np.uint8]
View = Literal["split", "full", "side by side"]
VIEWS: tuple[View, ...] = ("split", "full", "side by side")

WARM_UP = 5  # calls that no figure counts, as in the benchmark
LIVE_S = 2.0  # the figures on the picture are of so many seconds
KEPT = 100_000  # latencies that the final figures are made of: the last hour at 25 frames a second
TICK_S = 0.05  # a key is answered within this even where no frame comes
MESSAGE_S = 3.0


@dataclass(frozen=True)
class ModelLatency:
    """How long one model took a frame.

    Attributes:
        model: its name.
        engine: what ran it.
        frames: number of calls that count, without the warm-up.
        median_ms: of the stylizer's call alone, as in the benchmark; None without frames.
        p90_ms: 90th percentile.
    """

    model: str
    engine: str
    frames: int
    median_ms: float | None
    p90_ms: float | None


@dataclass(frozen=True)
class CameraResult:
    """What a session did.

    Attributes:
        source: name of the camera or file.
        width: width of the last frame in pixels, as it was stylized; 0 without one.
        height: its height.
        seconds: from the first frame to the end, pauses included.
        received: number of frames that the source gave.
        shown: number of those that were stylized and shown.
        dropped: number of those that were left out because a newer one was there.
        paused: number of those that came during a pause.
        reopened: how often the camera was opened again after it had vanished.
        fps: frames shown a second.
        models: latency of each model that ran, in the order of their first frames.
        files: recordings and pictures.
        notes: sentences to show.
    """

    source: str
    width: int
    height: int
    seconds: float
    received: int
    shown: int
    dropped: int
    paused: int
    reopened: int
    fps: float
    models: list[ModelLatency]
    files: list[Path]
    notes: list[str]


class Meter:
    """Latency of one model: the last seconds for the screen, all of it for the result."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._warm_up = WARM_UP
        self._recent: deque[tuple[float, float]] = deque()
        self._all: deque[float] = deque(maxlen=KEPT)
        self.count = 0

    def warm_up(self) -> None:
        """Leave the next few calls out: the model comes back from a pause, or has a frame of a new size."""
        self._warm_up = WARM_UP

    def add(self, now: float, latency_ms: float) -> None:
        """Add a call that ended now (seconds of `time.monotonic`)."""
        if self._warm_up:
            self._warm_up -= 1
            return
        self.count += 1
        self._all.append(latency_ms)
        self._recent.append((now, latency_ms))
        while self._recent[0][0] < now - LIVE_S:
            self._recent.popleft()

    def recent(self) -> str:
        """Median and 90th percentile of the last seconds, as a text."""
        if not self._recent:
            return "– ms"
        median, p90 = np.percentile([ms for _, ms in self._recent], (50, 90))
        return f"{median:.1f} ms median, {p90:.1f} p90"

    def result(self, model: str, engine: str) -> ModelLatency:
        """The figures of all calls, those of the warm-up left out."""
        figures = np.percentile(list(self._all), (50, 90)) if self._all else (None, None)
        median, p90 = (None if figure is None else float(figure) for figure in figures)
        return ModelLatency(model, engine, self.count, median, p90)


class Styles:
    """The models to choose from; each is opened when it is first chosen, and stays open.

    Attributes:
        names: what people call them, in the order of the keys.
        current: index of the one that runs.
        stylizer: the one that runs.
    """

    def __init__(self, names: Sequence[str], open_model: Callable[[str], Stylizer]) -> None:
        """Open the first of some models; the caller closes all by leaving the `with` block.

        Raises:
            InputError: it cannot be opened.
        """
        self.names, self._open_model = list(names), open_model
        self.stylizer = open_model(self.names[0])
        self.current = self._wanted = 0
        self._opened = {0: self.stylizer}
        self._opening: tuple[int, Future[Stylizer]] | None = None
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="open-model")

    def choose(self, index: int) -> None:
        """Want a model; the one before runs on until it is open. An index outside wraps around."""
        self._wanted = index % len(self.names)

    def step(self, by: int) -> None:
        """Want the model that is so many places on."""
        self.choose(self._wanted + by)

    @property
    def engines(self) -> dict[int, str]:
        """What runs each model that is open, by index."""
        return {index: stylizer.engine for index, stylizer in self._opened.items()}

    @property
    def awaited(self) -> str:
        """The model that is being opened, or nothing."""
        return self.names[self._wanted] if self._wanted != self.current else ""

    def update(self) -> bool:
        """Take over the wanted model once it is open; whether another one runs now.

        Raises:
            InputError: it cannot be opened; the one before runs on.
        """
        if self._opening is not None and self._opening[1].done():
            index, future = self._opening
            self._opening = None
            try:
                self._opened[index] = future.result()
            except InputError:
                self._wanted = self.current
                raise
        if self._wanted == self.current:
            return False
        if self._wanted in self._opened:
            self.current, self.stylizer = self._wanted, self._opened[self._wanted]
            return True
        if self._opening is None:
            self._opening = self._wanted, self._executor.submit(self._open_model, self.names[self._wanted])
        return False

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close all models, one that is being opened too."""
        self._executor.shutdown(wait=True)
        if self._opening is not None and self._opening[1].exception() is None:
            self._opened[-1] = self._opening[1].result()
        for stylizer in self._opened.values():
            stylizer.close()


def compose(source: Image, stylized: Image, view: View, divider: float) -> Image:
    """Put source and stylized picture together.

    Args:
        source: (H, W, 3) uint8 RGB.
        stylized: of the same shape.
        view: "split": the source to the left of the divider; "side by side": twice as wide; "full": stylized alone.
        divider: 0 to 1, of the width.

    Returns:
        (H, W, 3) uint8 RGB, or (H, 2W, 3).
    """
    if view == "full":
        return stylized
    if view == "side by side":
        return np.hstack([source, stylized])
    column = round(divider * source.shape[1])
    both = stylized.copy()
    both[:, :column] = source[:, :column]
    both[:, max(0, column - 1) : column + 1] = 255
    return both


def model_names(first: Sequence[str]) -> list[str]:
    """The models to choose from: those that were asked for, then the other bundled ones."""
    return list(dict.fromkeys([*first, *(model.name for model in bundled_models())]))


def run_camera(
    source: str,
    output: Path,
    *,
    models: Sequence[str] = (),
    height: int = 360,
    loop: bool = False,
    threads: int | None = None,
    provider: str | None = None,
    seconds: float | None = None,
    frames: int | None = None,
) -> CameraResult:
    """Show a camera through a model until the person leaves, or Ctrl-C.

    Args:
        source: a camera ("0", "/dev/video0"), or a video file, which is played at its own pace.
        output: folder for recordings and pictures; it is made with the first of them.
        models: bundled names or artifact files, the first is shown first; the other bundled ones follow.
        height: a taller source is made this high, in pixels.
        loop: play a file again and again.
        threads: threads of the engine; None leaves the choice to it.
        provider: execution provider of the engine; None takes its default.
        seconds: leave after so many seconds.
        frames: leave after so many frames were shown.

    Raises:
        InputError: there is no display, the source or the first model cannot be opened, or `output` cannot be written.
        ModuleNotFoundError: pygame is not installed.
    """
    check_folder_writable(output)
    with ExitStack() as stack:
        styles = stack.enter_context(
            Styles(model_names(models), lambda name: open_stylizer(name, threads=threads, provider=provider))
        )
        capture = stack.enter_context(Capture(source, height=height, loop=loop))
        window = stack.enter_context(Window("steadystyle", capture.size))
        session = _Session(window, styles, capture, Recorder(output, capture.frame_rate))
        try:
            with suppress(KeyboardInterrupt):  # as good a way to leave as any
                session.run(seconds, frames)
        finally:
            session.stop_recording()
        return session.result()


@dataclass
class _Session:
    """One evening in front of the camera."""

    window: Window
    styles: Styles
    capture: Capture
    recorder: Recorder
    view: View = "split"
    divider: float = 0.5
    mirrored: bool = False
    paused: bool = False
    help: bool = False
    leaving: bool = False
    shown: int = 0
    skipped: int = 0
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._source: Image | None = None
        self._stylized: Image | None = None
        self._meters: dict[int, Meter] = {}
        self._times: deque[float] = deque()
        self._first = 0.0
        self._message, self._message_ends = "", 0.0
        self._recorded_view: View = self.view

    def run(self, seconds: float | None, frames: int | None) -> None:
        """Go round until somebody or something ends it."""
        began = time.monotonic()
        drawn = 0.0
        while not self.leaving:
            touched = self._obey()
            switched = self._switch()
            frame = self.capture.take(TICK_S)
            now = time.monotonic()
            if frame is not None and self.paused:
                self.skipped += 1
            elif frame is not None:
                self._take(np.ascontiguousarray(frame.image[:, ::-1]) if self.mirrored else frame.image)
            elif switched and self._source is not None:
                self._stylize(self._source)  # a picture that stands still, in the new style
            if (frame is not None and not self.paused) or touched or switched or now - drawn > 0.25:
                self._draw()
                drawn = now
            over = seconds is not None and now - began >= seconds
            done = frames is not None and self.shown >= frames
            if over or done or (self.capture.ended and frame is None):
                self.leaving = True

    def _take(self, image: Image) -> None:
        self._stylize(image)
        now = time.monotonic()
        self._first = self._first or now
        self.shown += 1
        self._times.append(now)
        while self._times[0] < now - LIVE_S:
            self._times.popleft()
        if self.recorder.running:
            self._guarded(lambda: self.recorder.add(self._composed(self._recorded_view), now))

    def _stylize(self, image: Image) -> None:
        index, stylizer = self.styles.current, self.styles.stylizer
        meter = self._meters.setdefault(index, Meter())
        if self._source is not None and self._source.shape != image.shape:
            meter.warm_up()
        begun = time.perf_counter()
        self._stylized = stylizer(image)
        meter.add(time.monotonic(), (time.perf_counter() - begun) * 1e3)
        self._source = image

    def _switch(self) -> bool:
        try:
            switched = self.styles.update()
        except InputError as error:
            self._say(str(error))
            self.notes.append(str(error))
            return False
        if switched:
            self._meters.setdefault(self.styles.current, Meter()).warm_up()
        return switched

    def _obey(self) -> bool:
        commands = list(self.window.commands())
        for command in commands:
            match command.name:
                case "quit":
                    self.leaving = True
                case "style":
                    if command.value < len(self.styles.names):
                        self.styles.choose(int(command.value))
                case "next style":
                    self.styles.step(1)
                case "previous style":
                    self.styles.step(-1)
                case "view":
                    self.view = VIEWS[(VIEWS.index(self.view) + 1) % len(VIEWS)]
                case "divider":
                    self.divider = command.value
                case "record":
                    self._record()
                case "pause":
                    self.paused = not self.paused
                    self._meters.setdefault(self.styles.current, Meter()).warm_up()
                case "picture" if self._source is not None:
                    self._guarded(
                        lambda: self._say(f"saved {self.recorder.picture(self._composed(self.view)).as_posix()}")
                    )
                case "mirror":
                    self.mirrored = not self.mirrored
                case "help":
                    self.help = not self.help
        return bool(commands)

    def _record(self) -> None:
        if self.recorder.running:
            self.stop_recording()
        else:
            self._recorded_view = self.view
            self._guarded(lambda: self.recorder.start(time.monotonic()))

    def stop_recording(self) -> None:
        """Finish the recording, if there is one."""

        def stop() -> None:
            path = self.recorder.stop(time.monotonic())
            if path is not None:
                self._say(f"saved {path.as_posix()}")

        self._guarded(stop)

    def _guarded(self, write: Callable[[], None]) -> None:
        """Do something to a file; where that fails, the show goes on and the person is told."""
        try:
            write()
        except (InputError, OSError) as error:
            sentence = f"nothing was saved: {error}"
            self._say(sentence)
            self.notes.append(sentence)

    def _say(self, sentence: str) -> None:
        self._message, self._message_ends = sentence, time.monotonic() + MESSAGE_S

    def _composed(self, view: View) -> Image:
        assert self._source is not None and self._stylized is not None
        return compose(self._source, self._stylized, view, self.divider)

    def _draw(self) -> None:
        now = time.monotonic()
        name = Path(self.styles.names[self.styles.current]).name
        trouble = self.capture.trouble
        message = f"{trouble}; Q leaves" if trouble else self._message if now < self._message_ends else ""
        if not message and self.styles.awaited:
            message = f"opening {self.styles.awaited}"
        if not message and self.paused:
            message = "paused: SPACE goes on"
        picture = None if self._source is None else self._composed(self.view)
        latency, fps = self._meter().recent(), self._fps(now)
        size = f"{self._source.shape[1]}×{self._source.shape[0]}" if self._source is not None else ""
        panel = Panel(
            lines=[
                f"{name}   {size}",
                self.styles.stylizer.engine,
                f"{latency}   {fps:.1f} fps   {self.capture.dropped} dropped",
            ],
            left="" if self.view == "full" else "source",
            right=name,
            divider=self.divider if self.view == "split" else 0.5,
            recording_s=self.recorder.seconds(now),
            message=message,
            styles=[Path(style).name for style in self.styles.names],
            style=self.styles.current,
            help=self.help,
        )
        recording, paused = "recording" if self.recorder.running else "", "paused" if self.paused else ""
        states = (name, latency, f"{fps:.0f} fps", self.view, recording, paused, trouble)
        self.window.draw(picture, panel, " | ".join(state for state in states if state))

    def _meter(self) -> Meter:
        return self._meters.setdefault(self.styles.current, Meter())

    def _fps(self, now: float) -> float:
        recent = [moment for moment in self._times if moment >= now - LIVE_S]
        span = now - max(now - LIVE_S, self._first)
        return len(recent) / span if span > 0.2 else 0.0

    def result(self) -> CameraResult:
        """What was done until now."""
        seconds = time.monotonic() - self._first if self._first else 0.0
        height, width = self._source.shape[:2] if self._source is not None else (0, 0)
        return CameraResult(
            source=self.capture.name,
            width=width,
            height=height,
            seconds=seconds,
            received=self.capture.received,
            shown=self.shown,
            dropped=self.capture.dropped,
            paused=self.skipped,
            reopened=self.capture.reopened,
            fps=self.shown / seconds if seconds else 0.0,
            models=[
                meter.result(self.styles.names[index], self.styles.engines[index])
                for index, meter in self._meters.items()
            ],
            files=self.recorder.files,
            notes=self.notes,
        )
