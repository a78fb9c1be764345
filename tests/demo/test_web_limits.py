"""The server of the page under load, with real sockets: 127.0.0.1 and 127.0.0.2 are two addresses."""

import http.client
import os
import resource
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from threading import Thread

import pytest
from starlette.responses import PlainTextResponse

from steadystyle.demo.web import limits
from steadystyle.demo.web.certificate import tls_context
from steadystyle.demo.web.limits import OF_ALL, OF_ONE_ADDRESS, Listener
from steadystyle.demo.web.server import build_server

UNCHECKED = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
UNCHECKED.check_hostname, UNCHECKED.verify_mode = False, ssl.CERT_NONE

US, THEM = "127.0.0.1", "127.0.0.2"
HALF_A_HEAD = b"GET / HTTP/1.1\r\nHost: here\r\nX-Slow: "
PART_OF_A_HELLO = b"\x16\x03\x01\x02"  # of TLS
WHOLE = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"


@contextmanager
def running(secure: bool) -> Iterator[int]:
    """The port of a server that answers everything."""
    server = build_server(PlainTextResponse("all is well"), tls_context([US]) if secure else None)
    with Listener(socket.create_server((US, 0))) as listener:
        port = listener.getsockname()[1]
        thread = Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield port
        finally:
            server.should_exit = True
            thread.join(30)
        assert not thread.is_alive()


def connect(port: int, source: str = US, *, secure: bool = False) -> socket.socket:
    plain = socket.create_connection((US, port), 30, (source, 0))
    return UNCHECKED.wrap_socket(plain) if secure else plain


def status(port: int, source: str = US, *, secure: bool = False) -> int:
    where = (source, 0)
    with closing(
        http.client.HTTPSConnection(US, port, timeout=30, source_address=where, context=UNCHECKED)
        if secure
        else http.client.HTTPConnection(US, port, timeout=30, source_address=where)
    ) as connection:
        connection.request("GET", "/")
        return connection.getresponse().status


def answered(connection: socket.socket) -> bool:
    """Whether one whole answer comes, and it is 200."""
    answer = b""
    while not answer.endswith(b"all is well"):
        part = connection.recv(1000)
        assert part, answer
        answer += part
    return answer.startswith(b"HTTP/1.1 200")


def is_open(connection: socket.socket, seconds: float = 0.0) -> bool:
    """Whether it is still open after some seconds, or then has something to read."""
    connection.settimeout(seconds or 0.001)
    try:
        return connection.recv(1) != b""
    except TimeoutError:
        return True
    except OSError:
        return False


def wait_until_closed(connection: socket.socket) -> float:
    """Seconds until the server closes it."""
    began = time.monotonic()
    connection.settimeout(30)
    with suppress(OSError):
        while connection.recv(1000):
            pass
    return time.monotonic() - began


@pytest.mark.parametrize(
    ("secure", "first"), [(False, b""), (False, HALF_A_HEAD), (True, b""), (True, PART_OF_A_HELLO)]
)
def test_two_hundred_slow_connections_lock_nobody_else_out(secure: bool, first: bytes) -> None:
    with running(secure) as port, ExitStack() as slow:
        theirs = [slow.enter_context(connect(port, THEM)) for _ in range(200)]
        for connection in theirs:
            with suppress(OSError):  # it may be closed by now
                connection.sendall(first)
        began = time.monotonic()
        assert status(port, secure=secure) == 200
        assert time.monotonic() - began < 1
        assert sum(map(is_open, theirs)) == OF_ONE_ADDRESS
        slow.close()
        # What is closed counts no more.
        answer, until = 0, time.monotonic() + 10
        while answer != 200 and time.monotonic() < until:
            with suppress(OSError):
                answer = status(port, THEM, secure=secure)
        assert answer == 200


