"""Callback types for progress and messages."""

from collections.abc import Callable

Progress = Callable[[str, int, int | None], None]
"""Called with the step's name, the amount done and the total amount (None when unknown)."""

Notify = Callable[[str], None]
"""Called with one sentence for the user."""


def no_progress(step: str, done: int, total: int | None) -> None:
    """Ignore progress."""


def no_notify(sentence: str) -> None:
    """Ignore messages."""
