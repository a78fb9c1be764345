"""How much quicker the trainer is than a plain loop that does the same work.

    python -m studies.plain_loop --style PAINTING.jpg --clips CLIPS --loss-network VGG19.safetensors -o FOLDER

The plain loop is serial, in float32 and the default memory layout: frames are decoded before, flow is estimated for
each pair. Both alternate in rounds, with the same recipe.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from steadystyle.train.clips import VIDEO_ENDINGS, Pair, find_files
from steadystyle.train.loss.network import load_loss_network
from steadystyle.train.loss.objective import Objective
from steadystyle.train.networks import build_network
from steadystyle.train.pairs import stacked
from steadystyle.train.recipe import Recipe
from steadystyle.train.recipes import changed, load_recipe
from steadystyle.train.reporting import StepReport
from steadystyle.train.trainer import GRADIENT_NORM, TrainingJob, train
from steadystyle.video.flow import flow_pair
from steadystyle.video.frames import read_frames
from steadystyle.video.images import read_image

from . import run_study

_FRAMES_OF_A_CLIP = 12
_WARM_UP = 5


def plain_steps(recipe: Recipe, style: Path, clips: Path, loss_network: Path) -> Callable[[], None]:
    """A function that takes one step of the plain loop."""
    torch.manual_seed(recipe.seed)
    files = find_files(clips, VIDEO_ENDINGS, "video clips")
    frames = [read_frames(str(file), height=recipe.data.clip_height, max_frames=_FRAMES_OF_A_CLIP) for file in files]
    network = build_network(recipe.network.architecture, recipe.network.sizes)
    objective = Objective(load_loss_network(loss_network), read_image(style), recipe, torch.device("cpu"))
    optimizer = torch.optim.Adam(network.parameters(), lr=recipe.schedule.learning_rate)
    rng = np.random.default_rng(recipe.seed)

    def draw() -> Pair:
        clip = frames[int(rng.integers(len(frames)))]
        at = int(rng.integers(len(clip) - 1))
        first, second = clip[at], clip[at + 1]
        motion = flow_pair(first, second)
        top, left = (int(rng.integers(side - recipe.data.crop + 1)) for side in first.shape[:2])
        return Pair(first, second, motion).part(top, left, recipe.data.crop)

    def step() -> None:
        batch = stacked([draw() for _ in range(recipe.data.batch)], recipe)
        _, total = objective(network, batch, recipe.loss.temporal)
        optimizer.zero_grad()
        torch.autograd.backward(total)
        torch.nn.utils.clip_grad_norm_(network.parameters(), GRADIENT_NORM)
        optimizer.step()

    return step


def trainer_seconds(
    recipe: Recipe, style: Path, clips: Path, loss_network: Path, out: Path, cache: Path
) -> list[float]:
    """Seconds of each of the trainer's steps after a warm-up, with cached flow."""
    times: list[float] = []

    def on_step(report: StepReport) -> None:
        times.append(time.perf_counter())

    job = TrainingJob(style, out, recipe, clips=clips, cache=cache, device="cpu")
    train(job, load_loss_network(loss_network), on_step=on_step)
    return [float(seconds) for seconds in np.diff(times)[_WARM_UP:]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print each round's median seconds a step of both, and their ratio."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    for name in ("--style", "--clips", "--loss-network"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the trainer's runs")
    parser.add_argument("--recipe", default="huang2017")
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    recipe = changed(load_recipe(options.recipe), steps=options.steps + _WARM_UP + 1, clip_share=1.0)
    given = (options.style, options.clips, options.loss_network)
    step, ratios = plain_steps(recipe, *given), []
    for number in range(options.rounds):
        plain = []
        for _ in range(options.steps + _WARM_UP):
            began = time.perf_counter()
            step()
            plain.append(time.perf_counter() - began)
        ours = trainer_seconds(recipe, *given, options.output / f"round-{number}", options.output / "pairs")
        medians = statistics.median(plain[_WARM_UP:]), statistics.median(ours)
        ratios.append(medians[0] / medians[1])
        print(
            f"round {number}: plain {medians[0]:.3f} s a step, trainer {medians[1]:.3f}, {ratios[-1]:.2f} x", flush=True
        )
    print(f"median {statistics.median(ratios):.2f} x")


if __name__ == "__main__":
    run_study(main)
