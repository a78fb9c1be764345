"""ONNX artifacts: what stands in the file, and that it runs at any size."""

import dataclasses
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from steadystyle.common.files import InputError, sha256_of
from steadystyle.export.calibration import load_calibration
from steadystyle.export.onnx import OPSET, OnnxWriter
from steadystyle.export.pipeline import export
from steadystyle.export.quantization import plan_quantization
from steadystyle.export.verify import load_test_frames, reference, shortfalls, verify
from steadystyle.runtimes.artifact import METADATA_KEY, ArtifactMetadata
from steadystyle.runtimes.registry import open_stylizer
from steadystyle.train.checkpoint import load_checkpoint


def random_frame(width: int, height: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def shape_of(end: onnx.ValueInfoProto) -> list[int | str]:
    return [side.dim_param or side.dim_value for side in end.type.tensor_type.shape.dim]


def test_the_file_of_a_fixed_size(fixed_size_artifact: Path) -> None:
    model = onnx.load_model(fixed_size_artifact)
    onnx.checker.check_model(model, full_check=True)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", OPSET)]
    (frame,), (stylized,) = model.graph.input, model.graph.output
    assert (frame.name, stylized.name) == ("frame", "stylized")
    assert shape_of(frame) == shape_of(stylized) == [48, 64, 3]
    assert frame.type.tensor_type.elem_type == stylized.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert not any(tensor.data_location for tensor in model.graph.initializer), "weights outside the file"
    assert "ConvTranspose" not in {node.op_type for node in model.graph.node}


def test_the_file_for_any_size(any_size_artifact: Path) -> None:
    model = onnx.load_model(any_size_artifact)
    assert shape_of(model.graph.input[0]) == shape_of(model.graph.output[0]) == ["height", "width", 3]


def test_the_metadata_inside(fixed_size_artifact: Path, tiny_checkpoint: Path) -> None:
    properties = {entry.key: entry.value for entry in onnx.load_model(fixed_size_artifact).metadata_props}
    metadata = ArtifactMetadata.from_json(properties[METADATA_KEY])
    assert metadata.file_name(".onnx") == fixed_size_artifact.name
    assert (metadata.width, metadata.height) == (64, 48)
    assert metadata.checkpoint_sha256 == sha256_of(tiny_checkpoint)
    assert (metadata.architecture, metadata.style, metadata.steps) == ("huang2017", "none.jpg", 0)
    assert metadata.calibration_sha256 is None
    figures = metadata.verification
    assert float(figures["psnr_db"]) >= 60
    assert float(figures["max_abs"]) <= 1
    assert float(figures["flicker_delta"]) == pytest.approx(1, abs=0.01)
    assert figures["size"] == "64x48"
    with open_stylizer(fixed_size_artifact) as stylizer:
        assert stylizer.metadata == metadata


def test_nothing_of_this_machine_is_inside(any_size_artifact: Path, fixed_size_artifact: Path) -> None:
    for path in (any_size_artifact, fixed_size_artifact):
        content = path.read_bytes()
        for trace in (b".py", b"site-packages", b"Traceback", b"stack_trace", str(Path.home()).encode() + b"/"):
            assert trace not in content, trace


def test_the_same_checkpoint_gives_the_same_file(
    tmp_path: Path, tiny_checkpoint: Path, fixed_size_artifact: Path
) -> None:
    (again,) = export(tiny_checkpoint, size=(64, 48), out_dir=tmp_path)
    assert again.path.read_bytes() == fixed_size_artifact.read_bytes()


@pytest.mark.parametrize(("width", "height"), [(64, 48), (65, 48), (66, 49), (67, 50), (37, 23), (128, 20)])
def test_any_size_is_any(any_size_artifact: Path, tiny_checkpoint: Path, width: int, height: int) -> None:
    frame = random_frame(width, height)
    with open_stylizer(any_size_artifact, threads=1) as stylizer:
        ours = stylizer(frame)
    theirs = reference(load_checkpoint(tiny_checkpoint).network, frame)
    assert ours.shape == frame.shape
    assert np.abs(ours.astype(int) - theirs).max() <= 1


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 9), (2, 3), (5, 1)])
def test_tiny_sizes_run(any_size_artifact: Path, width: int, height: int) -> None:
    with open_stylizer(any_size_artifact, threads=1) as stylizer:
        assert stylizer(random_frame(width, height)).shape == (height, width, 3)


def test_sizes_may_change_from_frame_to_frame(any_size_artifact: Path) -> None:
    with open_stylizer(any_size_artifact, threads=1) as stylizer:
        first = stylizer(random_frame(40, 30))
        stylizer(random_frame(21, 50))
        assert np.array_equal(stylizer(random_frame(40, 30)), first)


