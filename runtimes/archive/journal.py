"""What is done in an output folder: a JSON line a file, added when the output is there."""

import hashlib
import json
import os
from pathlib import Path

from .tasks import Task

NAME = ".steadystyle-done.jsonl"


class Journal:
    """The journal of an output folder; lines that cannot be read, such as a killed writer's last, count as absent."""

    def __init__(self, folder: Path) -> None:
        """Read it; the folder need not exist. Raises OSError if an existing one cannot be read."""
        self._path = folder / NAME
        self._folder = folder
        self._done: dict[str, tuple[str, int]] = {}  # output's place in the folder -> key and size in bytes
        text = self._path.read_text(encoding="utf-8", errors="replace") if self._path.exists() else ""
        for line in text.splitlines():
            try:
                place, key, size = json.loads(line)
            except (ValueError, RecursionError, TypeError):
                continue
            self._done[str(place)] = (str(key), size)

    def is_done(self, task: Task, key: str) -> bool:
        """Whether the task's output is there as it was written, from the same source with the same settings."""
        return task.target.is_file() and self._done.get(self._place(task)) == (key, task.target.stat().st_size)

    def add(self, task: Task, key: str) -> None:
        """Note that a task's output is there."""
        line = json.dumps([self._place(task), key, task.target.stat().st_size])
        # In one write, so that two runs into one folder do not mix; after a line end, should the last line lack it.
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(descriptor, f"\n{line}\n".encode())
        finally:
            os.close(descriptor)

    def _place(self, task: Task) -> str:
        return task.target.relative_to(self._folder).as_posix()


def key_of(source: Path, settings: str) -> str:
    """What tells one piece of work from another: the source's size and time of change, and the settings as text."""
    status = source.stat()
    return hashlib.sha256(f"{status.st_size} {status.st_mtime_ns} {settings}".encode()).hexdigest()
