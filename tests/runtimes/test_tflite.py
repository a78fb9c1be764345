"""The TensorFlow Lite runtime, on small models that are written here."""

import dataclasses
import io
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from steadystyle.common.files import InputError
from steadystyle.runtimes import tflite as runtime
from steadystyle.runtimes.artifact import ArtifactMetadata
from steadystyle.runtimes.tflite import PROVIDERS, TfliteStylizer, flatbuffer_of, read_metadata, sealed, with_metadata

METADATA = ArtifactMetadata(
    name="negative",
    style="none",
    architecture="none",
    sizes={},
    precision="fp32",
    width=32,
    height=24,
    checkpoint_sha256="",
    calibration_sha256=None,
    steps=0,
    producer="test",
)


def model(shape: tuple[int, ...] = (24, 32, 3), kind: str = "uint8", inputs: int = 1) -> bytes:
    """A model that turns a picture into its negative."""

    def negative(*frames: Any) -> Any:
        return tf.cast(255.0 - sum(tf.cast(frame, tf.float32) for frame in frames), kind)

    ends = [tf.TensorSpec(shape, kind) for _ in range(inputs)]
    graph: Any = tf.function(negative).get_concrete_function(*ends)
    return bytes(tf.lite.TFLiteConverter.from_concrete_functions([graph], tf.Module()).convert())


@pytest.fixture(scope="module")
def negative() -> bytes:
    return model()


def write(path: Path, content: bytes, metadata: ArtifactMetadata = METADATA) -> Path:
    path.write_bytes(with_metadata(content, dataclasses.replace(metadata, content_sha256=sealed(content, metadata))))
    return path


@pytest.fixture
def artifact(tmp_path: Path, negative: bytes) -> Path:
    return write(tmp_path / "a.tflite", negative)


