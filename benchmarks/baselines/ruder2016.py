"""Ruder et al. 2016, "Artistic style transfer for videos": frames are held to earlier ones along optical flow."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...common.arrays import Image
from ...train.tensors import to_tensor
from ...video.flow import flow_pair, warp
from ...video.temporal import is_cut
from .iterative import Finished, Painter, Term

LONG_TERM = (1, 2, 4)
"""Distances of the earlier frames that a frame is held to (section 4.2)."""
_BLEND = 0.5  # delta of equation 10


def stylize(frames: Sequence[Image], painter: Painter, finished: Finished) -> int:
    """Optimize frames, each (H, W, 3) uint8 RGB, in order; several passes alternate forward and backward.

    Frames that are `finished` are skipped. Returns the number of the pass that holds the result.
    """
    passes, weight = painter.settings.passes, painter.settings.temporal_weight
    for run in range(passes):
        step = 1 if run % 2 == 0 else -1
        for index in range(len(frames))[::step]:
            if finished.has(index, run):
                continue
            start = painter.noise(frames[index], index)
            term: Term | None = None
            if passes == 1:
                warped, term = _held_to_past(frames, index, _back_to_cut(frames, index), finished, weight)
                start = start if warped is None else warped
            elif run > 0:  # section 4.3: the first pass has no temporal term; later ones blend in neighbours
                start, term = _held_to_neighbour(frames, index, index - step, finished, run, weight)
            finished.write(painter.paint(frames[index], start, term), index, run)
    return passes - 1


def _held_to_neighbour(
    frames: Sequence[Image], index: int, before: int, finished: Finished, run: int, weight: float
) -> tuple[Tensor, Term | None]:
    """Initial image, the last pass's frame blended with this pass's neighbour, and the loss that holds it there."""
    own = to_tensor(finished.read(index, run - 1)[None], torch.device("cpu"))
    if not 0 <= before < len(frames) or is_cut(frames[before], frames[index]):
        return own, None
    past, trusted = _warped(frames[before], frames[index], finished.read(before, run))
    trust = torch.from_numpy(trusted)[None, None]
    return own + _BLEND * trust * (past - own), _consistency([(past, trust)], weight)  # equation 10


def _back_to_cut(frames: Sequence[Image], index: int) -> list[int]:
    """Indices of the frames to hold to, nearest first, none from before a cut."""
    reach = 0
    while reach < max(LONG_TERM) and index - reach > 0:
        if is_cut(frames[index - reach - 1], frames[index - reach]):
            break
        reach += 1
    return [index - back for back in LONG_TERM if back <= reach]


def _held_to_past(
    frames: Sequence[Image], index: int, past: Sequence[int], finished: Finished, temporal_weight: float
) -> tuple[Tensor | None, Term | None]:
    """Initial image, the warped previous frame, and the long-term loss (equations 7 to 9); None for the first frame."""
    held: list[tuple[Tensor, Tensor]] = []
    taken = np.zeros(frames[index].shape[:2], np.float32)
    for before in past:
        warped, trusted = _warped(frames[before], frames[index], finished.read(before))
        # Only pixels that no nearer frame shows (equation 8).
        weight = np.clip(trusted - taken, 0.0, None)
        taken += trusted
        held.append((warped, torch.from_numpy(weight)[None, None]))
    return (held[0][0], _consistency(held, temporal_weight)) if held else (None, None)


def _warped(earlier: Image, later: Image, stylized: Image) -> tuple[Tensor, NDArray[np.float32]]:
    """A stylized frame warped to the later frame (backward: the earlier one), and the mask of reliable flow."""
    pair = flow_pair(earlier, later)
    moved, inside = warp(stylized, pair.flow)
    return to_tensor(moved[None], torch.device("cpu")), (pair.valid & inside).astype(np.float32)


def _consistency(held: Sequence[tuple[Tensor, Tensor]], weight: float) -> Term:
    """Weighted mean squared difference to warped frames."""

    def loss(image: Tensor) -> Tensor:
        return weight * torch.stack([((image - past).square() * trust).mean() for past, trust in held]).sum()

    return loss
