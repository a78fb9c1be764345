import json
import os
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save, save_file

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
    broken["damaged: its hash does not fit"] = tmp_path / "half.safetensors"
    old = edited(checkpoint, {}, tmp_path / "old.safetensors").read_bytes()
    (tmp_path / "half-old.safetensors").write_bytes(old[:5000])
    broken["not a whole .safetensors"] = tmp_path / "half-old.safetensors"
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


def test_it_is_on_the_disk_before_and_after_it_takes_its_name(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    sync, replace = os.fsync, os.replace

    def synced(descriptor: int) -> None:
        done.append(f"sync {Path(f'/proc/self/fd/{descriptor}').resolve().suffix or 'folder'}")
        sync(descriptor)

    def renamed(source: Path, target: Path) -> None:
        done.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", renamed)
    rewrite(checkpoint, {}, tmp_path / "again.safetensors")
    assert done == ["sync .safetensors", "rename", "sync folder"]


def test_a_failed_write_keeps_the_old_checkpoint(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = checkpoint.read_bytes()
    monkeypatch.setattr(Path, "replace", lambda self, target: (_ for _ in ()).throw(OSError(28, "No space left")))
    tensors, header = read_tensors(checkpoint)
    with pytest.raises(OSError, match="No space left"):
        write_tensors(checkpoint, tensors, header)
    assert checkpoint.read_bytes() == before
    assert [path.name for path in checkpoint.parent.iterdir()] == [checkpoint.name]


def edited(path: Path, change: dict[str, Any], target: Path) -> Path:
    """A file as of today, without a hash, in whose header some fields are others; None: the field is gone."""
    tensors, header = read_tensors(path)
    values = {key: value for key, value in {**header, **change}.items() if value is not None}
    target.write_bytes(save(tensors, {"steadystyle": json.dumps(values)}))
    return target


def test_every_flipped_bit_is_seen(checkpoint: Path, tmp_path: Path) -> None:
    whole, random = checkpoint.read_bytes(), Random(1)
    header = 8 + int.from_bytes(whole[:8], "little")
    key = whole.index(b"sha256")
    places = [*range(8 * (key - 4), 8 * (key + 12)), *(random.randrange(8 * header) for _ in range(100))]
    places += [random.randrange(8 * header, 8 * len(whole)) for _ in range(400 - len(places))]
    for place in places:
        content = bytearray(whole)
        content[place // 8] ^= 1 << place % 8
        (tmp_path / "flipped.safetensors").write_bytes(content)
        with pytest.raises(InputError):
            load_checkpoint(tmp_path / "flipped.safetensors")
    (tmp_path / "flipped.safetensors").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(InputError, match="damaged: its hash does not fit"):
        load_checkpoint(tmp_path / "flipped.safetensors")


def test_the_same_network_gives_the_same_bytes_and_one_without_a_hash_still_loads(
    checkpoint: Path, tmp_path: Path
) -> None:
    rewrite(checkpoint, {}, tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == checkpoint.read_bytes()
    assert load_checkpoint(edited(checkpoint, {}, tmp_path / "old.safetensors")).header.steps == 5


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"architecture": ["edge"]}, r"Expected `str`, got `array` - at `\$\.architecture`"),
        ({"steps": "5"}, r"Expected `int`, got `str` - at `\$\.steps`"),
        ({"steps": -1}, r"Expected `int` >= 0 - at `\$\.steps`"),
        ({"sizes": [1]}, r"Expected `object`, got `array` - at `\$\.sizes`"),
        ({"sizes": {**SIZES, "blocks": 1.5}}, r"Expected `int`, got `float` - at `\$\.sizes"),
        ({"sizes": {**SIZES, "blocks": float("inf")}}, r"Expected `int`, got `float` - at `\$\.sizes"),
        ({"sizes": {**SIZES, "quarter": 60000}}, r"Expected `int` <= 4096 - at `\$\.sizes"),
        ({"sizes": {**SIZES, "blocks": 65}}, "takes 0 to 64 for its size 'blocks', not 65"),
        ({"sizes": {**SIZES, "stem": 0}}, "takes 1 to 4096 for its size 'stem', not 0"),
        ({"sizes": {**SIZES, "margin": 6}}, "no such margin and kernel"),
        ({"sizes": {**SIZES, "quarter": 4096}}, "where \\(4096, 4, 3, 3\\) is expected"),
        ({"losses": {"total": "low"}}, r"Expected `float`, got `str` - at `\$\.losses"),
        ({"recipe": 1}, r"Expected `str`, got `int` - at `\$\.recipe`"),
        ({"recipe_values": 1}, r"Expected `object`, got `int` - at `\$\.recipe_values`"),
        ({"recipe_values": {"loss": []}}, "Expected `object`, got `array`"),
        ({"recipe_values": {"style_size": "large"}}, "Expected `int`, got `str`"),
        ({"recipe_values": {"stroke": float("nan")}}, "Expected `float` > 0"),
        ({"recipe_values": {"style_size": 1, "stroke": 0.3}}, "its style image has no size"),
        ({"versions": ["2"]}, r"Expected `object`, got `array` - at `\$\.versions`"),
        ({"format_version": "1"}, "another format version"),
        ({"name": "../../escaped"}, r"the name '\.\./\.\./escaped' is not allowed"),
        ({"name": "\x1b[2J"}, "is not allowed"),
        ({"style": None}, "missing required field `style`"),
        ({"sizes": {"deep": [[[[[]]]] * 60]}}, "Expected `int`"),
    ],
)
def test_each_field_of_the_header_has_its_type_and_range(
    checkpoint: Path, tmp_path: Path, change: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence) as refusal:
        load_checkpoint(edited(checkpoint, change, tmp_path / "edited.safetensors"))
    assert "\n" not in str(refusal.value) and "\x1b" not in str(refusal.value)


def test_weights_of_another_type_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    for kind in (torch.int64, torch.float8_e4m3fn, torch.complex64):
        path = rewrite(checkpoint, {"head.bias": torch.ones(3).to(kind)}, tmp_path / "other.safetensors")
        with pytest.raises(InputError, match=r"weight 'head\.bias' of type torch\."):
            load_checkpoint(path)


def test_hostile_files_take_no_time_and_no_memory(checkpoint: Path, tmp_path: Path) -> None:
    changes: dict[str, dict[str, Any]] = {
        "blocks": {"sizes": {**SIZES, "blocks": 10**9}},
        "wide": {"sizes": {**SIZES, "half": 2048, "quarter": 2048}},
        "long": {"steps": 10**4000},
        "margin": {"architecture": "edge", "sizes": {"margin": 4096}},
    }
    paths = [edited(checkpoint, change, tmp_path / f"{name}.safetensors") for name, change in changes.items()]
    paths += [tmp_path / "huge-header.safetensors", tmp_path / "huge-tail.safetensors"]
    paths[-2].write_bytes((8 << 30).to_bytes(8, "little"))
    paths[-1].write_bytes(checkpoint.read_bytes())
    for path in paths[-2:]:
        os.truncate(path, 9 << 30)
    program = """if True:
        import resource, sys, time
        from pathlib import Path
        from steadystyle.common.files import InputError
        from steadystyle.runtimes.checkpoint import read_checkpoint_facts
        from steadystyle.train.checkpoint import load_checkpoint
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for path in sys.argv[1:]:
            for read in (read_checkpoint_facts, load_checkpoint):
                began = time.monotonic()
                try:
                    read(Path(path))
                except InputError:
                    assert time.monotonic() - began < 2, path
                else:
                    assert read is read_checkpoint_facts, path  # which builds no network
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000
    """
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, paths)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
