from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from steadystyle.common.files import InputError
from steadystyle.train.checkpoint import CheckpointHeader, load_checkpoint, read_tensors, save_checkpoint, write_tensors
from steadystyle.train.networks import build_network, resolve_sizes

SIZES = resolve_sizes("huang2017", {"stem": 4, "half": 4, "quarter": 8, "blocks": 1})


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "net.safetensors"
    header = CheckpointHeader("net", "style.png", "huang2017", SIZES, "huang2017", 5, {"total": 1.5})
    save_checkpoint(path, build_network("huang2017", SIZES), header)
    return path


def rewrite(path: Path, change: dict[str, torch.Tensor | None], target: Path) -> Path:
    tensors, header = read_tensors(path)
    tensors = {key: value for key, value in {**tensors, **change}.items() if value is not None}
    write_tensors(target, tensors, header)
    return target


def test_round_trip_gives_the_same_picture(checkpoint: Path, tmp_path: Path) -> None:
    loaded = load_checkpoint(checkpoint)
    assert loaded.header.steps == 5 and loaded.header.losses == {"total": 1.5} and loaded.header.sizes == SIZES
    save_checkpoint(tmp_path / "again.safetensors", loaded.network, loaded.header)
    frame = torch.rand(1, 3, 12, 18)
    assert torch.equal(loaded.network(frame), load_checkpoint(tmp_path / "again.safetensors").network(frame))


@pytest.mark.parametrize(
    ("values", "size"), [({}, 384), ({"style_size": 512}, 512), ({"style_size": 384, "stroke": 1.25}, 480)]
)
def test_the_size_of_the_style_image_is_that_of_the_training(values: dict[str, float], size: int) -> None:
    assert CheckpointHeader("net", "style.png", "huang2017", SIZES, "", 5, recipe_values=values).style_size == size


def test_damaged_checkpoints_are_refused_in_a_sentence(checkpoint: Path, tmp_path: Path) -> None:
    key = "head.bias"
    broken = {
        f"lacks the weight '{key}'": rewrite(checkpoint, {key: None}, tmp_path / "missing.safetensors"),
        f"not finite in '{key}'": rewrite(checkpoint, {key: torch.full((3,), torch.nan)}, tmp_path / "nan.safetensors"),
        "of shape \\(4,\\)": rewrite(checkpoint, {key: torch.zeros(4)}, tmp_path / "shape.safetensors"),
        "does not know": rewrite(checkpoint, {"extra": torch.zeros(1)}, tmp_path / "extra.safetensors"),
        "no checkpoint at": tmp_path / "absent.safetensors",
    }
    (tmp_path / "half.safetensors").write_bytes(checkpoint.read_bytes()[:5000])
    broken["not a whole .safetensors"] = tmp_path / "half.safetensors"
    save_file(load_file(checkpoint), tmp_path / "bare.safetensors")
    broken["no steadystyle header"] = tmp_path / "bare.safetensors"
    tensors, header = read_tensors(checkpoint)
    write_tensors(tmp_path / "future.safetensors", tensors, {**header, "format_version": 99})
    broken["another format version"] = tmp_path / "future.safetensors"
    write_tensors(tmp_path / "other.safetensors", tensors, {**header, "architecture": "unheard-of"})
    broken["unknown network"] = tmp_path / "other.safetensors"
    for sentence, path in broken.items():
        with pytest.raises(InputError, match=sentence):
            load_checkpoint(path)


def test_a_failed_write_keeps_the_old_checkpoint(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = checkpoint.read_bytes()
    monkeypatch.setattr(Path, "replace", lambda self, target: (_ for _ in ()).throw(OSError(28, "No space left")))
    tensors, header = read_tensors(checkpoint)
    with pytest.raises(OSError, match="No space left"):
        write_tensors(checkpoint, tensors, header)
    assert checkpoint.read_bytes() == before
    assert [path.name for path in checkpoint.parent.iterdir()] == [checkpoint.name]
