"""Checks the host, token, method and size of every request; adds headers to every response."""

import secrets
from collections.abc import Collection
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "steadystyle"
MAX_BODY = 1024  # bytes; no request needs a body, and a small one is ignored

HEADERS = {
    # 'wasm-unsafe-eval' allows WebAssembly only; blob: is the video file that the user chose.
    "content-security-policy": (
        "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; media-src 'self' blob:; "
        "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    # These three give cross-origin isolation, which browsers require for WebAssembly threads.
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-embedder-policy": "require-corp",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


@dataclass(frozen=True)
class Guard:
    """Refuses invalid requests with a sentence, and adds headers to every response."""

    app: ASGIApp
    hosts: Collection[str]  # allowed Host headers, lower case, with the port; any other may be DNS rebinding
    token: str | None  # required as ``?token=`` in the first request, which sets a cookie, then as that; None: no check
    secure: bool  # whether the server uses https, which then also limits the cookie to https

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            raise RuntimeError(f"only http is served, and this is {scope['type']}")
        headers = Headers(scope=scope)

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                answer.update(HEADERS)
                answer.setdefault("cache-control", "no-cache")
                if self.token is not None and message["status"] == 200 and not self._has_cookie(headers):
                    answer.append("set-cookie", self._cookie())
            await send(message)

        refusal = self._refusal(scope, headers)
        await (refusal or self.app)(scope, receive, send_guarded)

    def _refusal(self, scope: Scope, headers: Headers) -> PlainTextResponse | None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or hosts[0].lower() not in self.hosts:
            return _say(421, "This server has another name: open the address that the terminal shows.")
        if not _is_small(headers):
            return _say(413, "Nothing can be sent here: pictures stay on your device.", close=True)
        if scope["method"] not in ("GET", "HEAD"):
            return _say(405, "This server only gives, so use GET or HEAD.", allow="GET, HEAD", close=True)
        if self.token is not None and not (self._has_cookie(headers) or self._asks_with_token(scope)):
            return _say(403, "The token is missing: open the whole address that the terminal shows, or scan its code.")
        return None

    def _asks_with_token(self, scope: Scope) -> bool:
        given = QueryParams(scope["query_string"]).get("token", "")
        return scope["path"] == "/" and self._is_token(given)

    def _has_cookie(self, headers: Headers) -> bool:
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return cookie is not None and self._is_token(cookie.value)

    def _is_token(self, given: str) -> bool:
        return self.token is not None and secrets.compare_digest(given.encode(), self.token.encode())

    def _cookie(self) -> str:
        secure = "; Secure" if self.secure else ""
        return f"{COOKIE}={self.token}; Path=/; HttpOnly; SameSite=Strict{secure}"


def _is_small(headers: Headers) -> bool:
    length = headers.get("content-length", "0")
    digits = length.lstrip("0") or "0"  # int() of thousands of digits is an error
    return "transfer-encoding" not in headers and length.isdecimal() and len(digits) < 9 and int(digits) <= MAX_BODY


def _say(status: int, sentence: str, *, allow: str = "", close: bool = False) -> PlainTextResponse:
    # The rest of a body is not read, so the connection must close.
    headers = {**({"allow": allow} if allow else {}), **({"connection": "close"} if close else {})}
    return PlainTextResponse(sentence + "\n", status, headers)
