"""Core ML packages: what stands in them, what they compute, and that a wrong one does not pass."""

import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from steadystyle.common.files import InputError, sha256_of
from steadystyle.export.coreml import CoremlWriter
from steadystyle.export.graphs.encoder_decoder import EncoderDecoderImageGraph
from steadystyle.export.mil import MilStylizer
from steadystyle.export.pipeline import export
from steadystyle.export.verify import FLOORS_DB, load_test_frames, reference, verify
from steadystyle.runtimes.artifact import ArtifactMetadata
from steadystyle.runtimes.coreml import model_file, quiet, read_metadata
from steadystyle.runtimes.registry import MODELS
from steadystyle.train.checkpoint import Checkpoint, load_checkpoint
from steadystyle.train.networks import ConvNorm, build_network

with quiet():
    from coremltools.proto import MIL_pb2, Model_pb2

SIZE = (50, 38)  # no multiple of 4 in either direction
METADATA = ArtifactMetadata(
    name="tiny",
    style="none.jpg",
    architecture="huang2017",
    sizes={},
    precision="fp32",
    width=SIZE[0],
    height=SIZE[1],
    checkpoint_sha256="",
    calibration_sha256=None,
    steps=0,
    producer="test",
)


@pytest.fixture(scope="module")
def tiny(tiny_checkpoint: Path) -> Checkpoint:
    return load_checkpoint(tiny_checkpoint)


@pytest.fixture(scope="module")
def frames() -> list[NDArray[np.uint8]]:
    return list(load_test_frames(None, SIZE).frames[:2])


