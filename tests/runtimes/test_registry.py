"""Opening by name and by ending, and what comes with the package."""

import json
import sys
import tomllib
from pathlib import Path

import pytest

import steadystyle
from steadystyle.common.files import InputError, sha256_of
from steadystyle.runtimes import registry
from steadystyle.runtimes.registry import (
    BundledModel,
    RenamedModelWarning,
    bundled_models,
    find_checkpoint,
    open_stylizer,
)


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, any_size_artifact: Path, tiny_checkpoint: Path) -> Path:
    """A folder of bundled models that holds one, `tiny`."""
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "tiny-any-fp32.onnx").write_bytes(any_size_artifact.read_bytes())
    (folder / "tiny.safetensors").write_bytes(tiny_checkpoint.read_bytes())
    (folder / "tiny.md").write_text("# tiny")
    (folder / "tiny.json").write_text(json.dumps({"style": "none.jpg"}))
    monkeypatch.setattr(registry, "MODELS", folder)
    return folder


def test_a_bundled_model_and_its_files(models: Path) -> None:
    (model,) = bundled_models()
    assert (model.name, model.style) == ("tiny", "none.jpg")
    assert {model.path, model.checkpoint, model.card, model.card_json} == set(models.iterdir())
    assert find_checkpoint("tiny") == models / "tiny.safetensors"
    with open_stylizer("tiny") as stylizer:
        assert stylizer.metadata.name == "tiny"


def test_an_unknown_name_is_answered_with_the_known_ones(models: Path) -> None:
    with pytest.raises(InputError, match=r"unknown model 'tinny': choose one of tiny, or give .*\.onnx"):
        open_stylizer("tinny")
    with pytest.raises(InputError, match=r"unknown model 'tinny': choose one of tiny, or give .*\.safetensors"):
        find_checkpoint("tinny")


def test_a_file_is_opened_by_its_ending(tmp_path: Path, any_size_artifact: Path) -> None:
    shouting = tmp_path / "TINY.ONNX"
    shouting.write_bytes(any_size_artifact.read_bytes())
    for path in (shouting, str(shouting)):
        with open_stylizer(path, threads=1) as stylizer:
            assert stylizer.metadata.name == "tiny"


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("model.pb", r"unknown model 'model\.pb'.*\.onnx"),
        ("model", "unknown model 'model'"),
        ("nowhere.onnx", r"there is no file 'nowhere\.onnx'"),
        ("nowhere.safetensors", r"there is no file 'nowhere\.safetensors'"),
        ("", "unknown model ''"),
    ],
)
def test_what_cannot_be_opened(name: str, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        open_stylizer(name)


def test_a_checkpoint_is_found_or_not(tiny_checkpoint: Path, any_size_artifact: Path) -> None:
    assert find_checkpoint(tiny_checkpoint) == tiny_checkpoint
    assert find_checkpoint(str(tiny_checkpoint)) == tiny_checkpoint
    with pytest.raises(InputError, match=r"no checkpoint 'nowhere\.safetensors'"):
        find_checkpoint("nowhere.safetensors")
    with pytest.raises(InputError, match=r"give a checkpoint file \(\.safetensors\)"):
        find_checkpoint(any_size_artifact)


def test_a_missing_engine_is_named_with_its_extra(any_size_artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "steadystyle.runtimes.onnx", raising=False)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with open_stylizer(any_size_artifact) as stylizer:
        assert stylizer.engine.startswith("openvino ")
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(InputError, match=r"steadystyle\[onnx\]"):
        open_stylizer(any_size_artifact)


def test_load_is_the_short_way(any_size_artifact: Path) -> None:
    with steadystyle.load(any_size_artifact) as stylizer:
        assert stylizer.metadata.name == "tiny"


def test_there_is_one_version() -> None:
    root = Path(steadystyle.__file__).parent
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert steadystyle.__version__ == project["version"]


@pytest.mark.parametrize("model", bundled_models(), ids=lambda model: str(model.name))
def test_what_is_bundled_is_whole(model: BundledModel) -> None:
    assert model.card.read_text(encoding="utf-8").strip()
    with open_stylizer(model.name, threads=1) as stylizer:
        metadata = stylizer.metadata
    assert metadata.name == model.name
    assert metadata.style == model.style
    assert metadata.file_name(".onnx") == model.path.name
    assert metadata.checkpoint_sha256 == sha256_of(model.checkpoint)
    assert float(metadata.verification["psnr_db"]) >= 60


def test_an_engine_may_stand_behind_the_name(models: Path, any_size_artifact: Path) -> None:
    for name in ("tiny@openvino", f"{any_size_artifact}@openvino"):
        with open_stylizer(name, threads=1) as stylizer:
            assert stylizer.engine.startswith("openvino")
    with open_stylizer("tiny@openvino", threads=1, provider="cpu") as stylizer:
        assert stylizer.engine.startswith("onnxruntime")
    with pytest.raises(InputError, match="unknown model 'tinny@openvino'"):
        open_stylizer("tinny@openvino")


def test_an_older_name_opens_what_it_is_called_now(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "RENAMED", {"small": "tiny"})
    for model in ("small", "small@openvino"):
        with (
            pytest.warns(RenamedModelWarning, match="the model 'small' is called 'tiny' now"),
            open_stylizer(model, threads=1) as stylizer,
        ):
            assert stylizer.metadata.name == "tiny"
    with pytest.warns(RenamedModelWarning):
        assert find_checkpoint("small") == models / "tiny.safetensors"


def test_all_older_names_lead_somewhere() -> None:
    names = {model.name for model in bundled_models()}
    assert set(registry.RENAMED.values()) <= names and not set(registry.RENAMED) & names


def test_a_file_may_have_the_sign_in_its_name(tmp_path: Path, any_size_artifact: Path) -> None:
    path = tmp_path / "wave@home.onnx"
    path.write_bytes(any_size_artifact.read_bytes())
    with open_stylizer(path, threads=1) as stylizer:
        assert stylizer.engine.startswith("onnxruntime")
