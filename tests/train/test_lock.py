"""One run, one trainer."""

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from steadystyle.common.files import InputError
from steadystyle.train.checkpoint import read_tensors
from steadystyle.train.loss.network import LossNetwork
from steadystyle.train.recipe import Recipe
from steadystyle.train.recipes import changed
from steadystyle.train.state import STATE_NAME
from steadystyle.train.trainer import TrainingJob, train
from steadystyle.train.workers import LOCK_NAME


@pytest.fixture
def command(material: Path, recipe: Recipe, loss_file: Path, tmp_path: Path) -> list[str]:
    """A training of a great many steps into ``tmp_path / "run"``."""
    endless = changed(recipe, steps=100000, checkpoint_every=1)
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(endless.to_dict()))
    return [
        sys.executable, "-m", "steadystyle.cli", "train", "--style", str(material / "style.png"), "--photos",
        str(material / "photos"), "--recipe", str(tmp_path / "tiny.yaml"), "--loss-network", str(loss_file),
        "-o", str(tmp_path / "run"), "--device", "cpu",
    ]  # fmt: skip


def begun(command: list[str], run: Path, step: int = 2) -> "subprocess.Popen[str]":
    """A trainer that has saved its state."""
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not (run / STATE_NAME).exists() or read_tensors(run / STATE_NAME)[1]["step"] < step:
        assert running.poll() is None, running.communicate()
        time.sleep(0.1)
    return running


def test_the_second_trainer_is_refused_and_a_dead_ones_folder_is_taken_over(
    material: Path, recipe: Recipe, loss_network: LossNetwork, command: list[str], tmp_path: Path
) -> None:
    first = begun(command, tmp_path / "run")
    try:
        second = subprocess.run([*command, "--resume"], capture_output=True, text=True, timeout=120, check=False)
        assert second.returncode == 2 and "Traceback" not in second.stderr
        assert f"process {first.pid} trains in" in second.stderr
        job = TrainingJob(material / "style.png", tmp_path / "run", recipe, photos=material / "photos", resume=True)
        began = time.monotonic()
        with pytest.raises(InputError, match=f"process {first.pid} trains in"):
            train(job, loss_network)
        assert time.monotonic() - began < 1
    finally:
        first.send_signal(signal.SIGKILL)
        first.communicate()
    assert (tmp_path / "run" / LOCK_NAME).exists()
    step = read_tensors(tmp_path / "run" / STATE_NAME)[1]["step"]
    heir = begun([*command, "--resume"], tmp_path / "run", step + 1)
    heir.send_signal(signal.SIGTERM)
    assert f"resumed at step {step}" in heir.communicate(timeout=60)[1]
    assert heir.returncode == 130 and not (tmp_path / "run" / LOCK_NAME).exists()
    assert read_tensors(tmp_path / "run" / STATE_NAME)[1]["step"] > step


def test_a_refused_training_leaves_no_folder_and_no_lock(
    material: Path, recipe: Recipe, loss_network: LossNetwork, tmp_path: Path
) -> None:
    job = TrainingJob(material / "style.png", tmp_path / "new" / "run", recipe, photos=tmp_path / "none", device="cpu")
    with pytest.raises(InputError, match="there is no folder"):
        train(job, loss_network)
    assert list(tmp_path.iterdir()) == []
    for name in ("my wave", "../wave", "."):
        with pytest.raises(InputError, match=r"is not allowed.*give the model such a --name"):
            train(dataclasses.replace(job, name=name), loss_network)
    with pytest.raises(InputError, match=r"is not allowed.*give the model such a --name"):
        train(dataclasses.replace(job, out=tmp_path / "my wave"), loss_network)
    assert list(tmp_path.iterdir()) == []


def test_a_lock_of_an_unknown_owner_is_free(
    material: Path, recipe: Recipe, loss_network: LossNetwork, tmp_path: Path
) -> None:
    (tmp_path / LOCK_NAME).write_text(str(os.getppid()))  # of a process that lives and does not hold it
    job = TrainingJob(material / "style.png", tmp_path, recipe, photos=material / "photos", name="x", device="cpu")
    assert train(job, loss_network).finished
    assert not (tmp_path / LOCK_NAME).exists()
