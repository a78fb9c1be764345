"""A checkpoint's header is read without torch, and a file that has none is refused."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file, save

from steadystyle.common.files import InputError
from steadystyle.runtimes.checkpoint import read_checkpoint_facts

HEADER = {
    "name": "x", "style": "x.jpg", "architecture": "huang2017", "sizes": {}, "recipe": "", "steps": 0,
    "format_version": 1,
}  # fmt: skip


def test_the_header_and_the_counts(tiny_checkpoint: Path) -> None:
    facts, weights = read_checkpoint_facts(tiny_checkpoint), load_file(tiny_checkpoint)
    assert (facts["name"], facts["architecture"], facts["steps"]) == ("tiny", "huang2017", 0)
    assert facts["tensors"] == len(weights)
    assert facts["parameters"] == sum(value.numel() for value in weights.values())


def test_no_training_stack_is_needed(tiny_checkpoint: Path) -> None:
    program = (
        "import sys, pathlib; from steadystyle.runtimes.checkpoint import read_checkpoint_facts as read;"
        "read(pathlib.Path(sys.argv[1])); print(*sorted({'torch', 'safetensors'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", program, str(tiny_checkpoint)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize("damage", ["empty", "cut", "noise", "list", "foreign", "no shapes"])
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, tiny_checkpoint: Path, damage: str) -> None:
    def header(text: str) -> bytes:
        return len(text).to_bytes(8, "little") + text.encode()

    content = {
        "empty": b"",
        "cut": tiny_checkpoint.read_bytes()[:100],
        "noise": bytes(range(256)),
        "list": header("[1, 2]"),
        "foreign": header('{"__metadata__": {"format": "pt"}}'),
        "no shapes": header(json.dumps({"__metadata__": {"steadystyle": "{}"}, "weight": {}})),
    }
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content[damage])
    with pytest.raises(InputError, match=r"bad\.safetensors'? (is not a whole|has no steadystyle header)") as refusal:
        read_checkpoint_facts(path)
    assert "\n" not in str(refusal.value)


def test_a_flipped_bit_and_a_hostile_header_are_refused(tmp_path: Path, tiny_checkpoint: Path) -> None:
    whole, path = tiny_checkpoint.read_bytes(), tmp_path / "bad.safetensors"
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(InputError, match="its hash does not fit"):
        read_checkpoint_facts(path)
    for name in ("../escaped", "\x1b[2J"):
        path.write_bytes(save(load_file(tiny_checkpoint), {"steadystyle": json.dumps({**HEADER, "name": name})}))
        with pytest.raises(InputError, match="is not allowed"):
            read_checkpoint_facts(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no file .*nowhere\.safetensors"):
        read_checkpoint_facts(tmp_path / "nowhere.safetensors")
