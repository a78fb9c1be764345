"""The live demo on this machine's GStreamer: nothing lost, whatever dies."""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from steadystyle.common.files import InputError
from steadystyle.common.progress import Progress
from steadystyle.demo.jetson import source as gst
from steadystyle.demo.jetson.launch import Ends, board_of, elements_in, load_profiles, source_end
from steadystyle.demo.jetson.process import first_error
from steadystyle.demo.jetson.run import open_best, run_live
from steadystyle.demo.requests import JetsonRequest
from steadystyle.video.frames import open_source, read_frames, write_video
from steadystyle.video.synthetic.harbour import harbour

PACKAGES = [f"gstreamer1.0-{name}" for name in ("tools", "plugins-base", "plugins-good", "plugins-ugly", "libav")]
needs_gstreamer = pytest.mark.skipif(
    shutil.which("gst-launch-1.0") is None,
    reason=f"there is no gst-launch-1.0: apt-get install {' '.join(PACKAGES)}",
)
FOLDER = Path(gst.__file__).parent
MODEL = "the-scream"
SIZE = (64, 48)


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "steadystyle.cli", "demo", "jetson", "--board", "software", "--model", MODEL, *words]


def run(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command(*words), capture_output=True, text=True, check=False, timeout=300)


def child_with(text: str, parent: int) -> int | None:
    """Number of the child process whose command line has this text."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status, line = (folder / "stat").read_text(), (folder / "cmdline").read_bytes().decode()
        except (OSError, UnicodeDecodeError):
            continue
        if int(status.rpartition(")")[2].split()[1]) == parent and text in line:
            return int(folder.name)
    return None


def at(frame: int, act: Callable[[int], None]) -> Progress:
    """Do something to the source's process when so many frames are done, once."""

    def progress(step: str, done: int, total: int | None) -> None:
        if done == frame and (source := child_with("videotestsrc", os.getpid())) is not None:
            act(source)

    return progress


@needs_gstreamer
def test_two_thousand_frames_in_flat_memory_and_again_with_the_source_killed_in_the_middle(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole.mp4", tmp_path / "broken.mp4"
    done = run("--size", "64x48", "--frames", "2000", "--sink", f"file:{whole}", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["frames_in"], result["frames_out"], result["dropped"], result["restarts"]) == (2000, 2000, 0, 0)
    assert result["memory_mib"]["2000"] - result["memory_mib"]["500"] < 8
    assert result["latency_ms"]["median"] > result["stylize_ms"]["median"] > 0

    said: list[str] = []
    report = run_live(
        JetsonRequest(source="test", sink=f"file:{broken}", model=MODEL, board="software", size=SIZE, frames=2000),
        notify=said.append,
        progress=at(1000, lambda source: os.kill(source, signal.SIGKILL)),
    )
    assert (report.frames_in, report.frames_out, report.restarts) == (2000, 2000, 1)
    assert len(said) == 1
    assert "signal 9" in said[0]
    assert report.memory_mib[2000] - report.memory_mib[500] < 8
    # The same 2,000 frames in the same order: each is nearer to its own in the other file than to that one's neighbour.
    first, second = (np.stack(read_frames(path)).astype(np.int16) for path in (whole, broken))
    assert first.shape == second.shape == (2000, 48, 64, 3)
    own = np.abs(first - second).mean(axis=(1, 2, 3))
    neighbour = np.abs(first[1:] - second[:-1]).mean(axis=(1, 2, 3))
    assert own.max() < 0.5
    assert (own[1:] < neighbour).all()


@needs_gstreamer
def test_a_live_source_drops_frames_and_its_recording_keeps_the_pace(tmp_path: Path) -> None:
    report = run_live(
        JetsonRequest(
            source="live-test",
            sink=f"file:{tmp_path / 'out.mp4'}",
            model=MODEL,
            board="software",
            size=SIZE,
            fps=Fraction(20),
            frames=60,
        ),
        progress=lambda step, done, total: time.sleep(0.12),
    )
    assert report.frames_in == 60
    assert report.dropped > 10
    assert report.frames_out == report.frames_in - report.dropped
    # Three seconds of camera are three seconds of video.
    assert len(read_frames(tmp_path / "out.mp4")) == report.frames_out + report.repeated
    assert report.frames_out + report.repeated >= 50


@needs_gstreamer
def test_a_camera_that_hangs_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gst, "STALL_S", 2.0)
    report = run_live(
        JetsonRequest(source="live-test", sink="null", model=MODEL, board="software", size=SIZE, frames=40),
        progress=at(5, lambda source: os.kill(source, signal.SIGSTOP)),
    )
    assert (report.frames_in, report.restarts, report.complete) == (40, 1, True)


