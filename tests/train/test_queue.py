from pathlib import Path

import pytest
import torch

from steadystyle.train import queue
from steadystyle.train.checkpoint import load_checkpoint


def test_the_stages_follow_each_other_and_finished_ones_are_left_alone(
    material: Path, loss_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = {
        "steps": "2", "crop": "32", "border": "0", "border_jitter": "0",
        "clip_height": "64", "style_size": "48", "precision": "float32",
        "content_layers": "[relu2_2]", "style_layers": "[relu1_2]", "style_half_layers": "[relu2_2]",
        "teacher_layers": "[relu2_2]", "clip_intervals": "[1]", "pairs_per_clip": "2",
    }  # fmt: skip
    arguments = [str(material / "style.png"), "--clips", str(material / "clips"), "--photos", str(material / "photos")]
    arguments += ["--loss-network", str(loss_file), "--device", "cpu", "-o", str(tmp_path)]
    arguments += [part for key, value in small.items() for part in ("--set", f"{key}={value}")]
    queue.main(arguments)
    headers = [load_checkpoint(tmp_path / f"style-{stage}" / "style.safetensors").header for stage in queue.STAGES]
    assert [header.architecture for header in headers] == ["huang2017", "huang2017", "edge"]
    assert [header.steps for header in headers] == [2, 4, 2]  # the second goes on from the first
    assert capsys.readouterr().out.count("style, ") == 3
    state = tmp_path / "style-edge" / "training-state.safetensors"
    before = state.stat().st_mtime_ns
    torch.manual_seed(0)
    queue.main(arguments)
    assert capsys.readouterr().out == "" and state.stat().st_mtime_ns == before
