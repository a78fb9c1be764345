"""The protocol of rewritten networks. Only `registry` and an engine's own emitter depend on the kind of network."""

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
    """Parameters, changeable in place, of a convolution, (outputs, inputs, k, k), and of the normalization after it."""

    weight: Tensor
    bias: Tensor | None  # (outputs,); None if there is a normalization
    norm: Norm | None


class DeployableGraph(Protocol):
    """A stylizing network with pre- and post-processing: a uint8 frame in, the stylized frame out.

    All rewrites are exact up to float32 rounding; `export/verify.py` checks each artifact. With `on_bytes`, the first
    convolution takes 0..255 and the last gives it, so that an engine can compute on bytes throughout; the sums between
    the convolutions are quantized, too.
    """

    on_bytes: bool = False
    outliers: float = 0.0  # share of a tensor's values, at each end, outside its 8-bit range
    channel_outliers: float = 0.0  # share of a channel's values, in each frame, that its peak ignores
    # Largest factor by which 8 bits may raise the temporal error, simulated in `quantization.py`. `verify` (limit 1.05)
    # gives less: 1.023 for an artifact simulated at 1.051.
    most_flicker: float = 1.08

    def __call__(self, frame: Tensor) -> Tensor:
        """Stylize one frame, (H, W, 3) uint8 RGB to the same; any H, W of at least 1."""
        ...

    def layers(self) -> list[str]:
        """Names of the convolutions that hold weights, in order of computation, each once."""
        ...

    def layer(self, name: str) -> Layer:
        """Parameters of one of `layers`."""
        ...

    def rectified(self) -> list[str]:
        """Names of the layers directly before a ReLU: their 8-bit range needs no negative values."""
        return []

    def shared_tensors(self) -> list[tuple[list[str], list[str]]]:
        """Layers that write a tensor and layers that read it, whose channels may have any positive gain between."""
        return []

    def clipped_ranges(self, results: Mapping[str, Range]) -> dict[str, Range]:
        """Layer -> range of its results without what a later ReLU cuts; `results` has the observed ranges."""
        return {}

    def in_half_precision(self) -> Self:
        """Store the convolutions' weights and compute them in float16; the rest stays in float32."""
        ...


class ImageGraph(Protocol):
    """A network for engines that take and give images: channels first, RGB in 0..255, one fixed size."""

    padding: int  # pixels by which a frame is extended; neither side may be smaller

    def __call__(self, image: Tensor) -> Tensor:
        """Map (1, 3, H, W) RGB in 0..255 to the same, whole numbers as floats."""
        ...


class InHalf(nn.Module):
    """A convolution computed in float16, float32 in and out."""

    def __init__(self, conv: nn.Module) -> None:
        super().__init__()
        self.conv = conv.half()

    def forward(self, x: Tensor) -> Tensor:
        """Compute the convolution."""
        result: Tensor = self.conv(x.half())
        return result.float()


def frozen_copy(network: Any) -> Any:
    """A copy of a network in evaluation mode whose parameters may be changed in place."""
    return copy.deepcopy(network).requires_grad_(False).eval()
