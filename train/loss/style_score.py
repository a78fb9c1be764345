"""Style, content and stroke score and colour distance: style and content by VGG-19, strokes by VGG-16."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ...common.arrays import Image, resized, size_at_shorter_side
from ...common.files import InputError, sha256_of
from ..tensors import frame_to_tensor
from .network import LossNetwork, load_loss_network, named_loss_networks
from .terms import colour_distance, colour_moments, gram, relative_distance

_STYLE_LAYERS = ("relu1_2", "relu2_2", "relu3_2")
_DEEP_LAYER = "relu4_2"
_STROKE_LAYERS = ("relu3_3", "relu4_3")
STYLE_SIDE = 384
"""Shorter side to which the style image is scaled, px; another size has finer or coarser ornament."""
STROKE_SIDE = 512
"""The same for the stroke score: strokes up to a third larger than the painting's at 384 px count as the painting's."""
_NOTHING = 1e-9  # a smaller distance is that of an image to itself, and no divisor


@dataclass(frozen=True)
class _Look:
    """Features of one image, empty without their network; ``strokes`` are VGG-16's Gram matrices at half the size."""

    frame: Image
    grams: dict[str, Tensor]
    content: Tensor | None
    strokes: dict[str, Tensor]
    colours: tuple[Tensor, Tensor]


class StyleJudge:
    """Computes the figures that need a style image or a loss network.

    ``loss_networks`` are weights' file and SHA-256 by architecture (``VGG-19``, ``VGG-16``). Without VGG-19
    ``style_layers`` and ``content_layer`` are empty, without VGG-16 ``stroke_layers``.
    """

    def __init__(
        self,
        loss_networks: Sequence[Path] | None,
        styles: Mapping[str, Image],
        style_side: int = STYLE_SIDE,
        own_sides: Mapping[str, int] | None = None,
        stroke_side: int = STROKE_SIDE,
    ) -> None:
        """Load the loss networks; InputError for none, two of one architecture, or a file that ends too early.

        Args:
            loss_networks: weights of VGG-19, VGG-16 or both, told apart by their tensors. None takes the files of
                STEADYSTYLE_LOSS_NETWORK.
            styles: style image by row, (H, W, 3) uint8 RGB. Rows without one get a content score only.
            style_side: shorter side of the style images; figures of one table share it.
            own_sides: shorter side that a row's network was trained for, where it differs.
            stroke_side: shorter side of the style images for the stroke score.
        """
        files = named_loss_networks() if loss_networks is None else loss_networks
        self._networks: dict[str, LossNetwork] = {}
        self.loss_networks: dict[str, str] = {}
        for path in files:
            network = load_loss_network(path)
            kind = network.architecture
            if kind in self._networks:
                raise InputError(f"two of the loss networks are {kind}: give one VGG-19 and one VGG-16 file")
            needed, figure = (_STROKE_LAYERS, "stroke") if kind == "VGG-16" else (_STYLE_LAYERS, "style")
            if needed[-1] not in network.names:
                raise InputError(
                    f"the loss network's file ends at {network.names[-1]}: the {figure} score needs {needed[-1]}"
                )
            self._networks[kind] = network
            self.loss_networks[kind] = f"{path.name}, SHA-256 {sha256_of(path)}"
        seen = self._networks.get("VGG-19")
        deep = (_DEEP_LAYER,) if seen and _DEEP_LAYER in seen.names else ()
        self.style_layers = (*_STYLE_LAYERS, *deep) if seen else ()
        self.content_layer = self.style_layers[-1] if seen else ""
        self.stroke_layers = _STROKE_LAYERS if "VGG-16" in self._networks else ()
        looks: dict[tuple[int, int], _Look] = {}  # rows with one style image share its features
        self._styles: dict[str, tuple[_Look, dict[str, Tensor], dict[str, Tensor]]] = {}
        for row, image in styles.items():
            sides = style_side, (own_sides or {}).get(row, style_side), stroke_side
            for side in sides:
                if (id(image), side) not in looks:
                    size = size_at_shorter_side((image.shape[1], image.shape[0]), side)
                    looks[id(image), side] = self._look(resized(image, size))
            style, own, strokes = (looks[id(image), side] for side in sides)
            self._styles[row] = style, own.grams, strokes.strokes
        self._looks: list[_Look] = []

    def _look(self, frame: Image) -> _Look:
        image = _to_tensor(frame)
        seen = self._see("VGG-19", image, self.style_layers)
        strokes = self._see("VGG-16", functional.avg_pool2d(image, 2), self.stroke_layers)
        return _Look(
            frame,
            {layer: gram(features) for layer, features in seen.items()},
            seen.get(self.content_layer),
            {layer: gram(features) for layer, features in strokes.items()},
            colour_moments(image),
        )

    def _see(self, architecture: str, image: Tensor, layers: Collection[str]) -> dict[str, Tensor]:
        """Features of an image, (1, 3, H, W); empty without the network."""
        with torch.inference_mode():
            return self._networks[architecture](image, layers) if architecture in self._networks else {}

    def _look_once(self, frame: Image) -> _Look:
        # The still control repeats one array, and its features take the time here.
        known = [look for look in self._looks if look.frame is frame]
        if not known:
            known = [self._look(frame)]
            self._looks += known
        return known[0]

    def __call__(self, source: Image, frames: Mapping[str, Image]) -> dict[str, dict[str, float | None]]:
        """Score each row's (H, W, 3) uint8 RGB frame of one source frame, as CONTRIBUTING.md ("Figures") defines it.

        Returns ``score``, ``own_score`` (style image at the row's own side), ``content``, ``stroke`` and ``colour`` by
        row; None without the style image or the loss network, or where the divisor is 0.
        """
        looks = {row: self._look_once(frame) for row, frame in frames.items()}
        original = self._look_once(source)
        mirror = self._see("VGG-19", _to_tensor(source[:, ::-1]), (self.content_layer,)).get(self.content_layer)
        mirror_distance = _mean_square(original.content, mirror)
        scores = {}
        for row, look in looks.items():
            figures: dict[str, float | None] = dict.fromkeys(("score", "own_score", "stroke", "colour"))
            figures["content"] = _share(_mean_square(look.content, original.content), mirror_distance)
            if row in self._styles:
                style, own, strokes = self._styles[row]
                figures |= {
                    "score": _share(_distance(look.grams, style.grams), _distance(original.grams, style.grams)),
                    "own_score": _share(_distance(look.grams, own), _distance(original.grams, own)),
                    "stroke": _share(_distance(look.strokes, strokes), _distance(original.strokes, strokes)),
                    "colour": float(colour_distance(look.colours, style.colours)),
                }
            scores[row] = figures
        self._looks = list(looks.values())  # for the next call
        return scores


def _to_tensor(frame: Image) -> Tensor:
    """(1, 3, H, W) RGB in [0, 1]."""
    return frame_to_tensor(frame).float() / 255


def _distance(grams: Mapping[str, Tensor], style: Mapping[str, Tensor]) -> float:
    """Mean over the layers, 0 without layers."""
    return float(np.mean([float(relative_distance(grams[layer], style[layer])) for layer in style] or [0.0]))


def _mean_square(a: Tensor | None, b: Tensor | None) -> float:
    return 0.0 if a is None or b is None else float((a - b).square().mean())


def _share(distance: float, whole: float) -> float | None:
    return distance / whole if whole > _NOTHING else None
