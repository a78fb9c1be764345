"""Two processes on this machine train one network, by gloo."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from steadystyle.train.checkpoint import load_checkpoint, read_tensors
from steadystyle.train.recipe import Recipe
from steadystyle.train.recipes import changed
from steadystyle.train.state import STATE_NAME

SCRIPT = Path(__file__).with_name("run_as_worker.py")


def run(count: int, material: Path, loss_file: Path, out: Path, recipe: Recipe, what: str) -> str:
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)] if count > 1 else []
    arguments = [str(material), str(loss_file), str(out), json.dumps(recipe.to_dict()), what]
    done = subprocess.run(
        [sys.executable, *torchrun, str(SCRIPT), *arguments], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_two_processes_have_the_gradients_of_their_joint_batch(
    material: Path, recipe: Recipe, loss_file: Path, tmp_path: Path
) -> None:
    recipe = changed(recipe, colour_weight=1.0)
    both, one = tmp_path / "both.pt", tmp_path / "one.pt"
    said = run(2, material, loss_file, both, recipe, "gradients").splitlines()
    assert said == ["gloo threads left: 0"] * 2
    run(1, material, loss_file, one, changed(recipe, batch=2), "gradients")
    ours, theirs = torch.load(both, weights_only=True), torch.load(one, weights_only=True)
    assert ours.keys() == theirs.keys() and len(ours) > 10
    for name, gradient in theirs.items():
        assert gradient.abs().max() > 0
        scale = float(gradient.abs().max())
        torch.testing.assert_close(ours[name] / scale, gradient / scale, atol=1e-4, rtol=0)
    alone = tmp_path / "alone.pt"
    run(1, material, loss_file, alone, recipe, "gradients")
    name = next(iter(theirs))
    with pytest.raises(AssertionError):  # the second process does count
        torch.testing.assert_close(torch.load(alone, weights_only=True)[name], theirs[name], atol=0, rtol=0.05)


def test_two_processes_train_one_network_and_go_on_with_it(
    material: Path, recipe: Recipe, loss_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    said = run(2, material, loss_file, out, recipe, "begin").splitlines()
    assert sorted(line for line in said if line.startswith("finished")) == ["finished 6", "finished 6"]
    assert [line for line in said if line.startswith("step")] == [f"step {n}" for n in range(1, 7)]
    assert sum("one of 2 processes" in line for line in said) == 1
    assert said.count("gloo threads left: 0") == 2
    assert read_tensors(out / STATE_NAME)[1]["step"] == 6
    assert all(
        torch.isfinite(value).all() for value in load_checkpoint(out / "tiny.safetensors").network.state_dict().values()
    )
    again = run(2, material, loss_file, out, recipe, "resume").splitlines()
    assert "said resumed at step 6" in again
