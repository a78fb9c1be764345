from pathlib import Path

import pytest
import torch

from steadystyle.common.files import InputError
from steadystyle.train.checkpoint import Checkpoint, CheckpointHeader, starting_weights
from steadystyle.train.networks import build_network, resolve_sizes

SIZES = {"quarter": 8, "eighth": 16, "blocks": 1, "strokes": 1}


def checkpoint(architecture: str, sizes: dict[str, int]) -> Checkpoint:
    torch.manual_seed(2)
    header = CheckpointHeader("x", "x.jpg", architecture, resolve_sizes(architecture, sizes), "none", 0)
    return Checkpoint(build_network(architecture, sizes).eval(), header)


def test_blocks_may_be_fewer_and_more_ones_begin_as_nothing() -> None:
    start = checkpoint("edge-lp", SIZES)
    for blocks in (0, 2, 3):
        target = build_network("edge-lp", {**SIZES, "blocks": blocks}).eval()
        target.load_state_dict(starting_weights(start, target, "edge-lp", Path("x")))
        if blocks:
            frame = torch.rand(1, 3, 24, 32)
            with torch.no_grad():  # added blocks change nothing yet
                torch.testing.assert_close(target(frame), start.network(frame), atol=1e-5, rtol=0)
        torch.testing.assert_close(target.get_parameter("stem.weight"), start.network.get_parameter("stem.weight"))


def test_the_edge_network_starts_its_successor() -> None:
    start = checkpoint("edge", SIZES)
    target = build_network("edge-lp", SIZES)
    weights = starting_weights(start, target, "edge-lp", Path("x"))
    torch.testing.assert_close(
        weights["up.weight"], start.network.get_parameter("up.weight").view(4, 8, 16, 1, 1).mean(0)
    )
    assert start.network.get_parameter("up.weight").shape == (32, 16, 1, 1), "the checkpoint itself is as it was"
    target.load_state_dict(weights)


@pytest.mark.parametrize(
    ("architecture", "sizes"),
    [("huang2017", {}), ("edge-lp", {**SIZES, "eighth": 24}), ("edge-lp", {**SIZES, "strokes": 2})],
)
def test_another_network_is_refused(architecture: str, sizes: dict[str, int]) -> None:
    with pytest.raises(InputError, match=r"x\.safetensors holds another network"):
        starting_weights(
            checkpoint("edge-lp", SIZES), build_network(architecture, sizes), architecture, Path("x.safetensors")
        )
