"""Clean stop on Ctrl-C or SIGTERM."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


@contextmanager
def stop_on_signal(then: Callable[[], None] | None = None) -> Iterator[threading.Event]:
    """Yield an event that SIGINT or SIGTERM sets before calling `then`; a repeated signal acts as it did before."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # Python handles signals only there
        yield stop
        return
    before: dict[int, Any] = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

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
