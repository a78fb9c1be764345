"""The edge networks: their graphs give what they give, in every target and precision; 8-bit ONNX works on bytes."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnxruntime.quantization.calibrate import HistogramCollector
from torch import Tensor, nn

import steadystyle.export.onnx
from steadystyle.export import calibration, quantization
from steadystyle.export.graphs.edge import PatchGraph
from steadystyle.export.graphs.registry import deployable_graph, image_graph
from steadystyle.export.pipeline import ExportResult, export
from steadystyle.export.quantization import equalize
from steadystyle.export.verify import load_test_frames, reference, shortfalls, verify
from steadystyle.runtimes.registry import open_stylizer
from steadystyle.train.checkpoint import CheckpointHeader, load_checkpoint, save_checkpoint
from steadystyle.train.networks import build_network, join_patches, resolve_sizes, split_patches

SIZES = {"quarter": 8, "eighth": 16, "blocks": 2, "strokes": 1}
SIZE = (64, 48)


@pytest.fixture(scope="module", params=["edge", "edge-lp"])
def architecture(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=[SIZES, {**SIZES, "blocks": 0}], ids=["two-blocks", "no-blocks"])
def sizes(request: pytest.FixtureRequest) -> dict[str, int]:
    return dict(request.param)


def random_network(architecture: str, sizes: Mapping[str, int] = SIZES) -> nn.Module:
    """A network with random weights of a scale at which its picture varies, and stays within black and white."""
    torch.manual_seed(0)
    network = build_network(architecture, sizes)
    with torch.no_grad():
        network.get_parameter("head.weight").mul_(6)
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                parameter.add_(torch.randn_like(parameter) * 0.05)
    return network.eval()


def random_frame(width: int, height: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


@pytest.fixture(scope="module")
def checkpoint(architecture: str, sizes: dict[str, int], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("edge") / "tiny-edge.safetensors"
    header = CheckpointHeader("tiny-edge", "none.jpg", architecture, resolve_sizes(architecture, sizes), "none", 0)
    save_checkpoint(path, random_network(architecture, sizes), header)
    return path


@pytest.fixture(scope="module")
def artifacts(checkpoint: Path) -> Mapping[str, ExportResult]:
    results = export(str(checkpoint), "all", "all", SIZE, checkpoint.parent)
    return {result.path.name.removeprefix("tiny-edge-64x48-"): result for result in results}


def test_large_frames_are_observed_one_at_a_time(
    checkpoint: Path, artifacts: Mapping[str, ExportResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[int] = []
    collect = HistogramCollector.collect

    def counted(self: HistogramCollector, values: dict[str, list[object]]) -> object:
        held.append(max(len(frames) for frames in values.values()))
        return collect(self, values)

    monkeypatch.setattr(HistogramCollector, "collect", counted)
    monkeypatch.setattr(steadystyle.export.onnx, "_LARGE_FRAME", SIZE[0] * SIZE[1] * 3 - 1)
    [result] = export(str(checkpoint), "onnx", "int8", SIZE, tmp_path)
    assert held == [1] * len(calibration.load_calibration([], SIZE).frames)
    frame = random_frame(*SIZE).numpy()
    with open_stylizer(result.path, threads=1) as ours, open_stylizer(artifacts["int8.onnx"].path, threads=1) as theirs:
        difference = ours(frame).astype(float) - theirs(frame)
    assert np.sqrt(np.square(difference).mean()) < 2, "of 255"


@pytest.mark.parametrize("side", [2, 4])
def test_patches_and_back(side: int) -> None:
    x = torch.rand(2, 3, 5 * side, 4 * side)
    patches = split_patches(x, side)
    assert patches.shape == (2, 3 * side * side, 5, 4)
    assert torch.equal(join_patches(patches, side), x)
    assert torch.equal(patches[:, 3:6], x[:, :, ::side, 1::side])  # the second pixel of the first row of each patch


@pytest.mark.parametrize(("width", "height"), [(32, 24), (33, 24), (39, 31), (50, 27), (9, 40), (1, 1), (1, 5)])
def test_it_gives_what_the_network_gives(architecture: str, sizes: dict[str, int], width: int, height: int) -> None:
    network, frame = random_network(architecture, sizes), random_frame(width, height)
    with torch.inference_mode():
        ours = deployable_graph(network)(frame).numpy()
    theirs = reference(network, frame.numpy())
    assert ours.shape == theirs.shape == (height, width, 3) and ours.dtype == np.uint8
    assert theirs.std() > 10 or width == height == 1, "a flat picture proves nothing"
    difference = np.abs(ours.astype(int) - theirs)
    assert difference.max() <= 1 and difference.mean() < 0.01


def test_for_engines_that_take_images(architecture: str, sizes: dict[str, int]) -> None:
    network, frame = random_network(architecture, sizes), random_frame(50, 27)
    image = frame.permute(2, 0, 1).unsqueeze(0).float()
    with torch.inference_mode():
        ours = image_graph(network, (50, 27))(image)[0].permute(1, 2, 0).numpy()
    difference = np.abs(ours - reference(network, frame.numpy()))
    assert difference.max() <= 1 and difference.mean() < 0.01


def test_the_network_itself_is_not_changed(architecture: str) -> None:
    network = random_network(architecture)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    deployable_graph(network)
    image_graph(network, SIZE)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_layers_are_its_convolutions_in_order(architecture: str, sizes: dict[str, int]) -> None:
    graph = deployable_graph(random_network(architecture, sizes))
    assert isinstance(graph, PatchGraph)
    named = [name.removesuffix(".conv") for name, part in graph.named_modules() if isinstance(part, nn.Conv2d)]
    assert graph.layers() == named


def test_every_target_and_precision_is_proven(artifacts: Mapping[str, ExportResult]) -> None:
    assert len(artifacts) == 9
    for result in artifacts.values():
        assert result.verdict == "ok", (result.path.name, result.shortfalls)


def test_eight_bit_onnx_works_on_the_bytes_of_the_frame(
    sizes: dict[str, int], artifacts: Mapping[str, ExportResult]
) -> None:
    result = artifacts["int8.onnx"]
    assert result.metadata.float_layers == []
    model = onnx.load_model(result.path)
    kinds = [node.op_type for node in model.graph.node]
    assert not {"Cast", "Round", "Clip", "Mul"} & set(kinds)
    assert kinds.count("Conv") == 5 + 2 * sizes["blocks"]
    weights = {entry.name for entry in model.graph.initializer}
    taken = {name for node in model.graph.node for name in node.input}
    assert weights <= taken, "weights that nothing uses"
    # Copies are of bytes, too, and cut both axes at once.
    makers = {name: node.op_type for node in model.graph.node for name in node.output}
    pads = [makers[node.input[0]] for node in model.graph.node if node.op_type == "Pad"]
    assert pads == (["QuantizeLinear"] if sizes["blocks"] else [])  # the first block's
    for node in model.graph.node:
        assert node.op_type != "Slice" or makers.get(node.input[0]) != "Slice"


def test_a_bilinear_enlargement_has_one_scale(artifacts: Mapping[str, ExportResult]) -> None:
    """Then it is an enlargement of bytes, for the engines that see it."""
    graph = onnx.load_model(artifacts["int8.onnx"].path).graph
    resizes = [node for node in graph.node if node.op_type == "Resize"]
    assert len(resizes) == (artifacts["int8.onnx"].metadata.architecture == "edge-lp")
    numbers = {entry.name: onnx.numpy_helper.to_array(entry) for entry in graph.initializer}
    for resize in resizes:
        [before] = [node for node in graph.node if resize.input[0] in node.output]
        [after] = [node for node in graph.node if resize.output[0] in node.input]
        assert (before.op_type, after.op_type) == ("DequantizeLinear", "QuantizeLinear")
        assert [numbers[name] for name in before.input[1:]] == [numbers[name] for name in after.input[1:]]


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_openvino_gives_it_too(checkpoint: Path, artifacts: Mapping[str, ExportResult], precision: str) -> None:
    proof, network = load_test_frames(None, SIZE), load_checkpoint(checkpoint).network
    wanted = [reference(network, frame) for frame in proof.frames]
    with open_stylizer(artifacts[f"{precision}.onnx"].path, threads=1, provider="openvino") as stylizer:
        figures = verify(stylizer, wanted, proof.frames, proof.pairs)
    assert shortfalls(figures, precision) == []


def test_any_size_is_any(checkpoint: Path, tmp_path: Path) -> None:
    (result,) = export(str(checkpoint), "onnx", "fp32", None, tmp_path)
    network = load_checkpoint(checkpoint).network
    with open_stylizer(result.path, threads=1) as stylizer:
        for width, height in ((64, 48), (65, 49), (71, 55), (37, 23), (1, 1), (3, 9)):
            frame = random_frame(width, height).numpy()
            ours = stylizer(frame)
            assert ours.shape == frame.shape
            assert np.abs(ours.astype(int) - reference(network, frame)).max() <= 1


def test_equal_channels_compute_the_same(architecture: str) -> None:
    network = random_network(architecture)
    frames = [random_frame(*SIZE, seed=seed).numpy() for seed in range(2)]
    with torch.no_grad():  # one channel far louder than the others, as trained networks have them
        network.get_parameter("stem.weight")[3].mul_(20)
        network.get_parameter("blocks.0.first.norm.weight")[5].mul_(20)
    plain, equal = deployable_graph(network), deployable_graph(network)
    assert isinstance(equal, PatchGraph)
    before = equal.get_parameter("stem.weight").clone()
    equalize(equal, frames)
    gains = (equal.get_parameter("stem.weight") / before).flatten(1)[:, 0]
    assert gains.max() > 2 and gains[3] == gains.min()
    with torch.inference_mode():
        ours, theirs = (graph(torch.from_numpy(frames[0])).numpy().astype(int) for graph in (equal, plain))
    assert theirs.std() > 10
    assert np.abs(ours - theirs).max() <= 1
    # At a quarter, where two layers read, each channel goes as far as any other in one of the two.
    seen = quantization._observed(equal, frames).input_peaks
    peaks = torch.maximum(seen["down"], seen["strokes.0"])
    alive = gains < quantization._MOST_GAIN
    assert alive.sum() > 4 and peaks[alive].min() > 0.99 * peaks.max()
