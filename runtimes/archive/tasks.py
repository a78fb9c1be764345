"""Which files become which outputs."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...common.files import InputError, check_folder_writable
from ...video.frames import VIDEO_SUFFIXES
from ...video.images import IMAGE_SUFFIXES
from .settings import Settings

SEARCHED = IMAGE_SUFFIXES | VIDEO_SUFFIXES | frozenset(
    {".m4v", ".avi", ".webm", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".flv", ".wmv", ".3gp", ".ogv", ".mxf", ".gif"}
)  # fmt: skip
"""Endings of the files that a folder is searched for; a file that is named is opened whatever its ending is."""


@dataclass(frozen=True)
class Task:
    """A file and its output."""

    source: Path
    target: Path


def is_archive(inputs: Sequence[str]) -> bool:
    """Whether these are many files: several inputs, or a folder with more in it than pictures."""
    if len(inputs) > 1:
        return True
    folder = Path(inputs[0])
    return folder.is_dir() and any(
        path.suffix.lower() not in IMAGE_SUFFIXES or path.parent != folder for path in _found(folder)
    )


def names_a_file(out: Path) -> bool:
    """Whether an output is meant as a file, by its ending: a folder may have a dot in its name."""
    return out.suffix.lower() in SEARCHED and not out.is_dir()


def find_tasks(inputs: Sequence[str], out: Path, settings: Settings) -> list[Task]:
    """The files of all inputs, each with its output in `out`: by its name, or by its place in an input folder.

    An output ends as its source does if that can be written so, else in what the settings choose.

    Raises:
        InputError: an input does not exist or holds no file to stylize, `out` lies in an input or cannot be written
            to, or two files would become one output.
    """
    if names_a_file(out):
        raise InputError(f"many files need a folder as output, not '{out}': give -o FOLDER")
    check_folder_writable(out)
    tasks = []
    for name in inputs:
        path = Path(name)
        if path.is_dir():
            if out.resolve().is_relative_to(path.resolve()):
                raise InputError(f"the output '{out}' lies in the input '{path}': choose another -o")
            found = list(_found(path))
            if not found:
                raise InputError(f"there is no video and no image in the folder '{path}' or below: give another one")
            tasks += [Task(file, out / _renamed(file.relative_to(path), settings)) for file in found]
        elif path.is_file():
            tasks.append(Task(path, out / _renamed(Path(path.name), settings)))
        else:
            raise InputError(f"there is no file or folder '{name}': check the path")
    _check(tasks)
    return tasks


def _check(tasks: Sequence[Task]) -> None:
    sources: dict[Path, Path] = {}
    for task in tasks:
        if task.source == sources.get(task.target):
            raise InputError(f"'{task.source}' is given twice: give it once")
        if task.target in sources:
            raise InputError(
                f"'{sources[task.target]}' and '{task.source}' would both become '{task.target}': stylize them apart"
            )
        sources[task.target] = task.source
    inputs = {_identity(task.source) for task in tasks}
    for task in tasks:
        if task.target.exists() and _identity(task.target) in inputs:
            raise InputError(f"the output '{task.target}' is an input: choose another -o")


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _found(top: Path) -> Iterator[Path]:
    """Files below a folder that can be stylized; hidden ones are not, and links to folders are not followed."""
    for folder, folders, names in os.walk(top):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for path in (Path(folder, name) for name in sorted(names) if not name.startswith(".")):
            if path.suffix.lower() in SEARCHED and path.is_file():
                yield path


def _renamed(path: Path, settings: Settings) -> Path:
    if settings.preview:  # beside the stylized files, and no two alike
        return path.with_name(f"{path.name}-preview.jpg")
    return path if path.suffix.lower() in IMAGE_SUFFIXES else path.with_suffix(settings.ending(path))
