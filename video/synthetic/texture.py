"""Brushes for synthetic scenes: fractal noise, gradients, antialiased shapes. Masks and noise are (h, w) float32."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ...common.arrays import resized

Plane = NDArray[np.floating[Any]]
Colour = tuple[float, float, float]

_FINE = 4  # shapes are drawn this many times larger and averaged down, for smooth edges
_EVERYWHERE = slice(None), slice(None)


def colour(code: str) -> Colour:
    """RGB in [0, 1] of a colour written as "#rrggbb"."""
    red, green, blue = (int(code[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return red, green, blue


def clouds(
    rng: np.random.Generator, height: int, width: int, cells: Sequence[tuple[float, float]], *, repeats: bool = False
) -> Plane:
    """Fractal noise, (height, width) float32 with mean 0 and standard deviation 1, the same power in each octave.

    Args:
        cells: sizes of the features as (height, width) in pixels, the strongest first; amplitudes fall with the sizes.
        repeats: whether the right edge continues at the left one.
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
    """Colours of a gradient at `values`, (..., 3) float32 RGB; `stops` are (position, colour) in rising order."""
    positions = [stop[0] for stop in stops]
    channels = [np.interp(values, positions, [stop[1][i] for stop in stops]) for i in range(3)]
    return np.stack(channels, axis=-1).astype(np.float32)


class Sheet:
    """A sheet being painted, in units that are scaled to pixels.

    Attributes:
        picture: (h, w, 3) float32 RGB in [0, 1], premultiplied by cover.
        cover: (h, w, 1) float32 in [0, 1], 1 where there is paint.
        unit: pixels per unit.
    """

    def __init__(self, height: float, width: float, unit: float) -> None:
        """Make an empty sheet; height and width are in units."""
        size = (max(1, round(height * unit)), max(1, round(width * unit)))
        self.picture = np.zeros((*size, 3), np.float32)
        self.cover = np.zeros((*size, 1), np.float32)
        self.unit = unit

    def put(
        self, mask: Plane, paint: Plane | Colour, window: tuple[slice, slice] = _EVERYWHERE, *, inside: bool = False
    ) -> None:
        """Paint one colour or (h, w, 3) float32 by a (h, w) mask in [0, 1]; `inside` only onto existing paint."""
        picture, cover, strength = self.picture[window], self.cover[window], mask[..., None]
        colours = np.asarray(paint, np.float32)
        picture += (colours * cover if inside else colours) * strength - picture * strength
        if not inside:
            cover += (1 - cover) * strength

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
        self.put(np.asarray(mask, np.float32) / 255, colours, window, inside=inside)

    def disc(self, x: float, y: float, radius: float, paint: Plane | Colour) -> None:
        """Paint a circle with a smooth edge; all in units."""
        rows, columns = self.grid()
        mask = np.clip((radius - np.hypot(columns - x, rows - y)) * self.unit + 0.5, 0, 1)
        self.put(mask, paint)

    def grid(self) -> tuple[Plane, Plane]:
        """Rows and columns of the pixels in units, each (h, w) float32."""
        height, width = self.picture.shape[:2]
        y, x = np.mgrid[0:height, 0:width].astype(np.float32)
        half, unit = np.float32(0.5), np.float32(self.unit)
        return (y + half) / unit, (x + half) / unit

    def noise(
        self, rng: np.random.Generator, sizes: Sequence[float], *, stretch: float = 1, repeats: bool = False
    ) -> Plane:
        """Fractal noise (see `clouds`), (h, w) float32: feature heights in units, widths `stretch` times these."""
        height, width = self.picture.shape[:2]
        cells = [(size * self.unit, size * stretch * self.unit) for size in sizes]
        return clouds(rng, height, width, cells, repeats=repeats)

    def texture(self, *, repeats: bool = False) -> NDArray[np.uint8]:
        """The layer's texture, (h, w, 4) uint8: RGB premultiplied by alpha, and alpha.

        It is smoothed slightly, so that bilinear warps are accurate. `repeats` appends the first column as the last.
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
