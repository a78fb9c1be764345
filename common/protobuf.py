"""Reads protocol buffers field by field, without a schema and without copying."""

from collections.abc import Iterator

_VARINT_BYTES = 10  # of 64 bits, 7 a byte


def fields(message: bytes | memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of each field: a whole number, or the bytes of a string, message or fixed-size number.

    Raises ValueError if the message is damaged.
    """
    view, position = memoryview(message), 0
    while position < len(view):
        tag, position = _varint(view, position)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            value, position = _varint(view, position)
            yield number, value
            continue
        if kind == 2:
            length, position = _varint(view, position)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise ValueError(f"no field has the kind {kind}")
        if position + length > len(view):
            raise ValueError("the last field is cut off")
        yield number, view[position : position + length]
        position += length


def children(message: bytes | memoryview, wanted: int) -> list[memoryview]:
    """Strings or messages under one field number; raises ValueError as `fields`."""
    return [value for number, value in fields(message) if number == wanted and isinstance(value, memoryview)]


def texts(message: bytes | memoryview, wanted: int) -> list[str]:
    """Strings under one field number; raises ValueError as `fields`, or if one is not UTF-8."""
    return [bytes(value).decode() for value in children(message, wanted)]


def _varint(view: memoryview, position: int) -> tuple[int, int]:
    """A number of seven bits a byte, least significant first, and the position after it."""
    value = 0
    for count in range(min(_VARINT_BYTES, len(view) - position)):
        byte = view[position + count]
        value |= (byte & 0x7F) << 7 * count
        if byte < 0x80:
            return value, position + count + 1
    raise ValueError("a number is too long, or the message is cut off")
