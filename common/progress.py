"""How the long functions of this room tell how far they are."""

from collections.abc import Callable

Progress = Callable[[str, int, int | None], None]
"""Called with what is being done, how much of it is done, and of how much (None when that is not known)."""
