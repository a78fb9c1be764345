"""What a field of a request says of its command-line option."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Asked:
    """A field's command-line option: help, name without dashes, metavar, one-letter name, and the range of a number.

    An empty `flag` stands for the field's name, None for positional arguments; an empty `metavar` for the field's type.
    """

    help: str
    flag: str | None = ""
    metavar: str = ""
    short: str = ""
    least: float | None = None
    most: float | None = None
