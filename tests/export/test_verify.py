"""The figures of a verification, against values known beforehand."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from steadystyle.common.files import InputError
from steadystyle.export.graphs.encoder_decoder import EncoderDecoderGraph
from steadystyle.export.verify import FLOORS_DB, IDENTICAL_DB, load_test_frames, reference, verify
from steadystyle.train.checkpoint import Checkpoint, CheckpointHeader, load_checkpoint
from steadystyle.video.flow import FlowPair

Image = NDArray[np.uint8]


class Halved(nn.Module):
    """A "network" that darkens."""

    def forward(self, x: Tensor) -> Tensor:
        return x / 2


CHECKPOINT = Checkpoint(Halved(), CheckpointHeader("n", "s", "a", {}, "r", 0))


def halved(frame: Image) -> Image:
    """What `Halved` gives as a picture; the halves are rounded to even."""
    return np.asarray(np.rint(frame / 2), np.uint8)


def wanted(frames: Sequence[Image], checkpoint: Checkpoint = CHECKPOINT) -> list[Image]:
    return [reference(checkpoint.network, frame) for frame in frames]


def noisy_frames(count: int, spread: int = 20) -> list[Image]:
    rng = np.random.default_rng(0)
    return [rng.integers(100, 100 + spread, (24, 32, 3), np.uint8) for _ in range(count)]


def standing_still() -> FlowPair:
    return FlowPair(np.zeros((24, 32, 2), np.float32), np.ones((24, 32), np.bool_))


def test_the_reference_is_rounded_to_the_nearest() -> None:
    frame = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    assert np.array_equal(reference(nn.Identity(), frame), frame)
    found = reference(CHECKPOINT.network, frame)
    assert np.abs(found - frame / 2).max() <= 0.5


def test_an_artifact_that_is_exact() -> None:
    frames = noisy_frames(3)
    figures = verify(halved, wanted(frames), frames)
    assert figures["max_abs"] == figures["mean_abs"] == 0
    assert figures["psnr_db"] == IDENTICAL_DB
    assert figures["frames"] == 3
    assert figures["size"] == "32x24"
    assert "flicker_delta" not in figures, "there was no motion to measure it on"


@pytest.mark.parametrize("off", [1, 2, 10])
def test_an_artifact_that_is_off_everywhere(off: int) -> None:
    frames = noisy_frames(2)
    figures = verify(lambda frame: np.asarray(halved(frame) + off, np.uint8), wanted(frames), frames)
    assert figures["max_abs"] == figures["mean_abs"] == off
    assert figures["psnr_db"] == pytest.approx(20 * math.log10(255 / off))


def test_one_wrong_pixel_among_many() -> None:
    def wrong(frame: Image) -> Image:
        result = halved(frame)
        result[0, 0, 0] = 255 if result[0, 0, 0] < 128 else 0
        return result

    frames = noisy_frames(1)
    figures = verify(wrong, wanted(frames), frames)
    assert float(figures["max_abs"]) > 100
    assert float(figures["mean_abs"]) < 0.1


def test_flicker_is_the_ratio_to_the_checkpoint() -> None:
    frames = noisy_frames(4)
    pairs = {t: standing_still() for t in range(3)}
    assert verify(halved, wanted(frames), frames, pairs)["flicker_delta"] == 1
    # Twice the contrast of the checkpoint is twice its change from frame to frame.
    twice = verify(lambda frame: np.asarray(2 * halved(frame), np.uint8), wanted(frames), frames, pairs)
    assert twice["flicker_delta"] == pytest.approx(2)


def test_flicker_has_no_value_where_the_checkpoint_does_not_change() -> None:
    frames = [noisy_frames(1)[0]] * 2
    assert "flicker_delta" not in verify(halved, wanted(frames), frames, {0: standing_still()})


def test_a_sideways_artifact_fails_loudly() -> None:
    frames = noisy_frames(1)
    with pytest.raises(ValueError, match="shape"):
        verify(lambda frame: np.ascontiguousarray(frame.swapaxes(0, 1)), wanted(frames), frames)


def test_frames_of_the_bundled_scene() -> None:
    test = load_test_frames(None, (64, 48))
    assert {frame.shape for frame in test.frames} == {(48, 64, 3)}
    assert sorted(test.pairs) == list(range(len(test.frames) - 1))
    assert test.flow_source == "ground truth"
    odd = load_test_frames(None, None)
    assert all(side % 2 for frame in odd.frames for side in frame.shape[:2])


def test_frames_of_a_clip(clip: Path) -> None:
    own = load_test_frames(str(clip), None)
    assert {frame.shape for frame in own.frames} == {(48, 64, 3)}
    assert (own.source, own.flow_source) == ("clip.mp4", "DIS medium")
    assert {frame.shape for frame in load_test_frames(str(clip), (32, 30)).frames} == {(30, 32, 3)}
    with pytest.raises(InputError, match="nowhere"):
        load_test_frames("nowhere.mp4", None)


def test_the_network_is_not_trained_on_the_way() -> None:
    network = nn.Conv2d(3, 3, 1)
    checkpoint, frames = Checkpoint(network, CHECKPOINT.header), noisy_frames(1)
    verify(lambda frame: frame, wanted(frames, checkpoint), frames)
    assert all(parameter.grad is None for parameter in network.parameters())
    assert torch.is_grad_enabled()


@pytest.fixture(scope="module")
def tiny(tiny_checkpoint: Path) -> Checkpoint:
    return load_checkpoint(tiny_checkpoint)


@pytest.fixture(scope="module")
def photo() -> Image:
    return load_test_frames(None, (64, 48)).frames[0]


def run_graph(graph: nn.Module, frame: Image) -> Image:
    with torch.inference_mode():
        return np.asarray(graph(torch.from_numpy(frame)).numpy(), np.uint8)


def test_the_deployable_graph_passes(tiny: Checkpoint, photo: Image) -> None:
    graph = EncoderDecoderGraph(tiny.network)
    assert (
        float(verify(lambda frame: run_graph(graph, frame), wanted([photo], tiny), [photo])["psnr_db"])
        >= FLOORS_DB["fp32"]
    )


@pytest.mark.parametrize(
    "weight", ["down.0.conv.weight", "blocks.0.first.conv.weight", "up.0.weight", "tail.up_weight", "tail.head_weight"]
)
def test_weights_permuted_by_one_channel_fail(tiny: Checkpoint, photo: Image, weight: str) -> None:
    graph = EncoderDecoderGraph(tiny.network)
    values = graph.state_dict()[weight]
    values.copy_(values.roll(1, 0))
    assert (
        float(verify(lambda frame: run_graph(graph, frame), wanted([photo], tiny), [photo])["psnr_db"])
        < FLOORS_DB["fp32"]
    )


@pytest.mark.parametrize(
    "wrong",
    [
        lambda picture: picture[..., ::-1],  # colour order
        lambda picture: np.rint(picture * 0.99),  # scale
        lambda picture: np.roll(picture, 1, 0),  # padding off by one
        lambda picture: np.roll(picture, 1, 1),
    ],
    ids=["colours", "scale", "rows", "columns"],
)
def test_a_wrong_picture_fails(tiny: Checkpoint, photo: Image, wrong: Callable[[Image], Image]) -> None:
    graph = EncoderDecoderGraph(tiny.network)

    def broken(frame: Image) -> Image:
        return np.asarray(wrong(run_graph(graph, frame)), np.uint8)

    assert float(verify(broken, wanted([photo], tiny), [photo])["psnr_db"]) < FLOORS_DB["fp32"]
