"""Writes TensorFlow Lite. The only file that imports TensorFlow's converter and AI Edge's quantizer.

The graph is in TensorFlow's operators, channels last throughout, so that the file has no transposition. These choices
were measured (CPU time of LiteRT with XNNPACK, 640x360):

* Concatenation replicates borders, of frames as bytes: XNNPACK lacks MIRROR_PAD, which took nearly half of the time.
* A 2x2 convolution and DEPTH_TO_SPACE enlarge; a transposed convolution took a fifth longer.
* Floats at the ends: a stem of 12x12 pixels and DEPTH_TO_SPACE in place of patches, for rank 4 throughout, which a
  phone's GPU needs (`delegates.py`).
* Variances use centred values. Mean of squares less squared mean saves 5 %, but loses all digits in half precision.

int8 is *dynamic*: a convolution's weights are rounded once, its input to the input's range in each frame, its result
never. Fixed, calibrated ranges are hardly faster (0.44 of float32's CPU time, not 0.46) and worse: 46.4 dB, not
50.9 dB, and up to 11 % more flicker, not 3.6 %. So calibration only measures which layers tolerate 8 bits.
"""

import io
import tempfile
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ai_edge_quantizer import algorithm_manager, qtyping, quantizer
from numpy.typing import NDArray
from torch import Tensor, nn

from ..common.arrays import Size
from ..runtimes.artifact import ArtifactMetadata
from ..runtimes.look import PLAIN, Look
from ..runtimes.stylizer import Stylizer
from ..runtimes.tflite import TfliteStylizer, flatbuffer_of, quiet_engine, sealed, with_metadata
from ..train.networks import TANH_GAIN
from .delegates import gpu_text
from .graphs.base import DeployableGraph
from .graphs.edge import PatchGraph, SmoothPatchGraph, in_words
from .graphs.look import LUMA, Taps, rounds_up, taps
from .graphs.registry import deployable_graph
from .quantization import Quantization
from .target import Writer

with quiet_engine():
    import tensorflow as tf

_SIGNATURE = "serving_default"


class TfliteWriter(Writer):
    """The target ``tflite``; see `target.Writer`."""

    ending = ".tflite"
    default_precision = "int8"
    calibrated = frozenset({"int8"})

    layouts = ("HWC", "NHWC", "NCHW")
    bakes_looks = True

    def write(
        self,
        network: nn.Module,
        path: Path,
        size: Size | None,
        precision: str,
        quantization: Quantization | None,
        look: Look = PLAIN,
        layout: str = "HWC",
    ) -> str:
        """Write a model with input ``frame`` and output ``stylized``, each (height, width, 3) uint8 or of `layout`.

        fp16 stores the convolutions' weights in float16. int8 computes the convolutions in 8 bits, with one weight
        scale per output channel, except the float layers; normalizations, sums and the last tanh stay in float.
        """
        if size is None:
            raise ValueError("a TensorFlow Lite model has a fixed size")
        graph = quantization.graph if quantization else deployable_graph(network)
        in_float = quantization.float_layers if quantization else frozenset()
        with quiet_engine(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            model = _converted(graph, size, look, layout)
            if precision == "fp16":
                model = _in_half_precision(model)
            elif precision == "int8":
                model = _in_eight_bits(model, [layer for layer in graph.layers() if layer not in in_float])
        path.write_bytes(model)
        text = f"tensorflow {tf.__version__}"
        return text if precision == "fp32" else f"{text}, ai-edge-quantizer {version('ai-edge-quantizer')}"

    def embed(self, path: Path, metadata: ArtifactMetadata) -> ArtifactMetadata:
        """Put the metadata behind the model as an associated file; return it with the hash of the content."""
        model = flatbuffer_of(path.read_bytes())
        metadata = replace(metadata, content_sha256=sealed(model, metadata))
        path.write_bytes(with_metadata(model, metadata))
        return metadata

    def remark(self, path: Path) -> str:
        """How much of it a phone's GPU takes."""
        return gpu_text(path)

    def run(self, path: Path) -> Stylizer:
        """Open with LiteRT."""
        return TfliteStylizer(path, provider="litert")


def _converted(graph: DeployableGraph, size: Size, look: Look, layout: str) -> bytes:
    """The graph in float32, with a look, as a flatbuffer."""
    sides = {"H": size[1], "W": size[0], "C": 3, "N": 1}
    module = tf.Module()
    kind = tf.uint8 if layout == "HWC" else tf.float32
    spec = tf.TensorSpec([sides[axis] for axis in layout], kind, name="frame")
    network = _patches_stylized if isinstance(graph, PatchGraph) else _stylized

    def stylize(frame: Any) -> dict[str, Any]:
        x = tf.transpose(frame, [0, 2, 3, 1]) if layout == "NCHW" else frame
        x = _looked(x if kind == tf.uint8 else x * 255.0, look, lambda seen: network(graph, seen))
        x = x if kind == tf.uint8 else x * np.float32(1 / 255)
        return {"stylized": tf.transpose(x, [0, 3, 1, 2]) if layout == "NCHW" else x}

    module.stylize = tf.function(stylize, input_signature=[spec])
    # Only a saved model has a signature, by which the quantizer and users name inputs and outputs.
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures={_SIGNATURE: module.stylize.get_concrete_function()})
        return bytes(tf.lite.TFLiteConverter.from_saved_model(folder).convert())


