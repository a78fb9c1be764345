"""The grid in plain areas, taken out of the last convolution."""

from pathlib import Path

import numpy as np
import pytest
import torch

from steadystyle.common.files import InputError
from steadystyle.studies.plain_areas import beside_plane, main
from steadystyle.train.checkpoint import load_checkpoint, read_tensors, write_tensors
from steadystyle.train.networks import split_patches
from steadystyle.video.images import write_image


def grid(path: Path) -> float:
    """Deviation of plain paint from planes within the patches, of 255."""
    network = load_checkpoint(path).network
    with torch.no_grad():
        painted = network(torch.full((1, 3, 64, 64), 0.6))
    return 255 * float(beside_plane(split_patches(painted, 4)[0, :, 4:-4, 4:-4].flatten(1).T.double()).std())


def test_a_grid_that_was_put_in_goes(tmp_path: Path) -> None:
    """Texture stays: a plane in each patch, and what differs from patch to patch."""
    models = Path(__file__).parents[2] / "runtimes/models"
    whole, changed, mended = (
        models / "the-scream.safetensors",
        tmp_path / "grid.safetensors",
        tmp_path / "new.safetensors",
    )
    tensors, header = read_tensors(whole)
    tensors["head.bias"] = tensors["head.bias"] + 0.02 * torch.tensor([1.0, -1.0, -1.0, 1.0] * 4).repeat_interleave(3)
    write_tensors(changed, tensors, header)
    random = np.random.default_rng(0)
    picture = np.kron(random.integers(60, 200, (6, 8, 3)), np.ones((16, 16, 1))).astype(np.uint8)
    write_image(tmp_path / "photo.png", picture)
    main([str(changed), str(tmp_path / "photo.png"), "-o", str(mended)])
    assert grid(changed) > 3 and grid(mended) < grid(changed) / 2
    assert read_tensors(mended)[1]["steps"] == header["steps"]


def test_planes_are_no_grid() -> None:
    rows = torch.arange(16.0).double().div(4, rounding_mode="floor")
    assert beside_plane((3 + 2 * rows).repeat_interleave(3)[None]).abs().max() < 1e-9


def test_other_networks_are_refused(tmp_path: Path) -> None:
    huang = Path(__file__).parents[2] / "runtimes/models/udnie-huang.safetensors"
    with pytest.raises(InputError, match="paints no patches"):
        main([str(huang), "photo.png", "-o", str(tmp_path / "out.safetensors")])
