"""Engines where they are meant to run: one alone, at the oldest version of its range, and no training stack.

Each environment is made here, which takes pip and a package index: where pip reaches none, the tests are skipped.
"""

import os
import platform
import re
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import numpy as np
import pytest

from steadystyle.export.onnx import OnnxWriter
from steadystyle.export.tflite import TfliteWriter
from steadystyle.export.verify import load_test_frames
from steadystyle.runtimes.artifact import ArtifactMetadata
from steadystyle.runtimes.registry import open_stylizer
from steadystyle.train.checkpoint import load_checkpoint

ROOT = Path(__file__).resolve().parents[2]
SIZE = (64, 48)

ENVIRONMENTS = {  # the newest versions run in all other tests
    "litert": ["ai-edge-litert==1.4.0"],
    # Built against numpy 1, which its metadata does not say, and the last OpenCV that works with that.
    "tflite-runtime": ["tflite-runtime==2.14.0", "numpy==1.26.4", "opencv-python-headless==4.11.0.86"],
    "onnxruntime": ["onnxruntime==1.20.0"],
    "openvino": ["openvino==2024.6.0"],
}
EXTRAS = {"litert": "tflite", "onnxruntime": "onnx", "openvino": "openvino"}
UNREACHABLE = (
    "ConnectionError",
    "ConnectTimeout",
    "Failed to establish a new connection",
    "Max retries exceeded",
    "Name or service not known",
    "Network is unreachable",
    "Read timed out",
    "Temporary failure in name resolution",
)


@pytest.fixture(scope="module")
def artifacts(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    """By its ending, an artifact of each precision, and beside it what it gives here."""
    network = load_checkpoint(tiny_checkpoint).network
    frames = load_test_frames(None, SIZE).frames
    folder = tmp_path_factory.mktemp("small")
    paths: dict[str, list[Path]] = {}
    for writer, ending in ((OnnxWriter(), "onnx"), (TfliteWriter(), "tflite")):
        for precision in writer.precisions:
            path = folder / f"{precision}.{ending}"
            versions = writer.write(network, path, SIZE, precision, None)
            writer.embed(
                path, ArtifactMetadata("tiny", "none", "huang2017", {}, precision, *SIZE, "", None, 0, versions)
            )
            with open_stylizer(path, threads=1) as stylizer:
                np.savez(f"{path}.npz", frame=frames[3], stylized=stylizer(frames[3]))
            paths.setdefault(ending, []).append(path)
    return paths


@pytest.fixture
def link(tmp_path: Path) -> Path:
    """A folder on which `steadystyle` is importable, and nothing else."""
    folder = tmp_path / "link"
    folder.mkdir()
    (folder / "steadystyle").symlink_to(ROOT, target_is_directory=True)
    return folder


@pytest.mark.skipif(sys.platform == "win32", reason="not every engine is published for Windows")
@pytest.mark.parametrize("engine", ENVIRONMENTS)
def test_in_an_environment_of_its_own(
    engine: str, artifacts: dict[str, list[Path]], link: Path, tmp_path: Path
) -> None:
    if engine == "tflite-runtime" and (sys.version_info >= (3, 12) or platform.system() != "Linux"):
        pytest.skip("tflite-runtime 2.14.0 is published for Python up to 3.11 on Linux only")
    folder = tmp_path / "venv"
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pip = [str(python), "-m", "pip", "install", "--quiet", "--only-binary", ":all:"]
    done = subprocess.run(
        [*pip, *ENVIRONMENTS[engine], *project["dependencies"]], capture_output=True, text=True, timeout=900
    )
    if done.returncode != 0 and any(sign in done.stderr for sign in UNREACHABLE):
        pytest.skip(f"pip reaches no package index: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    given = artifacts["onnx" if engine in ("onnxruntime", "openvino") else "tflite"]
    done = subprocess.run(
        [python, Path(__file__).with_name("run_in_small_env.py"), *given],
        capture_output=True,
        text=True,
        timeout=300,
        env={key: value for key, value in os.environ.items() if key != "PYTHONHOME"} | {"PYTHONPATH": str(link)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    rows = [line.split("|") for line in done.stdout.splitlines()]
    assert [precision for precision, *_ in rows] == [path.stem for path in given]
    for precision, name, largest, mean in rows:
        assert name.startswith(f"{engine} ")
        assert name.endswith(", 1 thread")
        # The same integers are rounded elsewhere in another kernel.
        assert int(largest) <= (1 if precision == "fp32" else 8), rows
        assert float(mean) <= (0.01 if precision == "fp32" else 0.5), rows


@pytest.mark.parametrize("engine", EXTRAS)
def test_the_oldest_version_of_a_range_is_the_one_that_is_tested(engine: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (asked,) = project["optional-dependencies"][EXTRAS[engine]]
    (tested,) = ENVIRONMENTS[engine]
    least = re.fullmatch(r"([\w-]+)>=([\d.]+),<\d+", asked)
    assert least is not None
    assert tested == f"{least[1]}=={least[2]}.0"
