"""The graphs of the encoder-decoders (Huang et al. 2017, Johnson et al. 2016), rewritten to be quick.

* The division by 255 is folded into the first convolution.
* An enlargement by two (nearest neighbour) and the 3x3 convolution after it become one 2x2 convolution of the small
  picture, 4/9 of the products, whose channels are the four pixels of each 2x2 block of the enlarged picture.
* After the last enlargement everything stays in such blocks, at half size: the head reads them where they are, and only
  the finished 3-channel picture is laid out in rows and columns.

*The grid.* Let the enlarged picture have rows 0 .. 2h - 1. Block row p of the grid (p = 0 .. h) holds its rows 2p - 1
and 2p, and likewise for columns: shifted by one against the pixels, so that the 3 taps on either row of a block touch
the small picture's rows p - 1 and p only. The grid holds too much, rows -1 and 2h, which are cut off or left out.
"""

from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...common.arrays import Size
from ...train.networks import TANH_GAIN, ConvNorm, EncoderDecoder, Upsample
from .base import DeployableGraph, InHalf, Layer, Norm, frozen_copy


class EncoderDecoderGraph(nn.Module, DeployableGraph):
    """The network for uint8 frames.

    Args:
        network: as a checkpoint holds it; it is copied, not changed.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        own: Any = frozen_copy(network)
        self.padding, self.margin = own.padding, own.margin
        self.down, self.blocks = own.down, own.blocks
        self.up = nn.Sequential(*(QuickUpsample(layer) for layer in own.up[:-1]))
        self.tail = HalfSizeTail(own.up[-1], own.head, self.margin)
        next(self.down.parameters()).div_(255.0)

    def in_half_precision(self) -> Self:
        """As `base.DeployableGraph`.

        The normalizations sum over a frame, which float16 can neither hold nor add up. What a convolution of the
        bundled model gave, measured at an earlier step, was at most 550 on real frames and 1,431 on artificial ones;
        float16 overflows at 65,504.
        """
        for layer in [*self.down, *(part for block in self.blocks for part in (block.first, block.second))]:
            layer.conv = InHalf(layer.conv)
        for layer in self.up:
            layer.weight = layer.weight.half()
        tail = self.tail
        tail.up_weight, tail.head_weight, tail.head_bias = (
            tensor.half() for tensor in (tail.up_weight, tail.head_weight, tail.head_bias)
        )
        return self

    def layers(self) -> list[str]:
        """As `base.DeployableGraph`.

        The normalization of the tail, computed as a depthwise convolution with weights that depend on the frame, is not
        among them.
        """
        blocks = [f"blocks.{i}.{part}" for i in range(len(self.blocks)) for part in ("first", "second")]
        return [
            *(f"down.{i}" for i in range(len(self.down))),
            *blocks,
            *(f"up.{i}" for i in range(len(self.up))),
            "tail.up",
            "tail.head",
        ]

    def layer(self, name: str) -> Layer:
        """As `base.DeployableGraph`."""
        tail = self.tail
        if name == "tail.head":
            return Layer(tail.head_weight, tail.head_bias, None)
        if name == "tail.up":
            return Layer(tail.up_weight, None, Norm(tail.norm_weight, tail.norm_bias, tail.epsilon))
        part: Any = self.get_submodule(name)
        weight = part.weight if name.startswith("up.") else part.conv.weight
        return Layer(weight, None, Norm(part.norm.weight, part.norm.bias, part.norm.eps))

    def forward(self, frame: Tensor) -> Tensor:
        """Stylize one frame, (H, W, 3) uint8 RGB to the same; any H, W of at least 1."""
        height, width, margin = frame.shape[0], frame.shape[1], self.margin
        x = frame.permute(2, 0, 1).unsqueeze(0).float()  # (1, 3, H, W) in 0..255
        x = functional.pad(x, (self.padding,) * 4, mode="replicate")
        x = self.tail(self.up(self.blocks(self.down(x))))  # (1, 12, h, w), a 2x2 block of RGB pixels in each pixel
        x = torch.tanh(x.permute(0, 2, 3, 1)) * (255.0 * TANH_GAIN) + 127.5
        x = x.round().clamp(0.0, 255.0).to(torch.uint8)
        half_height, half_width = x.shape[1], x.shape[2]
        # (row, column, row in the block, column in the block and colour) -> rows and columns of the picture.
        x = x.reshape(half_height, half_width, 2, 6).permute(0, 2, 1, 3).reshape(2 * half_height, 2 * half_width, 3)
        return x[margin : margin + height, margin : margin + width]


class EncoderDecoderImageGraph(nn.Module):
    """The network as it was trained; see `base.ImageGraph`.

    Instance normalization and enlargement stay operators of their own, which such an engine's compiler knows best
    unrewritten. The result is rounded here, so that it does not depend on whether the engine rounds or truncates.

    *For float16.* IN(a x) = IN(x) where epsilon becomes a² epsilon: the weights before each normalization are scaled,
    so that activations stay in the tens, their squares, whose mean the normalization takes, far below the 65504 where
    float16 ends, and weights and epsilons above the 6.1e-5 where it loses digits.

    Args:
        network: as a checkpoint holds it; it is copied, not changed.
        size: width and height of the frames, in pixels.
    """

    def __init__(self, network: nn.Module, size: Size) -> None:
        super().__init__()
        self.network: EncoderDecoder = frozen_copy(network)
        self.size = size
        self.padding = self.network.padding
        for layer in self.network.modules():
            if isinstance(layer, ConvNorm):
                scale_before_norm(layer, 1 / 4)
        first: Any = self.network.down[0]
        # It is given 0..255 where it was trained on 0..1, which scales what the norm sees as well.
        first.norm.eps *= 255.0**2
        scale_before_norm(first, 1 / 4)

    def forward(self, image: Tensor) -> Tensor:
        """Map (1, 3, H, W) RGB in 0..255 to the same, whole numbers as floats."""
        network = self.network
        # Not from the image's shape: taken from there, it becomes part of the graph.
        (width, height), margin = self.size, network.margin
        x = functional.pad(image, (network.padding,) * 4, mode="replicate")
        x = network.head(network.up(network.blocks(network.down(x))))
        x = x[:, :, margin : margin + height, margin : margin + width]
        return (torch.tanh(x) * (255.0 * TANH_GAIN) + 127.5).clamp(0.0, 255.0).round()


def scale_before_norm(layer: ConvNorm, scale: float) -> None:
    """Scale the weights of a `ConvNorm` in place, and its epsilon so that it computes the same."""
    layer.conv.weight.mul_(scale)
    layer.norm.eps *= scale * scale


class QuickUpsample(nn.Module):
    """An `Upsample` computed on the small picture, then laid out in rows and columns.

    Args:
        upsample: nearest ×2, 3x3 convolution to C channels, instance norm, ReLU.
    """

    def __init__(self, upsample: Upsample) -> None:
        super().__init__()
        self.norm = upsample.norm
        self.register_buffer("weight", blocks_of_upsampled(upsample.conv.weight))

    weight: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Map (1, inputs, h, w) to (1, C, 2 h, 2 w)."""
        grid = functional.conv2d(x.to(self.weight.dtype), self.weight, padding=1)  # (1, 4 C, h + 1, w + 1)
        grid = grid.to(self.norm.weight.dtype)
        rows, columns = grid.shape[2], grid.shape[3]
        # With the channels last, rows and columns change places in pieces of 2 C values, at the speed of a copy.
        blocks = grid.permute(0, 2, 3, 1).reshape(rows, columns, 2, -1).permute(0, 2, 1, 3)
        framed = blocks.reshape(2 * rows, 2 * columns, -1)
        enlarged = functional.pad(framed, (0, 0, -1, -1, -1, -1))  # one cut where slicing would be two
        return functional.relu(self.norm(enlarged.permute(2, 0, 1).unsqueeze(0)))


