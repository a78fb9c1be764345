"""A field of the request is added in one place; the command, the files to copy and `.working` know it.

`test_ssh.py` follows one to another machine and into the report.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from steadystyle.benchmarks.fields import InputFile, Positive
from steadystyle.benchmarks.request import BenchmarkRequest, read_request
from steadystyle.benchmarks.run import benchmark
from steadystyle.cli.asked import asks_for
from steadystyle.common.asked import Asked
from steadystyle.common.files import InputError


@dataclass(frozen=True, kw_only=True)
class More(BenchmarkRequest):
    """With two fields more."""

    added: Annotated[Positive, Asked("Added.")] = 7
    pictures: Annotated[tuple[InputFile, ...], Asked("Files.", "picture", "FILE")] = ()


def test_the_command_asks_for_it() -> None:
    asked: list[More] = []
    app = typer.Typer()

    @app.command()
    @asks_for(More)
    def command(request: More, other: bool = False) -> None:
        asked.append(request)

    run = CliRunner().invoke
    words = ["wave", "--clip", "a.mp4", "--clip", "b.mp4", "--size", "32x24", "--sizes", "1x2,3x4", "--added", "9"]
    assert run(app, [*words, "--picture", "a.png", "--style", "all.png", "--thread-counts", "1,2"]).exit_code == 0
    assert run(app, []).exit_code == 0
    assert asked == [
        More(
            artifacts=("wave",),
            clips=("a.mp4", "b.mp4"),
            style_images={"": "all.png"},
            size=(32, 24),
            sizes=((1, 2), (3, 4)),
            thread_counts=(1, 2),
            added=9,
            pictures=("a.png",),
        ),
        More(),
    ]
    text = run(app, ["--help"]).output
    for name in ("--added", "--picture", "--clip", "--seconds", "640x360"):
        assert name in text


def test_its_range_and_its_files_are_known() -> None:
    with pytest.raises(InputError, match="added must be at least 1, but is 0"):
        More(added=0).check()
    request = More(artifacts=("great-wave",), style_images={"wave": "w.png"}, pictures=("a.png",))
    request.check()
    assert request.files() == ["great-wave", "w.png", "a.png"]


def test_another_value_of_it_begins_again(peer_file: Path, tmp_path: Path) -> None:
    def interrupt(step: str, done: int, total: int | None) -> None:
        told.append(step)
        if step == "peak of this machine":
            raise KeyboardInterrupt

    for added, again in ((1, True), (1, False), (2, True)):
        told = list[str]()
        asked = More(
            peers=(str(peer_file),), added=added, size=(64, 48), threads=1, latency_seconds=0, latency_frames=10
        )
        with pytest.raises(KeyboardInterrupt):
            benchmark(asked, out_dir=tmp_path, pictures=False, progress=interrupt)
        assert ("latency of inverts" in told) == again, added
    assert len(list((tmp_path / ".working").iterdir())) == 2


def test_a_request_comes_back_from_its_file(ask: Callable[..., BenchmarkRequest], tmp_path: Path) -> None:
    request = ask(artifacts=["a@cpu"], style_images={"": "b.png"}, sizes=[(1, 2), (3, 4)], max_frames=3, minutes=1.5)
    (tmp_path / "request.json").write_bytes(request.to_json())
    assert read_request(tmp_path / "request.json") == request
    (tmp_path / "request.json").write_bytes(b'{"threads": "two"}')
    with pytest.raises(InputError, match="is no benchmark request"):
        read_request(tmp_path / "request.json")


def test_every_field_says_how_it_is_asked_for_but_one() -> None:
    kinds = BenchmarkRequest.__annotations__
    silent = [
        one.name
        for one in fields(BenchmarkRequest)
        if not any(isinstance(a, Asked) for a in kinds[one.name].__metadata__)
    ]
    assert silent == ["latency_frames"]


def test_the_commands_help_fits_on_one_screen() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "steadystyle.cli", "benchmark", "--help"],
        env=os.environ | {"COLUMNS": "100"},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert len(lines) <= 50 and max(map(len, lines)) <= 100
    assert "--request" not in done.stdout  # which is for other machines
