"""Steadiness of stylized video: temporal error, its controls, colour drift and shift error.

CONTRIBUTING.md ("Figures") defines them; all on RGB in [0, 1].
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

SHIFTS = (1, 2, 3, 4)  # px, for the shift error of a table
_MARGIN = 8  # px by which a frame is extended, so that it can be shifted
_BORDER = 32
_WHITE_AT = 0.25  # difference that an error map shows as white


@dataclass(frozen=True)
class TemporalError:
    """The temporal error of one stylized video at one interval.

    Attributes:
        interval: distance of the two frames of a pair, in frames (1 = short term, 5 = long term).
        value: e_temporal, a root mean square difference of RGB in [0, 1].
        mask_share: mean share of valid pixels, in [0, 1].
        per_pair: masked mean squared difference of each pair, in frame order.
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
    """Masked mean squared difference between the warped earlier frame and the later one, both (H, W, 3) uint8 RGB.

    `pair` is the motion of the *source*. The mean is over valid pixels and channels, RGB in [0, 1]; NaN without any.
    """
    valid = int(pair.valid.sum())
    if valid == 0:
        return float("nan")
    squared = np.square(_warped_difference(earlier_stylized, later_stylized, pair))
    return float(squared[pair.valid].mean(dtype=np.float64))


def error_map(earlier_stylized: Image, later_stylized: Image, pair: FlowPair) -> Image:
    """Picture of one pair's temporal error, (H, W) uint8: root mean square over the channels.

    0.25 and more is white, masked pixels are black. Frames are (H, W, 3) uint8 RGB; `pair` is the source's motion.
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

    The masked mean squared difference of each pair, averaged over pairs, square root (the e_stab convention of Huang et
    al. 2017 and ReCoNet, Gao et al. 2018). Pairs without any valid pixel do not count; InputError if none is left, for
    instance in a short clip.

    Args:
        stylized: frames, each (H, W, 3) uint8 RGB.
        pairs: motion of the source; key t is the index of the earlier frame, t + interval that of the later one.
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
    """Whether a scene cut lies between two consecutive frames, (H, W, 3) uint8 RGB; ValueError if their sizes differ.

    A cut changes both layout and colours; fast motion changes mostly layout, a flash mostly colours. The measure is the
    luma correlation of thumbnails minus the share of pixels that the colour histogram moves. It was at most -0.11 on 13
    real cuts in film and street clips, at least 0.21 on 4,934 other pairs (camera shake, explosions, wing beats).
    """
    if a.shape != b.shape:
        raise ValueError(f"the frames must be of one size, but are {a.shape} and {b.shape}")
    thumbnails = [resized(frame, (64, 36), enlarge=cv2.INTER_AREA) for frame in (a, b)]
    luma = [cv2.cvtColor(thumbnail, cv2.COLOR_RGB2GRAY).astype(np.float64) for thumbnail in thumbnails]
    covariance = float(((luma[0] - luma[0].mean()) * (luma[1] - luma[1].mean())).mean())
    # 25, five grey levels squared, makes plain frames alike: else noise would decide their correlation.
    correlation = (covariance + 25) / (float(luma[0].std() * luma[1].std()) + 25)
    histograms = [cv2.calcHist([thumbnail], [0, 1, 2], None, [8, 8, 8], [0, 256] * 3) for thumbnail in thumbnails]
    moved = float(np.abs(histograms[0] - histograms[1]).sum()) / (2 * 64 * 36)
    return correlation - moved < 0.05


def flow_pairs(source: Sequence[Image], interval: int, every: int = 1) -> dict[int, FlowPair]:
    """Estimate the motion between frames `interval` apart, by index of the earlier one, but not across scene cuts.

    `source` frames are (H, W, 3) uint8 RGB; one pair starts every `every` frames. ValueError if `interval` or `every`
    is below 1.
    """
    if interval < 1 or every < 1:
        raise ValueError(f"interval and every must be at least 1, but are {interval} and {every}")
    cuts = [is_cut(source[t], source[t + 1]) for t in range(len(source) - 1)]
    starts = range(0, len(source) - interval, every)
    return {t: flow_pair(source[t], source[t + interval]) for t in starts if not any(cuts[t : t + interval])}


def drift(stylized: Sequence[Image]) -> float:
    """Colour drift of a stylized clip whose source stands still; frames are (H, W, 3) uint8 RGB.

    The absolute change of the frame-wide mean colour since the first frame, averaged over later frames and channels, of
    RGB in [0, 1]. Raises ValueError for fewer than two frames.
    """
    if len(stylized) < 2:
        raise ValueError(f"drift needs at least two frames, but got {len(stylized)}")
    colours = np.array([frame.mean(axis=(0, 1), dtype=np.float64) for frame in stylized]) / 255  # (T, 3)
    return float(np.abs(colours[1:] - colours[0]).mean())


def shift_errors(
    stylize: Callable[[Image], Image], picture: Image, shifts: Sequence[int], size: tuple[int, int]
) -> list[float]:
    """How well a stylizer follows its input when that moves right and down by whole pixels.

    Compares outputs on overlapping windows of one picture, free of noise, interpolation and estimated flow.

    Args:
        stylize: maps (H, W, 3) uint8 RGB to the same; called once more than there are shifts.
        picture: (height + the largest shift, width + that, 3) uint8 RGB or larger; the upper left part is used.
        shifts: px.
        size: width and height of the windows, px; more than twice the largest shift.

    Returns:
        For each shift the root mean square difference of RGB in [0, 1], without borders (padding): 32 px, or an eighth
        of the shorter side if less.
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
    """A frame extended by 8 px of its reflection on the right and below, for `shift_errors`: (H + 8, W + 8, 3)."""
    return np.asarray(cv2.copyMakeBorder(frame, 0, _MARGIN, 0, _MARGIN, cv2.BORDER_REFLECT_101), np.uint8)


def box_blur(frame: Image) -> Image:
    """The *blur* control: a stylized frame, (H, W, 3) uint8 RGB, after a 5x5 box blur."""
    return np.asarray(cv2.blur(frame, (5, 5), borderType=cv2.BORDER_REPLICATE), np.uint8)
