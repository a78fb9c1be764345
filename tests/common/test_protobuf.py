"""Protocol buffers, read without a schema: against the real library, and damaged ones."""

from itertools import islice

import pytest
from onnx import StringStringEntryProto, TensorProto

from steadystyle.common.protobuf import children, fields, texts


def test_fields_are_those_that_the_library_wrote() -> None:
    tensor = TensorProto(name="w", dims=[3, 1 << 40], data_type=1, raw_data=b"abc", doc_string="é")
    found = [
        (number, value if isinstance(value, int) else bytes(value))
        for number, value in fields(tensor.SerializeToString())
    ]
    assert sorted(found, key=str) == sorted(
        [(1, 3), (1, 1 << 40), (2, 1), (8, b"w"), (9, b"abc"), (12, "é".encode())], key=str
    )
    assert texts(tensor.SerializeToString(), 12) == ["é"]


def test_only_the_wanted_field_is_taken() -> None:
    entry = StringStringEntryProto(key="k", value="v").SerializeToString()
    assert [bytes(value) for value in children(entry, 2)] == [b"v"]
    assert children(entry, 3) == []


@pytest.mark.parametrize(
    "message",
    [
        b"\x80",  # a number without its end
        b"\xff" * 5_000_000,  # and one of millions of bytes
        b"\x80" * 10 + b"\x01",  # of eleven bytes
        b"\x0a\x05abcd",  # cut off
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f",  # a length beyond the file
        b"\x0b",  # a kind that is gone from the format
    ],
)
def test_a_damaged_message_is_a_value_error(message: bytes) -> None:
    with pytest.raises(ValueError, match=r"cut off|no field|too long"):
        list(islice(fields(message), 10))


def test_text_must_be_utf8() -> None:
    with pytest.raises(ValueError, match="utf-8"):
        texts(b"\x0a\x01\xff", 1)
