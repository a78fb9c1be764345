"""The clips that figures are taken on: video files, whose flow is estimated, and scenes, whose flow is exact."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Protocol

from ...common.arrays import Image, Size, resized, size_at_height
from ...common.files import InputError
from ...video.flow import FlowPair, flow_pair
from ...video.frames import open_source
from ...video.synthetic.harbour import Scene
from ...video.temporal import FlowSource


class ClipSource(Protocol):
    """A clip to measure on: its frames in order, and the motion between two of them.

    Attributes:
        name: for the tables.
        size: (width, height) of its frames, in pixels.
        frame_rate: in frames a second, None where it is not known.
        flow_source: where the motion comes from.
        expected_frames: how many frames there will be, None where it is not known.
        notes: what a reader should know; may grow while the frames are read.
    """

    name: str
    size: Size
    frame_rate: float | None
    flow_source: FlowSource
    expected_frames: int | None
    notes: list[str]

    def __iter__(self) -> Iterator[Image]:
        """The frames, each (H, W, 3) uint8 RGB, all of one size."""
        ...

    def pair(self, t: int, interval: int, earlier: Image, later: Image) -> FlowPair:
        """The motion between frames t and t + interval, which are given."""
        ...


class FileClip:
    """A video file; its flow is estimated."""

    flow_source: FlowSource = "DIS medium"

    def __init__(
        self,
        path: str | Path,
        *,
        height: int | None = None,
        size: Size | None = None,
        max_frames: int | None = None,
        start: int = 0,
        step: int = 1,
    ) -> None:
        """Open the file once, to see what it is.

        Args:
            path: the video.
            height: resize to this height, width in proportion and even; None keeps the size.
            size: resize to exactly (width, height) instead.
            max_frames: stop after so many frames.
            start: index of the first frame to take.
            step: take one frame in so many.

        Raises:
            InputError: missing, not a video, empty.
        """
        self.path = Path(path)
        with open_source(path) as source:
            info = source.info
        if info.kind not in ("video", "folder"):
            raise InputError(f"'{path}' is no clip: give a video or a folder of images")
        self.name = self.path.name
        self.frame_rate = float(info.frame_rate) / step if info.frame_rate else None
        self.size = size or size_at_height((info.width, info.height), height or info.height)
        self.max_frames = max_frames
        self._start, self._step = start, step
        taken = None if info.frames is None else max(0, -(-(info.frames - start) // step))
        known = [count for count in (taken, max_frames) if count is not None]
        self.expected_frames = min(known) if known else None
        self.notes: list[str] = []
        if self.size != (info.width, info.height):
            self.notes.append(f"Resized from {info.width}x{info.height} to {self.size[0]}x{self.size[1]}")

    def __iter__(self) -> Iterator[Image]:
        """The frames, resized."""
        with open_source(self.path) as source:
            for index, frame in enumerate(islice(source, self._start, None, self._step)):
                if index == self.max_frames:
                    return
                yield resized(frame.image, self.size)
            if source.note and source.note not in self.notes:
                self.notes.append(source.note)

    def pair(self, t: int, interval: int, earlier: Image, later: Image) -> FlowPair:
        """Flow by OpenCV DIS with the plan's masks."""
        return flow_pair(earlier, later)


class SceneClip:
    """A synthetic scene; its flow is exact."""

    flow_source: FlowSource = "ground truth"

    def __init__(self, scene: Scene, max_frames: int | None = None) -> None:
        """Take a scene.

        Args:
            scene: the scene.
            max_frames: stop after so many frames.
        """
        self._scene = scene
        self.name = f"{scene.name} (synthetic)"
        self.size = (scene.width, scene.height)
        self.frame_rate: float | None = float(scene.frame_rate)
        self.expected_frames: int | None = min(scene.frames, max_frames or scene.frames)
        self.notes: list[str] = []

    def __iter__(self) -> Iterator[Image]:
        """The frames."""
        for t in range(self.expected_frames or 0):
            yield self._scene.frame(t)

    def pair(self, t: int, interval: int, earlier: Image, later: Image) -> FlowPair:
        """The scene's own motion."""
        return self._scene.pair(t, interval)
