"""Checks of what others wrote into files: names, text for the screen, JSON, TOML, and the header of safetensors."""

import json
import math
import re
import tomllib
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .files import InputError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""What a model may be called, because paths are made of it."""

MOST_JSON_BYTES = 1 << 20
MOST_JSON_DEPTH = 64
MOST_HEADER_BYTES = 100 << 20  # of a safetensors file; the format's own limit
_MOST_DIGITS = 20  # of a whole number; the longest of 64 bits has 20


def checked_name(name: object) -> str:
    """Return `name` if paths may be made of it (see `NAME`), else raise InputError."""
    if isinstance(name, str) and NAME.fullmatch(name):
        return name
    raise InputError(
        f"the name {printable(repr(name))[:80]} is not allowed: use 1 to 64 letters, digits, '.', '_' and '-', "
        "and begin with a letter or a digit"
    )


def printable(text: str) -> str:
    r"""`text` with an escape, such as ``\x1b``, for each character that could steer a terminal; line ends stay."""
    if text.replace("\n", "").isprintable():
        return text
    return "".join(letter if _is_harmless(letter) else letter.encode("unicode_escape").decode() for letter in text)


def _is_harmless(letter: str) -> bool:
    return letter.isprintable() or letter == "\n" or unicodedata.category(letter) == "Zs"  # spaces of other widths


def parse_json(text: str | bytes, *, most_bytes: int = MOST_JSON_BYTES) -> Any:
    """Decode JSON; raises ValueError if it is broken, too long, too deep, or holds absurd numbers or half characters.

    Limits: `most_bytes`, `MOST_JSON_DEPTH` levels, whole numbers of 20 digits.
    """
    if len(text) > most_bytes:
        raise ValueError(f"it has more than {most_bytes} bytes")
    if isinstance(text, bytes):
        text = text.decode("utf-8")
    try:
        value = json.loads(text, parse_int=_whole_number)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    _check_depth(value)
    return value


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """Read a TOML file within the limits of `parse_json`; InputError, which names it `what`, if that fails."""
    if not path.is_file():
        raise InputError(f"there is no file '{path}': check the path of {what}")
    try:
        if path.stat().st_size > MOST_JSON_BYTES:
            raise ValueError(f"it has more than {MOST_JSON_BYTES} bytes")
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        _check_depth(values)
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{what} '{path}' cannot be read as TOML ({printable(str(error))}): correct it") from error
    return values


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MOST_JSON_DEPTH):
        for item in level:
            if isinstance(item, str):
                item.encode()  # UnicodeEncodeError, a ValueError, for half of a surrogate pair
        level = [inner for item in level for inner in _inside(item)]
        if not level:
            return
    raise ValueError(f"it is nested more than {MOST_JSON_DEPTH} levels deep")


def _whole_number(digits: str) -> int:
    if len(digits.lstrip("-")) > _MOST_DIGITS:
        raise ValueError(f"a whole number has more than {_MOST_DIGITS} digits")
    return int(digits)


def _inside(item: Any) -> Iterator[Any]:
    if isinstance(item, dict):
        yield from item.keys()
        yield from item.values()
    elif isinstance(item, list):
        yield from item


def read_safetensors_header(path: Path) -> tuple[dict[str, str], dict[str, tuple[int, ...]]]:
    """Metadata, and the shape of each tensor, of a safetensors file; reads no tensor.

    The file starts with eight bytes, the little-endian length of the JSON text after them; then come the values.
    Raises InputError if the header is missing, longer than 100 MB or than the file, or not of the format's types.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(MOST_HEADER_BYTES, path.stat().st_size - 8):
                raise ValueError("its header does not fit into the file")
            entries = parse_json(file.read(length), most_bytes=MOST_HEADER_BYTES)
        metadata = entries.pop("__metadata__", {})
        if not all(isinstance(text, str) for text in metadata.values()):
            raise ValueError("its metadata is not text")
        shapes = {key: _shape(entry["shape"]) for key, entry in entries.items()}
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(f"'{path}' is not a whole .safetensors file: copy it again") from error
    return metadata, shapes


def _shape(sides: Any) -> tuple[int, ...]:
    if not all(isinstance(side, int) and side >= 0 for side in sides) or math.prod(sides) >= 1 << 40:
        raise ValueError(f"no tensor has the shape {sides}")
    return tuple(sides)
