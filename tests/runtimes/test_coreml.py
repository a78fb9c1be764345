"""Core ML packages as they are read on any machine, and the Mac's runtime with a stand-in for Core ML itself."""

import dataclasses
import json
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from steadystyle.common.files import InputError
from steadystyle.runtimes.artifact import METADATA_KEY, NO_HASH, ArtifactMetadata
from steadystyle.runtimes.coreml import PROVIDERS, CoremlStylizer, model_file, package_sha256, quiet, read_metadata

with quiet():
    import coremltools
    from coremltools.proto import Model_pb2

METADATA = ArtifactMetadata(
    name="negative",
    style="Größe.jpg",
    architecture="none",
    sizes={},
    precision="fp16",
    width=32,
    height=300,
    checkpoint_sha256="",
    calibration_sha256=None,
    steps=0,
    producer="test",
)
RGB, BGR = 20, 30


def describe(spec: Any, text: str | None, colours: int = RGB, size: tuple[int, int] = (32, 300)) -> None:
    for end, name in ((spec.description.input.add(), "frame"), (spec.description.output.add(), "stylized")):
        end.name = name
        end.type.imageType.colorSpace = colours
        end.type.imageType.width, end.type.imageType.height = size
    spec.description.metadata.userDefined["other"] = "text"
    if text is not None:
        spec.description.metadata.userDefined[METADATA_KEY] = text


def write(path: Path, spec: Any, *, sign: bool = True) -> Path:
    """Write a package around this model, with its own hash in it."""
    data = path / "Data" / "com.apple.CoreML"
    (data / "weights").mkdir(parents=True)
    (data / "weights" / "weight.bin").write_bytes(bytes(range(256)))
    (data / "model.mlmodel").write_bytes(spec.SerializeToString())
    items = {"1": {"path": "com.apple.CoreML/weights"}, "2": {"path": "com.apple.CoreML/model.mlmodel"}}
    (path / "Manifest.json").write_text(json.dumps({"itemInfoEntries": items, "rootModelIdentifier": "2"}))
    if sign:
        signed = (data / "model.mlmodel").read_bytes().replace(NO_HASH.encode(), package_sha256(path).encode())
        (data / "model.mlmodel").write_bytes(signed)
    return path


def unsigned(metadata: ArtifactMetadata = METADATA) -> str:
    return dataclasses.replace(metadata, content_sha256=NO_HASH).to_json()


@pytest.fixture
def package(tmp_path: Path) -> Path:
    spec = Model_pb2.Model(specificationVersion=7)
    describe(spec, unsigned())
    spec.mlProgram.version = 1
    return write(tmp_path / "negative.mlpackage", spec)


def test_the_metadata_is_read(package: Path) -> None:
    metadata = read_metadata(package)
    assert metadata == dataclasses.replace(METADATA, content_sha256=metadata.content_sha256)
    assert metadata.content_sha256 == package_sha256(package, metadata.content_sha256)


def test_reading_needs_no_coremltools(package: Path) -> None:
    program = (
        "import sys, pathlib; from steadystyle.runtimes.coreml import read_metadata;"
        "read_metadata(pathlib.Path(sys.argv[1])); assert not {'coremltools', 'torch', 'tqdm'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program, package], check=True, timeout=60)


def test_what_a_file_manager_leaves_does_not_count(package: Path) -> None:
    (package / ".DS_Store").write_bytes(b"x")
    (package / "Data" / "._model.mlmodel").write_bytes(b"x")
    read_metadata(package)


def flip(file: Path, position: int) -> None:
    content = bytearray(file.read_bytes())
    content[position] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        lambda package: flip(package / "Data/com.apple.CoreML/weights/weight.bin", 100),
        lambda package: flip(model_file(package), -1),
        lambda package: (package / "Data/com.apple.CoreML/weights/weight.bin").unlink(),
        lambda package: (package / "Data/com.apple.CoreML/weights/weight.bin").rename(package / "Data/weight.bin"),
        lambda package: (package / "extra").write_bytes(b""),
        lambda package: (package / "Manifest.json").open("a").write("\n"),
    ],
    ids=["weights", "model", "missing", "moved", "extra", "manifest"],
)
def test_a_damaged_or_edited_package_is_refused(package: Path, damage: Callable[[Path], object]) -> None:
    damage(package)
    with pytest.raises(InputError, match=r"is damaged or was edited: export it again$"):
        read_metadata(package)


def test_edited_metadata_is_refused(package: Path) -> None:
    file = model_file(package)
    file.write_bytes(file.read_bytes().replace(b'"fp16"', b'"fp32"'))
    with pytest.raises(InputError, match="was edited"):
        read_metadata(package)


def test_a_model_that_is_cut_off_anywhere_is_refused(package: Path) -> None:
    file = model_file(package)
    content = file.read_bytes()
    for length in range(len(content)):
        file.write_bytes(content[:length])
        with pytest.raises(InputError):
            read_metadata(package)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"rootModelIdentifier": "1"}', b"\xff\xfe", b"null"])
