"""Writes ONNX. The only file that imports onnx."""

import io
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import redirect_stdout
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import onnx.compose
import torch
from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
from torch import nn

from ..common.arrays import Image, Size
from ..common.quiet import quiet
from ..runtimes.artifact import METADATA_KEY, NO_HASH, ArtifactMetadata, content_sha256
from ..runtimes.look import PLAIN, Look
from ..runtimes.registry import open_stylizer
from ..runtimes.stylizer import Stylizer
from .graphs.look import AfterNetwork, BeforeNetwork
from .graphs.registry import deployable_graph
from .quantization import Quantization, peaks_of_sums
from .target import Writer

OPSET = 18

_LARGE_FRAME = 640 * 360 * 3
"""Bytes of a calibration frame above which frames are observed one at a time. ONNX Runtime's quantizer keeps all
results of all frames that it observes together: 1 GB at 640x360, 10 GB at 1920x1080. Small frames stay together:
single frames would give the histograms other bins, and so change the artifact's bytes."""


class OnnxWriter(Writer):
    """The target ``onnx``; see `target.Writer`."""

    ending = ".onnx"
    default_precision = "fp32"
    any_size = True
    calibrated = frozenset({"int8"})
    layouts = ("HWC", "NHWC", "NCHW")
    bakes_looks = True
    rounds_results = True

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
        """Write a graph with input ``frame`` and output ``stylized``, each (height, width, 3) uint8 or of `layout`.

        fp16 computes the convolutions in float16. int8 is quantize-dequantize (QDQ) form around the convolutions: uint8
        activations, int8 weights with one scale per output channel. A look takes the frame's and the painting's bytes,
        and a layout of floats becomes bytes and comes from bytes: the picture is the same in every layout.
        """
        graph = quantization.graph if quantization else deployable_graph(network)
        if precision == "fp16":
            graph.in_half_precision()
        model = _graph_model(graph, frame=look.network_size(*size) if size else None)
        if quantization is not None:
            model = _in_eight_bits(model, quantization)
            if graph.on_bytes:
                _on_bytes(model)
        if look != PLAIN:
            model = _with_look(model, look, size)
        if layout != "HWC":
            _take_floats(model, layout)
        _strip(model)
        onnx.checker.check_model(model, full_check=True)
        onnx.save_model(model, path)
        return f"torch {torch.__version__}, onnx {onnx.__version__}, opset {OPSET}"

    def embed(self, path: Path, metadata: ArtifactMetadata) -> ArtifactMetadata:
        """Put the metadata among the model's properties; return it with the hash of the content."""
        model = onnx.load_model(path)
        for sha256 in (NO_HASH, None):
            metadata = replace(metadata, content_sha256=sha256 or content_sha256(path.read_bytes()))
            onnx.helper.set_model_props(model, {METADATA_KEY: metadata.to_json()})
            onnx.save_model(model, path)
        return metadata

    def run(self, path: Path) -> Stylizer:
        """Open with ONNX Runtime on the CPU."""
        return open_stylizer(path)


def _graph_model(graph: Any, **sizes: Size | None) -> Any:
    """The graph as an ONNX model in float32; the sizes of its inputs are by name, None for any."""
    shapes = [(size or (64, 48))[::-1] for size in sizes.values()]
    examples = tuple(torch.zeros((*shape, 3), dtype=torch.uint8) for shape in shapes)
    any_size = None in sizes.values()
    free = {0: torch.export.Dim("height"), 1: torch.export.Dim("width")}
    with quiet():
        program: Any = torch.onnx.export(
            graph,
            examples,
            dynamo=True,
            external_data=False,
            opset_version=OPSET,
            input_names=list(sizes),
            output_names=["stylized"],
            dynamic_shapes=dict.fromkeys(sizes, free) if any_size else None,
            verbose=False,
        )
    model = program.model_proto
    opset = next(entry.version for entry in model.opset_import if entry.domain == "")
    if opset != OPSET:  # the exporter silently replaces an opset that it cannot write
        raise RuntimeError(f"torch.onnx.export wrote opset {opset} where {OPSET} was asked for")
    _strip(model)
    _merge_slices(model)
    if any_size:
        # The exporter gives the output's sides as expressions; they equal the input's.
        for end in (*model.graph.input, *model.graph.output):
            end.type.tensor_type.shape.dim[0].dim_param = "height"
            end.type.tensor_type.shape.dim[1].dim_param = "width"
    return model


