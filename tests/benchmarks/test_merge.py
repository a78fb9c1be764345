"""Reports with known figures are merged, and nothing of them is lost or mixed up."""

import dataclasses
from pathlib import Path

import pytest

from steadystyle.benchmarks.record import Report, read_report
from steadystyle.benchmarks.report.merge import merge, merge_reports
from steadystyle.benchmarks.report.tables import tables
from steadystyle.common.files import InputError


def on_a_board(report: Report) -> Report:
    """The same artifact on a board: slower, and half a clip's figures of its own."""
    return dataclasses.replace(
        report,
        device=dataclasses.replace(report.device, processor="Cortex-A76"),
        latency=[dataclasses.replace(row, median_ms=2 * row.median_ms) for row in report.latency],
        absent={"score": "no style image"},
    )


def test_latency_keeps_every_row_with_its_device(whole: Report) -> None:
    report = merge_reports([whole, on_a_board(whole)], command="steadystyle merge")
    mine, board = f"local ({whole.device.processor})", "local (Cortex-A76)"
    assert [(row.device, row.method, row.median_ms) for row in report.latency] == [
        (mine, "ours", 80), (mine, "peer", 400), (board, "ours", 160), (board, "peer", 800)
    ]  # fmt: skip
    assert [device.name for device in (report.device, *report.other_devices)] == [mine, board]
    assert report.methods == whole.methods and report.clips == whole.clips and report.summary == whole.summary
    assert report.absent == {}  # the first report has the score
    summary, *_, first, second = tables(report)
    ours = dict(zip(summary.columns, summary.rows[1][1], strict=True))
    assert (ours[f"ms a frame, {mine}"], ours[f"ms a frame, {board}"]) == ("80.0", "160.0")
    assert (first.title, second.title) == (f"Latency and memory on {mine}", f"Latency and memory on {board}")
    assert second.rows[0][1][2] == "160.00"


def test_other_methods_and_clips_come_in_beside(whole: Report) -> None:
    clip, other = whole.clips[0], dataclasses.replace(whole.clips[1], name="third.mp4")
    theirs = [dataclasses.replace(row, method="theirs") for row in clip.rows[1:2]]
    more = dataclasses.replace(
        whole,
        methods=[whole.methods[0], dataclasses.replace(whole.methods[1], name="theirs")],
        clips=[
            dataclasses.replace(clip, rows=[clip.rows[0], *theirs]),
            dataclasses.replace(other, rows=other.rows[:1]),
        ],
        drift={"identity": 0.5, "theirs": 0.1},
        latency=[],
    )
    report = merge_reports([whole, more], command="")
    assert [row.method for row in report.clips[0].rows] == ["identity", "ours", "peer", "theirs"]
    assert [one.name for one in report.clips] == ["first.mp4", "second.mp4", "third.mp4"]
    assert report.drift == {"identity": 0.0, "ours": 0.001, "peer": 0.002, "theirs": 0.1}
    assert {row.method: row.short for row in report.summary}["theirs"] == 0.03


def test_what_is_called_alike_and_is_not_the_same_gets_another_name(whole: Report) -> None:
    ours = dataclasses.replace(whole.methods[1], sha256="9" * 64)
    identity = whole.clips[0].rows[0]
    assert identity.short is not None
    noisier = dataclasses.replace(identity, short=dataclasses.replace(identity.short, value=0.02))
    clip = dataclasses.replace(whole.clips[0], rows=[noisier, *whole.clips[0].rows[1:]])
    other = dataclasses.replace(whole, methods=[whole.methods[0], ours, whole.methods[2]], clips=[clip])
    other = dataclasses.replace(other, device=dataclasses.replace(other.device, name="cuda"))
    report = merge_reports([whole, other], command="")
    assert [method.name for method in report.methods] == ["identity", "ours", "peer", "ours, cuda"]
    assert [row.method for row in report.latency] == ["ours", "peer", "ours, cuda", "peer"]
    assert [one.name for one in report.clips] == ["first.mp4", "second.mp4", "first.mp4, cuda"]
    assert [row.method for row in report.clips[2].rows] == ["identity", "ours, cuda", "peer"]


def test_a_file_that_is_no_report_is_a_hole_and_the_others_are_merged(whole: Report, tmp_path: Path) -> None:
    (tmp_path / "board").mkdir()
    whole.write(tmp_path / "mine.json")
    on_a_board(whole).write(tmp_path / "board" / "report.json")
    (tmp_path / "broken.json").write_text((tmp_path / "mine.json").read_text()[:500])
    files = [tmp_path / "mine.json", tmp_path / "broken.json", tmp_path / "board"]
    report = merge(files, out_dir=tmp_path / "both", command="steadystyle merge")
    assert len(report.latency) == 4
    assert len(report.holes) == 1 and "broken.json' is not a report" in report.holes[0]
    assert read_report(tmp_path / "both" / "report.json")["holes"] == report.holes
    page = (tmp_path / "both" / "report.html").read_text()
    assert "broken.json" in page and "Cortex-A76" in page
    with pytest.raises(InputError, match=r"broken.json' is not a report"):
        merge(files[1:2], out_dir=tmp_path / "none")
    assert not (tmp_path / "none").exists()
