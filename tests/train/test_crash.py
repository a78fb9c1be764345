"""A training that dies, or whose disk fails, at a write, fsync or rename: nothing is half, and it goes on bit for bit.

At every call: ``python tests/train/run_and_fail.py kill|ENOSPC|EIO MATERIAL LOSS RECIPE OUT 1 201 1``.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from steadystyle.train.recipe import Recipe
from steadystyle.train.recipes import changed

SCRIPT = Path(__file__).with_name("run_and_fail.py")


@pytest.mark.parametrize(("how", "reason"), [("kill", ""), ("ENOSPC", "no space left"), ("EIO", "Input/output error")])
def test_a_training_that_fails_at_any_call_loses_nothing(
    material: Path, recipe: Recipe, loss_file: Path, tmp_path: Path, how: str, reason: str
) -> None:
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(changed(recipe, temporal_start=0.0).to_dict()))
    command = [sys.executable, str(SCRIPT), how, material, loss_file, tmp_path / "tiny.yaml", tmp_path]
    step = 7 if how == "kill" else 19  # of some 60 calls; a file is four: write, fsync, rename, fsync of the folder
    done = subprocess.run(
        [*map(str, command), "1", "57", str(step)], capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stderr
    cases: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(cases) == len(range(1, 57, step))
    for case in cases:
        assert case["damaged"] == [] and case["equal"] and case["left"] == [], case
        assert case["code"] == (9 if how == "kill" else 2), case
        if reason:
            *notes, sentence, _ = case["said"]
            assert reason in sentence
            assert all(note.startswith(("training on", "resumed")) for note in notes), notes
