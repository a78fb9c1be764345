"""The look: how much of the painting is shown, in which colours, by which brush, and where."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from ...common.asked import Asked
from ...common.files import InputError

Only = Literal["person", "background"]

LEAST_STROKE, MOST_STROKE = 0.5, 3.0


@dataclass(frozen=True, kw_only=True)
class Look:
    """What is made of a painting. Without arguments, it is the network's own output.

    Raises InputError for a `strength` outside 0 to 1, a `stroke` outside 0.5 to 3, or another `only`.
    """

    strength: Annotated[float, Asked("Share of the painting: 0 is the source, 1 the painting.", least=0, most=1)] = 1.0
    keep_colors: Annotated[bool, Asked("Keep the source's colours: paint its brightness only.")] = False
    stroke: Annotated[
        float,
        Asked("Size of the brush strokes; 2 is twice as large, and faster.", least=LEAST_STROKE, most=MOST_STROKE),
    ] = 1.0
    only: Annotated[Only | None, Asked("Paint only the person or only the background.")] = None

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1:
            raise InputError(
                f"a strength of {self.strength:g} is not possible: give 0 (the source) to 1 (the painting)"
            )
        if not LEAST_STROKE <= self.stroke <= MOST_STROKE:
            raise InputError(f"a stroke of {self.stroke:g} is not possible: give {LEAST_STROKE:g} to {MOST_STROKE:g}")
        if self.only not in (None, "person", "background"):
            raise InputError(f"'{self.only}' cannot be painted alone: give person or background")

    @property
    def text(self) -> str:
        """For file names and labels, such as ``strength0.5-colors-stroke2``; empty for the network's own output."""
        parts = (
            f"strength{self.strength:g}" if self.strength != 1 else "",
            "colors" if self.keep_colors else "",
            f"stroke{self.stroke:g}" if self.stroke != 1 else "",
            self.only or "",
        )
        return "-".join(filter(None, parts))

    def network_size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height at which the network sees a frame, in pixels: 1 / stroke of the frame's, at least 1."""
        return max(1, math.floor(width / self.stroke + 0.5)), max(1, math.floor(height / self.stroke + 0.5))


PLAIN = Look()
"""The network's own output."""
