"""The browser that other tests look through: what it must not miss."""

from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import cv2
import pytest

from steadystyle.tests.browser import Browser, need_chromium


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    need_chromium()
    with Browser() as browser:
        yield browser


def test_a_file_is_opened_and_pictured(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<title>hello</title><body style='background: rgb(200, 0, 0)'>")
    page = browser.open(tmp_path / "page.html", width=320, height=200)
    assert page.evaluate("document.title") == "hello"
    assert page.evaluate("Promise.resolve([innerWidth, 1.5, null])") == [320, 1.5, None]
    assert page.errors() == []
    assert page.requests_outside() == []
    page.screenshot(tmp_path / "page.png")
    picture = cv2.imread(str(tmp_path / "page.png"))
    assert picture is not None
    assert picture.shape == (200, 320, 3)
    assert picture[100, 100].tolist() == [0, 0, 200]
    with pytest.raises(RuntimeError, match="no such thing"):
        page.evaluate("(() => { throw new Error('no such thing') })()")


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ("throw new Error('thrown')", "thrown"),
        ("Promise.reject(new Error('rejected'))", "rejected"),
        ("console.error('said', 3)", "said 3"),
        ("let = = 1", "SyntaxError"),
        ("new Worker(URL.createObjectURL(new Blob(['nowhere()'])))", "nowhere is not defined"),
    ],
)
def test_an_error_is_found(browser: Browser, tmp_path: Path, script: str, complaint: str) -> None:
    (tmp_path / "page.html").write_text(f"<script>{script}</script>")
    page = browser.open(tmp_path / "page.html")
    page.evaluate("new Promise(resolve => setTimeout(resolve, 500))")
    assert complaint in " ".join(page.errors())


def test_a_request_elsewhere_is_found(browser: Browser, tmp_path: Path) -> None:
    # Both origins are our own: what is "elsewhere" is the one that was not named.
    (tmp_path / "worker.js").write_text("fetch(name).then(() => postMessage('done'), () => postMessage('done'))")
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]
        here, there = f"http://127.0.0.1:{port}", f"http://localhost:{port}"
        (tmp_path / "page.html").write_text(
            f"<img src='{there}/image.png'><script>"
            f"new Worker('worker.js', {{name: '{there}/worker.js'}}).onmessage = () => document.title = 'done'"
            "</script>"
        )
        page = browser.open(f"{here}/page.html")
        page.wait_for("document.title === 'done'")
        server.shutdown()
    assert sorted(page.requests_outside(here)) == [f"{there}/image.png", f"{there}/worker.js"]
    assert f"{here}/worker.js" in page.requests
    assert page.requests_outside(here, there) == []


def test_an_address_with_nothing_there_is_an_error(browser: Browser, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="ERR_FILE_NOT_FOUND"):
        browser.open(tmp_path / "missing.html")
