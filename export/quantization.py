"""What an 8-bit artifact is made with: frames to calibrate on, channels of one range, and which layers stay in float.

Measured on the bundled model: rounding the weights to 8 bits costs nothing that can be seen (56 dB); rounding what a
convolution gives costs most, because a few channels with wide ranges leave the others few steps (44 dB, and 28 % more
flicker, since the rounding is different in each frame). Two things help, both in here:

* *Equal channels.* Instance normalization takes out any gain of a channel, so that each output channel of a convolution
  may be scaled to fill the one range of its tensor: the normalization gives what it gave. (The idea of Nagel et al.
  2019, "Data-free quantization through weight equalization and bias correction", in the special case that is exact.)
* *Float where it pays.* Each layer alone is put into 8 bits, in a simulation; those that harm most for their
  multiplications stay in float, until all others together keep to a limit of flicker and of difference.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..common.files import InputError
from ..video.flow import FlowPair
from ..video.frames import open_source
from ..video.synthetic.harbour import harbour
from ..video.temporal import temporal_error
from .graph import DeployableGraph
from .graphs import deployable_graph
from .patch_graph import PatchGraph, SmoothPatchGraph

Image = NDArray[np.uint8]

CALIBRATION_FRAMES = 10
PLAIN_SHARES = (0.5, 0.65)
"""How much of the bundled scene is painted over, in half as many frames more for each. It is full of detail, and where
a scene has little, normalization makes that little large: on filmed clips the edge network's activations went one and a
half times to four times as far as on the scene, were cut there, and took contrast with them."""
MOST_FLICKER = 1.08
"""Most that 8 bits may multiply the temporal error with, in the simulation, whose three frames say more than an
artifact shows to `verify` (1.051 and 1.023 for one, whose floor is 1.05)."""
MOST_FLICKER_ENLARGED = 1.035
"""The same for a network with a bilinear enlargement, whose rounding after it is not simulated (1.044 and 1.052)."""
LEAST_PSNR_DB = 33.0
"""Least PSNR of the simulation against float; over the floor of `verify`, for margin."""
OUTLIERS = 2e-4
"""Share of values at either end for which the edge network's ranges leave no room."""
CHANNEL_OUTLIERS = 1e-3
"""Share of a channel's values, of each frame, that do not count for how far it goes, in the edge network."""
_MOST_GAIN = 64.0
_SCENE_FRAMES = 400


