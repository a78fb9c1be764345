"""Run by `test_crash.py`: trains, by the command, in children that die or fail at their N-th write, fsync or rename.

Children are forked, so that torch is imported once for all of them. Prints a JSON line a case.
"""

import contextlib
import errno
import importlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from steadystyle import cli
from steadystyle.common.checkpoint import read_checkpoint_file
from steadystyle.train.checkpoint import read_tensors
from steadystyle.train.reporting import summary_writer
from steadystyle.train.state import PREVIOUS_NAME, STATE_NAME

how, material, loss, recipe, out = sys.argv[1], *(Path(argument) for argument in sys.argv[2:6])
numbers = range(*map(int, sys.argv[6:9]))
torch.set_num_threads(1)
for module in ("torch._dynamo", "steadystyle.runtimes.registry", "steadystyle.train.trainer"):
    importlib.import_module(module)  # once, here, in place of once a child
summary_writer(out / "warm-up", 0).close()
calls = 0


def at(number: int, real: Callable[..., Any], fail: Callable[..., None]) -> Callable[..., Any]:
    """The call, but for the number-th of all, which fails."""

    def call(*arguments: Any) -> Any:
        global calls
        calls += 1
        if calls == number:
            fail(*arguments)
        return real(*arguments)

    return call


def end(*arguments: Any) -> None:
    if how == "kill":
        os._exit(9)
    code = getattr(errno, how)
    raise OSError(code, os.strerror(code), str(arguments[0]))


def train(run: Path, number: int = 0, *, resume: bool = False) -> int:
    """Exit code of `train`, which fails at a call (0: at none); what it says goes to ``run.err``."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with run.with_suffix(".err").open("w") as errors:
        os.dup2(errors.fileno(), 2)
        os.dup2(errors.fileno(), 1)
    write = Path.write_bytes

    def half(path: Path, content: bytes) -> None:
        write(path, content[: len(content) // 2])
        end(path)

    mock.patch.object(Path, "write_bytes", at(number, Path.write_bytes, half)).start()
    mock.patch.object(os, "replace", at(number, os.replace, end)).start()
    mock.patch.object(os, "fsync", at(number, os.fsync, end)).start()
    command = [
        "train", "--style", material / "style.png", "--clips", material / "clips", "--photos", material / "photos",
        "--recipe", recipe, "--loss-network", loss, "--name", "tiny", "--device", "cpu", "-o", run,
    ]  # fmt: skip
    try:
        cli.main([str(word) for word in command] + ["--resume"] * resume)
    except SystemExit as leaving:
        print(f"{calls} calls", flush=True)
        os._exit(int(str(leaving.code or 0)))
    os._exit(1)


def tensors(path: Path) -> dict[str, Any]:
    """Weights, moments and generators as bytes, and what the header says but for the time."""
    found, header = read_tensors(path)
    kept = {key: value for key, value in header.items() if key != "seconds"}
    return {**{key: value.numpy().tobytes() for key, value in found.items()}, **kept}


def damaged(run: Path) -> Iterator[str]:
    """What is said of damaged files; hidden ones are temporary, and go at the next run."""
    for path in run.glob("[!.]*.safetensors") if run.exists() else []:
        try:
            read_checkpoint_file(path)
        except ValueError as error:
            yield str(error)


assert train(out / "unbroken") == 0
wanted = {name: tensors(out / "unbroken" / name) for name in ("tiny.safetensors", STATE_NAME)}
for number in numbers:
    run = out / f"{how}-{number}"
    code = train(run, number)
    said = run.with_suffix(".err").read_text().splitlines()
    before = list(damaged(run))
    again = train(run, resume=(run / STATE_NAME).exists())
    equal = again == 0 and all(tensors(run / name) == values for name, values in wanted.items())
    left = [path.name for path in run.rglob(".*")] if run.exists() else []
    with contextlib.suppress(FileNotFoundError):
        before += list(damaged(run)) + [PREVIOUS_NAME] * (not (run / PREVIOUS_NAME).exists())
    print(json.dumps({"number": number, "code": code, "said": said, "damaged": before, "equal": equal, "left": left}))
