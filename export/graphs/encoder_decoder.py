"""Graphs of the encoder-decoders (Huang et al. 2017, Johnson et al. 2016), rewritten for speed.

* The first convolution contains the division by 255.
* A nearest enlargement by two and its 3x3 convolution become one 2x2 convolution of the small picture, with 4/9 of the
  products. Its channels are the pixels of each 2x2 block of the enlarged picture.
* After the last enlargement, tensors stay in blocks at half size. Only the final RGB picture is laid out in rows.

*The grid.* The enlarged picture has rows 0 .. 2h - 1. Block row p (0 .. h) holds rows 2p - 1 and 2p; columns likewise.
So the 3 taps on either row touch only rows p - 1 and p of the small picture. Rows -1 and 2h are cut off or left out.
"""

from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...common.arrays import Size
from ...train.networks import TANH_GAIN, ConvNorm, EncoderDecoder, Upsample
from .base import DeployableGraph, InHalf, Layer, Norm, frozen_copy


class EncoderDecoderGraph(nn.Module, DeployableGraph):
    """A copy of the network for uint8 frames."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        own: Any = frozen_copy(network)
        self.padding, self.margin = own.padding, own.margin
        self.down, self.blocks = own.down, own.blocks
        self.up = nn.Sequential(*(QuickUpsample(layer) for layer in own.up[:-1]))
        self.tail = HalfSizeTail(own.up[-1], own.head, self.margin)
        next(self.down.parameters()).div_(255.0)

    def in_half_precision(self) -> Self:
        """As `base.DeployableGraph`; normalizations stay in float32, because float16 cannot sum over a frame.

        The bundled model's convolutions once gave at most 550 on real frames and 1,431 on artificial ones. The limit of
        float16 is 65,504.
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
        """As `base.DeployableGraph`, without the tail's normalization, a convolution with weights from the frame."""
        down = [f"down.{i}" for i in range(len(self.down))]
        blocks = [f"blocks.{i}.{part}" for i in range(len(self.blocks)) for part in ("first", "second")]
        up = [f"up.{i}" for i in range(len(self.up))]
        return [*down, *blocks, *up, "tail.up", "tail.head"]

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
    """A copy of the network as trained; see `base.ImageGraph`. It rounds, because engines may round or truncate.

    Instance normalization and enlargement stay operators, which the engine's compiler optimizes itself.

    *For float16.* IN(a x) = IN(x) with epsilon a² epsilon. Scaled weights before each normalization keep activations in
    the tens and the mean of their squares far below float16's limit, 65,504. Weights and epsilons stay above 6.1e-5,
    where float16 loses digits.
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
        # Its input is 0..255, not 0..1 as in training, which also scales the input of the norm.
        first.norm.eps *= 255.0**2
        scale_before_norm(first, 1 / 4)

    def forward(self, image: Tensor) -> Tensor:
        """Map (1, 3, H, W) RGB in 0..255 to the same, whole numbers as floats."""
        network = self.network
        # The image's shape would become part of the graph.
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
    """An `Upsample` (nearest ×2, 3x3 convolution to C channels, instance norm, ReLU) computed on the small picture."""

    def __init__(self, upsample: Upsample) -> None:
        super().__init__()
        self.norm = upsample.norm
        self.weight: Tensor = nn.Buffer(blocks_of_upsampled(upsample.conv.weight))

    def forward(self, x: Tensor) -> Tensor:
        """Map (1, inputs, h, w) to (1, C, 2 h, 2 w)."""
        grid = functional.conv2d(x.to(self.weight.dtype), self.weight, padding=1)  # (1, 4 C, h + 1, w + 1)
        grid = grid.to(self.norm.weight.dtype)
        rows, columns = grid.shape[2], grid.shape[3]
        # With channels last, rows and columns change places in pieces of 2 C values, as fast as a copy.
        blocks = grid.permute(0, 2, 3, 1).reshape(rows, columns, 2, -1).permute(0, 2, 1, 3)
        framed = blocks.reshape(2 * rows, 2 * columns, -1)
        enlarged = functional.pad(framed, (0, 0, -1, -1, -1, -1))  # one cut where slicing would be two
        return functional.relu(self.norm(enlarged.permute(2, 0, 1).unsqueeze(0)))


class HalfSizeTail(nn.Module):
    """The last `Upsample` and the RGB head (any odd kernel), computed on the grid's blocks at half size.

    The statistics leave out the grid's extra rows and columns. The crop of `margin` pixels a side removes the border
    that the head computes from them; ValueError if the crop is narrower than the head's reach.
    """

    def __init__(self, upsample: Upsample, head: nn.Conv2d, margin: int) -> None:
        super().__init__()
        norm = upsample.norm
        self.reach = head.kernel_size[0] // 2
        if margin < self.reach:
            raise ValueError(f"a crop of {margin} pixels does not hide the border that the head reaches, {self.reach}")
        self.epsilon = norm.eps
        self.up_weight: Tensor = nn.Buffer(blocks_of_upsampled(upsample.conv.weight))
        self.norm_weight, self.norm_bias = norm.weight, norm.bias
        self.head_weight: Tensor = nn.Buffer(blocks_of_convolution(head.weight))
        self.head_bias: Tensor = nn.Buffer(head.get_parameter("bias").repeat(4))

    def forward(self, x: Tensor) -> Tensor:
        """Map (1, inputs, h, w) to (1, 12, h, w); channel (2 a + b) 3 + c is colour c of pixel (2 i + a, 2 j + b)."""
        pixels = 4 * x.shape[2] * x.shape[3]
        kind, own_kind = self.up_weight.dtype, self.norm_weight.dtype  # different in half precision only
        grid = functional.conv2d(x.to(kind), self.up_weight, padding=1).to(own_kind)  # (1, 4 C, h + 1, w + 1)
        # Not `InstanceNorm2d`, because each channel is spread over four here.
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
    """Sums of each channel and of its squares, (C,) each, over the enlarged picture without the grid's excess.

    `grid` is (4 C, h + 1, w + 1); channel (2 a + b) C + c is channel c in row a and column b of the block.
    """
    channels = grid.shape[0] // 4
    # Outside are row 0 of the first blocks and row 1 of the last ones; columns likewise. Strips are cut before they are
    # sorted by place in the block, so that nothing large is copied.
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
    """Weights (4 C, inputs, 2, 2), for a padding of 1, that compute the grid's blocks from the small picture.

    `weight` is (C, inputs, 3, 3), for use after a nearest enlargement by two. Row 2p - 1 + a of the enlarged picture
    has its taps on the small picture's rows p - 1, p - 1, p for a = 0, and p - 1, p, p for a = 1.
    """
    taps = weight.new_tensor([[[1, 1, 0], [0, 0, 1]], [[1, 0, 0], [0, 1, 1]]])  # row of the block, small row, tap
    blocks = torch.einsum("aik,bjl,cnkl->abcnij", taps, taps, weight)
    return blocks.reshape(-1, weight.shape[1], 2, 2)


def blocks_of_convolution(weight: Tensor) -> Tensor:
    """Weights of a convolution from the grid's blocks to one block per half-size pixel, for a padding of reach // 2.

    `weight` is (outputs, C, k, k), k odd, zero-padded by reach = k // 2; the result is (4 outputs, 4 C, n, n). Row
    2 i + a of the result has its taps on rows 2 i + a - reach + t of the enlarged picture, t = 0 .. 2 reach; row r is
    in block (r + 1) // 2.
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
