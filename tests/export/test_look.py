"""A look inside an artifact: the same picture as the look around the plain one."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from steadystyle.common.arrays import resized
from steadystyle.export.graphs.look import taps
from steadystyle.export.pipeline import export
from steadystyle.export.verify import FLOORS_DB, psnr_db
from steadystyle.runtimes.look import Look
from steadystyle.runtimes.look.painted import painted
from steadystyle.runtimes.registry import open_stylizer
from steadystyle.video.synthetic.harbour import harbour

ALL = Look(strength=0.6, keep_colors=True, stroke=1.5)


@pytest.mark.parametrize(("length", "to"), [(64, 32), (64, 43), (43, 64), (48, 96), (7, 7), (1, 3), (5, 2)])
def test_the_taps_resize_as_opencv_does(length: int, to: int) -> None:
    image = np.random.default_rng(length).integers(0, 256, (length, 9, 3), dtype=np.uint8)
    places, weights = taps(length, to)
    assert places.shape == weights.shape
    assert places.shape[1] <= 4
    ours = np.einsum("ij,ij...->i...", weights, image[places].astype(np.float64))
    assert np.abs(np.clip(ours, 0, 255) - resized(image, (9, to))).max() < 1.1


@pytest.mark.parametrize("target", ["onnx", "tflite"])
@pytest.mark.parametrize("look", [Look(keep_colors=True), Look(stroke=2), Look(stroke=0.5), ALL])
def test_baked_and_unbaked_agree(tmp_path: Path, tiny_checkpoint: Path, target: str, look: Look) -> None:
    (plain,) = export(tiny_checkpoint, target, "fp32", look.network_size(64, 48), tmp_path)
    (baked,) = export(tiny_checkpoint, target, "fp32", (64, 48), tmp_path, look=look)
    assert baked.verdict == "ok"
    assert baked.path.name == f"tiny-{look.text}-64x48-fp32{baked.path.suffix}"
    scene = harbour(64, 48, 3)
    frames = [scene.frame(t) for t in range(3)]
    with open_stylizer(baked.path) as ours, open_stylizer(plain.path) as theirs:
        assert ours.metadata.look
        assert not theirs.metadata.look
        pictures = [ours(frame) for frame in frames]
        assert psnr_db(pictures, [painted(frame, look, theirs) for frame in frames]) >= FLOORS_DB["fp32"]
        assert psnr_db(pictures, [theirs(frame) for frame in frames]) < 40, "the look changes nothing"


def test_frames_of_any_size_take_colours_and_strength_and_a_second_look_comes_on_top(
    tmp_path: Path, tiny_checkpoint: Path
) -> None:
    look = Look(strength=0.5, keep_colors=True)
    (baked,) = export(tiny_checkpoint, "onnx", out_dir=tmp_path, look=look)
    frame = np.asarray(cv2.resize(harbour(64, 48, 1).frame(0), (75, 31)), np.uint8)
    with open_stylizer(baked.path) as ours, open_stylizer(tiny_checkpoint) as theirs:
        assert psnr_db([ours(frame)], [painted(frame, look, theirs)]) >= FLOORS_DB["fp32"]
        half = cv2.addWeighted(ours(frame), 0.5, frame, 0.5, 0)
    with open_stylizer(baked.path, look=Look(strength=0.5)) as twice:
        assert np.array_equal(twice(frame), half)


@pytest.mark.parametrize("target", ["onnx", "tflite"])
def test_eight_bits_keep_their_limit(tmp_path: Path, target: str) -> None:
    look = Look(strength=0.6, keep_colors=True, stroke=2)
    (baked,) = export("udnie", target, "int8", (128, 96), tmp_path, look=look)
    assert baked.verdict == "ok", baked.shortfalls
