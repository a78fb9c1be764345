"""Two-frame synergic training (Huang et al. 2017, section 3.3): prepare, loop, finish."""

import platform
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..common.arrays import Image
from ..common.files import InputError, check_writable
from ..common.progress import Notify, Progress, no_notify, no_progress
from ..common.signals import stop_on_signal
from ..common.untrusted import checked_name
from ..video.images import read_image, write_image
from .checkpoint import CheckpointHeader, load_checkpoint, save_checkpoint, starting_weights
from .clips import Pair
from .loss.network import LossNetwork
from .loss.objective import Objective, check_style_image, faster_precision, loss_offset, needed_layers
from .networks import build_network, resolve_sizes
from .pairs import Batch, PairSampler, fixed_batches, open_pairs
from .recipe import Recipe
from .reporting import OnStep, StepReport, preview_sheet, summary_writer
from .state import STATE_NAME, Standing, has_state, load_state, save_state
from .tensors import lay_channels_last
from .workers import Workers, choose_device, hold_folder, join_workers

GRADIENT_NORM = 1.0  # larger gradients are scaled down to it
PREVIEW_EVERY = 500  # steps
_SMOOTHING = 0.98
_MOST_SKIPPED_STEPS = 20


@dataclass(frozen=True)
class TrainingJob:
    """A training run's inputs; ``out`` is the run's folder.

    Attributes:
        name: of the model; the folder's name where it is empty.
        resume: continue from the training state in ``out``; on the CPU bit for bit as an unbroken run.
        start_from: checkpoint to start from; see `checkpoint.starting_weights` for what may differ.
        teacher: checkpoint of the teacher, for a recipe that distils.
        minutes: time of all sessions, over which the schedule is stretched instead of steps; not reproducible.
        device: ``auto`` (CUDA when there is one), ``cpu`` or ``cuda``.
        cache: folder for the clips' flow; None for ``pairs`` in ``out``.
    """

    style: Path
    out: Path
    recipe: Recipe
    clips: Path | None = None
    photos: Path | None = None
    name: str = ""
    resume: bool = False
    start_from: Path | None = None
    teacher: Path | None = None
    minutes: float | None = None
    device: str = "auto"
    cache: Path | None = None

    @property
    def checkpoint(self) -> Path:
        """Path of the checkpoint; InputError for a name that is not allowed."""
        try:
            return self.out / f"{checked_name(self.name or self.out.name)}.safetensors"
        except InputError as error:
            raise InputError(f"{error}; give the model such a --name") from error


@dataclass(frozen=True)
class TrainResult:
    """Result of a run: ``steps`` of all sessions, ``seconds`` of this one; ``finished`` is False after a signal."""

    checkpoint: Path
    steps: int
    seconds: float
    losses: dict[str, float]
    finished: bool


def train(
    job: TrainingJob,
    loss_network: LossNetwork,
    *,
    progress: Progress = no_progress,
    on_step: OnStep | None = None,
    notify: Notify = no_notify,
) -> TrainResult:
    """Train a stylizing network; SIGINT, SIGTERM and SIGHUP save the run and return with ``finished`` False.

    Writes into ``job.out``: ``NAME.safetensors`` (the checkpoint with the least loss on fixed pairs so far),
    ``training-state.safetensors`` (for ``resume``) and the one before it, ``previews/``, ``tensorboard/`` and, with
    clips, ``pairs/`` (their flow). Under ``torchrun`` each process draws its own samples, gradients are averaged, and
    the first process writes.

    ``progress`` is called for each clip while its flow is computed, before the first step. InputError for unusable
    style, data, state or checkpoint, an earlier run or another trainer in ``out``, or divergence.
    """
    with join_workers(choose_device(job.device)) as workers, hold_folder(job.out, workers):
        run = _prepare(job, workers, loss_network, progress, notify if workers.first else no_notify)
        began = time.monotonic()
        with stop_on_signal() as stop:
            _loop(run, stop, on_step)
            run.save()
            seconds, losses = time.monotonic() - began, dict(run.standing.losses)
            result = TrainResult(job.checkpoint, run.standing.step, seconds, losses, run.share() >= 1.0)
        del run  # DistributedDataParallel must go before the process group: afterwards it waits in vain
        return result


