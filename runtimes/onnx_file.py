"""Checks an ``.onnx`` file before an engine opens it, with the standard library alone."""

from pathlib import Path

from ..common.files import InputError
from ..common.protobuf import children, fields, texts
from .artifact import METADATA_KEY

# Field numbers in onnx.proto: models, texts, graphs, nodes, attributes, tensors.
_GRAPH, _PROPERTIES, _FUNCTIONS = 7, 14, 25
_KEY, _VALUE = 1, 2
_NODE, _INITIALIZER, _SPARSE_INITIALIZER = 1, 5, 15
_ATTRIBUTE, _OPERATOR, _DOMAIN = 5, 4, 7
_TENSOR, _SUBGRAPH, _TENSORS, _SUBGRAPHS = 5, 6, 10, 11
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14

OPERATORS = frozenset({
    "Add", "BitwiseNot", "Cast", "Clip", "Concat", "Constant", "Conv", "DequantizeLinear", "Div", "Expand", "Gather",
    "Identity", "InstanceNormalization", "Mul", "Pad", "QuantizeLinear", "Range", "Reciprocal", "ReduceSum", "Relu",
    "Reshape", "Resize", "Round", "Shape", "Slice", "Sqrt", "Squeeze", "Sub", "Tanh", "Tile", "Transpose", "Unsqueeze",
})  # fmt: skip
"""What an artifact's graph may compute: no loop, no branch, and nothing that makes large data of a small file."""


def check_onnx(path: Path) -> str | None:
    """Return the text of an artifact's metadata; None if the file has none, as other networks.

    Raises InputError if the file is damaged, if it takes data from other files, which its hash does not cover, or if
    an artifact holds an operator that is not in `OPERATORS`.
    """
    try:
        content = path.read_bytes()
        properties = {texts(entry, _KEY)[0]: entry for entry in children(content, _PROPERTIES)}
        text = texts(properties[METADATA_KEY], _VALUE)[0] if METADATA_KEY in properties else None
        graphs = [graph for number, graph in fields(content) if number == _GRAPH and isinstance(graph, memoryview)]
        for graph in graphs:
            _check_graph(path, graph, artifact=text is not None)
        if text is not None and children(content, _FUNCTIONS):
            raise _refused(path, "functions of its own")
    except InputError:
        raise
    except (ValueError, IndexError, RecursionError) as error:
        raise InputError(f"'{path}' is damaged or not an ONNX file: copy or export it again") from error
    return text


def _check_graph(path: Path, graph: memoryview, *, artifact: bool) -> None:
    tensors = [*children(graph, _INITIALIZER), *children(graph, _SPARSE_INITIALIZER)]
    for node in children(graph, _NODE):
        name = (texts(node, _OPERATOR) or [""])[0]
        if artifact and (name not in OPERATORS or texts(node, _DOMAIN) not in ([], [""], ["ai.onnx"])):
            raise _refused(path, f"the operator {name!a:.40}")
        for attribute in children(node, _ATTRIBUTE):
            tensors += [*children(attribute, _TENSOR), *children(attribute, _TENSORS)]
            for inner in (*children(attribute, _SUBGRAPH), *children(attribute, _SUBGRAPHS)):
                if artifact:
                    raise _refused(path, f"a graph inside the operator {name!a:.40}")
                _check_graph(path, inner, artifact=artifact)
    for tensor in tensors:
        if any(number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value) for number, value in fields(tensor)):
            raise InputError(f"'{path}' takes weights from other files: give a file that holds all of its weights")


def _refused(path: Path, what: str) -> InputError:
    return InputError(f"'{path}' cannot be used because it holds {what}, which no export writes: export it again")
