"""Choosing among checkpoints: their figures on clips, and held against a peer."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from steadystyle.benchmarks.measure.clips import FileClip
from steadystyle.benchmarks.measure.peer import open_peer
from steadystyle.common.files import InputError
from steadystyle.studies import held_out
from steadystyle.train.checkpoint import CheckpointHeader, save_checkpoint
from steadystyle.train.networks import build_network, resolve_sizes
from steadystyle.video.frames import write_video
from steadystyle.video.images import write_image

Texture = Callable[[int, int, int], NDArray[np.uint8]]
WritePeer = Callable[..., Path]
SIZES = {"quarter": 8, "eighth": 8, "blocks": 1, "strokes": 0}


def test_checkpoints_are_held_against_a_peer(
    tmp_path: Path,
    texture: Texture,
    loss_file: Path,
    stroke_file: Path,
    write_peer: WritePeer,
    capsys: pytest.CaptureFixture[str],
) -> None:
    wide = texture(64, 128, 20)
    for clip, step in (("slow", 1), ("quick", 3)):
        write_video(tmp_path / f"clips/{clip}.mp4", [wide[:, step * t : step * t + 80] for t in range(8)], 25)
    write_image(tmp_path / "style.png", texture(64, 80, 1))
    torch.manual_seed(3)
    network = build_network("edge", SIZES)
    checkpoint, louder = tmp_path / "plain.safetensors", tmp_path / "loud.safetensors"
    header = CheckpointHeader("plain", "none", "edge", resolve_sizes("edge", SIZES), "", 0)
    header.recipe_values.update(style_size=64, stroke=1.5)
    with torch.no_grad():  # loud enough that twice as loud shows
        for path, gain in ((checkpoint, 30.0), (louder, 2.0)):
            network.get_parameter("head.weight").mul_(gain)
            save_checkpoint(path, network, header)
    peer = write_peer(tmp_path / "peer.onnx")
    model = onnx.load(peer)  # 255 - (x + x), clipped: it doubles what the source changes
    del model.graph.node[0]
    model.graph.node.insert(0, onnx.helper.make_node("Add", ["image0", "image0"], ["sum"]))
    onnx.save(model, peer)
    arguments = [checkpoint, louder, "--style", tmp_path / "style.png", "--clips", tmp_path / "clips"]
    arguments += ["--loss-network", loss_file, "--loss-network", stroke_file]

    def table(*more: object) -> list[list[str]]:
        held_out.main([str(argument) for argument in (*arguments, *more)])
        return [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()]

    head, _, plain, loud = table()
    assert "share" not in head[0]
    assert [plain[0], loud[0]] == [str(checkpoint), str(louder)]
    assert plain[5].endswith(" (96)") and loud[5].endswith(" (96)")
    numbers = [float(part) for cell in (*plain[1:], *loud[1:]) for part in cell.replace("(96)", "").split()]
    assert len(numbers) == 2 * (8 + 4 + 3) and np.isfinite(numbers).all() and min(numbers[-7:-3]) > 0
    assert float(loud[1]) > float(plain[1]) + 0.001
    head, _, *shares = table("--peer", peer)
    assert "share of the peer's" in head[0] and [row[4:] for row in shares] == [plain[4:], loud[4:]]
    clips = [FileClip(path) for path in sorted((tmp_path / "clips").iterdir())]
    judging = held_out.open_held_out_judging(tmp_path / "style.png", ["peer"], [loss_file])
    of_peer = held_out.measure({"peer": open_peer(peer)}, clips, judging)["peer"]
    for row, share in zip((plain, loud), shares, strict=True):
        wanted = [float(cell) for cell in row[1:4]]
        whole = [getattr(of_peer, key) for key in ("excess_short", "excess_long", "drift")]
        found = [float(part) * value for part, value in zip(share[1:4], whole, strict=True)]
        assert found == pytest.approx(wanted, abs=2e-4)


def test_a_line_along_the_border_is_found_and_plain_paint_has_none() -> None:
    scene = np.zeros((90, 160, 3), np.uint8)

    def lined(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        painted = frame.copy()
        painted[:2] = painted[:2] + 30
        return painted

    assert held_out.border_line(lambda frame: frame, [scene], (60, 60, 60)) == 0
    # Two of the ten rows are 30 off.
    assert held_out.border_line(lined, [scene], (60, 60, 60)) == pytest.approx(30 * 0.2**0.5)


def test_what_cannot_be_measured_is_said(tmp_path: Path, texture: Texture, loss_file: Path, stroke_file: Path) -> None:
    header = CheckpointHeader("plain", "none", "huang2017", resolve_sizes("huang2017", {"blocks": 1}), "none", 0)
    save_checkpoint(tmp_path / "plain.safetensors", build_network("huang2017", {"blocks": 1}), header)
    write_image(tmp_path / "style.png", texture(64, 80, 1))
    (tmp_path / "clips").mkdir()
    arguments = [tmp_path / "plain.safetensors", "--style", tmp_path / "style.png", "--clips", tmp_path / "clips"]
    arguments += ["--loss-network", loss_file]
    with pytest.raises(InputError, match="VGG-19's weights are needed"):
        held_out.open_held_out_judging(tmp_path / "style.png", ["plain"], [stroke_file])
    with pytest.raises(InputError, match="no clips in"):
        held_out.main([str(argument) for argument in arguments])
    wide = texture(64, 128, 20)
    write_video(tmp_path / "clips" / "short.mp4", [wide[:, 2 * t : 2 * t + 80] for t in range(3)], 25)
    with pytest.raises(InputError, match="too short"):
        held_out.main([str(argument) for argument in arguments])
