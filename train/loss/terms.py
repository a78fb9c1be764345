"""The hybrid loss of Huang et al. 2017 (section 3.2), scale-free.

The paper's weights (alpha = 1, beta = 10, gamma = 1e-3, lambda = 1e4) fit its sums over one loss network. Here content
and style distances are relative to the reference's mean square; total variation and temporal loss are means over pixels
in [0, 1]. So a weight means the same for any loss network, layer set and frame size.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def gram(features: Tensor) -> Tensor:
    """Gram matrix over C·H·W (Johnson et al. 2016, equation 3): (B, C, H, W) float32 or bfloat16 to (B, C, C) float32.

    Channels-last features and their gradient are multiplied without a copy. PyTorch's own gradient would copy them, and
    the convolutions before would lose the faster layout.
    """
    product: Any = _Gram.apply
    result: Tensor = product(features)
    return result


class _Gram(torch.autograd.Function):
    """``FᵀF / N`` for the rows F of a frame's pixels; its gradient is ``F (G + Gᵀ) / N``."""

    @staticmethod
    def forward(ctx: Any, features: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, C) float32."""
        batch, channels, height, width = features.shape
        count = channels * height * width
        last = features.is_contiguous(memory_format=torch.channels_last)
        # (B, pixels, C); with channels first it is a transposed view, which a matrix product accepts.
        rows = (
            features.permute(0, 2, 3, 1).reshape(batch, -1, channels) if last else features.flatten(2).transpose(1, 2)
        )
        ctx.save_for_backward(rows)
        ctx.shape, ctx.last = features.shape, last
        if rows.dtype == torch.bfloat16:
            return torch.bmm(rows.transpose(1, 2), rows).float() / count
        # Scaled before the product: large activations squared and summed would leave float16's range.
        scaled = rows / count**0.5
        return torch.bmm(scaled.transpose(1, 2), scaled)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """Map (B, C, C) to (B, C, H, W) in the features' type and layout."""
        (rows,) = ctx.saved_tensors
        batch, channels, height, width = ctx.shape
        factor = (gradient + gradient.transpose(1, 2)) / (channels * height * width)
        back = torch.bmm(rows, factor.to(rows.dtype))
        if ctx.last:
            return back.view(batch, height, width, channels).permute(0, 3, 1, 2)
        return back.transpose(1, 2).reshape(batch, channels, height, width)


def relative_distance(value: Tensor, reference: Tensor) -> Tensor:
    """Mean squared difference over the reference's mean square, averaged over the batch: 0 when equal."""
    value, reference = value.float().flatten(1), reference.float().flatten(1)
    each = (value - reference).square().mean(1) / reference.square().mean(1).clamp_min(1e-12)
    return each.mean()


def content_loss(features: Mapping[str, Tensor], source: Mapping[str, Tensor]) -> Tensor:
    """Feature reconstruction loss (Huang 2017, equation 2), relative, mean over the layers of ``source``."""
    return torch.stack([relative_distance(features[layer], source[layer]) for layer in source]).mean()


def style_loss(features: Mapping[str, Tensor], style_grams: Mapping[str, Tensor]) -> Tensor:
    """Style loss (Huang 2017, equation 3), relative, layer mean: (B, C, H, W) features, (1, C, C) Gram matrices."""
    return torch.stack([relative_distance(gram(features[layer]), style_grams[layer]) for layer in style_grams]).mean()


def total_variation(frames: Tensor) -> Tensor:
    """Anisotropic total variation: mean absolute difference of neighbours. ``frames``: (B, 3, H, W) in [0, 1]."""
    horizontal = (frames[..., :, 1:] - frames[..., :, :-1]).abs().mean()
    vertical = (frames[..., 1:, :] - frames[..., :-1, :]).abs().mean()
    return horizontal + vertical


_OPPONENT = ((0.2126, 0.7152, 0.0722), (-0.5, 0.0, 0.5), (0.5, -0.5, 0.0))  # luma (BT.709), blue - red, red - green
_LEAST_DEVIATION = 0.02  # of a channel, RGB in [0, 1]: a print in black ink has nearly none between its hues


def colour_moments(frames: Tensor) -> tuple[Tensor, Tensor]:
    """(B, 3) means and (B, 3, 3) covariances of opponent colours of (B, 3, H, W) RGB in [0, 1], averaged over 4x4."""
    small = functional.avg_pool2d(frames, 4).flatten(2)
    colours = frames.new_tensor(_OPPONENT) @ small
    mean = colours.mean(2)
    centred = colours - mean[..., None]
    return mean, centred @ centred.transpose(1, 2) / colours.shape[2]


