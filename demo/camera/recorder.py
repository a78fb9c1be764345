"""Recordings and pictures of the live demo: files with the times of the clock, each whole or not there."""

import time
from fractions import Fraction
from pathlib import Path

from ...common.arrays import Image
from ...common.files import InputError
from ...video.frames import Frame, FrameSink, open_sink, write_image


class Recorder:
    """Records what is shown, with the times at which it was: each recording is a video of its own.

    Attributes:
        files: what was written, pictures too.
    """

    def __init__(self, folder: Path, frame_rate: Fraction | None) -> None:
        """Say where recordings go, and at how many frames a second they come at most, as far as that is known."""
        self._folder, self._rate = folder, frame_rate
        self.files: list[Path] = []
        self._sink: FrameSink | None = None
        self._last: Frame | None = None
        self._begun = 0.0

    @property
    def running(self) -> bool:
        """Whether there is a recording."""
        return self._sink is not None

    def seconds(self, now: float) -> float | None:
        """Length of the recording so far (now: seconds of `time.monotonic`), None without one."""
        return None if self._sink is None else now - self._begun

    def start(self, now: float) -> None:
        """Begin a recording.

        Raises:
            InputError: nothing can be written to the folder.
        """
        self._target = self._path(".mp4")
        self._sink = open_sink(self._target, None, frame_rate=self._rate)
        self._begun, self._last = now, None

    def add(self, image: Image, now: float) -> None:
        """Add what is shown now; a picture of another size begins another recording.

        Raises:
            OSError: writing fails; the recording has ended, and what was written of it is not kept.
        """
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
        """Finish the recording, whose last picture stands until now; the file, or None where nothing was recorded.

        Raises:
            OSError: writing fails.
        """
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
        """Save a picture.

        Raises:
            InputError: nothing can be written to the folder.
            OSError: writing fails.
        """
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
