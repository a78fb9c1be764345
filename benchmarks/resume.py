"""Finished steps of a benchmark, kept in its output folder until the report is written.

An interrupted run leaves the folder `.working`. The same command with the same inputs reuses its finished steps.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np

from ..common.files import InputError, atomic_path, made_folder
from ..video.flow import FlowPair
from .measure.steadiness import Moment
from .record import Clip, now

T = TypeVar("T")

_FOLDER = ".working"


class Kept:
    """The finished steps of one run; `scratch` is an empty folder for temporary files.

    `resumed` has the dates (UTC, ISO 8601) of steps that an interrupted run had finished.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.scratch = folder / "scratch"
        self.resumed: dict[str, str] = {}

    def take(self, step: str, kind: type[T], make: Callable[[], T]) -> T:
        """Return a step's value from an interrupted run, or make and keep it.

        The step's name is unique in the run. `kind` is a record, a list or dict of records, or of plain values.
        InputError if a kept value cannot be read.
        """
        path = self._path(step, ".json")
        if path.exists():
            return self._read(step, path, kind)
        value = make()
        self._write(path, value)
        return value

    def take_clip(self, step: str, make: Callable[[], tuple[Clip, Moment | None]]) -> tuple[Clip, Moment | None]:
        """The same for a clip, whose moment consists of arrays."""
        path, arrays = self._path(step, ".json"), self._path(step, ".npz")
        if path.exists():
            clip = self._read(step, path, Clip)
            return clip, self._read_moment(arrays) if clip.moment is not None else None
        clip, moment = make()
        if moment is not None:
            with atomic_path(arrays) as temporary:
                np.savez(temporary, **_to_arrays(moment))
        self._write(path, clip)  # last: when it exists, so do the arrays
        return clip, moment

    def note(self) -> list[str]:
        """A sentence for the report if the run was resumed."""
        if not self.resumed:
            return []
        first, last = min(self.resumed.values()), max(self.resumed.values())
        return [
            f"This run was interrupted and went on later: {', '.join(self.resumed)} finished before, {first} to {last}."
        ]

    def _path(self, step: str, ending: str) -> Path:
        # Steps contain names of clips and methods, which may be invalid as file names.
        return self._folder / f"{hashlib.sha256(step.encode()).hexdigest()[:16]}{ending}"

    def _read(self, step: str, path: Path, kind: type[T]) -> T:
        try:
            record = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
            value = msgspec.convert(record["value"], kind)
            self.resumed[step] = record["date"]
        except (ValueError, KeyError) as error:
            raise _unreadable(path) from error
        return value

    def _read_moment(self, path: Path) -> Moment:
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return _from_arrays(dict(arrays))
        except (ValueError, KeyError, OSError) as error:
            raise _unreadable(path) from error

    def _write(self, path: Path, value: object) -> None:
        record = {"date": now(), "value": value}
        with atomic_path(path) as temporary:
            text = json.dumps(msgspec.to_builtins(record), allow_nan=False)
            temporary.write_text(text, encoding="utf-8")


def _unreadable(path: Path) -> InputError:
    return InputError(
        f"'{path}', kept by an interrupted run, cannot be read: delete the folder '{path.parent.parent}' to begin again"
    )


def _to_arrays(moment: Moment) -> dict[str, Any]:
    arrays: dict[str, Any] = {"start": moment.start, "worst": moment.worst, "names": list(moment.frames)}
    for index, frames in enumerate(moment.frames.values()):
        arrays[f"frames-{index}"] = np.stack(frames)
    for index, pair in enumerate(moment.pairs):
        arrays |= {f"flow-{index}": pair.flow, f"valid-{index}": pair.valid}
    return arrays


def _from_arrays(arrays: dict[str, Any]) -> Moment:
    names = [str(name) for name in arrays["names"]]
    count = sum(name.startswith("flow-") for name in arrays)
    return Moment(
        start=int(arrays["start"]),
        worst=str(arrays["worst"]),
        frames={name: list(arrays[f"frames-{index}"]) for index, name in enumerate(names)},
        pairs=[FlowPair(arrays[f"flow-{index}"], arrays[f"valid-{index}"]) for index in range(count)],
    )


@contextmanager
def keeping(folder: Path, inputs: object) -> Iterator[Kept]:
    """Keep the steps of a run in its output folder, and remove them when the block succeeds.

    The folder is created if missing, and removed if the block fails before a step is finished. `inputs` are all that
    affects a figure, as records and plain JSON values; steps are reused only if they are equal.
    """
    digest = hashlib.sha256(msgspec.json.encode(inputs, order="deterministic")).hexdigest()
    working = folder / _FOLDER
    with made_folder(folder), made_folder(working / digest[:16]):
        kept = Kept(working / digest[:16])
        shutil.rmtree(kept.scratch, ignore_errors=True)  # left by a killed run
        kept.scratch.mkdir()
        try:
            yield kept
        finally:
            shutil.rmtree(kept.scratch, ignore_errors=True)
    shutil.rmtree(working)


def fingerprint(path: str | Path) -> list[list[str | int]]:
    """Name, bytes and modification time of a file, or of all files of a folder; OSError if it is missing."""
    top = Path(path)
    files = sorted(file for file in top.rglob("*") if file.is_file()) if top.is_dir() else [top]
    return [[str(file.absolute()), (found := file.stat()).st_size, found.st_mtime_ns] for file in files]
