"""`train` and `recipes` as a person meets them."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from steadystyle.tests.cli.conftest import Cli, textured
from steadystyle.train.checkpoint import load_checkpoint
from steadystyle.video.frames import write_image, write_video


def test_a_style_image_that_is_none(refused: Cli, tmp_path: Path, training: list[object]) -> None:
    (tmp_path / "style.png").write_text("no picture")
    (tmp_path / "photos").mkdir()
    write_image(tmp_path / "photos" / "a.png", np.zeros((200, 200, 3), np.uint8))
    assert "style.png" in refused(*training, "--photos", "photos").sentence


@pytest.mark.parametrize(
    ("length", "whole"), [(("--steps", "5000"), "of 5000"), (("--minutes", "9"), "within its 9 minutes")]
)
def test_a_training_that_is_interrupted_says_how_far_it_came(
    tmp_path: Path, random_loss_network: Path, length: tuple[str, str], whole: str
) -> None:
    write_image(tmp_path / "style.png", np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    (tmp_path / "photos").mkdir()
    write_image(tmp_path / "photos" / "a.png", textured(96, 96))
    command = [
        sys.executable, "-m", "steadystyle.cli", "train", "--recipe", "huang2017", "--style", "style.png",
        "--photos", "photos", "--loss-network", str(random_loss_network), "-o", "run", "--set", "crop=64", *length,
    ]  # fmt: skip
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("training: "):
                process.send_signal(signal.SIGINT)
                break
        said = process.stderr.read()
    assert process.returncode == 130
    step, rest = said.split("stopped at step ")[1].split(" ", 1)
    assert rest == f"{whole}: the same command with --resume goes on from there\n"
    assert 0 < int(step) < 5000
    assert (tmp_path / "run" / "training-state.safetensors").exists()


def test_a_style_of_ones_own_starts_from_the_nearest_bundled_one(
    run: Cli, tmp_path: Path, random_loss_network: Path
) -> None:
    write_image(tmp_path / "style.png", textured(96, 128))
    (tmp_path / "photos").mkdir()
    write_image(tmp_path / "photos" / "a.png", textured(96, 96))
    layers = "[relu1_2]"  # those of the tests' loss network are few
    outcome = run(
        "train", "--style", "style.png", "--photos", "photos", "--loss-network", random_loss_network, "-o", "run",
        "--steps", 1, "--stroke", 1.5, "--set", "crop=64", "--set", "border=8", "--set", "clip_height=64",
        *(part for key in ("style", "style_half", "style_quarter", "content")
          for part in ("--set", f"{key}_layers={layers}")),
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert re.search(
        r"starting from [a-z-]+, the nearest bundled style \(Gram distance \d\.\d\d\); --from", outcome.err
    )
    (checkpoint,) = (tmp_path / "run").glob("run.safetensors")
    header = load_checkpoint(checkpoint).header
    assert header.architecture == "edge-lp" and header.recipe_values["loss"]["stroke"] == 1.5 and header.steps > 1
    refused = run("train", "--style", "style.png", "--photos", "photos", "--loss-network", random_loss_network,
                  "-o", "other", "--stroke", 9)  # fmt: skip
    assert refused.code == 2 and "size of strokes must lie between 0.75 and 2, not 9" in refused.err
    assert not (tmp_path / "other").exists()


def test_recipes_are_listed_and_copied_to_edit(run: Cli, refused: Cli, tmp_path: Path) -> None:
    listed = run("recipes")
    assert listed.code == 0
    for name in ("edge", "huang2017", "huang2017-paint", "johnson2016", "paint"):
        assert re.search(rf"^│? ?{name} .*\b(9000|12000)\b.*(edge-lp|huang2017)", listed.out, re.MULTILINE), name
    recipes = {recipe["name"]: recipe for recipe in json.loads(run("recipes", "--json").out)}
    assert recipes["paint"]["schedule"]["steps"] == 9000 and recipes["paint"]["network"]["architecture"] == "edge-lp"
    copied = run("recipes", "copy", "paint", "mine.yaml")
    assert copied.code == 0 and "train --recipe mine.yaml" in copied.out
    assert "# steadystyle train --recipe paint" in (tmp_path / "mine.yaml").read_text()
    assert "mine.yaml" in refused("recipes", "copy", "edge", "mine.yaml").sentence
    assert "oil" in refused("recipes", "copy", "oil", "oil.yaml").sentence
    assert ".yaml" in refused("recipes", "copy", "edge", "mine.txt").sentence


@pytest.mark.parametrize("content", ["no folder", "no clip", "one frame", "cuts"])
def test_clips_without_pairs(run: Cli, tmp_path: Path, training: list[object], content: str) -> None:
    if content != "no folder":
        (tmp_path / "clips").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (3, 2, 2, 3), np.uint8)
    frames = [cv2.resize(image, (200, 160), interpolation=cv2.INTER_NEAREST).astype(np.uint8) for image in noise]
    if content in ("one frame", "cuts"):
        write_video(tmp_path / "clips" / "a.mp4", frames[: 1 if content == "one frame" else 3])
    before = sorted(tmp_path.rglob("*"))
    outcome = run(*training, "--clips", "clips")
    assert outcome.code == 2
    assert "clip" in outcome.err.strip().splitlines()[-1]  # reading the clips may have told its progress before
    assert "Traceback" not in outcome.err
    assert sorted(tmp_path.rglob("*")) == before


def test_nothing_to_train_on(refused: Cli, training: list[object]) -> None:
    assert "--clips" in refused(*training).sentence


def test_a_run_is_trained_stopped_and_resumed(run: Cli, tmp_path: Path, training: list[object]) -> None:
    (tmp_path / "photos").mkdir()
    write_image(tmp_path / "photos" / "a.png", textured(200, 200))
    small = ["--set", "crop=32", "--set", "batch=1", "--set", "sizes={stem: 4, half: 4, quarter: 4, blocks: 1}"]
    command = [*training, "--photos", "photos", *small, "--set", "style_size=64", "--json"]
    first = run(*command)
    assert first.code == 0, first.err
    result = json.loads(first.out)
    assert result["steps"] == 1
    assert (tmp_path / result["checkpoint"]).is_file()
    again = run(*command)
    assert again.code == 2
    assert "--resume" in again.err
