from pathlib import Path

import pytest
import yaml

from steadystyle.studies import plain_loop as plain
from steadystyle.train.recipe import Recipe


def test_both_loops_are_timed(
    material: Path, recipe: Recipe, small_loss_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(yaml.safe_dump(recipe.to_dict()))
    plain.main(
        [
            *("--style", str(material / "style.png"), "--clips", str(material / "clips"), "-o", str(tmp_path / "out")),
            *("--loss-network", str(small_loss_file), "--recipe", str(file), "--steps", "3", "--rounds", "2"),
        ]
    )
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and lines[0].startswith("round 0: plain ")
    assert 0.05 < float(lines[2].removeprefix("median ").removesuffix(" x")) < 50
