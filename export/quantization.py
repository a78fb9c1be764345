"""Quantization to 8 bits: channels scaled to one range, and the choice of layers that stay in float.

On the bundled model, rounded weights cost nothing visible (56 dB). Rounded results of convolutions cost most (44 dB,
28 % more flicker): a few wide channels leave the others few steps, and the rounding differs in each frame.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from ..common.arrays import Image, Size
from ..video.synthetic.harbour import harbour
from .calibration import SCENE_FRAMES, Calibration
from .graphs.base import DeployableGraph, Range
from .graphs.registry import deployable_graph
from .verify import flicker_ratio, psnr_db

LEAST_PSNR_DB = 33.0
"""Least PSNR of the simulation against float, in dB; above the limit of `verify` for margin."""
_MOST_GAIN = 64.0


@dataclass(frozen=True)
class Quantization:
    """How a graph is quantized to 8 bits.

    `sensitivity`: layer -> the network's ``psnr_db`` and ``flicker`` (temporal error over that in float) with this
    layer alone in 8 bits, and the layer's ``share`` of the multiplications.
    """

    calibration: Calibration
    graph: DeployableGraph  # to write, not to be changed; equalized if the engine rounds a convolution's result
    ranges: Mapping[str, Range] = field(default_factory=dict)  # layer -> range of its results, if not the observed one
    float_layers: frozenset[str] = frozenset()  # names of layers that stay in float
    sensitivity: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


class _Convolutions(TorchFunctionMode):
    """Passes each layer's convolution, with the layer's name, to `convolve`, which subclasses override."""

    def __init__(self, graph: DeployableGraph) -> None:
        super().__init__()
        self.graph, self._names, self._next = graph, graph.layers(), 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.nn.functional.conv2d and args[1].shape[1] == args[0].shape[1]:
            name = self._names[self._next]
            self._next += 1
            return self.convolve(name, func, *args, **kwargs)
        return func(*args, **kwargs)

    def convolve(self, name: str, func: Any, x: Tensor, weight: Tensor, *rest: Any, **kwargs: Any) -> Tensor:
        return torch.as_tensor(func(x, weight, *rest, **kwargs))

    def run(self, frame: Image) -> Image:
        self._next = 0
        with torch.inference_mode(), self:
            return np.asarray(self.graph(torch.from_numpy(np.ascontiguousarray(frame))).numpy(), np.uint8)


class _Ranges(_Convolutions):
    """Observes each layer's input and output."""

    def __init__(self, graph: DeployableGraph) -> None:
        super().__init__(graph)
        self.inputs: dict[str, tuple[float, float]] = {}
        self.outputs: dict[str, tuple[float, float]] = {}
        self.peaks: dict[str, Tensor] = {}  # (channels,) how far each output channel goes
        self.input_peaks: dict[str, Tensor] = {}  # (channels,) how far each input channel goes
        self.variances: dict[str, list[Tensor]] = {}  # (channels,) of each output channel, a frame each
        self.products: dict[str, int] = {}

    def convolve(self, name: str, func: Any, x: Tensor, weight: Tensor, *rest: Any, **kwargs: Any) -> Tensor:
        y = super().convolve(name, func, x, weight, *rest, **kwargs)
        for ranges, values in ((self.inputs, x), (self.outputs, y)):
            low, high = ranges.get(name, (0.0, 0.0))
            least, most = self._ends(values)
            ranges[name] = (min(low, least), max(high, most))
        for known, values in ((self.peaks, y), (self.input_peaks, x)):
            peaks = self._peaks(values)
            known[name] = torch.maximum(known.get(name, peaks), peaks)
        self.variances.setdefault(name, []).append(y.var((0, 2, 3), correction=0))
        self.products[name] = y.shape[2] * y.shape[3] * weight.numel()
        return y

    def _ends(self, values: Tensor) -> Range:
        """Range of a tensor without the graph's outliers."""
        if not self.graph.outliers:
            return float(values.min()), float(values.max())
        flat = values.flatten()
        beyond = max(1, round(flat.numel() * self.graph.outliers))
        return float(flat.kthvalue(beyond).values), float(flat.kthvalue(flat.numel() + 1 - beyond).values)

    def _peaks(self, values: Tensor) -> Tensor:
        """Largest magnitude of each channel, (channels,), without the graph's outliers."""
        magnitudes = values.abs().transpose(0, 1).flatten(1)
        if not self.graph.channel_outliers:
            return magnitudes.amax(1)
        kept = max(1, round(magnitudes.shape[1] * (1 - self.graph.channel_outliers)))
        return magnitudes.kthvalue(kept, dim=1).values


