"""Names, text, JSON and headers from files that others wrote."""

import json
from pathlib import Path
from typing import Any

import pytest

from steadystyle.common.files import InputError
from steadystyle.common.untrusted import checked_name, parse_json, printable, read_safetensors_header

TRAVERSALS = [
    "../x",
    "..",
    ".hidden",
    "/etc/passwd",
    "a/b",
    "a\\b",
    "C:x",
    "-o",
    "x\0y",
    "x\ny",
    "",
    "a" * 65,
    "\x1b[2Jx",
    "naïve",
    "x\u202ey",
]


@pytest.mark.parametrize("name", [*TRAVERSALS, 3, None, ["x"]])
def test_a_name_that_is_no_name_is_refused_in_printable_words(name: object) -> None:
    with pytest.raises(InputError, match="is not allowed") as caught:
        checked_name(name)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", ["great-wave", "9", "A.b_c-d", "a" * 64])
def test_names_of_models_are_names(name: str) -> None:
    assert checked_name(name) == name


def test_no_control_character_is_left_and_letters_stay() -> None:
    assert printable("Kōrin\x1b[31m\x00\x9b\u202e\ud800\r\nend") == "Kōrin\\x1b[31m\\x00\\x9b\\u202e\\ud800\\r\nend"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        '{"a": 1} x',
        "[" * 100_000 + "]" * 100_000,
        "[" * 65 + "]" * 65,
        '{"a":' * 70 + "1" + "}" * 70,
        "9" * 5000,
        "-" + "9" * 21,
        '"\\ud800"',
        '{"\\udfff": 1}',
        '"' + "x" * (1 << 20) + '"',
        b"\xff",
    ],
)
def test_json_beyond_its_budget_is_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError):
        parse_json(text)


def test_json_within_its_budget_is_read() -> None:
    value = {"deep": json.loads("[" * 62 + "]" * 62), "number": 2**64 - 1, "text": "ō", "none": None}
    assert parse_json(json.dumps(value)) == value


def write(path: Path, header: Any, length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text)
    return path


def test_shapes_and_metadata_are_read_without_the_values(tmp_path: Path) -> None:
    entry = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}
    path = write(tmp_path / "x.safetensors", {"__metadata__": {"a": "b"}, "w": entry})
    assert read_safetensors_header(path) == ({"a": "b"}, {"w": (2, 3)})


@pytest.mark.parametrize(
    ("header", "length"),
    [
        (b"{}", 1 << 33),
        (b"{}", 1),
        (b"[]", None),
        (b"[" * 1000, None),
        ({"__metadata__": {"a": 1}}, None),
        ({"__metadata__": 3}, None),
        ({"w": 3}, None),
        ({"w": {"shape": [-1]}}, None),
        ({"w": {"shape": [1 << 30, 1 << 30]}}, None),
        ({"w": {"shape": ["2"]}}, None),
        ({"w": {"shape": 2}}, None),
    ],
)
def test_a_header_that_breaks_the_format_is_refused(tmp_path: Path, header: Any, length: int | None) -> None:
    with pytest.raises(InputError, match=r"not a whole \.safetensors file"):
        read_safetensors_header(write(tmp_path / "x.safetensors", header, length))
