"""OpenVINO runs the same artifacts as ONNX Runtime, and refuses the same."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from steadystyle.common.files import InputError
from steadystyle.runtimes.openvino import OpenVinoStylizer
from steadystyle.runtimes.registry import open_stylizer


def random_frame(width: int, height: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize(("width", "height"), [(64, 48), (33, 50), (1, 1)])
def test_it_gives_what_onnx_runtime_gives(any_size_artifact: Path, width: int, height: int) -> None:
    frame = random_frame(width, height)
    with (
        open_stylizer(any_size_artifact, threads=1, provider="openvino") as ours,
        open_stylizer(any_size_artifact, threads=1) as theirs,
    ):
        assert isinstance(ours, OpenVinoStylizer)
        assert ours.metadata == theirs.metadata
        assert np.abs(ours(frame).astype(int) - theirs(frame)).max() <= 1


def test_the_caller_owns_the_result(fixed_size_artifact: Path) -> None:
    with OpenVinoStylizer(fixed_size_artifact, threads=1) as stylizer:
        first = stylizer(random_frame(64, 48))
        kept = first.copy()
        stylizer(255 - random_frame(64, 48))
        assert np.array_equal(first, kept)


def test_a_frame_of_another_size_is_fitted(fixed_size_artifact: Path) -> None:
    with OpenVinoStylizer(fixed_size_artifact, threads=1) as stylizer:
        assert stylizer(random_frame(70, 40)).shape == (40, 70, 3)


def test_it_says_what_it_is(fixed_size_artifact: Path) -> None:
    with OpenVinoStylizer(fixed_size_artifact, threads=2) as stylizer:
        assert "openvino" in stylizer.engine
        assert stylizer.engine.endswith("CPU, 2 threads")


def test_a_truncated_file_is_refused(tmp_path: Path, fixed_size_artifact: Path) -> None:
    data = fixed_size_artifact.read_bytes()
    (tmp_path / "half.onnx").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"half\.onnx' is damaged or not an ONNX file"):
        OpenVinoStylizer(tmp_path / "half.onnx")


def test_an_edited_file_is_refused(tmp_path: Path, fixed_size_artifact: Path) -> None:
    data = fixed_size_artifact.read_bytes()
    (tmp_path / "edited.onnx").write_bytes(data.replace(b'\\"name\\": \\"tiny\\"', b"").replace(b'"tiny"', b'"tidy"'))
    with pytest.raises(InputError, match=r"edited\.onnx' is damaged or was edited"):
        OpenVinoStylizer(tmp_path / "edited.onnx")
