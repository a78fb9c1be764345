"""The training objective: the hybrid loss of Huang et al. 2017 (equation 1), with additions.

A *motion* step stylizes two frames of a moving scene: spatial losses of the first (in the paper of both), temporal loss
between the second and the warped first. A *shift* step stylizes a picture and its copy moved by whole pixels, moves the
second result back and penalizes the difference; spatial losses see the *mean* of both. A pattern bound to the network's
sampling grid differs between the two: the mean holds half of it, and a quarter of its Gram matrix.

Style losses see a pyramid: fine strokes at full size in shallow layers, larger ones at half and quarter size in deeper.
"""

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ...common.arrays import Image, resized, scaled
from ...common.files import InputError
from ..recipe import Recipe
from ..tensors import to_tensor
from .network import LossNetwork
from .terms import Palette, content_loss, gram, style_loss, temporal_loss, tone_loss, total_variation

Terms = dict[str, tuple[float, Tensor]]
"""Name -> weight and value."""

VARIATION_WEIGHT = 0.1  # gamma of the paper, on total variation
TEACHER_LAYERS = ("relu2_2", "relu3_2")  # on which the teacher's features are compared
_PROBE_ROUNDS = 3
_ONE_COLOUR = 1.5 / 255  # deviation of a style image's colours below which its Gram matrices say nothing


@dataclass(frozen=True)
class _Reading:
    """What a term reads of the loss network: these layers, at 1 / ``factor`` of the size."""

    factor: int
    weight: float
    layers: tuple[str, ...]


def _readings(recipe: Recipe) -> dict[str, _Reading]:
    """Readings by term; terms without weight or layers are left out."""
    loss = recipe.loss
    terms = {
        "style": _Reading(1, loss.style / loss.stroke, loss.style_layers),
        "style_half": _Reading(2, loss.style_half, loss.style_half_layers),
        "style_quarter": _Reading(4, loss.style_quarter * loss.stroke, loss.style_quarter_layers),
        "content": _Reading(loss.content_scale, loss.content, loss.content_layers),
        "teacher_features": _Reading(1, recipe.distillation.features, TEACHER_LAYERS),
    }
    return {term: reading for term, reading in terms.items() if reading.weight > 0 and reading.layers}


def needed_layers(recipe: Recipe) -> set[str]:
    """All loss-network layers that a term with weight reads."""
    return {layer for reading in _readings(recipe).values() for layer in reading.layers}


def check_style_image(image: Image) -> None:
    """Raise InputError for a style image of one colour, which has no style to learn."""
    small = resized(image, (64, 64)).reshape(-1, 3)
    if float(small.std(0).max()) < 255 * _ONE_COLOUR:
        raise InputError("the style image is of one colour, so that there is no style to learn: choose a painting")


