"""The TensorFlow Lite runtime where it is meant to run: with one engine and no training stack, converter or TensorFlow.

Each environment is made here, which takes pip and a package index: where pip reaches none, the tests are skipped.
"""

import os
import platform
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import numpy as np
import pytest

from steadystyle.export.tflite import TfliteWriter
from steadystyle.export.verify import load_test_frames
from steadystyle.runtimes.artifact import ArtifactMetadata
from steadystyle.runtimes.tflite import TfliteStylizer
from steadystyle.train.checkpoint import load_checkpoint

ROOT = Path(__file__).resolve().parents[2]
SIZE = (64, 48)

ENVIRONMENTS = {
    "litert": ["ai-edge-litert==2.3.0"],
    # Built against numpy 1, which its metadata does not say, and the last OpenCV that works with that.
    "tflite-runtime": ["tflite-runtime==2.14.0", "numpy==1.26.4", "opencv-python-headless==4.11.0.86"],
}
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
def artifacts(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One of each precision, and beside it what it gives here."""
    network, writer = load_checkpoint(tiny_checkpoint).network, TfliteWriter()
    frames = load_test_frames(None, SIZE).frames
    folder = tmp_path_factory.mktemp("small")
    paths = []
    for precision in writer.precisions:
        path = folder / f"{precision}.tflite"
        versions = writer.write(network, path, SIZE, precision, None)
        writer.embed(path, ArtifactMetadata("tiny", "none", "huang2017", {}, precision, *SIZE, "", None, 0, versions))
        with TfliteStylizer(path, threads=1) as stylizer:
            np.savez(path.with_suffix(".npz"), frame=frames[3], stylized=stylizer(frames[3]))
        paths.append(path)
    return paths


@pytest.fixture
def link(tmp_path: Path) -> Path:
    """A folder on which `steadystyle` is importable, and nothing else."""
    folder = tmp_path / "link"
    folder.mkdir()
    (folder / "steadystyle").symlink_to(ROOT, target_is_directory=True)
    return folder


@pytest.mark.skipif(sys.platform == "win32", reason="neither engine is published for Windows")
@pytest.mark.parametrize("engine", ENVIRONMENTS)
def test_in_an_environment_of_its_own(engine: str, artifacts: list[Path], link: Path, tmp_path: Path) -> None:
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
    done = subprocess.run(
        [python, Path(__file__).with_name("run_in_small_env.py"), *artifacts],
        capture_output=True,
        text=True,
        timeout=300,
        env={key: value for key, value in os.environ.items() if key != "PYTHONHOME"} | {"PYTHONPATH": str(link)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    rows = [line.split("|") for line in done.stdout.splitlines()]
    assert [precision for precision, *_ in rows] == [path.stem for path in artifacts]
    for precision, name, largest, mean in rows:
        assert name.startswith(f"{engine} ")
        assert name.endswith(" XNNPACK, 1 thread")
        # The same integers are rounded elsewhere in another kernel.
        assert int(largest) <= (1 if precision == "fp32" else 8), rows
        assert float(mean) <= (0.01 if precision == "fp32" else 0.5), rows