def _with_look(network: Any, look: Look, size: Size | None) -> Any:
    """A model of the frame, the network and the look, in that order; their own names get a prefix each."""
    seen = look.network_size(*size) if size else None
    after = _graph_model(AfterNetwork(look, size), frame=size, painting=seen)
    parts = {"network": network, "after": after}
    ends = {"network_frame": "frame", "after_frame": "frame", "after_painting": "network_stylized"}
    if look.stroke != 1 and size is not None:
        parts = {"before": _graph_model(BeforeNetwork(look, size), frame=size), **parts}
        ends |= {"before_frame": "frame", "network_frame": "before_stylized"}
    ends["after_stylized"] = "stylized"
    nodes, weights = [], []
    for name, part in parts.items():
        graph = onnx.compose.add_prefix(part, f"{name}_").graph
        weights += graph.initializer
        for node in graph.node:
            node.input[:] = [ends.get(end, end) for end in node.input]
            node.output[:] = [ends.get(end, end) for end in node.output]
            nodes.append(node)
    inputs = [end for end in after.graph.input if end.name == "frame"]
    graph = onnx.helper.make_graph(nodes, "main_graph", inputs, after.graph.output, weights)
    opsets = {entry.domain: entry for part in parts.values() for entry in part.opset_import}
    return onnx.helper.make_model(graph, opset_imports=opsets.values(), ir_version=network.ir_version)


_Step = tuple[str, list[str], dict[str, Any]]
"""An operator, its constants, its attributes."""


def _take_floats(model: Any, layout: str) -> None:
    """Change what a model takes and gives from (H, W, 3) uint8 to float32 in [0, 1] of this layout."""
    graph, channels_first = model.graph, layout == "NCHW"
    for node in graph.node:
        node.input[:] = ["frame_bytes" if name == "frame" else name for name in node.input]
        node.output[:] = ["stylized_bytes" if name == "stylized" else name for name in node.output]
    constants = {"floats_zero": np.float32(0), "floats_255": np.float32(255), "floats_axis": np.array([0], np.int64)}
    graph.initializer.extend(onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items())
    before: list[_Step] = [
        ("Mul", ["floats_255"], {}),
        ("Round", [], {}),
        ("Clip", ["floats_zero", "floats_255"], {}),
        ("Cast", [], {"to": onnx.TensorProto.UINT8}),
        ("Squeeze", ["floats_axis"], {}),
        *([("Transpose", [], {"perm": (1, 2, 0)})] if channels_first else []),
    ]
    after: list[_Step] = [
        *([("Transpose", [], {"perm": (2, 0, 1)})] if channels_first else []),
        ("Unsqueeze", ["floats_axis"], {}),
        ("Cast", [], {"to": onnx.TensorProto.FLOAT}),
        ("Div", ["floats_255"], {}),
    ]
    nodes = [
        _chain(steps, *ends)
        for steps, *ends in ((before, "frame", "frame_bytes"), (after, "stylized_bytes", "stylized"))
    ]
    kept = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes[0], *kept, *nodes[1]])
    for end in (graph.input[0], graph.output[0]):
        kind = end.type.tensor_type
        height, width, channels = (deepcopy(side) for side in kind.shape.dim)
        kind.elem_type = onnx.TensorProto.FLOAT
        del kind.shape.dim[:]
        one = onnx.TensorShapeProto.Dimension(dim_value=1)
        kind.shape.dim.extend([one, channels, height, width] if channels_first else [one, height, width, channels])


def _chain(steps: Sequence[_Step], first: str, last: str) -> list[Any]:
    """Nodes, each of which takes the result of the one before."""
    names = [first, *(f"{last}_{number}" for number in range(1, len(steps))), last]
    return [
        onnx.helper.make_node(
            operator, [names[i], *constants], [names[i + 1]], name=f"{names[i + 1]}_made", **attributes
        )
        for i, (operator, constants, attributes) in enumerate(steps)
    ]