def colour_distance(moments: tuple[Tensor, Tensor], style: tuple[Tensor, Tensor]) -> Tensor:
    """Distance of `colour_moments` to a painting's (B = 1): 0 when mean and covariance are the same.

    Mean squared differences of means and of covariances, in units of the painting's deviation of each channel.
    """
    (mean, covariance), (wanted_mean, wanted_covariance) = moments, style
    deviation = wanted_covariance.diagonal(dim1=1, dim2=2).sqrt().clamp_min(_LEAST_DEVIATION)  # (1, 3)
    means = (mean - wanted_mean) / deviation
    covariances = (covariance - wanted_covariance) / (deviation[:, :, None] * deviation[:, None, :])
    return means.square().mean() + covariances.square().mean()


class Palette:
    """A painting's colours as a distribution, for the sliced Wasserstein distance (Bonneel et al. 2015).

    Along each of some directions in opponent space, colours are sorted and compared with the painting's of equal rank.
    The painting is (1, 3, H, W) RGB in [0, 1] with sides of at least 4.
    """

    _DIRECTIONS = 16
    _RANKS = 256

    def __init__(self, painting: Tensor) -> None:
        index = torch.arange(self._DIRECTIONS, dtype=torch.float64) + 0.5
        height = 1 - 2 * index / self._DIRECTIONS
        turn = index * math.pi * (1 + 5**0.5)
        flat = (1 - height.square()).sqrt()
        directions = torch.stack((flat * turn.cos(), flat * turn.sin(), height), 1).to(painting)
        opponent = painting.new_tensor(_OPPONENT)
        deviation = (opponent @ functional.avg_pool2d(painting, 4).flatten(2)[0]).std(1, correction=0)
        self._projection = (directions / deviation.clamp_min(_LEAST_DEVIATION)) @ opponent
        self._wanted = self._ranked(painting)

    def _ranked(self, frames: Tensor) -> Tensor:
        projected = self._projection @ functional.avg_pool2d(frames, 4).flatten(2)
        return functional.adaptive_avg_pool1d(projected.sort(2).values, self._RANKS)

    def distance(self, frames: Tensor) -> Tensor:
        """Mean squared distance of colours of equal rank, in the painting's deviations; (B, 3, H, W) RGB in [0, 1]."""
        return (self._ranked(frames) - self._wanted).square().mean()


def tone_loss(frames: Tensor, sources: Tensor) -> Tensor:
    """1 - the correlation of the lightness of frames and sources, at an eighth of the size.

    Colours and contrast stay free. Both are (B, 3, H, W) RGB in [0, 1] with sides of at least 8.
    """
    luma = frames.new_tensor(_OPPONENT[0]).view(1, 3, 1, 1)
    painted, source = ((functional.avg_pool2d(of, 8) * luma).sum(1).flatten(1) for of in (frames, sources))
    painted, source = (of - of.mean(1, keepdim=True) for of in (painted, source))
    scale = (painted.square().mean(1) * source.square().mean(1)).add(_LEAST_DEVIATION**4).sqrt()
    return (1 - (painted * source).mean(1) / scale).mean()


def warp(frames: Tensor, flow: Tensor) -> Tensor:
    """Bilinear backward warp of (B, C, H, W), ``frames(x + flow(x))``; ``flow`` is (B, 2, H, W), (dx, dy) in px."""
    _, _, height, width = frames.shape
    rows = torch.arange(height, device=flow.device, dtype=flow.dtype).view(1, height, 1)
    columns = torch.arange(width, device=flow.device, dtype=flow.dtype).view(1, 1, width)
    x = (columns + flow[:, 0]) * (2.0 / max(width - 1, 1)) - 1.0
    y = (rows + flow[:, 1]) * (2.0 / max(height - 1, 1)) - 1.0
    grid = torch.stack((x, y), dim=-1)  # (B, H, W, 2), -1..1 at the centres of the outermost pixels
    return functional.grid_sample(frames, grid, mode="bilinear", padding_mode="border", align_corners=True)


def temporal_loss(first: Tensor, second: Tensor, flow: Tensor, valid: Tensor) -> Tensor:
    """Masked mean squared difference of the second output and the warped first (Huang 2017, equation 5).

    Outputs are (B, 3, H, W); ``flow`` is (B, 2, H, W) px, later to earlier; ``valid`` is (B, 1, H, W), 0 or 1.
    """
    squared = (second - warp(first, flow)).square() * valid
    each = squared.sum((1, 2, 3)) / (valid.sum((1, 2, 3)) * first.shape[1]).clamp_min(1.0)
    return each.mean()  # of each pair, so that the mean over processes is that over their joint batch
