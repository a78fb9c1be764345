"""Run by ``torchrun`` in `test_workers.py`: one of several processes that train together."""

import atexit
import contextlib
import json
import os
import sys
import time
from pathlib import Path

import torch

from steadystyle.train.loss.network import load_loss_network
from steadystyle.train.loss.objective import Objective
from steadystyle.train.networks import build_network
from steadystyle.train.pairs import PairSampler, PhotoPairs
from steadystyle.train.recipes import recipe_from_dict
from steadystyle.train.trainer import TrainingJob, train
from steadystyle.train.workers import Workers, join_workers
from steadystyle.video.images import read_image

material, loss, out, values, what = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4], sys.argv[5]
recipe, loss_network = recipe_from_dict(json.loads(values)), load_loss_network(loss)
torch.set_num_threads(1)


def say(line: str) -> None:
    """Print a line in one write: processes share the pipe, and torchrun's print writes each part by itself."""
    os.write(sys.stdout.fileno(), f"{line}\n".encode())


def gloo_threads() -> int:
    """How many this process has, where the system says so."""
    count = 0
    for task in Path("/proc/self/task").glob("*"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            count += "gloo" in (task / "comm").read_text()
    return count


def say_threads() -> None:
    """How many of gloo's outlive all else: one that lets a tensor go after this is an abort."""
    late = time.monotonic() + 5  # a thread that was joined is listed for a moment
    while gloo_threads() and time.monotonic() < late:
        time.sleep(0.05)
    say(f"gloo threads left: {gloo_threads()}")


atexit.register(say_threads)  # the first to be registered is the last to be called


def gradients(workers: Workers) -> dict[str, torch.Tensor]:
    """Of a fresh network, for the samples of step 0."""
    torch.manual_seed(0)
    network = build_network(recipe.network.architecture, recipe.network.sizes)
    objective = Objective(loss_network, read_image(material / "style.png"), recipe, workers.device)
    batch = PairSampler(recipe, PhotoPairs(material / "photos", recipe), None).batch(0, workers.rank)
    joint = workers.wrap_ddp(network)  # held, since it is what averages
    torch.autograd.backward(objective(joint, batch, recipe.loss.temporal)[1])
    return {name: value.grad for name, value in network.named_parameters() if value.grad is not None}


if what == "gradients":
    with join_workers(torch.device("cpu")) as workers:
        found = gradients(workers)
        if workers.first:
            torch.save(found, out)
else:
    job = TrainingJob(
        style=material / "style.png",
        photos=material / "photos",
        clips=material / "clips",
        recipe=recipe,
        out=out,
        name="tiny",
        resume=what == "resume",
        device="cpu",
    )
    result = train(
        job,
        loss_network,
        notify=lambda text: say(f"said {text}"),
        on_step=lambda report: say(f"step {report.step}"),
    )
    say(f"{'finished' if result.finished else 'stopped'} {result.steps}")