@dataclass
class _Run:
    job: TrainingJob
    workers: Workers
    network: nn.Module
    forward: Callable[[Tensor], Tensor]
    optimizer: torch.optim.Optimizer
    objective: Objective
    sampler: PairSampler
    standing: Standing
    style_image: Image
    validation: list[Batch]
    previews: list[Pair]

    def share(self) -> float:
        """Share of the whole run that is done, 0 to 1."""
        if self.job.minutes is None:
            return min(1.0, self.standing.step / self.job.recipe.schedule.steps)
        return self.workers.broadcast(min(1.0, self.standing.seconds / (60.0 * self.job.minutes)))

    def validation_loss(self) -> float:
        """Mean total loss of the fixed batches, with the final temporal weight."""
        weight = self.job.recipe.loss.temporal
        with torch.no_grad():
            totals = [self.objective(self.network, batch, weight)[1] for batch in self.validation]
        return float(torch.stack(totals).mean())

    def save(self) -> None:
        """Write the state, and the checkpoint unless a better one exists."""
        if not self.workers.first:
            return
        standing, path, better = self.standing, self.job.checkpoint, True
        if standing.step > 0:  # what it started from is no candidate
            loss = self.validation_loss()
            better = loss <= standing.least_loss
            standing.least_loss = min(loss, standing.least_loss)
        if better or not path.exists():
            save_checkpoint(path, self.network, self._header())
        save_state(self.job.out / STATE_NAME, self.network, self.optimizer, self.job.recipe, standing)

    def _header(self) -> CheckpointHeader:
        recipe = self.job.recipe
        return CheckpointHeader(
            name=self.job.checkpoint.stem,
            style=self.job.style.name,
            architecture=recipe.network.architecture,
            sizes=resolve_sizes(recipe.network.architecture, recipe.network.sizes),
            recipe=recipe.name,
            steps=self.standing.earlier_steps + self.standing.step,
            losses={key: round(value, 6) for key, value in self.standing.losses.items()},
            recipe_values=recipe.to_dict(),
            versions={"python": platform.python_version(), "torch": str(torch.__version__)},
        )


def _check(job: TrainingJob, loss_network: LossNetwork, style_image: Image) -> None:
    """Raise InputError for bad input before anything is written."""
    check_style_image(style_image)
    loss_network.require(needed_layers(job.recipe))
    check_writable(job.checkpoint)
    there = has_state(job.out / STATE_NAME)
    if there and not job.resume:
        raise InputError(
            f"{job.out} already holds a training run: add --resume to go on with it, or choose another folder"
        )
    if job.recipe.needs_teacher and job.teacher is None:
        raise InputError(f"the recipe '{job.recipe.name}' learns from another network: name it with --teacher")
    if job.resume and not there:
        raise InputError(f"there is no training state in {job.out} to resume: leave --resume away to begin")


