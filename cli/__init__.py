"""The command line; commands import what they need in their bodies, for a quick `--help` and few dependencies."""

import os
import signal
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Annotated, Any, NoReturn

import typer

from .. import __version__
from ..common.signals import ENDINGS, is_ignored_hang_up
from ..common.watch import watch_engines
from . import demo, doctor, make, measure, run
from .terminal import complain, explain, note

app = typer.Typer(
    name="steadystyle",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line (None: `sys.argv`) and exit: 0 success, 1 failure, 2 bad usage or input, 130 Ctrl-C."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    for number in ENDINGS[1:]:
        if not is_ignored_hang_up(number):  # so that temporary files are removed as on Ctrl-C
            signal.signal(number, lambda number, frame: sys.exit(128 + number))
    watch_engines(complain)
    warnings.showwarning = _show_warning
    try:
        result = app(arguments, prog_name="steadystyle", standalone_mode=False, obj=arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of our output (`| head`) has what it wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes it once more when it leaves
        sys.exit(1)
    except Exception as error:
        if "--debug" in arguments:
            traceback.print_exc()
        code, sentence = explain(error, arguments)
        if sentence:  # a bare `steadystyle` has printed its help
            complain(sentence)
        sys.exit(code)
    sys.exit(result if isinstance(result, int) else 0)


def _show_warning(message: Warning | str, category: type[Warning], *place: Any, **named: Any) -> None:
    """Print warnings for users as one sentence, others as Python does."""
    if category.__name__ == "RenamedModelWarning":  # by name, because commands import runtimes/ themselves
        return note(str(message))
    print(warnings.formatwarning(message, category, *place[:2]), end="", file=sys.stderr)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def steadystyle(
    version: Annotated[bool, typer.Option("--version", help="Print the version.", callback=_print_version)] = False,
) -> None:
    """Turn a painting into a fast video filter that stays steady from frame to frame."""


app.add_typer(demo.app, name="demo")
for group in (run, make, measure, doctor):
    app.add_typer(group.app)
