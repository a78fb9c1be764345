"""The deployable graphs of the edge network: bytes in, bytes out, and nothing at full size but copies.

The first convolution takes 0..255 (the division by 255 is in its weights) and the head gives 0..255: a quantized engine
that rounds with scale 1 and zero point 0 at both ends computes on the frame's own bytes.
"""

import copy
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..train.networks import PatchNetwork
from .graph import InHalf


class PatchGraph(nn.Module):
    """The edge network with all pre- and post-processing inside; interface and promises of `graph.DeployableGraph`.

    Args:
        network: as a checkpoint holds it; it is copied, not changed.
    """

    def __init__(self, network: PatchNetwork) -> None:
        super().__init__()
        network = in_bytes(copy.deepcopy(network).requires_grad_(False).eval())
        self.margin = network.margin
        self.stem: nn.Module = network.stem
        self.down = network.down
        self.blocks = network.blocks
        self.up: nn.Module = network.up
        self.strokes = network.strokes
        self.head: nn.Module = network.head

    def rectified(self) -> list[str]:
        """Names of the layers whose results go through a ReLU at once: what is below zero needs no steps."""
        return ["stem", *(f"strokes.{i}" for i in range(len(self.strokes)))]

    def normalized(self) -> list[str]:
        """Names of the layers whose results are normalized at once: their channels' gains are free."""
        return ["down", *(f"blocks.{i}.first" for i in range(len(self.blocks)))]

    def in_half_precision(self) -> Self:
        """Hold the weights in float16 and compute the convolutions in it; sums stay in float32."""
        self.stem, self.up, self.head = InHalf(self.stem), InHalf(self.up), InHalf(self.head)
        blocks: Any = self.blocks
        for block in blocks:
            block.second = InHalf(block.second)
        self.strokes = nn.ModuleList(InHalf(stroke) for stroke in self.strokes)
        normalized: list[Any] = [self.down, *(block.first for block in blocks)]
        for layer in normalized:
            layer.conv = InHalf(layer.conv)
        return self

    def layers(self) -> list[str]:
        """Names of the convolutions, in the order in which they are computed."""
        blocks = [f"blocks.{i}.{part}" for i in range(len(self.blocks)) for part in ("first", "second")]
        return ["stem", "down", *blocks, "up", *(f"strokes.{i}" for i in range(len(self.strokes))), "head"]

    def forward(self, frame: Tensor) -> Tensor:
        """Stylize one frame.

        Args:
            frame: (H, W, 3) uint8 RGB; any H, W of at least 1.

        Returns:
            (H, W, 3) uint8 RGB.
        """
        height, width, margin = frame.shape[0], frame.shape[1], self.margin
        x = _framed(_framed(frame, margin, 0), margin, 1)  # (rows, columns, 3)
        rows, columns = x.shape[0], x.shape[1]
        # Rows and columns change places in pieces of 12 bytes, four pixels, at the speed of a copy.
        x = x.reshape(rows // 4, 4, columns // 4, 12).permute(0, 2, 1, 3).reshape(1, rows // 4, columns // 4, 48)
        x = x.permute(0, 3, 1, 2).float()  # (1, 48, h, w) in 0..255
        quarter = functional.relu(self.stem(x))
        eighth = self.blocks(self.down(quarter))
        x = self.up(eighth).permute(0, 2, 3, 1)  # (1, h / 2, w / 2, 4 C), patches of 2x2
        x = x.reshape(rows // 8, columns // 8, 2, -1).permute(0, 2, 1, 3).reshape(1, rows // 4, columns // 4, -1)
        quarter = functional.relu(quarter + x.permute(0, 3, 1, 2))
        for stroke in self.strokes:
            quarter = functional.relu(stroke(quarter))
        x = self.head(quarter).round().clamp(0.0, 255.0).to(torch.uint8).permute(0, 2, 3, 1)
        # Rows of the margin go before those of the patches are laid out: there are fewer to lay out then.
        down = (height + 3) // 4
        x = x[:, margin // 4 : margin // 4 + down].reshape(down, columns // 4, 4, 12).permute(0, 2, 1, 3)
        result: Tensor = x.reshape(4 * down, columns, 3)[:height, margin : margin + width]
        return result


def _framed(x: Tensor, margin: int, side: int) -> Tensor:
    """A frame with its margin along one side, and with what fills up to a multiple of 8, both replicated."""
    length = x.shape[side]
    filled = (length + 7) // 8 * 8 + 2 * margin
    # Of a size that is not a number yet all of 7 are added, and cut again: the graph of any size has no branch.
    after = filled - margin - length if type(length) is int else margin + 7
    first, last = x.narrow(side, 0, 1), x.narrow(side, length - 1, 1)
    return torch.cat([first] * margin + [x] + [last] * after, side).narrow(side, 0, filled)


class PatchImageGraph(nn.Module):
    """The edge network for engines that take and give images themselves; as `graph.ImageGraph`.

    Args:
        network: as a checkpoint holds it; it is copied, not changed.
        size: width and height of the frames, in pixels.
    """

    def __init__(self, network: PatchNetwork, size: tuple[int, int]) -> None:
        super().__init__()
        self.network = in_bytes(copy.deepcopy(network).requires_grad_(False).eval())
        self.size = size
        self.padding = network.margin + 7
        # Such engines have operators for patches, which put a colour's pixels together, not a pixel's colours.
        network = self.network
        network.stem.weight.copy_(network.stem.weight[:, colours_together(3, 4)])
        for layer, channels, side in ((network.up, network.up.out_channels // 4, 2), (network.head, 3, 4)):
            order = colours_together(channels, side)
            layer.weight.copy_(layer.weight[order])
            if layer.bias is not None:
                layer.bias.copy_(layer.bias[order])

    def forward(self, image: Tensor) -> Tensor:
        """Map (1, 3, H, W) RGB in 0..255 to the same, whole numbers as floats."""
        network = self.network
        (width, height), margin = self.size, network.margin
        x = functional.pad(image, (margin, margin - width % -8, margin, margin - height % -8), mode="replicate")
        quarter = functional.relu(network.stem(functional.pixel_unshuffle(x, 4)))
        eighth = network.blocks(network.down(quarter))
        quarter = functional.relu(quarter + functional.pixel_shuffle(network.up(eighth), 2))
        for stroke in network.strokes:
            quarter = functional.relu(stroke(quarter))
        x = functional.pixel_shuffle(network.head(quarter), 4)
        return x[:, :, margin : margin + height, margin : margin + width].clamp(0.0, 255.0).round()


def in_bytes(network: PatchNetwork) -> PatchNetwork:
    """Change the weights in place so that the network takes and gives 0..255."""
    network.stem.weight.div_(255.0)
    network.head.weight.mul_(255.0)
    if network.head.bias is not None:
        network.head.bias.mul_(255.0)
    return network


def colours_together(channels: int, side: int) -> Tensor:
    """Where a channel of ``pixel_unshuffle``'s order stands in that of `networks.split_patches`."""
    return torch.arange(side * side * channels).reshape(side * side, channels).t().reshape(-1)
