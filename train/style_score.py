"""How much of the style and of the content is in a stylized frame, as VGG-19 sees it.

The style score of every table, and of every artifact's proof. Needs the loss network's weights.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..video.files import InputError, sha256_of
from .loss_network import ENVIRONMENT_VARIABLE, load_loss_network
from .losses import gram, relative_distance

Frame = NDArray[np.uint8]

_STYLE_LAYERS = ("relu1_2", "relu2_2", "relu3_2")
_DEEP_LAYER = "relu4_2"
STYLE_SIDE = 384
"""Shorter side to which the style image is brought, in pixels; at another size it has finer or coarser ornament."""
_NOTHING = 1e-9
"""A distance below this is that of an image to itself, and nothing can be divided by it."""


@dataclass(frozen=True)
class _Look:
    """What the loss network saw of one frame: Gram matrices by layer, (1, C, C), and the content layer's features."""

    frame: Frame
    grams: dict[str, Tensor]
    content: Tensor


class StyleJudge:
    """Gives style and content scores of frames.

    Attributes:
        loss_network: the weights' file and its SHA-256.
        style_layers: layers of the style score.
        content_layer: layer of the content score.
    """

    def __init__(self, loss_network: Path | None, styles: Mapping[str, Frame], style_side: int = STYLE_SIDE) -> None:
        """Load the loss network.

        Args:
            loss_network: its weights; None takes the environment variable STEADYSTYLE_LOSS_NETWORK.
            styles: style image of each row that has one, (H, W, 3) uint8 RGB. Rows without one get a content score
                only.
            style_side: shorter side to which style images are brought; figures of one table share it.

        Raises:
            InputError: no weights, or weights that end before relu3_2.
        """
        self._network = load_loss_network(loss_network)
        self.loss_network = _told(loss_network or Path(os.environ[ENVIRONMENT_VARIABLE]))
        available = self._network.available_layers()
        if _STYLE_LAYERS[-1] not in available:
            raise InputError(
                f"the loss network's file ends at {available[-1]}: the style score needs {_STYLE_LAYERS[-1]}"
            )
        deep = (_DEEP_LAYER,) if _DEEP_LAYER in available else ()
        self.style_layers = (*_STYLE_LAYERS, *deep)
        self.content_layer = self.style_layers[-1]
        # Rows that share a style image share its Gram matrices.
        seen: dict[int, dict[str, Tensor]] = {}
        self._styles = {}
        for row, image in styles.items():
            if id(image) not in seen:
                seen[id(image)] = self._look(_at_size(image, style_side)).grams
            self._styles[row] = seen[id(image)]
        self._looks: list[_Look] = []

    def _look(self, frame: Frame) -> _Look:
        with torch.inference_mode():
            image = torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1)[None].float() / 255  # (1, 3, H, W)
            features = self._network(image, self.style_layers)
            grams = {layer: gram(features[layer]) for layer in self.style_layers}
            return _Look(frame, grams, features[self.content_layer])

    def _look_once(self, frame: Frame) -> _Look:
        # The same array comes again and again in the still control; looking is what takes the time here.
        known = [look for look in self._looks if look.frame is frame]
        if not known:
            known = [self._look(frame)]
            self._looks += known
        return known[0]

    def __call__(self, source: Frame, frames: Mapping[str, Frame]) -> dict[str, tuple[float | None, float | None]]:
        """Score each row's frame of one source frame.

        The style score is the Gram distance to the style image over that of the source frame: a layer's distance is
        the mean squared difference of the Gram matrices (over C·H·W) over the mean square of the style's, and the
        layers are averaged. The content score is the mean squared feature distance to the source frame over that
        between the source frame and its mirror image.

        Args:
            source: (H, W, 3) uint8 RGB.
            frames: each row's frame by the row's name, same size.

        Returns:
            Style and content score by row; None without a style image, or where the divisor is nothing.
        """
        looks = {row: self._look_once(frame) for row, frame in frames.items()}
        original = self._look_once(source)
        mirrored = self._look(np.ascontiguousarray(source[:, ::-1]))
        mirror_distance = _mean_square(original.content, mirrored.content)
        scores = {}
        for row, look in looks.items():
            style = self._styles.get(row)
            whole = 0.0 if style is None else _style_distance(original, style)
            scores[row] = (
                _style_distance(look, style) / whole if style is not None and whole > _NOTHING else None,
                _mean_square(look.content, original.content) / mirror_distance if mirror_distance > _NOTHING else None,
            )
        self._looks = list(looks.values())  # for the next call
        return scores


def _told(path: Path) -> str:
    return f"{path.name}, SHA-256 {sha256_of(path)}"


def _at_size(image: Frame, shorter_side: int) -> Frame:
    height, width = image.shape[:2]
    scale = shorter_side / min(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC), np.uint8)


def _style_distance(look: _Look, style: Mapping[str, Tensor]) -> float:
    return float(torch.stack([relative_distance(look.grams[layer], style[layer]) for layer in style]).mean())


def _mean_square(a: Tensor, b: Tensor) -> float:
    return float((a - b).square().mean())