def random_frame(width: int, height: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


INSTALLED = ("litert", "tensorflow")


@pytest.mark.parametrize("provider", [None, "cpu", "LiteRT", *INSTALLED])
def test_a_frame(artifact: Path, provider: str | None) -> None:
    with TfliteStylizer(artifact, threads=1, provider=provider) as stylizer:
        frame = random_frame(32, 24)
        assert np.array_equal(stylizer(frame), 255 - frame)
        assert stylizer(random_frame(50, 40)).shape == (40, 50, 3)


def test_the_caller_owns_what_it_gets(artifact: Path) -> None:
    with TfliteStylizer(artifact, threads=1) as stylizer:
        frame = random_frame(32, 24)
        before = frame.copy()
        first = stylizer(frame)
        kept = first.copy()
        second = stylizer(255 - frame)
        assert np.array_equal(first, kept), "a later call wrote into an earlier result"
        assert not np.shares_memory(first, second)
        first[:] = 0
        assert np.array_equal(frame, before)
    assert np.array_equal(second, before), "the result must outlive the stylizer"


def test_a_view_with_gaps(artifact: Path) -> None:
    with TfliteStylizer(artifact, threads=1) as stylizer:
        frame = random_frame(64, 48)[1::2, ::-2]
        assert np.array_equal(stylizer(frame), 255 - frame)


def test_the_engine_says_what_it_is(artifact: Path) -> None:
    names = {"litert": f"litert {version('ai-edge-litert')}", "tensorflow": f"tensorflow {tf.__version__}"}
    for provider, name in names.items():
        for threads, text in ((1, "1 thread"), (2, "2 threads")):
            with TfliteStylizer(artifact, threads=threads, provider=provider) as stylizer:
                assert stylizer.engine == f"{name} XNNPACK, {text}"
    with TfliteStylizer(artifact) as stylizer:
        assert stylizer.engine.startswith(names["litert"])


def test_closing_twice_is_harmless(artifact: Path) -> None:
    stylizer = TfliteStylizer(artifact, threads=1)
    stylizer.close()
    stylizer.close()


def test_an_unknown_provider_is_refused(artifact: Path) -> None:
    with pytest.raises(InputError, match=r"unknown provider 'cuda': choose one of litert, tflite-runtime, tensorflow"):
        TfliteStylizer(artifact, provider="cuda")


def without(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    """Let imports of these fail as if they were not installed."""
    for module in modules:
        monkeypatch.setitem(sys.modules, module, None)


@pytest.mark.parametrize(
    ("provider", "advice"),
    [
        (None, r"needs LiteRT, which is not installed: pip install 'steadystyle\[tflite\]'"),
        ("litert", r"'litert' is not installed: pip install 'steadystyle\[tflite\]'"),
        ("tflite-runtime", "'tflite-runtime' is not installed: pip install tflite-runtime"),
        ("tensorflow", "'tensorflow' is not installed: pip install tensorflow"),
    ],
)
def test_an_engine_that_is_not_installed(
    artifact: Path, monkeypatch: pytest.MonkeyPatch, provider: str | None, advice: str
) -> None:
    without(monkeypatch, *PROVIDERS.values())
    with pytest.raises(InputError, match=advice):
        TfliteStylizer(artifact, provider=provider)


def test_the_next_engine_is_taken(artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, PROVIDERS["litert"], PROVIDERS["tflite-runtime"])
    with TfliteStylizer(artifact, threads=1) as stylizer:
        assert stylizer.engine.startswith("tensorflow ")


def test_an_engine_that_is_broken_is_no_engine_that_is_missing(artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(module: str) -> Any:
        raise ModuleNotFoundError("No module named 'numpy._core'", name="numpy._core")

    monkeypatch.setattr(runtime, "import_module", broken)
    with pytest.raises(ModuleNotFoundError, match="numpy"):
        TfliteStylizer(artifact)


def test_the_engines_keep_quiet(artifact: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for provider in INSTALLED:
        with TfliteStylizer(artifact, threads=1, provider=provider) as stylizer:
            stylizer(random_frame(32, 24))
    assert capfd.readouterr() == ("", "")


def test_metadata_is_read_without_an_engine(artifact: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from steadystyle.runtimes.tflite import read_metadata; "
        f"print(read_metadata(Path({str(artifact)!r})).name, "
        "*{'ai_edge_litert', 'tflite_runtime', 'tensorflow'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["negative"]


def edited(data: bytes, old: bytes, new: bytes) -> bytes:
    assert data.count(old) >= 1
    return data.replace(old, new)


def rezipped(data: bytes, texts: Mapping[str, str]) -> bytes:
    """The same model with another archive behind it."""
    file = io.BytesIO(runtime.flatbuffer_of(data))
    with zipfile.ZipFile(file, "a") as archive:
        for name, text in texts.items():
            archive.writestr(name, text)
    return file.getvalue()


DAMAGE: Mapping[str, tuple[Callable[[bytes], bytes], str]] = {
    "cut in the model": (lambda data: data[: len(data) // 3], "no steadystyle metadata"),
    "cut by one byte": (lambda data: data[:-1], "no steadystyle metadata"),
    "one more byte": (lambda data: data + b"\0", "no steadystyle metadata|is damaged or was edited"),
    "one more byte before": (lambda data: b"\0" + data, "not a TensorFlow Lite file"),
    "one bit in the model": (
        lambda data: data[:100] + bytes([data[100] ^ 1]) + data[101:],
        "is damaged or was edited",
    ),
    "another producer": (lambda data: edited(data, b'"producer": "test"', b'"producer": "fake"'), "damaged or was"),
    "an archive made anew": (
        lambda data: rezipped(data, {"steadystyle.json": METADATA.to_json()}),
        "is damaged or was edited",
    ),
    "another archive": (lambda data: rezipped(data, {"labels.txt": "cat"}), "no steadystyle metadata"),
    "no archive": (runtime.flatbuffer_of, "no steadystyle metadata"),
    "no JSON": (lambda data: rezipped(data, {"steadystyle.json": "{"}), "its metadata is not JSON"),
    "noise": (lambda data: np.random.default_rng(0).bytes(4000), "not a TensorFlow Lite file"),
    "text": (lambda data: b"Hi", "not a TensorFlow Lite file"),
    "empty": (lambda data: b"", "not a TensorFlow Lite file"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_or_edited_file_is_refused(artifact: Path, damage: str) -> None:
    change, complaint = DAMAGE[damage]
    artifact.write_bytes(change(artifact.read_bytes()))
    for read in (TfliteStylizer, read_metadata):
        with pytest.raises(InputError, match=complaint) as refusal:
            read(artifact)
        assert "\n" not in str(refusal.value)
        assert "a.tflite'" in str(refusal.value)


def test_a_model_that_no_engine_can_open(tmp_path: Path) -> None:
    # Sealed as it is, so that only the engine can find out.
    path = write(tmp_path / "a.tflite", b"\x1c\0\0\0TFL3" + bytes(100))
    with pytest.raises(InputError, match=r"cannot be opened by litert"):
        TfliteStylizer(path)


@pytest.mark.parametrize(
    ("shape", "kind", "inputs", "complaint"),
    [
        ((32, 24, 3), "uint8", 1, "takes 32x24x3 uint8 where its metadata says 24x32x3 uint8"),
        ((3, 24, 32), "uint8", 1, "takes 3x24x32 uint8 "),
        ((1, 24, 32, 3), "uint8", 1, "takes 1x24x32x3 uint8 "),
        ((24, 32, 3), "float32", 1, "takes 24x32x3 float32 "),
        ((24, 32, 3), "uint8", 2, "takes 24x32x3 uint8, 24x32x3 uint8 "),
    ],
)
def test_metadata_that_does_not_fit_the_model_is_refused(
    tmp_path: Path, shape: tuple[int, ...], kind: str, inputs: int, complaint: str
) -> None:
    path = write(tmp_path / "lies.tflite", model(shape, kind, inputs))
    with pytest.raises(InputError, match=complaint):
        TfliteStylizer(path)


def test_the_hash_is_of_the_model_and_of_what_is_said_of_it(tmp_path: Path, artifact: Path, negative: bytes) -> None:
    def content_sha256(path: Path) -> str:
        return sealed(flatbuffer_of(path.read_bytes()), read_metadata(path))

    own = content_sha256(artifact)
    assert read_metadata(artifact).content_sha256 == own
    assert content_sha256(write(tmp_path / "b.tflite", negative)) == own
    assert content_sha256(write(tmp_path / "c.tflite", negative, dataclasses.replace(METADATA, steps=1))) != own
    assert content_sha256(write(tmp_path / "d.tflite", model((32, 24, 3)))) != own
