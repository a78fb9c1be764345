"""Stylizing networks: feed-forward, fully convolutional, RGB in [0, 1] in and out.

For edge engines they up-sample by nearest neighbour and convolution, not transposed convolution or reflection, and
normalize with an epsilon that survives float16. No operation depends on the frame's size.

Zero padding must not reach the picture: it would draw a frame around it and reveal positions. The input is padded once
by replication, downward convolutions take no padding, residual blocks replicate, and upward convolutions pad with zeros
into a margin that is cropped. In the edge networks only the first block's first convolution replicates, against a line
along the border; the others pad with zeros, which is fastest in 8 bits.
"""

import reprlib
from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

Padding = Literal["none", "zeros", "replicate"]

NORM_EPSILON = 1e-3  # large enough for float16 variances
TANH_GAIN = 150.0 / 255.0  # half range of the output before clipping; over 0.5, so that tanh reaches black and white


class ConvNorm(nn.Module):
    """Convolution without bias (normalization removes it), instance normalization, ReLU; padded by half the kernel."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, *, padding: Padding, relu: bool = True
    ) -> None:
        super().__init__()
        margin = 0 if padding == "none" else kernel // 2
        mode: Literal["zeros", "replicate"] = "replicate" if padding == "replicate" else "zeros"
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=margin, padding_mode=mode, bias=False)
        self.norm = nn.InstanceNorm2d(outputs, eps=NORM_EPSILON, affine=True)
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H', W'); H' = H / stride with padding."""
        x = self.norm(self.conv(x))
        return functional.relu(x) if self.relu else x

    def strided(self) -> "ConvNorm":
        """The same layer as one convolution before its normalization, as engines run it."""
        return self


class Upsample(ConvNorm):
    """Nearest-neighbour enlargement by two, then :class:`ConvNorm`: no checkerboard as of transposed convolution."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, 2 H, 2 W)."""
        return super().forward(functional.interpolate(x, scale_factor=2.0, mode="nearest"))


class Residual(nn.Module):
    """``x + norm(conv(relu(norm(conv(x)))))`` at constant width (He et al. 2016, without the last ReLU)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = ConvNorm(channels, channels, padding="replicate")
        self.second = ConvNorm(channels, channels, padding="replicate", relu=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels, H, W) to the same shape."""
        second: Tensor = self.second(self.first(x))
        return x + second


