"""What pip installs is the package and nothing else."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NOT_SHIPPED = shutil.ignore_patterns(
    ".*", "build", "dist", "*.egg-info", "__pycache__", "node_modules", "runs", "exports", "reports"
)


def test_the_wheel_holds_the_package_its_data_and_nothing_else(tmp_path: Path) -> None:
    # From a copy, because setuptools leaves its work in the source tree.
    source = tmp_path / "source"
    shutil.copytree(ROOT, source, ignore=NOT_SHIPPED)
    (source / "runs" / "mine").mkdir(parents=True)
    (source / "runs" / "mine" / "notes.py").touch()
    page = ["demo/web/dist/index.html", "demo/web/dist/assets/engine.wasm"]  # as `make web` leaves them
    (source / "demo" / "web" / "dist" / "assets").mkdir(parents=True)
    for name in page:
        (source / name).touch()
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--wheel-dir", str(tmp_path), str(source)], check=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"steadystyle", "steadystyle-0.1.0.dist-info"}
    inside = {name.removeprefix("steadystyle/") for name in names if name.startswith("steadystyle/")}
    assert not any(name.startswith(("tests", "runs", "docs")) for name in inside)
    wanted = {path.relative_to(source).as_posix() for path in source.glob("*/models/*")}
    wanted |= {path.relative_to(source).as_posix() for path in source.glob("train/recipes/*.yaml")}
    wanted |= {
        "py.typed",
        "cli/__init__.py",
        "demo/jetson/profiles.toml",
        "benchmarks/report/templates/report.css",
        "benchmarks/report/templates/report.html.jinja",
        "train/recipes/huang2017.yaml",
    }
    assert wanted | set(page) <= inside
    assert not any(name.startswith("demo/web/page") for name in inside)
