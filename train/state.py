"""The training state, from which ``resume`` continues a run bit for bit."""

import math
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import msgspec
import torch
from msgspec import Meta
from torch import Tensor, nn

from ..common.checkpoint import FORMAT_VERSION, Count, read_checkpoint_file
from ..common.files import InputError, atomic_path
from ..common.progress import Notify, no_notify
from .checkpoint import load_weights, read_tensors, write_tensors
from .recipe import Recipe
from .recipes import difference, recipe_from_dict

STATE_NAME = "training-state.safetensors"
PREVIOUS_NAME = "training-state.previous.safetensors"


@dataclass
class Standing:
    """Progress of a run, stored beside weights and random generators; ``precision`` is the loss network's.

    ``earlier_steps`` are of the checkpoint it started from, ``seconds`` of all sessions. ``losses`` are smoothed,
    unweighted terms and ``total``. ``least_loss`` is the checkpoints' least on the fixed pairs.
    """

    earlier_steps: Count
    precision: Annotated[str, Meta(pattern="^(float32|bfloat16)$")]
    step: Count = 0
    seconds: Annotated[float, Meta(ge=0)] = 0.0
    losses: dict[str, float] = field(default_factory=dict)
    least_loss: float = math.inf


def save_state(
    path: Path, network: nn.Module, optimizer: torch.optim.Optimizer, recipe: Recipe, standing: Standing
) -> None:
    """Write a training state, and keep the one before as ``PREVIOUS_NAME`` (errors as `checkpoint.write_tensors`)."""
    tensors = {f"network.{key}": value for key, value in network.state_dict().items()}
    for index, values in optimizer.state_dict()["state"].items():
        tensors.update({f"optimizer.{index}.{key}": value for key, value in values.items()})
    tensors["rng.torch"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["rng.cuda"] = torch.cuda.get_rng_state()
    with suppress(InputError):  # there is none, or it is damaged: the one before it stays
        newest, _, _ = read_checkpoint_file(path)
        with atomic_path(path.with_name(PREVIOUS_NAME), durable=True) as partial:
            partial.write_bytes(newest)
    write_tensors(path, tensors, {"format_version": FORMAT_VERSION, "recipe": recipe.to_dict(), **asdict(standing)})


def has_state(path: Path) -> bool:
    """Whether there is a training state at ``path``, or one before it."""
    return path.exists() or path.with_name(PREVIOUS_NAME).exists()


def _read_newest(path: Path, notify: Notify = no_notify) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The state at ``path`` or, with a note, the one before it where that is damaged; InputError if both are."""
    try:
        return read_tensors(path)
    except InputError as damage:
        try:
            found = read_tensors(path.with_name(PREVIOUS_NAME))
        except InputError:
            raise damage from None
        notify(f"{damage}; the run goes on from the state before it")
        return found


def load_state(
    path: Path, network: nn.Module, optimizer: torch.optim.Optimizer, recipe: Recipe, notify: Notify = no_notify
) -> Standing:
    """Restore a run from its training state or, with a note, from the one before where the newest is damaged.

    InputError for another file, recipe or network, or removed values.
    """
    tensors, header = _read_newest(path, notify)
    if "recipe" not in header or "step" not in header:
        raise InputError(f"{path} is a checkpoint, not a training state: give the folder of a run")
    try:
        changed = difference(recipe_from_dict(header["recipe"]), recipe)
    except InputError as error:
        raise InputError(
            f"the run in {path.parent} is of an earlier steadystyle ({error}): finish it with that one, or begin a new "
            "run with --from"
        ) from error
    if changed:
        name, was, now = changed
        raise InputError(
            f"the run in {path.parent} was begun with {name}={was}, not {now}: "
            "resume with the same recipe, or begin a new run with --from"
        )
    own = {key.removeprefix("network."): value for key, value in tensors.items() if key.startswith("network.")}
    load_weights(network, own, path)
    try:
        standing = msgspec.convert(header, Standing)
        _load_optimizer(optimizer, tensors)
        torch.set_rng_state(tensors["rng.torch"])
        if "rng.cuda" in tensors and torch.cuda.is_available():
            torch.cuda.set_rng_state(tensors["rng.cuda"])
    except (msgspec.ValidationError, LookupError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{path} is no whole training state ({error}): begin a new run with --from, which takes its checkpoint"
        ) from error
    return standing


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Restore Adam's moments, which have their weights' shapes, and its counts; ValueError for what does not fit."""
    weights: list[Tensor] = [weight for group in optimizer.param_groups for weight in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".", 2)
            if value.shape != (() if name == "step" else weights[int(index)].shape):
                raise ValueError(f"{key!r} has another shape than its weight")
            state.setdefault(int(index), {})[name] = value
    if any(set(values) != {"step", "exp_avg", "exp_avg_sq"} or not values["step"] >= 0 for values in state.values()):
        raise ValueError("the optimizer's part is not Adam's")
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def steps_done(path: Path) -> int:
    """Steps of the newest whole training state at ``path``, 0 without a file; InputError for another kind of file."""
    if not has_state(path):
        return 0
    try:
        return msgspec.convert(_read_newest(path)[1]["step"], Count)
    except (KeyError, msgspec.ValidationError) as error:
        raise InputError(f"{path} is no training state: move it away") from error