class EncoderDecoder(nn.Module):
    """Two strided convolutions down, residual blocks at a quarter of the size, two upsamplings, tanh.

    ``stem``, ``half`` and ``quarter`` are channels at these sizes; ``kernel`` is that of the first and last
    convolution. ``margin`` px are cropped from each side: a multiple of 4, at least 3 + kernel // 2, the reach of the
    upward zero padding.
    """

    def __init__(self, *, stem: int, half: int, quarter: int, blocks: int, kernel: int, margin: int) -> None:
        super().__init__()
        self.margin = margin
        # The downward convolutions remove kernel // 2 at full size, then 1 at full size and 1 at half size.
        self.padding = margin + kernel // 2 + 3
        self.down = nn.Sequential(
            ConvNorm(3, stem, kernel, padding="none"),
            ConvNorm(stem, half, stride=2, padding="none"),
            ConvNorm(half, quarter, stride=2, padding="none"),
        )
        self.blocks = nn.Sequential(*(Residual(quarter) for _ in range(blocks)))
        self.up = nn.Sequential(Upsample(quarter, half, padding="zeros"), Upsample(half, stem, padding="zeros"))
        self.head = nn.Conv2d(stem, 3, kernel, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        """Stylize (B, 3, H, W) RGB in [0, 1] of any size."""
        height, width, margin = x.shape[2], x.shape[3], self.margin
        x = functional.pad(x, (self.padding,) * 4, mode="replicate")
        x = self.blocks(self.down(x))  # (B, quarter, ceil(H / 4) + margin / 2, ceil(W / 4) + margin / 2)
        x = self.head(self.up(x))
        # A size that is no multiple of 4 comes back up to 3 px larger; the crop removes these too.
        x = x[:, :, margin : margin + height, margin : margin + width]
        return (torch.tanh(x) * TANH_GAIN + 0.5).clamp(0.0, 1.0)


class HalfNormalizedResidual(nn.Module):
    """``x + conv(relu(norm(conv(x))))`` at constant width: one normalization a block, half of `Residual`'s."""

    def __init__(self, channels: int, *, padding: Padding = "zeros") -> None:
        super().__init__()
        self.first = ConvNorm(channels, channels, padding=padding)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        with torch.no_grad():  # near the identity at first, in place of a normalization
            self.second.weight.mul_(0.3)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels, H, W) to the same shape."""
        second: Tensor = self.second(self.first(x))
        return x + second


class PatchNetwork(nn.Module):
    """The edge network: patches of 4x4 pixels in and out, most of the work at an eighth of the size.

    Made for 8 bits from end to end (docs/decisions/005 has the search). Nothing is computed at full size: the first
    convolution takes the frame's bytes, and the last one's clipped output is the result. Engines normalize in float, so
    only the eighth is normalized. Without normalization, the network keeps the source's contrast and always needs a
    teacher.

    ``quarter`` and ``eighth`` are channels. ``blocks`` residual blocks work at an eighth; some styles need none.
    ``strokes`` convolutions at a quarter paint detail finer than a patch of the eighth. ``margin`` px, a multiple of 8,
    are replicated beyond each side of the frame; ``crop`` px of it remain at the output and are cropped.
    """

    def __init__(self, *, quarter: int, eighth: int, blocks: int, strokes: int, margin: int) -> None:
        super().__init__()
        self.margin = margin
        self.stem = nn.Conv2d(48, quarter, 3)
        self.down = ConvNorm(quarter, eighth, stride=2, padding="none")
        self.blocks = nn.Sequential(
            *(HalfNormalizedResidual(eighth, padding="zeros" if i else "replicate") for i in range(blocks))
        )
        self.up = nn.Conv2d(eighth, 4 * quarter, 1)
        # The last convolutions take no padding while a margin remains for them to consume.
        eaten = min(margin // 4, strokes + 1)
        borders = [1] * (strokes + 1 - eaten) + [0] * eaten
        self.crop = margin - 4 * eaten
        self.strokes = nn.ModuleList(nn.Conv2d(quarter, quarter, 3, padding=borders[i]) for i in range(strokes))
        self.head = nn.Conv2d(quarter, 48, 3, padding=borders[-1])
        with torch.no_grad():
            self.head.weight.mul_(0.1)  # near mid-grey: large random outputs saturate the clamp and kill gradients
            nn.init.constant_(self.head.get_parameter("bias"), 0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Stylize (B, 3, H, W) RGB in [0, 1]; in training a tenth of what exceeds [0, 1] is kept, for its gradient."""
        height, width, crop = x.shape[2], x.shape[3], self.crop
        x = functional.pad(x, self.framing(width, height), mode="replicate")
        quarter = functional.relu(self.stem(split_patches(x, 4)))
        eighth = self.blocks(self.down(quarter))
        quarter = functional.relu(self.enlarged(quarter, eighth))
        for stroke in self.strokes:
            quarter = functional.relu(stroke(quarter))
        x = join_patches(self.head(quarter), 4)[:, :, crop : crop + height, crop : crop + width]
        inside = x.clamp(0.0, 1.0)
        return inside + 0.1 * (x - inside) if self.training else inside

    def enlarged(self, quarter: Tensor, eighth: Tensor) -> Tensor:
        """Enlarge the eighth to a quarter of the size and add it to ``quarter``: (B, quarter, h, w)."""
        return quarter[:, :, 1:, 1:] + join_patches(self.up(eighth), 2)

    def framing(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Px added to a frame before the first convolution: left, right, top and bottom.

        Margin, padding to a multiple of 8, 4 for ``stem``; at the left and top 4 more for the stride of ``down``.
        """
        before, after = self.margin + 8, self.margin + 4
        return before, after - width % -8, before, after - height % -8


class LowPassDown(ConvNorm):
    """A 3x3 convolution without padding, the mean of 2x2, instance normalization, ReLU: half the size, less aliasing.

    A strided convolution's output changes when its input moves by one; the mean removes most of that (Zhang 2019,
    "Making Convolutional Networks Shift-Invariant Again"). As one 4x4 convolution of stride 2 (`strided`), it costs a
    tenth more than the plain one.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, (H - 2) / 2, (W - 2) / 2)."""
        return functional.relu(self.norm(functional.avg_pool2d(self.conv(x), 2)))

    def strided(self) -> ConvNorm:
        """The same layer as one 4x4 convolution of stride 2, with the same normalization module."""
        outputs, inputs = self.conv.weight.shape[:2]
        layer = ConvNorm(inputs, outputs, 4, 2, padding="none")
        with torch.no_grad():
            layer.conv.weight.zero_()
            for row in (0, 1):
                for column in (0, 1):
                    layer.conv.weight[:, :, row : row + 3, column : column + 3] += self.conv.weight / 4
        layer.norm = self.norm
        return layer.train(self.training)


class SmoothPatchNetwork(PatchNetwork):
    """The edge network with less aliasing: what it paints follows motions of less than a patch.

    Down to the eighth it is low-passed, upward bilinear. With equal training it paints longer, smoother strokes; in 8
    bits it costs about as much (docs/decisions/001-bilinear-in-8-bits.md).
    """

    def __init__(self, *, quarter: int, eighth: int, blocks: int, strokes: int, margin: int) -> None:
        super().__init__(quarter=quarter, eighth=eighth, blocks=blocks, strokes=strokes, margin=margin)
        self.down = LowPassDown(quarter, eighth, padding="none")
        self.up = nn.Conv2d(eighth, quarter, 1)

    def enlarged(self, quarter: Tensor, eighth: Tensor) -> Tensor:
        """Enlarge the eighth bilinearly to a quarter of the size and add it to ``quarter``."""
        return quarter[:, :, 1:-1, 1:-1] + functional.interpolate(self.up(eighth), scale_factor=2.0, mode="bilinear")

    def framing(self, width: int, height: int) -> tuple[int, int, int, int]:
        """As `PatchNetwork.framing`, with the wider left and top borders on all sides."""
        border = self.margin + 8
        return border, border - width % -8, border, border - height % -8


def split_patches(x: Tensor, side: int) -> Tensor:
    """(B, C, side H, side W) to (B, side² C, H, W).

    Channel (side row + column) C + c is colour c of pixel (row, column), as in 8-bit frames, not ``pixel_unshuffle``.
    """
    batch, channels, height, width = x.shape
    x = x.reshape(batch, channels, height // side, side, width // side, side).permute(0, 3, 5, 1, 2, 4)
    return x.reshape(batch, side * side * channels, height // side, width // side)


def join_patches(x: Tensor, side: int) -> Tensor:
    """Invert `split_patches`: (B, side² C, H, W) to (B, C, side H, side W)."""
    batch, channels, height, width = x.shape
    x = x.reshape(batch, side, side, channels // (side * side), height, width).permute(0, 3, 4, 1, 5, 2)
    return x.reshape(batch, channels // (side * side), side * height, side * width)


ARCHITECTURES: Mapping[str, tuple[Callable[..., nn.Module], dict[str, int]]] = {
    # Huang et al. 2017, section 4.1 and table 1; nearest + convolution stands in for its deconvolutions.
    "huang2017": (EncoderDecoder, {"stem": 16, "half": 32, "quarter": 48, "blocks": 5, "kernel": 3, "margin": 4}),
    # Johnson et al. 2016, supplementary table 1; the same substitution.
    "johnson2016": (EncoderDecoder, {"stem": 32, "half": 64, "quarter": 128, "blocks": 5, "kernel": 9, "margin": 8}),
    "edge": (PatchNetwork, {"quarter": 48, "eighth": 64, "blocks": 2, "strokes": 2, "margin": 8}),
    "edge-lp": (SmoothPatchNetwork, {"quarter": 48, "eighth": 64, "blocks": 2, "strokes": 2, "margin": 8}),
}
"""Name -> (class, default sizes)."""

_RANGES = {"blocks": (0, 64), "strokes": (0, 64), "kernel": (1, 31), "margin": (0, 64)}


def multiplications(network: nn.Module, size: tuple[int, int]) -> int:
    """Multiply-accumulates of the convolutions for one frame; ``size`` is (width, height) in px."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 3, size[1], size[0]))
    return int(counter.get_total_flops()) // 2  # a multiplication and an addition each


