"""One run, one trainer: the lock of a run's folder."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from ..common.files import InputError, check_folder_writable, made_folder
from .workers import Workers

LOCK_NAME = ".lock"


@contextmanager
def hold_folder(folder: Path, workers: Workers) -> Iterator[None]:
    """Hold a run's folder for the block, created if missing; the first of the workers holds it for all.

    The system frees the lock of a process that dies. InputError, in all workers, if another process trains there: it
    names the process. InputError or OSError if the folder cannot be written into.
    """
    if not workers.first:
        _refuse(workers.broadcast(""))
        yield
        return
    check_folder_writable(folder)
    with made_folder(folder):
        path = folder / LOCK_NAME
        lock = FileLock(path, timeout=0, on_acquired=_sign)
        refusal = ""
        try:
            lock.acquire()
        except Timeout:
            refusal = f"{_owner(path)} trains in {folder}: wait for its end, or choose another folder"
        _refuse(workers.broadcast(refusal))
        try:
            yield
        finally:
            path.unlink(missing_ok=True)  # while held: who waits for this file sees that it is gone
            lock.release()


def _sign(descriptor: int) -> None:
    os.truncate(descriptor, 0)
    os.write(descriptor, str(os.getpid()).encode())


def _owner(path: Path) -> str:
    with suppress(OSError, ValueError):  # it may have ended just now
        return f"process {int(path.read_bytes()[:20])}"
    return "another process"


def _refuse(refusal: str) -> None:
    if refusal:
        raise InputError(refusal)
