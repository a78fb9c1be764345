"""Two-frame synergic training (Huang et al. 2017, section 3.3): prepare, loop, finish."""

from __future__ import annotations

import copy
import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..common.files import InputError, check_writable
from ..video.flow import FlowPair
from ..video.images import read_image, write_image
from .checkpoint import CheckpointHeader, load_checkpoint, save_checkpoint
from .loss.network import LossNetwork
from .loss.objective import Objective, check_style_image, loss_offset, stacked
from .loss.terms import gram
from .networks import build_network, resolve_sizes
from .pairs import ClipPairs, Pair, PairSampler, PhotoPairs, shifted
from .previews import preview_sheet
from .recipes import Recipe
from .start import starting_weights
from .state import STATE_NAME, Progress, load_state, save_state
from .tensors import lay_channels_last
from .workers import Workers, join_workers

_SMOOTHING = 0.98
_MOST_SKIPPED_STEPS = 20
# By the loss on three, a checkpoint after half of the steps was kept for one whose style score was a sixth lower.
_FIXED_PAIRS = 8
_PROBE_ROUNDS = 3


@dataclass(frozen=True)
class StepReport:
    """Where a run stands: what a progress line shows.

    Attributes:
        step: steps done.
        steps: steps in all.
        losses: exponentially smoothed value of each term, unweighted, and ``total``.
        seconds_per_step: of this session, smoothed.
        seconds_left: estimate.
    """

    step: int
    steps: int
    losses: dict[str, float]
    seconds_per_step: float
    seconds_left: float


@dataclass(frozen=True)
class TrainResult:
    """What a run left behind.

    Attributes:
        checkpoint: the network's file, ``OUT/NAME.safetensors``.
        steps: optimizer steps done in all.
        seconds: of this session.
        losses: as in :class:`StepReport`.
        finished: False when a signal ended the run early; ``resume`` goes on from there.
    """

    checkpoint: Path
    steps: int
    seconds: float
    losses: dict[str, float]
    finished: bool


def train(
    *,
    style: Path,
    out: Path,
    recipe: Recipe,
    loss_network: LossNetwork,
    clips: Path | None = None,
    photos: Path | None = None,
    name: str | None = None,
    resume: bool = False,
    start_from: Path | None = None,
    teacher: Path | None = None,
    minutes: float | None = None,
    device: str = "auto",
    cache: Path | None = None,
    report: Callable[[StepReport], None] | None = None,
    preparing: Callable[[int, int], None] | None = None,
    message: Callable[[str], None] | None = None,
) -> TrainResult:
    """Train a stylizing network.

    Under ``torchrun`` each process draws its own samples, gradients are averaged, and the first process writes.

    Writes into ``out``: ``NAME.safetensors`` (the checkpoint with the least loss on fixed pairs so far),
    ``training-state.safetensors`` (for ``resume``), ``previews/``, ``tensorboard/`` and, with clips, ``pairs/`` (the
    flow cache).

    Args:
        style: the style image.
        out: the run's folder.
        recipe: what to do; see :class:`Recipe`.
        loss_network: from ``load_loss_network``.
        clips: folder of video clips.
        photos: folder of photographs.
        name: of the model; the folder's name by default.
        resume: go on from the training state in ``out``; bit for bit as an unbroken run on the CPU.
        start_from: checkpoint whose weights to start from; see `start.starting_weights` for what may differ.
        teacher: checkpoint of the network to learn from, for a recipe that distils.
        minutes: time to train, of all sessions of this run, in place of the recipe's steps: the schedule is stretched
            over it. A run against the clock takes as many steps as it can, so that it is not the same twice.
        device: ``auto`` (CUDA when there is one), ``cpu`` or ``cuda``.
        cache: where the flow cache is kept, when not in ``out``.
        report: called after each step.
        preparing: called with (clips done, clips) while their flow is computed, before the first step.
        message: called with one sentence when something worth saying happens.

    Returns:
        See :class:`TrainResult`. SIGINT and SIGTERM save and return with ``finished`` False.

    Raises:
        InputError: unusable style, data, state or checkpoint; a run that is already in ``out``; divergence.
    """
    name = name or out.name
    with join_workers(_device(device)) as workers:
        say = message if message and workers.first else lambda text: None
        # All that can be refused is refused before anything is written.
        style_image = read_image(style)
        check_style_image(style_image)
        loss_network.require(recipe.layers)
        _check_folder(out, name, recipe, resume, teacher)
        run = _prepare(
            _Job(name, style, out, recipe, clips, photos, cache or out / "pairs", start_from, teacher, minutes, resume),
            workers, loss_network, style_image, say, preparing,
        )  # fmt: skip
        began = time.monotonic()
        finished = _loop(run, report)
        result = TrainResult(
            run.checkpoint_path, run.progress.step, time.monotonic() - began, dict(run.progress.losses), finished
        )
        del run  # what averages gradients must go before the processes part: afterwards it waits for them in vain
        return result


