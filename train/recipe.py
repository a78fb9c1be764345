"""The recipe of a training run, as nested frozen records; `recipes.py` reads them from YAML."""

import dataclasses
import json
import math
from dataclasses import dataclass, field
from typing import Any

from ..common.files import InputError

REACH = 7  # largest shift of a shift pair in each direction, px: all phases of a grid of 8
WARMUP_STEPS = 100  # over which the learning rate rises from 0


@dataclass(frozen=True)
class Data:
    """Training data.

    Attributes:
        batch: pairs (or single frames where ``loss.temporal`` is 0) a step.
        crop: side of the square training crop, px.
        border: px along each side of a crop that no loss sees: the network could paint cheap style by the padding.
        clip_share: share of video pairs when clips are given; the rest are photo pairs.
        clip_height: height to which clips are scaled, px.
        clip_intervals: frames between the two frames of a pair, in turn.
        pairs_per_clip: cached pairs of each clip.
        noise: largest standard deviation of the Gaussian noise on photo pairs, of 255.
        still_share: share of photo pairs without motion, which differ in noise alone.
        shift_share: share of steps on pictures shifted by whole pixels; see ``loss/objective.py``.
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
    """The network to train: a key of ``networks.ARCHITECTURES``, and the sizes that differ from its defaults."""

    architecture: str = "huang2017"
    sizes: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Loss:
    """Weights of the loss terms, and what they read.

    Attributes:
        content: alpha of the paper, on the relative content loss.
        content_scale: 1 compares features at full size, as in the paper; 2 at half: shapes stay, strokes are free.
        content_layers: loss-network layers, as all ``*_layers``.
        style: beta of the paper, on the relative style loss at full size.
        style_half: the same at half the size, which reaches larger strokes.
        style_quarter: the same at a quarter of the size.
        style_size: shorter side of the style image, px.
        stroke: size of the strokes, 0.75 to 2: multiplies ``style_size`` and ``style_quarter``, divides ``style``.
        colour: on the distance of the colour distribution to the painting's.
        tone: on 1 - the correlation of lightness with the source's, at an eighth of the size.
        temporal: lambda of the paper, on the temporal loss; 0 trains on single frames.
        both_frames: content and style loss on both outputs, as in the paper; the first alone almost halves the time.
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
    """Schedule of a run; counts are in steps.

    Attributes:
        learning_rate: Adam's, after `WARMUP_STEPS`; falls along a half cosine to 2 % of it.
        temporal_start: share of ``steps`` before the temporal loss sets in.
        temporal_ramp: share of ``steps`` over which it rises to its weight.
    """

    steps: int = 12000
    learning_rate: float = 1.5e-3
    temporal_start: float = 0.1
    temporal_ramp: float = 0.2
    checkpoint_every: int = 100

    def learning_rate_at(self, step: int, share: float) -> float:
        """Linear warm-up over steps, then a half cosine over the done ``share`` of the run to 2 % of the rate."""
        warm = min(1.0, (step + 1) / WARMUP_STEPS)
        return self.learning_rate * warm * (0.02 + 0.98 * 0.5 * (1.0 + math.cos(math.pi * share)))


@dataclass(frozen=True)
class Distillation:
    """Weights of learning from a teacher network.

    Attributes:
        pixels: on the mean absolute difference to the teacher's output.
        features: on the relative distance to the loss network's features of that output.
        pixel_warmup_share: share of the steps, at the start, on the teacher's pixels alone: several times faster.
    """

    pixels: float = 0.0
    features: float = 0.0
    pixel_warmup_share: float = 0.0


@dataclass(frozen=True)
class Recipe:
    """A training recipe; ``seed`` is that of weights and samples.

    ``precision`` of the loss network is ``float32``, ``bfloat16``, or ``auto`` for the faster by a short measurement.
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
        """Raise InputError for values out of range or in conflict."""
        from .networks import ARCHITECTURES, resolve_sizes  # here, so that a file is read before torch loads

        data, loss, schedule, network = self.data, self.loss, self.schedule, self.network
        if network.architecture not in ARCHITECTURES:
            raise InputError(f"unknown network '{network.architecture}': choose one of {', '.join(ARCHITECTURES)}")
        try:
            resolve_sizes(network.architecture, network.sizes)
        except ValueError as error:
            raise InputError(f"recipe '{self.name}': {error}") from error
        if not 0.75 <= loss.stroke <= 2.0:
            raise InputError(f"the size of strokes must lie between 0.75 and 2, not {loss.stroke:g}")
        counts = {  # and the most that a machine may have memory for
            "schedule.steps": (schedule.steps, 10**9), "schedule.checkpoint_every": (schedule.checkpoint_every, 10**9),
            "data.batch": (data.batch, 1024), "data.pairs_per_clip": (data.pairs_per_clip, 10**5),
            "data.clip_height": (data.clip_height, 4320), "loss.style_size": (loss.style_size, 4320),
        }  # fmt: skip
        shares = {"data.clip_share": data.clip_share, "data.shift_share": data.shift_share}
        wrong = [
            *(f"{name} must be at least 1, not {value}" for name, (value, _) in counts.items() if value < 1),
            *(f"{name} must be at most {most}, not {value}" for name, (value, most) in counts.items() if value > most),
            *(f"{name} must lie between 0 and 1, not {value}" for name, value in shares.items() if not 0 <= value <= 1),
        ]
        if not data.clip_intervals or not all(1 <= frames <= 1000 for frames in data.clip_intervals):
            wrong.append("data.clip_intervals must be numbers of frames from 1 to 1000")
        if self.seed < 0 or schedule.learning_rate <= 0:
            wrong.append("seed must not be negative, and schedule.learning_rate must be positive")
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
        """Px by which the losses' window is smaller than the crop without border, as room for shifts."""
        return REACH if self.data.shift_share > 0 else 0

    @property
    def needs_teacher(self) -> bool:
        """Whether a loss term needs a teacher."""
        return self.distillation.pixels > 0 or self.distillation.features > 0

    @property
    def starts_from_a_style(self) -> bool:
        """Whether it is meant to start from a bundled fast style, without a teacher."""
        return self.network.architecture == "edge-lp" and not self.needs_teacher

    def temporal_weight(self, share: float) -> float:
        """Lambda at ``share`` of the run: 0 until ``temporal_start``, then a linear rise over ``temporal_ramp``."""
        risen = (share - self.schedule.temporal_start) / max(self.schedule.temporal_ramp, 1e-9)
        return self.loss.temporal * min(max(risen, 0.0), 1.0)

    def to_dict(self) -> dict[str, Any]:
        """Nested plain values, as for YAML and JSON."""
        values: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return values
