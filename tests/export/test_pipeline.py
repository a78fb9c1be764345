"""The stages of an export: what is asked for, what is proven, and what is kept."""

import dataclasses
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import steadystyle.export.onnx
import steadystyle.export.tflite
from steadystyle.common.arrays import Size
from steadystyle.common.files import InputError
from steadystyle.export import pipeline, quantization
from steadystyle.export.calibration import load_calibration
from steadystyle.export.graphs.encoder_decoder import EncoderDecoderGraph
from steadystyle.export.onnx import OnnxWriter
from steadystyle.export.pipeline import Proof, export
from steadystyle.export.quantization import Quantization
from steadystyle.export.target import PRECISIONS
from steadystyle.runtimes.artifact import ArtifactMetadata
from steadystyle.runtimes.look import PLAIN, Look
from steadystyle.runtimes.registry import open_stylizer, read_metadata
from steadystyle.runtimes.stylizer import Stylizer
from steadystyle.train.checkpoint import load_checkpoint, read_tensors, save_checkpoint, write_tensors
from steadystyle.train.loss.network import layers_of
from steadystyle.video.frames import write_video
from steadystyle.video.images import write_image


def test_artifacts_get_their_own_names_in_the_folder(tmp_path: Path, tiny_checkpoint: Path, clip: Path) -> None:
    steps: list[tuple[str, int, int | None]] = []
    results = export(
        tiny_checkpoint,
        "onnx",
        "all",
        (64, 48),
        tmp_path / "exports",
        proof=Proof(clip=str(clip), allow_degraded=True),
        progress=lambda what, done, total: steps.append((what, done, total)),
    )
    bearing = ("onnx int8: how each layer bears it", 2, 3)
    assert steps == [("onnx fp32", 0, 3), ("onnx fp16", 1, 3), bearing, ("onnx int8", 2, 3)]
    names = [f"tiny-64x48-{precision}.onnx" for precision in PRECISIONS]
    assert [result.path for result in results] == [tmp_path / "exports" / name for name in names]
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == sorted(names)
    for result in results:
        assert result.target == "onnx"
        assert result.size_bytes == result.path.stat().st_size
        assert result.median_ms is not None
        assert result.median_ms > 0
        assert result.metadata.verification["flow_source"] == "DIS medium"
        with open_stylizer(result.path) as stylizer:
            assert stylizer.metadata == result.metadata
    assert [result.verdict for result in results[:2]] == ["ok", "ok"]


def test_each_target_has_its_own_default(tmp_path: Path, tiny_checkpoint: Path) -> None:
    (result,) = export(tiny_checkpoint, "onnx", None, (32, 24), tmp_path)
    assert result.metadata.precision == "fp32"


def test_an_eight_bit_artifact_says_how_it_was_made(tmp_path: Path, tiny_checkpoint: Path, clip: Path) -> None:
    (result,) = export(
        tiny_checkpoint,
        "onnx",
        "int8",
        (64, 48),
        tmp_path,
        calibration_clips=[str(clip)],
        proof=Proof(allow_degraded=True),
    )
    metadata = result.metadata
    graph = EncoderDecoderGraph(load_checkpoint(tiny_checkpoint).network)
    assert list(metadata.sensitivity) == graph.layers()
    assert set(metadata.float_layers) < set(graph.layers())
    assert metadata.calibration_sha256 == load_calibration([str(clip)], (64, 48)).sha256
    assert metadata.verification["calibration_source"] == clip.name


def test_a_still_calibration_is_warned_of(tmp_path: Path, tiny_checkpoint: Path) -> None:
    still = tmp_path / "still.mp4"
    write_video(still, [np.full((48, 64, 3), 90, np.uint8)] * 8)
    notes: list[str] = []
    export(
        tiny_checkpoint,
        "onnx",
        "int8",
        (64, 48),
        tmp_path / "exports",
        calibration_clips=[str(still)],
        proof=Proof(allow_degraded=True),
        notify=notes.append,
    )
    assert notes == ["calibrated on a single picture: give a clip that moves, or several"]


def test_a_degraded_artifact_is_kept_when_that_is_allowed(tmp_path: Path, other_checkpoint: Path, copies: str) -> None:
    (result,) = export(other_checkpoint, copies, None, (64, 48), tmp_path, proof=Proof(allow_degraded=True))
    assert result.verdict == "degraded"
    assert "PSNR" in result.shortfalls[0]
    assert result.path.is_file()


