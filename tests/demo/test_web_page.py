"""The page in a real browser: a fake camera in, and on the canvas what ONNX Runtime gives for the same frame."""

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from steadystyle.demo.web.server import PAGE
from steadystyle.runtimes.look import Look
from steadystyle.runtimes.registry import DEFAULT_MODEL, bundled_models, open_stylizer
from steadystyle.tests.browser import Browser, Page, need_chromium
from steadystyle.video.frames import read_frames, write_video
from steadystyle.video.synthetic.harbour import harbour

CAMERA = (640, 360)
FIRST = DEFAULT_MODEL
OTHER = "great-wave"
MINUTES = 240.0  # a busy machine takes its time
LOADED = "steadystyle.figures().ready"


def camera_frames() -> list[NDArray[np.uint8]]:
    scene = harbour(width=CAMERA[0], height=CAMERA[1], frames=8)
    return [scene.frame(t) for t in range(8)]


@contextmanager
def serving(*options: str | Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The command itself, and the origin that it serves at."""
    if not (PAGE / "index.html").is_file():
        pytest.skip("the page is not built: run make web")
    command = [sys.executable, "-m", "steadystyle.cli", "demo", "web", "--port", "0", "--json", *map(str, options)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            text = ""
            while not text.endswith("}\n"):
                line = process.stdout.readline()
                assert line, "it ended"
                text += line
            yield json.loads(text)["url"].rstrip("/"), process
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    need_chromium()
    with serving() as (origin, _):
        yield origin


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def camera_flags(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Chromium's flags for a camera that shows the bundled scene."""
    path = tmp_path_factory.mktemp("camera") / "camera.y4m"
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{CAMERA[0]} H{CAMERA[1]} F30:1 Ip A1:1 C420jpeg\n".encode())
        for frame in camera_frames():
            file.write(b"FRAME\n" + cv2.cvtColor(frame, cv2.COLOR_RGB2YUV_I420).tobytes())
    return [
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-video-capture={path}",
        "--use-fake-ui-for-media-stream",
    ]


@pytest.fixture(scope="module")
def browser(camera_flags: list[str], downloads: Path) -> Iterator[Browser]:
    need_chromium()
    with Browser(*camera_flags, downloads=downloads) as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, origin: str) -> Iterator[Page]:
    """The page with its first style loaded; afterwards, whether it did anything that it should not."""
    page = browser.open(f"{origin}/?engine=wasm", width=390, height=844, touch=True)
    page.wait_for(LOADED, MINUTES)
    yield page
    assert page.errors() == []
    assert page.requests_outside(origin) == []
    assert any(url.endswith(".wasm") for url in page.requests)  # workers' requests are seen
    page.go("about:blank")  # its threads would slow the next


def start_camera(page: Page) -> None:
    page.evaluate("document.getElementById('camera').click()")
    page.wait_for("steadystyle.figures().frames >= 3", MINUTES)


def choose_style(page: Page, name: str) -> None:
    page.evaluate(f"document.querySelector('[value={name}]').click()")
    page.wait_for(f"steadystyle.figures().style === '{name}' && {LOADED}", MINUTES)
    page.wait_for("steadystyle.figures().frames >= 2", MINUTES)


def pixels(text: str, height: int, width: int) -> NDArray[np.uint8]:
    return np.frombuffer(base64.b64decode(text), np.uint8).reshape(height, width, -1)


