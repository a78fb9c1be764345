"""Planted disorder is found, each kind once."""

from pathlib import Path

import pytest

from steadystyle.studies import house
from steadystyle.tests.test_architecture import package_files

LONG = "x = 1\n" * 401


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"video/flow.py": LONG}, "video/flow.py has 401 lines, more than 400, and does not say why"),
        ({f"video/part{n}.py": "" for n in range(13)}, "video/ holds 13 Python files, more than 12"),
        ({f"video/part{n}/all.py": "x = 1\n" * 399 for n in range(57)}, "22743 lines of Python beside the tests"),
        ({"video/flow.py": "from ..runtimes import onnx", "runtimes/onnx.py": ""}, "the room video may not import run"),
        (
            {"export/onnx.py": "from .pipeline import x", "export/pipeline.py": "def f():\n    from . import onnx"},
            "files import each other in a circle: export/",
        ),
    ],
)
def test_disorder_is_found(files: dict[str, str], sentence: str) -> None:
    (found,) = house.broken(files, {})
    assert sentence in found


def test_rooms_that_import_each_other_are_found() -> None:
    files = {
        "video/flow.py": "from ..train.pairs import x",
        "video/images.py": "",
        "train/pairs.py": "from ..video.images import x",
    }
    up, around = house.broken(files, {})
    assert "the room video may not import train" in up
    assert around.startswith("rooms import each other in a circle: ")


def test_a_long_file_that_says_why_is_in_order_and_a_long_test_is_not() -> None:
    excused = f'"""Everything at once.\n\nOver 400 lines because the two halves share a state.\n"""\n{LONG}'
    assert house.broken({"video/flow.py": excused}, {}) == []
    assert house.broken({"video/flow.py": ""}, {"tests/video/test_flow.py": LONG}) == [
        "tests/video/test_flow.py has 401 lines, more than 400, and does not say why"
    ]


def test_no_import_of_this_house_runs_up_or_in_a_circle() -> None:
    assert not [sentence for sentence in house.broken(package_files(), {}) if "import" in sentence]


def test_the_command_says_what_is_out_of_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(house, "ROOT", tmp_path)
    for files, code, last in (
        ({"video/flow.py": "x = 1\n"}, 0, "everything is in order"),
        ({"video/flow.py": LONG}, 1, "video/flow.py has 401 lines, more than 400, and does not say why"),
    ):
        monkeypatch.setattr(house, "package_files", lambda files=files: files)
        with pytest.raises(SystemExit) as left:
            house.main()
        assert left.value.code == code
        said = capsys.readouterr().out.splitlines()
        assert said[0].startswith("video: 1 files, ") and said[-1] == last
