"""All that it takes to ship styles, one run after the other, resumable: a teacher, made steady, then the edge network.

    python -m steadystyle.train.queue STYLE.jpg... --clips DIR --photos DIR --loss-network VGG19.safetensors -o runs

Killed at any moment, it goes on where it was when the same command is given again: finished runs are left alone.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from ..video.files import InputError
from .checkpoint import read_tensors
from .loss_network import load_loss_network
from .recipes import load_recipe
from .trainer import STATE_NAME, StepReport, train

STAGES = ("huang2017", "huang2017-steady", "edge")
"""Recipes in order: each starts from, or learns from, the one before."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Train every style through all stages; print a line for each run and one every hundred steps."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("styles", type=Path, nargs="+", help="style images; a file's name becomes the model's")
    parser.add_argument("--clips", type=Path)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--loss-network", type=Path, required=True)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="for every recipe")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the runs")
    options = parser.parse_args(arguments)
    overrides = dict(item.split("=", 1) for item in options.set)
    for style in options.styles:
        name = style.stem.replace("_", "-")
        before: Path | None = None
        for stage in STAGES:
            out = options.output / f"{name}-{stage}"
            recipe = load_recipe(stage, overrides)
            checkpoint = out / f"{name}.safetensors"
            if _steps_done(out) < recipe.steps:
                print(f"{name}, {stage}: {recipe.steps} steps in {out}", flush=True)
                result = train(
                    style=style,
                    out=out,
                    recipe=recipe,
                    loss_network=load_loss_network(options.loss_network),
                    clips=options.clips,
                    photos=options.photos,
                    name=name,
                    resume=(out / STATE_NAME).exists(),
                    start_from=None if recipe.needs_teacher else before,
                    teacher=before if recipe.needs_teacher else None,
                    device=options.device,
                    cache=options.output / "pairs",
                    report=_say,
                )
                if not result.finished:  # a signal asked to stop
                    return
            before = checkpoint


def _steps_done(out: Path) -> int:
    state = out / STATE_NAME
    try:
        return int(read_tensors(state)[1]["step"]) if state.exists() else 0
    except KeyError as error:
        raise InputError(f"{state} is no training state: move it away") from error


def _say(report: StepReport) -> None:
    if report.step % 100 == 0:
        losses = ", ".join(f"{key} {value:.4g}" for key, value in report.losses.items())
        print(f"  {report.step}/{report.steps}: {losses}; {report.seconds_left / 60:.0f} min left", flush=True)


if __name__ == "__main__":
    main()
