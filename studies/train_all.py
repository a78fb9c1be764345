r"""Train many styles, several runs at a time, resumably.

    python -m studies.train_all QUEUE.toml --styles DIR --clips DIR --photos DIR \
        --loss-network VGG16.safetensors -o runs --jobs 2

A queue file lists runs in the order in which they begin:

    [[run]]
    name = "great-wave"                       # of the model, and of its folder
    style = "great_wave_hokusai.jpg"          # a file in --styles
    recipe = "paint"                          # this one by default
    start = "great-wave"                      # a bundled model, a file, or the name of a run above, which is waited for
    steps = 6000                              # the recipe's own by default
    stroke = 1.15                             # 1 by default
    set = { network = { sizes = { blocks = 0 } } }   # values of the recipe, nested or by their flat names

Killed at any moment, it goes on where it was when the same command is given again: finished runs are left alone. Each
run is a process with its share of the processors. One line a run is printed; a run's own words are in its `log.txt`.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec

from steadystyle.common.files import InputError
from steadystyle.common.signals import stop_on_signal
from steadystyle.common.untrusted import checked_name, read_toml
from steadystyle.train.recipe import Recipe
from steadystyle.train.recipes import load_recipe
from steadystyle.train.state import STATE_NAME, steps_done

from . import run_study


class QueuedRun(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entry of a queue file; see the module's docstring."""

    name: str
    style: str
    recipe: str = "paint"
    start: str | None = None
    steps: int | None = None
    stroke: float = 1.0
    set: dict[str, Any] = {}

    def values(self) -> dict[str, str]:
        """Values that differ from the recipe, as YAML."""
        chosen: dict[str, Any] = dict(self.set)
        if self.steps is not None:
            chosen["schedule.steps"] = self.steps
        if self.stroke != 1.0:
            chosen["loss.stroke"] = float(self.stroke)
        return {key: json.dumps(value, default=str) for key, value in chosen.items()}  # which is YAML, too

    def load(self) -> Recipe:
        """The recipe with its changes; InputError when a value does not fit."""
        return load_recipe(self.recipe, self.values())


def read_queue(path: Path, styles: Path) -> list[QueuedRun]:
    """Read a TOML queue; InputError if unreadable, or for an unknown key, painting or recipe, or a name given twice."""
    try:
        entries = msgspec.convert(read_toml(path, "the queue").get("run", []), list[Any])
    except msgspec.ValidationError as error:
        raise InputError(f"the queue {path} cannot be read: {error}") from error
    runs: list[QueuedRun] = []
    for number, entry in enumerate(entries, start=1):
        try:
            run = msgspec.convert(entry, QueuedRun)
            checked_name(run.name)
        except (msgspec.ValidationError, InputError) as error:
            known = ", ".join(QueuedRun.__struct_fields__)
            raise InputError(f"run {number} of {path} is not understood ({error}): it may have {known}") from error
        if run.name in {other.name for other in runs}:
            raise InputError(f"the queue {path} names '{run.name}' twice: choose another name")
        if not (styles / run.style).is_file():
            there = ", ".join(sorted(file.name for file in styles.glob("*.*"))) if styles.is_dir() else "nothing"
            raise InputError(f"run '{run.name}' wants the painting '{run.style}', but {styles} holds {there}")
        run.load()
        runs.append(run)
    if not runs:
        raise InputError(f"the queue {path} has no [[run]]: write one")
    return runs


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the queued runs; exit code 1 when one failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="studies.train_all"
    )
    parser.add_argument("queue", type=Path, help="the list of runs, TOML")
    parser.add_argument("--styles", type=Path, required=True, help="folder of paintings")
    parser.add_argument("--clips", type=Path)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--loss-network", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the runs")
    options = parser.parse_args(arguments)
    runs = read_queue(options.queue, options.styles)
    futures: dict[str, Future[bool]] = {}
    with stop_on_signal() as stopping, ThreadPoolExecutor(max(1, options.jobs)) as pool:
        for run in runs:  # a run waits only for earlier ones, which already have a thread
            futures[run.name] = pool.submit(_train, run, options, dict(futures), stopping)
    if stopping.is_set():
        parser.exit(130, "stopped: the same command goes on from there\n")
    if not all(future.result() for future in futures.values()):
        parser.exit(1)


def _train(
    run: QueuedRun, options: argparse.Namespace, earlier: Mapping[str, Future[bool]], stopping: threading.Event
) -> bool:
    """Whether the run is complete, after waiting for the run that it starts from."""
    out = options.output / run.name
    if steps_done(out / STATE_NAME) >= run.load().schedule.steps:
        return True
    start = run.start
    if start is not None and start in earlier:
        if not earlier[start].result():
            print(f"{run.name}: left out, because {start} is not whole", flush=True)
            return False
        start = str(options.output / start / f"{start}.safetensors")
    if stopping.is_set():
        return False
    command = [sys.executable, "-m", "steadystyle.cli", "train", "--name", run.name, "--recipe", run.recipe]
    command += ["--style", str(options.styles / run.style), "--loss-network", str(options.loss_network)]
    command += ["--cache", str(options.output / "pairs"), "-o", str(out)]
    for option, folder in (("--clips", options.clips), ("--photos", options.photos)):
        command += [option, str(folder)] if folder else []
    for key, value in run.values().items():
        command += ["--set", f"{key}={value}"]
    if (out / STATE_NAME).exists():
        command.append("--resume")
    elif start is not None:
        command += ["--from", start]
    threads = max(1, (os.cpu_count() or 1) // max(1, options.jobs))
    out.mkdir(parents=True, exist_ok=True)
    with (out / "log.txt").open("a", encoding="utf-8") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": str(threads)})
        while process.poll() is None:
            if stopping.wait(0.5):
                process.terminate()
                process.wait()
    stopped = process.returncode in (128 + signal.SIGINT, 128 + signal.SIGTERM)
    if stopped:  # stopping one run by hand stops all
        stopping.set()
    words = "stopped" if stopped else f"failed, see {out / 'log.txt'}" if process.returncode else "finished"
    print(f"{run.name}: {words}", flush=True)
    return process.returncode == 0


if __name__ == "__main__":
    run_study(main)
