"""A name in a model file is a name: no path is made of another, and no control character reaches the terminal."""

import json
from pathlib import Path

import pytest

from steadystyle.studies.fuzzing.formats import FORMATS

from .conftest import Cli

NAMES = [
    "../escaped",
    "../../escaped",
    "/tmp/escaped",
    "..",
    ".hidden",
    "a/b",
    "a\\b",
    "x\0y",
    "\x1b[2Jx",
    "x" * 65,
]
COMMANDS = ["info {file}", "stylize {clip} --model {file}", "demo file {clip} --model {file} --frames 2"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", ["onnx", "tflite", "coreml", "checkpoint"])
def test_another_name_is_refused_and_nothing_is_written(
    run: Cli, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, clip: Path, form: str, name: str
) -> None:
    elsewhere = tmp_path_factory.mktemp("models")
    (elsewhere / "corpus").mkdir()
    seed = FORMATS[form].corpus(elsewhere / "corpus")[0]
    old, new = b'"name": "the-scream"', f'"name": {json.dumps(name)}'.encode()
    content = seed.read_bytes()
    if form == "checkpoint":  # the header's text is a string of JSON in JSON, behind its length
        old, new = json.dumps(old.decode())[1:-1].encode(), json.dumps(new.decode())[1:-1].encode()
        length = int.from_bytes(content[:8], "little")
        content = (length + len(new) - len(old)).to_bytes(8, "little") + content[8:]
    assert old in content
    file = FORMATS[form].place(elsewhere / f"model{seed.suffix}", content.replace(old, new))
    for command in [*COMMANDS, *(["export {file} --size any"] if form == "checkpoint" else [])]:
        outcome = run(*command.format(file=file, clip=clip).split())
        assert outcome.code == 2, (command, outcome)
        printed = outcome.out + outcome.err
        assert printed.replace("\n", "").isprintable(), command
    assert list(tmp_path.iterdir()) == []
    assert not Path("/tmp/escaped.mp4").exists()
