import numpy as np
import torch

from steadystyle.train.loss.terms import (
    Palette,
    colour_distance,
    colour_moments,
    content_loss,
    gram,
    style_loss,
    temporal_loss,
    tone_loss,
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


def test_gram_and_its_gradient_are_those_of_the_formula_in_both_layouts() -> None:
    features = torch.randn(2, 5, 6, 7, dtype=torch.float32)
    factor = torch.randn(2, 5, 5)

    def gradient(layout: torch.memory_format, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        x = features.detach().to(dtype, memory_format=layout, copy=True).requires_grad_()
        found = gram(x)
        assert found.dtype == torch.float32
        torch.autograd.backward((found * factor).sum())
        assert x.grad is not None and x.grad.dtype == dtype and x.grad.is_contiguous(memory_format=layout)
        return found.detach(), x.grad.float()

    x = features.detach().clone().requires_grad_()
    flat = x.flatten(2)
    wanted = flat @ flat.transpose(1, 2) / (5 * 6 * 7)
    torch.autograd.backward((wanted * factor).sum())
    for layout in (torch.contiguous_format, torch.channels_last):
        found, slope = gradient(layout, torch.float32)
        torch.testing.assert_close(found, wanted.detach(), atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(slope, x.grad, atol=1e-6, rtol=1e-5)
        found, slope = gradient(layout, torch.bfloat16)
        torch.testing.assert_close(found, wanted.detach(), atol=0.02, rtol=0.02)
        torch.testing.assert_close(slope, x.grad, atol=0.005, rtol=0.05)


def test_colours_are_held_by_mean_and_covariance_in_the_paintings_own_units() -> None:
    generator = torch.Generator().manual_seed(3)
    painting = torch.rand(1, 3, 8, 8, generator=generator).repeat_interleave(4, 2).repeat_interleave(4, 3)
    style = colour_moments(painting)
    assert colour_distance(style, style) == 0
    # The means of blocks of 4x4 are what is compared: what is finer does not count.
    finer = painting + 0.1 * torch.tensor([1.0, -1.0]).repeat(16)
    torch.testing.assert_close(colour_distance(colour_moments(finer), style), torch.tensor(0.0), atol=1e-6, rtol=0)
    luma_deviation = style[1][0, 0, 0].sqrt()
    brighter = colour_moments(painting + luma_deviation)  # one deviation, of one channel of three
    torch.testing.assert_close(colour_distance(brighter, style), torch.tensor(1 / 3), atol=1e-4, rtol=0)
    mean, covariance = style
    deviation = covariance[0].diagonal().sqrt()
    doubled = (covariance[0] / torch.outer(deviation, deviation)).square().mean()
    torch.testing.assert_close(colour_distance((mean, 2 * covariance), style), doubled)
    swapped = colour_moments(painting[:, [2, 1, 0]])
    assert colour_distance(swapped, style) > 0.01
    grey = painting.mean(1, keepdim=True).expand(1, 3, 32, 32)
    ink = colour_moments(grey)  # no hue at all: the least deviation keeps the distance finite
    tinted = colour_distance(colour_moments(grey + torch.tensor([0.02, 0.0, 0.0]).view(1, 3, 1, 1)), ink)
    assert 0.05 < tinted < 1.0


def test_a_palette_is_the_colours_without_their_places() -> None:
    generator = torch.Generator().manual_seed(3)
    blocks = torch.rand(1, 3, 64, generator=generator)

    def painted(colours: torch.Tensor) -> torch.Tensor:
        return colours.reshape(1, 3, 8, -1).repeat_interleave(4, 2).repeat_interleave(4, 3)

    palette = Palette(painted(blocks))
    shuffled = blocks[..., torch.randperm(64, generator=generator)]
    torch.testing.assert_close(palette.distance(painted(shuffled)), torch.tensor(0.0), atol=1e-9, rtol=0)
    twice = shuffled.repeat_interleave(2, 2)  # of any number of pixels
    torch.testing.assert_close(palette.distance(painted(twice)), torch.tensor(0.0), atol=1e-9, rtol=0)
    # One deviation of one channel of three: the mean over even directions of a squared cosine is a third.
    deviation = colour_moments(painted(blocks))[1][0, 0, 0].sqrt()
    brighter = palette.distance(painted(shuffled + deviation))
    torch.testing.assert_close(brighter, torch.tensor(1 / 3), atol=0.01, rtol=0)
    assert palette.distance(painted(shuffled[:, [2, 1, 0]])) > 0.01


def test_a_palette_sees_a_colour_that_mean_and_covariance_do_not() -> None:
    two = torch.tensor([0.2, 0.8]).repeat(128)  # black and white in equal parts
    three = torch.tensor([0.5, 0.5, 0.5 + 0.3 * 2**0.5, 0.5 - 0.3 * 2**0.5]).repeat(64)  # half of it grey
    frames = [values.view(1, 1, 16, 16).expand(1, 3, 16, 16).repeat_interleave(4, 2).repeat_interleave(4, 3)
              for values in (two, three)]  # fmt: skip
    distance = colour_distance(colour_moments(frames[1]), colour_moments(frames[0]))
    torch.testing.assert_close(distance, torch.tensor(0.0), atol=1e-6, rtol=0)
    assert Palette(frames[0]).distance(frames[1]) > 0.1


def test_the_tone_loss_asks_for_the_order_of_light_and_dark_alone() -> None:
    generator = torch.Generator().manual_seed(5)
    source = torch.rand(2, 3, 6, 6, generator=generator).repeat_interleave(8, 2).repeat_interleave(8, 3)
    for painted, expected in ((0.2 + 0.5 * source, 0.0), (1 - source, 2.0), (torch.full_like(source, 0.4), 1.0)):
        torch.testing.assert_close(tone_loss(painted, source), torch.tensor(expected), atol=1e-3, rtol=0)
    finer = source + 0.1 * torch.tensor([1.0, -1.0]).repeat(24)  # strokes smaller than an eighth are free
    torch.testing.assert_close(tone_loss(finer, source), torch.tensor(0.0), atol=1e-3, rtol=0)


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
