"""Recipes: everything that decides what a training run does, as one flat dataclass filled from YAML."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ..common.files import InputError
from .networks import ARCHITECTURES, resolve_sizes

RECIPE_FOLDER = Path(__file__).parent / "recipes"


REACH = 7
"""Pixels by which a shift pair is moved at most, in each direction: all phases of a grid of 8."""

REPLACED = {
    "grid_weight": "shift_share: steps on shifted pictures take the grid's pattern away",
    "contrast": "colour_weight: the painting's own colours and contrast are a term of the training",
    "border_weight": "shift_share: where the losses' window ends moves from step to step",
    "border_jitter": "shift_share: where the losses' window ends moves from step to step",
    "luminance": "nothing: it had no effect",
    "temporal_feature_weight": "nothing: it had no effect",
    "brightness": "nothing: it had no effect",
}
"""Values that recipes had once -> what does their work now."""

REPLACED_RECIPES = {"edge-finetune": "paint", "edge-steady": "paint", "huang2017-steady": "huang2017-paint"}
"""Recipes that were there once -> the one that does their work now."""


@dataclass(frozen=True)
class Recipe:
    """A training recipe.

    Attributes:
        name: the recipe's own name.
        architecture: stylizing network (``train/networks.py``).
        sizes: sizes of the network that differ from its defaults.
        steps: optimizer steps in all.
        batch: pairs (or single frames when ``temporal_weight`` is 0) a step.
        crop: side of the square training crop, px.
        border: px along each side of a crop that the network sees and no loss does; what it paints there, where padding
            tells it that it is at a border, would be cheap style.
        learning_rate: Adam's, after a warm-up of ``warmup_steps``; falls along a half cosine to 2 % of it.
        warmup_steps: steps over which the learning rate rises from 0.
        gradient_norm: gradients are scaled down to this norm.
        content_weight: alpha of the paper, on the relative content loss.
        content_scale: 1 to compare features at full size, as in the paper, 2 at half the size, which leaves strokes
            free and holds shapes.
        style_weight: beta of the paper, on the relative style loss at full size.
        style_half_weight: the same on frames halved in size, which reaches larger strokes.
        style_quarter_weight: the same at a quarter of the size.
        colour_weight: on the distance of the colours, as a distribution, to the painting's.
        tone_weight: on 1 - the correlation of lightness with the source's, at an eighth of the size.
        variation_weight: gamma of the paper, on total variation.
        teacher_weight: on the mean absolute difference to what a teacher network paints (distillation).
        teacher_feature_weight: on the relative distance to the teacher's features, at ``teacher_layers``.
        pixels_only: share of ``steps``, at the beginning, that learn without the loss network, from the teacher's
            pixels: several times quicker.
        both_frames: whether content and style are those of both outputs, as in the paper, or of the first alone: the
            temporal loss holds the second to it, and a step costs little more than half.
        temporal_weight: lambda of the paper, on the temporal loss; 0 trains on single frames.
        temporal_start: share of ``steps`` before the temporal loss sets in.
        temporal_ramp: share of ``steps`` over which it rises to its weight.
        shift_share: share of steps on a picture and the same picture moved by whole pixels; see ``train/objective.py``.
        content_layers: loss-network layers of the content loss.
        style_layers: of the style loss at full size.
        style_half_layers: of the style loss at half size.
        style_quarter_layers: of the style loss at a quarter of the size.
        teacher_layers: loss-network layers of the distance to the teacher's features.
        style_size: shorter side of the style image, px.
        stroke: size of the strokes, 0.75 to 2: multiplies ``style_size`` and the weight at a quarter of the size, and
            divides the one at full size.
        clip_share: share of real-video pairs among the samples when clips are given; the rest come from photos.
        clip_height: height to which clips are scaled, px.
        clip_intervals: distances in frames between the two frames of a pair, drawn from evenly.
        pairs_per_clip: pairs kept (with flow and mask) of each clip.
        motion: standard deviation of the random shift of a photo pair, as a share of the crop.
        noise: largest standard deviation of the Gaussian noise on photo pairs, of 255.
        still_share: share of photo pairs in which nothing moves, so that noise is all that differs.
        checkpoint_every: steps between checkpoints.
        preview_every: steps between preview sheets.
        precision: of the loss network: ``float32``, ``bfloat16``, or ``auto`` for the faster one by a short measurement
            at the start.
        seed: of weights and samples.
    """

    name: str
    architecture: str = "huang2017"
    sizes: dict[str, int] = field(default_factory=dict)
    steps: int = 12000
    batch: int = 1
    crop: int = 224
    border: int = 0
    learning_rate: float = 1.5e-3
    warmup_steps: int = 100
    gradient_norm: float = 1.0
    content_weight: float = 0.75
    content_scale: int = 1
    style_weight: float = 8.0
    style_half_weight: float = 2.0
    style_quarter_weight: float = 0.0
    colour_weight: float = 0.0
    tone_weight: float = 0.0
    variation_weight: float = 0.1
    teacher_weight: float = 0.0
    teacher_feature_weight: float = 0.0
    pixels_only: float = 0.0
    both_frames: bool = True
    temporal_weight: float = 380.0
    temporal_start: float = 0.1
    temporal_ramp: float = 0.2
    shift_share: float = 0.0
    content_layers: tuple[str, ...] = ("relu3_2",)
    style_layers: tuple[str, ...] = ("relu1_2", "relu2_2", "relu3_2", "relu3_4")
    style_half_layers: tuple[str, ...] = ("relu2_2", "relu3_2", "relu3_4")
    style_quarter_layers: tuple[str, ...] = ()
    teacher_layers: tuple[str, ...] = ("relu2_2", "relu3_2")
    style_size: int = 384
    stroke: float = 1.0
    clip_share: float = 0.5
    clip_height: int = 360
    clip_intervals: tuple[int, ...] = (1,)
    pairs_per_clip: int = 40
    motion: float = 0.03
    noise: float = 6.0
    still_share: float = 0.0
    checkpoint_every: int = 100
    preview_every: int = 500
    precision: str = "auto"
    seed: int = 1

    def __post_init__(self) -> None:
        """Check what types alone do not say; raises InputError."""
        if self.architecture not in ARCHITECTURES:
            raise InputError(f"unknown network '{self.architecture}': choose one of {', '.join(ARCHITECTURES)}")
        try:
            resolve_sizes(self.architecture, self.sizes)
        except ValueError as error:
            raise InputError(f"recipe '{self.name}': {error}") from error
        for name in ("steps", "batch", "pairs_per_clip", "checkpoint_every", "preview_every", "style_size"):
            if getattr(self, name) < 1:
                raise InputError(f"recipe '{self.name}': {name} must be at least 1, not {getattr(self, name)}")
        if self.crop < 32 or self.clip_height < self.crop:
            raise InputError(f"recipe '{self.name}': crop must be at least 32 and at most clip_height")
        if self.border < 0 or 2 * self.border + self.slack > self.crop - 24:
            raise InputError(f"recipe '{self.name}': border and shifts must leave at least 24 px of the crop")
        if self.content_scale not in (1, 2):
            raise InputError(f"recipe '{self.name}': content_scale must be 1 or 2, not {self.content_scale}")
        if not 0.75 <= self.stroke <= 2.0:
            raise InputError(f"the size of strokes must lie between 0.75 and 2, not {self.stroke:g}")
        if self.precision not in ("auto", "float32", "bfloat16"):
            raise InputError(f"recipe '{self.name}': precision must be auto, float32 or bfloat16")
        for name in ("clip_share", "shift_share"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InputError(f"recipe '{self.name}': {name} must lie between 0 and 1, not {getattr(self, name)}")
        if self.shift_share > 0 and self.temporal_weight <= 0:
            raise InputError(f"recipe '{self.name}': shift_share needs a temporal_weight")
        if self.pixels_only > 0 and self.teacher_weight <= 0:
            raise InputError(f"recipe '{self.name}': pixels_only needs a teacher_weight")

    @property
    def slack(self) -> int:
        """By how many px less than the crop without its border the losses see, so that shifts find room."""
        return REACH if self.shift_share > 0 else 0

    @property
    def needs_teacher(self) -> bool:
        """Whether a term asks for one."""
        return self.teacher_weight > 0 or self.teacher_feature_weight > 0

    @property
    def starts_from_a_style(self) -> bool:
        """Whether it is made to go on from a bundled fast style, and has no teacher to learn from."""
        return self.architecture == "edge-lp" and not self.needs_teacher

    @property
    def layers(self) -> set[str]:
        """Names of all loss-network layers that a term with weight reads."""
        terms = (
            (self.content_weight, self.content_layers),
            (self.style_weight, self.style_layers),
            (self.style_half_weight, self.style_half_layers),
            (self.style_quarter_weight, self.style_quarter_layers),
            (self.teacher_feature_weight, self.teacher_layers),
        )
        return {layer for weight, layers in terms if weight > 0 for layer in layers}

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as YAML and JSON hold them."""
        return {
            key: list(value) if isinstance(value, tuple) else value for key, value in dataclasses.asdict(self).items()
        }


