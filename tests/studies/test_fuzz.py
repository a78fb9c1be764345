"""The fuzzer: each format's corpus is read, few cases find nothing, and planted defects of each kind are found."""

import ctypes
import importlib.util
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from steadystyle.studies import fuzz
from steadystyle.studies.fuzzing.formats import FORMATS, Format


@pytest.mark.parametrize("name", FORMATS)
def test_the_corpus_is_read_as_it_is(name: str, tmp_path: Path) -> None:
    form = FORMATS[name]
    (tmp_path / "corpus").mkdir()
    for seed in form.corpus(tmp_path / "corpus"):
        if name == "tflite":  # its model is no network, and its reader mutates the archive: see below
            continue
        (tmp_path / seed.stem).mkdir(exist_ok=True)
        form.read(form.place(tmp_path / seed.stem / seed.name, seed.read_bytes()))


@pytest.mark.parametrize("name", ["tflite", "report", "boards"])  # `.ci/run` fuzzes them all
def test_some_cases_end_well(name: str, tmp_path: Path) -> None:
    assert fuzz.fuzz(FORMATS[name], range(40), seed=7, out=tmp_path / "findings") == []
    assert not (tmp_path / "findings").exists()


def _corpus(folder: Path) -> list[Path]:
    (folder / "seed.txt").write_bytes(b"seed")
    return [folder / "seed.txt"]


def _unchanged(data: bytes, random: Random) -> bytes:
    return data


def _raises(path: Path) -> None:
    raise KeyError("planted \x1b[2J")


def _dies(path: Path) -> None:
    ctypes.string_at(0)


def _hangs(path: Path) -> None:
    time.sleep(60)


def _leaves(path: Path) -> None:
    path.with_name("left.tmp").write_bytes(b"x")


def _grows(path: Path) -> None:
    bytearray(b"x") * ((fuzz.MOST_MIB + 100) << 20)


@pytest.mark.parametrize(
    ("read", "what"),
    [
        (_raises, "KeyError"),
        (_dies, "ended with -11"),
        (_hangs, "over "),
        (_leaves, "left 'left.tmp' behind"),
        (_grows, "took "),
    ],
)
def test_planted_defects_are_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, read: Callable[[Path], None], what: str
) -> None:
    if read is _hangs:
        monkeypatch.setattr(fuzz, "MOST_SECONDS", 3.0)
    planted = Format("planted", _corpus, read, _unchanged)
    findings = fuzz.fuzz(planted, range(2), seed=1, out=tmp_path)
    assert [finding.case for finding in findings] == [0, 1]
    assert all(finding.what.startswith(what) for finding in findings), findings
    assert sorted(path.name for path in tmp_path.glob("planted-*")) == ["planted-1-0.txt", "planted-1-1.txt"]


@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris has wheels for Linux on x86-64 alone")
def test_files_that_reach_new_code_are_mutated_further(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "steadystyle.studies.fuzzing.guided", "queue", "--seconds", "3", "-o", str(tmp_path)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "INITED" in done.stderr and "NEW" in done.stderr, done.stderr
    assert list(tmp_path.iterdir()) == []