def frozen(page: Page) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The last frame that went into the network, and what the canvas shows; the page is paused."""
    page.evaluate("document.getElementById('pause').click()")
    page.wait_for("!steadystyle.figures().busy", MINUTES)
    pair = page.evaluate("steadystyle.pair()", MINUTES)
    canvas = page.evaluate(
        """(() => {
            const canvas = document.getElementById('canvas')
            const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data
            let text = ''
            for (const byte of data) text += String.fromCharCode(byte)
            return [canvas.width, canvas.height, btoa(text)]
        })()"""
    )
    width, height = canvas[:2]
    assert (pair["width"], pair["height"]) == (width, height)
    shown = pixels(canvas[2], height, width)
    assert (shown[..., 3] == 255).all()
    return pixels(pair["source"], height, width), shown[..., :3]


def difference(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    return float(np.abs(one.astype(int) - other).mean())


def assert_stylized(source: NDArray[np.uint8], shown: NDArray[np.uint8], model: str | Path) -> None:
    with open_stylizer(model) as stylizer:
        wanted = stylizer(source)
    assert difference(shown, wanted) <= 1.5
    assert difference(shown, source) > 15  # it does show a painting


def test_the_canvas_shows_what_onnx_runtime_gives_for_the_camera(page: Page) -> None:
    start_camera(page)
    figures = page.evaluate("steadystyle.figures()")
    assert figures["fps"] > 0
    assert figures["latencyP90"] >= figures["networkMedian"] > 0
    source, shown = frozen(page)
    assert source.shape == (180, 320, 3)
    small = [cv2.resize(frame, (320, 180), interpolation=cv2.INTER_AREA) for frame in camera_frames()]
    assert min(difference(source, np.asarray(frame, np.uint8)) for frame in small) < 6
    assert_stylized(source, shown, FIRST)

    page.evaluate("document.getElementById('pause').click()")  # goes on
    choose_style(page, OTHER)
    source, shown = frozen(page)
    assert_stylized(source, shown, OTHER)
    with open_stylizer(FIRST) as before:
        assert difference(shown, before(source)) > 10


def test_the_sliders_of_the_look(page: Page) -> None:
    set_look(page, 0.5, 1)
    page.evaluate("document.getElementById('keep-colors').click()")
    start_camera(page)
    source, shown = frozen(page)
    with open_stylizer(FIRST, look=Look(strength=0.5, keep_colors=True)) as stylizer:
        assert difference(shown, stylizer(source)) <= 1.5
    page.evaluate("document.getElementById('keep-colors').click()")
    set_look(page, 1, 2)
    page.evaluate("document.getElementById('pause').click()")  # goes on
    page.wait_for("steadystyle.figures().frames >= 3", MINUTES)
    source, shown = frozen(page)
    with open_stylizer(FIRST) as plain, open_stylizer(FIRST, look=Look(stroke=2)) as stylizer:
        # The browser resizes by filters of its own.
        assert difference(shown, stylizer(source)) < difference(shown, plain(source)) / 2


def set_look(page: Page, strength: float, stroke: float) -> None:
    for name, value in (("strength", strength), ("stroke", stroke)):
        slider = f"document.getElementById('{name}')"
        page.evaluate(f"{slider}.value = {value}")
        page.evaluate(f"{slider}.dispatchEvent(new Event('input'))")
        assert page.evaluate(f"document.getElementById('{name}-value').textContent") == f"{value:g}"


def test_the_steadiness_is_what_it_says(page: Page) -> None:
    start_camera(page)
    page.wait_for("document.getElementById('steadiness').textContent.includes('of 255')", MINUTES)
    for _ in range(20):  # a busy machine's camera shows a frame twice now and then
        still = assert_steadiness(page)
        if still < 1:
            break
        page.evaluate("document.getElementById('pause').click()")  # goes on
        page.wait_for("steadystyle.figures().frames >= 2", MINUTES)
    assert 0.2 < still < 1  # the scene moves, and much of it does not


def assert_steadiness(page: Page) -> float:
    """Hold what the page says of its last pair of frames against their pixels; gives the share that stood still."""
    _, stylized = frozen(page)
    pair = page.evaluate("steadystyle.pair()", MINUTES)
    height, width = stylized.shape[:2]
    source, source_before, stylized_before = (
        pixels(text, height, width).astype(int)
        for text in (pair["source"], pair["before"]["source"], pair["before"]["stylized"])
    )
    change = np.abs(source - source_before)
    still = change.max(axis=2) <= 6
    assert pair["steadiness"]["still"] == pytest.approx(still.mean())
    assert pair["steadiness"]["source"] == pytest.approx(change[still].mean())
    assert pair["steadiness"]["stylized"] == pytest.approx(np.abs(stylized - stylized_before)[still].mean())
    return float(still.mean())


def test_a_recording_and_a_picture_are_saved(page: Page, downloads: Path) -> None:
    start_camera(page)
    page.evaluate("document.getElementById('record').click()")
    assert page.evaluate("document.getElementById('record').getAttribute('aria-pressed')") == "true"
    page.evaluate("new Promise(resolve => setTimeout(resolve, 3000))")
    page.evaluate("document.getElementById('record').click()")
    page.wait_for("document.getElementById('status').textContent.startsWith('Saved')", MINUTES)
    name = page.evaluate("document.querySelector('#status a').download")
    path = wait_for_file(page, downloads / name)
    frames = read_frames(path)
    assert len(frames) >= 2
    assert frames[0].shape == (180, 320, 3)
    _, shown = frozen(page)
    assert min(difference(frame, shown) for frame in frames) < 15  # the same painting, compressed

    page.evaluate("document.getElementById('picture').click()")
    picture = cv2.imread(str(wait_for_file(page, downloads / f"steadystyle-{FIRST}.png")))
    assert picture is not None
    assert difference(np.asarray(picture[..., ::-1], np.uint8), shown) == 0


def wait_for_file(page: Page, path: Path) -> Path:
    for _ in range(200):
        if path.is_file() and path.stat().st_size:
            return path
        page.evaluate("new Promise(resolve => setTimeout(resolve, 100))")
    raise AssertionError(f"{path.name} was not downloaded")


def test_a_portrait_video_file_keeps_its_shape_and_a_bad_one_is_refused(page: Page, tmp_path: Path) -> None:
    frames = [np.ascontiguousarray(np.rot90(frame)) for frame in camera_frames()]
    write_video(tmp_path / "upright.mp4", frames * 4)
    page.choose_file("#file", tmp_path / "upright.mp4")
    page.wait_for("steadystyle.figures().frames >= 3", MINUTES)
    source, shown = frozen(page)
    assert source.shape == (320, 180, 3)
    assert_stylized(source, shown, FIRST)
    (tmp_path / "bad.mp4").write_text("not a video " * 100)
    page.choose_file("#file", tmp_path / "bad.mp4")
    sentence = page.wait_for("document.getElementById('error').textContent")
    assert "choose an MP4" in sentence


def test_it_is_used_by_keyboard_and_read_out_by_name(page: Page) -> None:
    for _ in range(3):
        page.press("Tab", 9)
        if page.evaluate("document.activeElement.id") == "camera":
            break
    assert page.evaluate("document.activeElement.matches(':focus-visible')")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.press("Enter", 13, "\r")
    page.wait_for("steadystyle.figures().frames >= 1", MINUTES)
    page.evaluate("document.querySelector('[name=style]:checked').focus()")
    page.press("ArrowRight", 39)
    names = [model.name for model in bundled_models() if model.name != FIRST]
    second = next(name for name in names if not name.endswith("-huang"))  # the page lists the quick ones first
    assert page.wait_for(f"{LOADED} && steadystyle.figures().style", MINUTES) == second
    tree = page.call("Accessibility.getFullAXTree")["nodes"]
    controls: dict[str, list[str]] = {}
    for node in tree:
        role = node.get("role", {}).get("value")
        if role in ("button", "radio", "combobox", "checkbox", "meter", "image", "Canvas"):
            controls.setdefault(role, []).append(node.get("name", {}).get("value", ""))
    assert all(name for names in controls.values() for name in names), controls
    assert {"Camera", "Pause", "Record", "Save picture"} <= set(controls["button"])
    assert controls["combobox"] == ["Size", "Camera side"]
    assert controls["meter"] == ["Flicker where nothing moves"]
    assert len(controls["radio"]) == len(bundled_models())


@pytest.mark.parametrize(("width", "height"), [(390, 844), (844, 390), (320, 568), (1280, 800)])
def test_nothing_is_cut_off(page: Page, width: int, height: int) -> None:
    page.resize(width, height, touch=True)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    right = "Math.max(...[...document.querySelectorAll('.panel *')].map(e => e.getBoundingClientRect().right))"
    assert page.evaluate(right) <= width
    small = "[...document.querySelectorAll('button, select, .button, fieldset label')]"
    assert page.evaluate(f"Math.min(...{small}.map(e => e.getBoundingClientRect().height))") >= 43


def test_it_works_without_the_server_once_it_was_loaded(browser: Browser) -> None:
    with serving() as (origin, server):
        page = browser.open(f"{origin}/?engine=wasm")
        page.wait_for(LOADED, MINUTES)
        page.evaluate("steadystyle.keep().then(() => new Promise(resolve => setTimeout(resolve, 1000)))", MINUTES)
        server.terminate()
        server.wait(30)
    page.go(f"{origin}/?engine=wasm")
    page.wait_for(LOADED, MINUTES)
    start_camera(page)
    choose_style(page, "the-scream")
    source, shown = frozen(page)
    assert_stylized(source, shown, "the-scream")
    assert page.complaints == []
    page.go("about:blank")


def test_a_model_of_ones_own_with_a_fixed_size(browser: Browser, fixed_size_artifact: Path) -> None:
    with serving("--model", fixed_size_artifact) as (origin, _):
        page = browser.open(f"{origin}/?engine=wasm")
        page.wait_for(LOADED, MINUTES)
        assert page.evaluate("document.getElementById('size').disabled")
        start_camera(page)
        source, shown = frozen(page)
        assert source.shape == (48, 64, 3)
        assert_stylized(source, shown, fixed_size_artifact)
        page.go("about:blank")


def test_a_model_that_went_missing(browser: Browser, any_size_artifact: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.onnx"
    own.write_bytes(any_size_artifact.read_bytes())
    with serving("--model", own) as (origin, _):
        own.unlink()
        page = browser.open(f"{origin}/?engine=wasm")
        sentence = page.wait_for("document.getElementById('error').textContent", MINUTES)
        page.go("about:blank")
    assert "is missing" in sentence


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--use-fake-device-for-media-stream", "--deny-permission-prompts"], "The camera was refused: allow it"),
        (["--use-fake-ui-for-media-stream"], "There is no camera here: choose a video file."),
    ],
)
def test_no_camera(origin: str, flags: list[str], complaint: str) -> None:
    with Browser(*flags) as browser:
        page = browser.open(f"{origin}/?engine=wasm")
        page.wait_for(LOADED, MINUTES)
        page.evaluate("document.getElementById('camera').click()")
        assert complaint in page.wait_for("document.getElementById('error').textContent")
        assert page.errors() == []


def test_a_browser_without_simd(origin: str) -> None:
    with Browser("--js-flags=--no-enable-sse4-1 --no-enable-ssse3 --no-enable-sse3") as browser:
        page = browser.open(origin)
        sentence = page.wait_for("document.getElementById('error').textContent", MINUTES)
    assert "no WebAssembly SIMD" in sentence


def test_the_gpu_gives_the_same(origin: str, camera_flags: list[str]) -> None:
    flags = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-unsafe-swiftshader"]
    with Browser(*camera_flags, *flags, gpu=True) as browser:
        page = browser.open(origin)
        if not page.evaluate("navigator.gpu ? navigator.gpu.requestAdapter().then(Boolean) : false"):
            pytest.skip("this Chromium has no WebGPU adapter, not even in software")
        page.wait_for(LOADED, MINUTES)
        status: Any = page.evaluate("document.getElementById('status').textContent")
        assert status.startswith(f"{FIRST} on WebGPU."), status
        assert page.evaluate("document.getElementById('size').value") == "360"
        # A GPU in software is slow.
        page.evaluate("document.getElementById('size').value = '180'")
        start_camera(page)
        source, shown = frozen(page)
        assert_stylized(source, shown, FIRST)
        assert page.errors() == []
