"""No command writes over what it reads: each is given an output that is one of its inputs."""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer.main

from steadystyle import cli
from steadystyle.video.frames import write_image

from .conftest import Cli

# By command: the words that make an output meet an input; {in} is a copy of the clip, source.mp4.
MEETINGS = {
    "stylize": [
        "stylize {in} -o {in}",
        "stylize {in} -o link.mp4",
        "stylize picture.png -o .",
        "stylize frames -o frames",
    ],
    "demo file": ["demo file {in} -o .", "demo source.mp4 -o .", "demo file link.mp4 -o ."],
    "demo jetson": ["demo jetson --board software --source file:{in} --sink file:{in} --headless"],
    "demo camera": [],  # its names are of the time, and never of a file that exists: tests/demo/test_camera.py
    "train": ["train --recipe huang2017 --style picture.png --photos frames -o runs/a --name x --from {there} {vgg}"],
    "recipes copy": ["recipes copy paint.yaml paint.yaml"],
    "export": ["export tiny.safetensors --size any -o . --calibrate tiny-any-fp32.onnx"],
    "benchmark": ["benchmark the-scream --clip {in} --style report.json -o ."],
    "compare": ["compare {in} link.mp4 --style report.json -o ."],
    "merge": ["merge report.json -o .", "merge . -o .", "merge report.json link.json -o linked"],
    "baseline": [
        "baseline gatys2016 {in} -o {in} --style picture.png {vgg}",
        "baseline gatys2016 {in} -o picture.mp4 --style picture.mp4 {vgg}",
        "baseline gatys2016 out.mp4.frames -o out.mp4 --style picture.png {vgg}",
    ],
}


def commands() -> set[str]:
    """All commands that have an output, by their words."""
    found = set()

    def walk(command: Any, words: list[str]) -> None:
        for name, inner in getattr(command, "commands", {}).items():
            walk(inner, [*words, name])
        names = {parameter.name for parameter in command.params}
        if names & {"output", "sink", "file"} and "info" not in words and not hasattr(command, "commands"):
            found.add(" ".join(words))

    walk(typer.main.get_command(cli.app), [])
    return found


def test_every_command_with_an_output_is_here() -> None:
    assert commands() == set(MEETINGS)


@pytest.fixture
def inputs(tmp_path: Path, clip: Path, tiny_checkpoint: Path) -> Path:
    shutil.copyfile(clip, tmp_path / "source.mp4")
    (tmp_path / "link.mp4").symlink_to(tmp_path / "source.mp4")
    picture = np.random.default_rng(1).integers(0, 255, (48, 64, 3), np.uint8)
    for name in ("picture.png", "frames/1.png", "frames/2.png", "runs/a/previews/1.png", "out.mp4.frames/1.png"):
        write_image(tmp_path / name, picture)
    shutil.copyfile(tmp_path / "picture.png", tmp_path / "picture.mp4")
    for name in ("tiny.safetensors", "runs/a/x.safetensors", "tiny-any-fp32.onnx"):
        shutil.copyfile(tiny_checkpoint, tmp_path / name)
    shutil.copyfile(tmp_path / "picture.png", tmp_path / "report.json")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "report.json").symlink_to(tmp_path / "report.json")
    (tmp_path / "link.json").symlink_to(tmp_path / "linked" / "report.json")
    (tmp_path / "paint.yaml").write_text("about: mine\n")
    return tmp_path


def hashes(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("words", [words for listed in MEETINGS.values() for words in listed])
def test_an_output_that_is_an_input_is_refused(run: Cli, inputs: Path, random_loss_network: Path, words: str) -> None:
    if words.startswith("demo jetson") and shutil.which("gst-launch-1.0") is None:
        pytest.skip("no GStreamer here: apt-get install gstreamer1.0-tools")
    before = hashes(inputs)
    filled = words.format(
        **{"in": inputs / "source.mp4", "there": "runs/a/x.safetensors", "vgg": f"--loss-network {random_loss_network}"}
    )
    outcome = run(*filled.split())
    assert hashes(inputs) == before
    assert outcome.code == 2
    assert "input" in outcome.sentence or "exists" in outcome.sentence, outcome.sentence


def test_the_default_output_is_refused_too(run: Cli, inputs: Path) -> None:
    (inputs / "steadystyle-demo").mkdir()
    shutil.copyfile(inputs / "source.mp4", inputs / "steadystyle-demo" / "source.mp4")
    before = hashes(inputs)
    for words in ("demo file steadystyle-demo/source.mp4", "demo steadystyle-demo/source.mp4"):
        assert run(*words.split()).code == 2, words
    assert hashes(inputs) == before
