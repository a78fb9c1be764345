"""The camera loop: take the newest frame, stylize, draw and record it, handle keys.

Only reading has its own thread (`source.py`): nothing else competes with the timed engine, and the caller gets Ctrl-C.
"""

import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ...common.arrays import Image
from ...common.files import InputError, check_folder_writable
from ...runtimes.look import Look, Only
from ...runtimes.look.painted import with_look
from ...runtimes.registry import open_stylizer
from ...runtimes.stylizer import Stylizer
from ..requests import FIRST_DEVICE, CameraRequest
from .recorder import Recorder
from .report import LIVE_S, CameraResult, Meter
from .source import Capture
from .styles import Styles, model_names
from .view import VIEWS, View, compose
from .virtual import VirtualCamera, find_device
from .window import Panel, Window

TICK_S = 0.05  # longest wait for a frame, so that keys are answered
MESSAGE_S = 3.0
STROKES = (0.5, 1.0, 1.5, 2.0, 3.0)
ONLY: tuple[Only | None, ...] = (None, "person", "background")


def run_camera(request: CameraRequest, *, threads: int | None = None, provider: str | None = None) -> CameraResult:
    """Show a camera through a model until the user quits or presses Ctrl-C.

    Raises InputError without a display, or if the source or the first model cannot be opened or the output folder is
    not writable; ModuleNotFoundError without pygame.
    """
    check_folder_writable(request.output)
    with ExitStack() as stack:
        styles = stack.enter_context(
            Styles(model_names(request.models), lambda name: open_stylizer(name, threads=threads, provider=provider))
        )
        capture = stack.enter_context(Capture(request.source, height=request.height, loop=request.loop))
        virtual = None
        if request.virtual is not None:
            device = find_device() if request.virtual == FIRST_DEVICE else Path(request.virtual)
            size = capture.info.width, capture.info.height
            virtual = stack.enter_context(VirtualCamera(device, size, capture.info.frame_rate))
        window = stack.enter_context(closing(Window("steadystyle", (capture.info.width, capture.info.height))))
        recorder = Recorder(request.output, capture.info.frame_rate)
        session = _Session(window, styles, capture, recorder, request.look, with_look(styles.stylizer, request.look))
        session.virtual = virtual
        try:
            with suppress(KeyboardInterrupt):  # a normal way to quit
                session.run(request.seconds, request.frames)
        finally:
            session.stop_recording()
        return session.result()


