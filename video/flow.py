"""Optical flow: its estimation, warping with it, and masks of where it can be trusted.

All flow is *backward*, as warping needs: `flow[y, x] = (dx, dy)` in pixels says that what is at `(x, y)` in one frame
is at `(x + dx, y + dy)` in the other. To warp an earlier frame to a later one, use the flow from later to earlier.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from ..common.arrays import Image
from ..common.files import InputError

Pixel = TypeVar("Pixel", np.uint8, np.float32)

_SMALLEST_SIDE = 32  # pixels; smaller frames are padded, for DIS's patches and coarsest pyramid level

_FLO_MAGIC = 202021.25
_FLO_UNKNOWN = 1e9


def estimate_flow(source: Image, target: Image) -> NDArray[np.float32]:
    """Estimate where each pixel of `source` is in `target`: pixel x of `source` is at x + flow(x) in `target`.

    OpenCV's dense inverse search (Kroeger et al., ECCV 2016), medium preset, on luma. Returns (H, W, 2) float32, (dx,
    dy) in pixels. Raises ValueError unless both frames are (H, W, 3) uint8 of one size; the order is RGB.
    """
    for name, frame in (("source", source), ("target", target)):
        if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
            raise ValueError(f"{name} must be (H, W, 3) uint8, but is {frame.shape} {frame.dtype}")
    if source.shape != target.shape:
        raise ValueError(f"source and target must be of one size, but are {source.shape} and {target.shape}")
    height, width = source.shape[:2]
    below, right = max(0, _SMALLEST_SIDE - height), max(0, _SMALLEST_SIDE - width)
    luma = [
        cv2.copyMakeBorder(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), 0, below, 0, right, cv2.BORDER_REPLICATE)
        for frame in (source, target)
    ]
    searcher = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    blank = np.zeros((height + below, width + right, 2), np.float32)
    flow = searcher.calc(luma[0], luma[1], blank)
    return np.asarray(flow[:height, :width], np.float32)


def warp(image: NDArray[Pixel], flow: NDArray[np.float32]) -> tuple[NDArray[Pixel], NDArray[np.bool_]]:
    """Warp an image bilinearly: `warped(x) = image(x + flow(x))`.

    Args:
        image: (H, W) or (H, W, C), uint8 or float32, C at most 4.
        flow: (H, W, 2) float32, (dx, dy) in pixels, NaN where unknown; ValueError if its size is not the image's.

    Returns:
        The warped image, same shape and dtype (samples outside the frame repeat its border), and (H, W) bool, True
        where the flow is known and the sample position lies within the frame.
    """
    height, width = image.shape[:2]
    if flow.shape != (height, width, 2):
        raise ValueError(f"flow must be {(height, width, 2)}, but is {flow.shape}")
    x = flow[..., 0] + np.arange(width, dtype=np.float32)
    y = flow[..., 1] + np.arange(height, dtype=np.float32)[:, None]
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    x, y = np.nan_to_num(x, copy=False, nan=0), np.nan_to_num(y, copy=False, nan=0)
    warped = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped, image.dtype).reshape(image.shape), inside


def consistency_mask(flow: NDArray[np.float32], reverse: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(H, W) bool mask of where following `flow` and then `reverse` ends near the start.

    With w the flow at x and ŵ the reverse flow at x + w(x): |w + ŵ|² <= 0.01 (|w|² + |ŵ|²) + 0.5 (Sundaram, Brox and
    Keutzer, ECCV 2010, eq. 5; used for stylized video by Ruder et al. 2016). False also where x + w(x) leaves the frame
    or the flow is unknown. Both flows are (H, W, 2) float32 in pixels.
    """
    back, inside = warp(reverse, flow)
    sum_squared = np.square(flow + back).sum(axis=2)
    allowed = 0.01 * (np.square(flow).sum(axis=2) + np.square(back).sum(axis=2)) + 0.5
    return np.asarray(inside & (sum_squared <= allowed))


def motion_boundary_mask(flow: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(H, W) bool mask of motion boundaries, where estimated flow is unreliable: |∇u|² + |∇v|² > 0.01 |w|² + 0.002.

    `flow` is (H, W, 2) in pixels, gradients are central differences (Sundaram, Brox and Keutzer, ECCV 2010, eq. 6).
    """
    padded = np.pad(flow, ((1, 1), (1, 1), (0, 0)), mode="edge")
    along_x = (padded[1:-1, 2:] - padded[1:-1, :-2]) / 2
    along_y = (padded[2:, 1:-1] - padded[:-2, 1:-1]) / 2
    steepness = np.square(along_x).sum(axis=2) + np.square(along_y).sum(axis=2)
    return np.asarray(steepness > 0.01 * np.square(flow).sum(axis=2) + 0.002)


@dataclass(frozen=True)
class FlowPair:
    """The motion between two frames, for warping the earlier one.

    Attributes:
        flow: (H, W, 2) float32, (dx, dy) in pixels from the LATER frame to the EARLIER one.
        valid: (H, W) bool, True where the flow can be trusted and the earlier frame shows the same thing.
    """

    flow: NDArray[np.float32]
    valid: NDArray[np.bool_]


def flow_pair(earlier: Image, later: Image) -> FlowPair:
    """Estimate the motion between two frames, (H, W, 3) uint8 RGB of one size.

    Not valid are pixels that fail the forward-backward check, lie on a motion boundary, or leave the frame.
    """
    flow = estimate_flow(later, earlier)
    reverse = estimate_flow(earlier, later)
    return FlowPair(flow, consistency_mask(flow, reverse) & ~motion_boundary_mask(flow))


def read_flo(path: Path) -> NDArray[np.float32]:
    """Read a Middlebury .flo file as (H, W, 2) float32, (dx, dy) in pixels; NaN where unknown (magnitude above 1e9).

    Raises InputError if the file is missing or not a .flo file.
    """
    if not path.is_file():
        raise InputError(f"the flow file '{path}' does not exist: check the path")
    content = path.read_bytes()
    if len(content) < 12 or np.frombuffer(content, "<f4", 1)[0] != np.float32(_FLO_MAGIC):
        raise InputError(f"'{path}' is not a Middlebury .flo file: give one that begins with the number {_FLO_MAGIC}")
    width, height = (int(side) for side in np.frombuffer(content, "<i4", 2, offset=4))
    if width < 1 or height < 1 or len(content) < 12 + 8 * width * height:
        raise InputError(f"the flow file '{path}' breaks off: it should hold {width}x{height} vectors, get it again")
    flow = np.frombuffer(content, "<f4", 2 * width * height, offset=12).reshape(height, width, 2).astype(np.float32)
    flow[np.abs(flow) > _FLO_UNKNOWN] = np.nan
    return flow
