"""Recipes by name and from YAML files.

Values have dotted names (``loss.temporal``); flat ones of earlier versions (``temporal_weight``) are still read.
"""

import dataclasses
import reprlib
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ..common.files import InputError, atomic_path
from .recipe import WARMUP_STEPS, Recipe

RECIPE_FOLDER = Path(__file__).parent / "recipes"
_MOST_BYTES, _MOST_DEPTH, _MOST_ITEMS, _MOST_LETTERS, _LARGEST = 1 << 20, 64, 100, 1000, 1_000_000_000

_TYPES = typing.get_type_hints(Recipe)
_SECTIONS = {key: typing.get_type_hints(kind) for key, kind in _TYPES.items() if dataclasses.is_dataclass(kind)}
_FIELDS: dict[str, Any] = {key: kind for key, kind in _TYPES.items() if key not in _SECTIONS} | {
    f"{section}.{key}": kind for section, kinds in _SECTIONS.items() for key, kind in kinds.items()
}  # dotted name -> type
_FLAT_NAMES = {name.rpartition(".")[2]: name for name in _FIELDS} | {
    **{f"{term}_weight": f"loss.{term}" for term in ("content", "style", "style_half", "style_quarter")},
    **{f"{term}_weight": f"loss.{term}" for term in ("colour", "tone", "temporal")},
    "teacher_weight": "distillation.pixels",
    "teacher_feature_weight": "distillation.features",
    "pixels_only": "distillation.pixel_warmup_share",
}  # flat name -> dotted name
_SHIFTS = "in its place there is data.shift_share: where the losses' window ends moves from step to step"
_NO_EFFECT = "in its place there is nothing: it had no effect"
GONE: Mapping[str, tuple[object, str]] = {
    "grid_weight": (0.0, "in its place there is data.shift_share: steps on shifted pictures take the pattern away"),
    "contrast": (1.0, "in its place there is loss.colour: the painting's colours and contrast are a term"),
    "border_weight": (0.0, _SHIFTS),
    "border_jitter": (0, _SHIFTS),
    "luminance": (False, _NO_EFFECT),
    "temporal_feature_weight": (0.0, _NO_EFFECT),
    "brightness": (0.0, _NO_EFFECT),
    "warmup_steps": (WARMUP_STEPS, f"the learning rate always rises over {WARMUP_STEPS} steps"),
    "gradient_norm": (1.0, "gradients are always scaled down to a norm of 1"),
    "variation_weight": (0.1, "total variation always weighs 0.1"),
    "teacher_layers": (["relu2_2", "relu3_2"], "the teacher's features are always those at relu2_2 and relu3_2"),
    "motion": (0.03, "photos always move by 0.03 of the crop"),
    "preview_every": (500, "previews are painted every 500 steps"),
}
"""Removed values -> the value that changes nothing, and what replaces them."""

REPLACED_RECIPES = {"edge-finetune": "paint", "edge-steady": "paint", "huang2017-steady": "huang2017-paint"}
"""Removed recipes -> their replacements."""


