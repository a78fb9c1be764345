"""Applies a look around any stylizer: stylize at the stroke's scale, keep colours, mask, blend."""

from collections.abc import Callable

import cv2
import numpy as np

from ...common.arrays import Image, resized
from ...common.files import InputError
from ..stylizer import Stylizer, check_frame
from . import PLAIN, Look
from .person import Mask, Person

_LUMA = np.full((3, 3), (0.2126, 0.7152, 0.0722), np.float32)
"""BT.709 luma of RGB, three times: OpenCV is faster at three channels than at one, and at float32 than at float64."""


_ROWS = 64
"""Rows that are computed at a time, so that a processor's cache holds them: a fifth less time at 640x360."""


class LookStylizer(Stylizer):
    """A stylizer with a look; `close` closes the stylizer. Made by `with_look`."""

    def __init__(self, stylizer: Stylizer, look: Look, person: Person | None) -> None:
        self.metadata, self.engine, self.real_time = stylizer.metadata, stylizer.engine, stylizer.real_time
        self._stylizer, self._look, self._person = stylizer, look, person

    def __call__(self, frame: Image) -> Image:
        """As `Stylizer`, with the look."""
        check_frame(frame)
        return painted(frame, self._look, self._stylizer, self._person)

    def _stylize(self, frame: Image) -> Image:
        return self(frame)

    def note(self, width: int, height: int) -> str:
        """As `Stylizer`."""
        return self._stylizer.note(width, height)

    def restart(self) -> None:
        """As `Stylizer`."""
        if self._person is not None:
            self._person.restart()

    def close(self) -> None:
        """Release the engine."""
        self._stylizer.close()


def with_look(stylizer: Stylizer, look: Look, threads: int | None = None) -> Stylizer:
    """A stylizer with this look: the stylizer itself for its own output. A person is sought with so many `threads`.

    Raises InputError for another stroke where the artifact has one size, and without ONNX Runtime for `only`.
    """
    if look == PLAIN:
        return stylizer
    if look.stroke != 1 and stylizer.metadata.width is not None:
        raise InputError(
            f"the stroke of '{stylizer.metadata.name}' cannot be changed, because this artifact is made for "
            f"{stylizer.metadata.size_text}: take one for any size, or export it with --stroke {look.stroke:g}"
        )
    return LookStylizer(stylizer, look, Person(threads) if look.only else None)


def painted(
    frame: Image, look: Look, stylize: Callable[[Image], Image], person: Callable[[Image], Mask] | None = None
) -> Image:
    """A frame with a look, (H, W, 3) uint8 RGB, as a new array.

    `stylize` maps a frame of another size, (h, w, 3) uint8 RGB, to a new array of that size. At strength 0 it is not
    called. `person` gives the mask for `only`, (H, W) float32 in [0, 1].
    """
    if look.strength == 0:
        return frame.copy()
    height, width = frame.shape[:2]
    # A bicubic enlargement keeps the strokes; see docs/decisions/015-stroke-brought-back.md.
    painting = resized(stylize(resized(frame, look.network_size(width, height))), (width, height))
    if look.keep_colors:
        painting = in_colors_of(frame, painting)
    if look.only is not None and person is not None:
        mask = person(frame)
        share = look.strength * (mask if look.only == "person" else 1 - mask)
        return np.asarray(cv2.blendLinear(painting, frame, share, 1 - share), np.uint8)
    if look.strength < 1:
        cv2.addWeighted(painting, look.strength, frame, 1 - look.strength, 0, dst=painting)
    return painting


def in_colors_of(frame: Image, painting: Image) -> Image:
    """The painting in the colours of the source frame; each (H, W, 3) uint8 RGB, the result a new array.

    Luma (BT.709, of the coded values) is the painting's, level for level; chroma is the source's. Each pixel's three
    channels get the same difference, so that B - Y and R - Y stay. Where that leaves 0..255, luma goes as far as the
    source's chroma allows: a saturated colour stays saturated, and is painted less.
    """
    kept = np.empty_like(frame)
    for first in range(0, len(frame), _ROWS):
        rows = slice(first, first + _ROWS)
        levels, own = (cv2.extractChannel(cv2.transform(image[rows], _LUMA), 0) for image in (painting, frame))
        colours = cv2.split(frame[rows])
        red, green, blue = colours
        lighter = cv2.min(cv2.subtract(levels, own), cv2.bitwise_not(cv2.max(cv2.max(red, green), blue)))
        darker = cv2.min(cv2.subtract(own, levels), cv2.min(cv2.min(red, green), blue))
        for colour in colours:
            cv2.subtract(cv2.add(colour, lighter, dst=colour), darker, dst=colour)
        cv2.merge(colours, dst=kept[rows])
    return kept