@dataclass(frozen=True)
class Calibration:
    """Frames to observe the range of each activation on.

    Attributes:
        frames: each (H, W, 3) uint8 RGB of the artifact's size.
        source: where they are from, for the record.
        note: one sentence where they are poor for it, or nothing.
    """

    frames: Sequence[Image]
    source: str
    note: str = ""

    @property
    def sha256(self) -> str:
        """Of the frames as they are shown to the network."""
        digest = hashlib.sha256()
        for frame in self.frames:
            digest.update(repr(frame.shape).encode())
            digest.update(np.ascontiguousarray(frame).tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class Quantization:
    """How a graph shall be quantized to 8 bits.

    Attributes:
        calibration: frames to observe ranges on.
        float_layers: names of layers (see `graph.DeployableGraph.layers`) that stay in float.
        sensitivity: layer name -> the whole network's ``psnr_db`` and ``flicker`` (temporal error over that in float)
            with this layer alone in 8 bits, and ``share`` of the multiplications that it does.
    """

    calibration: Calibration
    float_layers: frozenset[str] = frozenset()
    sensitivity: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def frames(self) -> Sequence[Image]:
        """The calibration's."""
        return self.calibration.frames


def load_calibration(clips: Sequence[str], size: tuple[int, int]) -> Calibration:
    """Frames spread evenly over clips, or over the bundled scene.

    Args:
        clips: anything that `video.frames.open_source` takes; none for the bundled scene.
        size: width and height of the artifact.

    Raises:
        InputError: a clip cannot be read or has no frame.
    """
    if not clips:
        scene = harbour(*size, _SCENE_FRAMES)
        times = np.linspace(_SCENE_FRAMES // 10, _SCENE_FRAMES - 1, CALIBRATION_FRAMES).round()
        frames = [scene.frame(int(t)) for t in times]
        covered = [
            _partly_plain(frame, share, index)
            for step, share in enumerate(PLAIN_SHARES)
            for index, frame in enumerate(frames[step :: len(PLAIN_SHARES)])
        ]
        return Calibration(frames + covered, f"{scene.name}, also in part plain")
    each = max(1, math.ceil(CALIBRATION_FRAMES / len(clips)))
    chosen: list[Image] = []
    for clip in clips:
        with open_source(clip) as source:
            count = sum(1 for _ in source)
        if count == 0:
            raise InputError(f"the calibration clip '{clip}' has no frame: choose another")
        wanted = {int(t) for t in np.linspace(0, count - 1, each).round()}
        with open_source(clip) as source:
            chosen += [_fitted(frame.image, size) for t, frame in enumerate(source) if t in wanted]
    still = all(np.array_equal(chosen[0], frame) for frame in chosen[1:])
    note = "calibrated on a single picture: give a clip that moves, or several" if still else ""
    # The names alone, because they end in the artifact: where the clips lie is nobody's business.
    return Calibration(chosen, ", ".join(clip.replace("\\", "/").rsplit("/", 1)[-1] for clip in clips), note)


def _partly_plain(image: Image, share: float, index: int) -> Image:
    """A share of a picture painted over, from the left or from above, in one of five colours."""
    colours = ((235, 235, 235), (128, 128, 128), (40, 40, 40), (190, 200, 215), (90, 80, 60))
    image = image.copy()
    part = image[:, : round(image.shape[1] * share)] if index % 2 else image[: round(image.shape[0] * share)]
    part[...] = colours[index % len(colours)]
    return image


def _fitted(image: Image, size: tuple[int, int]) -> Image:
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


class _Convolutions(TorchFunctionMode):
    """Sees every convolution of a `DeployableGraph` by its layer's name; subclasses change what it does."""

    def __init__(self, graph: DeployableGraph | PatchGraph) -> None:
        super().__init__()
        self.graph, self._names, self._next = graph, graph.layers(), 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Hand the layers' convolutions, and those alone, to `convolve`."""
        kwargs = kwargs or {}
        if func is torch.nn.functional.conv2d and args[1].shape[1] == args[0].shape[1]:
            name = self._names[self._next]
            self._next += 1
            return self.convolve(name, func, *args, **kwargs)
        return func(*args, **kwargs)

    def convolve(self, name: str, func: Any, x: Tensor, weight: Tensor, *rest: Any, **kwargs: Any) -> Tensor:
        """Compute a layer's convolution as ever; subclasses look or round."""
        return torch.as_tensor(func(x, weight, *rest, **kwargs))

    def run(self, frame: Image) -> Image:
        """What the graph makes of a frame, (H, W, 3) uint8 RGB."""
        self._next = 0
        with torch.inference_mode(), self:
            return np.asarray(self.graph(torch.from_numpy(np.ascontiguousarray(frame))).numpy(), np.uint8)


class _Ranges(_Convolutions):
    """Observes each layer's input and output."""

    def __init__(self, graph: DeployableGraph | PatchGraph) -> None:
        super().__init__(graph)
        self.inputs: dict[str, tuple[float, float]] = {}
        self.outputs: dict[str, tuple[float, float]] = {}
        self.peaks: dict[str, Tensor] = {}  # (channels,) how far each output channel goes
        self.input_peaks: dict[str, Tensor] = {}  # (channels,) how far each input channel goes
        self.variances: dict[str, list[Tensor]] = {}  # (channels,) of each output channel, a frame each
        self.products: dict[str, int] = {}

    def convolve(self, name: str, func: Any, x: Tensor, weight: Tensor, *rest: Any, **kwargs: Any) -> Tensor:
        """Compute as ever, and look."""
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

    def _ends(self, values: Tensor) -> tuple[float, float]:
        """The range of a tensor; without its outliers where these are left out in calibration (see `onnx.py`)."""
        if not isinstance(self.graph, PatchGraph):
            return float(values.min()), float(values.max())
        flat = values.flatten()
        beyond = max(1, round(flat.numel() * OUTLIERS))
        return float(flat.kthvalue(beyond).values), float(flat.kthvalue(flat.numel() + 1 - beyond).values)

    def _peaks(self, values: Tensor) -> Tensor:
        """(channels,) largest magnitude of each channel; in the edge network without its few largest."""
        magnitudes = values.abs().transpose(0, 1).flatten(1)
        if not isinstance(self.graph, PatchGraph):
            return magnitudes.amax(1)
        return magnitudes.kthvalue(max(1, round(magnitudes.shape[1] * (1 - CHANNEL_OUTLIERS))), dim=1).values


class _EightBits(_Convolutions):
    """Rounds input, weights and, where asked for, output of chosen layers to 8 bits, as engines do."""

    def __init__(self, graph: DeployableGraph | PatchGraph, ranges: _Ranges, *, results: bool) -> None:
        super().__init__(graph)
        self.ranges, self.results = ranges, results
        self.layers: frozenset[str] = frozenset()

    def convolve(self, name: str, func: Any, x: Tensor, weight: Tensor, *rest: Any, **kwargs: Any) -> Tensor:
        """Compute with rounded values where the layer is chosen."""
        if name not in self.layers:
            return super().convolve(name, func, x, weight, *rest, **kwargs)
        scale = (weight.abs().amax((1, 2, 3), keepdim=True) / 127).clamp(min=1e-12)
        y = func(_rounded(x, *self.ranges.inputs[name]), (weight / scale).round() * scale, *rest, **kwargs)
        return _rounded(y, *self.ranges.outputs[name]) if self.results else torch.as_tensor(y)


def _rounded(x: Tensor, low: float, high: float) -> Tensor:
    scale = max(high - low, 1e-12) / 255
    zero = round(-low / scale)
    return ((x / scale).round() + zero).clamp(0, 255).sub(zero) * scale


def _observed(graph: DeployableGraph | PatchGraph, frames: Sequence[Image]) -> _Ranges:
    seen = _Ranges(graph)
    for frame in frames:
        seen.run(frame)
    return seen


def equal_channels(graph: DeployableGraph | PatchGraph, frames: Sequence[Image]) -> None:
    """Scale the output channels of each normalized convolution to one range; the network computes the same.

    The normalization's epsilon is the only thing that does not scale along: its effect is put into the gain, for the
    variance that the channel has on average.

    Args:
        graph: changed in place.
        frames: to observe the channels on, each (H, W, 3) uint8 RGB.
    """
    seen = _observed(graph, frames)
    for name in graph.normalized():
        weight, norm_weight, epsilon = _normalized(graph, name)
        channels = norm_weight.shape[0]  # the enlarging layers compute each in four places
        peaks = seen.peaks[name].reshape(-1, channels).amax(0)
        variance = torch.stack(seen.variances[name]).mean(0).reshape(-1, channels).mean(0)
        gain = (peaks.max() / peaks.clamp(min=1e-12)).clamp(1.0, _MOST_GAIN)
        with torch.no_grad():
            weight.mul_(gain.repeat(weight.shape[0] // channels)[:, None, None, None])
            norm_weight.mul_(torch.sqrt((variance + epsilon / gain.square()) / (variance + epsilon)))


def counting_ranges(graph: DeployableGraph | PatchGraph, frames: Sequence[Image]) -> dict[str, tuple[float, float]]:
    """Ranges of layers' results, by the layer's name, where less of them counts than there is.

    What an edge network's enlarging layer gives is added to what is not below zero, and what is below zero then is
    cut: less than the negative of the largest of those is as good as that. A trained network is free to give a hundred
    times less, which would leave all that counts a few steps. Where a bilinear enlargement lies between, less than that
    would pull its neighbours down; that harms less than wider steps do (docs/decisions/001-bilinear-in-8-bits.md).

    Args:
        graph: as it will be quantized.
        frames: to observe on, each (H, W, 3) uint8 RGB.
    """
    if not isinstance(graph, PatchGraph):
        return {}
    seen = _observed(graph, frames)
    low, high = seen.outputs["up"]
    return {"up": (max(low, -seen.outputs["stem"][1]), high)}


def equalized(graph: DeployableGraph | PatchGraph, frames: Sequence[Image]) -> None:
    """Bring the ranges of channels that share a tensor together, in place, by what the kind of graph allows."""
    if isinstance(graph, PatchGraph):
        equal_patch_channels(graph, frames)
    equal_channels(graph, frames)


def equal_patch_channels(graph: PatchGraph, frames: Sequence[Image]) -> None:
    """Scale the channels that the edge network's layers share to one range; the network computes the same.

    ReLU and sums let any positive gain of a channel pass, so that what goes into a tensor may be multiplied and what
    reads it divided (Nagel et al. 2019, "Data-free quantization through weight equalization and bias correction",
    section 4.1). The readers' weights spread as much as the tensors' ranges come together, and that costs nothing: it
    is tensors, rounded differently in each frame, that make a still scene flicker (benchmarks/RESULTS.md).

    Args:
        graph: changed in place.
        frames: to observe the channels on, each (H, W, 3) uint8 RGB.
    """
    seen = _observed(graph, frames)
    inner = [(f"blocks.{i}.first", f"blocks.{i}.second") for i in range(len(graph.blocks))]
    last = [*(f"strokes.{i}" for i in range(len(graph.strokes))), "head"]
    # What writes a tensor, and what reads it: at a quarter, at an eighth, inside each block, and at a quarter again.
    tensors = [(["stem", "up"], ["down", last[0]])]
    tensors += [(["down", *(second for _, second in inner)], [*(first for first, _ in inner), "up"])]
    tensors += [([first], [second]) for first, second in [*inner, *pairwise(last)]]
    for writers, readers in tensors:
        peaks = torch.stack([seen.input_peaks[name] for name in readers]).amax(0)
        gain = (peaks.max() / peaks.clamp(min=1e-12)).clamp(1.0, _MOST_GAIN)
        with torch.no_grad():
            for name in writers:
                place = f"{name}.norm" if name in graph.normalized() else name
                weight, bias = (graph.get_parameter(f"{place}.{part}") for part in ("weight", "bias"))
                each = gain.repeat(len(weight) // len(gain))  # `up` may write each channel in four places
                weight.mul_(each.reshape(-1, *[1] * (weight.dim() - 1)))
                bias.mul_(each)
            for name in readers:
                place = f"{name}.conv" if name in graph.normalized() else name
                graph.get_parameter(f"{place}.weight").div_(gain[None, :, None, None])


def _normalized(graph: DeployableGraph | PatchGraph, name: str) -> tuple[Tensor, Tensor, float]:
    """Weights of a layer's convolution, the gain of the normalization after it, and that one's epsilon."""
    if name == "tail.up" and isinstance(graph, DeployableGraph):
        return graph.tail.up_weight, graph.tail.norm_weight, graph.tail.epsilon
    layer: Any = graph.get_submodule(name)
    weight = layer.weight if name.startswith("up.") else layer.conv.weight
    return weight, layer.norm.weight, float(layer.norm.eps)


def plan_quantization(
    network: nn.Module, calibration: Calibration, size: tuple[int, int], *, results: bool = True
) -> Quantization:
    """Measure how each layer bears 8 bits, and choose the layers that stay in float.

    Each layer alone is put into 8 bits, on frames that are not those of the calibration. Then layers are put back into
    float, the one with the most flicker for its multiplications first, until the rest together keep to `MOST_FLICKER`
    and `LEAST_PSNR_DB`. On the bundled scene, whose motion is known exactly, at the artifact's own size.

    Args:
        network: as a checkpoint holds it.
        calibration: gives the ranges.
        size: width and height of the artifact.
        results: whether the engine rounds what a convolution gives, too, or only what it takes.
    """
    graph = deployable_graph(network)
    if results:
        equalized(graph, calibration.frames)
    ranges = _observed(graph, calibration.frames)
    ranges.outputs.update(counting_ranges(graph, calibration.frames))
    if isinstance(graph, PatchGraph):
        for name in graph.rectified():
            ranges.outputs[name] = (0.0, ranges.outputs[name][1])
        ranges.inputs["stem"] = ranges.outputs["head"] = (0.0, 255.0)  # the bytes of the frames themselves
    scene = harbour(*size, _SCENE_FRAMES)
    start = _SCENE_FRAMES // 20
    frames = [scene.frame(start + t) for t in range(3)]
    pairs = {t: scene.pair(start + t, 1) for t in range(2)}
    simulation = _EightBits(graph, ranges, results=results)
    in_float = [simulation.run(frame) for frame in frames]
    layers = graph.layers()
    products = sum(ranges.products.values())
    table = {}
    for name in layers:
        simulation.layers = frozenset({name})
        psnr, flicker = _compare([simulation.run(frame) for frame in frames], in_float, pairs)
        table[name] = {"psnr_db": psnr, "flicker": flicker, "share": ranges.products[name] / products}

    def harm(name: str) -> float:
        return max(table[name]["flicker"] ** 2 - 1, 0.0) / table[name]["share"] + 10 ** (-table[name]["psnr_db"] / 10)

    def bears(in_eight_bits: frozenset[str]) -> bool:
        simulation.layers = in_eight_bits
        psnr, flicker = _compare([simulation.run(frame) for frame in frames], in_float, pairs)
        return psnr >= LEAST_PSNR_DB and flicker <= limit

    limit = MOST_FLICKER_ENLARGED if isinstance(graph, SmoothPatchGraph) else MOST_FLICKER
    quantized = frozenset(layers)
    for name in sorted(layers, key=harm, reverse=True):
        if bears(quantized):
            break
        quantized -= {name}
    # What went into float before the layer that made the difference may not have been needed.
    for name in sorted(set(layers) - quantized, key=harm):
        if bears(quantized | {name}):
            quantized |= {name}
    return Quantization(calibration, frozenset(layers) - quantized, table)


def _compare(ours: Sequence[Image], wanted: Sequence[Image], pairs: Mapping[int, FlowPair]) -> tuple[float, float]:
    """PSNR in dB (99 where nothing differs), and temporal error over that of the wanted frames."""
    mean_squared = float(np.square(np.stack(ours).astype(np.float64) - np.stack(wanted)).mean())
    psnr = 10 * math.log10(255.0**2 / mean_squared) if mean_squared > 0 else 99.0
    measurable = {t: pair for t, pair in pairs.items() if pair.valid.any()}
    before = temporal_error(wanted, measurable, 1).value if measurable else 0.0
    return psnr, temporal_error(ours, measurable, 1).value / before if before > 0 else 1.0
