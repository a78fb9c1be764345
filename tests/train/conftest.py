"""A small loss network with random weights, photos and a clip: enough to train on, made in a second."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from steadystyle.train.loss.network import LossNetwork, load_loss_network
from steadystyle.train.recipe import Data, Loss, Network, Recipe, Schedule
from steadystyle.video.frames import write_video
from steadystyle.video.images import write_image

# One thread: tensors this small lose more to waiting for a second one than they gain, above all on a busy machine.
torch.set_num_threads(1)


def texture(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    """Smooth coloured noise, (height, width, 3) uint8."""
    noise = np.random.default_rng(seed).random((height, width, 3), np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2.0)
    return np.asarray(255 * (smooth - smooth.min()) / np.ptp(smooth), np.uint8)


@pytest.fixture(scope="session")
def loss_weights() -> dict[str, torch.Tensor]:
    """VGG-19 up to relu2_2 with random weights of sensible scale."""
    generator = torch.Generator().manual_seed(5)
    weights = {}
    for index, inputs, outputs in ((0, 3, 64), (2, 64, 64), (5, 64, 128), (7, 128, 128)):
        deviation = (2 / (9 * inputs)) ** 0.5
        weights[f"features.{index}.weight"] = torch.randn(outputs, inputs, 3, 3, generator=generator) * deviation
        weights[f"features.{index}.bias"] = torch.randn(outputs, generator=generator) * 0.1
    return weights


@pytest.fixture(scope="session")
def loss_file(tmp_path_factory: pytest.TempPathFactory, loss_weights: dict[str, torch.Tensor]) -> Path:
    """The same as a file that states its input convention."""
    path = tmp_path_factory.mktemp("loss") / "vgg19_relu2_2.safetensors"
    save_file(loss_weights, path, {"input": "torchvision: mean and std"})
    return path


@pytest.fixture
def loss_network(loss_file: Path) -> LossNetwork:
    """The loss network, fresh for each test (training moves it about)."""
    return load_loss_network(loss_file)


@pytest.fixture(scope="session")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``style.png``, ``photos/`` and ``clips/``."""
    folder = tmp_path_factory.mktemp("material")
    write_image(folder / "style.png", texture(64, 80, 1))
    for seed in range(3):
        write_image(folder / "photos" / f"{seed}.png", texture(96, 120, 10 + seed))
    wide = texture(64, 120, 20)
    write_video(folder / "clips" / "slide.mp4", [wide[:, 2 * t : 2 * t + 80] for t in range(8)], 25)
    return folder


@pytest.fixture
def recipe() -> Recipe:
    """Six steps of a small network on small crops."""
    return Recipe(
        name="tiny",
        network=Network(sizes={"stem": 4, "half": 8, "quarter": 8, "blocks": 1}),
        data=Data(crop=32, clip_height=64, pairs_per_clip=4),
        loss=Loss(
            style_size=48,
            content_layers=("relu2_2",),
            style_layers=("relu1_2", "relu2_2"),
            style_half_layers=("relu2_2",),
        ),
        schedule=Schedule(steps=6, checkpoint_every=2),
        precision="float32",  # a measured choice may differ between the runs that a test compares
    )
