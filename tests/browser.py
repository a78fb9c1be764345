"""Drives a headless Chromium for tests, over the DevTools protocol, with nothing but the standard library.

    with Browser() as browser:
        page = browser.open(tmp_path / "report.html")
        page.wait_for("document.readyState === 'complete'")
        assert page.evaluate("document.querySelectorAll('table').length") == 3
        assert page.errors() == []
        assert page.requests_outside() == []
        page.screenshot(tmp_path / "report.png")

Chromium is spoken to through two pipes (``--remote-debugging-pipe``): no port, no WebSocket. What workers and service
workers say and fetch counts as the page's. `need_chromium()` skips a test where there is none.
"""

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--headless=new",
    "--no-sandbox",  # a container's root may not make one; only our own pages are opened
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--metrics-recording-only",
    "--mute-audio",
    "--no-default-browser-check",
    "--no-first-run",
    "--remote-debugging-pipe",
    "about:blank",
]
# Chromium reads commands from descriptor 3 and writes to 4: they are put there in the child, past any other use.
START = (
    "import fcntl, os, sys; "
    "ends = [fcntl.fcntl(int(end), fcntl.F_DUPFD, 10) for end in sys.argv[1:3]]; "
    "[os.dup2(end, place) for end, place in zip(ends, (3, 4))]; "
    "os.execv(sys.argv[3], sys.argv[3:])"
)
WATCHED = ("Runtime.enable", "Log.enable", "Network.enable")


def find_chromium() -> str | None:
    """Path of a Chromium or Chrome on this machine."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def need_chromium() -> str:
    """Path of a Chromium; skips the test where there is none."""
    path = find_chromium()
    if path is None:
        pytest.skip("there is no Chromium: apt-get install chromium")
    return path


class Browser:
    """A headless Chromium with an empty profile.

    Args:
        flags: more of its command line, for instance a fake camera's.
        downloads: folder that takes what pages download.
        gpu: let it use a GPU, or one in software.
    """

    def __init__(self, *flags: str, downloads: Path | None = None, gpu: bool = False) -> None:
        self._profile = tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
        theirs_in, self._to = os.pipe()
        self._from, theirs_out = os.pipe()
        no_gpu = [] if gpu else ["--disable-gpu"]
        command = [need_chromium(), *flags, *no_gpu, *FLAGS, f"--user-data-dir={self._profile.name}"]
        self._process = subprocess.Popen(
            [sys.executable, "-c", START, str(theirs_in), str(theirs_out), *command],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": self._profile.name},
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._read = b""
        self._last = 0
        self._answers: dict[int, dict[str, Any]] = {}
        self._pages: dict[str, Page] = {}  # by session: a page's own and those of its workers
        if downloads is not None:
            self.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(downloads))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End Chromium and remove its profile."""
        os.close(self._to)  # it leaves when nobody can command it any more
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._from)
        self._profile.cleanup()

    def open(self, address: str | Path, *, width: int = 1280, height: int = 800, touch: bool = False) -> "Page":
        """Open a page in a window of its own.

        Args:
            address: URL, or a file.
            width: of the window's inside, in CSS pixels.
            height: likewise.
            touch: be a phone: a touch screen, two device pixels to a CSS pixel, the page's own viewport.
        """
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session)
        self._watch(page, session)
        page.call("Page.enable")
        page.resize(width, height, touch=touch)
        page.go(address)
        return page

    def call(self, method: str, session: str | None = None, timeout: float = 60, **parameters: Any) -> dict[str, Any]:
        """Send a command of the DevTools protocol and wait for its answer.

        Raises:
            RuntimeError: Chromium refuses the command, ended, or does not answer in `timeout` seconds.
        """
        number = self._send(method, session, parameters)
        deadline = time.monotonic() + timeout
        while number not in self._answers:
            if not self._receive(deadline - time.monotonic()):
                raise RuntimeError(f"Chromium did not answer {method} in {timeout} s")
        answer = self._answers.pop(number)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        result: dict[str, Any] = answer["result"]
        return result

    def listen(self) -> None:
        """Take in what Chromium has said by now."""
        while self._receive(0.05):
            pass

    def _send(self, method: str, session: str | None, parameters: Mapping[str, Any]) -> int:
        self._last += 1
        message = {"id": self._last, "method": method, "params": parameters}
        text = json.dumps(message if session is None else {**message, "sessionId": session})
        data = memoryview(text.encode() + b"\0")
        while data:
            data = data[os.write(self._to, data) :]
        return self._last

    def _receive(self, seconds: float) -> bool:
        """Read once and take in all whole messages; False where nothing came."""
        if not select.select([self._from], [], [], max(0, seconds))[0]:
            return False
        data = os.read(self._from, 1 << 20)
        if not data:
            raise RuntimeError(f"Chromium ended (exit code {self._process.wait(10)})")
        *messages, self._read = (self._read + data).split(b"\0")
        for text in messages:
            message = json.loads(text)
            if "id" in message:
                self._answers[message["id"]] = message
            elif page := self._pages.get(message.get("sessionId", "")):
                self._take_event(page, message["sessionId"], message["method"], message["params"])
        return True

    def _take_event(self, page: "Page", session: str, method: str, parameters: dict[str, Any]) -> None:
        if method == "Target.attachedToTarget":  # a worker, which waits for us
            self._watch(page, parameters["sessionId"])
            self._send("Runtime.runIfWaitingForDebugger", parameters["sessionId"], {})
        elif method == "Network.requestWillBeSent":
            page.requests.append(parameters["request"]["url"])
        elif method == "Network.webSocketCreated":
            page.requests.append(parameters["url"])
        elif method == "Runtime.exceptionThrown":
            details = parameters["exceptionDetails"]
            page.complaints.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Runtime.consoleAPICalled":
            words = (str(word.get("value", word.get("description", word["type"]))) for word in parameters["args"])
            page.console.append((parameters["type"], " ".join(words)))
        elif method == "Log.entryAdded":
            entry = parameters["entry"]
            page.console.append((entry["level"], f"{entry['text']} {entry.get('url', '')}".rstrip()))

    def _watch(self, page: "Page", session: str) -> None:
        self._pages[session] = page
        for method in WATCHED:
            self._send(method, session, {})
        attach = {"autoAttach": True, "waitForDebuggerOnStart": True, "flatten": True}
        self._send("Target.setAutoAttach", session, attach)


