"""The stages of an export: what is asked for, what is proven, and what is kept."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from steadystyle.export import pipeline
from steadystyle.export.graph import DeployableGraph
from steadystyle.export.onnx import OnnxWriter, export_onnx
from steadystyle.export.pipeline import Size, export
from steadystyle.runtimes.artifact import ArtifactMetadata
from steadystyle.runtimes.registry import open_stylizer
from steadystyle.train.checkpoint import load_checkpoint, save_checkpoint
from steadystyle.video.files import InputError


def test_an_artifact_gets_its_own_name_in_the_folder(tmp_path: Path, tiny_checkpoint: Path, clip: Path) -> None:
    steps: list[tuple[str, int, int]] = []
    (result,) = export(
        tiny_checkpoint,
        "all",
        "all",
        (32, 24),
        tmp_path / "exports",
        clip=str(clip),
        progress=lambda what, done, total: steps.append((what, done, total)),
    )
    assert steps == [("onnx fp32", 0, 1)]
    assert result.path == tmp_path / "exports" / "tiny-32x24-fp32.onnx"
    assert [path.relative_to(tmp_path) for path in tmp_path.rglob("*.*")] == [result.path.relative_to(tmp_path)]
    assert result.verdict == "ok"
    assert result.target == "onnx"
    assert result.size_bytes == result.path.stat().st_size
    assert result.metadata.verification["flow_source"] == "DIS medium"
    with open_stylizer(result.path) as stylizer:
        assert stylizer.metadata == result.metadata


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"target": "onyx"}, "unknown target 'onyx': choose one of onnx, or all"),
        ({"target": "tflite"}, "unknown target 'tflite': choose one of onnx, or all"),
        ({"precision": "int8"}, "the target onnx has no precision 'int8': choose fp32"),
        ({"precision": "fp8"}, "the target onnx knows no precision 'fp8': choose fp32"),
        ({"size": (0, 360)}, "size 0x360 cannot be exported"),
        ({"size": (640, 9000)}, "size 640x9000 cannot be exported"),
        ({"model": "great-weave"}, "unknown model 'great-weave'"),
        ({"clip": "nowhere.mp4"}, "nowhere.mp4"),
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
    with safe_open(tiny_checkpoint, framework="pt") as file:
        header = file.metadata()
    weights = load_file(tiny_checkpoint)
    weights["head.bias"][1] = torch.nan
    save_file(weights, tmp_path / "nan.safetensors", header)
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
    any_size = False

    def __init__(self, artifact: Path) -> None:
        self.artifact = artifact

    def write(self, graph: DeployableGraph, path: Path, size: Size | None, precision: str) -> str:
        assert size == (64, 48)
        shutil.copy(self.artifact, path)
        return "copied"

    def embed(self, path: Path, metadata: ArtifactMetadata) -> None:
        OnnxWriter().embed(path, metadata)


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
    assert list(tmp_path.iterdir()) == []


def test_the_short_way_says_why_nothing_was_kept(
    tmp_path: Path, other_checkpoint: Path, fixed_size_artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = Copies(fixed_size_artifact)
    monkeypatch.setattr(OnnxWriter, "write", lambda writer, *arguments: copy.write(*arguments))
    with pytest.raises(InputError, match=r"PSNR .* nothing was kept"):
        export_onnx(other_checkpoint, tmp_path / "a.onnx", size=(64, 48))
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
