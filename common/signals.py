"""One way to stop in good order on Ctrl-C or SIGTERM."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


@contextmanager
def stop_on_signal(then: Callable[[], None] | None = None) -> Iterator[threading.Event]:
    """Give an event that SIGINT and SIGTERM set; the second of the same signal acts as it did before.

    Outside the main thread, where Python handles no signal, the event is never set.

    Args:
        then: called in the handler, after the event is set.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
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