def _prepare(job: TrainingJob, workers: Workers, loss_network: LossNetwork, progress: Progress, notify: Notify) -> _Run:
    """Networks, optimizer, data and objective of a new or resumed run."""
    recipe, where, style_image = job.recipe, workers.device, read_image(job.style)
    _check(job, loss_network, style_image)
    torch.manual_seed(recipe.seed)
    network = build_network(recipe.network.architecture, recipe.network.sizes)
    earlier_steps = 0  # of the checkpoint that this run starts from
    if job.start_from is not None and not job.resume:
        start = load_checkpoint(job.start_from)
        network.load_state_dict(starting_weights(start, network, recipe.network.architecture, job.start_from))
        earlier_steps = start.header.steps
    network, loss_network = network.to(where).train(), loss_network.to(where)
    optimizer = torch.optim.Adam(network.parameters(), lr=recipe.schedule.learning_rate)
    # Only the first process computes the flow; nothing is written before all have checked.
    data = (recipe, job.clips, job.photos, job.cache or job.out / "pairs")
    if workers.first:
        opened = open_pairs(*data, progress)
    workers.broadcast(None)
    sampler, fixed = opened if workers.first else open_pairs(*data)
    if job.resume:
        standing = load_state(job.out / STATE_NAME, network, optimizer, recipe, notify)
        notify(f"resumed at step {standing.step}")
    else:
        precision = recipe.precision
        if precision == "auto":
            precision = workers.broadcast(faster_precision(loss_network, recipe, where))
        standing = Standing(earlier_steps, precision)
    others = f", one of {workers.count} processes" if workers.count > 1 else ""
    notify(f"training on {where}{others}, with the loss network in {standing.precision}")
    if standing.precision == "bfloat16":
        loss_network = loss_network.compact()
        lay_channels_last(network)
    objective = Objective(loss_network, style_image, recipe, where)
    if job.teacher is not None and recipe.needs_teacher:
        objective.teacher = load_checkpoint(job.teacher).network.to(where)
    joint = workers.wrap_ddp(network)
    return _Run(
        job, workers, network, torch.compile(joint) if where.type == "cuda" else joint, optimizer, objective, sampler,
        standing, style_image, fixed_batches(fixed, recipe), fixed[:: max(1, (len(fixed) + 1) // 3)][:3],
    )  # fmt: skip


def _loop(run: _Run, stop: threading.Event, on_step: OnStep | None) -> None:
    standing, workers = run.standing, run.workers
    began, seconds_before, pace, skipped = time.monotonic(), standing.seconds, 0.0, 0
    with (
        summary_writer(run.job.out / "tensorboard", standing.step) if workers.first else nullcontext() as board,
        ThreadPoolExecutor(1) as loader,
    ):
        run.save()  # a place that cannot be written to fails now, and a kill in the first steps loses nothing
        upcoming = loader.submit(run.sampler.batch, standing.step, workers.rank)
        share = run.share()
        while share < 1.0 and not workers.any(stop.is_set()):
            step_began = time.monotonic()
            batch = upcoming.result()
            upcoming = loader.submit(run.sampler.batch, standing.step + 1, workers.rank)
            terms, sound = _step(run, batch, share)
            skipped = 0 if sound else skipped + 1
            if skipped > _MOST_SKIPPED_STEPS:
                raise InputError(
                    f"training diverged at step {standing.step}: begin a new run with a lower "
                    f"schedule.learning_rate and --from {run.job.checkpoint}"
                )
            standing.step += 1
            standing.seconds = seconds_before + time.monotonic() - began
            for key, term in terms.items():
                standing.losses[key] = _smooth(standing.losses.get(key), float(term))
            pace = _smooth(pace or None, time.monotonic() - step_began)
            share = run.share()
            if standing.step % run.job.recipe.schedule.checkpoint_every == 0:
                run.save()
            if board is not None:
                _tell(run, board, share, pace, on_step)


def _step(run: _Run, batch: Batch, share: float) -> tuple[dict[str, Tensor], bool]:
    """Take one optimizer step unless a gradient is not finite: terms with ``total``, and whether it was taken."""
    recipe = run.job.recipe
    for group in run.optimizer.param_groups:
        group["lr"] = recipe.schedule.learning_rate_at(run.standing.step, share)
    terms, total = run.objective(
        run.forward,
        batch,
        recipe.temporal_weight(share),
        pixel_warmup=share < recipe.distillation.pixel_warmup_share,
        offset=loss_offset(recipe, run.standing.step),
    )
    run.optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(total)
    norm = nn.utils.clip_grad_norm_(run.network.parameters(), GRADIENT_NORM)
    sound = bool(torch.isfinite(norm))
    if sound:
        run.optimizer.step()
    return {**terms, "total": total.detach()}, sound


def _tell(run: _Run, board: Any, share: float, pace: float, on_step: OnStep | None) -> None:
    """Report to the caller, TensorBoard and the folder of previews."""
    recipe, standing, minutes = run.job.recipe, run.standing, run.job.minutes
    steps = recipe.schedule.steps if minutes is None else max(standing.step, round(standing.step / share))
    left = pace * (steps - standing.step) if minutes is None else 60.0 * minutes * (1.0 - share)
    if on_step:
        on_step(StepReport(standing.step, steps, dict(standing.losses), left))
    if standing.step % 20 == 0:
        for key, value in standing.losses.items():
            board.add_scalar(f"loss/{key}", value, standing.step)
        rate = recipe.schedule.learning_rate_at(standing.step, share)
        board.add_scalar("schedule/learning_rate", rate, standing.step)
        board.add_scalar("schedule/temporal_weight", recipe.temporal_weight(share), standing.step)
    if standing.step % PREVIEW_EVERY == 0 or share >= 1.0:
        sheet = preview_sheet(run.network, run.style_image, run.previews, run.workers.device)
        write_image(run.job.out / "previews" / f"step-{standing.step:06d}.png", sheet)
        board.add_image("preview", sheet, standing.step, dataformats="HWC")


def _smooth(previous: float | None, value: float) -> float:
    return value if previous is None else _SMOOTHING * previous + (1.0 - _SMOOTHING) * value
