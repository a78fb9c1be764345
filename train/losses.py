"""The hybrid loss of Huang et al. 2017 (section 3.2), written scale-free.

The paper's figures (alpha = 1, beta = 10, gamma = 1e-3, lambda = 1e4) go with its sums over activations of one
particular loss network. Here each term is relative: content and style distances are divided by the mean square of
what they are compared with, total variation and temporal loss are means over pixels in [0, 1]. Weights then mean the
same for any loss network, input convention, layer set and frame size; the recipes hold the re-balanced ones.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional


def gram(features: Tensor) -> Tensor:
    """Gram matrix over C·H·W (Johnson et al. 2016, equation 3).

    Args:
        features: (B, C, H, W).

    Returns:
        (B, C, C) float32.
    """
    batch, channels, height, width = features.shape
    flat = features.float().reshape(batch, channels, height * width)
    # Scaled before the product: large activations squared and summed would leave the range of half precision.
    flat = flat / (channels * height * width) ** 0.5
    with torch.autocast(features.device.type, enabled=False):
        return torch.bmm(flat, flat.transpose(1, 2))


def relative_distance(value: Tensor, reference: Tensor) -> Tensor:
    """Mean squared difference over the mean square of the reference, of each in the batch, averaged: 0 when equal."""
    value, reference = value.float().flatten(1), reference.float().flatten(1)
    each = (value - reference).square().mean(1) / reference.square().mean(1).clamp_min(1e-12)
    return each.mean()


def content_loss(features: Mapping[str, Tensor], source: Mapping[str, Tensor]) -> Tensor:
    """Feature reconstruction loss (Huang 2017, equation 2), relative, mean over the layers of ``source``."""
    return torch.stack([relative_distance(features[layer], source[layer]) for layer in source]).mean()


def style_loss(features: Mapping[str, Tensor], style_grams: Mapping[str, Tensor]) -> Tensor:
    """Style reconstruction loss (Huang 2017, equation 3), relative, mean over the layers of ``style_grams``.

    Args:
        features: layer -> (B, C, H, W).
        style_grams: layer -> (1, C, C), of the style image.
    """
    return torch.stack([relative_distance(gram(features[layer]), style_grams[layer]) for layer in style_grams]).mean()


def total_variation(frames: Tensor) -> Tensor:
    """Anisotropic total variation: mean absolute difference of neighbours. ``frames``: (B, 3, H, W) in [0, 1]."""
    horizontal = (frames[..., :, 1:] - frames[..., :, :-1]).abs().mean()
    vertical = (frames[..., 1:, :] - frames[..., :-1, :]).abs().mean()
    return horizontal + vertical


_OPPONENT = ((0.2126, 0.7152, 0.0722), (-0.5, 0.0, 0.5), (0.5, -0.5, 0.0))
"""Rows: luma (BT.709), blue - red, red - green."""

_LEAST_DEVIATION = 0.02
"""Of a channel, in the units of RGB in [0, 1]: a print in black ink has next to none between its hues."""


def colour_moments(frames: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and covariance of the colours of frames at a quarter of their size, in opponent channels.

    Args:
        frames: (B, 3, H, W) RGB in [0, 1], sides of at least 4.

    Returns:
        (B, 3) means and (B, 3, 3) covariances of luma, blue - red, red - green.
    """
    small = functional.avg_pool2d(frames, 4).flatten(2)
    colours = frames.new_tensor(_OPPONENT) @ small
    mean = colours.mean(2)
    centred = colours - mean[..., None]
    return mean, centred @ centred.transpose(1, 2) / colours.shape[2]


def colour_distance(moments: tuple[Tensor, Tensor], style: tuple[Tensor, Tensor]) -> Tensor:
    """How far colours are from a painting's: 0 when mean and covariance are the same.

    Each opponent channel is measured in units of the painting's own deviation, so that hue counts as much as lightness:
    mean squared difference of the means, plus that of the covariances.

    Args:
        moments: from `colour_moments`, of B frames.
        style: of the painting, B = 1.
    """
    (mean, covariance), (wanted_mean, wanted_covariance) = moments, style
    deviation = wanted_covariance.diagonal(dim1=1, dim2=2).sqrt().clamp_min(_LEAST_DEVIATION)  # (1, 3)
    means = (mean - wanted_mean) / deviation
    covariances = (covariance - wanted_covariance) / (deviation[:, :, None] * deviation[:, None, :])
    return means.square().mean() + covariances.square().mean()


