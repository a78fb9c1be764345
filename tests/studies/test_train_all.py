import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from steadystyle.common.files import InputError
from steadystyle.studies import run_study
from steadystyle.studies import train_all as queue
from steadystyle.train.checkpoint import CheckpointHeader, load_checkpoint, save_checkpoint
from steadystyle.train.networks import build_network, resolve_sizes
from steadystyle.train.state import STATE_NAME

SMALL = """
set = { crop = 40, border = 0, clip_height = 64, style_size = 48, precision = "float32", content_layers = ["relu2_2"], \
style_layers = ["relu1_2"], style_half_layers = ["relu2_2"], style_quarter_layers = ["relu1_2"], clip_intervals = [1], \
pairs_per_clip = 2, sizes = { quarter = 8, eighth = 8, blocks = 1 } }
"""


@pytest.fixture
def start(tmp_path: Path) -> str:
    """A checkpoint of the small network, as a line of a queue file."""
    sizes = {"quarter": 8, "eighth": 8, "blocks": 1}
    header = CheckpointHeader("start", "style.png", "edge-lp", resolve_sizes("edge-lp", sizes), "none", 0)
    save_checkpoint(tmp_path / "start.safetensors", build_network("edge-lp", sizes), header)
    return f"start = '{tmp_path / 'start.safetensors'}'\n"


def run(material: Path, small_loss_file: Path, file: Path, out: Path, *more: str) -> None:
    arguments = [str(file), "--styles", str(material), "--clips", str(material / "clips"), "--photos"]
    arguments += [str(material / "photos"), "--loss-network", str(small_loss_file), "-o", str(out), *more]
    run_study(lambda: queue.main(arguments))


def test_runs_wait_for_what_they_start_from_and_finished_ones_are_left_alone(
    material: Path, small_loss_file: Path, tmp_path: Path, start: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = tmp_path / "queue.toml", tmp_path / "runs"
    one_line = SMALL.replace("\\\n", "")
    file.write_text(
        f"[[run]]\nname = 'first'\nstyle = 'style.png'\nsteps = 2\n{start}{one_line}"
        f"[[run]]\nname = 'second'\nstyle = 'style.png'\nstart = 'first'\nsteps = 3\nstroke = 1.5\n{one_line}"
    )
    run(material, small_loss_file, file, out, "--jobs", "2")
    assert capsys.readouterr().out.splitlines() == ["first: finished", "second: finished"]
    headers = [load_checkpoint(out / name / f"{name}.safetensors").header for name in ("first", "second")]
    assert [header.steps for header in headers] == [2, 5]  # the second goes on from the first
    assert headers[1].recipe_values["loss"]["stroke"] == 1.5 and headers[1].architecture == "edge-lp"
    before = (out / "second" / STATE_NAME).stat().st_mtime_ns
    run(material, small_loss_file, file, out)
    assert capsys.readouterr().out == "" and (out / "second" / STATE_NAME).stat().st_mtime_ns == before


def test_a_run_that_fails_is_said_and_what_starts_from_it_left_out(
    material: Path, small_loss_file: Path, tmp_path: Path, start: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = tmp_path / "queue.toml", tmp_path / "runs"
    file.write_text(  # the loss network of the tests ends before the recipe's layers
        f"[[run]]\nname = 'deep'\nstyle = 'style.png'\n{start}"
        "[[run]]\nname = 'after'\nstyle = 'style.png'\nstart = 'deep'\n"
    )
    with pytest.raises(SystemExit) as left:
        run(material, small_loss_file, file, out)
    assert left.value.code == 1
    said = capsys.readouterr().out
    assert "deep: failed, see " in said and "after: left out, because deep is not whole" in said
    assert "ends at relu2_2" in (out / "deep" / "log.txt").read_text()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[[run]]\nname = 'x'\nstyle = 'mona_lisa.jpg'", "wants the painting 'mona_lisa.jpg', but .* holds style.png"),
        ("[[run]]\nname = 'x'\nstyle = 'style.png'\nstroke = 9", "between 0.75 and 2, not 9"),
        ("[[run]]\nname = 'x'\nstyle = 'style.png'\nrecipe = 'oil'", "unknown recipe 'oil'"),
        ("[[run]]\nname = 'x'\npainting = 'style.png'", "run 1 of .* is not understood .*painting"),
        ("[[run]]\nname = 'x'\nstyle = 'style.png'\n" * 2, "names 'x' twice"),
        ("[[run]", "cannot be read"),
        ("run = 3", "cannot be read"),
        ("a = " + "[" * 5000, "cannot be read"),
        ("[[run]]\nname = 3\nstyle = 'style.png'", "run 1 of .* is not understood .*Expected `str`, got `int`"),
        ("[[run]]\nname = '../x'\nstyle = 'style.png'", "the name '../x' is not allowed"),
        ("", r"has no \[\[run\]\]"),
    ],
)
def test_a_queue_that_does_not_fit_is_refused(material: Path, tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "queue.toml").write_text(text)
    with pytest.raises(InputError, match=sentence):
        queue.read_queue(tmp_path / "queue.toml", material)
    with pytest.raises(SystemExit) as left:
        run(material, tmp_path, tmp_path / "queue.toml", tmp_path / "runs")
    assert left.value.code == 2 and not (tmp_path / "runs").exists()


def test_a_signal_stops_all_and_nothing_else_begins(
    material: Path, small_loss_file: Path, tmp_path: Path, start: str
) -> None:
    file, out = tmp_path / "queue.toml", tmp_path / "runs"
    one_line = SMALL.replace("\\\n", "")
    file.write_text(
        "".join(
            f"[[run]]\nname = '{name}'\nstyle = 'style.png'\nsteps = 90000\n{start}{one_line}"
            for name in ("one", "two")
        )
    )
    command = [sys.executable, "-m", "studies.train_all", str(file), "--styles", str(material), "--photos"]
    command += [str(material / "photos"), "--loss-network", str(small_loss_file), "-o", str(out)]
    pipe, root = subprocess.PIPE, Path(__file__).resolve().parents[2]
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, cwd=root) as process:
        late = time.monotonic() + 60
        while not (out / "one" / STATE_NAME).exists() and time.monotonic() < late:
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        said, complaint = process.communicate(timeout=60)
    assert process.returncode == 130 and said == "one: stopped\n"
    assert complaint == "stopped: the same command goes on from there\n"
    assert not (out / "two").exists()