def _looked(frame: Any, look: Look, stylized: Callable[[Any], Any]) -> Any:
    """`BeforeNetwork`, the network and `AfterNetwork` in TensorFlow, on (H, W, 3) uint8 or (1, H, W, 3) 0..255."""
    if look == PLAIN:
        return stylized(frame)
    size, source, seen = (frame.shape[-2], frame.shape[-3]), tf.cast(frame, tf.float32), frame
    columns, rows = zip(size, look.network_size(*size), strict=True)
    if look.stroke != 1:
        seen = tf.cast(_resampled(source, taps(*columns), taps(*rows)), frame.dtype)
    painted = tf.round(tf.cast(stylized(seen), tf.float32))  # a painting in bytes is whole already
    if look.stroke != 1:
        painted = _resampled(painted, taps(*columns[::-1]), taps(*rows[::-1]))
    if look.keep_colors:
        levels, own = (tf.round(tf.reduce_sum(image * LUMA, -1, keepdims=True)) for image in (painted, source))
        darkest, lightest = tf.reduce_min(source, -1, keepdims=True), tf.reduce_max(source, -1, keepdims=True)
        painted = source + tf.minimum(tf.maximum(levels - own, -darkest), 255.0 - lightest)
    if look.strength < 1:
        painted = look.strength * painted + (1 - look.strength) * source
    return tf.cast(tf.round(painted), frame.dtype)


def _resampled(image: Any, columns: Taps, rows: Taps) -> Any:
    for axis, (places, weights), shape in ((-2, columns, [1, -1, 1]), (-3, rows, [-1, 1, 1])):
        parts = [
            tf.gather(image, place.astype(np.int32), axis=axis) * weight.reshape(shape)
            for place, weight in zip(places.T, weights.T, strict=True)
        ]
        image = tf.add_n(parts)
    image = tf.floor(image + 0.5) if rounds_up(columns, rows) else tf.round(image)
    return tf.clip_by_value(image, 0.0, 255.0)


def _stylized(graph: Any, frame: Any) -> Any:
    """`EncoderDecoderGraph.forward` in TensorFlow: (H, W, 3) uint8 RGB or (1, H, W, 3) in 0..255 to the same."""
    height, width, margin, bytes_in = frame.shape[-3], frame.shape[-2], graph.margin, frame.dtype == tf.uint8
    border = (graph.padding, graph.padding)
    x = tf.expand_dims(_framed(frame, border, border), 0) if bytes_in else _framed(frame, border, border, axis=1)
    x = tf.cast(x, tf.float32)  # (1, H + 2 padding, W + 2 padding, 3) in 0..255
    for i, layer in enumerate(graph.down):
        x = _convolution_and_norm(x, layer, _scope(f"down.{i}"))
    for i, block in enumerate(graph.blocks):
        y = _convolution_and_norm(x, block.first, _scope(f"blocks.{i}.first"))
        x = x + _convolution_and_norm(y, block.second, _scope(f"blocks.{i}.second"))
    for i, layer in enumerate(graph.up):
        grid = _grid(x, layer.weight, _scope(f"up.{i}"))
        x = tf.nn.depth_to_space(grid, 2)[:, 1:-1, 1:-1]
        x = _normalized(x, _moments(x), layer.norm.weight, layer.norm.bias, layer.norm.eps, relu=True)
    x = _tail(x, graph.tail)  # (1, h, w, 12), a 2x2 block of RGB pixels in each pixel
    x = tf.nn.relu(tf.tanh(x) * (255.0 * TANH_GAIN) + 127.5)
    x = tf.minimum(x, 255.0)
    x = tf.nn.depth_to_space(tf.cast(tf.round(x), tf.uint8) if bytes_in else x, 2)
    rows, columns = slice(margin, margin + height), slice(margin, margin + width)
    return x[0, rows, columns] if bytes_in else x[:, rows, columns]