def test_the_change_of_the_style_is_measured_where_there_is_a_style(
    tmp_path: Path, tiny_checkpoint: Path, random_loss_network: Path
) -> None:
    style = tmp_path / "style.png"
    write_image(style, np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8))
    (result,) = export(
        tiny_checkpoint,
        size=(64, 48),
        out_dir=tmp_path,
        proof=Proof(style=style, loss_network=random_loss_network),
    )
    assert result.metadata.verification["style_change"] == pytest.approx(1, abs=0.01)


def test_all_artifacts_of_a_model_share_what_is_loaded(
    tmp_path: Path, tiny_checkpoint: Path, random_loss_network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: Counter[str] = Counter()

    def count(module: ModuleType, name: str) -> None:
        whole = getattr(module, name)

        def counted(*arguments: object, **options: object) -> object:
            counts[name] += 1
            return whole(*arguments, **options)

        monkeypatch.setattr(module, name, counted)

    for name in ("load_checkpoint", "StyleJudge", "load_test_frames", "load_calibration", "plan_quantization"):
        count(pipeline, name)
    for module in (steadystyle.export.onnx, steadystyle.export.tflite, quantization):
        count(module, "deployable_graph")
    count(quantization, "equalize")
    style = tmp_path / "style.png"
    write_image(style, np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8))
    proof = Proof(style=style, loss_network=random_loss_network, allow_degraded=True)
    results = export(tiny_checkpoint, "all", "all", (64, 48), tmp_path / "exports", proof=proof)
    assert len(results) == 9
    assert all("style_change" in result.metadata.verification for result in results)
    once = dict.fromkeys(("load_checkpoint", "StyleJudge", "load_test_frames", "load_calibration", "equalize"), 1)
    # A graph for each file in float of ONNX and TensorFlow Lite, and for each plan, which the 8-bit file is written of.
    assert counts == {**once, "plan_quantization": 2, "deployable_graph": 4 + 2}


def test_the_change_of_the_style_is_not_left_out_for_want_of_vgg_19(tmp_path: Path) -> None:
    write_image(tmp_path / "style.png", np.full((32, 32, 3), 90, np.uint8))
    weights = {}
    for _, index, inputs, outputs, _ in layers_of("VGG-16")[:10]:
        weights[f"features.{index}.weight"] = torch.zeros(outputs, inputs, 3, 3, dtype=torch.float16)
        weights[f"features.{index}.bias"] = torch.zeros(outputs)
    save_file(weights, tmp_path / "vgg16.safetensors", {"input": "torchvision"})
    with pytest.raises(InputError, match="give --loss-network a VGG-19 file"):
        Proof(style=tmp_path / "style.png", loss_network=tmp_path / "vgg16.safetensors").judge()


def test_the_size_of_the_style_image_goes_from_the_checkpoint_into_the_artifact(
    tmp_path: Path, tiny_checkpoint: Path
) -> None:
    tiny = load_checkpoint(tiny_checkpoint)
    header = dataclasses.replace(tiny.header, recipe_values={"style_size": 384, "stroke": 1.5})
    save_checkpoint(tmp_path / "large.safetensors", tiny.network, header)
    (result,) = export(tmp_path / "large.safetensors", size=(64, 48), out_dir=tmp_path)
    for model in (result.path, tmp_path / "large.safetensors"):
        with open_stylizer(model) as stylizer:
            assert stylizer.metadata.style_size == 576
    assert read_metadata("udnie-huang").style_size == 384  # written before it was stated


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"target": "onyx"}, "unknown target 'onyx': choose one of onnx"),
        ({"precision": "fp8"}, "the target onnx knows no precision 'fp8': choose fp32 or fp16 or int8"),
        ({"precision": "int8", "size": (31, 64)}, "size 31x64 is too small for int8"),
        ({"precision": "int8", "size": (64, 48), "calibration_clips": ["nowhere.mp4"]}, "nowhere.mp4"),
        ({"size": (0, 360)}, "size 0x360 cannot be exported"),
        ({"size": (640, 9000)}, "size 640x9000 cannot be exported"),
        ({"target": "coreml", "size": (64, 48), "look": Look(strength=0.5)}, "coreml cannot contain a look"),
        ({"look": Look(stroke=2)}, "another stroke needs a fixed size"),
        ({"precision": "int8", "size": (62, 64), "look": Look(stroke=2)}, "both sides must be at least 64"),
        ({"size": (64, 48), "look": Look(only="person")}, "only"),
        ({"model": "great-weave"}, "unknown model 'great-weave'"),
        ({"proof": Proof(clip="nowhere.mp4")}, "nowhere.mp4"),
    ],
)
def test_what_is_refused_in_one_sentence(
    tmp_path: Path, tiny_checkpoint: Path, arguments: dict[str, object], complaint: str
) -> None:
    call: Callable[..., object] = export
    with pytest.raises(InputError, match=complaint) as refusal:
        call(**({"model": tiny_checkpoint, "out_dir": tmp_path / "exports"} | arguments))
    assert "\n" not in str(refusal.value)
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_with_nan_is_refused(tmp_path: Path, tiny_checkpoint: Path) -> None:
    weights, header = read_tensors(tiny_checkpoint)
    weights["head.bias"][1] = torch.nan
    write_tensors(tmp_path / "nan.safetensors", weights, header)
    with pytest.raises(InputError, match=r"nan\.safetensors.*head\.bias"):
        export(tmp_path / "nan.safetensors", out_dir=tmp_path / "exports")
    assert [path.name for path in tmp_path.iterdir()] == ["nan.safetensors"]


