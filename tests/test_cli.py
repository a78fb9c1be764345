"""The command line as a person meets it: odd inputs that must work, bad ones that must be refused."""

import itertools
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from steadystyle import cli
from steadystyle.train.checkpoint import load_checkpoint
from steadystyle.video import frames as frames_module
from steadystyle.video.frames import Frame, FrameSource, SourceInfo, read_frames, write_image, write_video


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """The one line that a refused command leaves on stderr."""
        lines = self.err.strip().splitlines()
        assert len(lines) == 1, self.err
        return lines[0]


Cli = Callable[..., Outcome]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Cli:
    """Runs a command in an empty folder; what libraries print by themselves on stderr counts too."""
    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(signal.SIGTERM)

    def command(*arguments: object) -> Outcome:
        capfd.readouterr()
        with pytest.raises(SystemExit) as leaving:
            cli.main([str(argument) for argument in arguments])
        signal.signal(signal.SIGTERM, before)
        out, err = capfd.readouterr()
        assert isinstance(leaving.value.code, int)
        return Outcome(leaving.value.code, out, err)

    return command


@pytest.fixture
def refused(run: Cli, tmp_path: Path) -> Cli:
    """Runs a command that must be refused: exit code 2, one sentence, nothing written."""

    def command(*arguments: object) -> Outcome:
        before = sorted(tmp_path.rglob("*"))
        outcome = run(*arguments)
        assert outcome.code == 2, outcome
        assert outcome.out == ""
        assert "Traceback" not in outcome.err
        assert outcome.sentence
        assert sorted(tmp_path.rglob("*")) == before
        return outcome

    return command


# ------------------------------------------------------------------------------------------- refused


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