def _patches_stylized(graph: Any, frame: Any) -> Any:
    """`PatchGraph.forward` in TensorFlow: (H, W, 3) uint8 RGB or (1, H, W, 3) in 0..255 to the same."""
    height, width, crop = frame.shape[-3], frame.shape[-2], graph.crop
    borders = (graph.before, graph.after + -height % 8), (graph.before, graph.after + -width % 8)
    if frame.dtype != tf.uint8:
        x = _in_pixels(graph, _framed(frame, *borders, axis=1))
        return x[:, crop : crop + height, crop : crop + width]
    x = _framed(frame, *borders)
    # As in `PatchGraph`, patches are columns of words; here row of patches by row.
    rows, columns = x.shape[0] // 4, x.shape[1] // 4
    x = tf.transpose(tf.reshape(x, [rows, 4, 3 * columns, 4]), [0, 2, 1, 3])
    x = tf.cast(tf.reshape(x, [1, rows, columns, 48]), tf.float32)  # in 0..255
    x = _between(graph, tf.nn.relu(_convolution(x, graph.stem, "stem")))
    x = _convolution(x, graph.head, "head")
    # Whole and within 0..255, so that the cast is the same in every engine.
    x = tf.cast(tf.round(tf.minimum(tf.nn.relu(x), 255.0)), tf.uint8)
    rows, columns = x.shape[1], x.shape[2]
    x = tf.transpose(tf.reshape(x, [rows, 3 * columns, 4, 4]), [0, 2, 1, 3])
    return tf.reshape(x, [4 * rows, 4 * columns, 3])[crop : crop + height, crop : crop + width]


def _in_pixels(graph: Any, x: Any) -> Any:
    """The network on pixels in place of patches: a stem of 12x12 pixels, and the head's channels become pixels."""
    order = torch.argsort(in_words())  # channels as rows, columns and colours of a patch
    stem = graph.stem.weight[:, order].reshape(-1, 4, 4, 3, 3, 3).permute(0, 3, 4, 1, 5, 2).reshape(-1, 3, 12, 12)
    with tf.name_scope("stem"):
        quarter = tf.nn.relu(tf.nn.conv2d(x, _kernel(stem), 4, "VALID") + graph.stem.bias.numpy())
    x = _between(graph, quarter)
    with tf.name_scope("head"):
        border = "SAME" if graph.head.padding[0] else "VALID"
        x = tf.nn.conv2d(x, _kernel(graph.head.weight[order]), 1, border) + graph.head.bias[order].numpy()
    return tf.nn.depth_to_space(tf.minimum(tf.nn.relu(x), 255.0), 4)


def _between(graph: Any, quarter: Any) -> Any:
    """What `PatchGraph.forward` computes between stem and head."""
    eighth = _convolution_and_norm(quarter, graph.down, "down")
    for i, block in enumerate(graph.blocks):
        y = _convolution_and_norm(eighth, block.first, _scope(f"blocks.{i}.first"))
        eighth = eighth + _convolution(y, block.second, _scope(f"blocks.{i}.second"))
    x = _convolution(eighth, graph.up, "up")
    if isinstance(graph, SmoothPatchGraph):
        x = quarter[:, 1:-1, 1:-1] + tf.image.resize(x, [2 * x.shape[1], 2 * x.shape[2]])  # from the pixels' centres
    else:
        x = quarter[:, 1:, 1:] + tf.nn.depth_to_space(x, 2)
    x = tf.nn.relu(x)
    for i, stroke in enumerate(graph.strokes):
        x = tf.nn.relu(_convolution(x, stroke, _scope(f"strokes.{i}")))
    return x


def _convolution(x: Any, layer: Any, name: str) -> Any:
    border = layer.padding[0]
    with tf.name_scope(name):
        if layer.padding_mode == "replicate":
            x, border = _framed(x, (border, border), (border, border), axis=1), 0
        x = tf.nn.conv2d(x, _kernel(layer.weight), layer.stride[0], "SAME" if border else "VALID")
        return x if layer.bias is None else x + layer.bias.numpy()


def _convolution_and_norm(x: Any, layer: Any, name: str) -> Any:
    x = _convolution(x, layer.conv, name)
    return _normalized(x, _moments(x), layer.norm.weight, layer.norm.bias, layer.norm.eps, relu=layer.relu)


def _framed(x: Any, rows: tuple[int, int], columns: tuple[int, int], *, axis: int = 0) -> Any:
    """Replicate the first and last row so many times, then the first and last column; rows are along `axis`."""
    for along, (before, after) in ((axis, rows), (axis + 1, columns)):
        ahead = (slice(None),) * along
        first, last = x[(*ahead, slice(0, 1))], x[(*ahead, slice(-1, None))]
        x = tf.concat([first] * before + [x] + [last] * after, along)
    return x