def recipe_names() -> list[str]:
    """Names of the recipes that ship."""
    return sorted(path.stem for path in RECIPE_FOLDER.glob("*.yaml"))


def _convert(name: str, value: object, wanted: Any) -> Any:
    """One YAML value as the field's type; InputError when it does not fit."""
    origin = typing.get_origin(wanted)
    if origin is tuple and isinstance(value, list | tuple):
        item = typing.get_args(wanted)[0]
        return tuple(_convert(name, entry, item) for entry in value)
    if origin is dict and isinstance(value, dict):
        return {str(key): _convert(name, entry, int) for key, entry in value.items()}
    if wanted is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if wanted in (int, str, bool) and type(value) is wanted:
        return value
    expected = getattr(wanted, "__name__", str(wanted)) if origin is None else str(wanted)
    raise InputError(f"recipe value {name}={value!r} does not fit: {expected} is expected")


def recipe_from_dict(values: Mapping[str, Any]) -> Recipe:
    """Fill a recipe from plain values.

    Raises:
        InputError: an unknown key or a value that does not fit.
    """
    types = typing.get_type_hints(Recipe)
    unknown = sorted(set(values) - set(types))
    gone = next((key for key in unknown if key in REPLACED), None)
    if gone:
        raise InputError(f"the recipe value '{gone}' is gone; in its place there is {REPLACED[gone]}")
    if unknown:
        raise InputError(f"a recipe has no value '{unknown[0]}': it has {', '.join(types)}")
    return Recipe(**{key: _convert(key, value, types[key]) for key, value in values.items()})


def load_recipe(name: str, overrides: Mapping[str, str] | None = None) -> Recipe:
    """Load a recipe by name or from a YAML file, with single values overridden.

    Args:
        name: a name from :func:`recipe_names`, or a path ending in ``.yaml``.
        overrides: field -> value as YAML text, e.g. ``{"steps": "500"}``.

    Raises:
        InputError: unknown recipe, broken YAML, unknown field or a value that does not fit.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else RECIPE_FOLDER / f"{name}.yaml"
    if name in REPLACED_RECIPES:
        raise InputError(f"the recipe '{name}' is gone: '{REPLACED_RECIPES[name]}' takes its place")
    if not path.is_file():
        raise InputError(f"unknown recipe '{name}': choose one of {', '.join(recipe_names())}, or give a .yaml file")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        values = {"name": path.stem, **values, **{k: yaml.safe_load(v) for k, v in (overrides or {}).items()}}
    except (yaml.YAMLError, TypeError, UnicodeDecodeError) as error:
        raise InputError(f"the recipe {path} is not a YAML mapping: {str(error).splitlines()[0]}") from error
    return recipe_from_dict(values)
