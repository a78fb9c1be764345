"""Rewrite MediaPipe's selfie segmentation, a TensorFlow Lite file with a custom operator, as the bundled ONNX file.

    npm pack @mediapipe/selfie_segmentation@0.1.1675465747 && tar xf mediapipe-selfie_segmentation-*.tgz
    python -m studies.segmenter package/selfie_segmentation_landscape.tflite

The custom operator `Convolution2DTransposeBias` is a transposed convolution with a bias. Strides, which LiteRT does not
tell, follow from the shapes, and the padding is TensorFlow's "SAME". Prints how far the result is from LiteRT's own.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from ai_edge_litert.interpreter import Interpreter
from onnx import helper, numpy_helper

from steadystyle.common.files import atomic_path
from steadystyle.runtimes.look.person import MODEL, SIZE, Person
from steadystyle.video.synthetic.harbour import harbour

OPSET = 18
SIMPLE = {"ADD": "Add", "MUL": "Mul", "RELU": "Relu", "LOGISTIC": "Sigmoid", "HARD_SWISH": "HardSwish"}
POOLED = ("MEAN", "AVERAGE_POOL_2D")
"""Means over the whole picture, in this network."""


def converted(path: Path) -> Any:
    """The network as an ONNX model: ``frame``, (h, w, 3) uint8 RGB, to ``mask``, (h, w) float32 in [0, 1]."""
    engine = Interpreter(str(path))
    engine.allocate_tensors()
    shapes = {tensor["index"]: [int(side) for side in tensor["shape"]] for tensor in engine.get_tensor_details()}
    start, end = engine.get_input_details()[0]["index"], engine.get_output_details()[0]["index"]
    halves: dict[int, Any] = {}  # result of DEQUANTIZE -> weights in float16
    weights: list[Any] = []
    nodes: list[Any] = []

    def constant(value: Any) -> str:
        name = f"w{len(weights)}"
        weights.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def half(value: Any) -> str:
        """Weights in float16, as in the original, which the engine converts once."""
        name = constant(value.astype(np.float16))
        nodes.append(helper.make_node("Cast", [name], [f"{name}_f"], to=onnx.TensorProto.FLOAT))
        return f"{name}_f"

    height, width = shapes[start][1:3]
    nodes += [
        helper.make_node("Cast", ["frame"], ["floats"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Mul", ["floats", constant(np.float32(1 / 255))], ["scaled"]),
        helper.make_node("Transpose", ["scaled"], ["planes"], perm=[2, 0, 1]),
        helper.make_node("Reshape", ["planes", constant(np.array([1, 3, height, width]))], [f"t{start}"]),
    ]
    for operator in engine._get_ops_details():
        kind, inputs, result = (
            operator["op_name"],
            [int(i) for i in operator["inputs"] if i >= 0],
            int(operator["outputs"][0]),
        )
        given, made = f"t{inputs[0]}", f"t{result}"
        before, after = shapes[inputs[0]], shapes[result]
        if kind == "DELEGATE":  # LiteRT's own copy of all the others
            continue
        if kind == "DEQUANTIZE":
            halves[result] = engine.get_tensor(inputs[0])
        elif kind in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            deep = kind == "CONV_2D"
            kernel = halves[inputs[1]].transpose(0, 3, 1, 2) if deep else halves[inputs[1]].transpose(3, 0, 1, 2)
            stride = [round(a / b) for a, b in zip(before[1:3], after[1:3], strict=True)]
            nodes.append(
                helper.make_node(
                    "Conv",
                    [given, half(kernel), half(halves[inputs[2]])],
                    [made],
                    strides=stride,
                    auto_pad="SAME_UPPER",
                    group=1 if deep else before[3],
                )
            )
        elif kind == "Convolution2DTransposeBias":
            kernel = halves[inputs[1]].transpose(3, 0, 1, 2)
            ends = [given, half(kernel), half(halves[inputs[2]])]
            nodes.append(helper.make_node("ConvTranspose", ends, [made], strides=[2, 2]))
        elif kind in POOLED:
            nodes.append(helper.make_node("GlobalAveragePool", [given], [made]))
        elif kind == "RESIZE_BILINEAR":
            sides = constant(np.array([1, after[3], *after[1:3]]))
            nodes.append(
                helper.make_node(
                    "Resize", [given, "", "", sides], [made], mode="linear", coordinate_transformation_mode="half_pixel"
                )
            )
        else:
            nodes.append(helper.make_node(SIMPLE[kind], [f"t{i}" for i in inputs], [made]))
    nodes.append(helper.make_node("Reshape", [f"t{end}", constant(np.array([height, width]))], ["mask"]))
    graph = helper.make_graph(
        nodes,
        "selfie_segmentation",
        [helper.make_tensor_value_info("frame", onnx.TensorProto.UINT8, [height, width, 3])],
        [helper.make_tensor_value_info("mask", onnx.TensorProto.FLOAT, [height, width])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)


def main() -> None:
    """Write the bundled file; exit code 1 if its masks are not LiteRT's."""
    source = Path(sys.argv[1])
    model = converted(source)
    onnx.checker.check_model(model, full_check=True)
    with atomic_path(MODEL) as partial:
        onnx.save_model(model, partial)
    engine, person, frame = Interpreter(str(source)), Person(), harbour(*SIZE, 1).frame(0)
    engine.allocate_tensors()
    engine.set_tensor(engine.get_input_details()[0]["index"], frame[None].astype(np.float32) / 255)
    engine.invoke()
    wanted = engine.get_tensor(engine.get_output_details()[0]["index"])[0, ..., 0]
    difference = float(np.abs(person.raw(frame) - wanted).max())
    print(f"{MODEL}: {MODEL.stat().st_size} bytes, masks differ by at most {difference:.1e}")
    sys.exit(difference > 1e-4)


if __name__ == "__main__":
    main()