class _EightBits(_Convolutions):
    """Rounds input, weights and, with `results`, output of chosen layers to 8 bits, as engines do."""

    def __init__(self, graph: DeployableGraph, ranges: _Ranges, *, results: bool) -> None:
        super().__init__(graph)
        self.ranges, self.results = ranges, results
        self.layers: frozenset[str] = frozenset()

    def convolve(self, name: str, func: Any, x: Tensor, weight: Tensor, *rest: Any, **kwargs: Any) -> Tensor:
        if name not in self.layers:
            return super().convolve(name, func, x, weight, *rest, **kwargs)
        peaks = peaks_of_sums(weight) if self.results else weight.abs().amax((1, 2, 3))
        scale = (peaks / 127).clamp(min=1e-12)[:, None, None, None]
        y = func(_rounded(x, *self.ranges.inputs[name]), (weight / scale).round() * scale, *rest, **kwargs)
        return _rounded(y, *self.ranges.outputs[name]) if self.results else torch.as_tensor(y)


def _rounded(x: Tensor, low: float, high: float) -> Tensor:
    scale = max(high - low, 1e-12) / 255
    zero = round(-low / scale)
    return ((x / scale).round() + zero).clamp(0, 255).sub(zero) * scale


def peaks_of_sums(weight: Tensor) -> Tensor:
    """What 127 steps must reach for 16 bits to bear the sums, (outputs,), of a convolution (outputs, inputs, k, k).

    Processors with AVX2 or SSE4.1 and without VNNI add two products of unsigned and signed bytes in 16 bits, which
    saturate: 255 (a + b) keeps below 32,768 where a + b is at most 128. Opposite signs cancel. Neighbours are those of
    channels last, in which engines compute; to the 127 steps, rounding two weights adds one at most.
    """
    flat = weight.permute(0, 2, 3, 1).flatten(1)
    pairs = functional.pad(flat, (0, flat.shape[1] % 2)).reshape(len(flat), -1, 2)
    return torch.maximum(pairs.clamp(min=0).sum(2), -pairs.clamp(max=0).sum(2)).amax(1)


def _observed(graph: DeployableGraph, frames: Sequence[Image]) -> _Ranges:
    seen = _Ranges(graph)
    for frame in frames:
        seen.run(frame)
    return seen


def equalize(graph: DeployableGraph, frames: Sequence[Image]) -> None:
    """Scale channels that share a tensor to one range, in place; the graph computes the same up to rounding.

    ReLU and sums pass a positive gain, and instance normalization removes it (Nagel et al. 2019, "Data-free
    quantization through weight equalization and bias correction", section 4.1). Ranges are observed on `frames`,
    (H, W, 3) uint8 RGB.
    """
    if graph.shared_tensors():
        _equalize_shared_tensors(graph, _observed(graph, frames))
    _equalize_normalized_layers(graph, _observed(graph, frames))