@needs_gstreamer
def test_a_source_that_does_not_come_back_ends_the_run_and_the_file_is_whole(tmp_path: Path) -> None:
    flag = tmp_path / "camera"
    flag.touch()

    def unplug(step: str, done: int, total: int | None) -> None:
        if done == 5:
            flag.unlink()

    elements = (
        f"filesrc location={flag} ! fakesink videotestsrc is-live=true num-buffers=10 ! video/x-raw,framerate=30/1"
    )
    report = run_live(
        JetsonRequest(
            sink=f"file:{tmp_path / 'out.mp4'}",
            model=MODEL,
            board="software",
            size=SIZE,
            source_elements=elements,
            live=True,
            restarts=1,
        ),
        progress=unplug,
    )
    assert not report.complete
    assert any("did not come back" in note for note in report.notes)
    assert len(read_frames(tmp_path / "out.mp4")) == report.frames_out + report.repeated > 0


@needs_gstreamer
@pytest.mark.parametrize(
    ("source", "number", "code"),
    [("live-test", signal.SIGINT, 0), ("live-test", signal.SIGTERM, 0), ("test", signal.SIGINT, 130)],
)
def test_ctrl_c_finishes_the_file(tmp_path: Path, source: str, number: int, code: int) -> None:
    out = tmp_path / "out.mp4"
    running = subprocess.Popen(
        command("--source", source, "--size", "64x48", "--sink", f"file:{out}", "--json"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 120
    while child_with("videotestsrc", running.pid) is None and running.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(2)
    running.send_signal(number)
    output, errors = running.communicate(timeout=120)
    assert running.returncode == code, errors
    result = json.loads(output)
    assert result["interrupted"]
    assert len(read_frames(out)) == result["frames_out"] + result["repeated"] > 0
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


@needs_gstreamer
def test_a_file_keeps_all_frames_their_order_rate_and_size(tmp_path: Path) -> None:
    scene = harbour(160, 92)
    frames = [scene.frame(t) for t in range(24)]
    source, out = tmp_path / 'so\'urce "1".mp4', tmp_path / "out put's.mp4"
    write_video(source, frames, 12)
    report = run_live(JetsonRequest(source=f"file:{source}", sink=f"file:{out}", model=MODEL, board="software"))
    assert (report.width, report.height, report.frames_in, report.frames_out) == (160, 92, 24, 24)
    with open_best(MODEL) as stylizer:
        expected = np.stack([stylizer(frame) for frame in frames]).astype(np.int16)
    written = np.stack(read_frames(out)).astype(np.int16)
    distances = np.abs(written[:, None] - expected[None]).mean(axis=(2, 3, 4))
    assert list(distances.argmin(axis=1)) == list(range(24))
    with open_source(out) as clip:
        assert clip.info.frame_rate == 12


@needs_gstreamer
def test_rtp_goes_out() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(30)
        port = receiver.getsockname()[1]
        report = run_live(
            JetsonRequest(
                source="test", sink=f"rtp:127.0.0.1:{port}", model=MODEL, board="software", size=SIZE, frames=30
            )
        )
        packets = [receiver.recv(2048) for _ in range(30)]
    assert report.frames_out == 30
    assert {packet[0] >> 6 for packet in packets} == {2}  # version of RTP
    assert {packet[1] & 0x7F for packet in packets} == {96}
    numbers = [int.from_bytes(packet[2:4]) for packet in packets]
    assert all((after - before) % 2**16 == 1 for before, after in pairwise(numbers))


@needs_gstreamer
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--source", "usb:/dev/video97", "--headless"], "there is no camera /dev/video97"),
        (["--source", "csi:0", "--headless"], "has no source 'csi'"),
        (
            ["--board", "jetson", "--source", "csi:0", "--headless"],
            "no element 'nvarguscamerasrc': it is in nv",
        ),
        (["--board", "toaster"], "there is no board 'toaster': choose one of jetson"),
        (["--sink", "rtp:127.0.0.1:99999"], "a port from 1 to 65535"),
        (["--sink", "rtp:5000"], "no HOST:PORT"),
        (["--sink", "file"], "needs an address"),
        (["--sink", "display"], "there is no display here: give --headless"),
        (["--headless", "--sink", "display"], "exclude each other"),
        (["--headless", "--size", "62x48"], "give --size 64x48"),
        (["--headless", "--model", "nothing-bundled"], "unknown model 'nothing-bundled'"),
        (["--headless", "--source", "file:nowhere.mp4"], "does not exist"),
        (["--headless", "--config", "nowhere.toml"], "there is no file 'nowhere.toml'"),
        (["--headless", "--source-elements", "videotestsrc ! nosuch"], "no element 'nosuch'"),
        (["--headless", "--source-elements", "videotestsrc foo={bar}"], "not understood"),
        (["--headless", "--source-elements", "filesrc location=/nowhere ! decodebin"], "gives no picture"),
        (["--sink-elements", "filesink location=/nowhere/x", "--frames", "9"], "the sink elements failed"),
    ],
)
def test_bad_input_is_one_sentence(words: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    done = run(*words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_source_is_not_written_over(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    write_video(clip, [np.full((48, 64, 3), 90, np.uint8)] * 3)
    before = clip.read_bytes()
    with pytest.raises(InputError, match="is the input: choose another -o"):
        run_live(
            JetsonRequest(
                source=f"file:{clip}",
                sink=f"file:{tmp_path}/../{tmp_path.name}/clip.mp4",
                model=MODEL,
                board="software",
            )
        )
    assert clip.read_bytes() == before
    assert list(tmp_path.iterdir()) == [clip]


def test_without_gstreamer_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"there is no gst-launch-1\.0: apt-get install"):
        run_live(JetsonRequest(source="test", sink="null", model=MODEL, board="software", size=SIZE))


def test_every_profile_makes_words_and_says_where_its_elements_come_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    profiles = load_profiles()
    known = {name for names in profiles["packages"].values() for name in names}
    for name in profiles["boards"]:
        board = board_of(profiles, name)
        makes, ends = Ends(profiles, board, SIZE, Fraction(30)), []
        for kind in board["sources"]:
            address = "/nowhere" if "{address}" in board["sources"][kind]["elements"] else ""
            ends.append(makes.source(kind, address))
        for kind in board["sinks"]:
            ends.append(makes.sink(f"{kind}:127.0.0.1:5000"))
        for end in ends:
            assert set(elements_in(end.words)) <= known
            assert not re.search(r"\{(?!fd\})", " ".join(end.words))
    assert source_end(board_of(profiles, "orin-nano"), None) == ("csi", "0")


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("rtsp://cam/stream", "rtsp://cam/stream"),
        ("rtsp://cam:554/stream", "rtsp://cam:554/stream"),
        ("rtsp://user@cam/stream", "rtsp://user@cam/stream"),
        ("rtsp://user:secret@cam/stream", "rtsp://user:***@cam/stream"),
        ("rtsp://user:se/cr@et@cam:554/stream", "rtsp://user:***@cam:554/stream"),
        ("rtsp://:secret@cam", "rtsp://:***@cam"),
    ],
)
def test_a_password_is_shown_nowhere(address: str, shown: str) -> None:
    profiles = load_profiles()
    ends = Ends(profiles, board_of(profiles, "software"), SIZE, Fraction(30))
    end = ends.source("rtsp", address)
    assert end.name == shown
    assert f"location={address}" in end.words  # GStreamer needs it
    assert ends.sink(address, "appsink").name == shown
    with tempfile.TemporaryFile() as log:
        log.write(f"ERROR: from element /GstPipeline:p/GstRTSPSrc:r: Could not open {address}".encode())
        assert first_error(log) == f"r: Could not open {shown}"
    with pytest.raises(InputError, match="not understood") as refusal:
        ends.source("elements", "", f"rtspsrc location={address} foo={{bar}}")
    assert f"location={shown} foo" in str(refusal.value)


