"""Training states, those of flat recipes included."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from steadystyle.common.files import InputError
from steadystyle.train.checkpoint import read_tensors, write_tensors
from steadystyle.train.loss.network import LossNetwork, load_loss_network
from steadystyle.train.networks import build_network
from steadystyle.train.recipe import Recipe
from steadystyle.train.recipes import changed
from steadystyle.train.reporting import StepReport
from steadystyle.train.state import PREVIOUS_NAME, STATE_NAME, Standing, load_state, save_state, steps_done
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


def begin(material: Path, out: Path, recipe: Recipe, loss_network: LossNetwork, **more: Any) -> list[str]:
    """Train on photos: what was said."""
    said: list[str] = []
    job = TrainingJob(material / "style.png", out, recipe, photos=material / "photos", device="cpu", **more)
    train(job, loss_network, notify=said.append)
    return said


def weights(run: Path) -> dict[str, torch.Tensor]:
    return read_tensors(run / f"{run.name}.safetensors")[0] | read_tensors(run / STATE_NAME)[0]


def flip(path: Path, place: float) -> None:
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 4
    path.write_bytes(content)


def test_a_damaged_state_falls_back_to_the_one_before_and_goes_on_bit_for_bit(
    material: Path, recipe: Recipe, loss_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fresh() -> LossNetwork:
        return load_loss_network(loss_file)

    begin(material, tmp_path / "whole", recipe, fresh())
    kept: list[bytes] = []

    def stop(report: StepReport) -> None:
        if report.step == 5:  # after the states of steps 2 and 4
            kept.extend((tmp_path / "run" / name).read_bytes() for name in (STATE_NAME, PREVIOUS_NAME))
            raise InterruptedError

    job = TrainingJob(material / "style.png", tmp_path / "run", recipe, photos=material / "photos", device="cpu")
    with pytest.raises(InterruptedError):
        train(job, fresh(), on_step=stop)
    for place in (0.02, 0.5, 0.999):
        for name, content in zip((STATE_NAME, PREVIOUS_NAME), kept, strict=True):
            (tmp_path / "run" / name).write_bytes(content)
        assert steps_done(tmp_path / "run" / STATE_NAME) == 4
        flip(tmp_path / "run" / STATE_NAME, place)
        assert steps_done(tmp_path / "run" / STATE_NAME) == 2
        said = begin(material, tmp_path / "run", recipe, fresh(), resume=True)
        assert said[0].endswith("the run goes on from the state before it") and said[1] == "resumed at step 2"
        for key, value in weights(tmp_path / "whole").items():
            assert torch.equal(value, weights(tmp_path / "run").get(key, torch.zeros(0))), key
    (tmp_path / "run" / STATE_NAME).unlink()
    with pytest.raises(InputError, match="already holds a training run"):
        begin(material, tmp_path / "run", recipe, fresh())
    flip(tmp_path / "run" / PREVIOUS_NAME, 0.5)
    with pytest.raises(InputError, match="there is no checkpoint at"):
        begin(material, tmp_path / "run", recipe, fresh(), resume=True)


def test_a_damaged_newest_state_does_not_replace_the_one_before(
    material: Path, recipe: Recipe, loss_network: LossNetwork, tmp_path: Path
) -> None:
    begin(material, tmp_path / "run", recipe, loss_network)
    before = (tmp_path / "run" / PREVIOUS_NAME).read_bytes()
    flip(tmp_path / "run" / STATE_NAME, 0.5)
    network = build_network(recipe.network.architecture, recipe.network.sizes)
    save_state(tmp_path / "run" / STATE_NAME, network, torch.optim.Adam(network.parameters()), recipe,
               Standing(0, "float32"))  # fmt: skip
    assert (tmp_path / "run" / PREVIOUS_NAME).read_bytes() == before
    assert read_tensors(tmp_path / "run" / STATE_NAME)[1]["step"] == 0


@pytest.mark.parametrize(
    ("header", "tensors"),
    [
        ({"recipe": []}, {}),
        ({"recipe": {}}, {}),
        ({"step": "4"}, {}),
        ({"step": 10**4000}, {}),
        ({"precision": "float3"}, {}),
        ({"losses": [1]}, {}),
        ({"least_loss": None}, {}),
        ({}, {"rng.torch": torch.zeros(3)}),
        ({}, {"rng.torch": None}),
        ({}, {"optimizer.0.exp_avg": torch.zeros(1)}),
        ({}, {"optimizer.0.exp_avg": None}),
        ({}, {"optimizer.0.step": torch.tensor(-1.0)}),
        ({}, {"optimizer.x.step": torch.tensor(1.0)}),
        ({}, {"optimizer.999.exp_avg": torch.tensor(1.0)}),
        ({}, {"network.head.bias": torch.zeros(3, dtype=torch.int32)}),
    ],
)
def test_a_hostile_state_is_refused_in_one_sentence(
    flat: Recipe, tmp_path: Path, header: dict[str, Any], tensors: dict[str, torch.Tensor | None]
) -> None:
    known, own = read_tensors(DATA / "state-of-flat-recipes-step-4.safetensors")
    given = {key: value for key, value in {**known, **tensors}.items() if value is not None}
    write_tensors(tmp_path / STATE_NAME, given, {**own, **header})
    network = build_network(flat.network.architecture, flat.network.sizes)
    with pytest.raises(InputError) as refusal:
        load_state(tmp_path / STATE_NAME, network, torch.optim.Adam(network.parameters()), flat)
    assert "\n" not in str(refusal.value)