def _merge_slices(model: Any) -> None:
    """Merge consecutive slices along different axes, because each slice is a copy."""
    graph = model.graph
    constants = {entry.name: onnx.numpy_helper.to_array(entry) for entry in graph.initializer}
    slices = {node.output[0]: node for node in graph.node if node.op_type == "Slice"}
    users = Counter(name for node in graph.node for name in node.input)
    for second in [node for node in slices.values() if node.input[0] in slices]:
        first = slices[second.input[0]]
        names = [*first.input[1:], *second.input[1:]]
        if len(names) != 8 or not all(name in constants for name in names) or users[first.output[0]] > 1:
            continue
        bounds = [[constants[name] for name in node.input[1:]] for node in (first, second)]
        if set(bounds[0][2]) & set(bounds[1][2]):
            continue
        for i, pair in enumerate(zip(*bounds, strict=True)):  # starts, ends, axes, steps
            name = f"{second.output[0]}_bounds_{i}"
            constants[name] = np.concatenate(pair)
            graph.initializer.append(onnx.numpy_helper.from_array(constants[name], name))
            second.input[1 + i] = name
        second.input[0] = first.input[0]
        graph.node.remove(first)
    _drop_unused_weights(graph)


def _drop_unused_weights(graph: Any) -> None:
    used = {name for node in graph.node for name in node.input}
    kept = [entry for entry in graph.initializer if entry.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


class _Frames:
    """Calibration frames as ONNX Runtime's `CalibrationDataReader`, which has no types."""

    def __init__(self, frames: Sequence[Image]) -> None:
        self._all = frames
        self._frames = iter(frames)

    def __len__(self) -> int:
        return len(self._all)

    def set_range(self, start_index: int, end_index: int) -> None:
        self._frames = iter(self._all[start_index:end_index])

    def get_next(self) -> dict[str, Image] | None:
        frame = next(self._frames, None)
        return None if frame is None else {"frame": frame}


def _in_eight_bits(model: Any, quantization: Quantization) -> Any:
    """The model with its layers in 8 bits, except those that stay in float; with `on_bytes`, the sums too."""
    graph, frames = quantization.graph, quantization.calibration.frames
    layers = graph.layers()
    weights = {entry.name: onnx.numpy_helper.to_array(entry).copy() for entry in model.graph.initializer}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    # A convolution without weights is a normalization, whose factors depend on the frame.
    own = [node for node in convolutions if node.input[1] in weights]
    if len(own) != len(layers):
        raise RuntimeError(f"{len(own)} convolutions were exported for {len(layers)} layers")
    in_float = {node.name for node in convolutions if node.input[1] not in weights}
    given = {}
    for node, layer in zip(own, layers, strict=True):
        if layer in quantization.float_layers:
            in_float.add(node.name)
        peaks = peaks_of_sums(torch.from_numpy(weights[node.input[1]])).numpy()
        given[node.input[1]] = [{"axis": 0, "rmin": -peak, "rmax": peak} for peak in peaks]
        if layer in quantization.ranges:  # layers in float, too: the sum after them is in 8 bits
            low, high = (np.float32(end) for end in quantization.ranges[layer])
            for tensor in _laid_out(model, node.output[0]):
                given[tensor] = [{"rmin": low, "rmax": high}]
    # Round a normalization only after its ReLU: before it, half of the steps are below zero.
    normalized = {name for node in model.graph.node if node.op_type == "InstanceNormalization" for name in node.output}
    in_float |= {node.name for node in model.graph.node if node.op_type == "Relu" and node.input[0] in normalized}
    options: dict[str, Any] = {"TensorQuantOverrides": given}
    if graph.on_bytes:
        options["CalibPercentile"] = 100 * (1 - graph.outliers)
        if frames[0].size > _LARGE_FRAME:
            options["CalibStridedMinMax"] = 1  # despite its name, the number of frames at a time
    with TemporaryDirectory() as folder, quiet(), redirect_stdout(io.StringIO()):
        written = Path(folder, "int8.onnx")
        quantize_static(
            model,
            written,
            _Frames(frames),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "Relu", "Add", "Slice", "Pad", "Resize"] if graph.on_bytes else ["Conv"],
            nodes_to_exclude=sorted(in_float),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            # Without outliers, the edge network flickers 1.03 times as much as in float, with them 1.05 times. Networks
            # with a normalization do not differ.
            calibrate_method=CalibrationMethod.Percentile if graph.on_bytes else CalibrationMethod.MinMax,
            extra_options=options,
        )
        eight = onnx.load_model(written)
    _keep_in_float(eight, in_float)
    return eight


