"""The training state, from which ``resume`` continues a run bit for bit."""

import math
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import torch
from torch import Tensor, nn

from ..common.files import InputError
from .checkpoint import FORMAT_VERSION, load_weights, read_tensors, write_tensors
from .recipe import Recipe
from .recipes import difference, recipe_from_dict

STATE_NAME = "training-state.safetensors"


@dataclass
class Standing:
    """Progress of a run, stored beside weights and random generators; ``precision`` is the loss network's.

    ``earlier_steps`` are of the checkpoint it started from, ``seconds`` of all sessions. ``losses`` are smoothed,
    unweighted terms and ``total``. ``least_loss`` is the checkpoints' least on the fixed pairs.
    """

    earlier_steps: int
    precision: str
    step: int = 0
    seconds: float = 0.0
    losses: dict[str, float] = field(default_factory=dict)
    least_loss: float = math.inf


def save_state(
    path: Path, network: nn.Module, optimizer: torch.optim.Optimizer, recipe: Recipe, standing: Standing
) -> None:
    """Write a training state atomically (errors as `checkpoint.write_tensors`)."""
    tensors = {f"network.{key}": value for key, value in network.state_dict().items()}
    for index, values in optimizer.state_dict()["state"].items():
        tensors.update({f"optimizer.{index}.{key}": value for key, value in values.items()})
    tensors["rng.torch"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["rng.cuda"] = torch.cuda.get_rng_state()
    write_tensors(path, tensors, {"format_version": FORMAT_VERSION, "recipe": recipe.to_dict(), **asdict(standing)})


def load_state(path: Path, network: nn.Module, optimizer: torch.optim.Optimizer, recipe: Recipe) -> Standing:
    """Restore a run from its training state; InputError for another file, recipe or network, or removed values."""
    tensors, header = read_tensors(path)
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
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".", 2)
            state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    torch.set_rng_state(tensors["rng.torch"])
    if "rng.cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["rng.cuda"])
    return Standing(**{entry.name: header[entry.name] for entry in fields(Standing)})


def steps_done(path: Path) -> int:
    """Steps of the training state at ``path``, 0 without a file; InputError for another kind of file."""
    if not path.exists():
        return 0
    try:
        return int(read_tensors(path)[1]["step"])
    except KeyError as error:
        raise InputError(f"{path} is no training state: move it away") from error
