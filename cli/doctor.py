"""`models`, `info` and `doctor`."""

import dataclasses
import importlib.util
import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ..common.files import InputError
from .options import Debug, Json
from .terminal import EXTRAS, print_json, print_table, say

app = typer.Typer()


@app.command(epilog="Example: steadystyle models --json")
def models(as_json: Json = False, debug: Debug = False) -> None:
    """List the bundled models, each with its card."""
    from ..runtimes.registry import bundled_models

    found = bundled_models()
    cards = {model.name: json.loads(model.card_json.read_text(encoding="utf-8")) for model in found}
    if as_json:
        return print_json([{**vars(model), "facts": cards[model.name]} for model in found])
    print_table(
        ["name", "style", "artifact", "size", "card"],
        [[m.name, m.style, m.path.name, f"{m.path.stat().st_size / 1e6:.2f} MB", m.card] for m in found],
    )


@app.command(epilog="Example: steadystyle info exports/great-wave-640x360-fp32.onnx")
def info(
    file: Annotated[str, typer.Argument(help="An artifact, a checkpoint (.safetensors), or a bundled model's name.")],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show what an artifact or a checkpoint says of itself."""
    from ..runtimes.checkpoint import read_checkpoint_facts

    facts = read_checkpoint_facts(Path(file)) if file.endswith(".safetensors") else _artifact_facts(file)
    if as_json:
        return print_json(facts)
    print_table(["", Path(file).name], [[key, _cell(value)] for key, value in facts.items()])


def _artifact_facts(file: str) -> dict[str, Any]:
    from ..runtimes.registry import open_stylizer, read_metadata

    facts = vars(read_metadata(file))
    try:
        with open_stylizer(file) as stylizer:
            return {**facts, "opens with": stylizer.engine}
    except InputError as error:  # an artifact for another machine, or an engine that is not installed
        return {**facts, "does not open here": str(error)}


def _cell(value: object) -> str:
    if isinstance(value, Mapping):
        return "\n".join(f"{key}: {item}" for key, item in value.items())
    return "-" if value is None else str(value)


@dataclasses.dataclass(frozen=True)
class Check:
    """One line of `doctor`: what was tried, whether it works, and what was found or how to get it."""

    what: str
    works: bool
    detail: str


@app.command(epilog="Example: steadystyle doctor")
def doctor(as_json: Json = False, debug: Debug = False) -> None:
    """Tell what this machine can train, export and run, and how to get the rest."""
    from ..common.machine import this_device

    machine = this_device()
    checks = [*_check_extras(), _check_video(), _check_engine(), _check_cuda(machine.versions.get("torch"))]
    if as_json:
        return print_json({"machine": machine, "checks": checks})
    memory = f", {machine.memory_gib} GiB of memory" if machine.memory_gib else ""
    say(f"{machine.system}, Python {machine.python}, {machine.processor}, {machine.cores} cores{memory}")
    rows = [[check.what, "yes" if check.works else "no", check.detail] for check in checks]
    print_table(["", "works", "what was found, or how to get it"], rows)


def _check_extras() -> list[Check]:
    checks = []
    for extra, (purpose, modules) in EXTRAS.items():
        if purpose is None:
            continue
        missing = [module for module in modules if importlib.util.find_spec(module) is None]
        lacks = f"{', '.join(missing)} missing: pip install 'steadystyle[{extra}]'"
        checks.append(Check(f"{purpose} [{extra}]", not missing, lacks if missing else ", ".join(modules)))
    return checks


def _check_video() -> Check:
    """Write and read a small file: PyAV's list of codecs says less."""
    import numpy as np

    from ..video.frames import read_frames, write_video

    with tempfile.TemporaryDirectory() as folder:
        try:
            write_video(Path(folder, "check.mp4"), [np.full((64, 64, 3), 128, np.uint8)] * 2)
            frames = len(read_frames(Path(folder, "check.mp4")))
        except (InputError, OSError) as error:
            return Check("video (H.264)", False, str(error))
    return Check("video (H.264)", frames == 2, f"{frames} of 2 frames written and read back")


def _check_engine() -> Check:
    """Open a bundled model with each provider of ONNX Runtime."""
    from ..runtimes.registry import bundled_models, open_stylizer

    what = "ONNX Runtime"
    if importlib.util.find_spec("onnxruntime") is None:
        return Check(what, False, "pip install 'steadystyle[onnx]'")
    from ..runtimes.onnx import PROVIDERS

    models = bundled_models()
    if not models:
        return Check(what, False, "no model came with this installation: install it again")
    engines, failure = [], ""
    for provider in PROVIDERS:
        try:
            with open_stylizer(models[0].name, provider=provider) as stylizer:
                engines.append(f"--provider {provider}: {stylizer.engine}")
        except InputError as error:
            failure = str(error)
    return Check(what, bool(engines), "\n".join(engines) or failure)


def _check_cuda(torch_version: str | None) -> Check:
    tool = shutil.which("nvidia-smi")
    query = [tool or "nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    done = subprocess.run(query, capture_output=True, text=True, check=False) if tool else None
    if done is None or done.returncode != 0:
        return Check("CUDA", False, "no NVIDIA GPU with a working driver was found: training and export use the CPU")
    gpus = "; ".join(done.stdout.strip().splitlines())
    if torch_version is None or "+cpu" in torch_version:
        return Check("CUDA", False, f"{gpus}: install a CUDA build of torch to train on it")
    return Check("CUDA", True, f"{gpus}, torch {torch_version}")
