"""Brushes for synthetic scenes: fractal texture, gradients, and antialiased shapes.

Masks and noise are (h, w) float32.
"""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ...common.arrays import resized

Plane = NDArray[np.floating[Any]]
Colour = tuple[float, float, float]

_FINE = 4
"""Shapes are drawn this many times larger and averaged down, so that their edges are smooth."""


def colour(code: str) -> Colour:
    """RGB in [0, 1] of a colour written as "#rrggbb"."""
    red, green, blue = (int(code[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return red, green, blue


def clouds(
    rng: np.random.Generator, height: int, width: int, cells: Sequence[tuple[float, float]], *, repeats: bool = False
) -> Plane:
    """Fractal noise with features of several sizes, each size with the same power per octave.

    Args:
        rng: the source of chance.
        height: in pixels.
        width: in pixels.
        cells: sizes of the features as (height, width) in pixels, the strongest first; amplitudes fall as the sizes do.
        repeats: whether the right edge goes over into the left one.

    Returns:
        (height, width) float32 with mean 0 and standard deviation 1.
    """
    total = np.zeros((height, width), np.float32)
    largest = max(cell[0] * cell[1] for cell in cells)
    # Features smaller than two pixels would not survive smoothing.
    for cell_height, cell_width in [cells[0], *(cell for cell in cells[1:] if cell[1] >= 2)]:
        rows, columns = max(1, round(height / cell_height)), max(1, round(width / cell_width))
        knots = rng.standard_normal((rows + 4, columns), np.float32)
        knots = np.pad(knots, ((0, 0), (2, 2)), mode="wrap") if repeats else _widened(rng, knots)
        x = np.arange(width, dtype=np.float32) * (columns / width) + 2
        y = np.arange(height, dtype=np.float32) * (rows / height) + 2
        grid_x, grid_y = np.meshgrid(x, y)
        octave = cv2.remap(knots, grid_x, grid_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        total += np.float32((cell_height * cell_width / largest) ** 0.5) * octave
    return np.asarray((total - total.mean()) / (total.std() + 1e-6), np.float32)


def _widened(rng: np.random.Generator, knots: Plane) -> Plane:
    more = rng.standard_normal((knots.shape[0], 4), np.float32)
    return np.concatenate([more[:, :2], knots, more[:, 2:]], axis=1)


def ramp(values: Plane, stops: Sequence[tuple[float, Colour]]) -> Plane:
    """Colours of a gradient.

    Args:
        values: (...) positions along the gradient.
        stops: positions in rising order with their colours.

    Returns:
        (..., 3) float32 RGB.
    """
    positions = [stop[0] for stop in stops]
    channels = [np.interp(values, positions, [stop[1][i] for stop in stops]) for i in range(3)]
    return np.stack(channels, axis=-1).astype(np.float32)


class Sheet:
    """A sheet being painted: colour and cover, in units that are scaled to pixels.

    Attributes:
        picture: (h, w, 3) float32 RGB in [0, 1], multiplied by cover.
        cover: (h, w, 1) float32 in [0, 1], 1 where there is paint.
        unit: pixels per unit.
    """

    def __init__(self, height: float, width: float, unit: float) -> None:
        """Lay out an empty sheet of a size in units."""
        size = (max(1, round(height * unit)), max(1, round(width * unit)))
        self.picture = np.zeros((*size, 3), np.float32)
        self.cover = np.zeros((*size, 1), np.float32)
        self.unit = unit

    def put(self, mask: Plane, paint: Plane | Colour, *, inside: bool = False) -> None:
        """Paint where a mask is 1.

        Args:
            mask: (h, w) float32 in [0, 1].
            paint: one colour, or (h, w, 3) float32.
            inside: only onto what is painted already.
        """
        everywhere = slice(None), slice(None)
        self._put(everywhere, mask, np.asarray(paint, np.float32), inside)

    def fill(self, points: Sequence[tuple[float, float]], paint: Plane | Colour, *, inside: bool = False) -> None:
        """Paint a polygon with smooth edges; corners (x, y) in units, paint and inside as in `put`."""
        height, width = self.picture.shape[:2]
        corners = np.array(points, np.float64) * self.unit
        left, top = np.floor(corners.min(axis=0)).astype(int).clip(0, [width, height])
        right, bottom = np.ceil(corners.max(axis=0)).astype(int).clip(0, [width, height])
        if left >= right or top >= bottom:
            return
        fine = np.zeros(((bottom - top) * _FINE, (right - left) * _FINE), np.uint8)
        fixed_point = np.rint((corners - [left, top]) * (_FINE * 16)).astype(np.int32)
        cv2.fillPoly(fine, [fixed_point], 255, lineType=cv2.LINE_8, shift=4)
        mask = resized(fine, (right - left, bottom - top))
        window = slice(top, bottom), slice(left, right)
        colours = np.asarray(paint, np.float32)
        colours = colours[window] if colours.ndim == 3 else colours
        self._put(window, np.asarray(mask, np.float32) / 255, colours, inside)

    def _put(self, window: tuple[slice, slice], mask: Plane, paint: Plane, inside: bool) -> None:
        picture, cover = self.picture[window], self.cover[window]
        strength = mask[..., None]
        picture += (paint * cover if inside else paint) * strength - picture * strength
        if not inside:
            cover += (1 - cover) * strength

    def disc(self, x: float, y: float, radius: float, paint: Plane | Colour, *, inside: bool = False) -> None:
        """Paint a circle with a smooth edge; all in units."""
        rows, columns = self.grid()
        mask = np.clip((radius - np.hypot(columns - x, rows - y)) * self.unit + 0.5, 0, 1)
        self.put(mask, paint, inside=inside)

    def grid(self) -> tuple[Plane, Plane]:
        """Rows and columns of the pixels in units, each (h, w) float32."""
        height, width = self.picture.shape[:2]
        y, x = np.mgrid[0:height, 0:width].astype(np.float32)
        half, unit = np.float32(0.5), np.float32(self.unit)
        return (y + half) / unit, (x + half) / unit

    def noise(
        self, rng: np.random.Generator, sizes: Sequence[float], *, stretch: float = 1, repeats: bool = False
    ) -> Plane:
        """Fractal noise (see `clouds`), (h, w) float32: features of these heights in units, so many times as wide."""
        height, width = self.picture.shape[:2]
        cells = [(size * self.unit, size * stretch * self.unit) for size in sizes]
        return clouds(rng, height, width, cells, repeats=repeats)

    def tint(self, shade: Plane) -> None:
        """Multiply all colours by (h, w) float32, 1 = unchanged."""
        self.picture *= shade[..., None]

    def texture(self, *, repeats: bool = False) -> NDArray[np.uint8]:
        """The layer's texture, smoothed a little so that bilinear warps of it are accurate.

        Args:
            repeats: whether it will be repeated to the right: then the first column is added once more as the last.

        Returns:
            (h, w, 4) uint8, RGB multiplied by alpha, and alpha.
        """
        sheet = np.dstack([np.clip(self.picture, 0, self.cover), self.cover])
        margin = 6
        sheet = np.pad(sheet, ((0, 0), (margin, margin), (0, 0)), mode="wrap" if repeats else "edge")
        smooth = cv2.GaussianBlur(sheet, (0, 0), 0.5, borderType=cv2.BORDER_REPLICATE)
        smooth = smooth[:, margin : -margin + 1 if repeats else -margin]
        return np.rint(smooth * 255).astype(np.uint8)


def smooth_step(values: Plane, start: float, end: float) -> Plane:
    """0 below `start`, 1 above `end`, and smooth between."""
    x = np.clip((values - start) / (end - start), 0, 1)
    return np.asarray(x * x * (3 - 2 * x), np.float32)
