import numpy as np
import pytest
import torch

from steadystyle.train.losses import (
    content_loss,
    gram,
    grid_loss,
    luminance_change,
    style_loss,
    temporal_feature_loss,
    temporal_loss,
    total_variation,
    warp,
)
from steadystyle.video.flow import warp as warp_frame


def test_gram_is_the_product_over_all_its_entries() -> None:
    features = torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]])  # (1, C 2, H 1, W 2)
    torch.testing.assert_close(gram(features), torch.tensor([[[5.0, 11.0], [11.0, 25.0]]]) / 4)


def test_style_loss_ignores_place_and_content_loss_does_not() -> None:
    features = {"relu1_2": torch.rand(1, 4, 8, 8)}
    moved = {"relu1_2": features["relu1_2"].roll(3, dims=3)}
    grams = {"relu1_2": gram(features["relu1_2"])}
    assert style_loss(moved, grams) < 1e-10
    assert content_loss(moved, features) > 0.1
    assert content_loss(features, features) == 0


def test_losses_do_not_change_with_the_scale_of_the_loss_network() -> None:
    a, b = torch.rand(1, 4, 8, 8), torch.rand(1, 4, 8, 8)
    plain = content_loss({"x": a}, {"x": b}), style_loss({"x": a}, {"x": gram(b)})
    scaled = content_loss({"x": 50 * a}, {"x": 50 * b}), style_loss({"x": 50 * a}, {"x": gram(50 * b)})
    torch.testing.assert_close(plain, scaled)


def test_total_variation_counts_steps() -> None:
    frame = torch.zeros(1, 3, 4, 4)
    frame[..., 2:] = 1.0  # one step a row, of three neighbours
    torch.testing.assert_close(total_variation(frame), torch.tensor(1 / 3))


def test_grid_loss_sees_what_repeats_with_the_grid_and_nothing_else() -> None:
    x = torch.arange(64.0)
    for period in (4, 8):
        repeating = 0.1 * (x % period == 0).float().expand(1, 3, 64, 64)
        expected = 0.01 * (1 / period) * (1 - 1 / period)  # variance of one in `period`
        torch.testing.assert_close(grid_loss(repeating, period), torch.tensor(expected))
        torch.testing.assert_close(grid_loss(repeating.transpose(2, 3), period), torch.tensor(expected))
    finer = 0.1 * (x % 4 == 1).float().expand(1, 3, 64, 64)
    assert grid_loss(finer, 8) > 1e-3  # what repeats twice as often repeats with the grid as well
    other = 0.1 * (x % 5 == 0).float().expand(1, 3, 64, 64)
    assert grid_loss(other, 4) < 5e-5
    assert grid_loss(torch.full((1, 3, 40, 70), 0.3), 4) < 1e-12


def test_grid_loss_wants_gradients_smooth() -> None:
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    for period in (4, 8):
        plane = (0.2 + 0.004 * x + 0.002 * y).expand(1, 3, 64, 64)
        assert grid_loss(plane, period) < 1e-12
        # The same climbed in steps is off it by a ramp of `period` places: slope² (period² - 1) / 12 each way.
        steps = (0.2 + 0.004 * (x - x % period) + 0.002 * (y - y % period)).expand(1, 3, 64, 64)
        expected = (0.004**2 + 0.002**2) * (period**2 - 1) / 12
        torch.testing.assert_close(grid_loss(steps, period), torch.tensor(expected), rtol=1e-4, atol=0)


def test_grid_loss_lets_texture_be() -> None:
    generator = torch.Generator().manual_seed(2)
    for period in (4, 8):
        noise = torch.rand(1, 3, 256, 256, generator=generator)
        chance = float(noise.var()) / (32 // period) ** 2  # what a mean over the cells of a window has of it
        assert grid_loss(noise, period) < 0.2 * chance
        hidden = 0.05 * (torch.arange(256) % period == 0).float()  # under a texture six times as strong
        expected = 0.05**2 * (1 / period) * (1 - 1 / period)
        torch.testing.assert_close(grid_loss(noise + hidden, period), torch.tensor(expected), rtol=0.4, atol=0)


def test_warp_is_that_of_the_video_room() -> None:
    rng = np.random.default_rng(1)
    frame = rng.random((20, 30, 3), np.float32)
    flow = rng.normal(0, 2, (20, 30, 2)).astype(np.float32)
    expected, inside = warp_frame(frame, flow)
    found = warp(torch.from_numpy(frame.transpose(2, 0, 1)[None]), torch.from_numpy(flow.transpose(2, 0, 1)[None]))
    np.testing.assert_allclose(found[0].numpy().transpose(1, 2, 0)[inside], expected[inside], atol=2e-2)  # cv2: 1/32 px


def test_temporal_loss_follows_the_motion_and_the_mask() -> None:
    wide = torch.rand(1, 3, 16, 40)
    first, second = wide[..., 4:36], wide[..., 1:33]  # what is at x in the second frame was at x - 3 in the first
    flow = torch.zeros(1, 2, 16, 32)
    flow[:, 0] = -3.0
    valid = torch.ones(1, 1, 16, 32)
    valid[..., :3] = 0
    assert temporal_loss(first, second, flow, valid) < 1e-9
    assert temporal_loss(first, second, -flow, valid) > 0.05
    assert temporal_loss(first, second, flow, torch.ones_like(valid)) > 1e-3
    offset = temporal_loss(first, second + 0.1, flow, valid)
    torch.testing.assert_close(offset, torch.tensor(0.01))
    assert temporal_loss(first, second, flow, torch.zeros_like(valid)) == 0


def test_a_change_of_light_is_no_flicker_when_it_is_allowed_for() -> None:
    source, output, flow = torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8), torch.zeros(1, 2, 8, 8)
    everywhere = torch.ones(1, 1, 8, 8)
    change = luminance_change(source, source + 0.2, flow)
    torch.testing.assert_close(change, torch.full((1, 1, 8, 8), 0.2))
    assert temporal_loss(output, output + 0.2, flow, everywhere, change) < 1e-10
    torch.testing.assert_close(temporal_loss(output, output + 0.2, flow, everywhere), torch.tensor(0.04))
    torch.testing.assert_close(temporal_loss(output, output, flow, everywhere, change), torch.tensor(0.04))


@pytest.mark.parametrize("margin", [0, 2])
def test_features_are_held_to_those_that_moved_along(margin: int) -> None:
    wide = torch.rand(1, 5, 6 + 2 * margin, 12 + 2 * margin)
    first, second = wide[..., 2:], wide[..., :-2]  # what is at x in the second was at x - 2 in the first
    flow = torch.zeros(1, 2, 24, 40)
    flow[:, 0] = -8.0  # 2 features are 8 px
    valid = torch.zeros(1, 1, 24, 40)
    valid[..., 8:] = 1.0
    features = torch.cat([first, second])
    assert temporal_feature_loss(features, flow, valid) < 1e-10
    still = temporal_feature_loss(features, torch.zeros_like(flow), valid)
    assert still > 0.1
    torch.testing.assert_close(temporal_feature_loss(50 * features, torch.zeros_like(flow), valid), still)
