"""What an ONNX file may hold, before any engine sees it."""

from collections.abc import Sequence
from pathlib import Path

import onnx
import pytest
from onnx import NodeProto, TensorProto, helper

from steadystyle.common.files import InputError
from steadystyle.runtimes.artifact import METADATA_KEY
from steadystyle.runtimes.onnx_file import OPERATORS, check_onnx
from steadystyle.runtimes.registry import bundled_models


def write(
    path: Path, nodes: Sequence[NodeProto], weights: Sequence[TensorProto] = (), *, metadata: str | None = "{}"
) -> Path:
    ends = [helper.make_tensor_value_info(name, TensorProto.UINT8, ["h", "w", 3]) for name in ("in", "out")]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], list(weights))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    if metadata is not None:
        helper.set_model_props(model, {"other": "text", METADATA_KEY: metadata})
    path.write_bytes(model.SerializeToString())
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


def test_the_metadata_is_given_back_and_other_networks_have_none(tmp_path: Path) -> None:
    assert check_onnx(write(tmp_path / "a.onnx", [identity()], metadata='{"a": 1}')) == '{"a": 1}'
    assert check_onnx(write(tmp_path / "b.onnx", [identity()], metadata=None)) is None


def test_every_bundled_model_is_let_in() -> None:
    for model in bundled_models():
        text = check_onnx(model.path)
        assert text is not None, model.name
        assert f'"name": "{model.name}"' in text


@pytest.mark.parametrize("location", ["weights.bin", "../weights.bin", "/etc/passwd"])
@pytest.mark.parametrize("metadata", ["{}", None])
def test_weights_in_other_files_are_refused(tmp_path: Path, location: str, metadata: str | None) -> None:
    (tmp_path / "weights.bin").write_bytes(b"\0\0\0\0")
    file = write(tmp_path / "x.onnx", [identity()], [elsewhere("w", location)], metadata=metadata)
    with pytest.raises(InputError, match="takes weights from other files"):
        check_onnx(file)


def test_weights_in_other_files_are_found_in_attributes_and_branches(tmp_path: Path) -> None:
    constant = helper.make_node("Constant", [], ["out"], value=elsewhere("w", "weights.bin"))
    with pytest.raises(InputError, match="takes weights from other files"):
        check_onnx(write(tmp_path / "a.onnx", [constant]))
    with pytest.raises(InputError, match="takes weights from other files"):
        check_onnx(write(tmp_path / "b.onnx", [inside(constant)], metadata=None))


@pytest.mark.parametrize("name", ["Loop", "Scan", "ConstantOfShape", "RandomNormal", "\x1b[2J"])
def test_an_artifact_with_another_operator_is_refused_and_another_network_is_not(tmp_path: Path, name: str) -> None:
    node = helper.make_node(name, ["in"], ["out"])
    with pytest.raises(InputError, match="which no export writes") as caught:
        check_onnx(write(tmp_path / "a.onnx", [node]))
    assert str(caught.value).isprintable()
    assert check_onnx(write(tmp_path / "b.onnx", [node], metadata=None)) is None


def test_an_artifact_with_a_graph_in_an_operator_or_a_foreign_domain_is_refused(tmp_path: Path) -> None:
    carrier = inside(identity())
    carrier.op_type = "Identity"
    with pytest.raises(InputError, match="a graph inside"):
        check_onnx(write(tmp_path / "a.onnx", [carrier]))
    foreign = helper.make_node("Identity", ["in"], ["out"], domain="com.example")
    with pytest.raises(InputError, match="which no export writes"):
        check_onnx(write(tmp_path / "b.onnx", [foreign]))


def test_an_artifact_with_functions_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "a.onnx", [identity()])
    model = onnx.load(file)
    opset = [helper.make_opsetid("", 18)]
    model.functions.append(
        helper.make_function("d", "Relu", ["x"], ["y"], [helper.make_node("Relu", ["x"], ["y"])], opset)
    )
    file.write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match="functions of its own"):
        check_onnx(file)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    content = write(tmp_path / "a.onnx", [identity()]).read_bytes()
    for damaged in (content[:-3], b"\xff" * 100, b"\x3a\x7f"):
        (tmp_path / "b.onnx").write_bytes(damaged)
        with pytest.raises(InputError, match="damaged or not an ONNX file"):
            check_onnx(tmp_path / "b.onnx")


def test_no_loop_and_no_branch_is_among_the_operators() -> None:
    assert not OPERATORS & {"Loop", "Scan", "If", "ConstantOfShape"}
