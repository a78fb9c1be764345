"""Annotations of request and record fields: range, and a mark for file, device and method names.

The marks find files to copy to another machine and names to change on merging; no field list is kept by hand.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

from msgspec import Meta

NotNegative = Annotated[float, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1)]

FILE, DEVICE, METHOD = "file", "device", "method"
InputFile = Annotated[str, FILE]
"""A file or folder; an artifact also as FILE@ENGINE or a bundled model's name."""
DeviceName = Annotated[str, DEVICE]
MethodName = Annotated[str, METHOD]

T = TypeVar("T")


@functools.cache
def hints_of(kind: Any) -> dict[str, Any]:
    """Type hints of a record's fields, with their `Annotated` metadata."""
    return get_type_hints(kind, include_extras=True)


def with_marked(record: T, changes: Mapping[str, Callable[[str], str]]) -> T:
    """Replace every marked value of a dataclass, also in nested dataclasses, lists, tuples and dicts.

    `changes` has a function for each mark, the text in ``Annotated[str, "text"]``.
    """
    found: T = _changed(type(record), record, changes)
    return found


def _changed(kind: Any, value: Any, changes: Mapping[str, Callable[[str], str]]) -> Any:
    origin, inner = get_origin(kind), get_args(kind)
    if value is None:
        return None
    if origin is Annotated:
        mark = next((one for one in kind.__metadata__ if isinstance(one, str) and one in changes), None)
        return changes[mark](value) if mark is not None else _changed(inner[0], value, changes)
    if origin in (Union, UnionType):  # in records always with None
        return _changed(next(choice for choice in inner if choice is not NoneType), value, changes)
    if origin in (list, tuple):
        return origin(_changed(inner[0], item, changes) for item in value)
    if origin is dict:
        return {name: _changed(inner[1], item, changes) for name, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        hints = hints_of(type(value))
        fields = {name: _changed(hint, getattr(value, name), changes) for name, hint in hints.items()}
        return dataclasses.replace(value, **fields)
    return value
