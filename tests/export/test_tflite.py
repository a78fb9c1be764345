"""TensorFlow Lite artifacts: what stands in the file, that it computes what the checkpoint does, and how it is kept."""

import dataclasses
import mmap
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from steadystyle.export.calibration import Calibration
from steadystyle.export.graphs.encoder_decoder import EncoderDecoderGraph
from steadystyle.export.quantization import Quantization
from steadystyle.export.tflite import TfliteWriter
from steadystyle.export.verify import FLOORS_DB, load_test_frames, reference, verify
from steadystyle.runtimes.artifact import ArtifactMetadata
from steadystyle.runtimes.tflite import METADATA_FILE, TfliteStylizer, flatbuffer_of, read_metadata, sealed
from steadystyle.train.checkpoint import Checkpoint, load_checkpoint

SIZE = (64, 48)
WRITER = TfliteWriter()


def metadata(size: tuple[int, int], precision: str) -> ArtifactMetadata:
    return ArtifactMetadata(
        name="tiny",
        style="none.jpg",
        architecture="huang2017",
        sizes={},
        precision=precision,
        width=size[0],
        height=size[1],
        checkpoint_sha256="",
        calibration_sha256=None,
        steps=0,
        producer="test",
    )


def written(network: Any, path: Path, size: tuple[int, int], precision: str) -> Path:
    WRITER.write(network, path, size, precision, None)
    WRITER.embed(path, metadata(size, precision))
    return path


@pytest.fixture(scope="module")
def tiny(tiny_checkpoint: Path) -> Checkpoint:
    return load_checkpoint(tiny_checkpoint)