@pytest.fixture(scope="module")
def packages(tiny: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The tiny network in each precision."""
    folder, writer, found = tmp_path_factory.mktemp("packages"), CoremlWriter(), {}
    for precision in writer.precisions:
        found[precision] = folder / f"tiny-50x38-{precision}.mlpackage"
        writer.write(tiny.network, found[precision], SIZE, precision, None)
        writer.embed(found[precision], METADATA)
    return found


def spec_of(package: Path) -> Any:
    spec = Model_pb2.Model()
    spec.ParseFromString(model_file(package).read_bytes())
    return spec


def operations(spec: Any) -> list[Any]:
    main = spec.mlProgram.functions["main"]
    return list(main.block_specializations[main.opset].operations)


def psnr(package: Path, tiny: Checkpoint, frames: list[NDArray[np.uint8]]) -> float:
    with CoremlWriter().run(package) as stylizer:
        return float(verify(stylizer, [reference(tiny.network, frame) for frame in frames], frames)["psnr_db"])


@pytest.mark.parametrize("precision", CoremlWriter.precisions)
def test_a_package_computes_what_its_checkpoint_does(
    packages: dict[str, Path], tiny: Checkpoint, frames: list[NDArray[np.uint8]], precision: str
) -> None:
    assert psnr(packages[precision], tiny, frames) >= FLOORS_DB[precision]


def test_less_precision_is_less_exact_and_smaller(packages: dict[str, Path], tiny: Checkpoint) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (SIZE[1], SIZE[0], 3), np.uint8)
    wanted = reference(tiny.network, frame).astype(float)
    errors, sizes = [], []
    for precision in ("fp32", "fp16", "int8"):
        errors.append(np.square(MilStylizer(packages[precision])(frame) - wanted).mean())
        sizes.append((model_file(packages[precision]).parent / "weights" / "weight.bin").stat().st_size)
    assert errors[0] < errors[1] < errors[2]
    assert sizes[0] > sizes[1]  # so few weights gain nothing from 8 bits: each tensor is padded to 64 bytes


def test_pictures_in_and_pictures_out(packages: dict[str, Path]) -> None:
    for package in packages.values():
        spec = spec_of(package)
        (frame,), (stylized,) = spec.description.input, spec.description.output
        assert (frame.name, stylized.name) == ("frame", "stylized")
        for end in (frame, stylized):
            image = end.type.imageType
            assert (image.width, image.height, image.colorSpace) == (*SIZE, 20)
            assert image.WhichOneof("SizeFlexibility") is None
        assert spec.specificationVersion == 7, "iOS 16"


def test_the_precision_inside(packages: dict[str, Path]) -> None:
    for precision, package in packages.items():
        steps = operations(spec_of(package))
        kinds = {op.outputs[0].type.tensorType.dataType for op in steps if op.type == "conv"}
        assert kinds == {MIL_pb2.FLOAT32 if precision == "fp32" else MIL_pb2.FLOAT16}
        stored = [op for op in steps if op.type == "constexpr_affine_dequantize"]
        assert len(stored) == (8 if precision == "int8" else 0), "a compressed weight for each convolution"
        types = {op.attributes["quantized_data"].type.tensorType.dataType for op in stored}
        assert types <= {MIL_pb2.INT8}
        scales = [op.attributes["scale"].type.tensorType for op in stored]
        assert all(scale.rank == 1 and scale.dimensions[0].constant.size > 1 for scale in scales), "one a channel"


def test_no_operator_that_went_wrong_before(packages: dict[str, Path]) -> None:
    for package in packages.values():
        assert not {"conv_transpose", "resize_bilinear", "shape", "gather"} & {
            op.type for op in operations(spec_of(package))
        }


def test_the_result_does_not_depend_on_rounding_by_core_ml(packages: dict[str, Path]) -> None:
    frame = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 3, SIZE[1], SIZE[0])).astype(np.float32))
    for package in packages.values():
        result = MilStylizer(package)._program(frame)
        assert torch.equal(result, result.round())
        assert result.min() >= 0
        assert result.max() <= 255


def test_the_metadata_inside(packages: dict[str, Path]) -> None:
    metadata = read_metadata(packages["fp16"])
    assert (metadata.name, metadata.width, metadata.height) == ("tiny", *SIZE)
    text = spec_of(packages["fp16"]).description.metadata
    assert all((text.shortDescription, text.author, text.license))


def test_nothing_of_this_machine_or_day_is_inside(packages: dict[str, Path]) -> None:
    for package in packages.values():
        for file in package.rglob("*"):
            if not file.is_file():
                continue
            assert stat.S_IMODE(file.stat().st_mode) == stat.S_IMODE((package / "Manifest.json").stat().st_mode)
            content = file.read_bytes()
            for trace in (b".py", b"site-packages", b"conversion_date", str(Path.home()).encode() + b"/"):
                assert trace not in content, (file.name, trace)


def test_the_same_checkpoint_gives_the_same_package(
    packages: dict[str, Path], tiny: Checkpoint, tmp_path: Path
) -> None:
    again = tmp_path / "another name.mlpackage"
    writer = CoremlWriter()
    writer.write(tiny.network, again, SIZE, "int8", None)
    writer.embed(again, METADATA)
    files = [path.relative_to(again) for path in again.rglob("*") if path.is_file()]
    assert len(files) == 3
    for file in files:
        assert (again / file).read_bytes() == (packages["int8"] / file).read_bytes(), file


def test_embedding_again_replaces_what_was_there(packages: dict[str, Path], tmp_path: Path) -> None:
    package = shutil.copytree(packages["fp32"], tmp_path / "a.mlpackage")
    for psnr_db in (50.0, 60.0):
        embedded = CoremlWriter().embed(
            package, ArtifactMetadata(**{**vars(METADATA), "verification": {"psnr_db": psnr_db}})
        )
        assert read_metadata(package) == embedded
        assert embedded.verification == {"psnr_db": psnr_db}


def test_the_stages_of_an_export(tiny_checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):  # the second replaces the first
        (result,) = export(tiny_checkpoint, "coreml", "fp16", SIZE, tmp_path)
        assert result.verdict == "ok"
        assert list(tmp_path.iterdir()) == [result.path] == [tmp_path / "tiny-50x38-fp16.mlpackage"]
    assert read_metadata(result.path) == result.metadata
    assert result.metadata.checkpoint_sha256 == sha256_of(tiny_checkpoint)
    assert "interpreted" in str(result.metadata.verification["engine"])
    assert "float16 rounding" in str(result.metadata.verification["engine"])
    assert result.median_ms is None, "an interpreter's speed says nothing of Core ML's"
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_after_a_failure_nothing_is_left(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fail(self: CoremlWriter, path: Path, metadata: ArtifactMetadata) -> ArtifactMetadata:
        assert path.is_dir()
        raise error

    monkeypatch.setattr(CoremlWriter, "embed", fail)
    with pytest.raises(type(error)):
        export(tiny_checkpoint, "coreml", "fp32", SIZE, tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_a_size_below_the_padding_is_refused(tiny: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="size 7x38 is too small for the target coreml: both sides must be at least 8"):
        CoremlWriter().write(tiny.network, tmp_path / "a.mlpackage", (7, 38), "fp16", None)
    assert list(tmp_path.iterdir()) == []


def test_the_least_size_works(tiny: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "a.mlpackage"
    CoremlWriter().write(tiny.network, path, (8, 8), "fp32", None)
    CoremlWriter().embed(path, ArtifactMetadata(**{**vars(METADATA), "width": 8, "height": 8}))
    frame = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    assert np.abs(MilStylizer(path)(frame).astype(int) - reference(tiny.network, frame)).max() <= 1


# Wrong packages. Each is the good one, with one thing changed in its files and the hash made right again.


def replace_weight(
    package: Path, network: nn.Module, name: str, change: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    """Change a weight where it stands in the package's own file."""
    values = EncoderDecoderImageGraph(network, SIZE).state_dict()[f"network.{name}"]
    file = model_file(package).parent / "weights" / "weight.bin"
    content = file.read_bytes()
    assert content.count(values.numpy().tobytes()) == 1
    file.write_bytes(content.replace(values.numpy().tobytes(), change(values).contiguous().numpy().tobytes()))


def constants(spec: Any, operator: str, argument: str) -> Iterator[Any]:
    """The values of the constants that operators of a kind take as one of their inputs."""
    steps = operations(spec)
    by_name = {op.outputs[0].name: op for op in steps if op.type == "const"}
    for op in steps:
        if op.type == operator and op.inputs[argument].arguments[0].name in by_name:
            tensor = by_name[op.inputs[argument].arguments[0].name].attributes["val"].immediateValue.tensor
            yield getattr(tensor, tensor.WhichOneof("value")).values


def edit_constants(package: Path, operator: str, argument: str, change: Callable[[Any], Any]) -> None:
    spec = spec_of(package)
    for values in constants(spec, operator, argument):
        values[:] = [change(value) for value in values]
    model_file(package).write_bytes(spec.SerializeToString())


def shift_crop(package: Path) -> None:
    for end in ("begin", "end"):
        spec = spec_of(package)
        rows = next(constants(spec, "slice_by_index", end))
        rows[2] += 1
        model_file(package).write_bytes(spec.SerializeToString())


FAULTS: dict[str, Callable[[Path, nn.Module], None]] = {
    "a channel further": lambda p, n: replace_weight(p, n, "down.1.conv.weight", lambda w: w.roll(1, 0)),
    "a channel further in the blocks": lambda p, n: replace_weight(
        p, n, "blocks.0.second.conv.weight", lambda w: w.roll(1, 1)
    ),
    "BGR taken": lambda p, n: replace_weight(p, n, "down.0.conv.weight", lambda w: w.flip(1)),
    "BGR given": lambda p, n: replace_weight(p, n, "head.weight", lambda w: w.flip(0)),
    "kernels upside down": lambda p, n: replace_weight(p, n, "up.1.conv.weight", lambda w: w.flip(2)),
    "scale of the output": lambda p, n: edit_constants(p, "mul", "y", lambda value: value * 0.99),
    "middle of the output": lambda p, n: edit_constants(p, "add", "y", lambda value: value - 0.5),
    "padding by zeros": lambda p, n: edit_constants(p, "pad", "mode", lambda mode: "constant"),
    "crop off by one": lambda p, n: shift_crop(p),
    "epsilon": lambda p, n: edit_constants(p, "instance_norm", "epsilon", lambda value: value * 2),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_fails(
    packages: dict[str, Path], tiny: Checkpoint, frames: list[NDArray[np.uint8]], tmp_path: Path, fault: str
) -> None:
    package = shutil.copytree(packages["fp32"], tmp_path / "a.mlpackage")
    FAULTS[fault](package, tiny.network)
    with pytest.raises(InputError, match="is damaged or was edited: export it again"):
        MilStylizer(package)
    CoremlWriter().embed(package, METADATA)  # as if it had been written so
    assert psnr(package, tiny, frames) < FLOORS_DB["fp32"]


def test_a_package_for_bgr_is_refused(packages: dict[str, Path], tmp_path: Path) -> None:
    package = shutil.copytree(packages["fp32"], tmp_path / "a.mlpackage")
    spec = spec_of(package)
    spec.description.input[0].type.imageType.colorSpace = 30
    model_file(package).write_bytes(spec.SerializeToString())
    CoremlWriter().embed(package, METADATA)
    with pytest.raises(InputError, match="it takes 'frame', BGR 50x38"):
        MilStylizer(package)


# float16


def test_the_scaled_graph_is_the_network(tiny: Checkpoint, frames: list[NDArray[np.uint8]]) -> None:
    torch.manual_seed(1)
    sizes = {"stem": 4, "half": 4, "quarter": 4, "blocks": 2}
    for network in (tiny.network, build_network("johnson2016", sizes)):
        graph = EncoderDecoderImageGraph(network, SIZE)
        for frame in (frames[0], np.zeros_like(frames[0])):
            image = torch.from_numpy(frame).permute(2, 0, 1).unsqueeze(0).float()
            ours = graph(image)[0].permute(1, 2, 0).numpy()
            assert np.abs(ours - reference(network, frame)).max() <= 1
            assert np.mean(ours != reference(network, frame)) < 0.01


def test_what_float16_holds_well() -> None:
    network = load_checkpoint(MODELS / "great-wave-huang.safetensors").network
    scaled = EncoderDecoderImageGraph(network, (320, 180))
    largest: dict[str, float] = {}

    def watch(name: str) -> Callable[[nn.Module, Any, torch.Tensor], None]:
        def note(module: nn.Module, given: Any, result: torch.Tensor) -> None:
            largest[name] = float(result.abs().max())

        return note

    for name, layer in scaled.named_modules():
        if isinstance(layer, ConvNorm):
            layer.conv.register_forward_hook(watch(name))
            assert 6.2e-5 < layer.norm.eps < 10, "a normal number of float16"
            steps = layer.conv.weight.abs().amax((1, 2, 3)) / 127
            assert steps.min() > 6.2e-5, "the scales of 8-bit weights too"
    frame = load_test_frames(None, (320, 180)).frames[0]
    scaled(torch.from_numpy(frame).permute(2, 0, 1).unsqueeze(0).float())
    assert len(largest) == 15
    assert max(largest.values()) < 200, "a square stays below 65504"
