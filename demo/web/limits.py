"""Limits of the server below HTTP: how many connections are open, and how long TLS and a request may take."""

import asyncio
import os
import socket
from collections import Counter
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

OF_ONE_ADDRESS = 8  # connections; a browser opens six
OF_ALL = 400
SECONDS = 10.0  # for the TLS handshake, for the first request from then on, and for a later one from its first byte on


class Listener(socket.socket):
    """A listening socket, made of another one, that closes what comes from an address with `OF_ONE_ADDRESS` at once.

    It counts at accept, because a connection costs before TLS and before its first byte. All together get `OF_ALL`, or
    what leaves each a file to send within the process's limit of open files, so that accept never runs out of them.
    """

    def __init__(self, listening: socket.socket) -> None:
        super().__init__(listening.family, listening.type, listening.proto, listening.detach())
        files = os.sysconf("SC_OPEN_MAX") if hasattr(os, "sysconf") else 512  # Windows: as many as select() takes
        self._most = max(OF_ONE_ADDRESS, min(OF_ALL, (files - 64) // 2)) if files > 0 else OF_ALL
        self._open: Counter[str] = Counter()

    def accept(self) -> tuple[socket.socket, Any]:
        """The next connection and its peer; BlockingIOError if there is none, or one over a limit, which is closed.

        asyncio's selector loop calls it, and looks after its other sockets after this error.
        """
        accepted, peer = super().accept()
        address = peer[0]
        if self._open[address] >= OF_ONE_ADDRESS or self._open.total() >= self._most:
            accepted.close()
            raise BlockingIOError
        self._open[address] += 1
        return _Connection(accepted, lambda: self._forget(address)), peer

    def _forget(self, address: str) -> None:
        self._open -= Counter([address])  # drops what comes to 0


class _Connection(socket.socket):
    """An accepted socket, made of another one, that says when it is closed."""

    def __init__(self, accepted: socket.socket, closed: Callable[[], None]) -> None:
        super().__init__(accepted.family, accepted.type, accepted.proto, accepted.detach())
        self._when_closed = closed

    def close(self) -> None:
        """Close it; a second call does nothing."""
        if self.fileno() >= 0:
            self._when_closed()
        super().close()


class Loop(asyncio.SelectorEventLoop):
    """The event loop: of the kind that calls `Listener.accept`, with `SECONDS` for beginning and end of TLS."""

    async def create_server(self, *args: Any, **options: Any) -> asyncio.Server:
        """As asyncio's, which uvicorn calls without time limits."""
        if options.get("ssl") is not None:
            options |= {"ssl_handshake_timeout": SECONDS, "ssl_shutdown_timeout": SECONDS}
        return await super().create_server(*args, **options)


class Protocol(H11Protocol):
    """HTTP/1.1 that gives a request `SECONDS`; uvicorn itself closes a connection that is silent after an answer."""

    deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._limit_waiting()

    def data_received(self, data: bytes) -> None:
        """Take a part of a request."""
        super().data_received(data)
        self._limit_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        super().connection_lost(exc)
        if self.deadline is not None:
            self.deadline.cancel()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP; while a request is being answered, by closing: uvicorn would answer it twice."""
        if self._is_answering():
            self.transport.abort()
        else:
            super().send_400_response(msg)

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _limit_waiting(self) -> None:
        answering = self._is_answering()
        if answering and self.deadline is not None:
            self.deadline.cancel()
            self.deadline = None
        elif not answering and self.deadline is None:
            self.deadline = self.loop.call_later(SECONDS, self.transport.abort)
