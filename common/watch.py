"""Ends the process if an engine does not return: Python hears Ctrl-C only between its own steps."""

import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

from .signals import ENDINGS

MOST_SECONDS = 600.0
"""Longest time for one call of an engine; building TensorRT's engine, the slowest, takes minutes."""

GRACE_SECONDS = 5.0
"""Time for a running call to return after Ctrl-C, SIGTERM or SIGHUP."""

_began: dict[int, float] = {}  # thread -> start of its running call


@contextmanager
def engine_call() -> Iterator[None]:
    """Mark the block as one call of an engine."""
    thread = threading.get_ident()
    _began[thread] = time.monotonic()
    try:
        yield
    finally:
        del _began[thread]


@cache
def watch_engines(complain: Callable[[str], None]) -> None:
    """Watch from one thread until the process ends; for programs, not for libraries. Main thread only.

    A call that outlasts a signal by `GRACE_SECONDS` ends the process as the signal would (exit code 128 + number). A
    call of over `MOST_SECONDS` ends it with exit code 2, after `complain`. Temporary files stay for the next run.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(reader, complain), name="watch engines", daemon=True).start()


def _watch(reader: int, complain: Callable[[str], None]) -> None:
    asked: float | None = None
    number = 0
    while True:
        if select.select([reader], [], [], 1.0)[0]:
            signals = set(os.read(reader, 64)) & {*ENDINGS}
            if signals:
                asked, number = time.monotonic(), min(signals)
        now, earliest = time.monotonic(), min([*_began.values()], default=None)
        if earliest is None:
            continue
        if asked is not None and earliest < asked < now - GRACE_SECONDS:
            os._exit(128 + number)
        if now - earliest > MOST_SECONDS:
            complain(f"the model has not answered for {MOST_SECONDS:.0f} s: export it again, or take smaller frames")
            os._exit(2)