def test_no_place_to_write_to(tmp_path: Path, tiny_checkpoint: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file"):
        export(tiny_checkpoint, size=(32, 24), out_dir=tmp_path / "file")


class Copies:
    """A target that "writes" by copying an ONNX artifact of 64 x 48 that is there already."""

    ending = ".onnx"
    precisions: tuple[str, ...] = ("fp32",)
    default_precision = "fp32"
    any_size = False
    calibrated: frozenset[str] = frozenset()
    layouts: tuple[str, ...] = ("HWC",)
    bakes_looks = False
    rounds_results = False

    def __init__(self, artifact: Path) -> None:
        self.artifact = artifact

    def write(
        self,
        network: nn.Module,
        path: Path,
        size: Size | None,
        precision: str,
        quantization: Quantization | None,
        look: Look = PLAIN,
        layout: str = "HWC",
    ) -> str:
        assert size == (64, 48)
        shutil.copy(self.artifact, path)
        return "copied"

    def embed(self, path: Path, metadata: ArtifactMetadata) -> ArtifactMetadata:
        return OnnxWriter().embed(path, metadata)

    def remark(self, path: Path) -> str:
        return ""

    def run(self, path: Path) -> Stylizer:
        return OnnxWriter().run(path)


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch, fixed_size_artifact: Path) -> str:
    """Adds the target; gives its name."""
    monkeypatch.setattr(pipeline, "TARGETS", {"copies": lambda: Copies(fixed_size_artifact)})
    return "copies"


@pytest.fixture
def other_checkpoint(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path) -> Path:
    """The tiny checkpoint after one step too many."""
    path = tmp_path_factory.mktemp("other") / "other.safetensors"
    checkpoint = load_checkpoint(tiny_checkpoint)
    with torch.no_grad():
        next(checkpoint.network.parameters()).mul_(1.1)[0].add_(0.1)
    save_checkpoint(path, checkpoint.network, checkpoint.header)
    return path


def test_a_second_target_is_one_line(tmp_path: Path, tiny_checkpoint: Path, copies: str) -> None:
    (result,) = export(tiny_checkpoint, copies, size=(64, 48), out_dir=tmp_path)
    assert (result.verdict, result.target) == ("ok", copies)
    assert result.metadata.producer.endswith("copied")
    with pytest.raises(InputError, match=r"copies needs a fixed size"):
        export(tiny_checkpoint, copies, out_dir=tmp_path)


def test_an_artifact_of_other_weights_is_found_and_not_kept(
    tmp_path: Path, other_checkpoint: Path, copies: str
) -> None:
    (result,) = export(other_checkpoint, copies, size=(64, 48), out_dir=tmp_path / "exports")
    assert result.verdict == "degraded"
    assert float(result.metadata.verification["psnr_db"]) < 60
    assert "PSNR" in result.shortfalls[0]
    assert list(tmp_path.iterdir()) == []


def test_a_failure_on_the_way_leaves_nothing(
    tmp_path: Path, tiny_checkpoint: Path, copies: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> ArtifactMetadata:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pipeline, "verify", fail)
    with pytest.raises(OSError, match="No space left"):
        export(tiny_checkpoint, copies, size=(64, 48), out_dir=tmp_path / "new" / "exports")
    assert list(tmp_path.iterdir()) == []
