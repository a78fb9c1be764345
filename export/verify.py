"""Proof of an artifact: the written file is run and compared with its checkpoint."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

from ..common.arrays import Image, Size, resized
from ..train.loss.style_score import StyleJudge
from ..train.tensors import frame_to_tensor, to_frame
from ..video.flow import FlowPair
from ..video.frames import read_frames
from ..video.synthetic.harbour import harbour
from ..video.temporal import FlowSource, flow_pairs, temporal_error
from .calibration import CALIBRATED_SIZE

FLOORS_DB: Mapping[str, float] = {"fp32": 60.0, "fp16": 45.0, "int8": 30.0}
"""Precision -> least PSNR against the checkpoint, in dB. An artifact below is *degraded*."""

MOST_FLICKER_DELTA = 1.05
"""Largest temporal error relative to the checkpoint's; an artifact above is *degraded*, too."""

IDENTICAL_DB = 99.0
"""PSNR in dB for identical pictures, where the formula has no finite value."""

FRAMES = 4


@dataclass(frozen=True)
class TestFrames:
    """Consecutive frames, (H, W, 3) uint8 RGB; `pairs[t]`, if any, is the motion between frames t and t + 1."""

    source: str  # where the frames come from, for the metadata
    frames: Sequence[Image]
    pairs: Mapping[int, FlowPair]
    flow_source: FlowSource


def load_test_frames(clip: str | None, size: Size | None) -> TestFrames:
    """The first frames of a clip, or of the bundled scene; raises InputError if the clip cannot be read."""
    if clip is None:
        width, height = size or CALIBRATED_SIZE
        scene = harbour(width, height, FRAMES)
        pairs = {t: scene.pair(t, 1) for t in range(FRAMES - 1)}
        return TestFrames(scene.name, [scene.frame(t) for t in range(FRAMES)], pairs, "ground truth")
    frames = read_frames(clip, max_frames=FRAMES)
    if size is not None:
        frames = [resized(frame, size, enlarge=cv2.INTER_AREA) for frame in frames]
    # The name without folders, because the artifact stores it.
    return TestFrames(Path(clip).name, frames, flow_pairs(frames, 1), "DIS medium")


def verify(
    stylizer: Callable[[Image], Image],
    wanted: Sequence[Image],
    frames: Sequence[Image],
    pairs: Mapping[int, FlowPair] | None = None,
    judge: StyleJudge | None = None,
) -> dict[str, float | str]:
    """Compare an artifact with its checkpoint, both as 8-bit pictures.

    Args:
        wanted: the checkpoint's result for each frame (see `reference`).
        frames: consecutive frames of one size, each (H, W, 3) uint8 RGB.
        pairs: t -> motion between frames t and t + 1; without it there is no ``flicker_delta``.
        judge: has the style image as ``artifact`` and as ``checkpoint``; without it there is no ``style_change``.

    Returns:
        ``max_abs`` and ``mean_abs`` difference in 0..255; ``psnr_db``, at most `IDENTICAL_DB`; ``flicker_delta``,
        e_temporal(1) over the checkpoint's, if there is motion; ``style_change``, style score of the first frame over
        the checkpoint's; ``frames`` and their ``size``.
    """
    ours = [stylizer(frame) for frame in frames]
    difference = np.stack(ours).astype(np.float64) - np.stack(wanted)
    figures: dict[str, float | str] = {
        "max_abs": float(np.abs(difference).max()),
        "mean_abs": float(np.abs(difference).mean()),
        "psnr_db": min(IDENTICAL_DB, psnr_db(ours, wanted)),
        "frames": len(frames),
        "size": f"{frames[0].shape[1]}x{frames[0].shape[0]}",
    }
    ratio = flicker_ratio(ours, wanted, pairs or {})
    if ratio is not None:
        figures["flicker_delta"] = ratio
    if judge is not None:
        scores = judge(frames[0], {"artifact": ours[0], "checkpoint": wanted[0]})
        ours_style, wanted_style = scores["artifact"]["score"], scores["checkpoint"]["score"]
        if ours_style is not None and wanted_style:
            figures["style_change"] = ours_style / wanted_style
    return figures


def reference(network: nn.Module, frame: Image) -> Image:
    """A network's result for a frame, (H, W, 3) uint8 RGB, rounded; the network maps (1, 3, H, W) RGB [0, 1]."""
    with torch.inference_mode():
        return to_frame(network(frame_to_tensor(frame).float() / 255.0)[0])


def shortfalls(figures: Mapping[str, float | str], precision: str) -> list[str]:
    """Limits that the figures from `verify` miss, a few words each; `precision` is a key of `FLOORS_DB`."""
    psnr, flicker = float(figures["psnr_db"]), float(figures.get("flicker_delta", 1.0))
    found = []
    if psnr < FLOORS_DB[precision]:
        found.append(f"PSNR {psnr:.1f} dB where {FLOORS_DB[precision]:.0f} are needed")
    if flicker > MOST_FLICKER_DELTA:
        found.append(f"flicker delta {flicker:.3f} where at most {MOST_FLICKER_DELTA} is allowed")
    return found


def psnr_db(ours: Sequence[Image], wanted: Sequence[Image]) -> float:
    """10 log10(255² / mean squared difference), in dB; `IDENTICAL_DB` where nothing differs."""
    mean_squared = float(np.square(np.stack(ours).astype(np.float64) - np.stack(wanted)).mean())
    return 10 * math.log10(255.0**2 / mean_squared) if mean_squared > 0 else IDENTICAL_DB


def flicker_ratio(ours: Sequence[Image], wanted: Sequence[Image], pairs: Mapping[int, FlowPair]) -> float | None:
    """e_temporal(1) of our frames over that of the wanted ones; None if there is no motion to measure it on."""
    measurable = {t: pair for t, pair in pairs.items() if pair.valid.any()}
    error = temporal_error(wanted, measurable, 1).value if measurable else 0.0
    return temporal_error(ours, measurable, 1).value / error if error > 0 else None
