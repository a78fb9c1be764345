"""One suite over every engine that runs here: the same contract, the same refusals, the same pictures.

Core ML needs a Mac: `test_coreml.py` has what can be tested elsewhere.
"""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from steadystyle.common.files import InputError
from steadystyle.export.coreml import CoremlWriter
from steadystyle.export.pipeline import export
from steadystyle.export.verify import reference, verify
from steadystyle.runtimes.registry import open_stylizer, read_metadata
from steadystyle.train.checkpoint import load_checkpoint

Image = NDArray[np.uint8]

WIDTH, HEIGHT = 64, 48
ENGINES = {
    "onnxruntime": ("onnx", "cpu"),
    "openvino": ("onnx", "openvino"),
    "litert": ("tflite", "litert"),
    "tensorflow": ("tflite", "tensorflow"),
    "torch": ("checkpoint", "cpu"),
}
LEAST_BETWEEN_ENGINES_DB = 45.0


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path) -> Mapping[tuple[str, str], Path]:
    """The tiny network by target and precision, at 64 x 48."""
    folder = tmp_path_factory.mktemp("artifacts")
    paths = {("checkpoint", "fp32"): tiny_checkpoint}
    for target, precision in itertools.product(("onnx", "tflite", "coreml"), ("fp32", "fp16")):
        (result,) = export(tiny_checkpoint, target, precision, (WIDTH, HEIGHT), folder)
        assert result.verdict == "ok", result.shortfalls
        paths[target, precision] = result.path
    return paths


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, artifacts: Mapping[tuple[str, str], Path]) -> tuple[Path, str]:
    """An artifact in float32, and the provider that shall run it."""
    target, provider = ENGINES[request.param]
    return artifacts[target, "fp32"], provider


def random_frame(width: int = WIDTH, height: int = HEIGHT, seed: int = 0) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def test_a_frame_in_and_a_frame_out(engine: tuple[Path, str]) -> None:
    frame = random_frame()
    before = frame.copy()
    with open_stylizer(engine[0], threads=1, provider=engine[1]) as stylizer:
        result = stylizer(frame)
    assert result.shape == frame.shape
    assert result.dtype == np.uint8
    assert result.std() > 10, "a flat picture proves nothing"
    assert np.array_equal(frame, before)


def test_the_caller_owns_the_result(engine: tuple[Path, str]) -> None:
    with open_stylizer(engine[0], threads=1, provider=engine[1]) as stylizer:
        first = stylizer(random_frame())
        kept = first.copy()
        stylizer(random_frame(seed=1))
        assert np.array_equal(first, kept)
        first[:] = 0
        assert np.array_equal(stylizer(random_frame()), kept)


def test_a_view_with_gaps_and_other_sizes(engine: tuple[Path, str]) -> None:
    with open_stylizer(engine[0], threads=1, provider=engine[1]) as stylizer:
        large = random_frame(2 * WIDTH, 2 * HEIGHT)
        assert np.array_equal(stylizer(large[::2, ::2]), stylizer(np.ascontiguousarray(large[::2, ::2])))
        for width, height in ((51, 37), (1, 1), (130, 90)):
            assert stylizer(random_frame(width, height)).shape == (height, width, 3)


def test_what_is_no_frame_is_refused(engine: tuple[Path, str]) -> None:
    with open_stylizer(engine[0], threads=1, provider=engine[1]) as stylizer:
        for wrong in (np.zeros((48, 64, 3), np.float32), np.zeros((48, 64), np.uint8), np.zeros((48, 64, 4), np.uint8)):
            with pytest.raises(ValueError, match="a frame must be"):
                call: Any = stylizer
                call(wrong)


def test_it_says_who_it_is(engine: tuple[Path, str]) -> None:
    with open_stylizer(engine[0], threads=1, provider=engine[1]) as stylizer:
        assert stylizer.metadata.name == "tiny"
        assert any(character.isdigit() for character in stylizer.engine)
        stylizer.close()  # and again at the end


def test_a_damaged_file_is_refused(engine: tuple[Path, str], tmp_path: Path) -> None:
    data = engine[0].read_bytes()
    for name, damaged in (
        ("half", data[: len(data) // 2]),
        ("empty", b""),
        ("other", bytes(range(256)) * 8),
    ):
        path = tmp_path / f"{name}{engine[0].suffix}"
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=name) as refusal:
            open_stylizer(path, threads=1, provider=engine[1])
        assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(("target", "ending"), [("onnx", ".onnx"), ("tflite", ".tflite")])
def test_one_changed_bit_is_found(
    artifacts: Mapping[tuple[str, str], Path], tmp_path: Path, target: str, ending: str
) -> None:
    data = bytearray(artifacts[target, "fp32"].read_bytes())
    path = tmp_path / f"changed{ending}"
    for place in np.linspace(len(data) // 10, len(data) - 40, 12).astype(int):
        data[place] ^= 1
        path.write_bytes(data)
        with pytest.raises(InputError, match="changed"):
            read_metadata(path)
        data[place] ^= 1


def psnr(one: Image, other: Image) -> float:
    return float(10 * np.log10(255**2 / max(np.square(one.astype(float) - other).mean(), 1e-9)))


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_engines_agree(artifacts: Mapping[tuple[str, str], Path], precision: str) -> None:
    frame = random_frame()
    pictures = {}
    for name, (target, provider) in ENGINES.items():
        if (target, precision) in artifacts:
            with open_stylizer(artifacts[target, precision], threads=1, provider=provider) as stylizer:
                pictures[name] = stylizer(frame)
    with CoremlWriter().run(artifacts["coreml", precision]) as stylizer:
        pictures["coreml"] = stylizer(frame)
    for (one, first), (other, second) in itertools.combinations(pictures.items(), 2):
        assert psnr(first, second) >= LEAST_BETWEEN_ENGINES_DB, (one, other)


def test_the_proof_holds_on_each_engine(engine: tuple[Path, str], tiny_checkpoint: Path) -> None:
    network, frames = load_checkpoint(tiny_checkpoint).network, [random_frame(seed=seed) for seed in range(2)]
    with open_stylizer(engine[0], threads=1, provider=engine[1]) as stylizer:
        figures = verify(stylizer, [reference(network, frame) for frame in frames], frames)
    assert float(figures["psnr_db"]) >= 60
