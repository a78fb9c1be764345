"""The container and the service of the Jetson demo run without root, and write into one folder."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from steadystyle.demo.jetson import source as gst

FOLDER = Path(gst.__file__).parent
ROOT = FOLDER.parents[1]
SERVICE = FOLDER / "steadystyle-jetson.service"
STATE = "/var/lib/steadystyle"


def stages() -> dict[str, list[str]]:
    """Name of each stage of the Dockerfile -> its instructions, continued lines joined; the first stage's has ARGs."""
    text = (FOLDER / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    found: dict[str, list[str]] = {"": []}
    for line in text.splitlines():
        if line.startswith("FROM "):
            found[line.split(" AS ")[1]] = []
        if line and not line.startswith("#"):
            found[list(found)[-1]].append(line)
    return found


def service_lines() -> dict[str, str]:
    """The keys and values under [Service]; each key stands there once."""
    section = SERVICE.read_text(encoding="utf-8").partition("[Service]\n")[2].partition("\n[")[0]
    lines = [line.split("=", 1) for line in section.splitlines() if line and not line.startswith("#")]
    found = {key: value for key, value in lines}
    assert len(found) == len(lines)
    return found


def test_the_image_is_named_by_its_digest() -> None:
    (base,) = (line for line in stages()[""] if line.startswith("ARG BASE="))
    assert re.fullmatch(r"ARG BASE=nvcr\.io/nvidia/l4t-jetpack:r36\.4\.0@sha256:[0-9a-f]{64}", base)
    assert stages()["python"][0] == "FROM ${BASE} AS python"


def test_the_container_runs_as_a_user_who_is_not_root() -> None:
    final = stages()["demo"]
    users = [line.split()[1] for line in final if line.startswith("USER ")]
    assert users == ["steadystyle"]
    after = final[final.index("USER steadystyle") :]
    assert [line.split()[0] for line in after] == ["USER", "WORKDIR", "ENTRYPOINT"]
    assert any(re.search(r"\buseradd --uid [1-9]\d+ .*\bsteadystyle\b", line) for line in final)


def test_the_default_engine_and_the_package_come_from_the_lock() -> None:
    assert (ROOT / "requirements" / "demo.txt").is_file()
    (default,) = (line.partition("ENGINE=")[2] for line in stages()[""] if line.startswith("ARG ENGINE="))
    downloads = [line for line in stages()[default] if "pip " in line]
    assert downloads
    assert all("--require-hashes" in line for line in downloads)
    for line in stages()["demo"]:
        for command in re.findall(r"pip install[^&]*", line):
            assert {"--no-index", "--no-deps"} <= set(shlex.split(command))


def test_the_service_gains_no_rights_and_writes_into_one_folder() -> None:
    service = service_lines()
    wanted = {
        "NoNewPrivileges": "yes",
        "ProtectSystem": "strict",
        "ProtectHome": "yes",
        "PrivateTmp": "yes",
        "StateDirectory": Path(STATE).name,
        "ReadWritePaths": STATE,
        "WorkingDirectory": STATE,
    }
    assert {key: service[key] for key in wanted} == wanted
    assert service["User"] not in ("", "root", "0")


def test_the_service_needs_nothing_that_it_cannot_reach() -> None:
    service = service_lines()
    words = shlex.split(service["ExecStart"])
    assert not [word for word in words if word.startswith(("/home", "/root", "/tmp"))]
    assert words[words.index("--engine-cache") + 1].startswith(f"{STATE}/")
    assert service["Environment"] == f"HOME={STATE}"
    assert service["BindPaths"] == "/tmp/argus_socket"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")
def test_systemd_understands_the_service(tmp_path: Path) -> None:
    # The program is not installed here: another stands in for it.
    text = re.sub(r"ExecStart=\S+", "ExecStart=/bin/true", SERVICE.read_text(encoding="utf-8"))
    copy = tmp_path / SERVICE.name
    copy.write_text(text, encoding="utf-8")
    done = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
