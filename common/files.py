"""Files are written under a temporary name and renamed when whole; bad input has one error class.

Everything that this package writes goes through `atomic_path` (one file) or is built from it, so that an interrupted
or failed command leaves neither half a file nor a stray one behind.
"""

import hashlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class InputError(ValueError):
    """Bad input from a user: the message is one sentence that says what to do.

    The command line prints the message without a traceback and leaves with exit code 2.
    """


def _is_read_only(path: Path) -> bool:
    # Root may write anywhere, yet a file or folder without any write bit was made read-only on purpose: respect that.
    # Windows sets the same bit on ordinary folders, where it means nothing.
    if not os.access(path, os.W_OK):
        return True
    meaningful = os.name == "posix" or path.is_file()
    return meaningful and not path.stat().st_mode & 0o222


def check_folder_writable(folder: Path) -> None:
    """Check that files can be put into a folder, or that the folder can be created; writes nothing.

    Args:
        folder: the folder, which need not exist yet.

    Raises:
        InputError: the folder, or the nearest existing folder above it, is a file or not writable.
    """
    nearest = folder.absolute()
    while not nearest.exists():
        nearest = nearest.parent
    if not nearest.is_dir():
        raise InputError(f"cannot write into '{folder}' because '{nearest}' is a file: choose another output path")
    if _is_read_only(nearest):
        raise InputError(f"cannot write into the folder '{nearest}': make it writable or choose another output path")
    # Permission bits do not tell everything (read-only and virtual file systems): try it, with a file that has no
    # name.
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        reason = error.strerror or error
        raise InputError(
            f"cannot write into the folder '{nearest}' ({reason}): make it writable or choose another output path"
        ) from error


def is_package(path: Path) -> bool:
    """Whether a folder is one file to its users (a Core ML package), and may be replaced like one."""
    return path.suffix == ".mlpackage" and (path / "Manifest.json").is_file()


def check_writable(target: Path) -> None:
    """Check that a file can be written at `target`, so that a long command fails before it works; writes nothing.

    Args:
        target: path of the file to be written; it may exist, and its folder need not.

    Raises:
        InputError: `target` is a folder (and no package), a read-only file, or in a place where nothing can be written.
    """
    if target.is_dir() and not is_package(target):
        raise InputError(f"the output path '{target}' is a folder: give the name of a file")
    if target.exists() and _is_read_only(target):
        raise InputError(f"the output file '{target}' is read-only: make it writable or choose another output path")
    check_folder_writable(target.parent)


def check_not_input(target: Path, *inputs: str | Path | None) -> None:
    """Check that writing a file or folder at `target` would replace none of a command's inputs; writes nothing.

    Symbolic and hard links are followed: a file is what it is, not what it is called.

    Args:
        target: path that is about to be written to; it need not exist.
        inputs: what the command reads. Words that name no file (a camera, a bundled model) and None are passed over.

    Raises:
        InputError: `target` is one of the inputs, or a file that stands in a folder that is one.
    """
    for given in inputs:
        source = Path(given) if given is not None else None
        if source is None or not source.exists() or not target.exists():
            continue
        inside = target.is_file() and source.is_dir() and target.parent.samefile(source)
        if inside or target.samefile(source):
            raise InputError(f"the output '{target}' is the input: choose another -o")


@contextmanager
def made_folder(folder: Path) -> Iterator[None]:
    """Create a folder and its parents for the block; if the block fails, those that it created and left empty go."""
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
    """A free hidden name beside `target` with the same suffix, because many writers choose the format by the suffix."""
    return target.with_name(f".{target.stem}.{secrets.token_hex(4)}.part{target.suffix}")


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Give a temporary path to write to, and rename the file to `target` when the block ends well.

    When the block raises anything (`KeyboardInterrupt` too) the temporary file and the folders created for it are
    removed, and what was at `target` before stays. The block may also write a package (see `is_package`).

    Args:
        target: path of the file to be written; missing parent folders are created.

    Yields:
        A path in the same folder with the same suffix, at which no file exists yet.

    Raises:
        InputError: `target` cannot be written (see `check_writable`).
        OSError: the write fails on the way, for instance because no space is left on the device.
    """
    check_writable(target)
    with made_folder(target.parent):
        temporary = temporary_name(target)
        try:
            yield temporary
            if temporary.is_dir():
                _replace_by_folder(target, temporary)
            else:
                temporary.replace(target)
        except BaseException:
            _remove(temporary)
            raise


def _replace_by_folder(target: Path, temporary: Path) -> None:
    # No folder can be renamed over another in one step, so that the old one steps aside, and comes back if that fails.
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
    """SHA-256 of a file's content as 64 hexadecimal digits.

    Args:
        path: the file.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def size_on_disk(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)
