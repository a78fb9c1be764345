"""How long functions say how far they are, and what they have to say on the way."""

from collections.abc import Callable

Progress = Callable[[str, int, int | None], None]
"""Called with what is being done, how much of it is done, and of how much (None when that is not known)."""

Notify = Callable[[str], None]
"""Called with one sentence that a user should read."""


def no_progress(step: str, done: int, total: int | None) -> None:
    """Tell nobody."""


def no_notify(sentence: str) -> None:
    """Tell nobody."""
