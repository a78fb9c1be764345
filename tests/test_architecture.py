"""The house plan, held by a test: which room may import which, and who owns each heavy dependency.

The tables below are those of CONTRIBUTING.md. Imports are read from the syntax tree, so one inside a function or under
`TYPE_CHECKING` counts as much as one at the top of a file.
"""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

MAY_IMPORT: dict[str, set[str]] = {
    "studies": {"cli", "demo", "benchmarks", "export", "train", "runtimes", "video", "common"},
    "cli": {"demo", "benchmarks", "export", "train", "runtimes", "video", "common"},
    "demo": {"runtimes", "video", "common"},
    "benchmarks": {"runtimes", "video", "train", "common"},
    "export": {"train", "runtimes", "video", "common"},
    "train": {"video", "common"},
    "runtimes": {"video", "common"},
    "video": {"common"},
    "common": set(),
    "__init__": {"runtimes"},  # steadystyle.load
}
FLOORS = {
    "studies": 6,
    "cli": 5,
    "demo": 4,
    "benchmarks": 4,
    "export": 3,
    "train": 2,
    "runtimes": 2,
    "video": 1,
    "common": 0,
}

EXCEPTIONS = {
    "runtimes/pytorch.py": {"train"},  # a checkpoint is weights alone: the network is code of `train`
    "studies/house.py": {"tests"},  # it prints what these tables say
    "studies/fuzzing/formats.py": {"tests"},  # it mutates clips that the tests make
}
EVERYWHERE = {"numpy", "cv2"}
OWNERS: dict[str, list[str]] = {
    "av": [
        "demo/camera/virtual.py",
        "video/sources/videos.py",
        "video/sinks.py",
        "video/streams.py",
        "video/limits.py",
        "video/hdr.py",
        "video/codecs.py",
    ],
    "typer": ["cli/*.py"],
    "rich": ["cli/terminal.py"],
    "msgspec": [
        "benchmarks/*.py",
        "common/checkpoint.py",
        "common/machine.py",
        "studies/train_all.py",
        "train/state.py",
    ],
    "onnxruntime": ["runtimes/onnx.py", "export/onnx.py"],  # export: its quantizer
    "onnx": ["export/onnx.py", "studies/segmenter.py"],
    "onnxscript": ["export/onnx.py"],
    "openvino": ["runtimes/openvino.py"],
    "ai_edge_litert": ["runtimes/tflite.py", "export/delegates.py", "studies/segmenter.py"],
    "tflite_runtime": ["runtimes/tflite.py"],
    "tensorflow": ["runtimes/tflite.py", "export/tflite.py"],
    "ai_edge_quantizer": ["export/tflite.py"],
    "PIL": ["runtimes/coreml.py"],  # the images that Core ML takes and gives
    "coremltools": ["runtimes/coreml.py", "export/coreml.py", "export/mil.py"],
    "torch": [
        "train/*.py",
        "export/*.py",
        "runtimes/pytorch.py",
        "benchmarks/baselines/*.py",
        "studies/*.py",
    ],
    "safetensors": ["train/*.py"],
    "filelock": ["train/workers.py"],
    "yaml": ["train/recipes.py"],
    "atheris": ["studies/fuzzing/guided.py"],
    "jinja2": ["benchmarks/report/page.py", "studies/figures.py"],
    "matplotlib": ["benchmarks/report/plots.py"],
    "pygame": ["demo/camera/window.py"],
    "starlette": ["demo/web/*.py"],
    "uvicorn": ["demo/web/*.py"],
    "segno": ["demo/web/server.py"],
    "cryptography": ["demo/web/certificate.py"],
}


def room_of(path: str) -> str:
    """`video/flow.py` is in the room `video`; `cli.py` and `__init__.py` are rooms by themselves."""
    return path.split("/")[0].removesuffix(".py")


def imported_modules(path: str, source: str) -> Iterator[tuple[int, str, bool]]:
    """Line and absolute dotted name of what a file imports (the package is `steadystyle`), and whether relatively."""
    package = ["steadystyle", *path.split("/")[:-1]]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, False
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = [*base, *([node.module] if node.module else [])]
            for alias in node.names:
                yield node.lineno, ".".join([*module, alias.name]), node.level > 0


