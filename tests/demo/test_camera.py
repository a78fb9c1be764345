import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from steadystyle import cli
from steadystyle.benchmarks.measure.latency import MOST_SPREAD, MethodProcess, Subject, spread_of
from steadystyle.common.files import InputError
from steadystyle.demo.camera.recorder import Recorder
from steadystyle.demo.camera.report import Meter
from steadystyle.demo.camera.session import run_camera
from steadystyle.demo.camera.source import Capture
from steadystyle.demo.camera.styles import Styles, model_names
from steadystyle.demo.camera.view import compose
from steadystyle.runtimes.registry import DEFAULT_MODEL, bundled_models, open_stylizer
from steadystyle.runtimes.stylizer import Stylizer
from steadystyle.video.frames import open_source, read_frames, read_image, write_video

QUICK = "great-wave"
LONG_S = 300  # for a machine that does other things at the same time


def textured(width: int, height: int, shift: int = 0) -> NDArray[np.uint8]:
    noise = np.random.default_rng(0).integers(0, 256, (height // 8 + 1, width // 8 + 9, 3), np.uint8)
    return np.ascontiguousarray(noise.repeat(8, axis=0).repeat(8, axis=1)[:height, shift : shift + width])


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """A second of 160x90 at 25 frames a second."""
    path = tmp_path / "film.mp4"
    write_video(path, [textured(160, 90, t) for t in range(25)], 25)
    return path


@pytest.fixture
def unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    """SDL's driver without a screen: windows open, nobody sees them."""
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")


def wait_for(condition: Callable[[], bool], what: str, limit_s: float = LONG_S) -> None:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < limit_s, f"waited {limit_s} s for {what}"
        time.sleep(0.05)


# --- the newest frame


def test_a_slow_taker_gets_the_newest_frame_and_the_others_are_counted(tmp_path: Path) -> None:
    write_video(tmp_path / "film.mp4", [np.full((48, 64, 3), 2 * t, np.uint8) for t in range(100)], 100)
    with Capture(str(tmp_path / "film.mp4"), height=48) as capture:
        taken = []
        while not capture.ended:
            frame = capture.take(0.2)
            if frame is not None:
                taken.append(frame)
                time.sleep(0.15)
        last = capture.take(0)
    taken += [last] if last is not None else []
    assert capture.received == 100
    assert capture.dropped == 100 - len(taken) > 50
    shades = [float(frame.image.mean()) for frame in taken]
    assert shades == sorted(shades) and shades[-1] > 190
    # Each was new when it was taken: it came while the one before was being looked at, not in a queue behind it.
    assert np.median(np.diff([frame.time_s for frame in taken])) > 0.1


def test_a_file_is_played_at_its_own_pace_and_again(film: Path) -> None:
    with Capture(str(film), height=90, loop=True) as capture:
        began = time.monotonic()
        while capture.received < 60:
            capture.take(1)
        seconds = time.monotonic() - began
    assert seconds > 60 / 25 * 0.9
    assert capture.reopened == 0 and not any(thread.name == "capture" for thread in threading.enumerate())


def test_a_source_that_vanishes_is_waited_for_and_taken_up_again(film: Path, tmp_path: Path) -> None:
    with Capture(str(film), height=90, loop=True) as capture:
        wait_for(lambda: capture.take(0.1) is not None, "a frame")
        film.rename(tmp_path / "elsewhere")
        wait_for(lambda: "film.mp4 is gone" in capture.trouble, "the loss")
        before = capture.received
        assert capture.reopened == 0 and not capture.ended
        # It comes back another one: larger, and it is made to fit.
        write_video(tmp_path / "new.mp4", [textured(320, 180, t) for t in range(25)], 25)
        (tmp_path / "new.mp4").rename(film)
        wait_for(lambda: capture.received > before + 3, "frames")
        frame = capture.take(1)
    assert frame is not None and frame.image.shape == (90, 160, 3)
    assert capture.reopened == 1


def test_a_file_that_is_not_looped_ends(film: Path, unseen: None, tmp_path: Path) -> None:
    result = run_camera(str(film), tmp_path / "out", models=[QUICK])
    assert result.received == 25 and result.shown + result.dropped in (24, 25)


# --- its parts


def test_the_meter_leaves_the_warm_up_out_and_forgets_what_is_old() -> None:
    meter = Meter()
    for index in range(5):
        meter.add(index / 10, 1000.0)
    assert "ms" in meter.recent() and meter.result("a", "b").median_ms is None
    for index in range(10):
        meter.add(1 + index / 10, 10.0)
    for index in range(11):
        meter.add(5 + index / 10, 20.0 + index)
    assert meter.recent() == "25.0 ms median, 29.0 p90"
    result = meter.result("a", "b")
    assert (result.frames, result.median_ms) == (21, 20.0)


def test_a_recording_has_the_times_of_the_clock(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "out", None)
    recorder.start(10.0)
    for moment in (10.02, 10.1, 10.5):
        recorder.add(textured(64, 48), moment)
    path = recorder.stop(12.0)
    assert path is not None and recorder.files == [path]
    with open_source(path) as source:
        times = [frame.time_s for frame in source]
        assert source.info.duration_s == pytest.approx(2.0, abs=0.01)
    assert times == pytest.approx([0, 0.1, 0.5, 1.96], abs=0.001)  # the last picture stands until the end


def test_a_picture_of_another_size_begins_another_recording(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "out", None)
    recorder.start(0.0)
    for index in range(6):
        recorder.add(textured(64 if index < 3 else 80, 48), index / 10)
    recorder.stop(0.6)
    assert [read_frames(path)[0].shape for path in recorder.files] == [(48, 64, 3), (48, 80, 3)]


def test_a_recording_without_a_frame_leaves_nothing(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "out", None)
    recorder.start(0.0)
    assert recorder.stop(1.0) is None
    assert list(tmp_path.iterdir()) == []


def test_the_views() -> None:
    source, stylized = np.zeros((4, 8, 3), np.uint8), np.full((4, 8, 3), 100, np.uint8)
    assert compose(source, stylized, "full", 0.5) is stylized
    assert compose(source, stylized, "side by side", 0.1)[0, :, 0].tolist() == [0] * 8 + [100] * 8
    assert compose(source, stylized, "split", 0.5)[0, :, 0].tolist() == [0, 0, 0, 255, 255, 100, 100, 100]
    assert compose(source, stylized, "split", 0.0)[0, :, 0].tolist() == [255] + [100] * 7
    assert compose(source, stylized, "split", 1.0)[0, :, 0].tolist() == [0] * 7 + [255]
    assert stylized.min() == 100


def test_the_models_asked_for_come_first() -> None:
    bundled = [model.name for model in bundled_models()]
    assert model_names([])[0] == DEFAULT_MODEL
    assert sorted(model_names([])) == sorted(bundled)
    assert model_names(["udnie", "mine.onnx"])[:2] == ["udnie", "mine.onnx"]
    assert sorted(model_names(["udnie"])) == sorted(bundled)


def test_the_model_before_runs_until_the_next_is_open() -> None:
    may_open = threading.Event()

    def slowly(name: str) -> Stylizer:
        if name != QUICK:
            assert may_open.wait(LONG_S)
        return open_stylizer(name)

    with Styles([QUICK, "udnie", "nowhere.onnx"], slowly) as styles:
        styles.step(1)
        assert not styles.update() and not styles.update()
        assert styles.awaited == "udnie" and styles.stylizer.metadata.name == QUICK
        may_open.set()
        wait_for(styles.update, "the other model")
        assert styles.stylizer.metadata.name == "udnie" and styles.awaited == ""
        styles.choose(2)
        with pytest.raises(InputError, match=r"nowhere\.onnx"):
            wait_for(styles.update, "the error")
        assert (styles.stylizer.metadata.name, styles.awaited) == ("udnie", "")
        styles.step(-1)
        assert styles.update(), "it was open already"
    assert not any(thread.name.startswith("open-model") for thread in threading.enumerate())


# --- the whole, without a screen


@pytest.mark.parametrize(
    ("size", "height", "shown"), [((90, 160), 64, (36, 64)), ((3840, 2160), 90, (160, 90))], ids=["portrait", "4K"]
)
def test_a_large_source_is_made_smaller(
    tmp_path: Path, unseen: None, size: tuple[int, int], height: int, shown: tuple[int, int]
) -> None:
    film = tmp_path / "film.mkv"
    write_video(film, [textured(*size)] * 2)
    result = run_camera(str(film), tmp_path / "out", models=[QUICK], height=height, loop=True, frames=2)
    assert (result.width, result.height, result.shown) == (*shown, 2)
    assert not (tmp_path / "out").exists()


def test_a_grey_source_of_odd_size(tmp_path: Path, unseen: None) -> None:
    with av.open(str(tmp_path / "grey.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25, width=63, height=47)
        stream.pix_fmt = "gray"
        for _ in range(3):
            image = np.random.default_rng(0).integers(0, 256, (47, 63), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="gray")))
        container.mux(stream.encode(None))
    result = run_camera(str(tmp_path / "grey.mkv"), tmp_path / "out", models=[QUICK], loop=True, frames=3)
    assert (result.width, result.height, result.shown) == (63, 47, 3)


def resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc to read memory from")
def test_memory_stays_flat_and_no_thread_is_left(tmp_path: Path, unseen: None) -> None:
    write_video(tmp_path / "film.mp4", [textured(320, 180, t % 8) for t in range(50)], 200)
    before = set(threading.enumerate())
    memory = []
    for frames in (60, 300):
        result = run_camera(
            str(tmp_path / "film.mp4"), tmp_path / "out", models=[QUICK], loop=True, frames=frames, height=180
        )
        memory.append(resident_mib())
        assert result.shown == frames
    assert set(threading.enumerate()) == before
    # 240 frames more of 320x180, source and stylized, would be 80 MiB.
    assert memory[1] - memory[0] < 20, memory


# --- refused


Refused = Callable[..., str]


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Refused:
    """Runs `demo camera`, which must be refused; the one sentence it leaves on stderr."""
    monkeypatch.chdir(tmp_path)
    terminated = signal.getsignal(signal.SIGTERM)

    def run(*arguments: object) -> str:
        there = sorted(tmp_path.rglob("*"))
        capfd.readouterr()
        with pytest.raises(SystemExit) as leaving:
            cli.main(["demo", "camera", *map(str, arguments)])
        signal.signal(signal.SIGTERM, terminated)
        out, err = capfd.readouterr()
        assert (leaving.value.code, out) == (2, ""), err
        assert len(err.strip().splitlines()) == 1, err
        assert sorted(tmp_path.rglob("*")) == there
        return err

    return run


def test_a_camera_that_is_not_there(refused: Refused, unseen: None) -> None:
    assert "camera 77 gives no picture" in refused("77", "-m", QUICK)
    assert "camera 77 gives no picture" in refused("/dev/video77", "-m", QUICK)


@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="only root can make a device file: run the tests as root"
)
def test_a_camera_that_may_not_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")  # where any user may look
    device = Path("/dev/video77")
    try:
        os.mknod(device, 0o020600, os.makedev(81, 77))
    except PermissionError:
        pytest.skip("there is no right to make a device file here: run the tests outside of a container")
    try:
        os.seteuid(65534)
        with pytest.raises(InputError, match="may not be opened, so `sudo usermod -aG video"):
            open_source("77")
    finally:
        os.seteuid(0)
        device.unlink()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux may lack a display")
def test_no_display(refused: Refused, monkeypatch: pytest.MonkeyPatch, film: Path) -> None:
    for name in ("SDL_VIDEODRIVER", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert "no window can be opened (neither DISPLAY" in refused(film, "-m", QUICK)
    monkeypatch.setenv("DISPLAY", ":12345")
    assert "no window can be opened (x11 not available)" in refused(film, "-m", QUICK)


def test_bad_models_and_outputs(refused: Refused, unseen: None, film: Path) -> None:
    assert "unknown model 'monet'" in refused(film, "-m", "monet")
    assert "choose another output path" in refused(film, "-m", QUICK, "-o", film)


def test_without_pygame_the_extra_is_named(refused: Refused, monkeypatch: pytest.MonkeyPatch, film: Path) -> None:
    for name in [name for name in sys.modules if name.startswith(("pygame", "steadystyle.demo."))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pygame", None)
    assert "pip install 'steadystyle[camera]'" in refused(film)


# --- on a screen, with real keys


class Screen:
    """A demo on a display of its own; keys go through the X server as those of a keyboard do."""

    def __init__(self, display: str, folder: Path, *arguments: object) -> None:
        self._env = {**os.environ, "DISPLAY": display, "SDL_VIDEODRIVER": "x11", "LC_ALL": "C.UTF-8"}
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-m", "steadystyle.cli", "demo", "camera", *map(str, arguments), "--json"],
            env=self._env,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_for(lambda: "fps" in self.title(), "the window")
        self.do("windowfocus", "--sync", self.window())

    def window(self) -> str:
        assert self.process.poll() is None, self.process.communicate()[1]
        return self.do("search", "--pid", str(self.process.pid), check=False).strip()

    def do(self, *words: str, check: bool = True) -> str:
        return subprocess.run(["xdotool", *words], env=self._env, check=check, capture_output=True, text=True).stdout

    def title(self) -> str:
        window = self.window()
        return self.do("getwindowname", window, check=False) if window else ""

    def press(self, key: str, until: str = "", gone: str = "") -> float:
        """Press a key and wait until the title bar has a text, or has one no more; the time when it was so."""
        self.do("key", key)
        wait_for(lambda: until in self.title() and not (gone and gone in self.title()), f"'{until}' after {key}")
        return time.monotonic()

    def screenshot(self) -> NDArray[np.uint8]:
        path = self.folder / "screen.png"
        subprocess.run(["import", "-window", self.window(), str(path)], env=self._env, check=True)
        return read_image(path)

    def leave(self, key: str = "q") -> dict[str, Any]:
        self.do("key", key)
        return self.result()

    def result(self) -> dict[str, Any]:
        out, err = self.process.communicate(timeout=LONG_S)
        assert self.process.returncode == 0, err
        result = json.loads(out)
        assert isinstance(result, dict)
        return result


@pytest.fixture
def on_screen(tmp_path: Path) -> Iterator[Callable[..., Screen]]:
    for tool, package in (("Xvfb", "xvfb"), ("xdotool", "xdotool"), ("import", "imagemagick")):
        if shutil.which(tool) is None:
            pytest.skip(f"there is no {tool}: apt-get install {package}")
    reading, writing = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writing), "-screen", "0", "800x500x24", "-nolisten", "tcp"],
        pass_fds=[writing],
        stderr=subprocess.DEVNULL,
    )
    os.close(writing)
    with os.fdopen(reading) as pipe:
        display = f":{pipe.readline().strip()}"
    screens = []

    def start(*arguments: object) -> Screen:
        screens.append(Screen(display, tmp_path, *arguments))
        return screens[-1]

    try:
        yield start
    finally:
        for screen in screens:
            if screen.process.poll() is None:
                screen.process.kill()
                screen.process.communicate()
        server.terminate()
        server.wait()


