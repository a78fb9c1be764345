"""Which operators of a TensorFlow Lite file a delegate takes: a phone's GPU is fast only when it takes all of them.

The GPU's list is that of TensorFlow's and LiteRT's delegate (`NewOperationParser` in
tensorflow/lite/delegates/gpu/common/model_builder.cc), for values in float. Only names, types and axes are compared: an
older delegate knows fewer names, and a driver may refuse a size.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from ..runtimes.tflite import flatbuffer_of

GPU = frozenset({
    "ABS", "ADD", "ADD_N", "AVERAGE_POOL_2D", "BATCH_MATMUL", "CAST", "CONCATENATION", "CONV_2D", "COS", "CUMSUM",
    "DEPTHWISE_CONV_2D", "DEPTH_TO_SPACE", "DEQUANTIZE", "DIV", "ELU", "EQUAL", "EXP", "FLOOR", "FLOOR_DIV",
    "FLOOR_MOD", "FULLY_CONNECTED", "GATHER", "GELU", "GREATER", "GREATER_EQUAL", "HARD_SWISH", "LEAKY_RELU", "LESS",
    "LESS_EQUAL", "LOG", "LOGISTIC", "LSTM", "MAXIMUM", "MAX_POOL_2D", "MEAN", "MINIMUM", "MIRROR_PAD", "MUL", "NEG",
    "NOT_EQUAL", "ONE_HOT", "PACK", "PAD", "PADV2", "POW", "PRELU", "QUANTIZE", "REDUCE_MAX", "REDUCE_MIN",
    "REDUCE_PROD", "RELU", "RELU6", "RELU_0_TO_1", "RELU_N1_TO_1", "RESHAPE", "RESIZE_BILINEAR",
    "RESIZE_NEAREST_NEIGHBOR", "RSQRT", "SELECT_V2", "SIGN", "SIN", "SLICE", "SOFTMAX", "SPACE_TO_DEPTH", "SPLIT",
    "SPLIT_V", "SQRT", "SQUARE", "SQUARED_DIFFERENCE", "STRIDED_SLICE", "SUB", "SUM", "TANH", "TILE", "TRANSPOSE",
    "TRANSPOSE_CONV",
})  # fmt: skip
"""Operators of a phone's GPU, whose values are floats of at most four axes."""

_FLOATS = {schema.TensorType.FLOAT32, schema.TensorType.FLOAT16}
_INTEGERS = {schema.TensorType.INT32, schema.TensorType.INT64}
_NAMES = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
_MOST_AXES = 4


def gpu_text(path: Path) -> str:
    """How much of a ``.tflite`` file a phone's GPU takes: ``41 of 41 operators on the GPU``, or what it does not."""
    operators = _operators(path)
    refused = Counter(name for name, fits in operators if not fits or name not in GPU)
    names = ", ".join(f"{name} x {count}" if count > 1 else name for name, count in sorted(refused.items()))
    rest = f", not {names}" if refused else ""
    return f"{len(operators) - refused.total()} of {len(operators)} operators on the GPU{rest}"


def _operators(path: Path) -> Sequence[tuple[str, bool]]:
    """Each operator of the file's graph: its name, and whether its values are floats of at most four axes."""
    model: Any = schema.Model.GetRootAs(flatbuffer_of(path.read_bytes()), 0)
    graph = model.Subgraphs(0)
    found = []
    for number in range(graph.OperatorsLength()):
        operator = graph.Operators(number)
        code = model.OperatorCodes(operator.OpcodeIndex())
        indices = [int(index) for index in (*operator.InputsAsNumpy(), *operator.OutputsAsNumpy())]
        fits = all(_fits(model, graph.Tensors(index)) for index in indices if index >= 0)  # -1: none
        found.append((_NAMES[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())], fits))
    return found


def _fits(model: Any, tensor: Any) -> bool:
    """Whether a tensor is of floats, or of integers that the file holds: shapes, axes and places."""
    if tensor.Type() in _INTEGERS:
        buffer = model.Buffers(tensor.Buffer())
        return bool(buffer.DataLength() or buffer.Size())
    return tensor.Type() in _FLOATS and tensor.ShapeLength() <= _MOST_AXES
