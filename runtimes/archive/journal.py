"""What is done in an output folder: JSON lines, so that a killed run goes on where it was."""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .tasks import Task

NAME = ".steadystyle-done.jsonl"

Stamp = list[int] | None
"""Time of change in ns and size in bytes of an output; None where there is none."""


class Journal:
    """The journal of an output folder.

    Each line is [output, key, stamp before, stamp after]: the last two say what the output was when the work began, and
    what it is since, null before it is done. Outputs appear whole, by a rename: one that is another than before is
    done, though its writer was killed before it said so. A line that cannot be read, such as a last one that breaks
    off, counts as absent.
    """

    def __init__(self, folder: Path) -> None:
        """Read it; the folder need not exist. Raises OSError if an existing one cannot be read."""
        self._path = folder / NAME
        self._folder = folder
        self._lines: dict[str, list[Any]] = {}
        text = self._path.read_text(encoding="utf-8", errors="replace") if self._path.exists() else ""
        for line in text.splitlines():
            try:
                place, *rest = json.loads(line)
                self._lines[place] = rest
            except (ValueError, RecursionError, TypeError):
                continue

    def is_done(self, task: Task, key: str) -> bool:
        """Whether the task's output is there as it was written, from the same source with the same settings."""
        line, now = self._lines.get(self._place(task)), _stamp(task.target)
        if now is None or line is None or len(line) != 3 or line[0] != key:
            return False
        _, before, after = line
        return bool(now == after if after is not None else now != before)

    def begin(self, tasks: Iterable[tuple[Task, str]]) -> None:
        """Note what is about to be written, each task with its key; creates the folder."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._add([[self._place(task), key, _stamp(task.target), None] for task, key in tasks])

    def end(self, task: Task, key: str) -> None:
        """Note that a task's output is there."""
        self._add([[self._place(task), key, None, _stamp(task.target)]])

    def _add(self, lines: list[list[Any]]) -> None:
        # In one write, so that two runs into one folder do not mix; after a line end, should the last line lack it.
        text = "".join(f"\n{json.dumps(line)}\n" for line in lines)
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)

    def _place(self, task: Task) -> str:
        return task.target.relative_to(self._folder).as_posix()


def key_of(source: Path, settings: str) -> str:
    """What tells one piece of work from another: the source's size and time of change, and the settings as text."""
    status = source.stat()
    return hashlib.sha256(f"{status.st_size} {status.st_mtime_ns} {settings}".encode()).hexdigest()


def _stamp(path: Path) -> Stamp:
    if not path.is_file():
        return None
    status = path.stat()
    return [status.st_mtime_ns, status.st_size]
