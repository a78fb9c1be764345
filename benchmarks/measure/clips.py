"""Clips to measure on: video files with estimated flow, and scenes with exact flow."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Protocol

from ...common.arrays import Image, Size, resized, size_at_height
from ...common.files import InputError
from ...video.flow import FlowPair, flow_pair
from ...video.frames import open_source
from ...video.synthetic.scene import Scene
from ...video.temporal import FlowSource


class ClipSource(Protocol):
    """A clip to measure on: its frames in order, and the motion between two of them.

    `size` is (width, height) in pixels, `frame_rate` frames per second; None is unknown. `notes` are remarks for the
    report, and may grow while frames are read.
    """

    name: str
    size: Size
    frame_rate: float | None
    flow_source: FlowSource
    expected_frames: int | None
    notes: list[str]

    def __iter__(self) -> Iterator[Image]:
        """The frames, each (H, W, 3) uint8 RGB, all of one size."""

    def pair(self, t: int, interval: int, earlier: Image, later: Image) -> FlowPair:
        """Backward flow between the given frames t and t + interval."""


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
        """Open the file, a video or a folder of images, to read its size and frame rate.

        Takes every `step`-th frame from index `start` on, at most `max_frames`. They are resized to exactly `size`, or
        to `height` px with even width in proportion; None keeps the size. InputError if missing, no clip, or empty.
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
        """Flow by OpenCV DIS with the masks of CONTRIBUTING.md, Figures."""
        return flow_pair(earlier, later)


class SceneClip:
    """A synthetic scene; its flow is exact."""

    flow_source: FlowSource = "ground truth"

    def __init__(self, scene: Scene, max_frames: int | None = None) -> None:
        """Take at most `max_frames` frames of a scene."""
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