class Page:
    """One open page.

    Attributes:
        requests: every URL that it and its workers asked for, in order.
        console: kind ("log", "warning", "error", ...) and text of everything on its console.
        complaints: exceptions that nothing caught.
    """

    def __init__(self, browser: Browser, session: str) -> None:
        self.requests: list[str] = []
        self.console: list[tuple[str, str]] = []
        self.complaints: list[str] = []
        self._browser = browser
        self._session = session

    def call(self, method: str, timeout: float = 60, **parameters: Any) -> dict[str, Any]:
        """Send a command of the DevTools protocol to this page."""
        return self._browser.call(method, self._session, timeout, **parameters)

    def go(self, address: str | Path) -> None:
        """Go to a URL or file, and wait until it and what it names is loaded.

        Raises:
            RuntimeError: there is nothing at this address.
        """
        url = address.resolve().as_uri() if isinstance(address, Path) else address
        error = self.call("Page.navigate", url=url).get("errorText")
        if error:
            raise RuntimeError(f"{url}: {error}")
        self.wait_for("document.readyState === 'complete'")

    def resize(self, width: int, height: int, *, touch: bool = False) -> None:
        """Give the window's inside this size in CSS pixels (`touch`: see `Browser.open`)."""
        scale = 2 if touch else 1
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=touch
        )
        self.call("Emulation.setTouchEmulationEnabled", enabled=touch)

    def evaluate(self, expression: str, timeout: float = 60) -> Any:
        """Value of a JavaScript expression; of a promise, what it resolves to.

        Raises:
            RuntimeError: it throws.
        """
        answer = self.call(
            "Runtime.evaluate",
            timeout,
            expression=expression,
            awaitPromise=True,
            returnByValue=True,
            userGesture=True,
        )
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise RuntimeError(details.get("exception", {}).get("description", details["text"]))
        return answer["result"].get("value")

    def wait_for(self, expression: str, timeout: float = 60) -> Any:
        """Evaluate until the value is true, and return it.

        Raises:
            TimeoutError: it is not in `timeout` seconds; with the page's errors.
        """
        deadline = time.monotonic() + timeout
        while not (value := self.evaluate(expression, timeout)):
            if time.monotonic() > deadline:
                raise TimeoutError(f"not in {timeout} s: {expression}; the page's errors: {self.errors()}")
            time.sleep(0.05)
        return value

    def press(self, key: str, code: int, text: str = "") -> None:
        """Press a key, for instance ``press("Tab", 9)`` or ``press("Enter", 13, "\\r")``."""
        key_event: dict[str, Any] = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **key_event)
        self.call("Input.dispatchKeyEvent", type="keyUp", **key_event)

    def choose_file(self, selector: str, path: Path) -> None:
        """Choose a file in the file input that a CSS selector finds."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path.resolve())])

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        """Save what is seen as PNG; with `whole` all of the page, beyond the window too."""
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))

    def errors(self) -> list[str]:
        """What went wrong until now: exceptions, console.error, failed assertions, resources that did not load."""
        self._browser.listen()
        return [*self.complaints, *(text for kind, text in self.console if kind in ("error", "assert"))]

    def requests_outside(self, *origins: str) -> list[str]:
        """What was asked for elsewhere than at these origins (``http://127.0.0.1:8000``), in files or in the page."""
        self._browser.listen()
        inside = (*(f"{origin}/" for origin in origins), "file:", "data:", "blob:", "about:")
        return [url for url in self.requests if not url.startswith(inside)]
