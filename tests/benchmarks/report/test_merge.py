"""Reports with known figures are merged, and nothing of them is lost or mixed up."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from steadystyle.benchmarks.costs import CostPoint, ThreadPoint, ThreadScaling
from steadystyle.benchmarks.measure.growth import cost_growth
from steadystyle.benchmarks.measure.roofline import roofline
from steadystyle.benchmarks.measure.sustained import sustained
from steadystyle.benchmarks.record import Drift, Report, Run, load_report
from steadystyle.benchmarks.report.merge import merge, merge_reports, rename
from steadystyle.benchmarks.report.plots import plot_growth, plot_sustained
from steadystyle.benchmarks.report.table import ABSENT
from steadystyle.benchmarks.report.tables import tables
from steadystyle.benchmarks.request import BenchmarkRequest
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
    assert report.methods == whole.methods and report.summary == whole.summary
    renamed = rename(whole, devices={"local": mine})
    assert [clip.rows for clip in report.clips] == [clip.rows for clip in renamed.clips]
    assert [dataclasses.replace(clip, again=[]) for clip in report.clips] == renamed.clips
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
        drift=[Drift("identity", "local", 0.5), Drift("theirs", "local", 0.1)],
        latency=[],
    )
    report = merge_reports([whole, more], command="")
    assert [row.method for row in report.clips[0].rows] == ["identity", "ours", "peer", "theirs"]
    assert [one.name for one in report.clips] == ["first.mp4", "second.mp4", "third.mp4"]
    drift = {"identity": 0.0, "ours": 0.001, "peer": 0.002, "theirs": 0.1}
    assert {row.method: row.drift for row in report.summary} == drift
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


def with_all_rows(report: Report, device: str, slower: float) -> Report:
    """The same report with growth, sustained run, threads and roofline, as if it were from that device alone."""
    points = [
        CostPoint(width, height, 20, slower * ms, [[slower * ms] * 4] * 5, 0.1, 90.0, 60.0, 30)
        for width, height, ms in ((32, 24, 1.0), (64, 48, 4.0))
    ]
    threads = [
        ThreadPoint(count, 20, slower * 8 / count, [[slower * 8 / count] * 4] * 5, 0.1, 90.0) for count in (1, 2)
    ]
    seconds = [[slower * (5.0 + second)] * 10 for second in range(4)]
    peak = {"gflops": 100 / slower, "gb_per_s": 10 / slower}
    request = BenchmarkRequest(artifacts=("ours.onnx",), peers=("peer.onnx",), minutes=4 / 60)
    more = dataclasses.replace(
        report,
        growth=[cost_growth(name, points, {}) for name in ("ours", "peer")],
        sustained=[sustained(name, range(4), seconds, width=64, height=48, threads=2) for name in ("ours", "peer")],
        threads=[ThreadScaling(name, "local", 64, 48, threads) for name in ("ours", "peer")],
        roofline=[roofline(peak, report.latency, report.methods)],
        runs=[Run("local", f"benchmark on {device}", report.date, report.version, request)],
    )
    return rename(more, devices={"local": device})


def test_rows_of_every_kind_from_two_devices_come_out_whole(whole: Report, tmp_path: Path) -> None:
    laptop, board = with_all_rows(whole, "local", 1), with_all_rows(whole, "ssh://board", 3)
    laptop.write(tmp_path / "laptop.json")
    board.write(tmp_path / "board.json")
    report = merge([tmp_path / "laptop.json", tmp_path / "board.json"], out_dir=tmp_path / "both")
    for kind in ("latency", "growth", "sustained", "threads", "roofline", "drift", "runs"):
        rows = [*getattr(laptop, kind), *getattr(board, kind)]
        assert getattr(report, kind) == rows and rows, kind
        assert {row.device for row in rows} == {"local", "ssh://board"}, kind
    for clip, mine, theirs in zip(report.clips, laptop.clips, board.clips, strict=True):
        assert [*clip.rows, *clip.again] == [*mine.rows, *theirs.rows]
    assert load_report(tmp_path / "both" / "report.json") == report
    found = {table.title: table for table in tables(report)}
    for device, of_device in (("local", laptop), ("ssh://board", board)):
        for kind in ("Latency and memory", "Roofline", "Threads", "Cost growth", "Sustained run"):
            (own,) = (table for table in tables(of_device) if table.title == kind)
            assert found[f"{kind} on {device}"].rows == own.rows, (kind, device)
    assert {"latency.png", "growth.png", "sustained.png"} <= set(report.pictures)
    page = (tmp_path / "both" / "report.html").read_text()
    for title in found:
        assert f">{title}</h2>" in page


def test_a_roofline_of_a_method_without_latency_has_a_hole_in_its_table(whole: Report) -> None:
    more = dataclasses.replace(with_all_rows(whole, "local", 1), latency=[])
    (table,) = (table for table in tables(more) if table.title == "Roofline")
    assert {dict(zip(table.columns, cells, strict=True))["measured, ms"] for _, cells in table.rows} == {ABSENT}


@pytest.mark.parametrize(("draw", "lines"), [(plot_growth, 8), (plot_sustained, 4)])
def test_a_plot_shows_every_row_with_its_device(whole: Report, draw: Callable[[Report], Figure], lines: int) -> None:
    drawn = draw(merge_reports([with_all_rows(whole, "local", 1), with_all_rows(whole, "ssh://board", 3)], command=""))
    names = [line.get_label() for axes in drawn.axes for line in axes.get_legend_handles_labels()[0]]
    assert len(names) == lines
    for device in ("local", "ssh://board"):
        for method in ("ours", "peer"):
            assert sum(str(name).startswith(f"{method}, {device}:") for name in names) == lines // 4


def test_a_file_that_is_no_report_is_a_hole_and_the_others_are_merged(whole: Report, tmp_path: Path) -> None:
    (tmp_path / "board").mkdir()
    whole.write(tmp_path / "mine.json")
    on_a_board(whole).write(tmp_path / "board" / "report.json")
    (tmp_path / "broken.json").write_text((tmp_path / "mine.json").read_text()[:500])
    files = [tmp_path / "mine.json", tmp_path / "broken.json", tmp_path / "board"]
    report = merge(files, out_dir=tmp_path / "both", command="steadystyle merge")
    assert len(report.latency) == 4
    assert len(report.holes) == 1 and "broken.json' is not a report" in report.holes[0]
    assert load_report(tmp_path / "both" / "report.json").holes == report.holes
    page = (tmp_path / "both" / "report.html").read_text()
    assert "broken.json" in page and "Cortex-A76" in page
    with pytest.raises(InputError, match=r"broken.json' is not a report"):
        merge(files[1:2], out_dir=tmp_path / "none")
    assert not (tmp_path / "none").exists()
