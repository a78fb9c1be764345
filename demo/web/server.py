"""Serves the page and the models. The network runs in the browser: no picture reaches the server.

The loopback uses plain http, which browsers accept as secure. Other machines need https, with a certificate made for
this run, and the token.
"""

import errno
import hashlib
import ipaddress
import json
import secrets
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import segno
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from ...common.files import InputError
from ...runtimes.registry import DEFAULT_MODEL, bundled_models, read_metadata
from .certificate import tls_context
from .guard import Guard
from .limits import Listener, Loop, Protocol

PAGE = Path(__file__).parent / "dist"
FOR_EVER = {"cache-control": "private, max-age=31536000, immutable"}  # for files named by a hash of their content

TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
}


@dataclass(frozen=True)
class ServedModel:
    """A model that the page offers."""

    name: str
    title: str  # the painting, or the artifact's style
    path: Path  # the ``.onnx`` file
    precision: str  # ``fp32``, ``fp16`` or ``int8``
    width: int | None  # of the input frames, in pixels; None for any
    height: int | None
    quick: bool  # whether its network is made for small devices
    url: str  # path on the server, with a hash of the content

    def for_page(self) -> dict[str, Any]:
        """Its entry in models.json: all fields but the local path."""
        return {key: value for key, value in vars(self).items() if key != "path"}


@dataclass(frozen=True)
class Address:
    """Where the server can be reached."""

    url: str  # with the token, if there is one
    names: list[str]  # host names and IP addresses of the server
    port: int
    secure: bool  # whether other machines can reach it, by https and with a token

    def qr_code(self) -> str:
        """The URL as a QR code, in half blocks for a terminal."""
        rows = [list(row) for row in segno.make(self.url, error="l", micro=False).matrix_iter(border=2)]
        rows += [[0] * len(rows[0])] * (len(rows) % 2)
        blocks = {(0, 0): "█", (0, 1): "▀", (1, 0): "▄", (1, 1): " "}  # light on dark, as terminals mostly are
        return "\n".join(
            "".join(blocks[bool(upper), bool(lower)] for upper, lower in zip(*pair, strict=True))
            for pair in zip(rows[::2], rows[1::2], strict=True)
        )


def served_models(files: Sequence[str | Path] = ()) -> list[ServedModel]:
    """The page's models: the user's own ``.onnx`` artifacts, then the default one, the quick ones, and the others.

    Raises InputError if a file is missing, not an artifact, or not ONNX.
    """
    own = []
    for file in map(Path, files):
        if file.suffix.lower() != ".onnx":
            raise InputError(f"the browser runs .onnx artifacts, and '{file}' is none: export it with --target onnx")
        facts = read_metadata(file)
        quick = facts.architecture.startswith("edge")
        size = facts.width, facts.height
        own.append(ServedModel(facts.name, facts.style, file, facts.precision, *size, quick, _url_of(file)))
    bundled = []
    for model in bundled_models():
        if model.path.is_file():
            card = json.loads(model.card_json.read_text(encoding="utf-8"))
            title = card.get("painting", model.style)
            quick = str(card.get("architecture")).startswith("edge")
            bundled.append(ServedModel(model.name, title, model.path, "fp32", None, None, quick, _url_of(model.path)))
    found = own + sorted(bundled, key=lambda model: (model.name != DEFAULT_MODEL, not model.quick, model.name))
    if not found:
        raise InputError("no model came with this installation: install it again, or give one with --model FILE.onnx")
    return found


def _url_of(path: Path) -> str:
    return f"models/{hashlib.sha256(path.read_bytes()).hexdigest()[:16]}.onnx"