@dataclass(frozen=True)
class _Job:
    """What was asked for; see `train`."""

    name: str
    style: Path
    out: Path
    recipe: Recipe
    clips: Path | None
    photos: Path | None
    cache: Path
    start_from: Path | None
    teacher: Path | None
    minutes: float | None
    resume: bool


@dataclass
class _Run:
    """A run that is ready to take steps."""

    job: _Job
    workers: Workers
    network: nn.Module
    forward: Callable[[Tensor], Tensor]
    optimizer: torch.optim.Optimizer
    objective: Objective
    sampler: PairSampler
    progress: Progress
    style_image: NDArray[np.uint8]
    validation: list[dict[str, NDArray[Any]]]
    previews: list[Pair]

    @property
    def checkpoint_path(self) -> Path:
        """Where the checkpoint is."""
        return self.job.out / f"{self.job.name}.safetensors"

    def share(self) -> float:
        """How much of the whole run is done, 0 to 1."""
        if self.job.minutes is None:
            return min(1.0, self.progress.step / self.job.recipe.steps)
        return self.workers.of_first(min(1.0, self.progress.seconds / (60.0 * self.job.minutes)))

    def save(self) -> None:
        """Write the state, and the checkpoint when no better one is there."""
        if not self.workers.first:
            return
        progress, better = self.progress, True
        if progress.step > 0:  # what it started from is no candidate
            loss = validation_loss(self.objective, self.network, self.validation)
            better = loss <= progress.least_loss
            progress.least_loss = min(loss, progress.least_loss)
        if better or not self.checkpoint_path.exists():
            save_checkpoint(self.checkpoint_path, self.network, self._header())
        save_state(self.job.out / STATE_NAME, self.network, self.optimizer, self.job.recipe, progress)

    def _header(self) -> CheckpointHeader:
        recipe = self.job.recipe
        return CheckpointHeader(
            name=self.job.name,
            style=self.job.style.name,
            architecture=recipe.architecture,
            sizes=resolve_sizes(recipe.architecture, recipe.sizes),
            recipe=recipe.name,
            steps=self.progress.earlier_steps + self.progress.step,
            losses={key: round(value, 6) for key, value in self.progress.losses.items()},
            recipe_values=recipe.to_dict(),
        )


def _check_folder(out: Path, name: str, recipe: Recipe, resume: bool, teacher: Path | None) -> None:
    check_writable(out / f"{name}.safetensors")
    there = (out / STATE_NAME).exists()
    if there and not resume:
        raise InputError(f"{out} already holds a training run: add --resume to go on with it, or choose another folder")
    if recipe.needs_teacher and teacher is None:
        raise InputError(f"the recipe '{recipe.name}' learns from another network: name it with --teacher")
    if resume and not there:
        raise InputError(f"there is no training state in {out} to resume: leave --resume away to begin")


