"""The locks fit pyproject.toml, have a hash for each package, and leave out torch and CUDA."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "requirements"
LOCKS = ("demo", "dev", "uv")
EXTRAS = {"demo": ["onnx"], "dev": ["all", "dev"]}
ALONE = "torch"
"""Installed before the lock, by its exact version: an index may have a CPU and a CUDA build of it."""
LINUX = {"platform_system": "Linux", "sys_platform": "linux", "platform_machine": "x86_64", "python_version": "3.11"}


def read_pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def read_lock(name: str) -> dict[str, str]:
    """Package -> version; fails for a line that is neither a comment, an option, nor a pinned package with hashes."""
    text = (FOLDER / f"{name}.txt").read_text(encoding="utf-8").replace("\\\n", "")
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    assert lines.pop(0) == "--only-binary :all:"  # an archive of sources would run its own builder
    found = [re.fullmatch(r"([\w.-]+)==([\w.!+-]+)((?: +--hash=sha256:[0-9a-f]{64})+)", line) for line in lines]
    assert all(found), [line for line, match in zip(lines, found, strict=True) if match is None]
    versions: dict[str, str] = {canonicalize_name(match[1]): match[2] for match in found if match}
    assert len(versions) == len(lines)
    return versions


def wanted(extras: list[str]) -> list[Requirement]:
    """What pyproject.toml asks for with these extras, and to build the package; an extra may name others."""
    pyproject = read_pyproject()
    project = pyproject["project"]
    texts = [*pyproject["build-system"]["requires"], *project["dependencies"]]
    for extra in extras:
        texts += project["optional-dependencies"][extra]
    found = [Requirement(text) for text in texts]
    inner = sorted(
        extra for requirement in found if requirement.name == project["name"] for extra in requirement.extras
    )
    return [requirement for requirement in found if requirement.name != project["name"]] + (
        wanted(inner) if inner else []
    )


@pytest.mark.parametrize("name", EXTRAS)
def test_a_lock_has_every_dependency_within_its_range(name: str) -> None:
    versions = read_lock(name)
    requirements = wanted(EXTRAS[name])
    assert len(requirements) > 5
    for requirement in requirements:
        if requirement.marker is not None and not requirement.marker.evaluate(LINUX):
            continue
        if requirement.name != ALONE:
            assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)]), requirement


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_has_hashes_and_neither_torch_nor_cuda(name: str) -> None:
    versions = read_lock(name)
    assert versions
    assert [package for package in versions if re.match(r"torch|nvidia|cuda|triton", package)] == []


def test_every_place_names_one_version_of_torch() -> None:
    (version,) = {str(wish.specifier) for wish in wanted(EXTRAS["dev"]) if wish.name == ALONE}
    (metadata,) = tomllib.loads((FOLDER / "uv.toml").read_text(encoding="utf-8"))["dependency-metadata"]
    assert (metadata["name"], f"=={metadata['version']}") == (ALONE, version)
    named = re.findall(rf"\b{ALONE}(==[\w.]+)", (ROOT / "Makefile").read_text(encoding="utf-8"))
    assert set(named) == {version}


@pytest.mark.parametrize(
    "line",
    [
        "numpy==2.4.6",
        f"numpy>=2 --hash=sha256:{'0' * 64}",
        f"numpy==2.4.6 --hash=md5:{'0' * 32}",
        "https://example.org/numpy-2.4.6.whl",
        "--extra-index-url https://example.org/simple",
    ],
)
def test_a_line_without_version_and_hash_is_found(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bad.txt").write_text(f"--only-binary :all:\n{line}\n", encoding="utf-8")
    monkeypatch.setattr(f"{__name__}.FOLDER", tmp_path)
    with pytest.raises(AssertionError):
        read_lock("bad")
