"""The server of the page: what it gives, and what it refuses."""

import asyncio
import http.client
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

import cv2
import numpy as np
import pytest
from starlette.responses import PlainTextResponse

from steadystyle.common.files import InputError
from steadystyle.demo.web.certificate import tls_context
from steadystyle.demo.web.guard import Guard
from steadystyle.demo.web.limits import Listener
from steadystyle.demo.web.server import PAGE, Address, build_app, build_server, serve, served_models
from steadystyle.runtimes.registry import bundled_models

TOKEN = "a-token-for-this-test"

UNCHECKED = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
UNCHECKED.check_hostname, UNCHECKED.verify_mode = False, ssl.CERT_NONE


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def sentence(self) -> str:
        text = self.body.decode().strip()
        assert text.endswith(".")
        assert "\n" not in text
        return text


@dataclass
class Served:
    """A server in a thread, on a page folder that has a secret beside it."""

    port: int

    def ask(self, path: str, method: str = "GET", *, body: bytes | None = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with closing(connection):
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.putrequest(method, path, skip_host="host" in named, skip_accept_encoding=True)
            if body is not None:
                named.setdefault("content-length", str(len(body)))
            for name, value in named.items():
                connection.putheader(name, value)
            connection.endheaders(body)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())


@contextmanager
def running(folder: Path, token: str | None) -> Iterator[Served]:
    page = folder / "page"
    (page / "assets").mkdir(parents=True)
    (page / "index.html").write_text("<title>the page</title>")
    (page / "assets" / "engine-1234.wasm").write_bytes(b"\0asm")
    (page / "assets" / "engine-1234.mjs").write_text("export {}")
    (folder / "secret.txt").write_text("SECRET")
    (page / "leak.txt").symlink_to(folder / "secret.txt")
    with Listener(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
        address = Address(f"http://127.0.0.1:{port}/", ["127.0.0.1", "localhost"], port, False)
        app = build_app(served_models(), address, token, page)
        server = build_server(app, None)
        thread = Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield Served(port)
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with running(tmp_path_factory.mktemp("open"), None) as served:
        yield served


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with running(tmp_path_factory.mktemp("locked"), TOKEN) as served:
        yield served


def test_the_page_and_the_models_are_given(served: Served) -> None:
    page = served.ask("/")
    assert (page.status, page.body) == (200, b"<title>the page</title>")
    assert page.headers["cache-control"] == "no-cache"
    listed = json.loads(served.ask("/models.json").body)
    assert {entry["name"] for entry in listed} == {model.name for model in bundled_models()}
    assert listed[0]["quick"]
    assert not any("path" in entry for entry in listed)
    (udnie,) = (entry for entry in listed if entry["name"] == "udnie")
    model = served.ask(f"/{udnie['url']}")
    (bundled,) = (model for model in bundled_models() if model.name == "udnie")
    assert model.body == bundled.path.read_bytes()
    assert "immutable" in model.headers["cache-control"]
    engine = served.ask("/assets/engine-1234.wasm")
    assert engine.headers["content-type"] == "application/wasm"
    assert "immutable" in engine.headers["cache-control"]
    assert served.ask("/assets/engine-1234.mjs").headers["content-type"].startswith("text/javascript")
    assert served.ask("/", "HEAD").body == b""


def test_every_answer_has_the_headers(served: Served) -> None:
    for answer in (served.ask("/"), served.ask("/nothing"), served.ask("/", "POST"), served.ask("/", host="evil.test")):
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        assert "unsafe-inline" not in answer.headers["content-security-policy"]
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
        assert answer.headers["cross-origin-embedder-policy"] == "require-corp"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "server" not in answer.headers


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/..%2fsecret.txt",
        "/%2e%2e/secret.txt",
        "/assets/../../secret.txt",
        "/assets/%2e%2e/%2e%2e/secret.txt",
        "/assets/..%5c..%5csecret.txt",
        "//etc/passwd",
        "/leak.txt",
        "/models/..%2f..%2fsecret.txt",
        "/models/../../../secret.txt",
        "/models/udnie-any-fp32.onnx",
        "/models/",
        "/%00",
    ],
)
def test_what_is_outside_the_page_is_not_given(served: Served, path: str) -> None:
    answer = served.ask(path)
    assert answer.status == 404, answer
    assert b"SECRET" not in answer.body
    assert b"root:" not in answer.body
    assert "open the one that the terminal shows" in answer.sentence


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "STRANGE"])
def test_other_methods_are_refused(served: Served, method: str) -> None:
    answer = served.ask("/", method)
    assert answer.status == 405
    assert answer.headers["allow"] == "GET, HEAD"
    assert "GET or HEAD" in answer.sentence


