"""The camera demo without its window: newest frame, recordings, styles, refusals."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from steadystyle import cli
from steadystyle.common.files import InputError
from steadystyle.demo.camera.recorder import Recorder
from steadystyle.demo.camera.report import Meter
from steadystyle.demo.camera.session import run_camera
from steadystyle.demo.camera.source import Capture
from steadystyle.demo.camera.styles import Styles, model_names
from steadystyle.demo.camera.view import compose
from steadystyle.demo.requests import CameraRequest
from steadystyle.runtimes.registry import DEFAULT_MODEL, bundled_models, open_stylizer
from steadystyle.runtimes.stylizer import Stylizer
from steadystyle.tests.demo.conftest import LONG_S, QUICK, textured, wait_for
from steadystyle.video.frames import open_source, read_frames, write_video


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
    result = run_camera(CameraRequest(source=str(film), output=tmp_path / "out", models=(QUICK,)))
    assert result.received == 25 and result.shown + result.dropped in (24, 25)


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


@pytest.mark.parametrize(
    ("size", "height", "shown"), [((90, 160), 64, (36, 64)), ((3840, 2160), 90, (160, 90))], ids=["portrait", "4K"]
)
def test_a_large_source_is_made_smaller(
    tmp_path: Path, unseen: None, size: tuple[int, int], height: int, shown: tuple[int, int]
) -> None:
    film = tmp_path / "film.mkv"
    write_video(film, [textured(*size)] * 2)
    result = run_camera(
        CameraRequest(source=str(film), output=tmp_path / "out", models=(QUICK,), height=height, loop=True, frames=2)
    )
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
    result = run_camera(
        CameraRequest(source=str(tmp_path / "grey.mkv"), output=tmp_path / "out", models=(QUICK,), loop=True, frames=3)
    )
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
            CameraRequest(
                source=str(tmp_path / "film.mp4"),
                output=tmp_path / "out",
                models=(QUICK,),
                loop=True,
                frames=frames,
                height=180,
            )
        )
        memory.append(resident_mib())
        assert result.shown == frames
    assert set(threading.enumerate()) == before
    # 240 frames more of 320x180, source and stylized, would be 80 MiB.
    assert memory[1] - memory[0] < 20, memory


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
