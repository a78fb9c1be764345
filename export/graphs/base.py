"""What an export asks of a rewritten network. Only `registry` and an engine's own emitter ask which network it is."""

import copy
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, Self

from torch import Tensor, nn

Range = tuple[float, float]
"""Least and largest value of a tensor."""


class Norm(NamedTuple):
    """An instance normalization: gain and offset, (channels,) each, and epsilon."""

    weight: Tensor
    bias: Tensor
    epsilon: float


class Layer(NamedTuple):
    """The parameters of a convolution and of the normalization right behind it, to be read or changed in place.

    Attributes:
        weight: (outputs, inputs, k, k).
        bias: (outputs,); None where there is a normalization.
        norm: None where there is none.
    """

    weight: Tensor
    bias: Tensor | None
    norm: Norm | None


class DeployableGraph(Protocol):
    """A stylizing network with all pre- and post-processing inside: a uint8 frame in, the stylized frame out.

    All rewrites are exact up to float32 rounding; `export/verify.py` holds each artifact to that.

    Attributes:
        on_bytes: whether it takes and gives 0..255 at its first and last convolution, so that an engine can compute on
            bytes from end to end; the sums between the convolutions are quantized, too.
        outliers: share of a tensor's values, at either end, for which its 8-bit range leaves no room.
        channel_outliers: share of a channel's values, in each frame, that do not count for how far it goes.
        most_flicker: most that 8 bits may multiply the temporal error with, in the simulation of `quantization.py`.
    """

    on_bytes: bool = False
    outliers: float = 0.0
    channel_outliers: float = 0.0
    most_flicker: float = 1.08  # an artifact shows less to `verify`: 1.051 and 1.023 for one, whose limit is 1.05

    def __call__(self, frame: Tensor) -> Tensor:
        """Stylize one frame, (H, W, 3) uint8 RGB to the same; any H, W of at least 1."""
        ...

    def layers(self) -> list[str]:
        """Names of the convolutions that hold weights, in the order in which they are computed, each once."""
        ...

    def layer(self, name: str) -> Layer:
        """The parameters of one of `layers`."""
        ...

    def rectified(self) -> list[str]:
        """Names of the layers whose results go through a ReLU at once: what is below zero needs no steps."""
        return []

    def shared_tensors(self) -> list[tuple[list[str], list[str]]]:
        """Layers that write a tensor and layers that read it, where any positive gain of a channel may pass between."""
        return []

    def clipped_ranges(self, results: Mapping[str, Range]) -> dict[str, Range]:
        """Ranges of those layers' results, by the layer's name, that a ReLU cuts farther on, without what it cuts.

        Args:
            results: the observed range of each layer's results.
        """
        return {}

    def in_half_precision(self) -> Self:
        """Hold the weights in float16 and compute the convolutions in it; all else stays in float32."""
        ...


class ImageGraph(Protocol):
    """A network for engines that take and give images themselves: channels first, RGB in 0..255, one fixed size.

    Attributes:
        padding: pixels by which a frame is extended; neither of its sides may be smaller.
    """

    padding: int

    def __call__(self, image: Tensor) -> Tensor:
        """Map (1, 3, H, W) RGB in 0..255 to the same, whole numbers as floats."""
        ...


class InHalf(nn.Module):
    """A convolution computed in float16, float32 in and out."""

    def __init__(self, conv: nn.Module) -> None:
        super().__init__()
        self.conv = conv.half()

    def forward(self, x: Tensor) -> Tensor:
        """As the convolution's own."""
        result: Tensor = self.conv(x.half())
        return result.float()


def frozen_copy(network: Any) -> Any:
    """A copy of a network in evaluation mode whose parameters may be changed in place."""
    return copy.deepcopy(network).requires_grad_(False).eval()
