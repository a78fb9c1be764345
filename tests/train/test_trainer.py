import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from steadystyle.common.files import InputError
from steadystyle.train import recipe as recipe_module
from steadystyle.train.checkpoint import load_checkpoint, read_tensors
from steadystyle.train.loss import objective
from steadystyle.train.loss.network import LossNetwork
from steadystyle.train.recipe import Recipe
from steadystyle.train.recipes import changed
from steadystyle.train.reporting import StepReport
from steadystyle.train.state import STATE_NAME
from steadystyle.train.trainer import TrainingJob, TrainResult, train
from steadystyle.video.images import write_image

CHILD = """
import json, sys, torch
from pathlib import Path
from typing import Any
from steadystyle.train.loss.network import load_loss_network
from steadystyle.train.recipes import recipe_from_dict
from steadystyle.train.trainer import TrainingJob, train
material, out, loss, values, resume = sys.argv[1:]
torch.set_num_threads(1)
job = TrainingJob(
    style=Path(material) / "style.png", clips=Path(material) / "clips", photos=Path(material) / "photos",
    recipe=recipe_from_dict(json.loads(values)), out=Path(out), name="tiny", resume=resume == "resume", device="cpu",
)
result = train(job, load_loss_network(Path(loss)), on_step=lambda report: print(report.step, flush=True))
print("finished" if result.finished else "stopped", result.steps, flush=True)
"""


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(run / "tiny.safetensors").network.state_dict()


def run(
    material: Path,
    out: Path,
    recipe: Recipe,
    loss_network: LossNetwork,
    on_step: Callable[[StepReport], None] | None = None,
    **more: Any,
) -> TrainResult:
    """Train on photos, on the CPU, with one thing or the other different."""
    job = TrainingJob(material / "style.png", out, recipe, photos=material / "photos", device="cpu")
    return train(dataclasses.replace(job, **more), loss_network, on_step=on_step)


def child(material: Path, run: Path, loss: Path, recipe: Recipe, *, resume: bool = False) -> subprocess.Popen[str]:
    arguments = [str(material), str(run), str(loss), json.dumps(recipe.to_dict()), "resume" if resume else "begin"]
    return subprocess.Popen([sys.executable, "-c", CHILD, *arguments], stdout=subprocess.PIPE, text=True)


def test_a_run_leaves_what_it_promises_and_learns(
    material: Path, recipe: Recipe, loss_network: LossNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipe_module, "WARMUP_STEPS", 1)
    recipe, reports = changed(recipe, steps=30, temporal_start=0.0), list[StepReport]()
    out, clips = tmp_path / "run", material / "clips"
    result = run(material, out, recipe, loss_network, reports.append, clips=clips, name="tiny")
    assert result.finished and result.steps == 30 and [report.step for report in reports] == list(range(1, 31))
    assert set(result.losses) == {"content", "style", "style_half", "variation", "temporal", "total"}
    assert result.losses["style"] < 0.8 * reports[0].losses["style"]
    header = load_checkpoint(result.checkpoint).header
    assert (header.name, header.style, header.steps, header.recipe) == ("tiny", "style.png", 30, "tiny")
    sheet = cv2.imread(str(tmp_path / "run" / "previews" / "step-000030.png"))
    assert sheet is not None and sheet.shape[0] == 3 * 68 and sheet.std() > 10
    assert list((tmp_path / "run" / "tensorboard").glob("events*"))
    assert reports[-1].seconds_left == 0


def test_single_frames_train_without_a_temporal_term(
    material: Path, recipe: Recipe, loss_network: LossNetwork, tmp_path: Path
) -> None:
    recipe = changed(recipe, temporal_weight=0.0, steps=2)
    result = run(material, tmp_path / "run", recipe, loss_network)
    assert "temporal" not in result.losses and result.checkpoint == tmp_path / "run" / "run.safetensors"


