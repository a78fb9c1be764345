"""What a benchmark has finished, kept in its output folder until the report is written.

An interrupted run leaves the folder `.working` there. The same command with the same inputs finds in it what was
finished and measures only the rest. Nothing in it looks like a report, and the report removes it.
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
from .record import Clip
from .report.write import now

T = TypeVar("T")

_FOLDER = ".working"


class Kept:
    """The finished steps of one run.

    Attributes:
        scratch: an empty folder for temporary files.
        resumed: steps that an earlier, interrupted run had finished, with their dates (UTC, ISO 8601).
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.scratch = folder / "scratch"
        self.resumed: dict[str, str] = {}

    def take(self, step: str, kind: type[T], make: Callable[[], T]) -> T:
        """What a step gives: from an earlier run if it was finished there, or made and kept now.

        Args:
            step: its name, another one for each step of a run.
            kind: a record, a list or dict of them, or of plain values.
            make: does the step.

        Raises:
            InputError: what was kept cannot be read.
        """
        path = self._path(step, ".json")
        if path.exists():
            return self._read(step, path, kind)
        value = make()
        self._write(path, value)
        return value

    def take_clip(self, step: str, make: Callable[[], tuple[Clip, Moment | None]]) -> tuple[Clip, Moment | None]:
        """The same for a clip, whose moment for the pictures is many arrays.

        Args:
            step: its name.
            make: measures the clip.

        Raises:
            InputError: what was kept cannot be read.
        """
        path, arrays = self._path(step, ".json"), self._path(step, ".npz")
        if path.exists():
            clip = self._read(step, path, Clip)
            return clip, self._read_moment(arrays) if clip.moment is not None else None
        clip, moment = make()
        if moment is not None:
            with atomic_path(arrays) as temporary:
                np.savez(temporary, **_to_arrays(moment))
        self._write(path, clip)  # last: where it is, the arrays are
        return clip, moment

    def note(self) -> list[str]:
        """A sentence for the report if the run was resumed, otherwise nothing."""
        if not self.resumed:
            return []
        first, last = min(self.resumed.values()), max(self.resumed.values())
        return [
            f"This run was interrupted and went on later: {', '.join(self.resumed)} finished before, {first} to {last}."
        ]

    def _path(self, step: str, ending: str) -> Path:
        # A step is named after clips and methods, whose names are no file names.
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
    """Keep the steps of a run in its output folder; when the block ends well, nothing of it stays.

    Args:
        folder: where the report will be; created when missing, and removed again when the block fails with no step
            finished.
        inputs: records and plain JSON values: everything that shapes a figure. What was kept is taken only where all
            is the same.
    """
    digest = hashlib.sha256(msgspec.json.encode(inputs, order="deterministic")).hexdigest()
    working = folder / _FOLDER
    with made_folder(folder), made_folder(working / digest[:16]):
        kept = Kept(working / digest[:16])
        shutil.rmtree(kept.scratch, ignore_errors=True)  # a killed run's
        kept.scratch.mkdir()
        try:
            yield kept
        finally:
            shutil.rmtree(kept.scratch, ignore_errors=True)
    shutil.rmtree(working)


def fingerprint(path: str | Path) -> list[list[str | int]]:
    """What tells whether a file, or a folder with all that is in it, was changed: name, bytes, time of change.

    Raises:
        OSError: it is not there.
    """
    top = Path(path)
    files = sorted(file for file in top.rglob("*") if file.is_file()) if top.is_dir() else [top]
    return [[str(file.absolute()), (found := file.stat()).st_size, found.st_mtime_ns] for file in files]
