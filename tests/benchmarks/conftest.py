"""What the tests of this room share: small peers, pictures, a loss network, and a report with figures made up."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper
from safetensors.torch import save_file

from steadystyle.benchmarks.costs import EndToEnd, Latency
from steadystyle.benchmarks.record import Clip, Drift, Method, Report, Row, Style, Temporal, summarize
from steadystyle.benchmarks.request import BenchmarkRequest
from steadystyle.common.machine import this_device
from steadystyle.train.loss.network import layers_of

WritePeer = Callable[..., Path]
Ask = Callable[..., BenchmarkRequest]


def _write_peer(
    path: Path,
    *,
    shape: Sequence[str | int] = (1, 3, "h", "w"),
    kind: int = TensorProto.FLOAT,
    inputs: int = 1,
    left_out: int = 0,
) -> Path:
    """Write a network that inverts its image (255 - x) in the layout of a peer, or something that is not quite one.

    Args:
        path: the file to write.
        shape: of the image, in and out.
        kind: type of the image's values.
        inputs: number of images that are added up.
        left_out: columns that are left out on the right.
    """
    names = [f"image{number}" for number in range(inputs)]
    out_shape = (*shape[:-1], "narrower") if left_out else shape
    nodes = [
        helper.make_node("Sum", names, ["sum"]) if inputs > 1 else helper.make_node("Identity", names, ["sum"]),
        helper.make_node("Sub", ["white", "sum"], ["inverted"]),
        helper.make_node("Slice", ["inverted", "first", "last", "axis"], ["out"]),
    ]
    constants = [
        helper.make_tensor("white", kind, [], [255.0]),
        helper.make_tensor("first", TensorProto.INT64, [1], [0]),
        helper.make_tensor("last", TensorProto.INT64, [1], [-left_out if left_out else 2**40]),
        helper.make_tensor("axis", TensorProto.INT64, [1], [3]),
    ]
    graph = helper.make_graph(
        nodes,
        "peer",
        [helper.make_tensor_value_info(name, kind, shape) for name in names],
        [helper.make_tensor_value_info("out", kind, out_shape)],
        constants,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, list | tuple):
        return tuple(map(_plain, value))
    return {name: _plain(item) for name, item in value.items()} if isinstance(value, dict) else value


@pytest.fixture(scope="session")
def ask() -> Ask:
    """Makes a request of fields, whose files may be paths."""
    return lambda **fields: BenchmarkRequest(**_plain(fields))


@pytest.fixture(scope="session")
def write_peer() -> WritePeer:
    return _write_peer


@pytest.fixture
def peer_file(tmp_path: Path) -> Path:
    """A peer that inverts its image."""
    return _write_peer(tmp_path / "inverts.onnx")


def _texture(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    noise = cv2.GaussianBlur(np.random.default_rng(seed).random((height, width, 3), np.float32), (0, 0), 3)
    return np.asarray(255 * (noise - noise.min()) / np.ptp(noise), np.uint8)


@pytest.fixture(scope="session")
def texture() -> Callable[[int, int, int], NDArray[np.uint8]]:
    """Makes smooth coloured noise of a height, a width and a seed, (height, width, 3) uint8."""
    return _texture


@pytest.fixture(scope="session")
def loss_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """VGG-19 up to relu3_4 with random weights of sensible scale."""
    return _write_weights(tmp_path_factory.mktemp("loss") / "vgg19_relu3_4.safetensors", "VGG-19", last=16)


@pytest.fixture(scope="session")
def stroke_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """VGG-16 up to relu4_3 with random weights of sensible scale."""
    return _write_weights(tmp_path_factory.mktemp("loss") / "vgg16_relu4_3.safetensors", "VGG-16", last=21)


def _write_weights(path: Path, architecture: str, last: int) -> Path:
    random = torch.Generator().manual_seed(5)
    weights = {}
    for _, index, inputs, outputs, _ in layers_of(architecture):
        if index <= last:
            scale = (2 / 9 / inputs) ** 0.5
            weights[f"features.{index}.weight"] = torch.randn(outputs, inputs, 3, 3, generator=random) * scale
            weights[f"features.{index}.bias"] = torch.zeros(outputs)
    save_file(weights, path, {"input": "torchvision: mean and std"})
    return path


def temporal(value: float, excess: float) -> Temporal:
    return Temporal(1, value, excess, 2, 0.9, "DIS medium", [0, 1], [value**2, value**2])


def latency(method: str, median_ms: float) -> Latency:
    return Latency(
        method=method,
        device="local",
        engine="engine",
        width=640,
        height=360,
        threads=2,
        warm_up_frames=15,
        frames=100,
        median_ms=median_ms,
        p90_ms=median_ms,
        p99_ms=2 * median_ms,
        deadline_ms=1000 / 30,
        over_deadline=0.5,
        reference="peer",
        ratio=median_ms / 400,
        ratio_low=0.1,
        ratio_high=0.3,
        rounds_ms=[[median_ms] * 10] * 10,
        spread=0.05,
        end_to_end=EndToEnd(100, 9.0, 11.1, 0.9, 0.8),
        peak_memory_mib=150,
        memory_before_mib=60,
        memory_frames=115,
    )


@pytest.fixture
def whole() -> Report:
    """Two clips, the second too short for the long error, and no style image for the peer."""
    rows = [
        Row("identity", "local", temporal(0.01, 0), temporal(0.02, 0), Style(1.0, 0.0, 3), {}),
        Row(
            "ours",
            "local",
            temporal(0.03, 0.02),
            temporal(0.05, 0.03),
            Style(0.1, 0.9, 3, 0.15, 0.4, 0.7),
            {},
            [0.01, 0.02, 0.03, 0.004],
        ),
        Row("peer", "local", temporal(0.06, 0.05), temporal(0.1, 0.08), Style(None, 1.5, 3), {"score": "no image"}),
    ]
    short = [dataclasses.replace(row, long=None, absent=row.absent | {"long": "too short"}) for row in rows]
    short[1] = dataclasses.replace(short[1], short=temporal(0.05, 0.04), shift=[0.03, 0.02, 0.01, 0.002])
    clips = [
        Clip("first.mp4", 640, 360, 30, 25.0, "DIS medium", 0, rows, ["resized from 852x480 to 640x360"], 4),
        Clip("second.mp4", 640, 360, 3, None, "DIS medium", 1, short, [], None),
    ]
    drift = [Drift("identity", "local", 0.0), Drift("ours", "local", 0.001), Drift("peer", "local", 0.002)]
    return Report(
        kind="benchmark",
        command="steadystyle benchmark ours.onnx",
        date="2026-01-01T00:00:00+00:00",
        version="0.1.0",
        device=this_device(),
        other_devices=[],
        settings={"reference": "peer", "max frames": None},
        methods=[
            Method("identity", "control", "identity"),
            Method(
                "ours",
                "artifact",
                file="ours.onnx",
                sha256="0" * 64,
                bytes=10,
                metadata={"style": "wave", "style_size": 448},
            ),
            Method("peer", "peer", file="peer.onnx", sha256="1" * 64, bytes=10, engine="engine"),
        ],
        clips=clips,
        drift=drift,
        latency=[latency("ours", 80), latency("peer", 400)],
        summary=summarize(clips, drift),
        absent={},
        holes=[],
        notes=[],
        pictures=[],
    )
