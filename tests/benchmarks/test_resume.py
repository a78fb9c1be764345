import json
from pathlib import Path

import numpy as np
import pytest

from steadystyle.benchmarks.costs import CostGrowth, CostPoint
from steadystyle.benchmarks.measure.steadiness import Moment
from steadystyle.benchmarks.record import Clip, Row, Style, Temporal
from steadystyle.benchmarks.resume import fingerprint, keeping
from steadystyle.common.files import InputError
from steadystyle.video.flow import FlowPair

GROWTH = CostGrowth(
    "ours", "local", [CostPoint(64, 48, 2, 0.1, [[0.1, 1 / 3]], 0.0, 80.5, 60.0, 3)], None, 0.25, {"1x1": "small"}
)


def never() -> list[CostGrowth]:
    raise AssertionError("it was finished and is made again")


def interrupted(folder: Path, inputs: object) -> None:
    with pytest.raises(KeyboardInterrupt), keeping(folder, inputs) as kept:
        assert kept.take("growth", list[CostGrowth], lambda: [GROWTH]) == [GROWTH]
        raise KeyboardInterrupt


def test_what_was_finished_is_taken_and_nothing_stays(tmp_path: Path) -> None:
    interrupted(tmp_path / "report", {"threads": 2})
    assert [path.name for path in (tmp_path / "report").iterdir()] == [".working"]
    with keeping(tmp_path / "report", {"threads": 2}) as kept:
        assert kept.take("growth", list[CostGrowth], never) == [GROWTH]
        assert kept.take("drift", dict[str, float], lambda: {"ours": 0.5}) == {"ours": 0.5}
        (sentence,) = kept.note()
        assert "growth finished before" in sentence and "drift" not in sentence
    assert list((tmp_path / "report").iterdir()) == []


def test_other_inputs_begin_again(tmp_path: Path) -> None:
    interrupted(tmp_path, {"threads": 2})
    with keeping(tmp_path, {"threads": 1}) as kept:
        assert kept.take("growth", list[CostGrowth], list) == []
        assert kept.note() == []


def test_a_run_that_finished_nothing_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="bad"), keeping(tmp_path / "deep" / "report", {}) as kept:
        (kept.scratch / "half.mp4").touch()
        raise InputError("bad")
    assert list(tmp_path.iterdir()) == []


def test_a_clip_comes_back_with_its_moment(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frames = {
        name: [rng.integers(0, 256, (4, 6, 3)).astype(np.uint8) for _ in range(3)] for name in ("identity", "a/b")
    }
    flow, valid = rng.random((4, 6, 2)).astype(np.float32), rng.random((4, 6)) > 0.5
    moment = Moment(7, "a/b", frames, [FlowPair(flow, valid), FlowPair(-flow, ~valid)])
    rows = [
        Row(
            "a/b",
            "local",
            Temporal(1, 0.1, 0.05, 1, 0.9, "DIS medium", [0], [0.01]),
            None,
            Style(None, 0.5, 1),
            {"long": "x"},
        )
    ]
    clip = Clip("c.mp4", 6, 4, 3, None, "DIS medium", 0, rows, ["note"], 7)
    with pytest.raises(KeyboardInterrupt), keeping(tmp_path, {}) as kept:
        kept.take_clip("clip", lambda: (clip, moment))
        raise KeyboardInterrupt
    with keeping(tmp_path, {}) as kept:
        again, found = kept.take_clip("clip", lambda: (clip, None))
    assert again == clip
    assert found is not None and (found.start, found.worst, list(found.frames)) == (7, "a/b", ["identity", "a/b"])
    for name in frames:
        np.testing.assert_array_equal(found.frames[name], frames[name])
    for mine, theirs in zip(found.pairs, moment.pairs, strict=True):
        np.testing.assert_array_equal(mine.flow, theirs.flow)
        np.testing.assert_array_equal(mine.valid, theirs.valid)


@pytest.mark.parametrize("content", ["", "[]", '{"date": "now"}', '{"date": "now", "value": [{"method": "ours"}]}'])
def test_what_was_kept_and_damaged_is_refused(tmp_path: Path, content: str) -> None:
    interrupted(tmp_path, {})
    (file,) = tmp_path.rglob("*.json")
    assert json.loads(file.read_text())["value"][0]["method"] == "ours"
    file.write_text(content)
    with (
        pytest.raises(InputError, match=r"cannot be read: delete the folder '.*\.working'"),
        keeping(tmp_path, {}) as kept,
    ):
        kept.take("growth", list[CostGrowth], never)


def test_a_changed_file_has_another_fingerprint(tmp_path: Path) -> None:
    file = tmp_path / "clips" / "a.mp4"
    file.parent.mkdir()
    file.write_text("one")
    alone, folder = fingerprint(file), fingerprint(file.parent)
    assert (alone, folder) == (fingerprint(file), fingerprint(file.parent))
    file.write_text("other")
    assert alone != fingerprint(file) and folder != fingerprint(file.parent)