def cost(architecture: str, size: tuple[int, int], sizes: Mapping[str, int] | None = None) -> tuple[int, int]:
    """Multiply-accumulates for one (width, height) frame, and number of weights; ValueError as in `resolve_sizes`."""
    with torch.device("meta"):  # shapes alone: nothing is computed
        network = build_network(architecture, sizes)
        return multiplications(network, size), sum(value.numel() for value in network.parameters())


def resolve_sizes(architecture: str, sizes: Mapping[str, int] | None = None) -> dict[str, int]:
    """Default sizes of an architecture, overridden by ``sizes``; ValueError for an unknown name or a size out of range.

    Channels are 1 to 4096, blocks and strokes 0 to 64; the margin fits the network's grid and kernel.
    """
    if architecture not in ARCHITECTURES:
        raise ValueError(f"unknown network '{architecture}': choose one of {', '.join(ARCHITECTURES)}")
    defaults = ARCHITECTURES[architecture][1]
    unknown = sorted(set(sizes or {}) - set(defaults))
    if unknown:
        raise ValueError(f"network '{architecture}' has no size '{unknown[0]}': it has {', '.join(defaults)}")
    resolved = {**defaults, **(sizes or {})}
    for key, value in resolved.items():
        least, most = _RANGES.get(key, (1, 4096))
        if type(value) is not int or not least <= value <= most:
            raise ValueError(
                f"network '{architecture}' takes {least} to {most} for its size '{key}', not {reprlib.repr(value)}"
            )
    kernel, margin = resolved.get("kernel"), resolved["margin"]
    if margin % (8 if kernel is None else 4) or (kernel and (kernel % 2 == 0 or margin < 3 + kernel // 2)):
        raise ValueError(f"network '{architecture}' has no such margin and kernel: the defaults are {defaults}")
    return resolved


def build_network(architecture: str, sizes: Mapping[str, int] | None = None) -> nn.Module:
    """Build a network of RGB in [0, 1] with fresh weights; ``sizes`` and ValueError as in `resolve_sizes`."""
    resolved = resolve_sizes(architecture, sizes)
    return ARCHITECTURES[architecture][0](**resolved)
