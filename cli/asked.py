"""Command-line options generated from the fields of a request."""

import inspect
from collections.abc import Callable, Container, Iterator
from dataclasses import is_dataclass
from fractions import Fraction
from functools import wraps
from typing import Annotated, Any, get_type_hints

import typer

from ..common.asked import Asked
from ..common.files import InputError
from .options import parse_counts, parse_size, parse_sizes, parse_styles

_Size = tuple[int, int]


def _one_size(text: str) -> _Size:
    size = parse_size(text)
    if size is None:
        raise InputError("latency needs a size: give --size WIDTHxHEIGHT, for example 640x360")
    return size


_WORDS: dict[Any, tuple[Any, Callable[[Any], Any]]] = {
    _Size: (str, _one_size),
    _Size | None: (str | None, parse_size),
    Fraction | None: (float | None, Fraction),
    tuple[_Size, ...]: (str | None, parse_sizes),
    tuple[int, ...]: (str | None, parse_counts),
    tuple[str, ...]: (list[str] | None, tuple),
    dict[str, str]: (list[str] | None, parse_styles),
}
"""Field type -> its type on the command line, and the conversion; other types are used unchanged."""


def asks_for(
    kind: type[Any], place: str = "request", *, brief: bool = False, but: Container[str] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Replace a command's parameter `place` by an option for each field of the request class, `but` these.

    A field that is a record of its own, such as a look, gives an option for each of its fields. Where the help is to be
    `brief`, it ends in the default in brackets.
    """
    plain = get_type_hints(kind)
    records = {name: get_type_hints(hint) for name, hint in plain.items() if is_dataclass(hint)}

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(command, eval_str=True)

        @wraps(command)
        def call(**words: Any) -> None:
            values = {name: words.pop(name) for name in list(words) if name not in signature.parameters}
            for record, own in records.items():
                values[record] = plain[record](**{name: values.pop(name) for name in own})
            fields = {
                name: _WORDS[plain[name]][1](value) if plain[name] in _WORDS else value
                for name, value in values.items()
                if value is not None
            }
            command(**{place: kind(**fields)}, **words)

        options = [
            _parameter(name, get_type_hints(part)[name], getattr(part(), name), asked, brief)
            for part in (kind, *(plain[record] for record in records))
            for name, asked in _asked(part)
            if name not in but
        ]
        parameters = []
        for name, parameter in signature.parameters.items():
            parameters += options if name == place else [parameter]
        vars(call)["__signature__"] = signature.replace(  # which typer reads
            parameters=[one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in parameters]
        )
        return call

    return decorate


def _asked(kind: type[Any]) -> Iterator[tuple[str, Asked]]:
    for name, hint in get_type_hints(kind, include_extras=True).items():
        yield from ((name, asked) for asked in getattr(hint, "__metadata__", ()) if isinstance(asked, Asked))


def _parameter(name: str, plain: Any, default: Any, asked: Asked, brief: bool) -> inspect.Parameter:
    kind, text = plain, asked.help
    if plain in _WORDS:
        kind, default = _WORDS[plain][0], "x".join(map(str, default)) if plain == _Size else None
    if default and brief:
        shown = f"{default:g}" if isinstance(default, float) else default
        text = f"{text.rstrip('.')} ({shown})."
    flags = [f"--{asked.flag or name.replace('_', '-')}", *([f"-{asked.short}"] if asked.short else [])]
    metavar = asked.metavar or None
    info: Any = typer.Option(
        *flags, metavar=metavar, help=text, min=asked.least, max=asked.most, show_default=not brief
    )
    if asked.flag is None:
        info = typer.Argument(metavar=metavar, help=text)
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, info])