def _keep_in_float(model: Any, layers: Collection[str]) -> None:
    """Part the convolutions of these names from dequantized inputs by an operator that changes nothing.

    Between bytes on both sides, ONNX Runtime gives float weights one scale a tensor in 8 bits: a picture fell to 19 dB.
    """
    graph, lowest = model.graph, "lowest"
    makers = {name: node for node in graph.node for name in node.output}
    graph.initializer.append(onnx.numpy_helper.from_array(np.array(np.finfo(np.float32).min), lowest))
    nodes = []
    for node in graph.node:
        maker = makers.get(node.input[0]) if node.op_type == "Conv" and node.name in layers else None
        if maker is not None and maker.op_type == "DequantizeLinear":
            parted = f"{node.output[0]}_in_float"
            nodes.append(onnx.helper.make_node("Clip", [node.input[0], lowest], [parted], name=parted))
            node.input[0] = parted
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    _drop_unused_weights(graph)


def _laid_out(model: Any, tensor: str) -> Iterator[str]:
    """A tensor, and those that hold its numbers in another order or interpolated."""
    yield tensor
    for node in model.graph.node:
        if node.op_type in ("Transpose", "Reshape", "Resize") and node.input[0] == tensor:
            yield from _laid_out(model, node.output[0])


def _on_bytes(model: Any) -> None:
    """Let a quantized graph compute on the bytes of the frames, without conversion to floats and back."""
    graph = model.graph
    makers = {name: node for node in graph.node for name in node.output}
    users: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    # With scale 1 and zero point 0, quantized values are the frame's bytes, and quantizing rounds and clips. An end
    # whose layer stays in float keeps its conversion.
    scale, zero = "bytes_scale", "bytes_zero_point"
    graph.initializer.append(onnx.numpy_helper.from_array(np.array(1, np.float32), scale))
    graph.initializer.append(onnx.numpy_helper.from_array(np.array(0, np.uint8), zero))
    dead: list[str] = []
    for cast in [node for node in graph.node if node.op_type == "Cast"]:
        after = users.get(cast.output[0], [])
        if after and all(node.op_type == "QuantizeLinear" for node in after):
            for quantize in after:
                for dequantize in users[quantize.output[0]]:
                    dequantize.input[:] = [cast.input[0], scale, zero]
                dead.append(quantize.name)
            dead.append(cast.name)
            continue
        chain, node = [cast], makers.get(cast.input[0])
        while node is not None and node.op_type in ("Clip", "Round", "Max", "Min"):
            chain.append(node)
            node = makers.get(node.input[0])
        quantize = makers.get(node.input[0]) if node is not None and node.op_type == "DequantizeLinear" else None
        if len(chain) > 1 and quantize is not None:
            dead += [part.name for part in (*chain, node)]
            quantize.input[1:] = [scale, zero]
            quantize.output[0] = cast.output[0]
    # Replication copies values, so it may copy bytes; ONNX Runtime does not find this itself.
    for pad in [node for node in graph.node if node.op_type == "Pad"]:
        before, after = makers.get(pad.input[0]), users.get(pad.output[0], [])
        if before is None or [before.op_type, *(use.op_type for use in after)] != [
            "DequantizeLinear",
            "QuantizeLinear",
        ]:
            continue
        if before.input[1:] == after[0].input[1:]:
            pad.input[0], pad.output[0] = before.input[0], after[0].output[0]
            dead += [after[0].name, *([before.name] if len(users[before.output[0]]) == 1 else [])]
    kept = [node for node in graph.node if node.name not in dead]
    del graph.node[:]
    graph.node.extend(kept)
    _drop_unused_weights(graph)


def _strip(model: Any) -> None:
    # The exporter stores this machine's source paths and traced shapes. Without them, equal networks give equal files.
    del model.metadata_props[:], model.graph.metadata_props[:], model.graph.value_info[:]
    model.doc_string = model.graph.doc_string = ""
    for entry in (*model.graph.node, *model.graph.initializer, *model.graph.input, *model.graph.output):
        del entry.metadata_props[:]
        entry.doc_string = ""