def test_the_keys(on_screen: Callable[..., Screen], film: Path, tmp_path: Path) -> None:
    screen = on_screen(film, "--loop", "-m", QUICK, "-o", "out")
    assert QUICK in screen.title()
    # The picture is on the screen, and its right half is another than its left.
    wait_for(lambda: bool(screen.screenshot().std() > 20), "a picture")
    # A recording of the split view, and one side by side: as long as they ran, each in its size.
    lengths = []
    for view in ("split", "side by side"):
        began = screen.press("r", f"{view} | recording")
        time.sleep(3)
        lengths.append(screen.press("r", gone="recording") - began)
        screen.press("s", "full" if view == "split" else "split")
        if view == "split":
            screen.press("s", "side by side")
    screen.press("2", "great-wave-huang |")
    screen.press("Right", bundled_models()[2].name)
    screen.press("Left", "great-wave-huang |")
    # The divider follows the mouse, and a saved picture has it there.
    width, height = screen.screenshot().shape[1::-1]
    screen.do("mousemove", "--window", screen.window(), str(width // 4), str(height // 2), "click", "1")
    screen.do("key", "p")
    wait_for(lambda: bool(list((tmp_path / "out").glob("*.png"))), "the picture")
    screen.press("space", "paused")
    # The picture stands still, below the panel and the message; then the help covers its middle.
    below = slice(round(0.65 * height), round(0.85 * height))
    before = screen.screenshot()
    time.sleep(0.5)
    assert np.array_equal(before[below], screen.screenshot()[below])
    screen.do("key", "h")
    wait_for(lambda: not np.array_equal(before[below], screen.screenshot()[below]), "the help")
    screen.press("space", gone="paused")
    result = screen.leave("Escape")

    files = [tmp_path / name for name in result["files"]]
    recordings = [path for path in files if path.suffix == ".mp4"]
    assert [read_frames(path)[0].shape for path in recordings] == [(90, 160, 3), (90, 320, 3)]
    for path, length in zip(recordings, lengths, strict=True):
        with open_source(path) as source:
            assert source.info.duration_s == pytest.approx(length, rel=0.2, abs=1)
    (picture,) = (read_image(path) for path in files if path.suffix == ".png")
    assert picture.shape == (90, 160, 3) and picture[:, 39:41].min() == 255
    assert 0 <= result["received"] - result["shown"] - result["dropped"] - result["paused"] <= 1
    assert result["paused"] > 0
    assert {model["model"] for model in result["models"]} >= {QUICK, "great-wave-huang"}


def test_a_camera_that_vanishes_and_ctrl_c_in_a_recording(
    on_screen: Callable[..., Screen], film: Path, tmp_path: Path
) -> None:
    screen = on_screen(film, "--loop", "-m", QUICK, "-o", "out")
    film.rename(tmp_path / "elsewhere")
    wait_for(lambda: "film.mp4 is gone: waiting for it" in screen.title(), "the loss")
    (tmp_path / "elsewhere").rename(film)
    wait_for(lambda: "gone" not in screen.title(), "the return")
    screen.press("r", "recording")
    time.sleep(2)
    screen.process.send_signal(signal.SIGINT)
    result = screen.result()
    assert result["reopened"] == 1
    (recording,) = result["files"]
    assert len(read_frames(tmp_path / recording)) > 2
    assert [path.name for path in (tmp_path / "out").iterdir()] == [Path(recording).name]


@pytest.mark.parametrize(("model", "threads"), [("great-wave-huang", 2), (QUICK, 1)])
def test_its_latency_is_that_of_the_benchmark(
    on_screen: Callable[..., Screen], tmp_path: Path, model: str, threads: int
) -> None:
    images = [textured(640, 360, t) for t in range(25)]
    write_video(tmp_path / "film.mp4", images, 25)
    np.save(tmp_path / "frames.npy", np.stack(images[:8]))
    screen = on_screen(tmp_path / "film.mp4", "--loop", "-m", model, "--threads", threads)
    screen.press("space", "paused")
    rounds: list[list[float]] = []
    with MethodProcess(Subject(model, "artifact", model)) as benchmark:
        benchmark.ask("open", kind="artifact", file=model, threads=threads, frames=str(tmp_path / "frames.npy"))
        for number in range(6):  # in turns, so that both have the same machine
            screen.press("space", gone="paused")
            time.sleep(3)  # a slow machine shows two frames a second
            screen.press("space", "paused")
            rounds.append(benchmark.ask("time", warm_up=5 if number == 0 else 1, frames=25, seconds=1)["ms"])
    (latency,) = screen.leave()["models"]
    if spread_of(rounds) > MOST_SPREAD:
        pytest.skip(f"the machine is too noisy: the benchmark's own rounds spread by {spread_of(rounds):.0%}")
    assert latency["frames"] > 20
    assert latency["median_ms"] == pytest.approx(np.median(np.concatenate(rounds)), rel=0.2)