@pytest.mark.parametrize(
    ("size", "precision", "complaint"),
    [
        ((64, 48), "fp8", "knows no precision 'fp8'"),
        ((0, 48), "fp32", "size 0x48"),
        ((64, 100000), "fp32", "size 64x100000"),
    ],
)
def test_what_it_cannot_write(
    tmp_path: Path, tiny_checkpoint: Path, size: tuple[int, int] | None, precision: str, complaint: str
) -> None:
    with pytest.raises(InputError, match=complaint):
        export(tiny_checkpoint, "onnx", precision, size, tmp_path)
    assert list(tmp_path.iterdir()) == []


def _permuted(model: Any, number: int) -> None:
    weights = model.graph.initializer[number]
    values = np.roll(numpy_helper.to_array(weights), 1, 0)
    weights.CopyFrom(numpy_helper.from_array(values, weights.name))


def _scaled(model: Any, factor: float) -> None:
    entries = {entry.name: entry for entry in model.graph.initializer}
    scales = [node.input[1] for node in model.graph.node if node.op_type == "DequantizeLinear"]
    weights = next(entries[name] for name in scales if len(entries[name].dims) == 1)  # a scale for each channel
    weights.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights) * np.float32(factor), weights.name))


def _shifted(model: Any) -> None:
    """Crop one pixel lower: the last Slice takes rows from one further."""
    last = next(node for node in reversed(model.graph.node) if node.op_type == "Slice")
    for index in (1, 2):
        entry = next(item for item in model.graph.initializer if item.name == last.input[index])
        last.input[index] = f"{entry.name}_shifted"
        model.graph.initializer.append(numpy_helper.from_array(numpy_helper.to_array(entry) + 1, last.input[index]))


def _swapped(model: Any) -> None:
    """Give BGR: reverse the channels of what comes out."""
    model.graph.initializer.append(numpy_helper.from_array(np.array([2, 1, 0]), "order"))
    last = model.graph.node[-1]
    given = last.output[0]
    last.output[0] = "unswapped"
    model.graph.node.append(helper.make_node("Gather", ["unswapped", "order"], [given], axis=2))


@pytest.mark.parametrize(
    ("precision", "fault"),
    [
        *itertools.product(["fp32", "int8"], ["none", "permuted", "shifted", "swapped"]),
        ("int8", "scaled"),  # in float there are no scales
    ],
)
def test_a_fault_in_the_written_file_is_caught(
    tmp_path: Path, tiny_checkpoint: Path, broken_targets: Mapping[str, Path], precision: str, fault: str
) -> None:
    model = onnx.load_model(broken_targets[precision])
    floats = [i for i, w in enumerate(model.graph.initializer) if len(w.dims) == 4]
    {
        "none": lambda: None,
        "permuted": lambda: _permuted(model, floats[1]),
        "scaled": lambda: _scaled(model, 3.0),
        "shifted": lambda: _shifted(model),
        "swapped": lambda: _swapped(model),
    }[fault]()
    path = tmp_path / "fault.onnx"
    onnx.save_model(model, path)
    with open_stylizer(broken_targets[precision]) as whole:
        OnnxWriter().embed(path, whole.metadata)
    frames, network = load_test_frames(None, (64, 48)).frames, load_checkpoint(tiny_checkpoint).network
    wanted = [reference(network, frame) for frame in frames]
    with open_stylizer(path, threads=1) as stylizer:
        found = shortfalls(verify(stylizer, wanted, frames), precision)
    assert bool(found) == (fault != "none"), found


@pytest.fixture(scope="module")
def broken_targets(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path) -> Mapping[str, Path]:
    """The tiny network in two precisions; every layer but the first and the last in 8 bits."""
    folder = tmp_path_factory.mktemp("whole")
    network, writer = load_checkpoint(tiny_checkpoint).network, OnnxWriter()
    plan = plan_quantization(network, load_calibration([], (64, 48)), (64, 48))
    quantization = dataclasses.replace(plan, float_layers=frozenset({"down.0", "tail.up", "tail.head"}))
    paths = {}
    for precision, how in (("fp32", None), ("int8", quantization)):
        paths[precision] = folder / f"{precision}.onnx"
        writer.write(network, paths[precision], (64, 48), precision, how)
        writer.embed(
            paths[precision], ArtifactMetadata("tiny", "none", "huang2017", {}, precision, 64, 48, "", None, 0, "test")
        )
    return paths
