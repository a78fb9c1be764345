"""Two-frame synergic training (Huang et al. 2017, section 3.3), one loop that reads from top to bottom."""

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
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ..video.files import InputError, check_writable
from ..video.flow import FlowPair
from ..video.images import read_image, write_image
from ..video.temporal import error_map
from .checkpoint import (
    FORMAT_VERSION,
    CheckpointHeader,
    load_checkpoint,
    load_weights,
    read_tensors,
    save_checkpoint,
    write_tensors,
)
from .loss_network import LossNetwork
from .losses import (
    content_loss,
    gram,
    grid_loss,
    luminance_change,
    style_loss,
    temporal_feature_loss,
    temporal_loss,
    total_variation,
)
from .networks import build_network, resolve_sizes
from .pairs import ClipPairs, Pair, PairSampler, PhotoPairs
from .recipes import Recipe, recipe_from_dict
from .workers import join_workers

STATE_NAME = "training-state.safetensors"
_SMOOTHING = 0.98
_MOST_SKIPPED_STEPS = 20
# By the loss on three, a checkpoint after half of the steps was kept for one whose style score was a sixth lower.
_FIXED_PAIRS = 8


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
        start_from: checkpoint whose weights to start from; it may have more residual blocks than the recipe's network.
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
    checkpoint_path, state_path = out / f"{name}.safetensors", out / STATE_NAME
    with join_workers(_device(device)) as workers:
        say = message if message and workers.first else lambda text: None
        # All that can be refused is refused before anything is written.
        style_image = read_image(style)
        loss_network.require({*recipe.content_layers, *recipe.style_layers, *recipe.style_half_layers})
        check_writable(checkpoint_path)
        if state_path.exists() and not resume:
            raise InputError(
                f"{out} already holds a training run: add --resume to go on with it, or choose another folder"
            )
        if recipe.needs_teacher and teacher is None:
            raise InputError(f"the recipe '{recipe.name}' learns from another network: name it with --teacher")
        if resume and not state_path.exists():
            raise InputError(f"there is no training state in {out} to resume: leave --resume away to begin")

        torch.manual_seed(recipe.seed)
        network = build_network(recipe.architecture, recipe.sizes)
        earlier_steps = 0  # of the checkpoint that this run starts from
        if start_from is not None and not resume:
            start = load_checkpoint(start_from)
            network.load_state_dict(_matching_weights(start.network, network, start_from))
            earlier_steps = start.header.steps
        where = workers.device
        network, loss_network = network.to(where).train(), loss_network.to(where)
        optimizer = torch.optim.Adam(network.parameters(), lr=recipe.learning_rate)

        place = cache or out / "pairs"
        if workers.first:
            opened = _open_data(recipe, clips, photos, place, preparing)
        workers.of_first(None)  # the flow of the clips is computed once, and nothing was written before all had checked
        sampler, fixed = opened if workers.first else _open_data(recipe, clips, photos, place, None)
        if resume:
            progress = _load_state(state_path, network, optimizer, recipe)
            say(f"resumed at step {progress.step}")
        else:
            precision = recipe.precision
            if precision == "auto":
                precision = workers.of_first(_faster_precision(loss_network, recipe, where))
            progress = _Progress(earlier_steps, precision)
        others = f", one of {workers.count} processes" if workers.count > 1 else ""
        say(f"training on {where}{others}, with the loss network in {progress.precision}")
        objective = HybridLoss(
            loss_network, style_image, recipe, where, progress.precision, int(getattr(network, "grid", 4))
        )
        if teacher is not None and recipe.needs_teacher:
            objective.teacher = load_checkpoint(teacher).network.to(where)
        validation = [_stacked([_middle(pair, recipe.crop)], recipe) for pair in fixed]
        previews = fixed[:: max(1, (len(fixed) + 1) // 3)][:3]
        joint = workers.together(network)
        if recipe.temporal_feature_weight > 0:
            objective.watch(network)
        compiled = where.type == "cuda" and recipe.temporal_feature_weight == 0  # compiled code calls no hook
        forward = torch.compile(joint) if compiled else joint

        def done() -> float:
            """Share of the whole run, 0 to 1."""
            if minutes is None:
                return min(1.0, progress.step / recipe.steps)
            return workers.of_first(min(1.0, progress.seconds / (60.0 * minutes)))

        def save() -> None:
            """Write the state, and the checkpoint when no better one is there."""
            if not workers.first:
                return
            better = True
            if progress.step > 0:  # what it started from is no candidate
                loss = validation_loss(objective, network, validation)
                better = loss <= progress.least_loss
                progress.least_loss = min(loss, progress.least_loss)
            if better or not checkpoint_path.exists():
                save_checkpoint(checkpoint_path, finished(), header())
            _save_state(state_path, network, optimizer, recipe, progress)

        def finished() -> nn.Module:
            """The network as it is handed out, with the recipe's contrast."""
            if recipe.contrast == 1.0 or progress.step == 0:
                return network
            return with_contrast(network, recipe.contrast, [pair.first for pair in fixed])

        def header() -> CheckpointHeader:
            return CheckpointHeader(
                name=name,
                style=style.name,
                architecture=recipe.architecture,
                sizes=resolve_sizes(recipe.architecture, recipe.sizes),
                recipe=recipe.name,
                steps=progress.earlier_steps + progress.step,
                losses={key: round(value, 6) for key, value in progress.losses.items()},
                recipe_values=recipe.to_dict(),
            )

        began, seconds_before, pace, skipped = time.monotonic(), progress.seconds, 0.0, 0
        with (
            _summary_writer(out / "tensorboard", progress.step) if workers.first else nullcontext() as board,
            ThreadPoolExecutor(1) as loader,
            _stop_on_signal() as stop,
        ):
            save()  # a place that cannot be written to fails now, and a kill in the first steps loses nothing
            upcoming = loader.submit(_batch, sampler, recipe, progress.step, workers.rank)
            share = done()
            while share < 1.0 and not workers.any(stop.is_set()):
                step_began = time.monotonic()
                batch = upcoming.result()
                upcoming = loader.submit(_batch, sampler, recipe, progress.step + 1, workers.rank)
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate(recipe, progress.step, share)

                terms, total = objective(
                    forward,
                    batch,
                    temporal_weight(recipe, share),
                    pixels_only=share < recipe.pixels_only,
                    offset=loss_offset(recipe, progress.step),
                )
                optimizer.zero_grad(set_to_none=True)
                torch.autograd.backward(total)
                norm = nn.utils.clip_grad_norm_(network.parameters(), recipe.gradient_norm)
                if torch.isfinite(norm):
                    optimizer.step()
                    skipped = 0
                else:
                    skipped += 1
                    if skipped > _MOST_SKIPPED_STEPS:
                        raise InputError(
                            f"training diverged at step {progress.step}: "
                            f"lower learning_rate and resume from {state_path}"
                        )
                progress.step += 1
                progress.seconds = seconds_before + time.monotonic() - began
                losses = progress.losses
                for key, term in {**terms, "total": total.detach()}.items():
                    losses[key] = _smooth(losses.get(key), float(term))
                pace = _smooth(pace or None, time.monotonic() - step_began)
                share = done()
                if progress.step % recipe.checkpoint_every == 0:
                    save()
                if not workers.first or board is None:
                    continue
                steps = recipe.steps if minutes is None else max(progress.step, round(progress.step / share))
                left = pace * (steps - progress.step) if minutes is None else 60.0 * minutes * (1.0 - share)
                if report:
                    report(StepReport(progress.step, steps, dict(losses), pace, left))
                if progress.step % 20 == 0:
                    for key, value in losses.items():
                        board.add_scalar(f"loss/{key}", value, progress.step)
                    board.add_scalar(
                        "schedule/learning_rate", learning_rate(recipe, progress.step, share), progress.step
                    )
                    board.add_scalar("schedule/temporal_weight", temporal_weight(recipe, share), progress.step)
                if progress.step % recipe.preview_every == 0 or share >= 1.0:
                    sheet = preview_sheet(finished(), style_image, previews, where)
                    write_image(out / "previews" / f"step-{progress.step:06d}.png", sheet)
                    board.add_image("preview", sheet, progress.step, dataformats="HWC")
            save()
        seconds = time.monotonic() - began
        return TrainResult(checkpoint_path, progress.step, seconds, dict(progress.losses), share >= 1.0)


@dataclass
class _Progress:
    """Where a run stands: what the training state holds beside weights and random generators."""

    earlier_steps: int  # of the checkpoint that this run started from
    precision: str
    step: int = 0
    seconds: float = 0.0
    losses: dict[str, float] = field(default_factory=dict)
    least_loss: float = math.inf


def _summary_writer(folder: Path, step: int) -> Any:
    # Where TensorFlow is installed, for export, TensorBoard would load it for its file functions alone: seconds, and a
    # page of messages. This is its own name for "without".
    sys.modules.setdefault("tensorboard.compat.notf", ModuleType("notf"))
    from torch.utils.tensorboard import SummaryWriter

    writer: Any = SummaryWriter
    return writer(str(folder), purge_step=step)


class HybridLoss:
    """Spatial loss of both outputs and temporal loss between them (Huang et al. 2017, equation 1).

    Args:
        loss_network: frozen, on ``device``.
        style_image: (H, W, 3) uint8 RGB.
        recipe: gives layers and weights.
        device: where batches are put.
        precision: ``float32`` or ``bfloat16``, of both networks' convolutions.
        grid: pixels after which a pattern of the network's own would repeat.

    Attributes:
        teacher: the network to learn from, on ``device``; needed by a recipe with a weight on it.
        own_features: (2 B, C, h, w) what came out of the network's residual blocks last (see `watch`).
    """

    def __init__(
        self,
        loss_network: LossNetwork,
        style_image: NDArray[np.uint8],
        recipe: Recipe,
        device: torch.device,
        precision: str,
        grid: int = 4,
    ) -> None:
        self.loss_network, self.recipe, self.device, self.grid = loss_network, recipe, device, grid
        self.teacher: nn.Module | None = None
        self.own_features = torch.empty(0)
        self.mixed = precision == "bfloat16"
        # A term without weight costs nothing: its layers are not computed.
        self.content_layers = recipe.content_layers if recipe.content_weight > 0 else ()
        self.style_layers = recipe.style_layers if recipe.style_weight > 0 else ()
        self.half_layers = recipe.style_half_layers if recipe.style_half_weight > 0 else ()
        self.teacher_layers = recipe.teacher_layers if recipe.teacher_feature_weight > 0 else ()
        scale = recipe.style_size / min(style_image.shape[:2])
        sized = cv2.resize(style_image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        frame = to_tensor(np.asarray(sized, np.uint8)[None], device)
        with torch.no_grad():  # float32: computed once
            self.style_grams = {k: gram(v) for k, v in loss_network(frame, self.style_layers).items()}
            half = functional.avg_pool2d(frame, 2)
            self.half_grams = {k: gram(v) for k, v in loss_network(half, self.half_layers).items()}

    def watch(self, network: nn.Module) -> None:
        """Keep what comes out of a network's residual blocks, for the temporal loss between its own features."""

        def keep(module: nn.Module, inputs: object, output: Tensor) -> None:
            self.own_features = output

        network.get_submodule("blocks").register_forward_hook(keep)

    def __call__(
        self,
        network: Callable[[Tensor], Tensor],
        batch: dict[str, NDArray[Any]],
        temporal_weight: float,
        *,
        pixels_only: bool = False,
        offset: tuple[int, int] | None = None,
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Stylize a batch and weigh the result.

        Args:
            network: the stylizing network.
            batch: ``first`` and, for two-frame training, ``second`` (B, H, W, 3) uint8 RGB, ``flow`` (B, 2, H, W)
                float32 px from second to first, ``valid`` (B, 1, H, W) float32.
            temporal_weight: lambda at this step.
            pixels_only: leave out the terms that need the loss network.
            offset: rows and columns, of ``border_jitter``, by which the part that losses see is moved; half of it by
                default.

        Returns:
            The unweighted terms (detached) and the weighted sum.
        """
        recipe = self.recipe
        frames = [batch[key] for key in ("first", "second") if key in batch]
        source = to_tensor(np.concatenate(frames), self.device)  # (2 B, 3, H, W), all first frames before all second
        terms: dict[str, tuple[float, Tensor]] = {}  # name -> weight and value
        content, style, half, teacher = (
            () if pixels_only else layers
            for layers in (self.content_layers, self.style_layers, self.half_layers, self.teacher_layers)
        )
        side = source.shape[-1] - 2 * recipe.border - recipe.border_jitter
        down, right = offset or (recipe.border_jitter // 2,) * 2
        inside = slice(recipe.border + down, recipe.border + down + side)
        across = slice(recipe.border + right, recipe.border + right + side)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed):
            everything = network(source).float()
            # All that the loss network sees: the first frames come before all second ones.
            seen = slice(None if recipe.both_frames else len(batch["first"]))
            output = everything[seen, :, inside, across]
            features = self.loss_network(output, {*style, *content, *teacher})
            half_features = self.loss_network(functional.avg_pool2d(output, 2), half)
            with torch.no_grad():
                source_features = self.loss_network(source[seen, :, inside, across], content)
                taught = self.teacher(source[seen]).float()[..., inside, across] if self.teacher is not None else None
                taught_features = self.loss_network(taught, teacher) if taught is not None else {}
        if content:
            terms["content"] = recipe.content_weight, content_loss(features, source_features)
        if style:
            terms["style"] = recipe.style_weight, style_loss(features, self.style_grams)
        if half:
            terms["style_half"] = recipe.style_half_weight, style_loss(half_features, self.half_grams)
        if taught is not None:
            terms["teacher"] = recipe.teacher_weight, functional.l1_loss(output, taught)
        if teacher:
            terms["teacher_features"] = recipe.teacher_feature_weight, content_loss(features, taught_features)
        terms["variation"] = recipe.variation_weight, total_variation(output)
        if recipe.grid_weight > 0 and not pixels_only:
            terms["grid"] = recipe.grid_weight, grid_loss(output, self.grid)
        if "second" in batch:
            first, second = everything.chunk(2)
            flow = torch.from_numpy(batch["flow"]).to(self.device)
            valid = torch.zeros_like(everything[: len(first), :1])
            valid[..., inside, across] = torch.from_numpy(batch["valid"]).to(self.device)[..., inside, across]
            change = luminance_change(source[: len(first)], source[len(first) :], flow) if recipe.luminance else None
            terms["temporal"] = temporal_weight, temporal_loss(first, second, flow, valid, change)
            if recipe.temporal_feature_weight > 0 and temporal_weight > 0:
                # It rises with the temporal weight.
                weight = recipe.temporal_feature_weight * temporal_weight / recipe.temporal_weight
                terms["temporal_features"] = weight, temporal_feature_loss(self.own_features, flow, valid)
        if recipe.border_weight > 0 and not pixels_only:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed):
                terms["border"] = (
                    recipe.border_weight,
                    self._border_loss(network, source[seen], everything[seen].detach()),
                )
        total = torch.stack([weight * value for weight, value in terms.values()]).sum()
        return {key: value.detach() for key, (_, value) in terms.items()}, total

    def _border_loss(self, network: Callable[[Tensor], Tensor], source: Tensor, output: Tensor) -> Tensor:
        """Mean squared difference, along the border of a smaller crop, to what the whole one has there."""
        offset, width = self.recipe.inner_offset, 2 * self.recipe.border
        inner = slice(offset, source.shape[-1] - offset)
        difference = network(source[..., inner, inner]).float() - output[..., inner, inner]
        along = torch.ones_like(difference[:1, :1])
        along[..., width:-width, width:-width] = 0
        return (difference.square() * along).sum() / (along.sum() * difference.shape[0] * difference.shape[1])


def learning_rate(recipe: Recipe, step: int, share: float) -> float:
    """Linear warm-up over steps, then half a cosine over the run (``share`` of it is done) to 2 % of the rate."""
    warm = min(1.0, (step + 1) / max(recipe.warmup_steps, 1))
    return recipe.learning_rate * warm * (0.02 + 0.98 * 0.5 * (1.0 + math.cos(math.pi * share)))


def temporal_weight(recipe: Recipe, share: float) -> float:
    """Lambda with ``share`` of the run done: 0 until ``temporal_start``, then a line up over ``temporal_ramp``."""
    risen = (share - recipe.temporal_start) / max(recipe.temporal_ramp, 1e-9)
    return recipe.temporal_weight * min(max(risen, 0.0), 1.0)


def loss_offset(recipe: Recipe, step: int) -> tuple[int, int]:
    """Rows and columns, 0 to ``border_jitter`` each, by which the part of a crop that losses see is moved."""
    down, right = np.random.default_rng((recipe.seed, step)).integers(recipe.border_jitter + 1, size=2)
    return int(down), int(right)


def validation_loss(objective: HybridLoss, network: nn.Module, batches: Sequence[dict[str, NDArray[Any]]]) -> float:
    """Mean total of fixed batches, with the temporal weight of the end of the run."""
    with torch.no_grad():
        totals = [objective(network, batch, objective.recipe.temporal_weight)[1] for batch in batches]
    return float(torch.stack(totals).mean())


def with_contrast(network: nn.Module, gain: float, frames: Sequence[NDArray[np.uint8]]) -> nn.Module:
    """A copy of a network whose contrast about the mean colour of what it paints is multiplied.

    Args:
        network: one with ``multiply_contrast`` (the edge network).
        gain: above 0.
        frames: (H, W, 3) uint8 RGB each, to find the mean colour on.

    Returns:
        The copy, on the network's device, in its mode.
    """
    training, where = network.training, next(network.parameters()).device
    network.eval()
    with torch.no_grad():
        colours = [network(to_tensor(frame[None], where))[0].mean((1, 2)) for frame in frames]
    network.train(training)
    changed: Any = copy.deepcopy(network)
    changed.multiply_contrast(gain, torch.stack(colours).mean(0))
    return cast(nn.Module, changed)


def to_tensor(frames: NDArray[np.uint8], device: torch.device) -> Tensor:
    """(B, H, W, 3) uint8 RGB to (B, 3, H, W) float32 RGB in [0, 1] on ``device``."""
    tensor = torch.from_numpy(np.ascontiguousarray(frames)).to(device).permute(0, 3, 1, 2)
    # Tensor cores want channels last, and the layers follow their input; on the CPU it measured slower.
    layout = torch.channels_last if device.type == "cuda" else torch.contiguous_format
    return tensor.to(torch.float32, memory_format=layout).div(255.0)


def to_frame(output: Tensor) -> NDArray[np.uint8]:
    """(3, H, W) float RGB in [0, 1] to (H, W, 3) uint8 RGB, rounded."""
    scaled = (output.detach().float().clamp(0, 1) * 255.0).round().to(torch.uint8)
    return np.asarray(scaled.permute(1, 2, 0).contiguous().cpu().numpy(), np.uint8)


def preview_sheet(
    network: nn.Module, style_image: NDArray[np.uint8], pairs: list[Pair], device: torch.device
) -> NDArray[np.uint8]:
    """A sheet with a row a pair: style, source, stylized, error map between the two stylized frames (white = large)."""
    rows = []
    network.eval()
    with torch.no_grad():
        for pair in pairs:
            height = pair.first.shape[0]
            frames = to_tensor(np.stack([pair.first, pair.second]), device)
            first, second = (to_frame(output) for output in network(frames))
            errors = cv2.cvtColor(error_map(first, second, pair.motion), cv2.COLOR_GRAY2RGB)
            style_width = max(1, round(style_image.shape[1] * height / style_image.shape[0]))
            fitted = cv2.resize(style_image, (style_width, height), interpolation=cv2.INTER_AREA)
            rows.append(np.concatenate([fitted, pair.second, second, errors], axis=1))
    network.train()
    widest = max(row.shape[1] for row in rows)
    padded = [np.pad(row, ((0, 4), (0, widest - row.shape[1]), (0, 0))) for row in rows]
    return np.asarray(np.concatenate(padded), np.uint8)


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


def _batch(sampler: PairSampler, recipe: Recipe, step: int, rank: int) -> dict[str, NDArray[Any]]:
    """The samples of a step: each process of several has its own."""
    return _stacked([sampler.sample(step, rank * recipe.batch + index) for index in range(recipe.batch)], recipe)


def _stacked(pairs: Sequence[Pair], recipe: Recipe) -> dict[str, NDArray[Any]]:
    first = np.stack([pair.first for pair in pairs])
    if recipe.temporal_weight <= 0:
        return {"first": first}
    return {
        "first": first,
        "second": np.stack([pair.second for pair in pairs]),
        "flow": np.stack([pair.motion.flow.transpose(2, 0, 1) for pair in pairs]),
        "valid": np.stack([pair.motion.valid[None] for pair in pairs]).astype(np.float32),
    }


def _middle(pair: Pair, size: int) -> Pair:
    top, left = (pair.first.shape[0] - size) // 2, (pair.first.shape[1] - size) // 2
    at = (slice(top, top + size), slice(left, left + size))
    return Pair(pair.first[at], pair.second[at], FlowPair(pair.motion.flow[at], pair.motion.valid[at]))


def _smooth(previous: float | None, value: float) -> float:
    return value if previous is None else _SMOOTHING * previous + (1.0 - _SMOOTHING) * value


def _device(wanted: str) -> torch.device:
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if wanted not in ("cpu", "cuda"):
        raise InputError(f"unknown device '{wanted}': choose auto, cpu or cuda")
    if wanted == "cuda" and not torch.cuda.is_available():
        raise InputError("there is no CUDA device that this torch can use: choose --device cpu")
    return torch.device(wanted)


def _faster_precision(loss_network: LossNetwork, recipe: Recipe, device: torch.device) -> str:
    """``bfloat16`` where the loss network is faster in it on this machine, by a short measurement, else ``float32``."""
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    seconds = {}
    for precision in ("float32", "bfloat16"):
        times = []
        for _ in range(3):
            frame = torch.rand(recipe.batch, 3, recipe.crop, recipe.crop, requires_grad=True)
            began = time.perf_counter()
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
                features = loss_network(frame, recipe.style_layers)
            torch.autograd.backward([value.float().mean() for value in features.values()])
            times.append(time.perf_counter() - began)
        seconds[precision] = min(times)
    return min(seconds, key=lambda key: seconds[key])


def _matching_weights(source: nn.Module, target: nn.Module, path: Path) -> dict[str, Tensor]:
    """Weights to start from; residual blocks that the target has fewer of are left out, the last ones first."""
    weights, wanted = source.state_dict(), target.state_dict()
    fits = all(key in weights and weights[key].shape == value.shape for key, value in wanted.items())
    if not fits or any(not key.startswith("blocks.") for key in weights.keys() - wanted.keys()):
        raise InputError(f"{path} holds another network than the recipe's: choose a recipe of the same architecture")
    return {key: weights[key] for key in wanted}


def _save_state(
    path: Path, network: nn.Module, optimizer: torch.optim.Optimizer, recipe: Recipe, progress: _Progress
) -> None:
    tensors = {f"network.{key}": value for key, value in network.state_dict().items()}
    for index, values in optimizer.state_dict()["state"].items():
        tensors.update({f"optimizer.{index}.{key}": value for key, value in values.items()})
    tensors["rng.torch"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["rng.cuda"] = torch.cuda.get_rng_state()
    header = {"format_version": FORMAT_VERSION, "recipe": recipe.to_dict(), **asdict(progress)}
    write_tensors(path, tensors, header)


def _load_state(path: Path, network: nn.Module, optimizer: torch.optim.Optimizer, recipe: Recipe) -> _Progress:
    """Put a training state back."""
    tensors, header = read_tensors(path)
    if "recipe" not in header or "step" not in header:
        raise InputError(f"{path} is a checkpoint, not a training state: give the folder of a run")
    was, now = recipe_from_dict(header["recipe"]).to_dict(), recipe.to_dict()
    changed = next((key for key in was if was[key] != now[key]), None)
    if changed:
        raise InputError(
            f"the run in {path.parent} was begun with {changed}={was[changed]}, not {now[changed]}: "
            "resume with the same recipe, or begin a new run with --from"
        )
    own = {key.removeprefix("network."): value for key, value in tensors.items() if key.startswith("network.")}
    load_weights(network, own, path)
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, index, field = key.split(".", 2)
            state.setdefault(int(index), {})[field] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    torch.set_rng_state(tensors["rng.torch"])
    if "rng.cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["rng.cuda"])
    return _Progress(**{entry.name: header[entry.name] for entry in fields(_Progress)})


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
