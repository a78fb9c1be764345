"""Synthetic scenes whose optical flow is known exactly.

A scene is a stack of painted layers, back to front. Each has an affine motion and may be bent vertically, with exact
inverses. Thus a later frame's pixel maps through its layer's texture to an earlier frame; layer order gives visibility.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ...common.arrays import Image
from ..flow import FlowPair

Matrix = NDArray[np.float64]
Plane = NDArray[np.float32]
Motion = Callable[[float], Matrix]
"""Maps a time in seconds to a (2, 3) matrix, in pixels."""

UNITS = 360  # height of every frame
_BLUR_STEPS = 9


def turned(angle: float, pivot: tuple[float, float], right: float = 0, down: float = 0, *, scale: float = 1) -> Matrix:
    """(2, 3) matrix: scale and turn about a pivot (x, y) by an angle in radians, then shift, in pixels."""
    cosine, sine = scale * math.cos(angle), scale * math.sin(angle)
    x, y = pivot
    rest_x, rest_y = x - cosine * x + sine * y, y - sine * x - cosine * y
    return np.array([[cosine, -sine, rest_x + right], [sine, cosine, rest_y + down]])


@dataclass(frozen=True)
class Layer:
    """One painted sheet of a scene.

    Attributes:
        texture: (h, w, 4) uint8, RGB premultiplied by alpha, and alpha.
        place: maps a time in seconds to the (2, 3) matrix from (u, v) of the texture to (x, y) of the frame, in pixels.
        lift: maps texture columns u and a time to each column's shift down before `place`, in pixels of the texture.
        reach: the largest absolute lift, in pixels.
        repeats: whether the texture repeats horizontally; last column = first, `place` neither rotates nor shears.
    """

    texture: NDArray[np.uint8]
    place: Callable[[float], Matrix]
    lift: Callable[[Plane, float], Plane] | None = None
    reach: float = 0
    repeats: bool = False

    def window(self, time_s: float, width: int, height: int) -> tuple[slice, slice]:
        """Rows and columns of a frame that can contain the layer."""
        rows, columns = self.texture.shape[:2]
        corners = np.array([[u, v, 1] for u in (-1, columns) for v in (-1 - self.reach, rows + self.reach)])
        x, y = self.place(time_s) @ corners.T
        across = slice(0, width) if self.repeats else _clipped(x, width)
        return _clipped(y, height), across

    def texture_position(self, x: Plane, y: Plane, time_s: float) -> tuple[Plane, Plane]:
        """Texture coordinates (u, v) of frame coordinates (x, y), broadcast against each other."""
        (a, b, c), (d, e, f) = cv2.invertAffineTransform(self.place(time_s))
        u = np.asarray(a * x + b * y + c, np.float32)
        v = np.asarray(d * x + e * y + f, np.float32)
        return u, v if self.lift is None else v - self.lift(u, time_s)

    def frame_position(self, u: Plane, v: Plane, time_s: float) -> tuple[Plane, Plane]:
        """Frame coordinates (x, y) of texture coordinates (u, v): the inverse of `texture_position`."""
        (a, b, c), (d, e, f) = self.place(time_s)
        v = v if self.lift is None else v + self.lift(u, time_s)
        return np.asarray(a * u + b * v + c, np.float32), np.asarray(d * u + e * v + f, np.float32)

    def sample(self, u: Plane, v: Plane) -> NDArray[np.uint8]:
        """The texture at (u, v), bilinear, transparent beyond its border; (..., 4) uint8."""
        texture = self.texture
        if self.repeats:
            u = np.mod(u, np.float32(texture.shape[1] - 1))
        return np.asarray(cv2.remap(texture, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT), np.uint8)


def _clipped(positions: Matrix, size: int) -> slice:
    start = min(size, max(0, math.floor(positions.min())))
    return slice(start, max(start, min(size, math.ceil(positions.max()) + 1)))


@dataclass(frozen=True)
class Scene:
    """A synthetic clip with exact flow; each frame can be made alone and is reproducible.

    Attributes:
        layers: from back to front; the first covers the whole frame at all times.
        noise: standard deviation of sensor noise, of RGB in [0, 1].
        light: maps a time in seconds to a factor of all colours; None is 1.
        shutter: its open time, as a share of the frame interval; motion within it is blurred.
    """

    name: str
    width: int
    height: int
    frames: int
    frame_rate: float
    layers: list[Layer]
    noise: float = 0
    light: Callable[[float], float] | None = None
    shutter: float = 0

    def __iter__(self) -> Iterator[Image]:
        return (self.frame(t) for t in range(self.frames))

    def frame(self, t: int) -> Image:
        """Paint frame `t`, (H, W, 3) uint8 RGB; raises IndexError if there is no such frame."""
        time_s = self._time(t)
        canvas = self._painted(time_s)
        if self.shutter > 0:
            # Centred on the frame's time, so that its flow is that of the middle of the blur.
            open_s = self.shutter / self.frame_rate * np.linspace(-0.5, 0.5, _BLUR_STEPS)
            total = sum(self._painted(time_s + float(offset)).astype(np.float32) for offset in open_s)
            canvas = np.asarray(np.rint(np.asarray(total) / _BLUR_STEPS), np.uint8)
        if self.light is not None:
            canvas = np.asarray(cv2.convertScaleAbs(canvas, alpha=self.light(time_s)), np.uint8).reshape(canvas.shape)
        if self.noise == 0:
            return np.asarray(canvas, np.uint8)
        grain = np.random.default_rng(t).standard_normal(canvas.shape, np.float32) * np.float32(255 * self.noise)
        return np.asarray(cv2.add(canvas, grain, dtype=cv2.CV_8U), np.uint8)

    def _painted(self, time_s: float) -> Image:
        """The layers at a time, without light, blur and noise."""
        canvas = np.zeros((self.height, self.width, 3), np.uint8)
        for _, window, picture in self._pictures(time_s):
            cover = cv2.cvtColor(255 - picture[..., 3], cv2.COLOR_GRAY2RGB)
            behind = cv2.multiply(canvas[window], cover, scale=1 / 255)
            canvas[window] = cv2.add(behind, np.ascontiguousarray(picture[..., :3]))
        return canvas

    def pair(self, t: int, interval: int) -> FlowPair:
        """The exact motion between frame t and frame t + interval; raises IndexError if there is no such frame.

        Valid where the earlier frame shows the same layer at all four bilinear samples, and neither position is on an
        edge.
        """
        earlier_s, later_s = self._time(t), self._time(t + interval)
        owner_earlier, owner = self._owners(earlier_s), self._owners(later_s)
        flow = np.zeros((self.height, self.width, 2), np.float32)
        for index, layer in enumerate(self.layers):
            window = layer.window(later_s, self.width, self.height)
            x, y = _grid(window)
            x_earlier, y_earlier = layer.frame_position(*layer.texture_position(x, y, later_s), earlier_s)
            mine = owner[window] == index
            flow[window][mine] = np.stack([x_earlier - x, y_earlier - y], axis=2)[mine]
        return FlowPair(flow, (owner >= 0) & self._shows(owner_earlier, owner, flow))

    def _time(self, t: int) -> float:
        if not 0 <= t < self.frames:
            raise IndexError(f"frame {t} is not one of the {self.frames} frames of {self.name}")
        return t / self.frame_rate

    def _pictures(self, time_s: float) -> Iterator[tuple[int, tuple[slice, slice], NDArray[np.uint8]]]:
        """Index, window and (h, w, 4) picture of each layer that can be in the frame, back to front."""
        for index, layer in enumerate(self.layers):
            window = layer.window(time_s, self.width, self.height)
            x, y = _grid(window)
            if x.size and y.size:
                yield index, window, layer.sample(*layer.texture_position(x, y, time_s))

    def _owners(self, time_s: float) -> NDArray[np.int8]:
        # Index of the layer that fully covers a pixel; -1 where two layers mix.
        owner = np.full((self.height, self.width), -1, np.int8)
        for index, window, picture in self._pictures(time_s):
            alpha, part = picture[..., 3], owner[window]
            part[alpha > 0] = -1
            part[alpha == 255] = index
        return owner

    def _shows(self, owners: NDArray[np.int8], wanted: NDArray[np.int8], flow: Plane) -> NDArray[np.bool_]:
        x, y = _grid((slice(0, self.height), slice(0, self.width)))
        x, y = x + flow[..., 0], y + flow[..., 1]
        shown = (x >= 0) & (x <= self.width - 1) & (y >= 0) & (y <= self.height - 1)
        for column, row in itertools.product((np.floor(x), np.ceil(x)), (np.floor(y), np.ceil(y))):
            at = row.clip(0, self.height - 1).astype(np.intp), column.clip(0, self.width - 1).astype(np.intp)
            shown = shown & (owners[at] == wanted)
        return shown


def _grid(window: tuple[slice, slice]) -> tuple[Plane, Plane]:
    rows, columns = window
    x = np.arange(columns.start, columns.stop, dtype=np.float32)[None, :]
    y = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None]
    return x, y
