"""Output of the commands: results to stdout; progress, notes and errors to stderr."""

import dataclasses
import errno
import json
import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from typer.exceptions import TyperException

from ..common.files import InputError
from ..common.untrusted import printable

EXTRAS = {
    "onnx": ("run .onnx artifacts", ["onnxruntime"]),
    "openvino": ("run them with OpenVINO", ["openvino"]),
    "tflite": ("run .tflite artifacts", ["ai_edge_litert"]),
    "coreml": (None, ["PIL"]),
    "train": ("train", ["torch", "safetensors", "yaml", "tensorboard"]),
    "export": ("export", ["onnx", "onnxscript", "ai_edge_quantizer", "coremltools", "tensorflow"]),
    "report": ("plot reports", ["jinja2", "matplotlib"]),
    "camera": ("show a camera live", ["pygame"]),
    "web": ("show it in a browser", ["starlette", "uvicorn", "segno", "cryptography"]),
}
"""Extra -> its purpose, for `doctor` (None: not checked), and the modules that it installs beside the base."""

_errors = Console(stderr=True, highlight=False, soft_wrap=True)


class Update(Protocol):
    """Updates the progress bar: step, amount done, total amount (None: unknown) and a detail."""

    def __call__(self, step: str, done: int, total: int | None, detail: str = "") -> None:
        """Update the bar."""
        ...


def explain(error: Exception, arguments: Sequence[str]) -> tuple[int, str]:
    """Exit code, and the sentence that explains the error to the user."""
    command = next((word for word in arguments if not word.startswith("-")), "")
    if isinstance(error, InputError):
        return 2, str(error)
    if isinstance(error, TyperException):
        context = getattr(error, "ctx", None)
        help_of = context.command_path if context is not None else "steadystyle"
        message = error.format_message().rstrip(".")
        return 2, f"{message} (see `{help_of} --help`)" if message else ""
    if isinstance(error, ModuleNotFoundError):
        module = (error.name or "").split(".")[0]
        extras = [extra for extra, (_, modules) in EXTRAS.items() if module in modules]
        if extras:
            extra = "export" if command == "export" else extras[0]
            return 2, f"this needs {module}, which is not installed: pip install 'steadystyle[{extra}]'"
    if isinstance(error, OSError):
        return 2, _explain_os_error(error)
    what = f"{type(error).__name__}: {error}"
    return 1, f"this should not have happened ({what}): run it again with --debug and report what it shows"


def _explain_os_error(error: OSError) -> str:
    where = f" at '{error.filename}'" if error.filename is not None else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return (
            f"no space left on the device{where}: nothing half-written was kept; free some space or choose another -o"
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"no permission{where}: change the permissions or choose another path"
    return f"{error.strerror or error}{where}: check the path and the device, then try again"


def complain(sentence: str) -> None:
    """Print an error on stderr as one line."""
    _errors.print(printable(" ".join(sentence.split())), style="red", markup=False)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def print_result(result: Any, as_json: bool) -> bool:
    """Print the notes of a result, and as JSON all of it; returns whether that is all that was wanted."""
    for sentence in result.notes:
        note(sentence)
    if as_json:
        print_json(result)
    return as_json


def print_json(value: Any) -> None:
    """Print a result as JSON on stdout; dataclasses become objects, paths strings, non-finite numbers null."""
    print(json.dumps(_plain(value), indent=2, allow_nan=False))


def say(text: object) -> None:
    """Print text on stdout."""
    print(printable(str(text)))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], title: str | None = None) -> None:
    """Print a table on stdout, numbers right-aligned; only a terminal limits its width."""
    console = Console(width=None if sys.stdout.isatty() else 200, highlight=False, markup=False)
    table = Table(title=printable(title or "") or None, title_justify="left")
    for index, column in enumerate(columns):
        words = any(character.isalpha() for row in rows for character in str(row[index]))
        table.add_column(printable(column), justify="left" if words else "right", overflow="fold")
    for row in rows:
        table.add_row(*("-" if cell is None else printable(str(cell)) for cell in row))
    console.print(table)


def note(sentence: str) -> None:
    """Print a note on stderr."""
    _errors.print(printable(sentence), style="yellow", markup=False)


@contextmanager
def progress() -> Iterator[Update]:
    """Progress and time left on stderr: a bar after two seconds, or without a terminal a line every 30 s."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[detail]}"),
        console=_errors,
        transient=True,
        disable=not _errors.is_terminal,
    )
    task = bar.add_task("", detail="")
    current, first = "", 0
    began = said = step_began = time.monotonic()

    def update(step: str, done: int, total: int | None, detail: str = "") -> None:
        nonlocal task, current, first, said, step_began
        now = time.monotonic()
        if step != current:  # its time left is its own, and work that goes on had been done to here before
            current, first, step_began = step, done, now
            bar.remove_task(task)
            task = bar.add_task(printable(step), total=total, detail=detail)
        bar.update(task, completed=done, total=total, detail=printable(detail))
        if now - began > 2:
            bar.start()
        if not _errors.is_terminal and now - said > 30:
            said = now
            left = ""
            if total is not None and done > first:
                left = f", {(now - step_began) / (done - first) * (total - done) / 60:.1f} min left"
            _errors.print(printable(f"{step}: {done} of {total or '?'}{left} {detail}".rstrip()), markup=False)

    try:
        yield update
    finally:
        bar.stop()
