"""Clean stop on Ctrl-C, SIGTERM or SIGHUP (the terminal was closed)."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

ENDINGS = (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))  # Windows lacks it


def is_ignored_hang_up(number: int) -> bool:
    """Whether it is the signal that `nohup` told this process to ignore."""
    return number not in (signal.SIGINT, signal.SIGTERM) and signal.getsignal(number) == signal.SIG_IGN


@contextmanager
def stop_on_signal(then: Callable[[], None] | None = None) -> Iterator[threading.Event]:
    """Yield an event that one of `ENDINGS` sets before calling `then`; a repeated signal acts as it did before."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # Python handles signals only there
        yield stop
        return
    before: dict[int, Any] = {number: signal.getsignal(number) for number in ENDINGS}
    before = {number: handler for number, handler in before.items() if not is_ignored_hang_up(number)}

    def ask(number: int, frame: FrameType | None) -> None:
        stop.set()
        signal.signal(number, before[number])
        if then is not None:
            then()

    for number in before:
        signal.signal(number, ask)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
