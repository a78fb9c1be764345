"""MPI-Sintel folders (Butler et al. 2012) as clips with exact flow.

Layout as published: ``training/final/SCENE/frame_0001.png``, ``training/flow/SCENE/frame_0001.flo`` and
``training/occlusions/SCENE/frame_0001.png``. Its flow is forward, and temporal error needs backward flow, so the frames
are taken in reverse order.
"""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ...common.arrays import Image, size_at_height
from ...common.files import InputError
from ...video.flow import FlowPair, motion_boundary_mask, read_flo, warp
from ...video.images import read_image
from ...video.temporal import FlowSource
from .clips import ClipSource

PAPER_SCENES = ("alley_2", "ambush_5", "bandage_2", "market_6", "temple_2")
"""The scenes that papers on stable stylization report."""

_FRAME_RATE = 24.0


def open_sintel(root: str | Path, *, height: int | None = None, max_frames: int | None = None) -> list[ClipSource]:
    """The scenes of papers in a folder, or all its scenes if it has none of those.

    `root` is the folder ``training`` or its parent; `height` is px, None keeps the size; `max_frames` is per scene.
    InputError for a missing folder or another layout.
    """
    folder = Path(root)
    training = folder / "training" if (folder / "training").is_dir() else folder
    frames, flow = next((p for p in (training / "final", training / "clean") if p.is_dir()), None), training / "flow"
    if frames is None or not flow.is_dir():
        raise InputError(
            f"'{root}' is not laid out like MPI-Sintel: it needs training/final/SCENE and training/flow/SCENE"
        )
    found = sorted(path.name for path in frames.iterdir() if (flow / path.name).is_dir())
    chosen = [name for name in PAPER_SCENES if name in found] or found
    if not chosen:
        raise InputError(f"'{root}' holds no scene with frames and flow: unpack MPI-Sintel's training set into it")
    return [
        SintelClip(frames / name, flow / name, training / "occlusions" / name, height, max_frames) for name in chosen
    ]


class SintelClip:
    """One scene in reverse order."""

    flow_source: FlowSource = "ground truth"

    def __init__(self, frames: Path, flow: Path, occlusions: Path, height: int | None, max_frames: int | None) -> None:
        """List frames and .flo files of equal names; `height` is px, None keeps the size.

        `occlusions` holds masks, white where hidden in the next frame; it may be missing. InputError for fewer than two
        frames, or a frame without flow.
        """
        self._frames = sorted(frames.glob("*.png"))[:max_frames]
        if len(self._frames) < 2:
            raise InputError(f"'{frames}' holds fewer than two frames: it is no scene of MPI-Sintel")
        self._flow = [flow / f"{path.stem}.flo" for path in self._frames[:-1]]
        missing = next((path for path in self._flow if not path.is_file()), None)
        if missing is not None:
            raise InputError(f"the flow file '{missing}' does not exist: unpack MPI-Sintel again")
        self._occlusions = occlusions
        self.name = f"{frames.name} (MPI-Sintel)"
        rows, columns = read_image(self._frames[0]).shape[:2]
        self.size = size_at_height((columns, rows), height or rows)
        self.frame_rate: float | None = _FRAME_RATE
        self.expected_frames: int | None = len(self._frames)
        self.notes = ["Frames from the last to the first, as its flow leads"]
        if not occlusions.is_dir():
            self.notes.append("There are no occlusion masks: what is hidden is told by the flow alone")

    def __iter__(self) -> Iterator[Image]:
        """The frames, last one first."""
        for path in reversed(self._frames):
            yield np.asarray(cv2.resize(read_image(path), self.size, interpolation=cv2.INTER_AREA), np.uint8)

    def pair(self, t: int, interval: int, earlier: Image, later: Image) -> FlowPair:
        """The given flow; for several frames, the chained flows."""
        first = len(self._frames) - 1 - t - interval  # the later frame here is the earlier one in the film
        flow, valid = self._step(first)
        for step in range(first + 1, first + interval):
            onward, seen = self._step(step)
            moved, inside = warp(onward, flow)
            still_seen, _ = warp(seen.astype(np.float32), flow)
            flow = np.asarray(flow + moved, np.float32)
            valid = valid & inside & (still_seen > 0.999)
        height, width = valid.shape
        x, y = np.arange(width) + flow[..., 0], np.arange(height)[:, None] + flow[..., 1]
        return FlowPair(flow, valid & (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1))

    def _step(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Flow from a frame of the film to the next, and where it is reliable."""
        flow = read_flo(self._flow[index])
        known = ~np.isnan(flow).any(axis=2)
        mask = self._occlusions / self._frames[index].name
        if mask.is_file():
            known &= read_image(mask)[..., 0] < 128
        flow = np.nan_to_num(flow)
        known &= ~motion_boundary_mask(flow)
        if (flow.shape[1], flow.shape[0]) != self.size:
            scale = np.array([self.size[0] / flow.shape[1], self.size[1] / flow.shape[0]], np.float32)
            flow = np.asarray(cv2.resize(flow, self.size, interpolation=cv2.INTER_LINEAR) * scale, np.float32)
            shrunk = cv2.resize(known.astype(np.float32), self.size, interpolation=cv2.INTER_AREA)
            known = np.asarray(shrunk > 0.999)
        return np.asarray(flow, np.float32), known
