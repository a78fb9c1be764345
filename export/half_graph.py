"""The deployable graphs of the network `edge-half`: all at a quarter of the size, bytes in, bytes out.

At half the size the network's convolutions would be many, narrow and slow to lay out. Four pixels of half the size as
channels of one pixel of a quarter make them few and wide: a 3x3 convolution becomes one of 2x2 that has zeros for what
a pixel does not see, and going down to a quarter and up from it is no copy at all. The result is the same.
"""

import copy
from itertools import pairwise
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..train.networks import HalfSizeNetwork
from .graph import InHalf
from .patch_graph import PatchGraph, colours_together, in_bytes, in_patches, in_words, out_of_patches


class HalfSizeGraph(PatchGraph):
    """The network `edge-half` with all pre- and post-processing inside; interface and promises of `PatchGraph`.

    Args:
        network: as a checkpoint holds it; it is copied, not changed.
    """

    def __init__(self, network: HalfSizeNetwork) -> None:
        nn.Module.__init__(self)
        network = copy.deepcopy(network).requires_grad_(False).eval()
        in_bytes(network)
        self.before, self.after = network.framing(4, 4)[:2]
        bias = network.stem.get_parameter("bias").repeat(4)
        self.stem = _convolution(_from_patches(network.stem.weight)[:, in_words()], bias)
        self.down = network.down
        self.down.conv = _convolution(_to_quarter(network.down.conv.weight), None)
        self.block: Any = network.block
        self.strokes = network.strokes
        self.up = network.up
        weight, bias = _to_patches(network.head.weight, network.head.get_parameter("bias"))
        self.head = _convolution(weight[in_words()], bias[in_words()])

    def rectified(self) -> list[str]:
        """See `PatchGraph`."""
        return ["stem", "block.first", *self._stroke_names()]

    def normalized(self) -> list[str]:
        """See `PatchGraph`."""
        return ["down"]

    def shared_tensors(self) -> list[tuple[list[str], list[str]]]:
        """See `PatchGraph`."""
        last = [*self._stroke_names(), "up"]
        return [
            (["stem", "up"], ["down", "head"]),
            (["down", "block.second"], ["block.first", last[0]]),
            (["block.first"], ["block.second"]),
            *(([writer], [reader]) for writer, reader in pairwise(last)),
        ]

    def rectified_sums(self) -> list[tuple[str, str]]:
        """See `PatchGraph`."""
        return [("up", "down"), ("block.second", "block.first")]

    def in_half_precision(self) -> Self:
        """See `PatchGraph`."""
        self.stem, self.up, self.head = InHalf(self.stem), InHalf(self.up), InHalf(self.head)
        normalized: Any = self.down
        normalized.conv = InHalf(normalized.conv)
        self.block.first, self.block.second = InHalf(self.block.first), InHalf(self.block.second)
        self.strokes = nn.ModuleList(InHalf(stroke) for stroke in self.strokes)
        return self

    def layers(self) -> list[str]:
        """See `PatchGraph`."""
        return ["stem", "down", "block.first", "block.second", *self._stroke_names(), "up", "head"]

    def forward(self, frame: Tensor) -> Tensor:
        """See `PatchGraph`."""
        height, width = frame.shape[0], frame.shape[1]
        x = in_patches(frame, self.before, self.after, 4).permute(0, 3, 1, 2).float()  # (1, 48, h, w) in 0..255
        half = functional.relu(self.stem(x))  # four pixels of half the size in each
        quarter = functional.relu(self.block(self.down(half)))
        for stroke in self.strokes:
            quarter = functional.relu(stroke(quarter))
        eaten = len(self.strokes)
        seen = slice(eaten + 1, -eaten or None)
        half = half[:, :, seen, seen]
        return out_of_patches(self.head(functional.relu(half + self.up(quarter))))[:height, :width]

    def _stroke_names(self) -> list[str]:
        return [f"strokes.{i}" for i in range(len(self.strokes))]


