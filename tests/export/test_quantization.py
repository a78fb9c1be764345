"""Calibration, equal channels, and which layers stay in float: on networks where the right answer is known."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from steadystyle.common.files import InputError
from steadystyle.export.calibration import CALIBRATION_FRAMES, Calibration, load_calibration
from steadystyle.export.graphs.encoder_decoder import EncoderDecoderGraph
from steadystyle.export.quantization import equalize, plan_quantization
from steadystyle.train.checkpoint import load_checkpoint
from steadystyle.train.networks import EncoderDecoder, build_network
from steadystyle.video.frames import write_video
from steadystyle.video.synthetic.harbour import harbour

SIZE = (64, 48)
HUANG = {"stem": 4, "half": 5, "quarter": 6, "blocks": 1}


def network_with(gains: dict[str, float]) -> EncoderDecoder:
    """Random weights; the first output channel of each named convolution is that many times larger."""
    torch.manual_seed(1)
    network = build_network("huang2017", HUANG)
    assert isinstance(network, EncoderDecoder)
    with torch.no_grad():
        for name, gain in gains.items():
            network.get_parameter(f"{name}.weight")[0] *= gain
    return network.eval()


def frames(count: int = 3) -> list[NDArray[np.uint8]]:
    scene = harbour(*SIZE, 40)
    return [scene.frame(9 * t) for t in range(count)]


def test_the_bundled_scene_is_spread_over_its_length() -> None:
    calibration = load_calibration([], SIZE)
    assert len(calibration.frames) == 2 * CALIBRATION_FRAMES
    assert all(frame.shape == (48, 64, 3) for frame in calibration.frames)
    plain = [np.mean((frame == frame[0, 0]).all(-1)) for frame in calibration.frames[:CALIBRATION_FRAMES]]
    assert max(plain) < 0.3  # full of detail; and in part plain, from half of the frame to two thirds
    shares = [np.mean((frame == frame[0, 0]).all(-1)) for frame in calibration.frames[CALIBRATION_FRAMES:]]
    assert 0.45 < min(shares) < 0.6 < max(shares) < 0.7
    assert calibration.note == ""
    assert calibration.sha256 == load_calibration([], SIZE).sha256
    assert calibration.sha256 != load_calibration([], (64, 50)).sha256


def test_clips_give_frames_of_the_artifacts_size(tmp_path: Path, clip: Path) -> None:
    flat = tmp_path / "flat.mp4"
    write_video(flat, [np.full((32, 32, 3), shade, np.uint8) for shade in range(0, 200, 10)])
    calibration = load_calibration([str(clip), str(flat)], SIZE)
    assert len(calibration.frames) == CALIBRATION_FRAMES
    assert {frame.shape for frame in calibration.frames} == {(48, 64, 3)}
    assert calibration.source == f"{clip.name}, flat.mp4"
    assert str(tmp_path) not in calibration.source


def test_a_single_picture_is_noted(tmp_path: Path) -> None:
    still = tmp_path / "still.mp4"
    write_video(still, [np.full((48, 64, 3), 90, np.uint8)] * 5)
    assert "single picture" in load_calibration([str(still)], SIZE).note


def test_a_clip_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "no.mp4").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"no\.mp4"):
        load_calibration([str(tmp_path / "no.mp4")], SIZE)


def test_equal_channels_change_nothing_but_the_ranges() -> None:
    network = network_with({"down.1.conv": 30.0, "blocks.0.first.conv": 20.0, "up.0.conv": 10.0, "up.1.conv": 25.0})
    plain, equal = EncoderDecoderGraph(network), EncoderDecoderGraph(network)
    equalize(equal, frames())
    for frame in frames(4):
        with torch.inference_mode():
            one, other = (graph(torch.from_numpy(frame)).numpy().astype(int) for graph in (plain, equal))
        assert np.abs(one - other).max() <= 2
        assert np.abs(one - other).mean() < 0.25
    assert not torch.equal(plain.tail.up_weight, equal.tail.up_weight)


def test_equal_channels_make_eight_bits_better() -> None:
    gains = {name: 40.0 for name in ("down.1.conv", "blocks.0.first.conv", "up.0.conv")}
    lone = plan_quantization(network_with(gains), Calibration(frames(), "scene"), SIZE).sensitivity
    even = plan_quantization(network_with({}), Calibration(frames(), "scene"), SIZE).sensitivity
    # With a channel 40 times as wide as the others, 8 bits of one range leave them 5 steps or so: below 30 dB.
    for name in ("down.1", "blocks.0.first", "up.0"):
        assert lone[name]["psnr_db"] > even[name]["psnr_db"] - 6


def test_the_plan_tells_of_every_layer_and_its_share(tiny_checkpoint: Path) -> None:
    network = load_checkpoint(tiny_checkpoint).network
    plan = plan_quantization(network, Calibration(frames(), "scene"), SIZE)
    assert list(plan.sensitivity) == EncoderDecoderGraph(network).layers()
    assert sum(row["share"] for row in plan.sensitivity.values()) == pytest.approx(1)
    assert plan.float_layers < set(plan.sensitivity)


def test_the_layer_that_eight_bits_ruin_stays_in_float() -> None:
    """A head whose input has one huge value: all else falls into one step of its range."""
    network = network_with({})
    with torch.no_grad():
        network.head.weight[:, 0] *= 1e-4
        network.get_parameter("up.1.norm.weight")[0] = 1e4
    plan = plan_quantization(network, Calibration(frames(), "scene"), SIZE)
    worst = min(plan.sensitivity, key=lambda name: plan.sensitivity[name]["psnr_db"])
    assert worst == "tail.head"
    assert "tail.head" in plan.float_layers
