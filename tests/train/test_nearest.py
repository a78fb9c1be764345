from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from steadystyle.common.files import InputError
from steadystyle.studies import nearest_grams
from steadystyle.train.checkpoint import CheckpointHeader, read_tensors, save_checkpoint
from steadystyle.train.loss import nearest
from steadystyle.train.loss.nearest import nearest_style, signature
from steadystyle.train.loss.network import LossNetwork
from steadystyle.train.networks import build_network, resolve_sizes
from steadystyle.video.images import write_image

SIZES = {"quarter": 8, "eighth": 8, "blocks": 0, "strokes": 0}


def stripes(width: int, colour: tuple[int, int, int]) -> NDArray[np.uint8]:
    image = np.full((96, 120, 3), 230, np.uint8)
    image[:, np.arange(120) % (2 * width) < width] = colour
    return image


def test_a_painting_is_nearest_to_itself_and_then_to_its_like(
    loss_network: LossNetwork, loss_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nearest, "_SIDE", 96)
    red, blue = (200, 0, 0), (0, 0, 90)
    paintings = {"fine-red": stripes(2, red), "broad-red": stripes(12, red), "blue": stripes(5, blue)}
    for name, image in paintings.items():
        write_image(tmp_path / f"{name}.png", image)
        header = CheckpointHeader(name, f"{name}.png", "edge-lp", resolve_sizes("edge-lp", SIZES), "", 0)
        save_checkpoint(tmp_path / f"{name}.safetensors", build_network("edge-lp", SIZES), header)
    checkpoints = [str(tmp_path / f"{name}.safetensors") for name in paintings]
    grams = tmp_path / "grams"
    nearest_grams.main([*checkpoints, "--styles", str(tmp_path), "--loss-network", str(loss_file), "-o", str(grams)])
    for name, image in paintings.items():
        found, distance = nearest_style(image, loss_network, list(paintings), grams)
        assert found == name and distance < 1e-4
    like, distance = nearest_style(stripes(11, (190, 10, 0)), loss_network, list(paintings), grams)
    assert like == "broad-red" and 1e-4 < distance < 2
    others = ["fine-red", "blue", "unknown"]
    assert nearest_style(stripes(11, (190, 10, 0)), loss_network, others, grams)[0] in others[:2]
    with pytest.raises(InputError, match="name one with --from"):
        nearest_style(paintings["blue"], loss_network, ["unknown"], grams)
    assert signature(paintings["blue"], loss_network).norm() == pytest.approx(1.0, abs=1e-5)


def test_the_bundled_file_knows_both_loss_networks(find: Callable[[], list[str]]) -> None:
    known = load_file(nearest.GRAMS)
    assert all(torch.isfinite(value).all() and value.shape == (8256,) for value in known.values())
    for kind in ("VGG-16", "VGG-19"):
        assert {key.split("/")[1] for key in known if key.startswith(f"{kind}/")} == set(find())


@pytest.fixture
def find() -> Callable[[], list[str]]:
    """Names of the bundled fast styles, whose checkpoints a run may start from."""
    models = Path(nearest.__file__).parents[2] / "runtimes" / "models"
    return lambda: [
        path.stem for path in models.glob("*.safetensors") if read_tensors(path)[1]["architecture"].startswith("edge")
    ]
