"""The deployable graph gives what the network gives, to the last bit of an 8-bit picture or next to it."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from steadystyle.export.graphs.encoder_decoder import (
    EncoderDecoderGraph,
    HalfSizeTail,
    blocks_of_convolution,
    blocks_of_upsampled,
    sums_inside,
)
from steadystyle.export.graphs.registry import deployable_graph
from steadystyle.export.verify import reference
from steadystyle.train.networks import EncoderDecoder, Upsample, build_network

HUANG = {"stem": 5, "half": 6, "quarter": 7, "blocks": 2}
JOHNSON = {"stem": 3, "half": 4, "quarter": 5, "blocks": 1}


def random_network(architecture: str, sizes: dict[str, int], seed: int = 0) -> nn.Module:
    """A network whose weights, biases and norms are all random, so that none can be left out unnoticed."""
    torch.manual_seed(seed)
    network = build_network(architecture, sizes)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.5 + ("norm.weight" in name))
    return network.eval()


def random_frame(width: int, height: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


@pytest.mark.parametrize(
    ("architecture", "sizes"),
    [
        ("huang2017", HUANG),
        ("huang2017", HUANG | {"kernel": 5, "margin": 8}),
        ("huang2017", HUANG | {"kernel": 7, "margin": 8}),
        ("johnson2016", JOHNSON),
    ],
)
@pytest.mark.parametrize(("width", "height"), [(32, 24), (33, 24), (34, 25), (35, 26), (50, 27), (9, 40)])
def test_it_gives_what_the_network_gives(architecture: str, sizes: dict[str, int], width: int, height: int) -> None:
    network = random_network(architecture, sizes)
    frame = random_frame(width, height)
    with torch.inference_mode():
        ours = EncoderDecoderGraph(network)(frame).numpy()
    theirs = reference(network, frame.numpy())
    assert ours.shape == theirs.shape == (height, width, 3)
    assert ours.dtype == np.uint8
    assert theirs.std() > 10, "a flat picture proves nothing"
    difference = np.abs(ours.astype(int) - theirs)
    assert difference.max() <= 1
    assert difference.mean() < 0.01


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 5), (3, 2)])
def test_tiny_frames_have_a_result(width: int, height: int) -> None:
    network = random_network("huang2017", HUANG)
    with torch.inference_mode():
        assert EncoderDecoderGraph(network)(random_frame(width, height)).shape == (height, width, 3)


def test_the_network_itself_is_not_changed() -> None:
    network = random_network("huang2017", HUANG)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    EncoderDecoderGraph(network)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_an_unknown_network_is_refused() -> None:
    with pytest.raises(TypeError, match="Conv2d"):
        deployable_graph(nn.Conv2d(3, 3, 1))


def test_a_crop_that_would_show_the_border_is_refused() -> None:
    network = random_network("huang2017", HUANG)
    assert isinstance(network, EncoderDecoder)
    up: Any = network.up
    HalfSizeTail(up[-1], network.head, margin=1)
    with pytest.raises(ValueError, match="does not hide the border"):
        HalfSizeTail(up[-1], network.head, margin=0)


def grid_of(picture: Tensor) -> Tensor:
    """(C, 2 h, 2 w) as the grid's blocks, (4 C, h + 1, w + 1), with 1e6 where there is no picture."""
    channels, rows, columns = picture.shape
    framed = functional.pad(picture, (1, 1, 1, 1), value=1e6)
    blocks = framed.reshape(channels, rows // 2 + 1, 2, columns // 2 + 1, 2)
    return blocks.permute(2, 4, 0, 1, 3).reshape(4 * channels, rows // 2 + 1, columns // 2 + 1)


def test_an_enlargement_and_its_convolution_in_one() -> None:
    torch.manual_seed(0)
    weight, small = torch.randn(3, 2, 3, 3), torch.randn(1, 2, 5, 4)
    enlarged = functional.conv2d(functional.interpolate(small, scale_factor=2.0, mode="nearest"), weight, padding=1)
    grid = functional.conv2d(small, blocks_of_upsampled(weight), padding=1)[0]
    expected = grid_of(enlarged[0])
    inside = expected != 1e6
    assert inside.sum() == enlarged.numel()
    assert torch.allclose(grid[inside], expected[inside], atol=1e-5)


@pytest.mark.parametrize("kernel", [1, 3, 5, 7, 9, 11])
def test_a_convolution_on_blocks(kernel: int) -> None:
    torch.manual_seed(0)
    reach = kernel // 2
    weight, picture = torch.randn(2, 3, kernel, kernel), torch.randn(3, 24, 28)
    expected = functional.conv2d(picture[None], weight, padding=reach)[0]
    blocks = functional.conv2d(grid_of(picture)[None], blocks_of_convolution(weight), padding=reach // 2)
    rows, columns = picture.shape[1:]
    found = blocks.reshape(2, 2, 2, rows // 2, columns // 2).permute(2, 3, 0, 4, 1).reshape(2, rows, columns)
    crop = (slice(None), slice(reach, rows - reach), slice(reach, columns - reach))
    assert torch.allclose(found[crop], expected[crop], atol=1e-4)


@pytest.mark.parametrize(("rows", "columns"), [(2, 2), (2, 6), (8, 4), (10, 14)])
def test_sums_leave_out_what_is_beyond_the_picture(rows: int, columns: int) -> None:
    torch.manual_seed(0)
    # In float64, because a border of 1e6 has to cancel.
    picture = torch.randn(3, rows, columns, dtype=torch.float64)
    total, squared = sums_inside(grid_of(picture))
    assert torch.allclose(total, picture.sum((1, 2)))
    assert torch.allclose(squared, (picture**2).sum((1, 2)), atol=1e-2)


def test_the_tail_alone_at_full_precision() -> None:
    torch.manual_seed(1)
    upsample, head = Upsample(4, 6, padding="zeros").double(), nn.Conv2d(6, 3, 3, padding=1).double()
    nn.init.normal_(upsample.norm.weight)
    nn.init.normal_(upsample.norm.bias)
    x = torch.randn(1, 4, 6, 7, dtype=torch.float64)
    tail = HalfSizeTail(upsample, head, margin=1)
    with torch.inference_mode():
        expected = head(upsample(x))[0, :, 1:-1, 1:-1]
        found = functional.pixel_shuffle(tail(x).reshape(1, 4, 3, 6, 7).transpose(1, 2).reshape(1, 12, 6, 7), 2)
    assert torch.allclose(found[0, :, 1:-1, 1:-1], expected, atol=1e-9)