def test_later_terms_are_weighed_and_one_frame_of_two_is_enough(
    material: Path, recipe: Recipe, loss_network: LossNetwork, tmp_path: Path
) -> None:
    recipe = changed(
        recipe, steps=12, temporal_start=0.0, temporal_ramp=0.01, both_frames=False, still_share=0.5,
        shift_share=0.5, colour_weight=1.0, content_scale=2, style_quarter_weight=1.0,
        style_quarter_layers=("relu1_2",), stroke=1.5,
    )  # fmt: skip
    seen: list[int] = []
    loss_network.register_forward_pre_hook(lambda module, inputs: seen.append(len(inputs[0])))
    result = run(material, tmp_path / "run", recipe, loss_network)
    assert all(result.losses[term] > 0 for term in ("shift", "temporal", "colour", "style_quarter", "content"))
    assert set(seen) == {1}, "the loss network saw the second frames"


def distilling(recipe: Recipe, **values: Any) -> Recipe:
    sizes = {"quarter": 8, "eighth": 8, "blocks": 1}
    return changed(recipe, architecture="edge-lp", sizes=sizes, teacher_weight=5.0, temporal_start=0.0, **values)


def test_a_network_learns_from_a_teacher_alone_and_then_from_all_terms(
    material: Path, recipe: Recipe, loss_network: LossNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = run(material, tmp_path / "teacher", recipe, loss_network).checkpoint
    monkeypatch.setattr(recipe_module, "WARMUP_STEPS", 1)
    monkeypatch.setattr(objective, "TEACHER_LAYERS", ("relu2_2",))
    edge = distilling(
        recipe, steps=160, pixels_only=0.95, teacher_feature_weight=1.0, content_weight=0.0, learning_rate=5e-3
    )
    reports: list[StepReport] = []
    result = run(material, tmp_path / "run", edge, loss_network, reports.append, teacher=teacher)
    assert set(reports[150].losses) == {"teacher", "variation", "temporal", "total"}
    assert set(result.losses) == set(reports[150].losses) | {"teacher_features", "style", "style_half"}
    assert reports[150].losses["teacher"] < 0.96 * reports[0].losses["teacher"]  # smoothed
    assert load_checkpoint(result.checkpoint).header.architecture == "edge-lp"


def test_a_recipe_that_distils_asks_for_its_teacher(
    material: Path, recipe: Recipe, loss_network: LossNetwork, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="--teacher"):
        run(material, tmp_path / "run", distilling(recipe), loss_network)
    assert not (tmp_path / "run").exists()
    with pytest.raises(InputError, match=r"pixel_warmup_share needs a weight distillation\.pixels"):
        changed(recipe, pixels_only=0.5)


def test_killed_at_any_moment_and_resumed_equals_unbroken(
    material: Path, recipe: Recipe, loss_file: Path, tmp_path: Path
) -> None:
    recipe = changed(recipe, steps=9, temporal_start=0.0, shift_share=0.4, colour_weight=1.0)
    unbroken = child(material, tmp_path / "unbroken", loss_file, recipe)
    assert unbroken.communicate(timeout=120)[0].endswith("finished 9\n")

    broken = child(material, tmp_path / "broken", loss_file, recipe)
    assert broken.stdout is not None
    for line in broken.stdout:
        if line.strip() == "5":  # one step after a checkpoint, on the way to the next
            broken.kill()
            break
    broken.wait()
    kept = read_tensors(tmp_path / "broken" / STATE_NAME)[1]["step"]
    assert kept in (4, 6, 8)  # every second step is kept; the kill may arrive a step or three late
    assert torch.isfinite(next(iter(weights(tmp_path / "broken").values()))).all()
    stray = [path.name for path in (tmp_path / "broken").iterdir() if path.name.startswith(".")]
    resumed = child(material, tmp_path / "broken", loss_file, recipe, resume=True)
    assert resumed.communicate(timeout=120)[0].splitlines()[0] == str(kept + 1), stray
    for key, value in weights(tmp_path / "unbroken").items():
        assert torch.equal(value, weights(tmp_path / "broken")[key]), key


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_saves_and_leaves(
    number: signal.Signals, material: Path, recipe: Recipe, loss_file: Path, tmp_path: Path
) -> None:
    recipe = changed(recipe, steps=100000, checkpoint_every=100000)
    running = child(material, tmp_path / "run", loss_file, recipe)
    assert running.stdout is not None
    for line in running.stdout:
        if line.strip() == "3":
            os.kill(running.pid, number)
            break
    rest = running.stdout.read().split("\n")
    assert running.wait(timeout=60) == 0
    assert rest[-2].startswith("stopped ")
    assert read_tensors(tmp_path / "run" / STATE_NAME)[1]["step"] == int(rest[-2].split()[1]) >= 3


def test_what_cannot_be_trained_is_refused_and_nothing_is_lost(
    material: Path, recipe: Recipe, loss_network: LossNetwork, tmp_path: Path
) -> None:
    def attempt(**changes: Any) -> None:
        job = TrainingJob(
            material / "style.png", tmp_path / "run", recipe, photos=material / "photos", name="tiny", device="cpu"
        )
        train(dataclasses.replace(job, **changes), loss_network)

    (tmp_path / "text.jpg").write_text("not an image")
    write_image(tmp_path / "plain.png", np.full((50, 60, 3), 77, np.uint8))
    for changes, sentence in (
        ({"style": tmp_path / "text.jpg"}, "image"),
        ({"style": tmp_path / "absent.jpg"}, "absent.jpg"),
        ({"photos": None}, "nothing to train on"),
        ({"clips": tmp_path}, "no video clips"),
        ({"device": "tpu"}, "unknown device 'tpu'"),
        ({"resume": True}, "no training state"),
        ({"start_from": tmp_path / "absent.safetensors"}, "no checkpoint"),
        ({"recipe": changed(recipe, content_layers=("relu4_2",))}, "ends at relu2_2"),
        ({"style": tmp_path / "plain.png"}, "of one colour"),
    ):
        with pytest.raises(InputError, match=sentence):
            attempt(**changes)
        assert not (tmp_path / "run").exists()

    attempt()
    before = weights(tmp_path / "run")
    with pytest.raises(InputError, match="already holds a training run"):
        attempt()
    with pytest.raises(InputError, match=r"begun with schedule\.steps=6, not 8"):
        attempt(resume=True, recipe=changed(recipe, steps=8))
    with pytest.raises(InputError, match="another network"):
        attempt(
            recipe=changed(recipe, sizes={"stem": 8}), out=tmp_path / "wider",
            start_from=tmp_path / "run" / "tiny.safetensors",
        )  # fmt: skip
    assert all(torch.equal(value, weights(tmp_path / "run")[key]) for key, value in before.items())
    attempt(out=tmp_path / "next", start_from=tmp_path / "run" / "tiny.safetensors")
    assert load_checkpoint(tmp_path / "next" / "tiny.safetensors").header.steps == 12  # both runs


def test_schedules(recipe: Recipe) -> None:
    assert recipe_module.WARMUP_STEPS == 100
    recipe = changed(recipe, steps=1000, temporal_start=0.2, temporal_ramp=0.3, temporal_weight=50.0)
    schedule, rate = recipe.schedule, recipe.schedule.learning_rate
    assert schedule.learning_rate_at(0, 0.0) < 0.02 * rate
    assert schedule.learning_rate_at(100, 0.1) > 0.95 * rate
    assert schedule.learning_rate_at(999, 0.999) < 0.03 * rate
    assert [recipe.temporal_weight(share) for share in (0.0, 0.2, 0.35, 0.5, 0.999)] == pytest.approx(
        [0, 0, 25, 50, 50]
    )


def test_time_left_shrinks(material: Path, recipe: Recipe, loss_network: LossNetwork, tmp_path: Path) -> None:
    lefts: list[float] = []
    began = time.monotonic()
    run(material, tmp_path / "run", recipe, loss_network, lambda report: lefts.append(report.seconds_left))
    assert lefts[-1] == 0 and 0 < lefts[0] < 20 * (time.monotonic() - began)
