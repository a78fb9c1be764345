"""The camera demo in a real window, by real keys, on a virtual display."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from steadystyle.benchmarks.measure.latency import MOST_SPREAD, MethodProcess, Subject, spread_of
from steadystyle.runtimes.registry import bundled_models
from steadystyle.tests.demo.conftest import LONG_S, QUICK, textured, wait_for
from steadystyle.video.frames import open_source, read_frames, read_image, write_video


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


def test_the_keys_of_the_look(on_screen: Callable[..., Screen], film: Path) -> None:
    screen = on_screen(film, "--loop", "-m", QUICK, "-o", "out", "--strength", "0.9")
    screen.press("space", "paused")  # a look is shown at once, without a new frame
    screen.press("Down", "| strength0.8 |")
    screen.press("c", "| strength0.8-colors |")
    screen.press("t", "stroke1.5")
    before = screen.screenshot()
    for _ in range(8):
        screen.do("key", "Down")
    screen.press("t", "| strength0-colors-stroke2 |")
    wait_for(lambda: bool(np.abs(screen.screenshot().astype(int) - before).mean() > 2), "the source on both sides")
    assert screen.leave()["notes"] == []


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
