"""Benchmark scenes with one kind of motion each, exact flow and photograph-like texture; no download needed.

Sizes and speeds are in units: a frame is 360 units high.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from .harbour import harbour
from .scene import UNITS, Layer, Matrix, Motion, Scene, turned
from .texture import Sheet, ramp, smooth_step

_MARGIN = 90  # units of the rear sheet beyond each side of the frame: the camera may move this far


def _tapestry(rng: np.random.Generator, height: float, width: float, unit: float) -> Sheet:
    """A sheet of shapes of all sizes and colours, with texture at every scale; sizes in units."""
    sheet = Sheet(height, width, unit)
    tones = [(position, tuple(rng.uniform(0.1, 0.9, 3))) for position in (0.0, 0.35, 0.65, 1.0)]
    ground = ramp(0.5 + 0.25 * sheet.noise(rng, (120, 60, 30, 15, 8, 4, 2)), tones)
    sheet.put(np.ones(sheet.picture.shape[:2], np.float32), ground)
    for _ in range(round(height * width / 4000)):
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        size = float(np.exp(rng.uniform(math.log(5), math.log(50))))
        paint = tuple(rng.uniform(0.05, 0.95, 3))
        if rng.random() < 0.4:
            size /= 2
            angles = rng.uniform(0, 2 * math.pi) + np.linspace(0, 2 * math.pi, 40)
        else:
            angles = np.sort(rng.uniform(0, 2 * math.pi, int(rng.integers(3, 7))))
        sheet.fill([(x + size * math.cos(a), y + size * math.sin(a)) for a in angles], paint)
    sheet.picture *= 1 + 0.12 * sheet.noise(rng, (24, 12, 6, 3, 1.5))[..., None]
    return sheet


def _backmost(rng: np.random.Generator, width: int, height: int) -> Sheet:
    unit = height / UNITS
    return _tapestry(rng, UNITS + 2 * _MARGIN, width / unit + 2 * _MARGIN, unit)


def _moved(sheet: Sheet, motion: Motion) -> Layer:
    """A sheet whose margin lies outside the frame; `motion` maps a time to the frame's motion, in pixels."""
    rest = _square(_shift(-_MARGIN * sheet.unit, -_MARGIN * sheet.unit))
    return Layer(sheet.texture(), lambda time_s: np.asarray((_square(motion(time_s)) @ rest)[:2]))


def _background(rng: np.random.Generator, width: int, height: int, motion: Motion) -> Layer:
    return _moved(_backmost(rng, width, height), motion)


def _square(matrix: Matrix) -> Matrix:
    return np.vstack([matrix, [0, 0, 1]])


def _shift(right: float, down: float) -> Matrix:
    return np.array([[1, 0, right], [0, 1, down]])


def _sway(unit: float, reach: float = 70.0) -> Motion:
    """A camera that sways by at most 2.2 units per frame at 25 frames per second."""
    return lambda time_s: _shift(reach * unit * math.sin(time_s / 1.3), 0.3 * reach * unit * math.sin(time_s / 0.9))


def _islands(rng: np.random.Generator, width: int, height: int, motion: Motion) -> Layer:
    """A sheet with holes that show what is behind."""
    sheet, unit = _backmost(rng, width, height), height / UNITS
    shown = smooth_step(sheet.noise(rng, (110, 50, 25)) * unit, 0.75 * unit, (0.75 + 0.05 / unit) * unit)
    sheet.picture *= shown[..., None]
    sheet.cover *= shown[..., None]
    return _moved(sheet, motion)


def pan(width: int = 640, height: int = 360, frames: int = 50, frame_rate: float = 25) -> Scene:
    """A camera that sways over a flat picture."""
    rng, unit = np.random.default_rng(1), height / UNITS
    return Scene("pan", width, height, frames, frame_rate, [_background(rng, width, height, _sway(unit))])


