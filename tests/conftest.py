"""What tests of several rooms share: a tiny network with random weights, as checkpoint and artifacts, and a clip."""

import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from steadystyle.export.pipeline import export
from steadystyle.train.checkpoint import CheckpointHeader, save_checkpoint
from steadystyle.train.networks import build_network, resolve_sizes
from steadystyle.video.frames import write_video

# A job in the background of a script starts with Ctrl-C ignored, one under nohup with SIGHUP, and Python leaves it so:
# the tests that send them, here or to a child, would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

SIZES = {"stem": 4, "half": 4, "quarter": 4, "blocks": 1}
FIXED_SIZE = (64, 48)


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of Huang's network at 4 channels, with random weights."""
    path = tmp_path_factory.mktemp("checkpoint") / "tiny.safetensors"
    torch.manual_seed(0)
    header = CheckpointHeader(
        name="tiny",
        style="none.jpg",
        architecture="huang2017",
        sizes=resolve_sizes("huang2017", SIZES),
        recipe="none",
        steps=0,
    )
    save_checkpoint(path, build_network("huang2017", SIZES), header)
    return path


@pytest.fixture(scope="session")
def any_size_artifact(tiny_checkpoint: Path) -> Path:
    """The tiny network as ONNX for frames of any size."""
    (result,) = export(tiny_checkpoint, size=None, out_dir=tiny_checkpoint.parent)
    return result.path


@pytest.fixture(scope="session")
def fixed_size_artifact(tiny_checkpoint: Path) -> Path:
    """The tiny network as ONNX for frames of 64 x 48."""
    (result,) = export(tiny_checkpoint, size=FIXED_SIZE, out_dir=tiny_checkpoint.parent)
    return result.path


@pytest.fixture(scope="session")
def random_loss_network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """VGG-19 up to relu3_4 with random weights: enough to start a training run, not to learn from."""
    path = tmp_path_factory.mktemp("loss-network") / "random.safetensors"
    torch.manual_seed(0)
    widths = {0: (3, 64), 2: (64, 64), 5: (64, 128), 7: (128, 128), 10: (128, 256)} | {
        n: (256, 256) for n in (12, 14, 16)
    }
    weights = {}
    for number, (inputs, outputs) in widths.items():
        weights[f"features.{number}.weight"] = torch.randn(outputs, inputs, 3, 3) * (2 / (9 * inputs)) ** 0.5
        weights[f"features.{number}.bias"] = torch.zeros(outputs)
    save_file({key: value.half() for key, value in weights.items()}, path, {"input": "torchvision"})
    return path


def moving_frames(width: int, height: int, count: int) -> list[NDArray[np.uint8]]:
    """A seeded smooth texture that moves one pixel a frame to the right."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (height // 8 + 2, (width + count) // 8 + 2, 3))
    texture = np.repeat(np.repeat(noise, 8, axis=0), 8, axis=1).astype(np.uint8)
    return [np.ascontiguousarray(texture[:height, count - t : count - t + width]) for t in range(count)]


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An H.264 video of 12 frames of 64 x 48 at 25 frames a second."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    write_video(path, moving_frames(64, 48, 12))
    return path
