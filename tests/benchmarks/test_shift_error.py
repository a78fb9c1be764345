"""Known answers of the shift error, and its table."""

import numpy as np
import pytest

from steadystyle.benchmarks import shift_error as module
from steadystyle.benchmarks.clips import Frame
from steadystyle.benchmarks.shift_error import main, shift_error

PICTURE = np.random.default_rng(3).integers(0, 256, (188, 248, 3), dtype=np.uint8)
SIZE = (240, 180)


def test_what_moves_with_its_input_has_none() -> None:
    for shift in (1, 4, 8):
        assert shift_error(lambda frame: 255 - frame, PICTURE, shift, SIZE) == 0.0


def test_a_pattern_on_the_grid_is_seen_between_its_steps() -> None:
    def gridded(frame: Frame) -> Frame:
        result = np.full_like(frame, 100)
        result[:, ::4] = 151  # every fourth column a fifth brighter
        return result

    assert shift_error(gridded, PICTURE, 4, SIZE) == 0.0
    # Half of the columns are those of one grid or of the other: two in four differ by 51 of 255.
    assert shift_error(gridded, PICTURE, 1, SIZE) == pytest.approx(0.2 * 0.5**0.5, rel=1e-2)


def test_the_network_follows_its_grid(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHIFTS", (3, 8))
    main(["great-wave-edge"])
    heading, _, row = capsys.readouterr().out.splitlines()
    assert heading == "| shift, px | 3 | 8 |"
    name, between, step = (cell.strip() for cell in row.strip("|").split("|"))
    assert name == "great-wave-edge"
    assert 0 < float(step) < float(between)
