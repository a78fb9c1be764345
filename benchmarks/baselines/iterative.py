"""Shared by the iterative methods: L-BFGS on an image, and finished frames kept on disk."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ...common.arrays import Image
from ...common.files import InputError, atomic_path
from ...train.loss.network import LossNetwork
from ...train.loss.terms import content_loss, gram, style_loss, total_variation
from ...train.tensors import to_frame, to_tensor
from ...video.images import read_image, write_image

Term = Callable[[Tensor], Tensor]
"""Additional loss of the image, (1, 3, H, W) RGB, about [0, 1]."""

_STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
_CONTENT_LAYERS = ("relu4_2", "relu3_2")
_STEPS_REMEMBERED = 10
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Settings:
    """How frames are optimized; weights apply to relative losses (see `train/loss/terms.py`).

    Attributes:
        iterations: evaluations of loss and gradient for each frame and pass.
        content_weight: alpha of the papers.
        style_weight: beta of the papers.
        variation_weight: of total variation.
        temporal_weight: gamma of Ruder et al., of the mean squared difference to warped frames; unused in Gatys.
        passes: 1: one pass with long-term consistency; more: passes in alternating directions (Ruder).
        style_size: shorter side of the style image, px.
        seed: of the initial noise.
    """

    iterations: int = 100
    content_weight: float = 1.0
    style_weight: float = 60.0
    variation_weight: float = 0.1
    temporal_weight: float = 200.0
    passes: int = 1
    style_size: int = 384
    seed: int = 1

    def __post_init__(self) -> None:
        """Check the counts; raises InputError."""
        for name in ("iterations", "passes", "style_size"):
            if getattr(self, name) < 1:
                raise InputError(f"{name.replace('_', ' ')} must be at least 1, not {getattr(self, name)}")


class Painter:
    """Optimizes images towards a style, (H, W, 3) uint8 RGB (Gatys et al. 2016, equation 7).

    Content layer is relu4_2, or relu3_2 if the loss network, which is frozen, lacks it. Style layers are the first of
    each block. InputError if the loss network lacks the layers.
    """

    def __init__(self, loss_network: LossNetwork, style: Image, settings: Settings) -> None:
        self._loss_network, self.settings = loss_network, settings
        there = loss_network.names
        self._content = next((layer for layer in _CONTENT_LAYERS if layer in there), _CONTENT_LAYERS[-1])
        self._style = tuple(layer for layer in _STYLE_LAYERS if layer in there)
        loss_network.require({self._content, *self._style})
        scale = settings.style_size / min(style.shape[:2])
        sized = cv2.resize(style, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        with torch.no_grad():
            features = loss_network(to_tensor(np.asarray(sized, np.uint8)[None], _CPU), self._style)
            self._grams = {layer: gram(value) for layer, value in features.items()}

    def noise(self, frame: Image, index: int) -> Tensor:
        """Initial image of a frame, (1, 3, H, W): white noise around grey, seeded by the index."""
        random = torch.Generator().manual_seed(1000 * self.settings.seed + index)
        return 0.5 + 0.1 * torch.randn((1, 3, *frame.shape[:2]), generator=random)

    def paint(self, frame: Image, start: Tensor, term: Term | None = None) -> Image:
        """Optimize from `start`, (1, 3, H, W), towards a frame's content; frame and result are (H, W, 3) uint8 RGB."""
        settings = self.settings
        with torch.no_grad():
            source = self._loss_network(to_tensor(frame[None], _CPU), {self._content})
        image = start.clone().requires_grad_(True)
        optimizer: Any = torch.optim.LBFGS(
            [image],
            max_iter=settings.iterations,
            max_eval=settings.iterations,
            history_size=_STEPS_REMEMBERED,
            tolerance_grad=0.0,
            tolerance_change=0.0,
            line_search_fn="strong_wolfe",
        )

        def loss() -> Tensor:
            optimizer.zero_grad()
            features = self._loss_network(image, {self._content, *self._style})
            parts = [
                settings.content_weight * content_loss(features, source),
                settings.style_weight * style_loss(features, self._grams),
                settings.variation_weight * total_variation(image),
                # Values out of range are clipped, so an optimum there would not be seen.
                functional.relu((image - 0.5).abs() - 0.5).square().mean(),
                *([term(image)] if term else []),
            ]
            total = torch.stack(parts).sum()
            torch.autograd.backward(total)
            return total

        optimizer.step(loss)
        return to_frame(image[0])


class Finished:
    """Finished frames in a folder, which is created if missing, so that an interrupted run can continue.

    `inputs` are all that decides the result besides the settings, by name; `written` is called after each kept frame.
    InputError if the folder holds frames of other settings or inputs.
    """

    def __init__(
        self, folder: Path, settings: Settings, inputs: dict[str, str], written: Callable[[], None] = lambda: None
    ) -> None:
        self.folder, self._written = folder, written
        wanted = {**asdict(settings), **inputs}
        record = folder / "settings.json"
        if record.is_file():
            begun = json.loads(record.read_text(encoding="utf-8"))
            changed = next((key for key in wanted if begun.get(key) != wanted[key]), None)
            if changed is not None:
                raise InputError(
                    f"{folder} holds frames made with {changed}={begun.get(changed)}, not {wanted[changed]}: "
                    "give the same settings, or remove it"
                )
        else:
            folder.mkdir(parents=True, exist_ok=True)
            with atomic_path(record) as partial:
                partial.write_text(json.dumps(wanted, indent=1), encoding="utf-8")

    def has(self, index: int, run: int = 0) -> bool:
        """Whether a frame of a pass is done."""
        return self._path(index, run).is_file()

    def read(self, index: int, run: int = 0) -> Image:
        """A finished frame, (H, W, 3) uint8 RGB."""
        return read_image(self._path(index, run))

    def write(self, image: Image, index: int, run: int = 0) -> None:
        """Keep a frame."""
        write_image(self._path(index, run), image)
        self._written()

    def _path(self, index: int, run: int) -> Path:
        return self.folder / f"pass-{run:02d}-frame-{index:06d}.png"
