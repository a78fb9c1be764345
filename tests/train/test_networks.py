import pytest
import torch

from steadystyle.train.networks import ARCHITECTURES, LowPassDown, SmoothPatchNetwork, build_network, multiplications


@pytest.mark.parametrize("size", [(1, 1), (3, 17), (33, 30), (64, 64)])
def test_any_size_comes_back_in_range(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    network = build_network("huang2017").eval()
    frame = torch.rand(2, 3, *size)
    with torch.no_grad():
        output = network(frame)
    assert output.shape == frame.shape
    assert output.min() >= 0 and output.max() <= 1
    assert output.std() > 0.01  # a picture, not a flat field


def test_huang_has_the_papers_layers() -> None:
    network = build_network("huang2017")
    shapes = [tuple(layer.weight.shape) for layer in network.modules() if isinstance(layer, torch.nn.Conv2d)]
    channels = [(outputs, inputs) for outputs, inputs, *_ in shapes]
    assert channels == [(16, 3), (32, 16), (48, 32), *[(48, 48)] * 10, (32, 48), (16, 32), (3, 16)]
    assert {shape[2:] for shape in shapes} == {(3, 3)}
    norms = [layer for layer in network.modules() if isinstance(layer, torch.nn.InstanceNorm2d)]
    assert len(norms) == 15 and all(norm.eps == 1e-3 and norm.affine for norm in norms)


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_every_network_takes_gradients_to_every_weight(name: str) -> None:
    network = build_network(name)
    network(torch.rand(1, 3, 32, 32)).square().mean().backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in network.parameters())


def test_picture_does_not_depend_on_where_it_lies_far_from_the_border() -> None:
    network = build_network("huang2017", {"blocks": 1}).eval()
    for norm in network.modules():
        if isinstance(norm, torch.nn.InstanceNorm2d):  # statistics of the whole frame would differ between the crops
            norm.track_running_stats = True
            norm.register_buffer("running_mean", torch.zeros(norm.num_features))
            norm.register_buffer("running_var", torch.ones(norm.num_features))
    frame = torch.rand(1, 3, 128, 128)
    with torch.no_grad():
        whole, part = network(frame), network(frame[..., 16:, 16:])
    torch.testing.assert_close(whole[..., 64:80, 64:80], part[..., 48:64, 48:64], atol=1e-5, rtol=0)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown network 'huang'"):
        build_network("huang")
    with pytest.raises(ValueError, match="no size 'width'"):
        build_network("huang2017", {"width": 3})


def test_multiplications_are_those_of_the_convolutions() -> None:
    network = build_network("edge", {"quarter": 8, "eighth": 16, "blocks": 1, "strokes": 1, "margin": 8})
    width, height = 48, 32  # with the margin 64 x 48: 16 x 12 at a quarter, 8 x 6 at an eighth
    quarter = 17 * 13 * 48 * 8 * 9 + 14 * 10 * 8 * 8 * 9 + 12 * 8 * 8 * 48 * 9  # those after the sum eat the margin
    eighth = 8 * 6 * (8 * 16 * 9 + 2 * 16 * 16 * 9 + 16 * 32)
    assert multiplications(network, (width, height)) == quarter + eighth


def test_the_border_of_the_edge_network_is_like_the_rest() -> None:
    torch.manual_seed(0)
    network = build_network("edge", {"quarter": 8, "eighth": 16, "blocks": 2, "strokes": 1, "margin": 8}).eval()
    seen = []
    network.get_submodule("blocks.0.first.conv").register_forward_hook(
        lambda _layer, _inputs, output: seen.append(output)
    )
    with torch.no_grad():
        for i in range(2):  # what the blocks' own zero padding paints is a loss's business
            network.get_parameter(f"blocks.{i}.second.weight").zero_()
        network.get_parameter("head.weight").mul_(10.0)
        output = network(torch.full((1, 3, 40, 51), 0.7))
    assert torch.allclose(seen[0], seen[0][:, :, 3:4, 3:4].expand_as(seen[0]), atol=1e-5)
    cells = output[:, :, :40, :48].unfold(2, 8, 8).unfold(3, 8, 8)  # patches of 8x8: the same in each
    assert cells.std() > 0.01 and torch.allclose(cells, cells[:, :, 2:3, 2:3].expand_as(cells), atol=1e-5)


def test_the_low_passed_way_down_is_one_strided_convolution() -> None:
    torch.manual_seed(0)
    layer = LowPassDown(5, 7, padding="none").eval()
    x = torch.randn(2, 5, 12, 18)
    with torch.no_grad():
        wanted, folded = layer(x), layer.strided()
        assert wanted.shape == (2, 7, 5, 8) and folded.conv.kernel_size == (4, 4)
        torch.testing.assert_close(folded(x), wanted, atol=2e-6, rtol=0)


@pytest.mark.parametrize("size", [(40, 48), (41, 51), (1, 1)])
def test_the_smooth_network_brings_the_eighth_back_to_its_place(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    network = build_network("edge-lp", {"quarter": 8, "eighth": 16, "blocks": 1, "strokes": 1}).eval()
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    network.get_submodule("down").register_forward_hook(lambda _l, inputs, output: seen.append((inputs[0], output)))
    with torch.no_grad():
        assert network(torch.rand(1, 3, *size)).shape == (1, 3, *size)
        quarter, eighth = seen[0]
        # A ramp at a quarter is, halved as `down` halves and enlarged again, the same ramp: nothing has moved.
        ramp = torch.arange(quarter.shape[3]).float().expand(1, 1, *quarter.shape[2:])
        halved = torch.nn.functional.avg_pool2d(ramp[..., 1:-1, 1:-1], 2)
        assert halved.shape[2:] == eighth.shape[2:]
        network.get_parameter("up.weight").fill_(0.0)
        network.get_parameter("up.weight")[:, 0] = 1.0
        network.get_parameter("up.bias").fill_(0.0)
        assert isinstance(network, SmoothPatchNetwork)
        placed = network.enlarged(torch.zeros_like(quarter), halved.expand(1, 16, -1, -1))
    at = placed[0, 0, 0] - ramp[0, 0, 0, 1 : 1 + placed.shape[3]]
    assert at[1:-1].abs().max() < 1e-4