def by_name(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by dotted name, removed ones without effect left out; InputError for any other name or a repeated one."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if key in _SECTIONS:
            if not isinstance(value, Mapping):
                raise InputError(
                    f"the recipe section '{key}' holds {', '.join(_SECTIONS[key])}: write KEY: VALUE lines"
                )
            entries = by_name({f"{key}.{inner}": entry for inner, entry in value.items()})
        elif key in _FIELDS or key in _FLAT_NAMES:
            entries = {_FLAT_NAMES.get(key, key): value}
        elif key not in GONE:
            section = str(key).partition(".")[0] + "."
            near = [name for name in _FIELDS if name.startswith(section)] or _FIELDS
            raise InputError(f"a recipe has no value {str(key)[:80]!r}: it has {', '.join(near)}")
        elif value != GONE[key][0]:
            raise InputError(f"the recipe value '{key}' is gone; {GONE[key][1]}")
        else:
            continue
        twice = next((name for name in entries if name in found), None)
        if twice:
            raise InputError(f"the recipe value {twice} is given twice: keep one")
        found |= entries
    return found


def _convert(name: str, value: object, wanted: Any) -> Any:
    """One YAML value as the field's type; InputError when it does not fit."""
    origin = typing.get_origin(wanted)
    if origin is tuple and isinstance(value, list | tuple) and len(value) <= _MOST_ITEMS:
        item = typing.get_args(wanted)[0]
        return tuple(_convert(name, entry, item) for entry in value)
    if origin is dict and isinstance(value, dict):
        return {str(key): _convert(name, entry, int) for key, entry in value.items()}
    sound = not isinstance(value, int | float) or abs(value) <= _LARGEST  # which is false for nan, too
    if wanted is float and isinstance(value, int | float) and not isinstance(value, bool) and sound:
        return float(value)
    if wanted in (int, str, bool) and type(value) is wanted and sound and len(str(value)) <= _MOST_LETTERS:
        return value
    expected = getattr(wanted, "__name__", str(wanted)) if origin is None else str(wanted)
    raise InputError(f"recipe value {name}={reprlib.repr(value)} does not fit: {expected} is expected")


def recipe_from_dict(values: Mapping[str, Any]) -> Recipe:
    """A recipe from recorded values, nested or, from earlier versions, flat; InputError for one that does not fit."""
    if not isinstance(values, Mapping) or "name" not in values:
        raise InputError("a recipe is KEY: VALUE lines with a name: copy one by `steadystyle recipes copy`")
    top: dict[str, Any] = {}
    inside: dict[str, dict[str, Any]] = {section: {} for section in _SECTIONS}
    recorded = {key: value for key, value in values.items() if key != "preview_every"}  # it changed no weight
    for name, value in by_name(recorded).items():
        section, _, key = name.rpartition(".")
        (inside[section] if section else top)[key] = _convert(name, value, _FIELDS[name])
    return Recipe(**top, **{section: _TYPES[section](**entries) for section, entries in inside.items()})


def changed(recipe: Recipe, values: Mapping[str, Any] | None = None, **more: Any) -> Recipe:
    """The recipe with other values, by dotted or flat names; InputError as `recipe_from_dict`."""
    return recipe_from_dict(by_name(recipe.to_dict()) | by_name({**(values or {}), **more}))


def difference(one: Recipe, other: Recipe) -> tuple[str, Any, Any] | None:
    """Dotted name and both values of the first difference; ``about`` is ignored."""
    ours, theirs = (by_name(recipe.to_dict()) for recipe in (one, other))
    differing = (name for name in ours if name != "about" and ours[name] != theirs[name])
    return next(((name, ours[name], theirs[name]) for name in differing), None)


def recipe_names() -> list[str]:
    """Names of the bundled recipes."""
    return sorted(path.stem for path in RECIPE_FOLDER.glob("*.yaml"))


class _Loader(yaml.SafeLoader):
    """YAML without anchors, by which a few lines stand for millions of values, and at most 64 levels deep."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Compose one node; YAMLError for an anchor, an alias, or one that is too deep."""
        loader: Any = self  # partly without annotations
        if getattr(loader.peek_event(), "anchor", None) is not None:
            raise yaml.YAMLError("anchors (&) and aliases (*) are not allowed: write the values out")
        if self._depth >= _MOST_DEPTH:
            raise yaml.YAMLError(f"it is nested more than {_MOST_DEPTH} levels deep")
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


def _recipe_file(name: str) -> Path:
    path = Path(name) if name.endswith((".yaml", ".yml")) else RECIPE_FOLDER / f"{name}.yaml"
    if name in REPLACED_RECIPES:
        raise InputError(f"the recipe '{name}' is gone: '{REPLACED_RECIPES[name]}' takes its place")
    if not path.is_file():
        raise InputError(f"unknown recipe '{name}': choose one of {', '.join(recipe_names())}, or give a .yaml file")
    return path


def load_recipe(name: str, overrides: Mapping[str, str] | None = None) -> Recipe:
    """Load a recipe by name (`recipe_names`) or from a ``.yaml`` file; InputError for what does not fit or exist.

    ``overrides`` are values as YAML text by dotted or flat name, e.g. ``{"loss.temporal": "500"}``.
    """
    path = _recipe_file(name)
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError("it is larger than 1 MB")
        values = {"name": path.stem, **yaml.load(path.read_text(encoding="utf-8"), _Loader)}
        changes = {key: yaml.load(value, _Loader) for key, value in (overrides or {}).items()}
    # PyYAML raises what Python does for a date, a number or a tag that is none.
    except (yaml.YAMLError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
        reason = str(error).partition("\n")[0][:200]
        raise InputError(f"the recipe {path} is not a YAML mapping: {reason}") from error
    return recipe_from_dict(by_name(values) | by_name(changes))


def copy_recipe(name: str, target: Path) -> None:
    """Copy a recipe's file to a new ``.yaml``; InputError for an unknown recipe, another ending or an existing file."""
    source = _recipe_file(name)
    if target.suffix not in (".yaml", ".yml"):
        raise InputError(
            f"'{target}' does not end in .yaml, by which `train --recipe` knows a file: choose such a name"
        )
    if target.exists():
        raise InputError(f"'{target}' exists and is kept as it is: choose another name")
    with atomic_path(target) as partial:
        partial.write_bytes(source.read_bytes())