def test_an_upload_is_refused_before_it_is_read(served: Served) -> None:
    answer = served.ask("/", "POST", body=b"x" * 5000)
    assert answer.status == 413
    assert "pictures stay on your device" in answer.sentence
    # Only said to be large: the answer comes without a byte of it.
    assert served.ask("/", "GET", content_length=str(10**12)).status == 413
    assert served.ask("/", "POST", transfer_encoding="chunked").status == 413


def test_the_zeros_before_a_length_count_for_nothing(served: Served) -> None:
    assert served.ask("/", content_length="0" * 20).status == 200
    assert served.ask("/", content_length="1000000".zfill(20)).status == 413
    assert served.ask("/", content_length="9" * 1000).status == 400  # h11 reads 20 digits


@pytest.mark.parametrize(("length", "status"), [("0" * 9000, 200), ("5".zfill(9000), 200), ("9" * 9000, 413)])
def test_the_guard_counts_a_length_of_thousands_of_digits(length: str, status: int) -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b""}
    headers = [(b"host", b"here:1"), (b"content-length", length.encode())]
    guard = Guard(PlainTextResponse("all is well"), {"here:1"}, None, False)
    asyncio.run(guard({**scope, "headers": headers}, receive, send))
    assert sent[0]["status"] == status


@pytest.mark.parametrize(
    "host", ["evil.test", "evil.test:{port}", "127.0.0.1", "127.0.0.1:1", "localhost.evil.test:{port}", ""]
)
def test_another_host_name_is_refused(served: Served, host: str) -> None:
    answer = served.ask("/", host=host.format(port=served.port))
    assert answer.status == 421
    assert "open the address that the terminal shows" in answer.sentence
    assert served.ask("/", host=f"LOCALHOST:{served.port}").status == 200


@pytest.mark.parametrize(
    "path", ["/", "/models.json", "/assets/engine-1234.wasm", "/nothing", "/?token=", "/?token=wrong"]
)
def test_without_the_token_nothing_is_given(locked: Served, path: str) -> None:
    answer = locked.ask(path)
    assert answer.status == 403
    assert "scan its code" in answer.sentence
    assert "set-cookie" not in answer.headers
    assert locked.ask(path, cookie="steadystyle=wrong").status == 403
    assert locked.ask(path, cookie='steadystyle="\\').status == 403
    assert locked.ask(path, cookie="steadystyle=t\xf6ken").status == 403


def test_the_token_opens_the_page_and_its_cookie_the_rest(locked: Served) -> None:
    assert locked.ask(f"/models.json?token={TOKEN}").status == 403
    page = locked.ask(f"/?token={TOKEN}")
    assert page.status == 200
    cookie = page.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
    kept = cookie.split(";")[0]
    assert locked.ask("/models.json", cookie=kept).status == 200
    assert "set-cookie" not in locked.ask("/", cookie=f"other=1; {kept}").headers


def test_the_page_is_not_built(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="make web"):
        build_app(served_models(), Address("http://localhost:1/", ["localhost"], 1, False), None, tmp_path)


def test_an_own_model_comes_first(any_size_artifact: Path, fixed_size_artifact: Path) -> None:
    models = served_models([fixed_size_artifact, any_size_artifact])
    assert [(m.width, m.height) for m in models[:3]] == [(64, 48), (None, None), (None, None)]
    assert models[0].name == "tiny"
    with pytest.raises(InputError, match="--target onnx"):
        served_models(["style.tflite"])
    with pytest.raises(InputError, match=r"nowhere\.onnx"):
        served_models(["nowhere.onnx"])


def must_not_start(address: Address) -> None:
    raise AssertionError(address)


def test_a_port_that_is_taken_and_a_host_that_is_not_ours() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port} is taken.*--port"):
            serve("127.0.0.1", port, ready=must_not_start)
    for host in ("192.0.2.1", "no such host"):
        with pytest.raises(InputError, match="no address of this machine"):
            serve(host, 0, ready=must_not_start)