def grid_loss(frames: Tensor, period: int = 4, window: int = 32) -> Tensor:
    """How much of a frame repeats with the sampling grid of the network: 0 for none.

    A network that works at a quarter of the size and up-samples can paint a pattern locked to every fourth pixel; it
    shows in flat areas, and it stays in place when the scene moves; or it climbs a smooth gradient in steps of that
    width. Each window is split into cells of ``period`` by ``period`` pixels and held against the least-squares
    plane through the cells' means. (Without the plane a gradient would be wrong and steps right.) What
    the pixels at one place of the cell have in common, off the plane, is the pattern.

    The square of a mean of n values that have nothing in common is not 0 but their variance over n: to ask for 0 would
    be to ask for a picture without texture, brush strokes included. That part is estimated from the spread of the
    same pixels and taken off, and what remains of a window counts where it is above 0.

    Args:
        frames: (B, C, H, W) in [0, 1]; sides of at least ``window``, what is over a multiple of it is left out.
        period: of the grid, px: the network's down-sampling factor.
        window: side of a window, px, a multiple of ``period``; patterns come in patches, beside an edge for one.

    Returns:
        Mean square of the pattern over windows and channels, a scalar.
    """
    batch, channels, height, width = frames.shape
    rows, columns, cells = height // window, width // window, window // period
    cut = frames[..., : rows * window, : columns * window]
    parts = cut.reshape(batch, channels, rows, cells, period, columns, cells, period)
    means = parts.mean(dim=(4, 7), keepdim=True)
    cell = torch.arange(cells, device=frames.device, dtype=frames.dtype) - (cells - 1) / 2
    place = (torch.arange(period, device=frames.device, dtype=frames.dtype) - (period - 1) / 2) / period
    slope = cell / cell.square().sum().clamp(min=1)  # of a least-squares line through the cells, per cell
    down = (means * slope.view(-1, 1, 1, 1, 1)).sum(3, keepdim=True).mean(6, keepdim=True) * place.view(-1, 1, 1, 1)
    across = (means * slope.view(-1, 1)).sum(6, keepdim=True).mean(3, keepdim=True) * place
    off = parts - means - down - across  # of the plane, and of what the whole cell has in common
    pattern = off.mean(dim=(3, 6))  # (B, C, rows, period, columns, period)
    chance = (off.square().mean(dim=(3, 6)) - pattern.square()) / (cells * cells - 1)
    return (pattern.square() - chance).mean(dim=(1, 3, 5)).clamp(min=0).mean()


def warp(frames: Tensor, flow: Tensor) -> Tensor:
    """Bilinear backward warp: ``result(x) = frames(x + flow(x))``.

    Args:
        frames: (B, C, H, W).
        flow: (B, 2, H, W), (dx, dy) in pixels, from the later frame to the earlier one.
    """
    _, _, height, width = frames.shape
    rows = torch.arange(height, device=flow.device, dtype=flow.dtype).view(1, height, 1)
    columns = torch.arange(width, device=flow.device, dtype=flow.dtype).view(1, 1, width)
    x = (columns + flow[:, 0]) * (2.0 / max(width - 1, 1)) - 1.0
    y = (rows + flow[:, 1]) * (2.0 / max(height - 1, 1)) - 1.0
    grid = torch.stack((x, y), dim=-1)  # (B, H, W, 2), -1..1 at the centres of the outermost pixels
    return functional.grid_sample(frames, grid, mode="bilinear", padding_mode="border", align_corners=True)


def luminance_change(first: Tensor, second: Tensor, flow: Tensor) -> Tensor:
    """Relative luminance (ITU-R BT.709) of the second frame minus that of the warped first.

    Args:
        first: (B, 3, H, W) earlier frame, RGB in [0, 1].
        second: (B, 3, H, W) later frame.
        flow: (B, 2, H, W) px, later to earlier.

    Returns:
        (B, 1, H, W).
    """
    weights = first.new_tensor([0.2126, 0.7152, 0.0722]).view(1, 3, 1, 1)
    return ((second - warp(first, flow)) * weights).sum(1, keepdim=True)


def temporal_feature_loss(features: Tensor, flow: Tensor, valid: Tensor) -> Tensor:
    """Temporal loss between a network's own features (Gao et al. 2018, "ReCoNet", equation 4), relative.

    Relative to the features' mean square, which is taken as given: the loss cannot be had by making them small.

    Args:
        features: (2 B, C, h, w), of the B first frames, then of the second ones. The frames' own part is in the middle
            of it, with the network's margin around.
        flow: (B, 2, H, W) px, later to earlier; h is at least H over the network's sampling factor, a power of two.
        valid: (B, 1, H, W) 1 where the flow can be trusted.
    """
    factor = 1
    while flow.shape[2] // factor > features.shape[2]:
        factor *= 2
    small, trusted = functional.avg_pool2d(flow, factor) / factor, functional.avg_pool2d(valid, factor)
    rows, columns = small.shape[2:]
    top, left = (features.shape[2] - rows) // 2, (features.shape[3] - columns) // 2
    first, second = features.float()[:, :, top : top + rows, left : left + columns].chunk(2)
    scale = second.detach().square().mean().clamp_min(1e-12)
    return temporal_loss(first, second, small, (trusted == 1.0).to(trusted.dtype)) / scale


def temporal_loss(first: Tensor, second: Tensor, flow: Tensor, valid: Tensor, change: Tensor | None = None) -> Tensor:
    """Masked mean squared difference of the second output and the warped first (Huang 2017, equation 5).

    Args:
        first: (B, 3, H, W) earlier output, [0, 1].
        second: (B, 3, H, W) later output, [0, 1].
        flow: (B, 2, H, W) px, later to earlier.
        valid: (B, 1, H, W) 1 where the flow can be trusted, 0 where it is occluded or leaves the frame.
        change: (B, 1, H, W) how much brighter the second shall be (Gao et al. 2018, "ReCoNet", equation 6); nothing for
            not at all.
    """
    difference = second - warp(first, flow)
    squared = (difference if change is None else difference - change).square() * valid
    each = squared.sum((1, 2, 3)) / (valid.sum((1, 2, 3)) * first.shape[1]).clamp_min(1.0)
    return each.mean()  # of each pair, so that the mean over processes is that over their joint batch
