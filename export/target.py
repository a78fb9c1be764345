"""The interface of the writers, and the check of what a target can write."""

import math
from pathlib import Path
from typing import Protocol

from torch import nn

from ..common.arrays import Size
from ..common.files import InputError
from ..runtimes.artifact import LAYOUTS, ArtifactMetadata
from ..runtimes.look import PLAIN, Look
from ..runtimes.stylizer import Stylizer
from .quantization import Quantization

MAX_SIDE = 8192
LEAST_CALIBRATED_SIDE = 32
PRECISIONS = ("fp32", "fp16", "int8")


class Writer(Protocol):
    """The interface that a target's file provides."""

    ending: str  # of its files, with the dot; it selects the runtime
    default_precision: str  # used if none is given
    precisions: tuple[str, ...] = PRECISIONS
    any_size: bool = False  # whether it can write artifacts for frames of any size
    calibrated: frozenset[str] = frozenset()  # precisions that need a `Quantization`
    layouts: tuple[str, ...] = ("HWC",)  # values of `LAYOUTS` that it can write
    bakes_looks: bool = False  # whether a look can be part of the artifact
    rounds_results: bool = False  # whether 8-bit engines round a convolution's result, or only its input

    def write(
        self,
        network: nn.Module,
        path: Path,
        size: Size | None,
        precision: str,
        quantization: Quantization | None,
        look: Look = PLAIN,
        layout: str = "HWC",
    ) -> str:
        """Write the network and a look to a new file, with ends of this layout; return the tools' names and versions.

        `size` is that of the frames; a `quantization` was found at the size that the network sees.
        """
        ...

    def embed(self, path: Path, metadata: ArtifactMetadata) -> ArtifactMetadata:
        """Replace the metadata of a written file; return it with the hash of the content."""
        ...

    def remark(self, path: Path) -> str:
        """What a user should know of a written file, such as the operators that a GPU takes; empty for nothing."""
        return ""

    def run(self, path: Path) -> Stylizer:
        """Open a written file that has metadata, with the runtime that proves it best on this machine."""
        ...


def check_offer(
    target: str, writer: Writer, precision: str, size: Size | None, look: Look = PLAIN, layout: str = "HWC"
) -> None:
    """Raise InputError, which names the valid choices, if a target cannot write what is asked for."""
    if precision not in writer.precisions:
        what = "has no precision" if precision in PRECISIONS else "knows no precision"
        raise InputError(f"the target {target} {what} '{precision}': choose {' or '.join(writer.precisions)}")
    if look.only is not None:
        raise InputError(
            f"an artifact cannot paint the {look.only} only, which takes a second network: leave only away"
        )
    if look != PLAIN and not writer.bakes_looks:
        raise InputError(
            f"the target {target} cannot contain a look: leave --strength, --keep-colors and --stroke away"
        )
    if layout not in writer.layouts:
        named = [name for name, axes in LAYOUTS.items() if axes in writer.layouts]
        raise InputError(f"the target {target} takes images, not arrays: give --io {' or '.join(named)}")
    if size is None and look.stroke != 1:
        raise InputError("another stroke needs a fixed size: give WIDTHxHEIGHT, for example 640x360")
    if size is None and not writer.any_size:
        raise InputError(f"the target {target} needs a fixed size: give WIDTHxHEIGHT, for example 640x360")
    if size is not None and not all(1 <= side <= MAX_SIDE for side in size):
        raise InputError(f"size {size[0]}x{size[1]} cannot be exported: both sides must be from 1 to {MAX_SIDE} pixels")
    if size is None or precision not in writer.calibrated:
        return
    if min(look.network_size(*size)) < LEAST_CALIBRATED_SIDE:
        raise InputError(
            f"size {size[0]}x{size[1]} is too small for {precision}: "
            f"both sides must be at least {math.ceil(LEAST_CALIBRATED_SIDE * look.stroke)} pixels"
        )
