"""Temporary files whose writer was killed, and files that must be on the disk."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from steadystyle.common import files
from steadystyle.common.files import atomic_path, is_running, remove_abandoned, temporary_name

_WRITER = """
import sys, time
from pathlib import Path
from steadystyle.common.files import atomic_path
with atomic_path(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    print(temporary, flush=True)
    time.sleep(60)
"""


def begin(target: Path) -> "tuple[subprocess.Popen[str], Path]":
    """A process that has written half of a file."""
    process = subprocess.Popen([sys.executable, "-c", _WRITER, str(target)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_what_a_killed_writer_left_is_removed_and_what_a_running_one_writes_is_not(tmp_path: Path) -> None:
    dead, left = begin(tmp_path / "old.mp4")
    alive, growing = begin(tmp_path / "new.mp4")
    dead.send_signal(signal.SIGKILL)
    dead.wait(20)
    assert left.is_file()
    with atomic_path(tmp_path / "mine.txt") as temporary:
        temporary.write_text("whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([growing.name, "mine.txt"])
    alive.kill()
    alive.wait(20)


def test_folders_go_too_and_names_of_others_stay(tmp_path: Path) -> None:
    pid = subprocess.Popen([sys.executable, "-c", ""])
    pid.wait(20)
    gone = re.sub(rf"-{os.getpid()}-", f"-{pid.pid}-", temporary_name(tmp_path / "frames").name)
    (tmp_path / gone).mkdir()
    (tmp_path / gone / "1.png").write_bytes(b"x")
    of_another_machine = gone.replace(gone.split(".")[2].split("-")[0], "0" * 8)
    kept = [of_another_machine, f"{gone}.bak.zip", gone[1:], ".x.part", temporary_name(tmp_path / "a.png").name]
    for name in kept:
        (tmp_path / name).write_bytes(b"x")
    remove_abandoned(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)


def test_a_folder_is_looked_through_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[Path] = []
    glob = Path.glob

    def counted(self: Path, pattern: str) -> Iterator[Path]:
        looked.append(self)
        return glob(self, pattern)

    monkeypatch.setattr(Path, "glob", counted)
    for name in ("a", "b", "c"):
        with atomic_path(tmp_path / name) as temporary:
            temporary.write_text("")
    assert looked == [tmp_path]


def test_this_process_runs_and_an_ended_one_does_not() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait(20)
    assert is_running(os.getpid())
    assert not is_running(ended.pid)


def test_a_durable_file_is_synced_before_its_name_and_the_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    monkeypatch.setattr(files, "sync", lambda path: calls.append(f"sync {path.name[-5:]}"))
    replace = Path.replace

    def noted(self: Path, target: Path) -> Path:
        calls.append("rename")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", noted)
    with atomic_path(tmp_path / "a", durable=True) as temporary:
        temporary.write_text("x")
    assert calls == ["sync .part", "rename", f"sync {tmp_path.name[-5:]}"]