def test_a_broken_manifest_is_refused(package: Path, content: bytes) -> None:
    (package / "Manifest.json").write_bytes(content)
    with pytest.raises(InputError, match="damaged or not a Core ML package"):
        read_metadata(package)


def test_what_is_no_package_is_refused(package: Path, tmp_path: Path) -> None:
    (tmp_path / "file.mlpackage").write_bytes(b"x")
    (tmp_path / "empty.mlpackage").mkdir()
    for name in ("file", "empty", "missing"):
        with pytest.raises(InputError, match="damaged or not a Core ML package"):
            read_metadata(tmp_path / f"{name}.mlpackage")
    model_file(package).unlink()
    with pytest.raises(InputError, match="lacks its model"):
        read_metadata(package)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (None, "has no steadystyle metadata"),
        ("{", "is not JSON"),
        (unsigned().replace('"format_version": 1', '"format_version": 99'), "format version 99"),
        (METADATA.to_json(), "is damaged or was edited"),
    ],
)
def test_metadata_that_cannot_be_used(tmp_path: Path, text: str | None, complaint: str) -> None:
    spec = Model_pb2.Model()
    describe(spec, text)
    with pytest.raises(InputError, match=complaint):
        read_metadata(write(tmp_path / "a.mlpackage", spec))


@pytest.mark.parametrize(
    ("colours", "size", "found"),
    [(BGR, (32, 300), "BGR 32x300"), (RGB, (300, 32), "RGB 300x32"), (10, (32, 300), "greyscale 32x300")],
)
def test_a_model_that_does_not_fit_its_metadata(
    tmp_path: Path, colours: int, size: tuple[int, int], found: str
) -> None:
    spec = Model_pb2.Model()
    describe(spec, unsigned(), colours, size)
    with pytest.raises(InputError, match=f"it takes 'frame', {found} where its metadata says 'frame', RGB 32x300"):
        read_metadata(write(tmp_path / "a.mlpackage", spec))


def test_a_model_of_tensors_is_refused(tmp_path: Path) -> None:
    spec = Model_pb2.Model()
    frame = spec.description.input.add(name="frame")
    frame.type.multiArrayType.shape.extend([1, 3, 300, 32])
    spec.description.metadata.userDefined[METADATA_KEY] = unsigned()
    with pytest.raises(InputError, match="no image"):
        read_metadata(write(tmp_path / "a.mlpackage", spec))


@pytest.mark.skipif(platform.system() == "Darwin", reason="there it runs")
def test_elsewhere_it_says_where_it_runs(package: Path) -> None:
    with pytest.raises(InputError, match="Core ML runs on a Mac or iPhone only"):
        CoremlStylizer(package)


def test_an_unknown_provider_is_refused(package: Path) -> None:
    with pytest.raises(InputError, match="unknown provider 'tpu': choose one of all, cpu, gpu, ane"):
        CoremlStylizer(package, provider="tpu")


class FakeModel:
    """Does what `coremltools.models.MLModel` does on a Mac, for a model that turns pictures into their negatives."""

    def __init__(self, path: str, compute_units: Any) -> None:
        self.units = compute_units

    def predict(self, inputs: dict[str, Any]) -> dict[str, Any]:
        (picture,) = inputs.values()
        assert picture.mode == "RGB"
        # Core ML's pictures have four channels.
        return {"stylized": Image.fromarray(255 - np.asarray(picture)).convert("RGBA")}


@pytest.fixture
def mac(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    monkeypatch.setattr(coremltools.models, "MLModel", FakeModel)
    return monkeypatch


@pytest.mark.parametrize("provider", [None, *PROVIDERS, "ANE"])
def test_the_way_of_a_frame_on_a_mac(package: Path, mac: pytest.MonkeyPatch, provider: str | None) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (300, 32, 3), np.uint8)
    with CoremlStylizer(package, provider=provider) as stylizer:
        result = stylizer(frame)
        assert np.array_equal(result, 255 - frame)
        assert result.flags.writeable
        assert stylizer(frame[:10, ::2]).shape == (10, 16, 3)
        assert PROVIDERS[(provider or "all").lower()] in stylizer.engine
        assert stylizer.metadata.name == "negative"


def test_a_damaged_package_is_refused_on_a_mac(package: Path, mac: pytest.MonkeyPatch) -> None:
    flip(package / "Data/com.apple.CoreML/weights/weight.bin", 0)
    with pytest.raises(InputError, match="is damaged"):
        CoremlStylizer(package)


def test_what_core_ml_refuses(package: Path, mac: pytest.MonkeyPatch) -> None:
    def refuse(path: str, compute_units: Any) -> None:
        raise RuntimeError("Error compiling model")

    mac.setattr(coremltools.models, "MLModel", refuse)
    with pytest.raises(InputError, match=r"Core ML does not open .*Error compiling model"):
        CoremlStylizer(package)


@pytest.mark.parametrize("missing", ["coremltools", "PIL"])
def test_what_is_not_installed_is_named(package: Path, mac: pytest.MonkeyPatch, missing: str) -> None:
    mac.setitem(sys.modules, missing, None)
    with pytest.raises(InputError, match=r"pip install 'steadystyle\[coreml\]'"):
        CoremlStylizer(package)