@pytest.fixture(scope="module")
def artifacts(tiny: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("tflite")
    return {
        precision: written(tiny.network, folder / f"{precision}.tflite", SIZE, precision)
        for precision in WRITER.precisions
    }


def wanted(checkpoint: Checkpoint, frames: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
    return [reference(checkpoint.network, frame) for frame in frames]


def opened(path: Path) -> Any:
    interpreter: Any = Interpreter(model_path=str(path))
    return interpreter


def operators(path: Path) -> list[dict[str, Any]]:
    return [dict(entry) for entry in opened(path)._get_ops_details()]


def convolutions(path: Path) -> Iterator[tuple[str, str]]:
    """Name of each convolution's output, and the type of its weights."""
    interpreter = opened(path)
    for operator in operators(path):
        if operator["op_name"] == "CONV_2D":
            name = interpreter._get_tensor_details(operator["outputs"][0], 0)["name"]
            yield name, np.dtype(operator["operand_types"][1]).name


@pytest.mark.parametrize("precision", WRITER.precisions)
def test_what_it_takes_and_gives(artifacts: dict[str, Path], precision: str) -> None:
    interpreter = opened(artifacts[precision])
    assert interpreter.get_signature_list() == {"serving_default": {"inputs": ["frame"], "outputs": ["stylized"]}}
    for ends in (interpreter.get_input_details(), interpreter.get_output_details()):
        assert [(list(end["shape"]), end["dtype"]) for end in ends] == [([48, 64, 3], np.uint8)]


@pytest.mark.parametrize("precision", WRITER.precisions)
def test_nothing_is_transposed(artifacts: dict[str, Path], precision: str) -> None:
    counts = Counter(operator["op_name"] for operator in operators(artifacts[precision]))
    assert counts["CONV_2D"] > 5
    assert counts["TRANSPOSE"] == counts["MIRROR_PAD"] == counts["TRANSPOSE_CONV"] == 0


def test_each_convolution_is_named_after_its_layer(artifacts: dict[str, Path], tiny: Checkpoint) -> None:
    layers = [layer.replace(".", "_") for layer in EncoderDecoderGraph(tiny.network).layers()]
    names = [name for name, _ in convolutions(artifacts["fp32"])]
    assert len(names) == len(layers)
    for name, layer in zip(names, layers, strict=True):
        assert name.startswith(f"{layer}/"), names


@pytest.mark.parametrize("size", [SIZE, (50, 38), (37, 61)])
def test_float32_is_the_checkpoint(tiny: Checkpoint, tmp_path: Path, size: tuple[int, int]) -> None:
    path = written(tiny.network, tmp_path / "a.tflite", size, "fp32")
    test = load_test_frames(None, size)
    with WRITER.run(path) as stylizer:
        figures = verify(stylizer, wanted(tiny, test.frames), test.frames, test.pairs)
    assert float(figures["psnr_db"]) >= FLOORS_DB["fp32"]
    assert float(figures["max_abs"]) <= 1


def test_float16_is_half_the_size_and_close(artifacts: dict[str, Path], tiny: Checkpoint) -> None:
    test = load_test_frames(None, SIZE)
    with WRITER.run(artifacts["fp16"]) as stylizer:
        assert float(verify(stylizer, wanted(tiny, test.frames), test.frames)["psnr_db"]) >= FLOORS_DB["fp16"]
    kinds = Counter(
        np.dtype(kind).name
        for operator in operators(artifacts["fp16"])
        if operator["op_name"] == "DEQUANTIZE"
        for kind in operator["operand_types"]
    )
    assert kinds == {"float16": len(EncoderDecoderGraph(tiny.network).layers())}


@pytest.mark.parametrize("in_float", [frozenset[str](), frozenset({"blocks.0.second", "tail.up"})])
def test_layers_in_8_bits_and_in_float(tiny: Checkpoint, tmp_path: Path, in_float: frozenset[str]) -> None:
    graph = EncoderDecoderGraph(tiny.network)
    quantization = Quantization(Calibration([], "test"), graph, float_layers=in_float)
    WRITER.write(tiny.network, tmp_path / "a.tflite", SIZE, "int8", quantization)
    layers = graph.layers()
    kinds = dict(zip(layers, (kind for _, kind in convolutions(tmp_path / "a.tflite")), strict=True))
    assert kinds == {layer: "float32" if layer in in_float else "int8" for layer in layers}


def test_weights_in_8_bits_have_a_scale_for_each_channel(artifacts: dict[str, Path]) -> None:
    interpreter = opened(artifacts["int8"])
    for operator in operators(artifacts["int8"]):
        if operator["op_name"] == "CONV_2D":
            weights = interpreter._get_tensor_details(operator["inputs"][1], 0)
            assert len(weights["quantization_parameters"]["scales"]) == weights["shape"][0]


def test_8_bits_are_close(artifacts: dict[str, Path], tiny: Checkpoint) -> None:
    test = load_test_frames(None, SIZE)
    with WRITER.run(artifacts["int8"]) as stylizer:
        figures = verify(stylizer, wanted(tiny, test.frames), test.frames, test.pairs)
    assert float(figures["psnr_db"]) >= FLOORS_DB["int8"]
    assert float(figures["max_abs"]) >= 1, "nothing was rounded"


def test_all_layers_may_stay_in_float(tiny: Checkpoint, tmp_path: Path) -> None:
    graph = EncoderDecoderGraph(tiny.network)
    every = frozenset(graph.layers())
    path = tmp_path / "a.tflite"
    WRITER.write(tiny.network, path, SIZE, "int8", Quantization(Calibration([], "test"), graph, float_layers=every))
    assert {kind for _, kind in convolutions(path)} == {"float32"}


@pytest.mark.parametrize("precision", WRITER.precisions)
def test_the_same_checkpoint_gives_the_same_file(
    artifacts: dict[str, Path], tiny: Checkpoint, tmp_path: Path, precision: str
) -> None:
    again = written(tiny.network, tmp_path / "again.tflite", SIZE, precision)
    assert again.read_bytes() == artifacts[precision].read_bytes()


@pytest.mark.parametrize("precision", WRITER.precisions)
def test_nothing_of_this_machine_is_inside(artifacts: dict[str, Path], precision: str) -> None:
    content = artifacts[precision].read_bytes()
    for trace in (b".py", b"site-packages", b"Traceback", b"/tmp", str(Path.home()).encode() + b"/"):
        assert trace not in content, trace


@pytest.mark.parametrize("layer", ["down.1.conv.weight", "blocks.0.first.conv.weight", "up.1.conv.weight"])
def test_weights_permuted_by_one_channel_are_caught(
    tiny_checkpoint: Path, tiny: Checkpoint, tmp_path: Path, layer: str
) -> None:
    wrong = load_checkpoint(tiny_checkpoint).network
    values = wrong.state_dict()[layer]
    values.copy_(values.roll(1, 0))
    path = written(wrong, tmp_path / "a.tflite", SIZE, "fp32")
    frames = load_test_frames(None, SIZE).frames
    with WRITER.run(path) as stylizer:
        figures = verify(stylizer, wanted(tiny, frames), frames)
    assert float(figures["psnr_db"]) < FLOORS_DB["fp32"]


def test_metadata_replaces_what_was_there(artifacts: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "a.tflite"
    path.write_bytes(artifacts["fp32"].read_bytes())
    embedded = WRITER.embed(path, dataclasses.replace(metadata(SIZE, "fp32"), producer="another"))
    assert path.read_bytes().count(METADATA_FILE.encode()) == 2  # in the entry and in the archive's directory
    assert read_metadata(path) == embedded
    assert embedded.producer == "another"
    assert embedded.content_sha256 == sealed(flatbuffer_of(path.read_bytes()), embedded)
    assert embedded.content_sha256 != read_metadata(artifacts["fp32"]).content_sha256
    WRITER.embed(path, metadata(SIZE, "fp32"))
    assert path.read_bytes() == artifacts["fp32"].read_bytes()


def test_engines_bear_what_stands_behind_the_model(artifacts: dict[str, Path]) -> None:
    path = artifacts["fp32"]
    frame = load_test_frames(None, SIZE).frames[0]
    with TfliteStylizer(path, provider="litert") as stylizer:
        expected = stylizer(frame)

    def stylized(interpreter: Any) -> NDArray[np.uint8]:
        interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], frame)
        interpreter.invoke()
        return np.asarray(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))

    interpreter: Any = Interpreter
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        for whole in (
            interpreter(model_path=str(path)),  # which maps the file into memory
            interpreter(model_content=path.read_bytes()),
            interpreter(model_content=bytes(mapped)),
        ):
            assert np.abs(stylized(whole).astype(int) - expected).max() <= 1


def test_what_it_cannot_write(tiny: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="fixed size"):
        WRITER.write(tiny.network, tmp_path / "a.tflite", None, "fp32", None)
    assert list(tmp_path.iterdir()) == []


def test_the_converter_keeps_quiet(tiny: Checkpoint, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    written(tiny.network, tmp_path / "a.tflite", (32, 32), "int8")
    with WRITER.run(tmp_path / "a.tflite") as stylizer:
        stylizer(np.zeros((32, 32, 3), np.uint8))
    assert capfd.readouterr() == ("", "")