def zoom(width: int = 640, height: int = 360, frames: int = 50, frame_rate: float = 25) -> Scene:
    """A camera that zooms between scales 1.0 and 1.3."""

    def motion(time_s: float) -> Matrix:
        return turned(0, (width / 2, height / 2), scale=1.15 + 0.15 * math.sin(1.5 * time_s))

    layer = _background(np.random.default_rng(2), width, height, motion)
    return Scene("zoom", width, height, frames, frame_rate, [layer])


def turn(width: int = 640, height: int = 360, frames: int = 50, frame_rate: float = 25) -> Scene:
    """A camera that rolls by up to ten degrees."""

    def motion(time_s: float) -> Matrix:
        return turned(math.radians(10) * math.sin(1.7 * time_s), (width / 2, height / 2), scale=1.1)

    layer = _background(np.random.default_rng(3), width, height, motion)
    return Scene("turn", width, height, frames, frame_rate, [layer])


def parallax(width: int = 640, height: int = 360, frames: int = 50, frame_rate: float = 25) -> Scene:
    """A camera that moves past four layers, the nearer the faster."""
    rng, unit = np.random.default_rng(4), height / UNITS
    layers = [_background(rng, width, height, _sway(unit, 15.0))]
    layers += [_islands(rng, width, height, _sway(unit, reach)) for reach in (30.0, 50.0, 75.0)]
    return Scene("parallax", width, height, frames, frame_rate, layers)


def occluder(width: int = 640, height: int = 360, frames: int = 50, frame_rate: float = 25) -> Scene:
    """A large object that turns and passes back and forth in front of a still picture."""
    rng, unit = np.random.default_rng(5), height / UNITS
    sheet = _tapestry(rng, 150, 150, unit)
    rows, columns = sheet.grid()
    inside = smooth_step(70 - np.hypot(columns - 75, rows - 75), 0, 1 / unit)
    sheet.picture *= inside[..., None]
    sheet.cover *= inside[..., None]

    def passing(time_s: float) -> Matrix:
        middle = width / 2 + 0.35 * width * math.sin(0.9 * time_s)
        return _shift(middle - 75 * unit, 105 * unit) @ _square(turned(0.8 * time_s, (75 * unit, 75 * unit)))

    layers = [_background(rng, width, height, lambda time_s: _shift(0, 0)), Layer(sheet.texture(), passing)]
    return Scene("occluder", width, height, frames, frame_rate, layers)


def still(width: int = 640, height: int = 360, frames: int = 50, frame_rate: float = 25) -> Scene:
    """A fixed camera in poor light: nothing moves but the sensor noise."""
    layer = _background(np.random.default_rng(6), width, height, lambda time_s: _shift(0, 0))
    return Scene("still", width, height, frames, frame_rate, [layer], 5 / 255)


def light(width: int = 640, height: int = 360, frames: int = 50, frame_rate: float = 25) -> Scene:
    """A slow pan while the brightness varies between 0.7 and 1.0."""
    rng, unit = np.random.default_rng(7), height / UNITS
    layer = _background(rng, width, height, _sway(unit, 25.0))

    def brightness(time_s: float) -> float:
        return 0.85 + 0.15 * math.sin(3 * time_s)

    return Scene("light", width, height, frames, frame_rate, [layer], light=brightness)


def blur(width: int = 640, height: int = 360, frames: int = 50, frame_rate: float = 25) -> Scene:
    """A quick pan with the shutter open for half of the frame interval."""
    rng, unit = np.random.default_rng(8), height / UNITS

    def motion(time_s: float) -> Matrix:
        return _shift(80 * unit * math.sin(1.8 * time_s), 0)

    return Scene("blur", width, height, frames, frame_rate, [_background(rng, width, height, motion)], shutter=0.5)


_ALL: Sequence[Callable[..., Scene]] = (harbour, pan, zoom, turn, parallax, occluder, still, light, blur)
SCENES: Mapping[str, Callable[..., Scene]] = {scene.__name__: scene for scene in _ALL}
"""Called with width, height, frames and frame_rate."""
