from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

from steadystyle.benchmarks.measure.peer import open_peer
from steadystyle.common.files import InputError

WritePeer = Callable[..., Path]
DATA = Path(__file__).resolve().parents[3] / ".." / "shared" / "data"


@pytest.mark.parametrize("size", [(16, 12), (17, 13), (1, 1), (3, 30)])
def test_a_peer_takes_and_gives_frames_of_any_size(peer_file: Path, size: tuple[int, int]) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
    peer = open_peer(peer_file, threads=1)
    stylized = peer(frame)
    assert stylized.dtype == np.uint8
    assert stylized.flags.c_contiguous and stylized.flags.owndata
    np.testing.assert_array_equal(stylized, 255 - frame)
    assert peer.name == "inverts"
    assert "onnxruntime" in peer.engine and "1 thread" in peer.engine
    peer.close()


def test_what_a_peer_gives_is_rounded_and_clipped(write_peer: WritePeer, tmp_path: Path) -> None:
    # 255 - (x + x) leaves the range of a byte for bright pixels.
    import onnx
    from onnx import helper

    path = write_peer(tmp_path / "over.onnx")
    model = onnx.load(path)
    del model.graph.node[0]
    model.graph.node.insert(0, helper.make_node("Add", ["image0", "image0"], ["sum"]))
    onnx.save(model, path)
    peer = open_peer(path, threads=1)
    levels = np.array([[[0, 100, 127], [128, 200, 255]]], np.uint8)
    assert peer(levels).tolist() == [[[255, 55, 1], [0, 0, 0]]]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"inputs": 2}, "has 2 inputs and 1 outputs"),
        ({"kind": TensorProto.DOUBLE}, r"the input .* is tensor\(double\): a peer's is a float image"),
        ({"shape": (1, 1, "h", "w")}, "a peer's is .1, 3, height, width."),
        ({"shape": (2, 3, "h", "w")}, "a peer's is .1, 3, height, width."),
        ({"shape": (1, 3, 8, 8)}, "is fixed"),
        ({"shape": (1, 3, 1, "h", "w")}, "a peer's is .1, 3, height, width."),
    ],
)
def test_what_is_no_peer_is_refused(
    write_peer: WritePeer, tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence) as refusal:
        open_peer(write_peer(tmp_path / "other.onnx", **changes))
    assert "\n" not in str(refusal.value)


def test_a_peer_that_changes_the_size_is_refused_at_its_first_frame(write_peer: WritePeer, tmp_path: Path) -> None:
    peer = open_peer(write_peer(tmp_path / "narrower.onnx", left_out=4))
    with pytest.raises(InputError, match="its sizes must agree"):
        peer(np.zeros((8, 12, 3), np.uint8))


def test_missing_and_broken_files_are_refused(tmp_path: Path, peer_file: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        open_peer(tmp_path / "nothing.onnx")
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(peer_file.read_bytes()[:40])
    with pytest.raises(InputError, match="damaged"):
        open_peer(broken)


def test_our_own_artifacts_are_no_peers(any_size_artifact: Path) -> None:
    with pytest.raises(InputError, match="uint8"):
        open_peer(any_size_artifact)


@pytest.mark.skipif(not (DATA / "peers").is_dir(), reason="the folder shared/data is not beside the checkout")
def test_a_real_peer_repaints_small_frames() -> None:
    peer = open_peer(DATA / "peers" / "johnson_wave.onnx", threads=1)
    frame = np.random.default_rng(0).integers(0, 256, (34, 50, 3)).astype(np.uint8)
    stylized = peer(frame)
    assert stylized.shape == frame.shape
    assert stylized.std() > 10
    assert np.abs(stylized.astype(int) - frame).mean() > 20
