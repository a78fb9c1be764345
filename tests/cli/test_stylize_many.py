"""`stylize` with many files: mirrored, skipped when done, listed when they fail, whole whatever happens."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from steadystyle.runtimes.archive.journal import NAME, Journal
from steadystyle.runtimes.archive.settings import Settings
from steadystyle.runtimes.archive.tasks import Task
from steadystyle.runtimes.archive.work import stylize_all
from steadystyle.tests.cli.conftest import Cli, textured
from steadystyle.tests.video.material import make_clip
from steadystyle.video.frames import open_part, open_source
from steadystyle.video.images import read_image, write_image


def process(*words: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "steadystyle.cli", "stylize", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def frames_of(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    (folder / "deep" / "deeper").mkdir(parents=True)
    make_clip(folder / "a.mp4", 6)
    make_clip(folder / "deep" / "b.avi", 4)
    write_image(folder / "deep" / "deeper" / "c.jpg", textured(64, 48))
    (folder / "deep" / ".hidden.mp4").write_bytes(b"no video")
    (folder / "notes.txt").write_text("not a video")
    return folder


def states(run: Cli, *words: object) -> dict[str, str]:
    outcome = run("stylize", *words, "--json")
    assert outcome.code in (0, 1), outcome.err
    return {Path(file["source"]).name: file["state"] for file in json.loads(outcome.out)["files"]}


def test_folders_are_mirrored_and_what_is_done_is_skipped(
    run: Cli, tmp_path: Path, archive: Path, any_size_artifact: Path
) -> None:
    words = (archive, "-o", tmp_path / "out", "--model", any_size_artifact)
    done = dict.fromkeys(("a.mp4", "b.avi", "c.jpg"), "done")
    skipped = dict.fromkeys(done, "skipped")
    assert states(run, *words) == done
    assert files(tmp_path / "out") == [NAME, "a.mp4", "deep/b.mp4", "deep/deeper/c.jpg"]
    assert frames_of(tmp_path / "out" / "deep" / "b.mp4") == 4
    assert states(run, *words) == skipped
    # What has another source, or is gone, is made anew; with other settings, all are.
    make_clip(archive / "a.mp4", 7)
    (tmp_path / "out" / "deep" / "b.mp4").unlink()
    assert states(run, *words) == {**skipped, "a.mp4": "done", "b.avi": "done"}
    assert frames_of(tmp_path / "out" / "a.mp4") == 7
    # Previews stand beside the files, and a picture's is not that of a video of its name.
    write_image(archive / "a.png", textured(30, 20))
    done = {**done, "a.png": "done"}
    assert states(run, *words, "--preview") == done
    previews = [f"{name}-preview.jpg" for name in ("a.mp4", "a.png", "deep/b.avi", "deep/deeper/c.jpg")]
    assert set(files(tmp_path / "out")) == {NAME, *previews, "a.mp4", "deep/b.mp4", "deep/deeper/c.jpg"}
    skipped = dict.fromkeys(done, "skipped")
    assert states(run, *words, "--no-clobber") == {**skipped, "a.png": "done"}
    assert states(run, *words) == skipped
    (archive / "deep" / "deeper" / "c.jpg").touch()
    assert states(run, *words) == {**skipped, "c.jpg": "done"}
    # A journal that breaks off, or that is no journal, loses nothing but time.
    journal = tmp_path / "out" / NAME
    journal.write_bytes(journal.read_bytes()[:-9] + b"\xff" + b"[" * 9999)
    assert states(run, *words) == skipped


def test_a_file_that_fails_is_named_and_the_others_go_on(
    run: Cli, tmp_path: Path, archive: Path, any_size_artifact: Path
) -> None:
    (archive / "broken.mp4").write_bytes(b"no video")
    for jobs in (1, 2):
        outcome = run("stylize", archive, "-o", tmp_path / str(jobs), "--model", any_size_artifact, "--jobs", jobs)
        assert outcome.code == 1
        assert "3 done, 1 failed" in outcome.out
        (line,) = outcome.err.splitlines()
        assert "broken.mp4' is not a video that can be read" in line
        assert files(tmp_path / str(jobs)) == [NAME, "a.mp4", "deep/b.mp4", "deep/deeper/c.jpg"]


def test_killed_five_times_each_video_comes_out_once_and_whole(tmp_path: Path, any_size_artifact: Path) -> None:
    (tmp_path / "in").mkdir()
    for index in range(12):
        make_clip(tmp_path / "in" / f"{index}.mp4", 100, size=(90, 160))
    (tmp_path / "in" / "broken.mp4").write_bytes(b"no video")
    out = tmp_path / "out"
    words = (tmp_path / "in", "-o", out, "--model", any_size_artifact, "--jobs", 2)
    written: dict[str, int] = {}
    for _ in range(5):
        running = process(*words)
        deadline = time.monotonic() + 60
        while running.poll() is None and not list(out.rglob(".*.part*")) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.2)
        workers = children(running.pid)
        running.kill()
        running.communicate()
        assert wait_until_gone(workers), "processes outlive the one that was killed"
        for path in out.glob("[!.]*"):
            assert frames_of(path) == 100
            assert written.setdefault(path.name, path.stat().st_mtime_ns) == path.stat().st_mtime_ns
    last = process(*words)
    _, err = last.communicate(timeout=120)
    assert last.returncode == 1 and "broken.mp4' is not a video" in err
    assert files(out) == sorted([NAME, *(f"{index}.mp4" for index in range(12))])
    assert {frames_of(path) for path in out.glob("*.mp4")} == {100}


def children(parent: int) -> list[int]:
    status = (path.read_text().rsplit(")", 1) for path in Path("/proc").glob("[0-9]*/stat"))
    return [int(name.split()[0]) for name, rest in status if int(rest.split()[1]) == parent]


def wait_until_gone(processes: Sequence[int]) -> bool:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if not any(Path(f"/proc/{number}").exists() for number in processes):
            return True
        time.sleep(0.05)
    return False


def test_an_output_whose_writer_died_before_it_said_so_is_done(tmp_path: Path) -> None:
    task = Task(tmp_path / "in.mp4", tmp_path / "out.mp4")
    for old in (None, b"of another style"):
        if old is not None:
            task.target.write_bytes(old)
        Journal(tmp_path).begin([(task, "key")])
        assert not Journal(tmp_path).is_done(task, "key")
        task.target.write_bytes(b"the new one")  # and no end
        assert Journal(tmp_path).is_done(task, "key")
        assert not Journal(tmp_path).is_done(task, "another key")


def deadly(error: Exception) -> str:
    os.kill(os.getpid(), signal.SIGKILL)
    return str(error)


@pytest.mark.parametrize("jobs", [2, 3])
def test_a_file_that_kills_its_process_fails_alone(tmp_path: Path, any_size_artifact: Path, jobs: int) -> None:
    tasks = []
    for name in ("0.mp4", "broken1.mp4", "2.mp4", "3.mp4", "broken2.mp4", "5.mp4"):
        tasks.append(Task(tmp_path / name, tmp_path / "out" / name))
        if "broken" in name:
            tasks[-1].source.write_bytes(b"no video")
        else:
            make_clip(tasks[-1].source, 5)
    settings = Settings(str(any_size_artifact))

    def progress(text: str, done: int, total: int | None) -> None:
        return

    outcomes = stylize_all(
        tasks, tmp_path / "out", settings, jobs=jobs, keep_existing=False, explain=deadly, progress=progress
    )
    assert [outcome.state for outcome in outcomes] == ["done", "failed", "done", "done", "failed", "done"]
    assert all("died" in outcome.said[0] for outcome in outcomes if outcome.state == "failed")
    assert files(tmp_path / "out") == [NAME, "0.mp4", "2.mp4", "3.mp4", "5.mp4"]


def test_a_worker_that_is_killed_costs_no_file(tmp_path: Path, any_size_artifact: Path) -> None:
    (tmp_path / "in").mkdir()
    for index in range(4):
        make_clip(tmp_path / "in" / f"{index}.mp4", 400, size=(90, 160))
    out = tmp_path / "out"
    running = process(tmp_path / "in", "-o", out, "--model", any_size_artifact, "--jobs", 2)
    deadline = time.monotonic() + 60
    while running.poll() is None and not list(out.rglob(".*.part*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    workers = [number for number in children(running.pid) if "spawn_main" in commands(number)]
    os.kill(workers[-1], signal.SIGKILL)
    _, err = running.communicate(timeout=120)
    assert running.returncode == 0, err
    assert files(out) == [NAME, *(f"{index}.mp4" for index in range(4))]
    assert {frames_of(path) for path in out.glob("*.mp4")} == {400}


def commands(process: int) -> str:
    return Path(f"/proc/{process}/cmdline").read_text()


@pytest.mark.parametrize("jobs", [1, 2])
def test_ctrl_c_leaves_nothing_half(tmp_path: Path, any_size_artifact: Path, jobs: int) -> None:
    (tmp_path / "in").mkdir()
    for index in range(2):
        make_clip(tmp_path / "in" / f"{index}.mp4", 3000, size=(90, 160))
    running = process(tmp_path / "in", "-o", tmp_path / "out", "--model", any_size_artifact, "--jobs", jobs)
    while running.poll() is None and not list(tmp_path.glob("out/.*.part*")):
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 130 and "Traceback" not in err, err
    assert files(tmp_path / "out") == [NAME]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("in", "-o", "out.mp4", "in/a.mp4"), "many files need a folder as output, not 'out.mp4'"),
        (("in", "-o", "in/out"), "the output 'in/out' lies in the input 'in'"),
        (("in", "in/a.mp4", "-o", "out"), "'in/a.mp4' is given twice: give it once"),
        (("in/a.mp4", "twin/a.avi", "-o", "out"), "'in/a.mp4' and 'twin/a.avi' would both become 'out/a.mp4'"),
        (("in", "missing", "-o", "out"), "there is no file or folder 'missing'"),
        (("in", "empty", "-o", "out"), "there is no video and no image in the folder 'empty' or below"),
        (("in/deep", "-o", ".", "in/deep/b.avi"), "'in/deep/b.avi' is given twice"),
        (("twin", "empty", "-o", "twin"), "the output 'twin' lies in the input 'twin'"),
        (("in/a.mp4", "in/deep/b.avi", "-o", "in"), "the output 'in/a.mp4' is an input"),
        (("in/a.mp4", "--start", "soon"), "--start is 'soon': give seconds"),
        (("in/a.mp4", "--duration", "0"), "--duration is '0': give seconds"),
        (("in/a.mp4", "--start", "9"), "has no frame from 9 s on"),
        (("in/deep/deeper/c.jpg", "--start", "1"), "c.jpg has no length"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    refused: Cli, archive: Path, any_size_artifact: Path, words: Sequence[str], sentence: str
) -> None:
    for folder in ("twin", "empty"):
        Path(folder).mkdir()
    make_clip(Path("twin/a.avi"), 2)
    before = {path: path.read_bytes() for path in archive.rglob("*") if path.is_file()}
    assert sentence in refused("stylize", *words, "--model", any_size_artifact).sentence
    assert {path: path.read_bytes() for path in before} == before


def test_a_part_of_a_video_with_its_sound(run: Cli, tmp_path: Path, any_size_artifact: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", 100, audio="aac")  # four seconds, a key frame every twelfth frame
    whole, part = tmp_path / "whole.mp4", tmp_path / "part.mp4"
    assert run("stylize", clip, "-o", whole, "--model", any_size_artifact).code == 0
    words = ("--start", "0:01", "--duration", "1.5")
    assert run("stylize", clip, "-o", part, "--model", any_size_artifact, *words).code == 0
    with av.open(str(whole)) as wanted, av.open(str(part)) as found:
        pictures = [frame.to_ndarray(format="rgb24") for frame in wanted.decode(video=0)][25:63]
        frames = list(found.decode(video=0))
        assert [round(frame.time * 25) for frame in frames] == list(range(38))
        for picture, frame in zip(pictures, frames, strict=True):
            assert np.abs(frame.to_ndarray(format="rgb24").astype(int) - picture).mean() < 2
    with av.open(str(part)) as found:
        sound = [frame.time for frame in found.decode(audio=0)]
    assert sound[0] == pytest.approx(0, abs=0.05) and sound[-1] == pytest.approx(1.5, abs=0.06)


def test_a_preview_shows_a_frame_a_second(run: Cli, tmp_path: Path, any_size_artifact: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", 100, size=(180, 320))
    outcome = run("stylize", clip, "--preview", "--model", any_size_artifact, "--json")
    assert outcome.code == 0 and json.loads(outcome.out)["frames"] == 4, outcome.err
    sheet = read_image(tmp_path / "stylized" / "clip-tiny-preview.jpg")
    alone = tmp_path / "alone.mp4"
    assert run("stylize", clip, "-o", alone, "--model", any_size_artifact).code == 0
    with av.open(str(alone)) as container:
        seconds = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)][::25]
    for picture in seconds:
        found = cv2.matchTemplate(sheet, np.asarray(picture, np.uint8), cv2.TM_SQDIFF_NORMED)
        assert found.min() < 0.02


def test_a_preview_of_pictures_is_a_picture(run: Cli, tmp_path: Path, any_size_artifact: Path) -> None:
    for index, size in enumerate(((30, 20), (40, 40))):
        write_image(tmp_path / "pictures" / f"{index}.png", textured(*size))
    outcome = run("stylize", "pictures", "--preview", "--model", any_size_artifact)
    assert outcome.code == 0, outcome.err
    assert files(tmp_path / "stylized") == ["pictures-tiny-preview.jpg"]


def test_a_codec_is_that_of_the_videos_among_the_files(
    run: Cli, tmp_path: Path, archive: Path, any_size_artifact: Path
) -> None:
    words = ("stylize", archive, "-o", tmp_path / "out", "--model", any_size_artifact)
    outcome = run(*words, "--codec", "prores")
    assert outcome.code == 0, outcome.err
    assert files(tmp_path / "out") == [NAME, "a.mov", "deep/b.mov", "deep/deeper/c.jpg"]
    assert "there is no codec 'nothing'" in run(*words, "--codec", "nothing").sentence


def test_a_video_into_a_folder_is_a_file_there(run: Cli, tmp_path: Path, clip: Path, any_size_artifact: Path) -> None:
    (tmp_path / "there").mkdir()
    assert run("stylize", clip, "-o", tmp_path / "there", "--model", any_size_artifact).code == 0
    assert files(tmp_path / "there") == [f"{clip.stem}-tiny.mp4"]


@pytest.mark.parametrize("name", ["a.ts", "a.avi", "a.mkv", "a.mp4"])
@pytest.mark.parametrize("start", [7, 33, 61])
def test_a_start_loses_no_frame_in_any_container(tmp_path: Path, name: str, start: int) -> None:
    clip = make_clip(tmp_path / name, 70)
    with open_source(clip) as source:
        whole = [frame for frame in source if frame.time_s >= start / 25 - 1e-9]
    with open_part(clip, start / 25 - 1e-9) as source:
        frames = list(source)
    assert len(frames) == len(whole) and len(whole) in (70 - start, 71 - start)  # .avi has a time stamp of its own
    assert all(np.array_equal(a.image, b.image) for a, b in zip(frames, whole, strict=True))


def test_a_pattern_needs_no_folder_and_goes_through_links(
    run: Cli, tmp_path: Path, clip: Path, any_size_artifact: Path
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real", target_is_directory=True)
    for pattern in ("%04d.png", "link/%04d.png"):
        outcome = run("stylize", clip, "-o", pattern, "--model", any_size_artifact)
        assert outcome.code == 0, outcome.err
    names = [f"{number:04d}.png" for number in range(1, 13)]
    assert files(tmp_path / "real") == names
    assert sorted(path.name for path in tmp_path.glob("*.png")) == names


def test_no_clobber_reads_a_pattern_as_it_is(refused: Cli, tmp_path: Path, clip: Path, any_size_artifact: Path) -> None:
    (tmp_path / "a[1]0001.png").write_bytes(b"mine")
    words = ("stylize", clip, "-o", "a[1]%04d.png", "--model", any_size_artifact, "--no-clobber")
    assert "exists" in refused(*words).sentence
    assert (tmp_path / "a[1]0001.png").read_bytes() == b"mine"


def test_pictures_in_subfolders_and_parts_of_videos_beside_them(
    run: Cli, tmp_path: Path, archive: Path, any_size_artifact: Path
) -> None:
    words = ("-o", "out", "--model", any_size_artifact)
    assert run("stylize", archive / "deep" / "deeper" / "..", *words, "--start", "0.05").code == 0
    assert files(tmp_path / "out") == [NAME, "b.mp4", "deeper/c.jpg"]
    write_image(tmp_path / "top" / "sub" / "my%20dog.png", textured(20, 20))
    assert run("stylize", "top", "-o", "only", "--model", any_size_artifact).code == 0
    assert files(tmp_path / "only") == [NAME, "sub/my%20dog.png"]


def test_folders_with_a_dot_in_their_names(run: Cli, tmp_path: Path, clip: Path, any_size_artifact: Path) -> None:
    write_image(tmp_path / "pictures" / "a.png", textured(20, 20))
    for name in ("one.v2", "two.v2", "three.v2"):
        (tmp_path / name).mkdir()
    words = ("--model", any_size_artifact)
    assert run("stylize", clip, "-o", "one.v2", *words).code == 0
    assert run("stylize", "pictures", "-o", "two.v2", *words).code == 0
    assert run("stylize", clip, "pictures", "-o", "three.v2", *words).code == 0
    assert files(tmp_path / "one.v2") == [f"{clip.stem}-tiny.mp4"]
    assert files(tmp_path / "two.v2") == ["a.png"]
    assert files(tmp_path / "three.v2") == sorted([NAME, "a.png", clip.name])


def test_a_pattern_into_the_folder_of_the_pictures_is_refused(
    refused: Cli, tmp_path: Path, any_size_artifact: Path
) -> None:
    write_image(tmp_path / "pictures" / "a.png", textured(20, 20))
    words = ("stylize", "pictures", "-o", "pictures/%04d.png", "--model", any_size_artifact)
    assert "lies in the input 'pictures'" in refused(*words).sentence
    assert files(tmp_path / "pictures") == ["a.png"]


def test_many_files_have_a_default_folder_for_each_model(
    run: Cli, tmp_path: Path, archive: Path, any_size_artifact: Path
) -> None:
    assert run("stylize", archive, "--model", any_size_artifact).code == 0
    names = [NAME, "a.mp4", "deep/b.mp4", "deep/deeper/c.jpg"]
    assert files(tmp_path / "stylized" / any_size_artifact.stem) == names
    # A model with a look has a dot in its name, and so may a folder that is not there yet.
    dotted = shutil.copy(any_size_artifact, tmp_path / "tiny-strength0.8-any-fp32.onnx")
    assert run("stylize", archive, "--model", dotted).code == 0
    assert files(tmp_path / "stylized" / "tiny-strength0.8-any-fp32") == names
    assert run("stylize", archive, "-o", "new.v2", "--model", any_size_artifact).code == 0
    assert files(tmp_path / "new.v2") == names


def test_no_clobber_takes_no_folder_for_an_output(
    run: Cli, tmp_path: Path, archive: Path, any_size_artifact: Path
) -> None:
    (tmp_path / "out" / "a.mp4").mkdir(parents=True)
    outcome = run("stylize", archive, "-o", "out", "--model", any_size_artifact, "--no-clobber")
    assert outcome.code == 1 and "2 done, 1 failed" in outcome.out
    assert "out/a.mp4" in outcome.err