def certificate_of(server: ssl.SSLContext) -> bytes:
    """The certificate that a server shows, DER."""
    inward, outward = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = UNCHECKED.wrap_bio(inward, outward)
    theirs = server.wrap_bio(outward, inward, server_side=True)
    for side in (ours, theirs, ours):
        with suppress(ssl.SSLWantReadError):
            side.do_handshake()
    shown = ours.getpeercert(binary_form=True)
    assert shown is not None
    return shown


@pytest.mark.parametrize("in_memory", [True, False])
def test_the_certificate_is_for_the_names_and_nothing_is_left_of_its_file(
    in_memory: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    if not in_memory:
        monkeypatch.delattr(os, "memfd_create", raising=False)
    server = tls_context(["localhost", "127.0.0.1"])
    assert list(tmp_path.iterdir()) == []
    client = ssl.create_default_context(cadata=certificate_of(server))
    for name, fits in (("127.0.0.1", True), ("localhost", True), ("evil.test", False)):
        inward, outward = ssl.MemoryBIO(), ssl.MemoryBIO()
        ours = client.wrap_bio(inward, outward, server_hostname=name)
        theirs = server.wrap_bio(outward, inward, server_side=True)
        trusted = True
        for side in (ours, theirs, ours, theirs):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError:
                trusted = False
                break
        assert trusted == fits, name


SERVE = """
import functools, pathlib, signal, sys
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup would have it ignored
from steadystyle.demo.web import server
server.build_app = functools.partial(server.build_app, page=pathlib.Path(sys.argv[1]))  # needs no `make web`
server.serve("0.0.0.0", 0, ready=lambda address: print(address.port, flush=True))
"""


@pytest.mark.parametrize("name", ["SIGHUP", "SIGINT", "SIGTERM", "SIGUSR1", "SIGKILL"])
def test_no_signal_leaves_a_file(name: str, tmp_path: Path) -> None:
    (tmp_path / "index.html").touch()
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    where = {**os.environ, "TMPDIR": str(temporary)}
    command = [sys.executable, "-c", SERVE, str(tmp_path)]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=where) as process,
        ExitStack() as ending,
    ):
        ending.callback(process.kill)
        assert process.stdout is not None
        connection = http.client.HTTPSConnection(
            "127.0.0.1", int(process.stdout.readline()), context=UNCHECKED, timeout=30
        )
        with closing(connection):
            connection.request("GET", "/")
            assert connection.getresponse().status == 403
        assert list(temporary.iterdir()) == []
        process.send_signal(getattr(signal, name))
        process.wait(30)
    assert list(temporary.iterdir()) == []


@pytest.fixture
def on_the_network() -> Iterator[tuple[str, str]]:
    """What the command prints when it serves the network, and its address."""
    if not (PAGE / "index.html").is_file():
        pytest.skip("the page is not built: run make web")
    command = [sys.executable, "-m", "steadystyle.cli", "demo", "web", "--host", "0.0.0.0", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            lines: list[str] = []
            while not (lines and lines[-1].startswith("http")):
                line = process.stdout.readline()
                assert line, "it ended"
                lines.append(line.rstrip("\n"))
            yield "\n".join(lines[:-1]), lines[-1]
        finally:
            process.terminate()


def test_for_the_network_it_is_https_with_a_token_and_a_code_to_scan(on_the_network: tuple[str, str]) -> None:
    code, url = on_the_network
    found = re.fullmatch(r"https://([\d.]+):(\d+)(/\?token=[\w-]{22})", url)
    assert found, url
    host, port, path = found.groups()

    def ask(path: str, **headers: str) -> Any:
        connection = http.client.HTTPSConnection(host, int(port), context=UNCHECKED, timeout=30)
        connection.request("GET", path, headers=headers)
        return connection.getresponse()

    assert ask("/").status == 403
    page = ask(path)
    assert page.status == 200
    assert "Secure" in page.headers["set-cookie"]
    assert "server" not in page.headers
    assert ask("/", host=f"evil.test:{port}", cookie=page.headers["set-cookie"].split(";")[0]).status == 421
    # A terminal's cell is two pixels high; light blocks on a dark ground.
    pixels = {"█": (1, 1), "▀": (1, 0), "▄": (0, 1), " ": (0, 0)}
    rows = [[pixels[cell][half] for cell in line] for line in code.split("\n") for half in (0, 1)]
    picture = cv2.resize(np.array(rows, np.uint8) * 255, None, fx=8, fy=8, interpolation=cv2.INTER_NEAREST)
    assert cv2.QRCodeDetector().detectAndDecode(picture)[0] == url