@pytest.mark.parametrize("secure", [False, True])
def test_what_a_browser_opens_is_answered(secure: bool) -> None:
    with running(secure) as port, ExitStack() as opened:
        for _ in range(3):  # again and again
            connections = [opened.enter_context(connect(port, secure=secure)) for _ in range(OF_ONE_ADDRESS)]
            for _ in range(2):
                for connection in connections:
                    connection.sendall(WHOLE)
                for connection in connections:
                    assert answered(connection)
            for connection in connections:
                connection.close()
            time.sleep(0.2)


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("before", [b"", WHOLE])
def test_half_a_request_is_closed_after_the_limit(secure: bool, before: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SECONDS", 1.0)
    with running(secure) as port, connect(port, secure=secure) as connection:
        if before:
            connection.sendall(before)
            assert answered(connection)
        connection.sendall(HALF_A_HEAD)
        began = time.monotonic()
        with suppress(OSError):
            while is_open(connection, 0.1):  # byte by byte it is no better
                connection.sendall(b"x")
                assert time.monotonic() - began < 3
        assert time.monotonic() - began > 0.7


def test_a_body_that_does_not_come_is_closed_after_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SECONDS", 1.0)
    with running(False) as port, connect(port) as connection:
        connection.sendall(WHOLE.replace(b"\r\n\r\n", b"\r\nContent-Length: 1000\r\n\r\n"))
        assert answered(connection)
        began = time.monotonic()
        with suppress(OSError):
            while is_open(connection, 0.1):
                connection.sendall(b"x")
                assert time.monotonic() - began < 3


@pytest.mark.parametrize(("secure", "first"), [(False, b""), (True, b""), (True, PART_OF_A_HELLO)])
def test_a_silent_connection_is_closed_after_the_limit(
    secure: bool, first: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SECONDS", 1.0)
    with running(secure) as port, connect(port) as connection:
        connection.sendall(first)
        assert 0.7 < wait_until_closed(connection) < 3


SERVE = """
import resource, socket, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (1024, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
from starlette.responses import PlainTextResponse
from steadystyle.demo.web import limits, server
from steadystyle.demo.web.certificate import tls_context
limits.SECONDS = 8.0
with limits.Listener(socket.create_server(("127.0.0.1", 0))) as listener:
    print(listener.getsockname()[1], flush=True)
    context = tls_context(["127.0.0.1"]) if sys.argv[1] == "https" else None
    server.build_server(PlainTextResponse("all is well"), context).run(sockets=[listener])
"""


@contextmanager
def silent_process(scheme: str) -> Iterator[tuple[int, int]]:
    """Number and port of a process that serves with 1,024 open files; whatever it says on stderr is a failure."""
    command = [sys.executable, "-c", SERVE, scheme]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            yield process.pid, int(process.stdout.readline())
        finally:
            process.terminate()
        assert process.stderr.read() == ""


@pytest.fixture
def many_files() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] != resource.RLIM_INFINITY and before[1] < 2300:
        pytest.skip("this system allows a process too few open files")
    soft = before[0] if before[0] == resource.RLIM_INFINITY else max(before[0], 2300)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def seconds_of_work(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("addresses", [1, 250])
def test_two_thousand_sockets_are_borne_in_silence(scheme: str, addresses: int, many_files: None) -> None:
    secure = scheme == "https"
    with silent_process(scheme) as (process, port), ExitStack() as crowd:
        sources = [f"127.0.1.{1 + number % addresses}" for number in range(2000)]
        sockets = [crowd.enter_context(connect(port, source)) for source in sources]
        for connection in sockets:
            with suppress(OSError):  # it may be closed by now
                connection.sendall(PART_OF_A_HELLO if secure else HALF_A_HEAD)
        time.sleep(1)
        worked = seconds_of_work(process)
        time.sleep(1)
        assert seconds_of_work(process) - worked < 0.5
        assert sum(map(is_open, sockets)) == (OF_ONE_ADDRESS if addresses == 1 else OF_ALL)
        if addresses == 1:
            assert status(port, secure=secure) == 200
        for connection in sockets:
            wait_until_closed(connection)
        assert status(port, secure=secure) == 200


def test_what_is_not_http_is_refused_in_silence() -> None:
    head = WHOLE[:-2]
    with silent_process("http") as (_, port):
        for sent in (
            head + b"Transfer-Encoding: chunked\r\n\r\nno length\r\n",  # after the request, before its answer
            head + b"Content-Length: 5\r\n\r\nabcde\0",
            head + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n",
            head + b"Upgrade: websocket\r\nConnection: upgrade\r\n\r\n",
            head + b"X: " + b"x" * 100_000,
            WHOLE + b"\0\r\n\r\n",
            WHOLE * 50,
            b"\0" * 10,
        ):
            for reads in (True, False):
                with connect(port) as connection, suppress(OSError):
                    connection.sendall(sent)
                    connection.shutdown(socket.SHUT_WR)
                    if reads:
                        wait_until_closed(connection)
        assert status(port) == 200
