import html
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from steadystyle.benchmarks.compare import compare
from steadystyle.benchmarks.record import load_report
from steadystyle.common.files import InputError
from steadystyle.video.frames import write_video

Frame = NDArray[np.uint8]


def moving(frames: int, width: int = 96, height: int = 64) -> list[Frame]:
    noise = np.random.default_rng(3).integers(0, 256, (height, width + frames, 3)).astype(np.uint8)
    wide = cv2.GaussianBlur(noise, (0, 0), 2)
    return [np.ascontiguousarray(wide[:, frames - t : frames - t + width]) for t in range(frames)]


def write(path: Path, frames: Sequence[Frame]) -> Path:
    write_video(path, frames, quality=100)
    return path


def flickering(frames: Sequence[Frame]) -> list[Frame]:
    return [frame // 2 + np.uint8(51 * (t % 2)) for t, frame in enumerate(frames)]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write(tmp_path / "source.mp4", moving(9))


def test_videos_are_measured_against_their_source(source: Path, tmp_path: Path) -> None:
    steady = write(tmp_path / "steady.mp4", [frame // 2 for frame in moving(9)])
    flickers = write(tmp_path / "flickers.mp4", flickering(moving(9)))
    report = compare(source, [steady, flickers], out_dir=tmp_path / "report", command="steadystyle compare")
    assert load_report(tmp_path / "report" / "report.json").kind == "compare"
    (clip,) = report.clips
    rows = {row.method: row for row in clip.rows}
    assert set(rows) == {"identity", "steady", "flickers"} | {
        f"{name} ({control})" for name in ("steady", "flickers") for control in ("blur", "still")
    }
    values = {name: row.short.value for name, row in rows.items() if row.short}
    # Half the contrast has half the error; the flicker of 51 grey levels adds a fifth of the range.
    assert values["steady"] == pytest.approx(values["identity"] / 2, abs=0.003)
    assert values["flickers"] == pytest.approx(0.2, abs=0.005)
    assert report.latency == [] and "latency" in report.absent
    assert rows["steady"].shift is None and "finished videos" in report.absent["shift"]
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert "flickers (blur)" in page and "compression" in page


def test_another_size_is_brought_together_and_stated(source: Path, tmp_path: Path) -> None:
    small = [cv2.resize(frame, (48, 32), interpolation=cv2.INTER_AREA).astype(np.uint8) for frame in moving(9)]
    halves, whole = write(tmp_path / "halves.mp4", small), write(tmp_path / "whole.mp4", moving(9))
    report = compare(source, [halves, whole], out_dir=tmp_path / "report")
    one, other = report.clips
    assert (one.name, one.width, one.height) == ("source.mp4 at 48x32", 48, 32)
    assert "Resized from 96x64 to 48x32" in one.notes
    assert [row.method for row in one.rows] == ["identity", "halves", "halves (blur)", "halves (still)"]
    assert [row.method for row in other.rows] == ["identity", "whole", "whole (blur)", "whole (still)"]
    assert len(report.summary) == 7


def test_videos_that_begin_or_end_elsewhere_are_measured_where_all_are(source: Path, tmp_path: Path) -> None:
    later = write(tmp_path / "later.mp4", [255 - frame for frame in moving(9)[2:]])
    longer = write(tmp_path / "longer.mp4", moving(11)[1:])
    report = compare(source, [later, longer], out_dir=tmp_path / "report")
    (clip,) = report.clips
    assert clip.frames == 7
    assert "later.mp4 lacks 2 frames at its start, found by its outlines; measured where both are" in clip.notes
    rows = {row.method: row.short for row in clip.rows}
    identity, inverted = rows["identity"], rows["later"]
    assert identity is not None and inverted is not None
    # Inverting changes no difference between frames, so long as the frames are the same.
    assert inverted.value == pytest.approx(identity.value, rel=0.02)


def test_every_second_frame_is_measured_against_every_second(source: Path, tmp_path: Path) -> None:
    write_video(tmp_path / "halved.mp4", [255 - frame for frame in moving(9)[1::2]], 12.5, quality=100)
    (clip,) = compare(source, [tmp_path / "halved.mp4"], out_dir=tmp_path / "report").clips
    assert (clip.frames, clip.frame_rate) == (4, 12.5)
    assert "halved.mp4 has one frame in 2 of the source's, from frame 1 on" in clip.notes
    identity, halved = clip.rows[0].short, clip.rows[1].short
    assert identity is not None and halved is not None
    assert halved.value == pytest.approx(identity.value, rel=0.02)


def test_a_bad_video_leaves_a_hole_and_the_others_are_measured(source: Path, tmp_path: Path) -> None:
    good, wide = write(tmp_path / "good.mp4", moving(9)), write(tmp_path / "wide.mp4", moving(9, width=128))
    report = compare(source, [wide, good, tmp_path / "none.mp4"], out_dir=tmp_path / "report")
    assert [method.name for method in report.methods if method.control is None] == ["good"]
    assert "is 128x64 and its source" in report.holes[0] and "does not exist" in report.holes[1]
    for file in ("report.html", "tables.md"):
        assert "Not measured: 'wide.mp4' is" in html.unescape((tmp_path / "report" / file).read_text())


def test_what_cannot_be_aligned_is_refused(source: Path, tmp_path: Path) -> None:
    longer = write(tmp_path / "longer.mp4", moving(12))
    wide = write(tmp_path / "wide.mp4", moving(9, width=128))
    write_video(tmp_path / "slower.mp4", moving(6), 16)
    for video, sentence in (
        (longer, "has 12 frames and its source 'source.mp4' 9: give"),
        (wide, "is 128x64 and its source"),
        (
            tmp_path / "slower.mp4",
            "has 16 frames a second and its source 'source.mp4' 25, so that its frames lie between",
        ),
    ):
        with pytest.raises(InputError, match=sentence):
            compare(source, [video], out_dir=tmp_path / "report")
    with pytest.raises(InputError, match="given twice"):
        compare(source, [longer, longer], out_dir=tmp_path / "report")
    with pytest.raises(InputError, match="at least one"):
        compare(source, [], out_dir=tmp_path / "report")
    with pytest.raises(InputError, match="does not exist"):
        compare(source, [tmp_path / "none.mp4"], out_dir=tmp_path / "report")
    assert not (tmp_path / "report").exists()