@needs_gstreamer
def test_a_camera_that_does_not_answer_is_told_without_its_password() -> None:
    done = run("--headless", "--source", "rtsp://user:secret@127.0.0.1:1/stream", "--json")
    assert done.returncode == 2
    assert "the source rtsp://user:***@127.0.0.1:1/stream gives no picture" in done.stderr
    assert "secret" not in done.stderr + done.stdout


def test_names_of_elements_are_found_among_the_words() -> None:
    words = (
        "v4l2src device=/dev/video0 ! video/x-raw(memory:NVMM), width=64 ! tee name=t t. ! queue ! t.src_1 ! fakesink"
    )
    assert elements_in(shlex.split(words)) == ["v4l2src", "tee", "queue", "fakesink"]


def test_a_users_profiles_are_read_over_the_bundled(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text('[boards.mine]\nlike = "software"\nsource = "bars"\n[boards.mine.sources.bars]\nelements = "x"\n')
    board = board_of(load_profiles(own), "mine")
    assert set(board["sources"]) > {"bars", "usb", "file"}
    assert board["source"] == "bars"


def test_the_best_provider_here_is_taken() -> None:
    with open_best(MODEL) as stylizer:
        assert "ExecutionProvider" in stylizer.engine
    with pytest.raises(InputError, match="nothing-bundled"):
        open_best("nothing-bundled")


def test_the_service_and_the_container_use_words_that_exist() -> None:
    help_text = subprocess.run(
        command("--help"), capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "200"}
    ).stdout
    service = (FOLDER / "steadystyle-jetson.service").read_text(encoding="utf-8")
    container = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
    start = next(line for line in service.splitlines() if line.startswith("ExecStart="))
    entry = next(line for line in container.splitlines() if line.startswith("ENTRYPOINT"))
    assert "demo jetson" in start
    assert json.loads(entry.removeprefix("ENTRYPOINT "))[-2:] == ["demo", "jetson"]
    options = re.findall(r"(?<= )--[a-z-]+", start)
    assert options
    assert all(option in help_text for option in options)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('[boards.a]\nlike = "b"\n[boards.b]\nlike = "a"\n', "is like itself"),
        ('[boards.a]\nlike = "a"\n', "is like itself"),
        ("boards = 3\n", "it must be a table"),
        ("[boards.a]\nlike = 3\n", "it must be a str"),
        ("[boards.a.sources.x]\nelements = 3\n", "it must be a str"),
        ("[boards.a.sinks]\nx = []\n", "it must be a str"),
        ("[boards.a]\nlikes = 'software'\n", "'likes' is unknown"),
        (f"a = {'[' * 5000}{']' * 5000}\n", "cannot be read as TOML"),
        (f"a = {'9' * 5000}\n", "cannot be read as TOML"),
        ("a = '\ud800'\n", "cannot be read as TOML"),
        ("a = 1\n" * 2, "cannot be read as TOML"),
        ("#" * (1 << 20) + "\n", "cannot be read as TOML"),
    ],
)
def test_hostile_profiles_are_refused(tmp_path: Path, text: str, complaint: str) -> None:
    own = tmp_path / "own.toml"
    own.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(InputError, match=complaint):
        board_of(load_profiles(own), "a")
