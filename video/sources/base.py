"""What every source of frames has in common."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal, Self

from ...common.arrays import Image
from ..images import on_white

DEFAULT_RATE = Fraction(25)  # frames per second of a source without a rate


@dataclass(frozen=True)
class Frame:
    """One frame: (H, W, 3) uint8 RGB, upright, and its time in seconds from the start of the source.

    `alpha` is (H, W) uint8, 0 transparent, of a frame that is not opaque everywhere; stylizers do not see it.
    """

    image: Image
    time_s: float
    alpha: Image | None = None

    @property
    def on_white(self) -> Image:
        """The image as it looks on white paper."""
        return self.image if self.alpha is None else on_white(self.image, self.alpha)


@dataclass(frozen=True)
class SourceInfo:
    """What is known of a source before it is read.

    Attributes:
        name: file or folder name, or "camera 0".
        width, height: in pixels, upright.
        frame_rate: mean frames per second; None for a single image and some cameras.
        frames, duration_s: estimates; None if unknown.
        has_alpha: whether the first frame has alpha.
    """

    name: str
    kind: Literal["video", "image", "folder", "camera"]
    width: int
    height: int
    frame_rate: Fraction | None
    frames: int | None
    duration_s: float | None
    has_audio: bool
    has_alpha: bool = False


@dataclass(frozen=True)
class Chapter:
    """A named part of a video, in seconds from its time 0."""

    start_s: Fraction
    end_s: Fraction
    title: str


class FrameSource(ABC):
    """Frames from somewhere, to be iterated once: `with open_source(path) as source: for frame in source: ...`.

    Attributes:
        note: empty, or after the iteration one sentence on what could not be decoded.
        exhausted: whether the iteration reached the end.
        file_names: of single images; empty for a video or camera.
        streams_path: file with sound or subtitles; None without.
        chapters: of the file.
        created: date and time of creation, ISO 8601; empty if unknown.
        origin: time stamp in that file, in seconds, that counts as time 0.
        time_base: tick of the source's clock in seconds; None without a clock.
        pixel_aspect: width of a pixel divided by its height.
        end_s: where its sound ends, in seconds; None: with the file's.
    """

    info: SourceInfo
    note: str = ""
    exhausted: bool = False
    file_names: tuple[str, ...] = ()
    streams_path: Path | None = None
    chapters: tuple[Chapter, ...] = ()
    created: str = ""
    origin: Fraction = Fraction(0)
    time_base: Fraction | None = None
    pixel_aspect: Fraction = Fraction(1)
    end_s: float | None = None

    @abstractmethod
    def _frames(self) -> Iterator[Frame]: ...

    def seek(self, time_s: float) -> None:
        """Before the iteration: frames well before this time, in seconds, need not come. A source may ignore it."""
        return

    def close(self) -> None:
        """Release the file or camera."""
        return

    def __iter__(self) -> Iterator[Frame]:
        yield from self._frames()
        self.exhausted = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