class HalfSizeTail(nn.Module):
    """The last `Upsample` and the head of a network, computed on the grid's blocks at half size.

    What the grid has too much is left out of the statistics, and the network's crop takes off the border that it
    reaches through the head.

    Args:
        upsample: the last enlarging layer: nearest ×2, 3x3 convolution to C channels, instance norm, ReLU.
        head: the convolution to RGB, with any odd kernel.
        margin: pixels that are cropped from each side of the result.

    Raises:
        ValueError: the crop is narrower than the head's reach.
    """

    def __init__(self, upsample: Upsample, head: nn.Conv2d, margin: int) -> None:
        super().__init__()
        norm = upsample.norm
        self.reach = head.kernel_size[0] // 2
        if margin < self.reach:
            raise ValueError(f"a crop of {margin} pixels does not hide the border that the head reaches, {self.reach}")
        self.epsilon = norm.eps
        self.register_buffer("up_weight", blocks_of_upsampled(upsample.conv.weight))
        self.register_buffer("norm_weight", norm.weight)
        self.register_buffer("norm_bias", norm.bias)
        self.register_buffer("head_weight", blocks_of_convolution(head.weight))
        self.register_buffer("head_bias", head.get_parameter("bias").repeat(4))

    up_weight: Tensor
    norm_weight: Tensor
    norm_bias: Tensor
    head_weight: Tensor
    head_bias: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Map (1, inputs, h, w) to (1, 12, h, w); channel (2 a + b) 3 + c is colour c of pixel (2 i + a, 2 j + b)."""
        pixels = 4 * x.shape[2] * x.shape[3]
        kind, own_kind = self.up_weight.dtype, self.norm_weight.dtype  # different in half precision only
        grid = functional.conv2d(x.to(kind), self.up_weight, padding=1).to(own_kind)  # (1, 4 C, h + 1, w + 1)
        # Instance norm by hand, because each of its channels is spread over four here.
        total, squared = sums_inside(grid.reshape(grid.shape[1:]))
        mean = total / pixels
        variance = (squared / pixels - mean * mean).clamp(min=0.0)
        scale = self.norm_weight * torch.rsqrt(variance + self.epsilon)
        shift = self.norm_bias - mean * scale
        # As a depthwise 1x1 convolution, engines do scale, shift and ReLU in one pass over the tensor.
        scale, shift = scale.repeat(4).reshape(-1, 1, 1, 1), shift.repeat(4)
        grid = functional.relu(functional.conv2d(grid, scale, shift, groups=scale.shape[0]))
        return functional.conv2d(grid.to(kind), self.head_weight, self.head_bias, padding=self.reach // 2).to(own_kind)


def sums_inside(grid: Tensor) -> tuple[Tensor, Tensor]:
    """Sums of each channel and of its squares over the enlarged picture, without what the grid holds beyond it.

    Args:
        grid: (4 C, h + 1, w + 1); channel (2 a + b) C + c is channel c in row a and column b of the block.

    Returns:
        Two of (C,).
    """
    channels = grid.shape[0] // 4
    # Outside are the first row of blocks in row 0 of a block and the last one in row 1; columns likewise. The strips
    # are cut before they are sorted by their place in the block, so that nothing large is copied.
    top, bottom, left, right = (
        strip.reshape(2, 2, channels, -1) for strip in (grid[:, :1], grid[:, -1:], grid[:, :, :1], grid[:, :, -1:])
    )
    rows = torch.stack([top[0], bottom[1]])
    columns = torch.stack([left[:, 0], right[:, 1]], 1)
    corners = torch.stack([rows[:, 0, :, 0], rows[:, 1, :, -1]], 1)  # in a row and in a column, taken off twice

    def inside(everything: Tensor, rows: Tensor, columns: Tensor, corners: Tensor) -> Tensor:
        total = everything.sum((1, 2)).reshape(2, 2, channels)
        return (total - rows.sum(3) - columns.sum(3) + corners).sum((0, 1))

    parts = (grid, rows, columns, corners)
    return inside(*parts), inside(*(part * part for part in parts))


def blocks_of_upsampled(weight: Tensor) -> Tensor:
    """Weights that give the grid's blocks straight from the small picture.

    Row 2p - 1 + a of the enlarged picture has its three taps on the small picture's rows p - 1, p - 1, p for a = 0, and
    p - 1, p, p for a = 1.

    Args:
        weight: (C, inputs, 3, 3), of the convolution that follows an enlargement by two (nearest neighbour).

    Returns:
        (4 C, inputs, 2, 2), for a padding of 1.
    """
    taps = weight.new_tensor([[[1, 1, 0], [0, 0, 1]], [[1, 0, 0], [0, 1, 1]]])  # row of the block, small row, tap
    blocks = torch.einsum("aik,bjl,cnkl->abcnij", taps, taps, weight)
    return blocks.reshape(-1, weight.shape[1], 2, 2)


def blocks_of_convolution(weight: Tensor) -> Tensor:
    """Weights of a convolution whose input is the grid's blocks and whose output is a block for each half-size pixel.

    Row 2 i + a of the result has its taps on rows 2 i + a - reach + t of the enlarged picture, t = 0 .. 2 reach; row r
    stands in block (r + 1) // 2.

    Args:
        weight: (outputs, C, k, k), k odd, zero-padded by reach = k // 2.

    Returns:
        (4 outputs, 4 C, n, n), for a padding of reach // 2.
    """
    kernel = weight.shape[2]
    reach = kernel // 2
    first, last = (1 - reach) // 2, (2 + reach) // 2
    taps = weight.new_zeros(2, 2, last - first + 1, kernel)  # row of the output's block, of the grid's, block, tap
    for a in range(2):
        for t in range(kernel):
            block, row = divmod(a - reach + t + 1, 2)
            taps[a, row, block - first, t] = 1.0
    blocks = torch.einsum("aAik,bBjl,ockl->aboABcij", taps, taps, weight)
    return blocks.reshape(4 * weight.shape[0], 4 * weight.shape[1], last - first + 1, last - first + 1)
