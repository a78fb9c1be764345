"""The recipe: what a training run does, as nested frozen records. `recipes.py` reads them from YAML."""

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

from ..common.files import InputError
from .networks import ARCHITECTURES, resolve_sizes

REACH = 7
"""Pixels by which a shift pair is moved at most, in each direction: all phases of a grid of 8."""

WARMUP_STEPS = 100
"""Steps over which the learning rate rises from 0."""


@dataclass(frozen=True)
class Data:
    """What the network is trained on.

    Attributes:
        batch: pairs (or single frames where ``loss.temporal`` is 0) a step.
        crop: side of the square training crop, px.
        border: px along each side of a crop that the network sees and no loss does; what it paints there, where padding
            tells it that it is at a border, would be cheap style.
        clip_share: share of real-video pairs among the samples when clips are given; the rest come from photos.
        clip_height: height to which clips are scaled, px.
        clip_intervals: distances in frames between the two frames of a pair, drawn from evenly.
        pairs_per_clip: pairs kept (with flow and mask) of each clip.
        noise: largest standard deviation of the Gaussian noise on photo pairs, of 255.
        still_share: share of photo pairs in which nothing moves, so that noise is all that differs.
        shift_share: share of steps on a picture and the same picture moved by whole pixels; see ``loss/objective.py``.
    """

    batch: int = 1
    crop: int = 224
    border: int = 0
    clip_share: float = 0.5
    clip_height: int = 360
    clip_intervals: tuple[int, ...] = (1,)
    pairs_per_clip: int = 40
    noise: float = 6.0
    still_share: float = 0.0
    shift_share: float = 0.0


@dataclass(frozen=True)
class Network:
    """What is trained.

    Attributes:
        architecture: a key of ``networks.ARCHITECTURES``.
        sizes: sizes of the network that differ from its defaults.
    """

    architecture: str = "huang2017"
    sizes: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Loss:
    """Weights of the terms, and what they look at.

    Attributes:
        content: alpha of the paper, on the relative content loss.
        content_scale: 1 to compare features at full size, as in the paper, 2 at half the size, which leaves strokes
            free and holds shapes.
        content_layers: loss-network layers of the content loss.
        style: beta of the paper, on the relative style loss at full size.
        style_layers: its loss-network layers.
        style_half: the same on frames halved in size, which reaches larger strokes.
        style_half_layers: its loss-network layers.
        style_quarter: the same at a quarter of the size.
        style_quarter_layers: its loss-network layers.
        style_size: shorter side of the style image, px.
        stroke: size of the strokes, 0.75 to 2: multiplies ``style_size`` and ``style_quarter``, divides ``style``.
        colour: on the distance of the colours, as a distribution, to the painting's.
        tone: on 1 - the correlation of lightness with the source's, at an eighth of the size.
        temporal: lambda of the paper, on the temporal loss; 0 trains on single frames.
        both_frames: whether content and style are those of both outputs, as in the paper, or of the first alone: the
            temporal loss holds the second to it, and a step costs little more than half.
    """

    content: float = 0.75
    content_scale: int = 1
    content_layers: tuple[str, ...] = ("relu3_2",)
    style: float = 8.0
    style_layers: tuple[str, ...] = ("relu1_2", "relu2_2", "relu3_2", "relu3_4")
    style_half: float = 2.0
    style_half_layers: tuple[str, ...] = ("relu2_2", "relu3_2", "relu3_4")
    style_quarter: float = 0.0
    style_quarter_layers: tuple[str, ...] = ()
    style_size: int = 384
    stroke: float = 1.0
    colour: float = 0.0
    tone: float = 0.0
    temporal: float = 380.0
    both_frames: bool = True


@dataclass(frozen=True)
class Schedule:
    """What happens when.

    Attributes:
        steps: optimizer steps in all.
        learning_rate: Adam's, after `WARMUP_STEPS`; falls along a half cosine to 2 % of it.
        temporal_start: share of ``steps`` before the temporal loss sets in.
        temporal_ramp: share of ``steps`` over which it rises to its weight.
        checkpoint_every: steps between checkpoints.
    """

    steps: int = 12000
    learning_rate: float = 1.5e-3
    temporal_start: float = 0.1
    temporal_ramp: float = 0.2
    checkpoint_every: int = 100

    def learning_rate_at(self, step: int, share: float) -> float:
        """Linear warm-up over steps, then half a cosine over the run (``share`` of it is done) to 2 % of the rate."""
        warm = min(1.0, (step + 1) / WARMUP_STEPS)
        return self.learning_rate * warm * (0.02 + 0.98 * 0.5 * (1.0 + math.cos(math.pi * share)))


