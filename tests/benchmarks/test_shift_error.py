"""The table of the shift error; known answers of the figure are in tests/video/test_temporal.py."""

import pytest

from steadystyle.studies import shift_error as module
from steadystyle.studies.shift_error import main


def test_the_network_follows_its_grid(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHIFTS", (3, 8))
    main(["great-wave"])
    heading, _, row = capsys.readouterr().out.splitlines()
    assert heading == "| shift, px | 3 | 8 |"
    name, between, step = (cell.strip() for cell in row.strip("|").split("|"))
    assert name == "great-wave"
    assert 0 < float(step) < float(between)