class HalfSizeImageGraph(nn.Module):
    """The network `edge-half` for engines that take and give images themselves; as `graph.ImageGraph`.

    Args:
        network: as a checkpoint holds it; it is copied, not changed.
        size: width and height of the frames, in pixels.
    """

    def __init__(self, network: HalfSizeNetwork, size: tuple[int, int]) -> None:
        super().__init__()
        self.stylizer = HalfSizeGraph(network)
        self.size = size
        self.padding = max(network.framing(*size))
        # Such engines have operators for patches, which put a colour's pixels together, not a pixel's colours.
        words, order = in_words().argsort(), colours_together(3, 4)
        stem, head, bias = (self.stylizer.get_parameter(name) for name in ("stem.weight", "head.weight", "head.bias"))
        stem.data = stem.data[:, words][:, order]
        head.data, bias.data = head.data[words][order], bias.data[words][order]
        self.framing = network.framing(*size)

    def forward(self, image: Tensor) -> Tensor:
        """Map (1, 3, H, W) RGB in 0..255 to the same, whole numbers as floats."""
        graph, (width, height) = self.stylizer, self.size
        x = functional.pad(image, self.framing, mode="replicate")
        half = functional.relu(graph.stem(functional.pixel_unshuffle(x, 4)))
        quarter = functional.relu(graph.block(graph.down(half)))
        for stroke in graph.strokes:
            quarter = functional.relu(stroke(quarter))
        eaten = len(graph.strokes)
        seen = slice(eaten + 1, -eaten or None)
        half = half[:, :, seen, seen]
        x = functional.pixel_shuffle(graph.head(functional.relu(half + graph.up(quarter))), 4)
        return x[:, :, :height, :width].clamp(0.0, 255.0).round()


def _convolution(weight: Tensor, bias: Tensor | None) -> nn.Conv2d:
    layer = nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[2], bias=bias is not None)
    layer.weight = nn.Parameter(weight.contiguous(), requires_grad=False)
    layer.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
    return layer


def _taps(outputs: int, first: int) -> Tensor:
    """(outputs, 2, 2, 3): which tap of a convolution over three pixels stands where, of pixels by two.

    Entry (a, m, i, t) is 1 where tap t of output a reads pixel i of block m: where a + t is 2 m + i - ``first``.
    """
    taps = torch.zeros(outputs, 2, 2, 3)
    for output in range(outputs):
        for tap in range(3):
            block, pixel = divmod(output + tap + first, 2)
            taps[output, block, pixel, tap] = 1.0
    return taps


def _blocks(weight: Tensor, outputs: int, first: int) -> Tensor:
    """(O, I, 3, 3) to (``outputs``, ``outputs``, O, 2, 2, I, 2, 2).

    Row and column among the outputs, then O, row and column among the inputs, then I, row and column of the block.
    """
    taps = _taps(outputs, first).to(weight)
    return torch.einsum("amit,bnju,octu->aboijcmn", taps, taps, weight)


def _from_patches(weight: Tensor) -> Tensor:
    """The stem's, (C, 12, 3, 3): from patches of 4x4 pixels to 2x2 pixels of half the size, (4 C, 48, 2, 2)."""
    # The 12 of (2, 2, C, 2, 2, 12, 2, 2) are row, column, colour.
    blocks = _blocks(weight, 2, 0).reshape(2, 2, -1, 2, 2, 2, 2, 3, 2, 2)
    return blocks.permute(0, 1, 2, 3, 5, 4, 6, 7, 8, 9).reshape(4 * weight.shape[0], 48, 2, 2)


def _to_quarter(weight: Tensor) -> Tensor:
    """That of `down`, (O, C, 3, 3), which begins at the second pixel: (O, 4 C, 2, 2)."""
    return _blocks(weight, 1, 1).reshape(weight.shape[0], 4 * weight.shape[1], 2, 2)


def _to_patches(weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """The head's, (12, C, 3, 3) and (12,): from 2x2 pixels to patches of 4x4, (48, 4 C, 2, 2) and (48,)."""
    # The 12 of (2, 2, 12, 2, 2, C, 2, 2) are row, column, colour.
    blocks = _blocks(weight, 2, 0).reshape(2, 2, 2, 2, 3, 2, 2, -1, 2, 2).permute(0, 2, 1, 3, 4, 5, 6, 7, 8, 9)
    biases = bias.reshape(1, 1, 2, 2, 3).expand(2, 2, 2, 2, 3).permute(0, 2, 1, 3, 4)
    return blocks.reshape(48, 4 * weight.shape[1], 2, 2), biases.reshape(48)