@pytest.fixture
def training(tmp_path: Path, random_loss_network: Path) -> list[object]:
    """A training command that only lacks a style image `style.png` and what it is to train on."""
    write_image(tmp_path / "style.png", np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    command = ["train", "--recipe", "huang2017", "--style", "style.png", "--loss-network", random_loss_network]
    return [*command, "-o", "runs/x", "--steps", 1]


def test_a_style_image_that_is_none(refused: Cli, tmp_path: Path, training: list[object]) -> None:
    (tmp_path / "style.png").write_text("no picture")
    (tmp_path / "photos").mkdir()
    write_image(tmp_path / "photos" / "a.png", np.zeros((200, 200, 3), np.uint8))
    assert "style.png" in refused(*training, "--photos", "photos").sentence


@pytest.mark.parametrize(
    ("length", "whole"), [(("--steps", "5000"), "of 5000"), (("--minutes", "9"), "within its 9 minutes")]
)
def test_a_training_that_is_interrupted_says_how_far_it_came(
    tmp_path: Path, random_loss_network: Path, length: tuple[str, str], whole: str
) -> None:
    write_image(tmp_path / "style.png", np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    (tmp_path / "photos").mkdir()
    write_image(tmp_path / "photos" / "a.png", textured(96, 96))
    command = [
        sys.executable, "-m", "steadystyle.cli", "train", "--recipe", "huang2017", "--style", "style.png",
        "--photos", "photos", "--loss-network", str(random_loss_network), "-o", "run", "--set", "crop=64", *length,
    ]  # fmt: skip
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("training: "):
                process.send_signal(signal.SIGINT)
                break
        said = process.stderr.read()
    assert process.returncode == 130
    step, rest = said.split("stopped at step ")[1].split(" ", 1)
    assert rest == f"{whole}: the same command with --resume goes on from there\n"
    assert 0 < int(step) < 5000
    assert (tmp_path / "run" / "training-state.safetensors").exists()


def test_a_style_of_ones_own_starts_from_the_nearest_bundled_one(
    run: Cli, tmp_path: Path, random_loss_network: Path
) -> None:
    write_image(tmp_path / "style.png", textured(96, 128))
    (tmp_path / "photos").mkdir()
    write_image(tmp_path / "photos" / "a.png", textured(96, 96))
    layers = "[relu1_2]"  # those of the tests' loss network are few
    outcome = run(
        "train", "--style", "style.png", "--photos", "photos", "--loss-network", random_loss_network, "-o", "run",
        "--steps", 1, "--stroke", 1.5, "--set", "crop=64", "--set", "border=8", "--set", "clip_height=64",
        *(part for key in ("style", "style_half", "style_quarter", "content")
          for part in ("--set", f"{key}_layers={layers}")),
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert re.search(
        r"starting from [a-z-]+, the nearest bundled style \(Gram distance \d\.\d\d\); --from", outcome.err
    )
    (checkpoint,) = (tmp_path / "run").glob("run.safetensors")
    header = load_checkpoint(checkpoint).header
    assert header.architecture == "edge-lp" and header.recipe_values["loss"]["stroke"] == 1.5 and header.steps > 1
    refused = run("train", "--style", "style.png", "--photos", "photos", "--loss-network", random_loss_network,
                  "-o", "other", "--stroke", 9)  # fmt: skip
    assert refused.code == 2 and "size of strokes must lie between 0.75 and 2, not 9" in refused.err
    assert not (tmp_path / "other").exists()


def test_recipes_are_listed_and_copied_to_edit(run: Cli, refused: Cli, tmp_path: Path) -> None:
    listed = run("recipes")
    assert listed.code == 0
    for name in ("edge", "huang2017", "huang2017-paint", "johnson2016", "paint"):
        assert re.search(rf"^│? ?{name} .*\b(9000|12000)\b.*(edge-lp|huang2017)", listed.out, re.MULTILINE), name
    recipes = {recipe["name"]: recipe for recipe in json.loads(run("recipes", "--json").out)}
    assert recipes["paint"]["schedule"]["steps"] == 9000 and recipes["paint"]["network"]["architecture"] == "edge-lp"
    copied = run("recipes", "copy", "paint", "mine.yaml")
    assert copied.code == 0 and "train --recipe mine.yaml" in copied.out
    assert "# steadystyle train --recipe paint" in (tmp_path / "mine.yaml").read_text()
    assert "mine.yaml" in refused("recipes", "copy", "edge", "mine.yaml").sentence
    assert "oil" in refused("recipes", "copy", "oil", "oil.yaml").sentence
    assert ".yaml" in refused("recipes", "copy", "edge", "mine.txt").sentence


@pytest.mark.parametrize("content", ["no folder", "no clip", "one frame", "cuts"])
def test_clips_without_pairs(run: Cli, tmp_path: Path, training: list[object], content: str) -> None:
    if content != "no folder":
        (tmp_path / "clips").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (3, 2, 2, 3), np.uint8)
    frames = [cv2.resize(image, (200, 160), interpolation=cv2.INTER_NEAREST).astype(np.uint8) for image in noise]
    if content in ("one frame", "cuts"):
        write_video(tmp_path / "clips" / "a.mp4", frames[: 1 if content == "one frame" else 3])
    before = sorted(tmp_path.rglob("*"))
    outcome = run(*training, "--clips", "clips")
    assert outcome.code == 2
    assert "clip" in outcome.err.strip().splitlines()[-1]  # reading the clips may have told its progress before
    assert "Traceback" not in outcome.err
    assert sorted(tmp_path.rglob("*")) == before


def test_nothing_to_train_on(refused: Cli, training: list[object]) -> None:
    assert "--clips" in refused(*training).sentence


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
    program = f"import sys; sys.modules[{module!r}] = None; from steadystyle.cli import main; main({words!r})"
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


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
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


class EndlessCamera(FrameSource):
    """Gives the same picture for ever; Ctrl-C comes after the tenth."""

    info = SourceInfo("camera 0", "camera", 64, 48, Fraction(25), None, None, has_audio=False)

    def _frames(self) -> Iterator[Frame]:
        for index in itertools.count():
            if index == 10:
                os.kill(os.getpid(), signal.SIGINT)
            yield Frame(textured(64, 48), index / 25)


def test_ctrl_c_ends_a_camera_and_keeps_what_was_taken(
    run: Cli, tmp_path: Path, any_size_artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(frames_module, "open_source", lambda spec: EndlessCamera())
        outcome = run("stylize", "0", "--model", any_size_artifact, "--json")
    assert outcome.code == 0, outcome.err
    written = tmp_path / "stylized" / "0-tiny.mp4"
    assert json.loads(outcome.out)["output"] == "stylized/0-tiny.mp4"
    assert 1 <= len(read_frames(written)) < 1000


# ------------------------------------------------------------------------------------------- works


def stylize(run: Cli, source: Path, output: Path, model: Path) -> dict[str, object]:
    outcome = run("stylize", source, "-o", output, "--model", model, "--json")
    assert outcome.code == 0, outcome.err
    report = json.loads(outcome.out)
    assert isinstance(report, dict)
    return report


def textured(width: int, height: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def test_a_video_keeps_its_frames(run: Cli, tmp_path: Path, clip: Path, any_size_artifact: Path) -> None:
    report = stylize(run, clip, tmp_path / "out.mp4", any_size_artifact)
    assert report["frames"] == 12
    frames = read_frames(tmp_path / "out.mp4")
    assert len(frames) == 12
    assert frames[0].shape == (48, 64, 3)
    assert list(tmp_path.iterdir()) == [tmp_path / "out.mp4"]


@pytest.mark.parametrize(("width", "height", "count"), [(64, 48, 1), (33, 17, 3), (2, 2, 3), (130, 6, 2)])
def test_one_frame_and_odd_and_tiny_sizes(
    run: Cli, tmp_path: Path, any_size_artifact: Path, width: int, height: int, count: int
) -> None:
    with av.open(str(tmp_path / "odd.mkv"), "w") as container:  # FFV1 holds odd sizes, H.264 in 4:2:0 does not
        stream = container.add_stream("ffv1", rate=25, width=width, height=height, pix_fmt="bgr0")
        for _ in range(count):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(textured(width, height), format="rgb24")))
        container.mux(stream.encode(None))
    stylize(run, tmp_path / "odd.mkv", tmp_path / "out.mp4", any_size_artifact)
    frames = read_frames(tmp_path / "out.mp4")
    assert len(frames) == count
    assert frames[0].shape == (height + height % 2, width + width % 2, 3)


def test_rotation_metadata_is_honoured(run: Cli, tmp_path: Path, any_size_artifact: Path) -> None:
    with av.open(str(tmp_path / "portrait.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25, width=64, height=48, pix_fmt="yuv420p")
        stream.set_display_rotation(90)
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(textured(64, 48), format="rgb24")))
        container.mux(stream.encode(None))
    stylize(run, tmp_path / "portrait.mp4", tmp_path / "out.mp4", any_size_artifact)
    assert read_frames(tmp_path / "out.mp4")[0].shape == (64, 48, 3)


def test_a_variable_frame_rate_is_kept(run: Cli, tmp_path: Path, any_size_artifact: Path) -> None:
    times_ms = [0, 40, 140, 160, 400]
    with av.open(str(tmp_path / "vfr.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=1000, width=64, height=48, pix_fmt="yuv420p")
        stream.codec_context.time_base = Fraction(1, 1000)
        for time_ms in times_ms:
            frame = av.VideoFrame.from_ndarray(textured(64, 48), format="rgb24")
            frame.pts, frame.time_base = time_ms, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    stylize(run, tmp_path / "vfr.mp4", tmp_path / "out.mp4", any_size_artifact)
    with av.open(str(tmp_path / "out.mp4")) as container:
        written = [frame.time for frame in container.decode(video=0)]
    assert written == pytest.approx([time_ms / 1000 for time_ms in times_ms], abs=2e-3)


@pytest.mark.parametrize("kind", ["gray", "alpha", "16-bit"])
def test_images_of_other_kinds(run: Cli, tmp_path: Path, any_size_artifact: Path, kind: str) -> None:
    plain = textured(40, 30)
    images: dict[str, NDArray[np.uint8] | NDArray[np.uint16]] = {
        "gray": plain[..., 0],
        "alpha": np.dstack([plain, plain[..., :1]]),
        "16-bit": plain.astype(np.uint16) * 257,
    }
    assert cv2.imwrite(str(tmp_path / "in.png"), images[kind])
    stylize(run, tmp_path / "in.png", tmp_path / "out.png", any_size_artifact)
    assert read_frames(tmp_path / "out.png")[0].shape == (30, 40, 3)


def test_half_a_video_is_stylized_as_far_as_it_goes(run: Cli, tmp_path: Path, any_size_artifact: Path) -> None:
    with av.open(str(tmp_path / "whole.ts"), "w") as container:
        stream = container.add_stream("libx264", rate=25, width=64, height=48, pix_fmt="yuv420p", options={"g": "5"})
        for index in range(40):
            image = np.roll(textured(64, 48), index, axis=1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    remux_cut_in_half(tmp_path / "whole.ts", tmp_path / "half.mkv")
    report = stylize(run, tmp_path / "half.mkv", tmp_path / "out.mp4", any_size_artifact)
    written = len(read_frames(tmp_path / "out.mp4"))
    assert 5 <= written < 40
    assert report["frames"] == written
    notes = report["notes"]
    assert isinstance(notes, list)
    assert any(str(written) in note for note in notes), notes


def remux_cut_in_half(source: Path, target: Path) -> None:
    with av.open(str(source)) as inside, av.open(str(target), "w") as outside:
        stream = outside.add_stream_from_template(inside.streams.video[0])
        for packet in inside.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                outside.mux(packet)
    target.write_bytes(target.read_bytes()[: target.stat().st_size // 2])


def test_a_fixed_size_artifact_takes_other_sizes_and_says_so(
    run: Cli, tmp_path: Path, fixed_size_artifact: Path
) -> None:
    write_video(tmp_path / "big.mp4", [textured(80, 60)] * 3)
    report = stylize(run, tmp_path / "big.mp4", tmp_path / "out.mp4", fixed_size_artifact)
    assert read_frames(tmp_path / "out.mp4")[0].shape == (60, 80, 3)
    notes = report["notes"]
    assert isinstance(notes, list)
    assert any("64x48" in note and "80x60" in note for note in notes), notes


def test_without_o_a_named_folder_is_used(run: Cli, tmp_path: Path, clip: Path, any_size_artifact: Path) -> None:
    outcome = run("stylize", clip, "--model", any_size_artifact)
    assert outcome.code == 0, outcome.err
    assert [path.relative_to(tmp_path) for path in tmp_path.rglob("*.mp4")] == [Path("stylized/clip-tiny.mp4")]


def test_a_run_is_trained_stopped_and_resumed(run: Cli, tmp_path: Path, training: list[object]) -> None:
    (tmp_path / "photos").mkdir()
    write_image(tmp_path / "photos" / "a.png", textured(200, 200))
    small = ["--set", "crop=32", "--set", "batch=1", "--set", "sizes={stem: 4, half: 4, quarter: 4, blocks: 1}"]
    command = [*training, "--photos", "photos", *small, "--set", "style_size=64", "--json"]
    first = run(*command)
    assert first.code == 0, first.err
    result = json.loads(first.out)
    assert result["steps"] == 1
    assert (tmp_path / result["checkpoint"]).is_file()
    again = run(*command)
    assert again.code == 2
    assert "--resume" in again.err


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
