"""What an ONNX file may hold, before any engine sees it."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import onnx
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper

from steadystyle.common.files import InputError
from steadystyle.runtimes.artifact import METADATA_KEY, NO_HASH, content_sha256
from steadystyle.runtimes.onnx_file import OPERATORS, check_artifact, check_network
from steadystyle.runtimes.registry import bundled_models
from steadystyle.tests.runtimes import material

METADATA = dataclasses.replace(material.METADATA, content_sha256=NO_HASH)


def write(
    path: Path, nodes: Sequence[NodeProto], weights: Sequence[TensorProto] = (), *, artifact: bool = True
) -> Path:
    """An ONNX file of these nodes; an artifact has metadata with the hash that fits."""
    ends = [helper.make_tensor_value_info(name, TensorProto.UINT8, ["h", "w", 3]) for name in ("in", "out")]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], list(weights))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    if artifact:
        helper.set_model_props(model, {"other": "text", METADATA_KEY: METADATA.to_json()})
    return sign(path, model)


def sign(path: Path, model: ModelProto) -> Path:
    content = model.SerializeToString()
    path.write_bytes(content.replace(NO_HASH.encode(), content_sha256(content).encode()))
    return path


def identity() -> NodeProto:
    return helper.make_node("Identity", ["in"], ["out"])


def elsewhere(name: str, location: str) -> TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    return tensor


def inside(node: NodeProto) -> NodeProto:
    """The node in the branch of an `If`."""
    out = helper.make_tensor_value_info("out", TensorProto.UINT8, ["h", "w", 3])
    branch = helper.make_graph([node], "branch", [], [out])
    return helper.make_node("If", ["in"], ["out"], then_branch=branch, else_branch=branch)


def test_an_artifact_is_let_in_with_its_metadata_and_another_network_without(tmp_path: Path) -> None:
    assert check_artifact(write(tmp_path / "a.onnx", [identity()])).name == "negative"
    check_network(write(tmp_path / "b.onnx", [identity()], artifact=False))
    with pytest.raises(InputError, match="no steadystyle metadata"):
        check_artifact(tmp_path / "b.onnx")


def test_every_bundled_model_is_let_in() -> None:
    for model in bundled_models():
        assert check_artifact(model.path).name == model.name


@pytest.mark.parametrize("location", ["weights.bin", "../weights.bin", "/etc/passwd"])
@pytest.mark.parametrize("check", [check_artifact, check_network])
def test_weights_in_other_files_are_refused(tmp_path: Path, location: str, check: Callable[[Path], object]) -> None:
    (tmp_path / "weights.bin").write_bytes(b"\0\0\0\0")
    file = write(tmp_path / "x.onnx", [identity()], [elsewhere("w", location)])
    with pytest.raises(InputError, match="takes weights from other files"):
        check(file)


def test_weights_in_other_files_are_found_in_attributes_and_branches(tmp_path: Path) -> None:
    constant = helper.make_node("Constant", [], ["out"], value=elsewhere("w", "weights.bin"))
    for number, node in enumerate((constant, inside(constant), inside(inside(constant)))):
        with pytest.raises(InputError, match="takes weights from other files"):
            check_network(write(tmp_path / f"{number}.onnx", [node], artifact=False))


@pytest.mark.parametrize("name", ["Loop", "Scan", "ConstantOfShape", "RandomNormal", "\x1b[2J"])
def test_an_artifact_with_another_operator_is_refused_and_another_network_is_not(tmp_path: Path, name: str) -> None:
    node = helper.make_node(name, ["in"], ["out"])
    with pytest.raises(InputError, match="which no export writes") as caught:
        check_artifact(write(tmp_path / "a.onnx", [node]))
    assert str(caught.value).isprintable()
    check_network(write(tmp_path / "b.onnx", [node], artifact=False))


def test_an_artifact_with_a_graph_in_an_operator_or_a_foreign_domain_is_refused(tmp_path: Path) -> None:
    carrier = inside(identity())
    carrier.op_type = "Identity"
    with pytest.raises(InputError, match="a graph inside"):
        check_artifact(write(tmp_path / "a.onnx", [carrier]))
    foreign = helper.make_node("Identity", ["in"], ["out"], domain="com.example")
    with pytest.raises(InputError, match="which no export writes"):
        check_artifact(write(tmp_path / "b.onnx", [foreign]))


def test_an_artifact_with_functions_is_refused(tmp_path: Path) -> None:
    model = onnx.load(write(tmp_path / "a.onnx", [identity()]))
    helper.set_model_props(model, {METADATA_KEY: METADATA.to_json()})
    relu = helper.make_node("Relu", ["x"], ["y"])
    model.functions.append(helper.make_function("d", "Relu", ["x"], ["y"], [relu], [helper.make_opsetid("", 18)]))
    with pytest.raises(InputError, match="functions of its own"):
        check_artifact(sign(tmp_path / "b.onnx", model))


@pytest.mark.parametrize("check", [check_artifact, check_network])
def test_a_damaged_file_is_refused(tmp_path: Path, check: Callable[[Path], object]) -> None:
    content = write(tmp_path / "a.onnx", [identity()]).read_bytes()
    for damaged in (b"", content[:-3], b"\xff" * 100, b"\x3a\x7f", b"text"):
        (tmp_path / "b.onnx").write_bytes(damaged)
        with pytest.raises(InputError, match="damaged or not an ONNX file"):
            check(tmp_path / "b.onnx")


def test_an_edited_artifact_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "a.onnx", [identity()])
    file.write_bytes(file.read_bytes().replace(b"Identity", b"BitwiseX"))
    with pytest.raises(InputError, match="hash does not fit"):
        check_artifact(file)


def test_no_loop_and_no_branch_is_among_the_operators() -> None:
    assert not OPERATORS & {"Loop", "Scan", "If", "ConstantOfShape"}