@dataclass
class _Session:
    window: Window
    styles: Styles
    capture: Capture
    recorder: Recorder
    look: Look
    stylizer: Stylizer  # the chosen style with this look
    virtual: VirtualCamera | None = None
    view: View = "split"
    divider: float = 0.5
    mirrored: bool = False
    paused: bool = False
    help: bool = False
    leaving: bool = False
    shown: int = 0
    skipped: int = 0
    notes: list[str] = field(default_factory=list)
    _recorded_view: View = "split"
    _source: Image | None = None
    _stale: bool = False  # whether style or look changed since the last stylized frame
    _stylized: Image | None = None
    _meters: dict[int, Meter] = field(default_factory=dict)
    _times: deque[float] = field(default_factory=deque)
    _first: float = 0.0
    _message: str = ""
    _message_ends: float = 0.0

    def run(self, seconds: float | None, frames: int | None) -> None:
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
            if self._stale and self._source is not None:
                self._stylize(self._source)  # no new frame: the last one in the new style or look
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
        if self.virtual is not None and self._stylized is not None:
            try:
                self.virtual.write(self._stylized)
            except OSError as error:
                self.virtual = None
                self._complain(f"the virtual camera is gone: {error.strerror or error}")
        if self.recorder.running:
            self._save(lambda: self.recorder.add(self._composed(self._recorded_view), now))

    def _stylize(self, image: Image) -> None:
        meter = self._meter()
        if self._source is not None and self._source.shape != image.shape:
            meter.warm_up()
        begun = time.perf_counter()
        self._stylized = self.stylizer(image)
        meter.add(time.monotonic(), (time.perf_counter() - begun) * 1e3)
        self._source, self._stale = image, False

    def _switch(self) -> bool:
        try:
            switched = self.styles.update()
        except InputError as error:
            self._complain(str(error))
            return False
        if switched:
            self.stylizer = self.styles.stylizer
            if not self._show(self.look):  # what an artifact of one size can have
                self._show(replace(self.look, stroke=1.0))
        return switched

    def _show(self, look: Look) -> bool:
        """Change the look; tells why not and returns False where the artifact or this machine cannot have it."""
        try:
            self.stylizer, self.look = with_look(self.styles.stylizer, look), look
        except InputError as error:
            self._complain(str(error))
            return False
        self._stale = True
        self._meter().warm_up()
        return True

    def _obey(self) -> bool:
        commands = list(self.window.commands())
        for command, value in commands:
            match command:
                case "quit":
                    self.leaving = True
                case "style":
                    if value < len(self.styles.names):
                        self.styles.choose(int(value))
                case "next style":
                    self.styles.step(1)
                case "previous style":
                    self.styles.step(-1)
                case "stronger" | "weaker":
                    step = 0.1 if command == "stronger" else -0.1
                    self._show(replace(self.look, strength=min(1.0, max(0.0, round(self.look.strength + step, 1)))))
                case "colours":
                    self._show(replace(self.look, keep_colors=not self.look.keep_colors))
                case "stroke":
                    larger = [stroke for stroke in STROKES if stroke > self.look.stroke]
                    self._show(replace(self.look, stroke=min(larger, default=STROKES[0])))
                case "only":
                    self._show(replace(self.look, only=ONLY[(ONLY.index(self.look.only) + 1) % len(ONLY)]))
                case "view":
                    self.view = VIEWS[(VIEWS.index(self.view) + 1) % len(VIEWS)]
                case "divider":
                    self.divider = value
                case "record":
                    self._record()
                case "pause":
                    self.paused = not self.paused
                    self._meter().warm_up()
                case "picture" if self._source is not None:
                    self._save(lambda: self.recorder.picture(self._composed(self.view)))
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
            self._save(lambda: self.recorder.start(time.monotonic()))

    def stop_recording(self) -> None:
        self._save(lambda: self.recorder.stop(time.monotonic()))

    def _save(self, write: Callable[[], Path | None]) -> None:
        """Run a file operation and show the file it gives; a failure is shown and noted, and the session goes on."""
        try:
            path = write()
        except (InputError, OSError) as error:
            self._complain(f"nothing was saved: {error}")
        else:
            if path is not None:
                self._say(f"saved {path.as_posix()}")

    def _complain(self, sentence: str) -> None:
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
        messages = (
            trouble and f"{trouble}; Q leaves",
            self._message if now < self._message_ends else "",
            self.styles.awaited and f"opening {self.styles.awaited}",
            "paused: SPACE goes on" if self.paused else "",
        )
        picture = None if self._source is None else self._composed(self.view)
        latency, fps = self._meter().recent(), self._fps(now)
        size = f"{self._source.shape[1]}×{self._source.shape[0]}" if self._source is not None else ""
        panel = Panel(
            lines=[
                f"{name}   {size}   {self.look.text}",
                self.styles.stylizer.engine,
                f"{latency}   {fps:.1f} fps   {self.capture.dropped} dropped",
            ],
            left="" if self.view == "full" else "source",
            right=name,
            divider=self.divider if self.view == "split" else 0.5,
            recording_s=self.recorder.seconds(now),
            message=next(filter(None, messages), ""),
            styles=[Path(style).name for style in self.styles.names],
            style=self.styles.current,
            help=self.help,
        )
        recording, paused = "recording" if self.recorder.running else "", "paused" if self.paused else ""
        states = (name, latency, f"{fps:.0f} fps", self.view, self.look.text, recording, paused, trouble)
        self.window.draw(picture, panel, " | ".join(state for state in states if state))

    def _meter(self) -> Meter:
        return self._meters.setdefault(self.styles.current, Meter())

    def _fps(self, now: float) -> float:
        while self._times and self._times[0] < now - LIVE_S:
            self._times.popleft()
        span = min(LIVE_S, now - self._first)
        return len(self._times) / span if span > 0.2 else 0.0

    def result(self) -> CameraResult:
        seconds = time.monotonic() - self._first if self._first else 0.0
        height, width = self._source.shape[:2] if self._source is not None else (0, 0)
        return CameraResult(
            source=self.capture.info.name,
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
                meter.result(self.styles.names[index], self.styles.opened[index].engine)
                for index, meter in self._meters.items()
            ],
            files=self.recorder.files,
            notes=self.notes,
        )
