"""The other commands as a person meets them."""

import json
from pathlib import Path

from safetensors.torch import load_file

from steadystyle.tests.cli.conftest import Cli


def test_a_checkpoint_is_exported(run: Cli, tmp_path: Path, tiny_checkpoint: Path) -> None:
    outcome = run("export", tiny_checkpoint, "--size", "33x17", "--json")
    assert outcome.code == 0, outcome.err
    (result,) = json.loads(outcome.out)
    assert result["verdict"] == "ok"
    assert result["metadata"]["verification"]["psnr_db"] >= 60
    assert [path.name for path in (tmp_path / "exports").iterdir()] == ["tiny-33x17-fp32.onnx"]


def test_artifacts_and_videos_are_measured(run: Cli, tmp_path: Path, clip: Path, any_size_artifact: Path) -> None:
    measure = ["benchmark", any_size_artifact, "--clip", clip, "--size", "64x48", "--height", 48, "--seconds", 0]
    outcome = run(*measure, "-o", "reports/a", "--json")
    assert outcome.code == 0, outcome.err
    report = json.loads(outcome.out)
    assert [row["method"] for row in report["latency"]] == ["tiny-any-fp32"]
    assert report["command"].startswith(f"steadystyle benchmark {any_size_artifact}")
    outcome = run("compare", clip, clip, "-o", "reports/b")
    assert outcome.code == 0, outcome.err
    assert "identity" in outcome.out
    assert outcome.out.rstrip().endswith("reports/b/report.html")
    assert {path.name for path in tmp_path.rglob("report.json")} == {"report.json"}


def test_a_broken_floor_fails_after_the_report_is_written(run: Cli, tmp_path: Path, clip: Path) -> None:
    compare = ["compare", clip, clip, "-o", "report", "--max-frames", 3]
    outcome = run(*compare, "--fail-if", "beauty>3")
    assert outcome.code == 2 and "--fail-if 'beauty>3' cannot be read" in outcome.sentence
    assert list(tmp_path.iterdir()) == []
    outcome = run(*compare, "--fail-if", "drift>1", "--fail-if", "e_temporal>9", "--json")
    assert outcome.code == 1
    assert outcome.sentence == "drift of clip is absent: --fail-if 'drift>1' cannot be decided"
    assert json.loads(outcome.out) == json.loads((tmp_path / "report" / "report.json").read_text())


def test_a_video_that_cannot_be_measured_leaves_a_hole_and_exit_code_1(run: Cli, tmp_path: Path, clip: Path) -> None:
    outcome = run("compare", clip, clip, "nowhere.mp4", "-o", "report", "--max-frames", 3)
    assert outcome.code == 1
    assert outcome.err.splitlines()[-1] == "not measured: the input 'nowhere.mp4' does not exist: check the path"
    assert json.loads((tmp_path / "report" / "report.json").read_text())["holes"]


def test_info_tells_what_files_say_of_themselves(run: Cli, tiny_checkpoint: Path, fixed_size_artifact: Path) -> None:
    checkpoint = json.loads(run("info", tiny_checkpoint, "--json").out)
    assert checkpoint["architecture"] == "huang2017"
    assert checkpoint["parameters"] == sum(value.numel() for value in load_file(tiny_checkpoint).values())
    artifact = json.loads(run("info", fixed_size_artifact, "--json").out)
    assert (artifact["name"], artifact["width"], artifact["height"]) == ("tiny", 64, 48)


def test_info_and_doctor_and_models_print_tables(run: Cli, tiny_checkpoint: Path) -> None:
    for command in (["info", tiny_checkpoint], ["doctor"], ["models"]):
        outcome = run(*command)
        assert outcome.code == 0, outcome.err
        assert len(outcome.out.splitlines()) > 3


def test_doctor_as_json(run: Cli) -> None:
    report = json.loads(run("doctor", "--json").out)
    works = {check["what"]: check["works"] for check in report["checks"]}
    assert works["video (H.264)"]
    assert report["machine"]["cores"] >= 1


def test_a_baseline_asks_for_the_loss_network_and_leaves_nothing(run: Cli, tmp_path: Path) -> None:
    outcome = run("baseline", "gatys2016", "in.mp4", "--style", "style.png", "-o", str(tmp_path / "out.mp4"))
    assert outcome.code == 2 and "--loss-network" in outcome.err
    assert run("baseline", "huang2017", "in.mp4", "--style", "style.png").code == 2
    assert not list(tmp_path.iterdir())


def test_demo_without_a_subcommand_is_demo_file(run: Cli, tmp_path: Path) -> None:
    assert "bundled scene" in run("demo", "--help").out
    assert "`steadystyle demo file --help`" in run("demo", "--frames", "0").err
    named, bare = run("demo", "file", str(tmp_path / "none.mp4")), run("demo", str(tmp_path / "none.mp4"))
    assert named.code == bare.code == 2
    assert named.err == bare.err


def test_help_teaches_with_an_example(run: Cli) -> None:
    assert run("--help").code == 0
    for command in (
        "train",
        "export",
        "stylize",
        "demo file",
        "demo camera",
        "benchmark",
        "compare",
        "merge",
        "baseline",
        "models",
        "info",
        "doctor",
    ):
        outcome = run(*command.split(), "--help")
        assert outcome.code == 0
        assert "--json" in outcome.out
        assert f"steadystyle {command}" in outcome.out.split("Options")[-1], "no example below the options"
