"""Atomic file writing, checks of output paths, and the error class of bad input."""

import hashlib
import os
import re
import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path


class InputError(ValueError):
    """Bad input from a user: the message is one sentence that says what to do; the exit code is 2."""


def _is_read_only(path: Path) -> bool:
    # Without any write bit a path is read-only on purpose, for root too; on Windows folders the bit means nothing.
    if not os.access(path, os.W_OK):
        return True
    meaningful = os.name == "posix" or path.is_file()
    return meaningful and not path.stat().st_mode & 0o222


def check_folder_writable(folder: Path) -> None:
    """Raise InputError unless files can be put into a folder, which need not exist yet; writes nothing."""
    nearest = folder.absolute()
    while not nearest.exists():
        nearest = nearest.parent
    if not nearest.is_dir():
        raise InputError(f"cannot write into '{folder}' because '{nearest}' is a file: choose another output path")
    if _is_read_only(nearest):
        raise InputError(f"cannot write into the folder '{nearest}': make it writable or choose another output path")
    # Permission bits miss read-only and virtual file systems: try it, with a nameless file.
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        reason = error.strerror or error
        raise InputError(
            f"cannot write into the folder '{nearest}' ({reason}): make it writable or choose another output path"
        ) from error


def is_package(path: Path) -> bool:
    """Whether a folder is a Core ML package, which users see, and commands replace, as one file."""
    return path.suffix == ".mlpackage" and (path / "Manifest.json").is_file()


_inputs: list[str | Path | None] = []


def keep_inputs(*inputs: str | Path | None) -> None:
    """Name the files that this process reads: `check_writable`, which every writer asks, refuses them from now on.

    Each command calls it once; inputs named before are forgotten. Names of no file, such as a camera's, are ignored.
    """
    _inputs[:] = inputs


def check_writable(target: Path) -> None:
    """Raise InputError unless a file can be written at `target`, whose folder need not exist yet; writes nothing.

    An input (see `keep_inputs`) cannot be written.
    """
    check_not_input(target, *_inputs)
    if target.is_dir() and not is_package(target):
        raise InputError(f"the output path '{target}' is a folder: give the name of a file")
    if target.exists() and _is_read_only(target):
        raise InputError(f"the output file '{target}' is read-only: make it writable or choose another output path")
    check_folder_writable(target.parent)


def check_not_input(target: Path, *inputs: str | Path | None) -> None:
    """Raise InputError if `target` is an input, or a file in an input folder; follows links, ignores missing inputs."""
    for source in (Path(given) for given in inputs if given is not None):
        if source.exists() and target.exists():
            inside = target.is_file() and source.is_dir() and target.parent.samefile(source)
            if inside or target.samefile(source):
                raise InputError(f"the output '{target}' is the input: choose another -o")


@contextmanager
def made_folder(folder: Path) -> Iterator[None]:
    """Create a folder and its parents for the block; if the block fails, remove those it created that are empty."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        for path in missing:
            with suppress(OSError):
                path.rmdir()
        raise


def temporary_name(target: Path) -> Path:
    """A free hidden name beside `target`, with its suffix, because many writers choose the format by the suffix.

    It holds a hash of this machine's name and this process's number, by which `remove_abandoned` knows its writer.
    """
    return target.with_name(f".{target.stem}.{_machine()}-{os.getpid()}-{secrets.token_hex(4)}.part{target.suffix}")


@lru_cache
def remove_abandoned(folder: Path) -> None:
    """Remove the temporary files in a folder whose writers, processes of this machine, ended without doing it.

    A process looks once into each folder.
    """
    for path in folder.glob(f".*.{_machine()}-*.part*"):
        found = _TEMPORARY.fullmatch(path.name)
        if found is not None and not is_running(int(found[1])):
            with suppress(OSError):
                _remove(path)


_TEMPORARY = re.compile(r"\..*\.[0-9a-f]{8}-(\d{1,9})-[0-9a-f]{8}\.part(?:\.\w+)?", re.DOTALL)


def _machine() -> str:
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


def is_running(process: int) -> bool:
    """Whether this machine runs a process of this number."""
    if os.name != "posix":  # there, signal 0 would end it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def sync(path: Path) -> None:
    """Wait until a file's content, or a folder's entries, are on the disk; OSError if that fails."""
    if os.name != "posix" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def atomic_path(target: Path, *, durable: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `target`, with its suffix; rename it to `target` when the block succeeds.

    Missing parent folders are created. The block may also write a package (see `is_package`). On any exception,
    `KeyboardInterrupt` too, the temporary file and new folders are removed and the old `target` stays. `durable` waits
    until file and folder are on the disk, so that a power cut leaves the old file or the new one. InputError as in
    `check_writable`; OSError when writing fails.
    """
    check_writable(target)
    with made_folder(target.parent):
        remove_abandoned(target.parent)
        temporary = temporary_name(target)
        try:
            yield temporary
            if durable:
                sync(temporary)
            if temporary.is_dir():
                _replace_by_folder(target, temporary)
            else:
                temporary.replace(target)
            if durable:
                sync(target.parent)
        except BaseException:
            _remove(temporary)
            raise


def _replace_by_folder(target: Path, temporary: Path) -> None:
    # A folder cannot be renamed over another: the old one is moved aside, and back on failure.
    old = temporary_name(target)
    try:
        if target.exists():
            target.replace(old)
        temporary.replace(target)
    except BaseException:
        if old.exists() and not target.exists():
            old.replace(target)
        raise
    _remove(old)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content as 64 hexadecimal digits; OSError when it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def size_on_disk(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)
