"""Ruder et al. 2016, "Artistic style transfer for videos": each frame held to those before it, along optical flow."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...train.tensors import to_tensor
from ...video.flow import flow_pair, warp
from ...video.temporal import is_cut
from .iterative import Finished, Image, Painter, Settings, Term

LONG_TERM = (1, 2, 4)
"""How far back the frames are to which a frame is held (section 4.2)."""
_BLEND = 0.5  # delta of equation 10


def stylize(
    frames: Sequence[Image],
    painter: Painter,
    settings: Settings,
    finished: Finished,
    progress: Callable[[], None] = lambda: None,
) -> int:
    """Optimize frame after frame; with more than one pass, forward and backward in turn.

    Args:
        frames: each (H, W, 3) uint8 RGB.
        painter: paints them.
        settings: gives passes and temporal weight.
        finished: keeps them; those that are there are not done again.
        progress: called after each frame that was painted.

    Returns:
        The number of the pass in which the result stands.
    """
    if settings.passes == 1:
        for index, frame in enumerate(frames):
            if not finished.has(index):
                seen = _back_to_cut(frames, index)
                start, term = _held_to_past(frames, index, seen, finished, settings.temporal_weight)
                begin = painter.noise(frame, index) if start is None else start
                finished.write(painter.paint(frame, begin, [term] if term else []), index)
                progress()
        return 0
    # Section 4.3: each frame alone first, then passes in which neighbours are blended in, in turning directions.
    for run in range(settings.passes):
        order = range(len(frames)) if run % 2 == 0 else range(len(frames) - 1, -1, -1)
        step = 1 if run % 2 == 0 else -1
        for index in order:
            if finished.has(index, run):
                continue
            frame, before = frames[index], index - step
            if run == 0:
                finished.write(painter.paint(frame, painter.noise(frame, index)), index, run)
                progress()
                continue
            own, terms = to_tensor(finished.read(index, run - 1)[None], torch.device("cpu")), list[Term]()
            if 0 <= before < len(frames) and not is_cut(frames[before], frame):
                past, trusted = _warped(frames[before], frame, finished.read(before, run))
                weight = torch.from_numpy(trusted.astype(np.float32))[None, None]
                own = own + _BLEND * weight * (past - own)  # equation 10
                terms = [_consistency([(past, weight)], settings.temporal_weight)]
            finished.write(painter.paint(frame, own, terms), index, run)
            progress()
    return settings.passes - 1


def _back_to_cut(frames: Sequence[Image], index: int) -> list[int]:
    """Indices of the frames to hold to, the nearest first, none from before a cut."""
    reach = 0
    while reach < max(LONG_TERM) and index - reach > 0:
        if is_cut(frames[index - reach - 1], frames[index - reach]):
            break
        reach += 1
    return [index - back for back in LONG_TERM if back <= reach]


def _held_to_past(
    frames: Sequence[Image], index: int, past: Sequence[int], finished: Finished, temporal_weight: float
) -> tuple[Tensor | None, Term | None]:
    """Where to begin, the warped frame before, and the long-term loss (equations 7 to 9); None for the first frame."""
    held: list[tuple[Tensor, Tensor]] = []
    taken = np.zeros(frames[index].shape[:2], np.float32)
    for before in past:
        warped, trusted = _warped(frames[before], frames[index], finished.read(before))
        # Only what no nearer frame shows (equation 8).
        weight = np.clip(trusted - taken, 0.0, None)
        taken += trusted
        held.append((warped, torch.from_numpy(weight)[None, None]))
    return (held[0][0], _consistency(held, temporal_weight)) if held else (None, None)


def _warped(earlier: Image, later: Image, stylized: Image) -> tuple[Tensor, NDArray[np.float32]]:
    """A stylized frame moved to where a later (or, backward, earlier) one has things, and where that can be trusted."""
    pair = flow_pair(earlier, later)
    moved, inside = warp(stylized, pair.flow)
    return to_tensor(moved[None], torch.device("cpu")), (pair.valid & inside).astype(np.float32)


def _consistency(held: Sequence[tuple[Tensor, Tensor]], weight: float) -> Term:
    """Weighted mean squared difference to warped frames."""

    def loss(image: Tensor) -> Tensor:
        return weight * torch.stack([((image - past).square() * trust).mean() for past, trust in held]).sum()

    return loss