def _prepare(
    job: _Job,
    workers: Workers,
    loss_network: LossNetwork,
    style_image: NDArray[np.uint8],
    say: Callable[[str], None],
    preparing: Callable[[int, int], None] | None,
) -> _Run:
    """Networks, optimizer, data and objective, at the step where the run begins or goes on."""
    recipe, where = job.recipe, workers.device
    torch.manual_seed(recipe.seed)
    network = build_network(recipe.architecture, recipe.sizes)
    earlier_steps = 0  # of the checkpoint that this run starts from
    if job.start_from is not None and not job.resume:
        start = load_checkpoint(job.start_from)
        network.load_state_dict(starting_weights(start, network, recipe.architecture, job.start_from))
        earlier_steps = start.header.steps
    network, loss_network = network.to(where).train(), loss_network.to(where)
    optimizer = torch.optim.Adam(network.parameters(), lr=recipe.learning_rate)
    # The flow of the clips is computed once, by the first, and nothing was written before all had checked.
    if workers.first:
        opened = _open_data(recipe, job.clips, job.photos, job.cache, preparing)
    workers.of_first(None)
    sampler, fixed = opened if workers.first else _open_data(recipe, job.clips, job.photos, job.cache, None)
    if job.resume:
        progress = load_state(job.out / STATE_NAME, network, optimizer, recipe)
        say(f"resumed at step {progress.step}")
    else:
        precision = recipe.precision
        if precision == "auto":
            precision = workers.of_first(faster_precision(loss_network, recipe, where))
        progress = Progress(earlier_steps, precision)
    others = f", one of {workers.count} processes" if workers.count > 1 else ""
    say(f"training on {where}{others}, with the loss network in {progress.precision}")
    if progress.precision == "bfloat16":
        loss_network = loss_network.compact()
        lay_channels_last(network)
    objective = Objective(loss_network, style_image, recipe, where)
    if job.teacher is not None and recipe.needs_teacher:
        objective.teacher = load_checkpoint(job.teacher).network.to(where)
    joint = workers.together(network)
    return _Run(
        job, workers, network, torch.compile(joint) if where.type == "cuda" else joint, optimizer, objective, sampler,
        progress, style_image, _validation(fixed, recipe), fixed[:: max(1, (len(fixed) + 1) // 3)][:3],
    )  # fmt: skip


def _loop(run: _Run, report: Callable[[StepReport], None] | None) -> bool:
    """Take steps until the run is whole (True) or a signal asks to stop."""
    recipe, progress, workers = run.job.recipe, run.progress, run.workers
    began, seconds_before, pace, skipped = time.monotonic(), progress.seconds, 0.0, 0
    with (
        _summary_writer(run.job.out / "tensorboard", progress.step) if workers.first else nullcontext() as board,
        ThreadPoolExecutor(1) as loader,
        _stop_on_signal() as stop,
    ):
        run.save()  # a place that cannot be written to fails now, and a kill in the first steps loses nothing
        upcoming = loader.submit(_batch, run.sampler, recipe, progress.step, workers.rank)
        share = run.share()
        while share < 1.0 and not workers.any(stop.is_set()):
            step_began = time.monotonic()
            batch = upcoming.result()
            upcoming = loader.submit(_batch, run.sampler, recipe, progress.step + 1, workers.rank)
            terms, total, sound = _step(run, batch, share)
            skipped = 0 if sound else skipped + 1
            if skipped > _MOST_SKIPPED_STEPS:
                raise InputError(
                    f"training diverged at step {progress.step}: "
                    f"lower learning_rate and resume from {run.job.out / STATE_NAME}"
                )
            progress.step += 1
            progress.seconds = seconds_before + time.monotonic() - began
            for key, term in {**terms, "total": total}.items():
                progress.losses[key] = _smooth(progress.losses.get(key), float(term))
            pace = _smooth(pace or None, time.monotonic() - step_began)
            share = run.share()
            if progress.step % recipe.checkpoint_every == 0:
                run.save()
            if workers.first and board is not None:
                _tell(run, board, share, pace, report)
        run.save()
    return share >= 1.0


def _step(run: _Run, batch: dict[str, NDArray[Any]], share: float) -> tuple[dict[str, Tensor], Tensor, bool]:
    """One optimizer step, left out where a gradient is not finite: terms, their weighted sum, whether it was taken."""
    recipe = run.job.recipe
    for group in run.optimizer.param_groups:
        group["lr"] = learning_rate(recipe, run.progress.step, share)
    terms, total = run.objective(
        run.forward,
        batch,
        temporal_weight(recipe, share),
        pixels_only=share < recipe.pixels_only,
        offset=loss_offset(recipe, run.progress.step),
    )
    run.optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(total)
    norm = nn.utils.clip_grad_norm_(run.network.parameters(), recipe.gradient_norm)
    sound = bool(torch.isfinite(norm))
    if sound:
        run.optimizer.step()
    return terms, total.detach(), sound


def _tell(run: _Run, board: Any, share: float, pace: float, report: Callable[[StepReport], None] | None) -> None:
    """Progress to whoever listens: the caller, TensorBoard, the folder of previews."""
    recipe, progress, minutes = run.job.recipe, run.progress, run.job.minutes
    steps = recipe.steps if minutes is None else max(progress.step, round(progress.step / share))
    left = pace * (steps - progress.step) if minutes is None else 60.0 * minutes * (1.0 - share)
    if report:
        report(StepReport(progress.step, steps, dict(progress.losses), pace, left))
    if progress.step % 20 == 0:
        for key, value in progress.losses.items():
            board.add_scalar(f"loss/{key}", value, progress.step)
        board.add_scalar("schedule/learning_rate", learning_rate(recipe, progress.step, share), progress.step)
        board.add_scalar("schedule/temporal_weight", temporal_weight(recipe, share), progress.step)
    if progress.step % recipe.preview_every == 0 or share >= 1.0:
        sheet = preview_sheet(run.network, run.style_image, run.previews, run.workers.device)
        write_image(run.job.out / "previews" / f"step-{progress.step:06d}.png", sheet)
        board.add_image("preview", sheet, progress.step, dataformats="HWC")


def learning_rate(recipe: Recipe, step: int, share: float) -> float:
    """Linear warm-up over steps, then half a cosine over the run (``share`` of it is done) to 2 % of the rate."""
    warm = min(1.0, (step + 1) / max(recipe.warmup_steps, 1))
    return recipe.learning_rate * warm * (0.02 + 0.98 * 0.5 * (1.0 + math.cos(math.pi * share)))


def temporal_weight(recipe: Recipe, share: float) -> float:
    """Lambda with ``share`` of the run done: 0 until ``temporal_start``, then a line up over ``temporal_ramp``."""
    risen = (share - recipe.temporal_start) / max(recipe.temporal_ramp, 1e-9)
    return recipe.temporal_weight * min(max(risen, 0.0), 1.0)


def validation_loss(objective: Objective, network: nn.Module, batches: Sequence[dict[str, NDArray[Any]]]) -> float:
    """Mean total of fixed batches, with the temporal weight of the end of the run."""
    with torch.no_grad():
        totals = [objective(network, batch, objective.recipe.temporal_weight)[1] for batch in batches]
    return float(torch.stack(totals).mean())


def _open_data(
    recipe: Recipe, clips: Path | None, photos: Path | None, cache: Path, preparing: Callable[[int, int], None] | None
) -> tuple[PairSampler, list[Pair]]:
    """The sampler, and up to `_FIXED_PAIRS` fixed pairs: whole frames of clips, else crops of photos."""
    photo_pairs = PhotoPairs(photos, recipe) if photos else None
    clip_pairs = ClipPairs(clips, recipe, cache, preparing) if clips else None
    sampler = PairSampler(recipe, photo_pairs, clip_pairs)
    if clip_pairs is not None:
        chosen = sorted({len(clip_pairs) * k // (2 * _FIXED_PAIRS) for k in range(1, 2 * _FIXED_PAIRS, 2)})
        return sampler, [clip_pairs.load(index) for index in chosen]
    return sampler, [sampler.sample(0, index) for index in range(_FIXED_PAIRS)]


def _validation(fixed: Sequence[Pair], recipe: Recipe) -> list[dict[str, NDArray[Any]]]:
    """Batches of one pair: the middle of each fixed pair, every second one shifted where the recipe has such steps."""
    batches = []
    for index, pair in enumerate(fixed):
        if recipe.shift_share > 0 and index % 2:
            chosen = shifted(pair.first, recipe.crop, np.random.default_rng(index))
        else:
            chosen = _middle(pair, recipe.crop)
        batches.append(stacked([chosen], recipe))
    return batches


def _batch(sampler: PairSampler, recipe: Recipe, step: int, rank: int) -> dict[str, NDArray[Any]]:
    """The samples of a step: each process of several has its own."""
    return stacked([sampler.sample(step, rank * recipe.batch + index) for index in range(recipe.batch)], recipe)


def _middle(pair: Pair, size: int) -> Pair:
    if pair.shift is not None:
        return pair
    top, left = (pair.first.shape[0] - size) // 2, (pair.first.shape[1] - size) // 2
    at = (slice(top, top + size), slice(left, left + size))
    return Pair(pair.first[at], pair.second[at], FlowPair(pair.motion.flow[at], pair.motion.valid[at]))


def _smooth(previous: float | None, value: float) -> float:
    return value if previous is None else _SMOOTHING * previous + (1.0 - _SMOOTHING) * value


def _summary_writer(folder: Path, step: int) -> Any:
    # Where TensorFlow is installed, for export, TensorBoard would load it for its file functions alone: seconds, and a
    # page of messages. This is its own name for "without".
    sys.modules.setdefault("tensorboard.compat.notf", ModuleType("notf"))
    from torch.utils.tensorboard import SummaryWriter

    writer: Any = SummaryWriter
    return writer(str(folder), purge_step=step)


def _device(wanted: str) -> torch.device:
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if wanted not in ("cpu", "cuda"):
        raise InputError(f"unknown device '{wanted}': choose auto, cpu or cuda")
    if wanted == "cuda" and not torch.cuda.is_available():
        raise InputError("there is no CUDA device that this torch can use: choose --device cpu")
    return torch.device(wanted)


def faster_precision(loss_network: LossNetwork, recipe: Recipe, device: torch.device) -> str:
    """``bfloat16`` where the loss network is faster in it on this machine, by a short measurement, else ``float32``.

    Measured is what a step does with it: features and their Gram matrices, forward and backward. bfloat16 lies channels
    last (see `LossNetwork.compact`), float32 channels first: on a CPU each is quickest so.
    """
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    seconds = {"float32": math.inf, "bfloat16": math.inf}
    networks = {"float32": loss_network, "bfloat16": copy.deepcopy(loss_network).compact()}
    layers = recipe.style_layers or recipe.content_layers
    for _ in range(_PROBE_ROUNDS):
        for precision, network in networks.items():
            frame = torch.rand(recipe.batch, 3, recipe.crop, recipe.crop, requires_grad=True)
            began = time.perf_counter()
            features = network(frame, layers)
            torch.autograd.backward([gram(value).sum() for value in features.values()])
            seconds[precision] = min(seconds[precision], time.perf_counter() - began)
    return min(seconds, key=lambda key: seconds[key])


@contextmanager
def _stop_on_signal() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set; a second one of them acts as usual."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before: dict[int, Any] = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def ask(number: int, frame: FrameType | None) -> None:
        stop.set()
        signal.signal(number, before[number])

    for number in before:
        signal.signal(number, ask)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
