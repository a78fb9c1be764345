"""`--io`: the same picture whatever an artifact takes and gives, and what hosts ask of it."""

import functools
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from steadystyle.common.files import InputError
from steadystyle.export import pipeline
from steadystyle.export.onnx import OnnxWriter
from steadystyle.export.pipeline import ExportResult, export
from steadystyle.export.verify import psnr_db
from steadystyle.runtimes.look import PLAIN, Look
from steadystyle.runtimes.registry import open_stylizer
from steadystyle.tests.video.material import picture

SIZE = (64, 41)
Make = Callable[..., ExportResult]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Export the fast network, once for each set of arguments."""

    @functools.cache
    def made(target: str, io: str, precision: str = "fp32", look: Look = PLAIN, model: str = "udnie") -> ExportResult:
        size = (96, 64) if precision == "int8" else SIZE
        folder = tmp_path_factory.mktemp("layouts")
        (result,) = export(model, target, precision, size, folder, io=io, look=look)
        assert result.verdict == "ok", result.shortfalls
        return result

    return made


def ffmpeg_refuses(path: Path) -> str:
    """What FFmpeg's `dnn_processing` filter would not take of an ONNX file; empty if it takes it.

    Its ONNX backend (libavfilter/dnn/dnn_backend_onnx.c): one input and one output of rank 4, float32, NCHW, of one
    picture with three channels, which it fills with values divided by 255.
    """
    graph = onnx.load(path).graph
    for ends in (graph.input, graph.output):
        if len(ends) != 1:
            return "more than one end"
        kind = ends[0].type.tensor_type
        sides = [side.dim_value for side in kind.shape.dim]
        if len(sides) != 4:
            return f"rank {len(sides)}"
        if kind.elem_type != onnx.TensorProto.FLOAT:
            return "no float32"
        if sides[0] != 1 or sides[1] != 3:
            return f"sides {sides}"
    return ""


@pytest.mark.parametrize(("target", "providers"), [("onnx", ("cpu", "openvino")), ("tflite", ("litert", "tensorflow"))])
def test_every_layout_gives_the_same_picture(make: Make, target: str, providers: tuple[str, str]) -> None:
    frame = picture(3, SIZE[1], SIZE[0])
    pictures = {}
    for io in ("frame", "nhwc", "nchw"):
        result = make(target, io)
        assert result.path.stem == ("udnie-64x41-fp32" if io == "frame" else f"udnie-64x41-{io}-fp32")
        for provider in providers:
            with open_stylizer(result.path, provider=provider) as stylizer:
                assert stylizer.metadata.layout == ("HWC" if io == "frame" else io.upper())
                pictures[io, provider] = stylizer(frame)
    wanted = pictures["frame", providers[0]]
    assert wanted.std() > 10
    for found in pictures.values():
        assert psnr_db([found], [wanted]) >= 60


@pytest.mark.parametrize("target", ["onnx", "tflite"])
def test_a_look_in_floats(make: Make, target: str) -> None:
    frame, look = picture(3, SIZE[1], SIZE[0]), Look(strength=0.7, keep_colors=True)
    pictures = []
    for io in ("frame", "nchw"):
        with open_stylizer(make(target, io, look=look).path) as stylizer:
            pictures.append(stylizer(frame))
    assert psnr_db(pictures[:1], pictures[1:]) >= 60


def test_an_onnx_file_of_any_size_takes_floats(tmp_path: Path) -> None:
    (result,) = export("udnie", "onnx", "fp32", None, tmp_path, io="nchw")
    assert result.path.name == "udnie-any-nchw-fp32.onnx"
    with open_stylizer(result.path) as stylizer, open_stylizer("udnie") as plain:
        for size in ((40, 33), (17, 90)):
            frame = picture(1, *size)
            assert np.array_equal(stylizer(frame), plain(frame))


def test_ffmpeg_takes_one_layout(make: Make) -> None:
    assert ffmpeg_refuses(make("onnx", "nchw").path) == ""
    assert ffmpeg_refuses(make("onnx", "frame").path) == "rank 3"
    assert ffmpeg_refuses(make("onnx", "nhwc").path) == "sides [1, 41, 64, 3]"


@pytest.mark.parametrize("model", ["udnie", "udnie-huang"])
def test_a_gpu_takes_all_of_half_precision_in_floats(make: Make, model: str) -> None:
    remark = make("tflite", "nhwc", "fp16", model=model).remark
    count = int(remark.split()[0])
    assert count > 30 and remark == f"{count} of {count} operators on the GPU"


def test_what_a_gpu_does_not_take_is_named(make: Make) -> None:
    text = make("tflite", "frame").remark
    assert "CAST x 2" in text and "ROUND" in text and "CONV_2D" not in text
    assert "CONV_2D" in make("tflite", "nhwc", "int8").remark  # with weights in 8 bits
    assert make("onnx", "nhwc").remark == ""


def test_all_targets_say_which_one_takes_no_floats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    plan = pipeline._plan("all", "fp32", SIZE, PLAIN, "NHWC")
    assert [name for name, *_ in plan] == ["onnx", "tflite"]
    monkeypatch.setattr(pipeline, "find_checkpoint", lambda model: tmp_path / "missing.safetensors")
    with pytest.raises(InputError):
        export("udnie", "all", "fp32", SIZE, tmp_path, io="nhwc", notify=said.append)
    assert said == ["coreml is left out: it takes images, not arrays"]


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the target coreml takes images, not arrays: give --io frame"):
        export("udnie", "coreml", "fp16", SIZE, tmp_path, io="nhwc")
    with pytest.raises(InputError, match="unknown io 'nwhc': choose one of frame, nhwc, nchw"):
        export("udnie", "onnx", "fp32", SIZE, tmp_path, io="nwhc")
    assert list(tmp_path.iterdir()) == []


def test_metadata_with_another_layout_than_the_graph_s_is_refused(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "copy.onnx"
    shutil.copy(make("onnx", "nchw").path, path)
    OnnxWriter().embed(path, replace(make("onnx", "nchw").metadata, layout="NHWC"))
    with pytest.raises(InputError, match=r"its model takes 1x3x41x64 .* where its metadata says 1x41x64x3"):
        open_stylizer(path)
