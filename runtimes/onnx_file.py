"""Checks an ``.onnx`` file before an engine opens it, with the standard library alone."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..common.files import InputError
from ..common.protobuf import children, fields, texts
from .artifact import METADATA_KEY, ArtifactMetadata, check_content

# Field numbers in onnx.proto: models, texts, graphs, nodes, attributes, tensors.
_GRAPH, _PROPERTIES, _FUNCTIONS = 7, 14, 25
_KEY, _VALUE = 1, 2
_NODE, _INITIALIZER, _SPARSE_INITIALIZER = 1, 5, 15
_ATTRIBUTE, _OPERATOR, _DOMAIN = 5, 4, 7
_TENSOR, _SUBGRAPH, _TENSORS, _SUBGRAPHS = 5, 6, 10, 11
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14

OPERATORS = frozenset({
    "Add", "BitwiseNot", "Cast", "Clip", "Concat", "Constant", "Conv", "DequantizeLinear", "Div", "Expand", "Floor",
    "Gather", "Identity", "InstanceNormalization", "Max", "Min", "Mul", "Neg", "Pad", "QuantizeLinear", "Range",
    "Reciprocal", "ReduceMax", "ReduceMin", "ReduceSum", "Relu", "Reshape", "Resize", "Round", "Shape", "Slice", "Sqrt",
    "Squeeze", "Sub", "Tanh", "Tile", "Transpose", "Unsqueeze",
})  # fmt: skip
"""What an artifact's graph may compute; there is no loop and no branch."""


def check_artifact(path: Path) -> ArtifactMetadata:
    """Metadata of an artifact whose hash fits and whose graph holds `OPERATORS` only, in one file; else InputError."""
    with _damaged(path):
        content = path.read_bytes()
        entries = {texts(entry, _KEY)[0]: entry for entry in children(content, _PROPERTIES)}
        text = texts(entries[METADATA_KEY], _VALUE)[0] if METADATA_KEY in entries else None
        _graphs(content)  # what has none is damaged, whatever else it lacks
        metadata = check_content(path, text, content)
        _check_graphs(path, content, OPERATORS)
    return metadata


def check_network(path: Path) -> None:
    """Raise InputError unless it is an ONNX file that takes no data from other files, which no hash covers."""
    with _damaged(path):
        _check_graphs(path, path.read_bytes())


@contextmanager
def _damaged(path: Path) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except (ValueError, IndexError, RecursionError) as error:
        raise InputError(f"'{path}' is damaged or not an ONNX file: copy or export it again") from error


def _check_graphs(path: Path, content: bytes, operators: Collection[str] | None = None) -> None:
    if operators is not None and children(content, _FUNCTIONS):
        raise _refused(path, "functions of its own")
    for graph in _graphs(content):
        _check_graph(path, graph, operators)


def _graphs(content: bytes) -> list[memoryview]:
    found = children(content, _GRAPH)
    if not found:
        raise ValueError("it has no graph")
    return found


def _check_graph(path: Path, graph: memoryview, operators: Collection[str] | None) -> None:
    tensors = [*children(graph, _INITIALIZER), *children(graph, _SPARSE_INITIALIZER)]
    for node in children(graph, _NODE):
        name = (texts(node, _OPERATOR) or [""])[0]
        if operators is not None and (name not in operators or texts(node, _DOMAIN) not in ([], [""], ["ai.onnx"])):
            raise _refused(path, f"the operator {name!a:.40}")
        for attribute in children(node, _ATTRIBUTE):
            tensors += [*children(attribute, _TENSOR), *children(attribute, _TENSORS)]
            for inner in (*children(attribute, _SUBGRAPH), *children(attribute, _SUBGRAPHS)):
                if operators is not None:
                    raise _refused(path, f"a graph inside the operator {name!a:.40}")
                _check_graph(path, inner, operators)
    for tensor in tensors:
        if any(number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value) for number, value in fields(tensor)):
            raise InputError(f"'{path}' takes weights from other files: give a file that holds all of its weights")


def _refused(path: Path, what: str) -> InputError:
    return InputError(f"'{path}' cannot be used because it holds {what}, which no export writes: export it again")
