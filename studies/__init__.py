"""Experiments, outside the wheel: one question and one command each, `python -m studies.NAME` from the root."""

import sys
from collections.abc import Callable

from steadystyle.common.files import InputError


def run_study(main: Callable[[], None]) -> None:
    """Run a study's main as a command: bad input is a sentence on stderr, with exit code 2."""
    try:
        main()
    except InputError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from error
