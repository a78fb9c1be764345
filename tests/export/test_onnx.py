"""ONNX artifacts: what stands in the file, and that it runs at any size."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from steadystyle.export.onnx import OPSET, export_onnx
from steadystyle.export.verify import reference
from steadystyle.runtimes.artifact import METADATA_KEY, ArtifactMetadata
from steadystyle.runtimes.registry import open_stylizer
from steadystyle.train.checkpoint import load_checkpoint
from steadystyle.video.files import InputError, sha256_of


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
    export_onnx(tiny_checkpoint, tmp_path / "again.onnx", size=(64, 48))
    assert (tmp_path / "again.onnx").read_bytes() == fixed_size_artifact.read_bytes()


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
    ("name", "size", "precision", "complaint"),
    [
        ("a.onnx", None, "int8", "onnx in int8 needs a fixed size"),
        ("a.onnx", (64, 48), "fp8", "knows no precision 'fp8'"),
        ("a.onnx", (0, 48), "fp32", "size 0x48"),
        ("a.onnx", (64, 100000), "fp32", "size 64x100000"),
        ("a.tflite", (64, 48), "fp32", r"end its name in \.onnx"),
    ],
)
def test_what_it_cannot_write(
    tmp_path: Path, tiny_checkpoint: Path, name: str, size: tuple[int, int] | None, precision: str, complaint: str
) -> None:
    with pytest.raises(InputError, match=complaint):
        export_onnx(tiny_checkpoint, tmp_path / name, size=size, precision=precision)
    assert list(tmp_path.iterdir()) == []
