"""Recordings and pictures of the live demo: frames keep their display times; no incomplete file remains."""

import time
from fractions import Fraction
from pathlib import Path

from ...common.arrays import Image
from ...common.files import InputError
from ...video.frames import Frame, FrameSink, open_sink, write_image


class Recorder:
    """Records shown frames with their display times; `files` lists the recordings and pictures written."""

    def __init__(self, folder: Path, frame_rate: Fraction | None) -> None:
        """Set the output folder and the largest frame rate (None if unknown)."""
        self._folder, self._rate = folder, frame_rate
        self.files: list[Path] = []
        self._sink: FrameSink | None = None
        self._last: Frame | None = None
        self._begun = 0.0

    @property
    def running(self) -> bool:
        """Whether a recording is running."""
        return self._sink is not None

    def seconds(self, now: float) -> float | None:
        """Length of the recording in seconds, None without one; `now` is a time of `time.monotonic`."""
        return None if self._sink is None else now - self._begun

    def start(self, now: float) -> None:
        """Begin a recording; raises InputError if the folder is not writable."""
        self._target = self._path(".mp4")
        self._sink = open_sink(self._target, None, frame_rate=self._rate)
        self._begun, self._last = now, None

    def add(self, image: Image, now: float) -> None:
        """Add a shown frame; a new frame size begins a new recording. OSError ends and removes the recording."""
        if self._sink is not None and self._last is not None and self._last.image.shape != image.shape:
            self.stop(now)
            self.start(now)
        if self._sink is None:
            return
        self._last = Frame(image, now - self._begun if self._last is not None else 0.0)
        try:
            self._sink.write(self._last)
        except (OSError, InputError) as error:
            self._give_up(error)
            raise

    def stop(self, now: float) -> Path | None:
        """End the recording; its last frame lasts until `now`. Returns the file, None if empty; raises OSError."""
        if self._sink is None:
            return None
        if self._last is None:
            self._give_up(InputError("no frame came"))
            return None
        sink, self._sink = self._sink, None
        with sink:
            step_s = float(1 / (self._rate or Fraction(25)))
            if now - self._begun - self._last.time_s > 2 * step_s:
                sink.write(Frame(self._last.image, now - self._begun - step_s))
        self.files.append(self._target)
        return self._target

    def picture(self, image: Image) -> Path:
        """Save a picture. Raises InputError if the folder is not writable, OSError if writing fails."""
        path = self._path(".png")
        write_image(path, image)
        self.files.append(path)
        return path

    def _give_up(self, error: Exception) -> None:
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.__exit__(type(error), error, error.__traceback__)

    def _path(self, ending: str) -> Path:
        stem = time.strftime("%Y%m%d-%H%M%S")
        names = (f"{stem}{f'-{number}' if number > 1 else ''}{ending}" for number in range(1, 1000))
        return next(path for path in (self._folder / name for name in names) if not path.exists())
