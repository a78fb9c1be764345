"""How steady a stylized video is: the warp of an earlier frame against the later one, and the controls beside it.

The definitions are the "Figures" of the project's plan (CONTRIBUTING.md); all on RGB in [0, 1].
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from ..common.arrays import Image, resized
from ..common.files import InputError
from .flow import FlowPair, flow_pair, warp

FlowSource = Literal["ground truth", "DIS medium"]

SHIFTS = (1, 2, 3, 4)
"""Whole pixels by which a picture is moved for the shift error of a table."""
_MARGIN = 8
"""Pixels by which a frame is extended, so that it can be moved."""
_BORDER = 32

_WHITE_AT = 0.25
"""The difference that an error map shows as white."""


@dataclass(frozen=True)
class TemporalError:
    """The temporal error of one stylized video at one interval.

    Attributes:
        interval: distance of the two frames of a pair, in frames (1 = short, 5 = long term).
        value: e_temporal, a root mean square difference of RGB in [0, 1].
        pairs: number of pairs that were averaged.
        mask_share: mean share of valid pixels, in [0, 1].
        per_pair: masked mean squared difference of each pair, in the order of their frames.
        flow_source: where the flow came from.
    """

    interval: int
    value: float
    pairs: int
    mask_share: float
    per_pair: tuple[float, ...]
    flow_source: FlowSource


def _warped_difference(earlier: Image, later: Image, pair: FlowPair) -> NDArray[np.float32]:
    if earlier.shape != later.shape or earlier.shape[:2] != pair.valid.shape:
        raise ValueError(f"frames {earlier.shape} and {later.shape} do not fit a flow pair of {pair.valid.shape}")
    warped, _ = warp(earlier.astype(np.float32), pair.flow)
    return (warped - later) / np.float32(255)


def pair_error(earlier_stylized: Image, later_stylized: Image, pair: FlowPair) -> float:
    """Masked mean squared difference between the warped earlier frame and the later one, before the square root.

    Args:
        earlier_stylized: (H, W, 3) uint8 RGB.
        later_stylized: (H, W, 3) uint8 RGB.
        pair: the motion between the two frames of the *source*.

    Returns:
        The mean over valid pixels and channels, of RGB in [0, 1]; NaN when no pixel is valid.
    """
    valid = int(pair.valid.sum())
    if valid == 0:
        return float("nan")
    squared = np.square(_warped_difference(earlier_stylized, later_stylized, pair))
    return float(squared[pair.valid].mean(dtype=np.float64))


def error_map(earlier_stylized: Image, later_stylized: Image, pair: FlowPair) -> Image:
    """Picture of the temporal error of one pair: white where it is large.

    Args:
        earlier_stylized: (H, W, 3) uint8 RGB.
        later_stylized: (H, W, 3) uint8 RGB.
        pair: the motion between the two frames of the source.

    Returns:
        (H, W) uint8: root mean square difference over the channels, on a fixed scale on which 0.25 and more is white;
        masked pixels are black.
    """
    squared = np.square(_warped_difference(earlier_stylized, later_stylized, pair)).mean(axis=2)
    shade = np.minimum(np.sqrt(squared) / _WHITE_AT, 1) * pair.valid
    return np.asarray(np.rint(shade * 255), np.uint8)


def temporal_error(
    stylized: Sequence[Image],
    pairs: Mapping[int, FlowPair],
    interval: int,
    flow_source: FlowSource = "DIS medium",
) -> TemporalError:
    """The temporal error e_temporal of a stylized video.

    The masked mean squared difference of each pair, averaged over pairs, square root (the e_stab convention of Huang
    et al. 2017 and ReCoNet, Gao et al. 2018). Pairs without any valid pixel do not count.

    Args:
        stylized: the frames, each (H, W, 3) uint8 RGB.
        pairs: motion of the source; the key t is the index of the earlier frame, t + interval the later one's.
        interval: distance of the two frames of each pair.
        flow_source: where the pairs' flow came from, for the record.

    Raises:
        InputError: there is no pair to measure, for instance because the clip is too short.
    """
    measured = {t: pair for t, pair in sorted(pairs.items()) if pair.valid.any()}
    if not measured:
        raise InputError(f"there are no two frames {interval} apart to measure temporal error on: give a longer clip")
    per_pair = tuple(pair_error(stylized[t], stylized[t + interval], pair) for t, pair in measured.items())
    return TemporalError(
        interval=interval,
        value=float(np.sqrt(np.mean(per_pair))),
        pairs=len(per_pair),
        mask_share=float(np.mean([pair.valid.mean() for pair in measured.values()])),
        per_pair=per_pair,
        flow_source=flow_source,
    )


def is_cut(a: Image, b: Image) -> bool:
    """Whether a scene cut lies between two consecutive frames.

    At a cut both the layout and the colours of the picture change, under fast motion mostly the layout, in a flash
    mostly the colours. So the test is on the sum of the two, on thumbnails: the correlation of their luma minus the
    share of pixels that the colour histogram moves. On 13 real cuts in film and street clips that figure was at most
    -0.11, on 4,934 other pairs of frames with shaking cameras, explosions and wing beats at least 0.21.

    Args:
        a: (H, W, 3) uint8 RGB.
        b: (H, W, 3) uint8 RGB, same size.

    Raises:
        ValueError: the frames are not of one size.
    """
    if a.shape != b.shape:
        raise ValueError(f"the frames must be of one size, but are {a.shape} and {b.shape}")
    thumbnails = [resized(frame, (64, 36), enlarge=cv2.INTER_AREA) for frame in (a, b)]
    luma = [cv2.cvtColor(thumbnail, cv2.COLOR_RGB2GRAY).astype(np.float64) for thumbnail in thumbnails]
    covariance = float(((luma[0] - luma[0].mean()) * (luma[1] - luma[1].mean())).mean())
    # The constant is five grey levels squared: plain frames, where correlation would be that of their noise, count as
    # alike.
    correlation = (covariance + 25) / (float(luma[0].std() * luma[1].std()) + 25)
    histograms = [cv2.calcHist([thumbnail], [0, 1, 2], None, [8, 8, 8], [0, 256] * 3) for thumbnail in thumbnails]
    moved = float(np.abs(histograms[0] - histograms[1]).sum()) / (2 * 64 * 36)
    return correlation - moved < 0.05


def flow_pairs(source: Sequence[Image], interval: int, every: int = 1) -> dict[int, FlowPair]:
    """Estimate the motion between the frames of a clip that lie `interval` apart, but not across scene cuts.

    Args:
        source: the unstylized frames, each (H, W, 3) uint8 RGB.
        interval: distance of the two frames of a pair, at least 1.
        every: take only every so many-th frame as the earlier one of a pair.

    Returns:
        The pairs by the index of their earlier frame.

    Raises:
        ValueError: `interval` or `every` is less than 1.
    """
    if interval < 1 or every < 1:
        raise ValueError(f"interval and every must be at least 1, but are {interval} and {every}")
    cuts = [is_cut(source[t], source[t + 1]) for t in range(len(source) - 1)]
    starts = range(0, len(source) - interval, every)
    return {t: flow_pair(source[t], source[t + interval]) for t in starts if not any(cuts[t : t + interval])}


def drift(stylized: Sequence[Image]) -> float:
    """How far the colour of a stylized clip wanders whose source stands still.

    Args:
        stylized: at least two frames, each (H, W, 3) uint8 RGB.

    Returns:
        Mean over the later frames and the channels of the absolute change of the frame-wide mean colour since the
        first frame, of RGB in [0, 1].

    Raises:
        ValueError: there are fewer than two frames.
    """
    if len(stylized) < 2:
        raise ValueError(f"drift needs at least two frames, but got {len(stylized)}")
    colours = np.array([frame.mean(axis=(0, 1), dtype=np.float64) for frame in stylized]) / 255  # (T, 3)
    return float(np.abs(colours[1:] - colours[0]).mean())


def shift_errors(
    stylize: Callable[[Image], Image], picture: Image, shifts: Sequence[int], size: tuple[int, int]
) -> list[float]:
    """How well a stylizer follows its input when that is moved by whole pixels, right and down.

    Windows of one picture share most of their pixels, without noise, interpolation or estimated flow: what is painted
    of one is compared with what is painted of another, moved back.

    Args:
        stylize: maps (H, W, 3) uint8 RGB to the same; called once more than there are shifts.
        picture: (height + the largest shift, width + that, 3) uint8 RGB or larger; the upper left part is used.
        shifts: px.
        size: width and height of the windows, px; more than twice the largest shift.

    Returns:
        For each shift the root mean square difference of RGB in [0, 1]. 32 px along the borders, where padding is met,
        are left out; an eighth of the shorter side where that is less.
    """
    width, height = size
    border = min(_BORDER, min(size) // 8)

    def inside(painted: Image) -> Image:
        rows, columns = painted.shape[:2]
        return painted[border : rows - border, border : columns - border]

    first = stylize(np.ascontiguousarray(picture[:height, :width]))
    errors = []
    for shift in shifts:
        second = stylize(np.ascontiguousarray(picture[shift : shift + height, shift : shift + width]))
        moved = inside(first[shift:, shift:]).astype(np.float32) - inside(second[: height - shift, : width - shift])
        errors.append(float(np.sqrt(np.mean((moved / 255) ** 2))))
    return errors


def extended(frame: Image) -> Image:
    """A frame with 8 px of its reflection on the right and below, for `shift_errors`: (H + 8, W + 8, 3)."""
    return np.asarray(cv2.copyMakeBorder(frame, 0, _MARGIN, 0, _MARGIN, cv2.BORDER_REFLECT_101), np.uint8)


def box_blur(frame: Image) -> Image:
    """The *blur* control: a stylized frame after a 5x5 box blur.

    Args:
        frame: (H, W, 3) uint8 RGB.
    """
    return np.asarray(cv2.blur(frame, (5, 5), borderType=cv2.BORDER_REPLICATE), np.uint8)
