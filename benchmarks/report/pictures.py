"""The report's pictures: error maps and zooms of consecutive frames, one row per method."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ...common.arrays import Image
from ...video.temporal import error_map
from ..measure.steadiness import IDENTITY, Moment

_ZOOM_SHARE = 0.28
"""Height of a zoom's window as a share of the frame's height."""
_ZOOM_SHAPE = 4 / 3
_ZOOM_SCALE = 3

_MARGIN, _BAND, _TEXT = 8, 22, 0.5
_INK, _PAPER = 40, 255


@dataclass(frozen=True)
class Grid:
    """Images of one size in rows, each with its heading, and headed columns; `name` is the file name's stem."""

    name: str
    title: str
    caption: str
    columns: list[str]
    rows: list[tuple[str, list[Image]]]


def moment_grids(stem: str, moment: Moment) -> list[Grid]:
    """Error maps and zooms of a clip's moment, the source first; `stem` starts the grids' names."""
    t = moment.start
    steps = [f"change {t + k} → {t + k + 1}" for k in range(len(moment.pairs))]
    shown = {"source" if row == IDENTITY else row: frames for row, frames in moment.frames.items()}
    maps: dict[str, list[Image]] = {
        row: [error_map(frames[k], frames[k + 1], pair) for k, pair in enumerate(moment.pairs)]
        for row, frames in shown.items()
    }
    top, left, height, width = _window(maps[moment.worst if moment.worst in maps else "source"], maps["source"])

    def zoomed(image: Image) -> Image:
        crop = image[top : top + height, left : left + width]
        return crop.repeat(_ZOOM_SCALE, axis=0).repeat(_ZOOM_SCALE, axis=1)

    chosen = f"Frames {t} to {t + 2}, where the temporal error of {moment.worst} exceeds the source's own most"
    return [
        Grid(
            name=f"{stem}-error-maps",
            title="Error maps",
            caption=f"{chosen}. White = large change between the warped earlier frame and the later one "
            "(a difference of 0.25 and more is white); black also where the motion cannot be trusted.",
            columns=[f"frame {t}", *steps],
            rows=[(row, [frames[0], *maps[row]]) for row, frames in shown.items()],
        ),
        Grid(
            name=f"{stem}-zooms",
            title="Zooms into consecutive frames",
            caption=f"{chosen}; the same window ({width}x{height} pixels at {left}, {top}) of each frame, "
            f"enlarged {_ZOOM_SCALE} times.",
            columns=[*(f"frame {t + k}" for k in range(3)), steps[-1]],
            rows=[(row, [zoomed(image) for image in (*frames, maps[row][-1])]) for row, frames in shown.items()],
        ),
    ]


def _window(worst: Sequence[Image], source: Sequence[Image]) -> tuple[int, int, int, int]:
    """The window (top, left, height, width) in which the worst method's maps exceed the source's most."""
    rows, columns = source[0].shape[:2]
    height = max(1, round(rows * _ZOOM_SHARE))
    width = min(columns, max(1, round(height * _ZOOM_SHAPE)))
    excess = np.sum([a.astype(np.float32) - b for a, b in zip(worst, source, strict=True)], axis=0)
    sums = cv2.integral(excess)
    inside = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]
    top, left = np.unravel_index(int(np.argmax(inside)), inside.shape)
    return int(top), int(left), height, width


def sheet(grid: Grid) -> Image:
    """A whole grid with headings as one picture, (H, W, 3) uint8 RGB."""
    height, width = grid.rows[0][1][0].shape[:2]
    across, down = width + _MARGIN, height + _BAND + _MARGIN
    canvas = np.full((_BAND + down * len(grid.rows), across * len(grid.columns) + _MARGIN, 3), _PAPER, np.uint8)
    for column, heading in enumerate(grid.columns):
        _write(canvas, heading.replace("→", "to"), _MARGIN + column * across, 16)
    for row, (heading, images) in enumerate(grid.rows):
        top = _BAND + row * down
        _write(canvas, heading, _MARGIN, top + 16)
        for column, image in enumerate(images):
            left = _MARGIN + column * across
            canvas[top + _BAND : top + _BAND + height, left : left + width] = (
                image if image.ndim == 3 else image[..., None]
            )
    return canvas


def _write(canvas: Image, text: str, x: int, y: int) -> None:
    # OpenCV's fonts are ASCII only.
    plain = text.encode("ascii", "replace").decode("ascii")
    cv2.putText(canvas, plain, (x, y), cv2.FONT_HERSHEY_SIMPLEX, _TEXT, (_INK,) * 3, 1, cv2.LINE_AA)