def build_app(models: Sequence[ServedModel], address: Address, token: str | None, page: Path = PAGE) -> ASGIApp:
    """The application, with its guard, for the built page in the folder `page`.

    Every request must carry `token`, unless it is None. Raises InputError if the page is not built.
    """
    if not (page / "index.html").is_file():
        raise InputError("the page is not built: run `make web` in a checkout of steadystyle (it needs Node)")
    by_url = {model.url: model.path for model in models}

    def list_models(request: Request) -> Response:
        return JSONResponse([model.for_page() for model in models])

    def give_model(request: Request) -> Response:
        # A lookup, so that no part of a request becomes a file path.
        path = by_url.get(request.url.path.lstrip("/"))
        if path is None or not path.is_file():
            raise HTTPException(404)
        return FileResponse(path, media_type="application/octet-stream", headers=FOR_EVER)

    def not_there(request: Request, error: Exception) -> Response:
        return PlainTextResponse("There is nothing at this address: open the one that the terminal shows.\n", 404)

    app = Starlette(
        routes=[
            Route("/models.json", list_models),
            Route("/models/{name}", give_model),
            Mount("/", _Page(directory=page, html=True)),
        ],
        exception_handlers={404: not_there},
    )
    scheme_port = 443 if address.secure else 80
    hosts = {f"[{name}]" if ":" in name else name for name in address.names}
    hosts = {f"{host}:{address.port}" for host in hosts} | (hosts if address.port == scheme_port else set())
    return Guard(app, hosts, token, address.secure)


class _Page(StaticFiles):
    """The built page, with content types that do not depend on this machine's settings."""

    def file_response(self, full_path: Any, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(full_path, *args, **kwargs)
        path = Path(full_path)
        if path.suffix in TYPES:
            response.headers["content-type"] = TYPES[path.suffix]
        if path.parent.name == "assets":
            response.headers.update(FOR_EVER)
        return response


def serve(host: str, port: int, *, models: Sequence[str | Path] = (), ready: Callable[[Address], None]) -> None:
    """Serve the bundled models, and own ``.onnx`` artifacts, until Ctrl-C; `ready` is called when it listens.

    Any `host` but the loopback uses https and a token; `port` 0 takes a free one. Raises InputError if the page is not
    built, a model is unusable, or host or port is unavailable.
    """
    offered = served_models(models)
    with _listen(host, port) as listener:
        here = listener.getsockname()[0]
        secure = not ipaddress.ip_address(here).is_loopback
        token = secrets.token_urlsafe(16) if secure else None
        address = _address(host, here, listener.getsockname()[1], token)
        app = build_app(offered, address, token)
        server = build_server(app, tls_context(address.names) if secure else None)
        ready(address)
        server.run(sockets=[listener])


def build_server(app: ASGIApp, context: ssl.SSLContext | None) -> uvicorn.Server:
    """The server of an application, by https if there is a context; to be run on a `Listener`, which limits it."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=Protocol,
            loop=f"{Loop.__module__}:{Loop.__name__}",
            ws="none",
            lifespan="off",
            log_level="critical" if context else "error",  # a phone that distrusts the certificate causes a warning
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=2,
            ssl_context_factory=(lambda *_: context) if context else None,
        )
    )


def _listen(host: str, port: int) -> Listener:
    elsewhere = f"'{host}' is no address of this machine: give one, or 0.0.0.0 for all"
    sentences = {
        errno.EADDRINUSE: f"port {port} is taken: choose another with --port, or --port 0 for a free one",
        errno.EACCES: f"port {port} may not be used: choose one above 1023 with --port",
        errno.EADDRNOTAVAIL: elsewhere,
    }
    try:
        family, _, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return Listener(socket.create_server(where, family=family, dualstack_ipv6=family == socket.AF_INET6))
    except (socket.gaierror, UnicodeError) as error:
        raise InputError(elsewhere) from error
    except OSError as error:
        if error.errno in sentences:
            raise InputError(sentences[error.errno]) from error
        raise


def _address(host: str, here: str, port: int, token: str | None) -> Address:
    """Address of the server that was asked to listen on `host` and listens on the IP address `here`."""
    if token is None:
        return Address(f"http://{_in_url(host)}:{port}/", sorted({host.lower(), here, "localhost"}), port, False)
    everywhere = ipaddress.ip_address(here).is_unspecified
    shown = _own_address() if everywhere else here
    names = {shown, host.lower()}
    if everywhere:
        own = socket.gethostname().lower()
        names = {shown, own, f"{own.split('.')[0]}.local", "localhost", "127.0.0.1"}
    return Address(f"https://{_in_url(shown)}:{port}/?token={token}", sorted(names), port, True)


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _own_address() -> str:
    """IP address by which this machine reaches others, found without sending anything."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # reserved for documentation (RFC 5737)
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])