class Objective:
    """Stylizes a batch and weighs the losses of the result.

    ``style_image`` is (H, W, 3) uint8 RGB; a recipe that learns from a teacher needs ``teacher`` on ``device``.
    """

    def __init__(self, loss_network: LossNetwork, style_image: Image, recipe: Recipe, device: torch.device) -> None:
        self.loss_network, self.recipe, self.device = loss_network, recipe, device
        # The stylizing network follows the loss network: bfloat16 makes a step a quarter shorter. Its unbiased error of
        # .002 is a fifth of the errors that the temporal loss squares.
        self.mixed = next(loss_network.parameters()).dtype == torch.bfloat16
        self.teacher: nn.Module | None = None
        self._readings = _readings(recipe)
        sized = scaled(style_image, recipe.loss.stroke * recipe.loss.style_size / min(style_image.shape[:2]))
        frame = to_tensor(sized[None], device)
        with torch.no_grad():
            self.style_grams = {
                term: {k: gram(v) for k, v in loss_network(_smaller(frame, reading.factor), reading.layers).items()}
                for term, reading in self._readings.items()
                if term.startswith("style")
            }
            self._colours = Palette(frame)

    def __call__(
        self,
        network: Callable[[Tensor], Tensor],
        batch: Mapping[str, NDArray[Any]],
        temporal_weight: float,
        *,
        pixel_warmup: bool = False,
        offset: tuple[int, int] = (0, 0),
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Stylize a batch; return the unweighted terms (detached) and the weighted sum.

        Args:
            network: the stylizing network.
            batch: ``first`` and, for two-frame training, ``second``, (B, H, W, 3) uint8 RGB; then either ``flow``
                (B, 2, H, W) float32 px from second to first and ``valid`` (B, 1, H, W) float32, or ``shift``
                (B, 2) int, columns and rows (see `Pair`).
            temporal_weight: lambda at this step.
            pixel_warmup: leave out the terms that need the loss network.
            offset: rows and columns, up to ``recipe.slack``, by which the losses' window is moved.
        """
        recipe = self.recipe
        frames = [batch[key] for key in ("first", "second") if key in batch]
        source = to_tensor(np.concatenate(frames), self.device)  # (2 B, 3, H, W), all first frames before all second
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed):
            output = network(source).float()
        side = source.shape[-1] - 2 * recipe.data.border - recipe.slack
        if "shift" in batch:
            seen, painted, agreement = _moved_back(source, output, batch["shift"], recipe.data.border, side)
            terms = self._spatial(painted, seen, None, pixel_warmup)
            terms["shift"] = temporal_weight, agreement
        else:
            top, left = (recipe.data.border + part for part in offset)
            window = (slice(top, top + side), slice(left, left + side))
            # The paper takes the spatial losses of both frames; the first alone costs half.
            part = slice(None if recipe.loss.both_frames else len(batch["first"]))
            taught = None
            if self.teacher is not None:
                with torch.no_grad():
                    taught = self.teacher(source[part])[..., window[0], window[1]]
            inside = (part, slice(None), *window)
            terms = self._spatial(output[inside], source[inside], taught, pixel_warmup)
            if "second" in batch:
                first, second = output.chunk(2)
                valid = torch.zeros_like(first[:, :1])
                valid[:, :, *window] = torch.from_numpy(batch["valid"]).to(self.device)[:, :, *window]
                flow = torch.from_numpy(batch["flow"]).to(self.device)
                terms["temporal"] = temporal_weight, temporal_loss(first, second, flow, valid)
        total = torch.stack([weight * value for weight, value in terms.values()]).sum()
        return {key: value.detach() for key, (_, value) in terms.items()}, total

    def _spatial(self, painted: Tensor, source: Tensor, taught: Tensor | None, pixel_warmup: bool) -> Terms:
        """Terms of single frames; ``painted``, ``source`` and the teacher's ``taught`` are (B, 3, h, w)."""
        loss, distillation, terms = self.recipe.loss, self.recipe.distillation, Terms()
        if taught is not None:
            terms["teacher"] = distillation.pixels, functional.l1_loss(painted, taught)
        terms["variation"] = VARIATION_WEIGHT, total_variation(painted)
        if loss.colour > 0:
            terms["colour"] = loss.colour, self._colours.distance(painted)
        if loss.tone > 0:
            terms["tone"] = loss.tone, tone_loss(painted, source)
        if pixel_warmup:
            return terms
        models = {"content": source} if taught is None else {"content": source, "teacher_features": taught}
        readings = {term: one for term, one in self._readings.items() if term in self.style_grams or term in models}
        for factor in sorted({reading.factor for reading in readings.values()}):
            # Terms at one size share the features.
            here = {term: reading for term, reading in readings.items() if reading.factor == factor}
            features = self.loss_network(
                _smaller(painted, factor), {layer for reading in here.values() for layer in reading.layers}
            )
            for term, reading in here.items():
                if term in self.style_grams:
                    value = style_loss(features, self.style_grams[term])
                else:
                    with torch.no_grad():
                        wanted = self.loss_network(_smaller(models[term], factor), reading.layers)
                    value = content_loss(features, wanted)
                terms[term] = reading.weight, value
        return terms


def _smaller(frames: Tensor, factor: int) -> Tensor:
    return functional.avg_pool2d(frames, factor) if factor > 1 else frames


def _moved_back(
    source: Tensor, output: Tensor, shifts: NDArray[Any], border: int, side: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Common part of a shift batch: sources, mean of both outputs (B, 3, side, side), mean squared difference."""
    count = len(shifts)
    parts = []
    for index, (dx, dy) in enumerate((int(x), int(y)) for x, y in shifts):
        # The second shows at (x, y) what the first shows at (x + dx, y + dy).
        top, left = border + max(0, dy), border + max(0, dx)
        first = (slice(top, top + side), slice(left, left + side))
        second = (slice(top - dy, top - dy + side), slice(left - dx, left - dx + side))
        parts.append((source[index, :, *first], output[index, :, *first], output[count + index, :, *second]))
    seen, ours, theirs = (torch.stack(part) for part in zip(*parts, strict=True))
    return seen, 0.5 * (ours + theirs), (ours - theirs).square().mean()


def loss_offset(recipe: Recipe, step: int) -> tuple[int, int]:
    """Rows and columns, 0 to ``recipe.slack``, by which the losses' window moves at this step."""
    # At a fixed window edge, where the loss network pads, a painted line would be cheap style.
    down, right = np.random.default_rng((recipe.seed, step)).integers(recipe.slack + 1, size=2)
    return int(down), int(right)


def faster_precision(loss_network: LossNetwork, recipe: Recipe, device: torch.device) -> str:
    """``bfloat16`` where a short measurement finds the loss network faster in it, else ``float32``.

    Timed are features and Gram matrices, forward and backward: bfloat16 channels last, float32 channels first.
    """
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    seconds = {"float32": math.inf, "bfloat16": math.inf}
    networks = {"float32": loss_network, "bfloat16": copy.deepcopy(loss_network).compact()}
    layers = recipe.loss.style_layers or recipe.loss.content_layers
    for _ in range(_PROBE_ROUNDS):
        for precision, network in networks.items():
            frame = torch.rand(recipe.data.batch, 3, recipe.data.crop, recipe.data.crop, requires_grad=True)
            began = time.perf_counter()
            features = network(frame, layers)
            torch.autograd.backward([gram(value).sum() for value in features.values()])
            seconds[precision] = min(seconds[precision], time.perf_counter() - began)
    return min(seconds, key=lambda key: seconds[key])
