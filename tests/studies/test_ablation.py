"""The ablation table: a run for each row, which is not done again, and the row's figures."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from steadystyle.common.files import InputError
from steadystyle.studies import ablation
from steadystyle.train.checkpoint import CheckpointHeader, load_checkpoint, save_checkpoint
from steadystyle.train.networks import build_network, resolve_sizes
from steadystyle.video.frames import write_video
from steadystyle.video.images import write_image

Texture = Callable[[int, int, int], NDArray[np.uint8]]
SIZES = {"quarter": 8, "eighth": 8, "blocks": 1, "strokes": 0}
RECIPE = """
architecture: edge
sizes: {quarter: 8, eighth: 8, blocks: 1, strokes: 0}
crop: 48
clip_height: 64
clip_intervals: [1, 5]
pairs_per_clip: 2
style_size: 48
style_layers: [relu1_2, relu3_2]
style_half_layers: [relu2_2]
precision: float32
"""


def test_each_row_is_a_run_of_its_own_and_done_once(
    tmp_path: Path, texture: Texture, loss_file: Path, stroke_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wide = texture(64, 128, 20)
    write_video(tmp_path / "clips" / "slide.mp4", [wide[:, 2 * t : 2 * t + 80] for t in range(10)], 25)
    write_image(tmp_path / "photos" / "one.png", texture(96, 120, 10))
    write_image(tmp_path / "style.png", texture(64, 80, 1))
    (tmp_path / "small.yaml").write_text(RECIPE)
    header = CheckpointHeader("start", "none", "edge", resolve_sizes("edge", SIZES), "none", 0)
    save_checkpoint(tmp_path / "start.safetensors", build_network("edge", SIZES), header)
    rows = [ablation.BASE, "no large strokes: style at full size alone"]
    arguments = [
        "--from", tmp_path / "start.safetensors", "--recipe", tmp_path / "small.yaml",
        "--style", tmp_path / "style.png", "--clips", tmp_path / "clips", "--photos", tmp_path / "photos",
        "--held-out", tmp_path / "clips", "--loss-network", stroke_file, "--judge", loss_file, "--steps", "2",
        "--frames", "6", "-o", tmp_path / "runs",
        *(part for row in rows for part in ("--only", row)),
    ]  # fmt: skip
    ablation.main([str(argument) for argument in arguments])
    table = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in table[2:]] == rows
    assert np.isfinite([[float(part) for cell in line[1:] for part in cell.split()] for line in table[2:]]).all()
    runs = sorted((tmp_path / "runs").glob("*/*.safetensors"))
    values = {path.stem: load_checkpoint(path).header.recipe_values for path in runs if path.stem == path.parent.name}
    assert values["the-recipe"]["loss"]["style_half"] == 2.0
    assert values["no-large-strokes-style-at-full-size-alone"]["loss"]["style_half"] == 0.0
    stamps = {path: path.stat().st_mtime_ns for path in runs}
    ablation.main([str(argument) for argument in arguments])
    assert {path: path.stat().st_mtime_ns for path in runs} == stamps
    again = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()]
    assert again == table
    with pytest.raises(InputError, match="no row 'nothing'"):
        ablation.main([*(str(argument) for argument in arguments), "--only", "nothing"])