def violations(files: Mapping[str, str]) -> list[str]:
    """What in these files (path from the root: source) breaks the plan, one sentence each."""
    found = []
    for path, source in files.items():
        room = room_of(path)
        for line, name, relative in imported_modules(path, source):
            top, _, rest = name.partition(".")
            if top == "steadystyle":
                other = rest.split(".")[0]
                if not relative and room != "studies":
                    found.append(
                        f"{path}:{line} imports {name} by its absolute name: between rooms, imports are relative"
                    )
                if other not in {room, "__version__"} and other not in MAY_IMPORT[room] | EXCEPTIONS.get(path, set()):
                    found.append(f"{path}:{line} imports {name}: the room {room} may not import {other}")
            elif top in OWNERS:
                if not any(fnmatch(path, owner) for owner in OWNERS[top]):
                    found.append(f"{path}:{line} imports {top}, which belongs to {', '.join(OWNERS[top])}")
            elif top not in EVERYWHERE and top not in sys.stdlib_module_names:
                found.append(f"{path}:{line} imports {top}, a dependency that no room owns")
    return found


def package_files() -> dict[str, str]:
    """All Python files of the package, by path from the root."""
    paths = [*ROOT.glob("*.py"), *(path for room in FLOORS for path in (ROOT / room).rglob("*.py"))]
    return {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in paths}


def test_every_arrow_of_the_table_points_down() -> None:
    for room, others in MAY_IMPORT.items():
        assert all(FLOORS[other] < FLOORS.get(room, 6) for other in others), room


def test_the_package_keeps_to_the_plan() -> None:
    files = package_files()
    assert {room_of(path) for path in files} == set(MAY_IMPORT), "a room without a line in the table, or the reverse"
    assert violations(files) == []


@pytest.mark.parametrize(
    ("path", "source", "complaint"),
    [
        ("video/flow.py", "from ..runtimes.onnx import x", "the room video may not import runtimes"),
        ("train/pairs.py", "def f():\n    from ..runtimes import registry", "the room train may not import runtimes"),
        ("runtimes/onnx.py", "from .. import train", "the room runtimes may not import train"),
        ("demo/local.py", "from ..benchmarks.run import x", "the room demo may not import benchmarks"),
        ("export/onnx.py", "from ..cli import main", "the room export may not import cli"),
        ("demo/web/server.py", "from ...export import graph", "the room demo may not import export"),
        ("demo/local.py", "from steadystyle.video.flow import x", "between rooms, imports are relative"),
        ("runtimes/registry.py", "import torch.nn as nn", "imports torch, which belongs to"),
        ("export/verify.py", "from onnxruntime import InferenceSession", "imports onnxruntime, which belongs to"),
        ("video/flow.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import av", "imports av"),
        ("video/flow.py", "import scipy.ndimage", "a dependency that no room owns"),
    ],
)
def test_a_planted_violation_is_found(path: str, source: str, complaint: str) -> None:
    found = violations({path: source})
    assert len(found) == 1, found
    assert complaint in found[0]


def test_what_the_plan_allows_is_not_found() -> None:
    source = (
        "import cv2\nimport torch\nfrom .. import __version__\nfrom ..runtimes import registry\nfrom .graph import x"
    )
    assert violations({"export/pipeline.py": source}) == []


@pytest.mark.parametrize("module", ["steadystyle", "steadystyle.cli", "steadystyle.runtimes.registry"])
def test_importing_it_loads_nothing_heavy(module: str) -> None:
    heavy = "{'torch', 'onnx', 'onnxruntime', 'jinja2', 'matplotlib', 'safetensors'}"
    program = f"import sys, {module}; print(*sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == ""


def test_pyproject_names_every_package_and_no_other() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    folders = {
        path.parent.relative_to(ROOT)
        for path in [
            ROOT / "__init__.py",
            *(init for room in FLOORS if room != "studies" for init in (ROOT / room).rglob("__init__.py")),
        ]
    }
    named = {".".join(["steadystyle", *folder.parts]) for folder in folders}
    assert set(project["tool"]["setuptools"]["packages"]) == named


def test_the_base_has_no_heavy_dependency_and_one_pin_of_torch() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    base = " ".join(tomllib.loads(text)["project"]["dependencies"])
    assert not any(heavy in base for heavy in ("torch", "onnx", "matplotlib", "safetensors"))
    extras = tomllib.loads(text)["project"]["optional-dependencies"]
    pins = {line for lines in extras.values() for line in lines if line.startswith("torch")}
    assert len(pins) == 1
    assert pins.pop() in (ROOT / "Makefile").read_text(encoding="utf-8")
