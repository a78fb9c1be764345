"""Training states, those of flat recipes included."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from steadystyle.common.files import InputError
from steadystyle.train.checkpoint import read_tensors, write_tensors
from steadystyle.train.loss.network import LossNetwork
from steadystyle.train.recipe import Recipe
from steadystyle.train.recipes import changed
from steadystyle.train.state import STATE_NAME
from steadystyle.train.trainer import TrainingJob, train

DATA = Path(__file__).with_name("data")


@pytest.fixture
def flat(recipe: Recipe) -> Recipe:
    """What the states in ``data/`` were trained by, written by the code of commit f29ed23."""
    return changed(
        recipe, steps=6, temporal_start=0.0, shift_share=0.4, colour_weight=1.0, tone_weight=0.5, content_scale=2,
        style_quarter_weight=1.0, style_quarter_layers=("relu1_2",), stroke=1.25, clip_intervals=(1, 1, 2),
        both_frames=False,
    )  # fmt: skip


def resume(material: Path, out: Path, recipe: Recipe, loss_network: LossNetwork, **recorded: Any) -> list[int]:
    """Go on from a state of a flat recipe in which more is recorded: the steps that were taken."""
    tensors, header = read_tensors(DATA / "state-of-flat-recipes-step-4.safetensors")
    write_tensors(out / STATE_NAME, tensors, {**header, "recipe": {**header["recipe"], **recorded}})
    steps: list[int] = []
    job = TrainingJob(
        material / "style.png", out, recipe, clips=material / "clips", photos=material / "photos", name="tiny",
        resume=True, device="cpu",
    )  # fmt: skip
    train(job, loss_network, on_step=lambda report: steps.append(report.step))
    return steps


def test_a_state_of_a_flat_recipe_goes_on_as_it_would_have(
    material: Path, flat: Recipe, loss_network: LossNetwork, tmp_path: Path
) -> None:
    assert resume(material, tmp_path, flat, loss_network, preview_every=1000) == [5, 6]
    ours, header = read_tensors(tmp_path / STATE_NAME)
    theirs, then = read_tensors(DATA / "state-of-flat-recipes-step-6.safetensors")
    assert ours.keys() == theirs.keys() and header["step"] == then["step"]
    for key, value in theirs.items():  # bit for bit on one machine; another may round otherwise
        torch.testing.assert_close(ours[key], value, atol=1e-3, rtol=1e-2)
    assert header["losses"] == pytest.approx(then["losses"], rel=1e-2)
    assert isinstance(header["recipe"]["loss"], dict)


@pytest.mark.parametrize(
    ("recorded", "sentence"),
    [
        ({"warmup_steps": 7}, r"of an earlier steadystyle \(.*'warmup_steps' is gone.*begin a new run with --from"),
        ({"grid_weight": 5.0}, "'grid_weight' is gone; in its place there is data.shift_share"),
        ({"temporal_weight": 7.0}, r"begun with loss\.temporal=7\.0, not 380\.0"),
    ],
)
def test_a_state_of_other_values_is_refused_and_kept(
    material: Path, flat: Recipe, loss_network: LossNetwork, tmp_path: Path, recorded: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        resume(material, tmp_path, flat, loss_network, **recorded)
    assert read_tensors(tmp_path / STATE_NAME)[1]["step"] == 4


def test_a_checkpoint_is_no_state(material: Path, flat: Recipe, loss_network: LossNetwork, tmp_path: Path) -> None:
    models = Path(train.__code__.co_filename).parents[1] / "runtimes" / "models"
    shutil.copy(models / "the-scream.safetensors", tmp_path / STATE_NAME)
    job = TrainingJob(
        material / "style.png", tmp_path, flat, photos=material / "photos", name="tiny", resume=True, device="cpu"
    )
    with pytest.raises(InputError, match="is a checkpoint, not a training state"):
        train(job, loss_network)
