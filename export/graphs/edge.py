"""Deployable graphs of the edge networks: bytes in, bytes out, and only copies at full size.

The first convolution takes 0..255 (its weights contain the division by 255), and the head gives 0..255. A quantized
engine with scale 1 and zero point 0 at both ends computes on the frame's own bytes.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...common.arrays import Size
from ...train.networks import ConvNorm, PatchNetwork, SmoothPatchNetwork
from .base import DeployableGraph, InHalf, Layer, Norm, Range, frozen_copy


class PatchGraph(nn.Module, DeployableGraph):
    """A copy of the edge network for uint8 frames."""

    on_bytes = True
    outliers = 2e-4
    channel_outliers = 1e-3

    def __init__(self, network: PatchNetwork) -> None:
        super().__init__()
        network = in_bytes(frozen_copy(network))
        self.before, self.after = network.framing(8, 8)[:2]  # pixels replicated at sizes divisible by 8
        self.crop = network.crop
        self.stem: nn.Module = network.stem
        self.down = network.down
        self.blocks = network.blocks
        self.up: nn.Module = network.up
        self.strokes = network.strokes
        self.head: nn.Module = network.head
        network.stem.weight.copy_(network.stem.weight[:, in_words()])
        reorder_outputs(network.head, in_words())

    def layers(self) -> list[str]:
        """As `base.DeployableGraph`."""
        blocks = [f"blocks.{i}.{part}" for i in range(len(self.blocks)) for part in ("first", "second")]
        return ["stem", "down", *blocks, "up", *(f"strokes.{i}" for i in range(len(self.strokes))), "head"]

    def layer(self, name: str) -> Layer:
        """As `base.DeployableGraph`."""
        part: Any = self.get_submodule(name)
        if isinstance(part, ConvNorm):
            return Layer(part.conv.weight, None, Norm(part.norm.weight, part.norm.bias, part.norm.eps))
        return Layer(part.weight, part.bias, None)

    def rectified(self) -> list[str]:
        """The stem and the strokes."""
        return ["stem", *(f"strokes.{i}" for i in range(len(self.strokes)))]

    def shared_tensors(self) -> list[tuple[list[str], list[str]]]:
        """Tensors at 1/4, at 1/8, inside each block, and at 1/4 size again: ReLU and sums pass positive gains."""
        inner = [(f"blocks.{i}.first", f"blocks.{i}.second") for i in range(len(self.blocks))]
        last = [*(f"strokes.{i}" for i in range(len(self.strokes))), "head"]
        return [
            (["stem", "up"], ["down", last[0]]),
            (["down", *(second for _, second in inner)], [*(first for first, _ in inner), "up"]),
            *(([first], [second]) for first, second in [*inner, *pairwise(last)]),
        ]

    def clipped_ranges(self, results: Mapping[str, Range]) -> dict[str, Range]:
        """As `base.DeployableGraph`: below -max(stem), the results of ``up`` vanish in the ReLU after the sum.

        Trained networks may go a hundred times lower, which would leave few steps for the rest. A bilinear enlargement
        mixes clipped values into their neighbours; wider steps harm more (docs/decisions/001-bilinear-in-8-bits.md).
        """
        low, high = results["up"]
        return {"up": (max(low, -results["stem"][1]), high)}

    def in_half_precision(self) -> Self:
        """As `base.DeployableGraph`."""
        self.stem, self.up, self.head = InHalf(self.stem), InHalf(self.up), InHalf(self.head)
        blocks: Any = self.blocks
        for block in blocks:
            block.second = InHalf(block.second)
        self.strokes = nn.ModuleList(InHalf(stroke) for stroke in self.strokes)
        normalized: list[Any] = [self.down, *(block.first for block in blocks)]
        for layer in normalized:
            layer.conv = InHalf(layer.conv)
        return self

    def forward(self, frame: Tensor) -> Tensor:
        """Stylize one frame, (H, W, 3) uint8 RGB to the same; any H, W of at least 1."""
        height, width, crop = frame.shape[0], frame.shape[1], self.crop
        x = _in_patches(frame, self.before, self.after)
        x = x.permute(0, 3, 1, 2).float()  # (1, 48, h, w) in 0..255
        quarter = functional.relu(self.stem(x))
        eighth = self.blocks(self.down(quarter))
        quarter = functional.relu(self.enlarged(quarter, eighth))
        for stroke in self.strokes:
            quarter = functional.relu(stroke(quarter))
        x = self.head(quarter).round().clamp(0.0, 255.0).to(torch.uint8).permute(0, 2, 3, 1)
        rows, columns = x.shape[1], x.shape[2]
        x = x.reshape(rows, 3 * columns, 4, 4).permute(0, 2, 1, 3).reshape(4 * rows, 4 * columns, 3)
        result: Tensor = x[crop : crop + height, crop : crop + width]
        return result

    def enlarged(self, quarter: Tensor, eighth: Tensor) -> Tensor:
        """As `PatchNetwork.enlarged`."""
        x: Tensor = self.up(eighth).permute(0, 2, 3, 1)  # (1, h', w', 4 C), patches of 2x2
        rows, columns = x.shape[1], x.shape[2]
        x = x.reshape(rows, columns, 2, -1).permute(0, 2, 1, 3).reshape(1, 2 * rows, 2 * columns, -1)
        return quarter[:, :, 1:, 1:] + x.permute(0, 3, 1, 2)


class SmoothPatchGraph(PatchGraph):
    """`PatchGraph` of the low-passed edge network."""

    outliers = 4e-4  # 2e-4 kept 1.6 dB more and flickered 1.054 times as much as in float, of 1.05 allowed
    most_flicker = 1.035  # the rounding after the bilinear enlargement is not simulated (1.044; 1.052 in `verify`)

    def enlarged(self, quarter: Tensor, eighth: Tensor) -> Tensor:
        """As `SmoothPatchNetwork.enlarged`."""
        return quarter[:, :, 1:-1, 1:-1] + functional.interpolate(self.up(eighth), scale_factor=2.0, mode="bilinear")


def _in_patches(frame: Tensor, before: int, after: int) -> Tensor:
    """Extend a frame as `PatchNetwork.framing` says, and cut 4x4 patches: (H, W, 3) to (1, h, w, 48)."""
    height, width = frame.shape[0], frame.shape[1]
    rows, columns = ((length + 7) // 8 * 8 + before + after for length in (height, width))
    # Engines copy rows quickly, and words of 4 bytes if those change places only once: first order rows, then words.
    places = (torch.arange(rows) - before).clamp(0, height - 1).reshape(-1, 4).t().reshape(-1)
    x = frame.index_select(0, places)
    # A symbolic size adds all 7 and cuts them again, because the graph of any size has no branch.
    after = columns - before - width if type(width) is int else after + 7
    x = torch.cat([x[:, :1]] * before + [x] + [x[:, width - 1 :]] * after, 1).narrow(1, 0, columns)
    return x.reshape(4, -1, 4).permute(1, 0, 2).reshape(1, rows // 4, columns // 4, 48)


class PatchImageGraph(nn.Module):
    """A copy of an edge network for frames of one size; see `base.ImageGraph`."""

    def __init__(self, network: PatchNetwork, size: Size) -> None:
        super().__init__()
        self.network = in_bytes(frozen_copy(network))
        self.size = size
        self.padding = max(network.framing(*size))
        # These engines' patch operators put together a colour's pixels, not a pixel's colours.
        stem = self.network.stem
        stem.weight.copy_(stem.weight[:, colours_together(3, 4)])
        reorder_outputs(self.network.head, colours_together(3, 4))
        if not isinstance(network, SmoothPatchNetwork):
            reorder_outputs(self.network.up, colours_together(stem.out_channels, 2))

    def forward(self, image: Tensor) -> Tensor:
        """Map (1, 3, H, W) RGB in 0..255 to the same, whole numbers as floats."""
        network = self.network
        (width, height), crop = self.size, network.crop
        x = functional.pad(image, network.framing(width, height), mode="replicate")
        quarter = functional.relu(network.stem(functional.pixel_unshuffle(x, 4)))
        eighth = network.blocks(network.down(quarter))
        quarter = functional.relu(self.enlarged(quarter, eighth))
        for stroke in network.strokes:
            quarter = functional.relu(stroke(quarter))
        x = functional.pixel_shuffle(network.head(quarter), 4)
        return x[:, :, crop : crop + height, crop : crop + width].clamp(0.0, 255.0).round()

    def enlarged(self, quarter: Tensor, eighth: Tensor) -> Tensor:
        """As the network's own `enlarged`."""
        if isinstance(self.network, SmoothPatchNetwork):
            return self.network.enlarged(quarter, eighth)
        return quarter[:, :, 1:, 1:] + functional.pixel_shuffle(self.network.up(eighth), 2)


def in_bytes(network: PatchNetwork) -> PatchNetwork:
    """Change a network in place: it takes and gives 0..255, and downsamples by one strided convolution."""
    network.down = network.down.strided().requires_grad_(False)
    network.stem.weight.div_(255.0)
    for values in network.head.parameters():
        values.mul_(255.0)
    return network


def reorder_outputs(layer: nn.Conv2d, order: Tensor) -> None:
    """Change the order of a convolution's output channels in place."""
    for values in layer.parameters():
        values.copy_(values[order])


def in_words() -> Tensor:
    """Index, in row order, of each byte of a 4x4 patch in column order of its 4-byte words (three words a row)."""
    return torch.arange(48).reshape(4, 3, 4).transpose(0, 1).reshape(-1)


def colours_together(channels: int, side: int) -> Tensor:
    """Index, in the order of `networks.split_patches`, of each channel in the order of ``pixel_unshuffle``."""
    return torch.arange(side * side * channels).reshape(side * side, channels).t().reshape(-1)
