"""Bad input, full disks and signals: one sentence, and nothing left behind."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import onnx
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from steadystyle.tests.cli.conftest import Cli
from steadystyle.video.frames import write_image, write_video


def test_a_missing_file(refused: Cli, any_size_artifact: Path) -> None:
    assert "nowhere.mp4" in refused("stylize", "nowhere.mp4", "-o", "out.mp4", "--model", any_size_artifact).sentence


def test_a_file_that_is_not_a_video(refused: Cli, tmp_path: Path, any_size_artifact: Path) -> None:
    (tmp_path / "text.mp4").write_text("not a video " * 100)
    assert "text.mp4" in refused("stylize", "text.mp4", "-o", "out.mp4", "--model", any_size_artifact).sentence


@pytest.mark.parametrize("kind", ["no bytes", "no frames"])
def test_an_empty_video(refused: Cli, tmp_path: Path, any_size_artifact: Path, kind: str) -> None:
    (tmp_path / "empty.mkv").touch()
    if kind == "no frames":
        with av.open(str(tmp_path / "empty.mkv"), "w") as container:
            container.add_stream("libx264", rate=25, width=64, height=48)
            container.start_encoding()
    assert "empty.mkv" in refused("stylize", "empty.mkv", "-o", "out.mp4", "--model", any_size_artifact).sentence


@pytest.mark.parametrize("damage", ["cut", "noise", "empty"])
def test_a_corrupt_artifact(refused: Cli, tmp_path: Path, clip: Path, any_size_artifact: Path, damage: str) -> None:
    whole = any_size_artifact.read_bytes()
    noise = np.random.default_rng(0).bytes(5000)
    (tmp_path / "bad.onnx").write_bytes({"cut": whole[: len(whole) // 2], "noise": noise, "empty": b""}[damage])
    assert "bad.onnx" in refused("stylize", clip, "-o", "out.mp4", "--model", "bad.onnx").sentence


def test_an_onnx_file_without_our_metadata(refused: Cli, tmp_path: Path, clip: Path) -> None:
    image = onnx.helper.make_tensor_value_info("frame", onnx.TensorProto.UINT8, ["h", "w", 3])
    same = onnx.helper.make_tensor_value_info("stylized", onnx.TensorProto.UINT8, ["h", "w", 3])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["frame"], ["stylized"])], "g", [image], [same])
    opset = [onnx.helper.make_opsetid("", 18)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=10), tmp_path / "foreign.onnx")
    assert "foreign.onnx" in refused("stylize", clip, "-o", "out.mp4", "--model", "foreign.onnx").sentence


@pytest.mark.parametrize("damage", ["missing", "nan", "cut", "header"])
def test_a_damaged_checkpoint(refused: Cli, tmp_path: Path, tiny_checkpoint: Path, damage: str) -> None:
    bad = tmp_path / "bad.safetensors"
    weights = load_file(tiny_checkpoint)
    with safe_open(tiny_checkpoint, framework="pt") as file:
        header = file.metadata()
    name = sorted(weights)[0]
    if damage == "missing":
        del weights[name]
    elif damage == "nan":
        weights[name][0] = torch.nan
    save_file(weights, bad, {} if damage == "header" else header)
    if damage == "cut":
        bad.write_bytes(bad.read_bytes()[:-100])
    assert "bad.safetensors" in refused("export", bad, "--target", "onnx", "-o", "exports").sentence


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["train", "--style", "style.png", "--recipe", "huang2071"], "huang2071"),
        (["train", "--style", "style.png", "--set", "stepps=3"], "stepps"),
        (["train", "--style", "style.png", "--set", "steps"], "KEY=VALUE"),
        (["export", "CHECKPOINT", "--target", "onyx"], "onyx"),
        (["export", "CHECKPOINT", "--precision", "fp8"], "fp8"),
        (["export", "CHECKPOINT", "--size", "640*360"], "640*360"),
        (["export", "CHECKPOINT", "--target", "tflite", "--size", "any"], "fixed size"),
        (["export", "CHECKPOINT", "--precision", "int8", "--size", "16x16"], "16x16"),
        (["export", "CHECKPOINT", "--precision", "int8", "--calibrate", "nowhere.mp4"], "nowhere.mp4"),
        (["info", "nowhere.tflite"], "nowhere.tflite"),
        (["export", "CHECKPOINT", "--size", "0x360"], "0x360"),
        (["export", "great-weave", "--target", "onnx"], "great-weave"),
        (["stylize", "CLIP", "--model", "great-weave"], "great-weave"),
        (["stylize", "CLIP", "--model", "model.pb"], "model.pb"),
        (["stylize", "CLIP", "--model", "ARTIFACT", "--threads", "0"], "--threads"),
        (["stylize", "CLIP", "--model", "ARTIFACT", "--strength", "1.2"], "--strength"),
        (["stylize", "CLIP", "--model", "ARTIFACT", "--strength", "nan"], "--strength"),
        (["stylize", "CLIP", "--model", "ARTIFACT", "--stroke", "0"], "--stroke"),
        (["stylize", "CLIP", "--model", "ARTIFACT", "--only", "dog"], "--only"),
        (["stylize", "CLIP", "--model", "ARTIFACT", "-o", "out.xyz"], "out.xyz"),
        (["stylize"], "IN"),
        (["stylise"], "stylise"),
        (["stylize", "CLIP", "--fast"], "--fast"),
        (["info", "nowhere.safetensors"], "nowhere.safetensors"),
        (["benchmark", "nowhere.onnx", "-o", "report"], "nowhere.onnx"),
        (["benchmark", "--sizes", "320x180", "-o", "report"], "needs two sizes or more"),
        (["benchmark", "--sizes", "320x180,any", "-o", "report"], "sizes '320x180,any' are not understood"),
        (["benchmark", "--sizes", "320x180,,640x360", "-o", "report"], "size '' is not understood"),
        (["compare", "nowhere.mp4", "CLIP", "-o", "report"], "nowhere.mp4"),
    ],
)
def test_unknown_names_and_values(
    refused: Cli, tiny_checkpoint: Path, any_size_artifact: Path, clip: Path, arguments: list[str], word: str
) -> None:
    files = {"CHECKPOINT": tiny_checkpoint, "ARTIFACT": any_size_artifact, "CLIP": clip}
    assert word in refused(*(files.get(argument, argument) for argument in arguments)).sentence


def test_a_loss_network_given_twice(
    refused: Cli, clip: Path, any_size_artifact: Path, random_loss_network: Path
) -> None:
    for command in (["compare", clip, clip], ["benchmark", any_size_artifact, "--clip", clip]):
        twice = ["--loss-network", random_loss_network, "--loss-network", random_loss_network]
        assert "two of the loss networks are VGG-19" in refused(*command, *twice, "-o", "report").sentence


@pytest.fixture
def unwritable(tmp_path: Path) -> dict[str, Path]:
    """Output paths that cannot be written, for root too, to whom permission bits mean nothing to the system."""
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "locked.mp4").touch()
    (tmp_path / "locked.mp4").chmod(0o444)
    return {
        "a folder": tmp_path / "folder.mp4",
        "under a file": tmp_path / "file" / "out.mp4",
        "a read-only file": tmp_path / "locked.mp4",
        "a read-only file system": Path("/proc/self/out.mp4"),
    }


@pytest.mark.parametrize("place", ["a folder", "under a file", "a read-only file", "a read-only file system"])
def test_an_output_path_that_cannot_be_written(
    refused: Cli, unwritable: dict[str, Path], clip: Path, any_size_artifact: Path, place: str
) -> None:
    refused("stylize", clip, "-o", unwritable[place], "--model", any_size_artifact)


def test_an_output_path_that_is_the_input(refused: Cli, tmp_path: Path, clip: Path, any_size_artifact: Path) -> None:
    shutil.copy(clip, tmp_path / "clip.mp4")
    assert "input" in refused("stylize", "clip.mp4", "-o", "./clip.mp4", "--model", any_size_artifact).sentence


def test_no_space_left_on_the_device(tmp_path: Path, any_size_artifact: Path) -> None:
    """On a real full file system where one can be mounted, else under a limit of the file size."""
    noise = np.random.default_rng(0).integers(0, 256, (20, 96, 128, 3), np.uint8)
    write_video(tmp_path / "noise.mp4", list(noise))
    full = tmp_path / "full"
    full.mkdir()
    command = [sys.executable, "-m", "steadystyle.cli", "stylize", str(tmp_path / "noise.mp4")]
    command += ["-o", str(full / "out.mp4"), "--model", str(any_size_artifact)]
    mount = f"mount -t tmpfs -o size=64k none '{full}'"
    own_mounts = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    can_mount = subprocess.run([*own_mounts, mount], capture_output=True, check=False).returncode == 0
    if can_mount:
        script = f'{mount} && "$@"; code=$?; ls -A "{full}"; exit $code'
        done = subprocess.run([*own_mounts, script, "sh", *command], capture_output=True, text=True, check=False)
        assert done.stdout == "", "something was left on the full device"
    else:
        limit = (65536, 65536)
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
        )
        assert list(full.iterdir()) == []
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("no space left on the device")
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("module", "arguments", "extra"),
    [
        ("onnxruntime", ["stylize", "CLIP", "-o", "out.mp4", "--model", "ARTIFACT"], "[onnx]"),
        ("torch", ["train", "--style", "s.png", "--photos", "p"], "[train]"),
        ("onnx", ["export", "CHECKPOINT"], "[export]"),
        ("torch", ["export", "CHECKPOINT"], "[export]"),
        ("tensorflow", ["export", "CHECKPOINT", "--target", "tflite"], "[export]"),
        ("coremltools", ["export", "CHECKPOINT", "--target", "coreml"], "[export]"),
        ("openvino", ["stylize", "CLIP", "-o", "out.mp4", "--model", "ARTIFACT@openvino"], "[openvino]"),
    ],
)
def test_a_missing_extra_is_named(
    tmp_path: Path,
    tiny_checkpoint: Path,
    any_size_artifact: Path,
    clip: Path,
    module: str,
    arguments: list[str],
    extra: str,
) -> None:
    files = {"CHECKPOINT": tiny_checkpoint, "ARTIFACT": any_size_artifact, "CLIP": clip}
    words = []
    for argument in arguments:
        name, at, provider = argument.partition("@")
        words.append(f"{files.get(name, name)}{at}{provider}")
    missing = {module: None, **({"openvino": None} if module == "onnxruntime" else {})}  # which would run the file
    program = f"import sys; sys.modules.update({missing}); from steadystyle.cli import main; main({words!r})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2, done.stderr
    assert f"steadystyle{extra}" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_debug_shows_where_the_error_came_from(run: Cli) -> None:
    outcome = run("stylize", "nowhere.mp4", "--debug")
    assert outcome.code == 2
    assert "Traceback" in outcome.err
    assert "InputError" in outcome.err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_it_and_leaves_nothing(
    run: Cli,
    tmp_path: Path,
    clip: Path,
    any_size_artifact: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    code: int,
) -> None:
    from steadystyle.runtimes import pipeline

    def interrupted(*arguments: object, **options: object) -> None:
        os.kill(os.getpid(), number)
        time.sleep(10)
        pytest.fail("the signal did not end it")

    monkeypatch.setattr(pipeline, "run", interrupted)
    outcome = run("stylize", clip, "-o", "out/video.mp4", "--model", any_size_artifact)
    assert outcome.code == code
    assert list(tmp_path.iterdir()) == []


def test_only_a_person_without_the_extra(
    refused: Cli, monkeypatch: pytest.MonkeyPatch, tiny_checkpoint: Path, clip: Path
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.delitem(sys.modules, "steadystyle.runtimes.onnx", raising=False)
    outcome = refused("stylize", clip, "-o", "out.mp4", "--model", tiny_checkpoint, "--only", "person")
    assert "pip install 'steadystyle[person]'" in outcome.sentence


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--codec", "h264_nothing"], "h264_nothing"),
        (["--codec", "prores"], "prores does not fit"),
        (["--codec", "h264", "--preset", "silly"], "silly"),
    ],
)
def test_a_codec_that_cannot_be_had(
    refused: Cli, clip: Path, any_size_artifact: Path, options: list[str], word: str
) -> None:
    assert word in refused("stylize", clip, "-o", "out.mp4", "--model", any_size_artifact, *options).sentence


def test_alpha_asked_of_h264(refused: Cli, tmp_path: Path, any_size_artifact: Path) -> None:
    image = np.zeros((32, 32, 3), np.uint8)
    write_image(tmp_path / "logo.png", image, np.full((32, 32), 128, np.uint8))
    words = ["stylize", "logo.png", "-o", "out.mp4", "--model", any_size_artifact, "--codec", "h264"]
    assert "transparency" in refused(*words).sentence