def _grid(x: Any, weight: Tensor, name: str) -> Any:
    """(1, h, w, inputs) to the grid's blocks, (1, h + 1, w + 1, 4 C)."""
    with tf.name_scope(name):
        return tf.nn.conv2d(tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]]), _kernel(weight), 1, "VALID")


def _tail(x: Any, tail: Any) -> Any:
    """`HalfSizeTail` in TensorFlow."""
    grid = _grid(x, tail.up_weight, _scope("tail.up"))
    mean = _mean_inside(grid)
    moments = (mean, _mean_inside(tf.math.squared_difference(grid, mean)))
    grid = _normalized(grid, moments, tail.norm_weight.repeat(4), tail.norm_bias.repeat(4), tail.epsilon, relu=True)
    border = tail.reach // 2
    with tf.name_scope(_scope("tail.head")):
        grid = tf.pad(grid, [[0, 0], [border, border], [border, border], [0, 0]]) if border else grid
        return tf.nn.conv2d(grid, _kernel(tail.head_weight), 1, "VALID") + tail.head_bias.numpy()


def _mean_inside(grid: Any) -> Any:
    """Mean of each channel over the enlarged picture, (1, 1, 1, 4 C), from blocks (1, h + 1, w + 1, 4 C)."""
    # The mean over the whole grid is corrected by its border (see `sums_inside`): sums over a frame overflow float16.
    rows, columns, channels = grid.shape[1], grid.shape[2], grid.shape[3] // 4
    inside = 4.0 * (rows - 1) * (columns - 1)
    place = np.arange(4).repeat(channels)
    lower, right = np.float32(place // 2), np.float32(place % 2)  # row and column in the block
    upper, left = 1 - lower, 1 - right

    def mean(part: Any) -> Any:
        return tf.reduce_mean(part, [1, 2], keepdims=True)

    outside_rows = mean(grid[:, :1]) * upper + mean(grid[:, -1:]) * lower
    outside_columns = mean(grid[:, :, :1]) * left + mean(grid[:, :, -1:]) * right
    corners = (
        grid[:, :1, :1] * (upper * left)
        + grid[:, :1, -1:] * (upper * right)
        + grid[:, -1:, :1] * (lower * left)
        + grid[:, -1:, -1:] * (lower * right)
    )
    total = mean(grid) * np.float32(rows * columns / inside) + corners * np.float32(1 / inside)
    total -= outside_rows * np.float32(columns / inside) + outside_columns * np.float32(rows / inside)
    over_places = tf.reduce_sum(tf.reshape(total, [1, 1, 4, channels]), 2, keepdims=True)
    return tf.concat([over_places] * 4, 3)


def _moments(x: Any) -> tuple[Any, Any]:
    """Mean and variance of each channel, (1, 1, 1, C) each."""
    mean = tf.reduce_mean(x, [1, 2], keepdims=True)
    return mean, tf.reduce_mean(tf.math.squared_difference(x, mean), [1, 2], keepdims=True)


def _normalized(x: Any, moments: tuple[Any, Any], weight: Tensor, bias: Tensor, epsilon: float, *, relu: bool) -> Any:
    mean, variance = moments
    scale = tf.math.rsqrt(variance + epsilon) * weight.numpy()
    x = x * scale + (bias.numpy() - mean * scale)
    return tf.nn.relu(x) if relu else x


def _kernel(weight: Tensor) -> NDArray[np.float32]:
    """(outputs, inputs, k, k) to TensorFlow's (k, k, inputs, outputs)."""
    return np.ascontiguousarray(weight.numpy().transpose(2, 3, 1, 0))


def _in_half_precision(model: bytes) -> bytes:
    """The convolutions' weights in float16, which engines convert back or use directly."""
    half = qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT)
    config = qtyping.OpQuantizationConfig(
        weight_tensor_config=half, compute_precision=qtyping.ComputePrecision.FLOAT, explicit_dequantize=True
    )
    work = quantizer.Quantizer(bytearray(model))
    work.update_quantization_recipe(
        ".*", qtyping.TFLOperationName.CONV_2D, config, algorithm_manager.AlgorithmName.FLOAT_CASTING
    )
    return bytes(work.quantize().quantized_model)


def _in_eight_bits(model: bytes, layers: list[str]) -> bytes:
    """These layers' convolutions in 8 bits; the range of a convolution's input is found in each frame."""
    work = quantizer.Quantizer(bytearray(model))
    for layer in layers:
        # An operator is named by its output.
        work.add_dynamic_config(rf"(^|;){_scope(layer)}/", qtyping.TFLOperationName.CONV_2D, 8)
    return bytes(work.quantize().quantized_model) if layers else model


def _scope(layer: str) -> str:
    return layer.replace(".", "_")