@dataclass(frozen=True)
class Distillation:
    """What is learnt from a teacher network.

    Attributes:
        pixels: weight on the mean absolute difference to what the teacher paints.
        features: weight on the relative distance to the loss network's features of it.
        pixel_warmup_share: share of the steps, at the beginning, that learn from the teacher's pixels alone, without
            the loss network: several times quicker.
    """

    pixels: float = 0.0
    features: float = 0.0
    pixel_warmup_share: float = 0.0


@dataclass(frozen=True)
class Recipe:
    """A training recipe.

    Attributes:
        name: the recipe's own name.
        about: what it trains, in a few words.
        precision: of the loss network: ``float32``, ``bfloat16``, or ``auto`` for the faster one by a short measurement
            at the start.
        seed: of weights and samples.
        data: what it is trained on.
        network: what is trained.
        loss: what is asked of it.
        schedule: what happens when.
        distillation: what is learnt from a teacher.
    """

    name: str
    about: str = field(default="", compare=False)
    precision: str = "auto"
    seed: int = 1
    data: Data = Data()
    network: Network = field(default_factory=Network)
    loss: Loss = Loss()
    schedule: Schedule = Schedule()
    distillation: Distillation = Distillation()

    def __post_init__(self) -> None:
        """Check what types alone do not say; raises InputError."""
        data, loss, schedule, network = self.data, self.loss, self.schedule, self.network
        if network.architecture not in ARCHITECTURES:
            raise InputError(f"unknown network '{network.architecture}': choose one of {', '.join(ARCHITECTURES)}")
        try:
            resolve_sizes(network.architecture, network.sizes)
        except ValueError as error:
            raise InputError(f"recipe '{self.name}': {error}") from error
        if not 0.75 <= loss.stroke <= 2.0:
            raise InputError(f"the size of strokes must lie between 0.75 and 2, not {loss.stroke:g}")
        counts = {
            "schedule.steps": schedule.steps, "schedule.checkpoint_every": schedule.checkpoint_every,
            "data.batch": data.batch, "data.pairs_per_clip": data.pairs_per_clip, "loss.style_size": loss.style_size,
        }  # fmt: skip
        shares = {"data.clip_share": data.clip_share, "data.shift_share": data.shift_share}
        wrong = [
            *(f"{name} must be at least 1, not {value}" for name, value in counts.items() if value < 1),
            *(f"{name} must lie between 0 and 1, not {value}" for name, value in shares.items() if not 0 <= value <= 1),
        ]
        if data.crop < 32 or data.clip_height < data.crop:
            wrong.append("data.crop must be at least 32 and at most data.clip_height")
        if data.border < 0 or 2 * data.border + self.slack > data.crop - 24:
            wrong.append("data.border and shifts must leave at least 24 px of the crop")
        if loss.content_scale not in (1, 2):
            wrong.append(f"loss.content_scale must be 1 or 2, not {loss.content_scale}")
        if self.precision not in ("auto", "float32", "bfloat16"):
            wrong.append("precision must be auto, float32 or bfloat16")
        if data.shift_share > 0 and loss.temporal <= 0:
            wrong.append("data.shift_share needs a weight loss.temporal")
        if self.distillation.pixel_warmup_share > 0 and self.distillation.pixels <= 0:
            wrong.append("distillation.pixel_warmup_share needs a weight distillation.pixels")
        if wrong:
            raise InputError(f"recipe '{self.name}': {wrong[0]}")

    @property
    def slack(self) -> int:
        """By how many px less than the crop without its border the losses see, so that shifts find room."""
        return REACH if self.data.shift_share > 0 else 0

    @property
    def needs_teacher(self) -> bool:
        """Whether a term asks for one."""
        return self.distillation.pixels > 0 or self.distillation.features > 0

    @property
    def starts_from_a_style(self) -> bool:
        """Whether it is made to go on from a bundled fast style, and has no teacher to learn from."""
        return self.network.architecture == "edge-lp" and not self.needs_teacher

    def temporal_weight(self, share: float) -> float:
        """Lambda with ``share`` of the run done: 0 until ``temporal_start``, then a line up over ``temporal_ramp``."""
        risen = (share - self.schedule.temporal_start) / max(self.schedule.temporal_ramp, 1e-9)
        return self.loss.temporal * min(max(risen, 0.0), 1.0)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as YAML and JSON hold them, nested."""
        return {key: _plain(value) for key, value in dataclasses.asdict(self).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    return list(value) if isinstance(value, tuple) else value