def _equalize_shared_tensors(graph: DeployableGraph, seen: _Ranges) -> None:
    """Multiply what writes a shared tensor by a gain per channel, and divide what reads it."""
    # This widens the readers' weights at no cost: rounded tensors, not weights, make flicker (docs/decisions/010).
    for writers, readers in graph.shared_tensors():
        peaks = torch.stack([seen.input_peaks[name] for name in readers]).amax(0)
        gain = (peaks.max() / peaks.clamp(min=1e-12)).clamp(1.0, _MOST_GAIN)
        with torch.no_grad():
            for name in writers:
                weight, bias, norm = graph.layer(name)
                for values in norm[:2] if norm else (weight, bias):
                    if values is not None:
                        each = gain.repeat(len(values) // len(gain))  # enlarging layers may write each in four places
                        values.mul_(each.reshape(-1, *[1] * (values.dim() - 1)))
            for name in readers:
                graph.layer(name).weight.div_(gain[None, :, None, None])


def _equalize_normalized_layers(graph: DeployableGraph, seen: _Ranges) -> None:
    """Scale the output channels of each normalized convolution to one range."""
    for name in graph.layers():
        weight, _, norm = graph.layer(name)
        if norm is None:
            continue
        channels = norm.weight.shape[0]  # the enlarging layers compute each in four places
        peaks = seen.peaks[name].reshape(-1, channels).amax(0)
        variance = torch.stack(seen.variances[name]).mean(0).reshape(-1, channels).mean(0)
        gain = (peaks.max() / peaks.clamp(min=1e-12)).clamp(1.0, _MOST_GAIN)
        with torch.no_grad():
            weight.mul_(gain.repeat(weight.shape[0] // channels)[:, None, None, None])
            # Epsilon does not scale along; the gain corrects for it at the channel's mean variance.
            norm.weight.mul_(torch.sqrt((variance + norm.epsilon / gain.square()) / (variance + norm.epsilon)))


def plan_quantization(
    network: nn.Module, calibration: Calibration, size: Size, *, results: bool = True
) -> Quantization:
    """Measure how each layer tolerates 8 bits, and choose the layers that stay in float.

    Test frames are from the bundled scene at the artifact's size, whose motion is known, and not those of calibration.
    Each layer is measured alone. Layers then go back to float, the one with the most harm per multiplication first,
    until the rest keep to the graph's `most_flicker` and to `LEAST_PSNR_DB`. `results` says whether the engine rounds a
    convolution's result, or only its input.
    """
    graph = deployable_graph(network)
    if results:
        equalize(graph, calibration.frames)
    seen = _observed(graph, calibration.frames)
    clipped = graph.clipped_ranges(seen.outputs)
    seen.outputs.update(clipped)
    for name in graph.rectified():
        seen.outputs[name] = (0.0, seen.outputs[name][1])
    layers = graph.layers()
    if graph.on_bytes:
        seen.inputs[layers[0]] = seen.outputs[layers[-1]] = (0.0, 255.0)
    scene = harbour(*size, SCENE_FRAMES)
    start = SCENE_FRAMES // 20
    frames = [scene.frame(start + t) for t in range(3)]
    pairs = {t: scene.pair(start + t, 1) for t in range(2)}
    simulation = _EightBits(graph, seen, results=results)
    in_float = [simulation.run(frame) for frame in frames]

    def measured(in_eight_bits: frozenset[str]) -> tuple[float, float]:
        """PSNR in dB, and temporal error over that in float, with these layers in 8 bits."""
        simulation.layers = in_eight_bits
        pictures = [simulation.run(frame) for frame in frames]
        ratio = flicker_ratio(pictures, in_float, pairs)
        return psnr_db(pictures, in_float), 1.0 if ratio is None else ratio

    products = sum(seen.products.values())
    table = {}
    for name in layers:
        psnr, flicker = measured(frozenset({name}))
        table[name] = {"psnr_db": psnr, "flicker": flicker, "share": seen.products[name] / products}

    def harm(name: str) -> float:
        return max(table[name]["flicker"] ** 2 - 1, 0.0) / table[name]["share"] + 10 ** (-table[name]["psnr_db"] / 10)

    def bears(in_eight_bits: frozenset[str]) -> bool:
        psnr, flicker = measured(in_eight_bits)
        return psnr >= LEAST_PSNR_DB and flicker <= graph.most_flicker

    quantized = frozenset(layers)
    for name in sorted(layers, key=harm, reverse=True):
        if bears(quantized):
            break
        quantized -= {name}
    # A layer put into float early may not need it once later ones are in float.
    for name in sorted(set(layers) - quantized, key=harm):
        if bears(quantized | {name}):
            quantized |= {name}
    return Quantization(calibration, graph, clipped, frozenset(layers) - quantized, table)
