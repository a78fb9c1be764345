"""8-bit ONNX gives one picture on every processor, and layers in float stay so.

Without VNNI, processors add two products in 16 bits, which saturate. Such processors are emulated here by qemu-user.
"""

import dataclasses
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from steadystyle.export.calibration import load_calibration
from steadystyle.export.onnx import OnnxWriter
from steadystyle.export.quantization import peaks_of_sums, plan_quantization
from steadystyle.export.verify import psnr_db, reference
from steadystyle.train.networks import build_network
from steadystyle.video.synthetic.harbour import harbour

QEMU = "qemu-x86_64"  # of Debian's package qemu-user; AVX2 since its version 7.2
SIZE = (64, 48)
SMALL = {
    "edge": {"quarter": 8, "eighth": 16, "blocks": 1, "strokes": 1},
    "edge-lp": {"quarter": 8, "eighth": 16, "blocks": 0, "strokes": 2},
    "huang2017": {"stem": 4, "half": 8, "quarter": 12, "blocks": 1},
}
ON_ANOTHER_PROCESSOR = """
import sys
import numpy, onnxruntime
model, given, result = sys.argv[1:]
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
numpy.save(result, session.run(None, {session.get_inputs()[0].name: numpy.load(given)})[0])
"""


@pytest.fixture(scope="module", params=list(SMALL))
def network(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    made = build_network(request.param, SMALL[request.param]).eval()
    with torch.no_grad():
        made.get_parameter("head.weight").mul_(1 if request.param == "huang2017" else 6)
    return made


@pytest.fixture(scope="module")
def artifact(network: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An 8-bit artifact of random weights for frames of any size; its last layer but one stays in float."""
    plan = plan_quantization(network, load_calibration([], SIZE), SIZE)
    plan = dataclasses.replace(plan, float_layers=frozenset(plan.graph.layers()[-2:-1]))
    path = tmp_path_factory.mktemp("sums") / "any.onnx"
    OnnxWriter().write(network, path, None, "int8", plan)
    return path


def run_here(model: bytes, given: np.ndarray, *, exact: bool = False) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    if exact:  # unsigned weights, slower: exact on every processor
        options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: given})[0])


def run_as(processor: str, model: bytes, given: np.ndarray, folder: Path) -> np.ndarray:
    files = folder / "model.onnx", folder / "given.npy", folder / "result.npy"
    files[0].write_bytes(model)
    np.save(files[1], given)
    subprocess.run([QEMU, "-cpu", processor, sys.executable, "-c", ON_ANOTHER_PROCESSOR, *map(str, files)], check=True)
    return np.asarray(np.load(files[2]))


def worst_sum(weights: np.ndarray) -> int:
    """Largest sum of two neighbours of one sign, channels last, of (outputs, inputs, k, k) int8."""
    flat = weights.transpose(0, 2, 3, 1).reshape(len(weights), -1).astype(int)
    pairs = np.pad(flat, ((0, 0), (0, flat.shape[1] % 2))).reshape(len(weights), -1, 2)
    return int(max(np.maximum(pairs, 0).sum(2).max(), np.maximum(-pairs, 0).sum(2).max()))


def test_what_a_pair_of_weights_reaches() -> None:
    weight = torch.tensor([[3.0, 4.0, -6.0, 1.0], [-5.0, 5.0, 1.0, -2.0], [-2.0, -3.0, 0.0, 0.0]])[:, :, None, None]
    assert peaks_of_sums(weight).tolist() == [7, 5, 5]
    odd = torch.tensor([[[[1.0, 2.0, 4.0]]]])  # one channel: the pairs are of taps, and the last has no neighbour
    assert peaks_of_sums(odd).tolist() == [4]
    shifted = torch.tensor([[[[1.0, 2.0]], [[10.0, 20.0]]]])  # channels of one tap are neighbours, not taps
    assert peaks_of_sums(shifted).tolist() == [22]


def test_no_sum_in_a_written_file_is_over_16_bits(artifact: Path) -> None:
    model = onnx.load_model(artifact)
    weights = [numpy_helper.to_array(entry) for entry in model.graph.initializer]
    eight = [values for values in weights if values.dtype == np.int8 and values.ndim == 4]
    assert len(eight) >= 4
    assert max(worst_sum(values) for values in eight) <= 128
    # Nor is the range wasted: some channel of each layer reaches it.
    assert min(worst_sum(values) for values in eight) >= 126


def test_a_layer_in_float_stays_in_float(artifact: Path, tmp_path: Path) -> None:
    """ONNX Runtime quantizes float weights by itself where it finds bytes before and after."""
    model = onnx.load_model(artifact)
    float_weights = {entry.name for entry in model.graph.initializer if entry.data_type == TensorProto.FLOAT}
    in_float = [node for node in model.graph.node if node.op_type == "Conv" and node.input[1] in float_weights]
    assert in_float
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    onnxruntime.InferenceSession(artifact, options, providers=["CPUExecutionProvider"])
    optimized = onnx.load_model(tmp_path / "optimized.onnx").graph.node
    eight = [node for node in model.graph.node if node.op_type == "Conv" and node not in in_float]
    assert sum(node.op_type == "QLinearConv" for node in optimized) <= len(eight)


@pytest.mark.parametrize("size", [SIZE, (67, 49), (160, 90)])
def test_eight_bits_for_any_size(artifact: Path, network: nn.Module, size: tuple[int, int]) -> None:
    frame = harbour(*size, 2).frame(0)
    assert psnr_db([run_here(artifact.read_bytes(), frame)], [reference(network, frame)]) >= 30


needs_qemu = pytest.mark.skipif(
    platform.machine() != "x86_64" or shutil.which(QEMU) is None, reason=f"there is no {QEMU} for x86-64"
)


@needs_qemu
def test_a_processor_without_vnni_gives_the_same_picture(artifact: Path, tmp_path: Path) -> None:
    frame = harbour(*SIZE, 2).frame(1)
    model = artifact.read_bytes()
    difference = np.abs(run_as("Haswell", model, frame, tmp_path).astype(int) - run_here(model, frame, exact=True))
    assert difference.max() <= 24
    assert np.square(difference).mean() <= 255**2 / 10**4.5, "PSNR under 45 dB"


@needs_qemu
@pytest.mark.parametrize(("weight", "saturates"), [(64, False), (-64, False), (65, True), (127, True)])
def test_the_emulated_processor_saturates(weight: int, saturates: bool, tmp_path: Path) -> None:
    """A known answer: 128 is the most that two weights may add up to."""
    filters = np.full((16, 16, 1, 1), weight, np.int8)
    constants = {"one": np.float32(1), "zero": np.uint8(0), "w": filters, "small": np.float32(1 / 4096)}
    constants |= {"none": np.int8(0), "middle": np.uint8(128)}
    node = helper.make_node("QLinearConv", ["x", "one", "zero", "w", "small", "none", "one", "middle"], ["y"])
    ends = [helper.make_tensor_value_info(name, TensorProto.UINT8, [1, 16, 4, 4]) for name in ("x", "y")]
    graph = helper.make_graph(
        [node], "g", ends[:1], ends[1:], [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10).SerializeToString()
    given = np.full((1, 16, 4, 4), 255, np.uint8)
    exact = np.clip(round(16 * 255 * weight / 4096) + 128, 0, 255)
    assert (run_here(model, given, exact=True) == exact).all()
    assert (run_as("Haswell", model, given, tmp_path) != exact).all() == saturates
