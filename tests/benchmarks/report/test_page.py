"""The report's page, from figures made up: whose rows are on it, and that nothing in a name becomes markup."""

import dataclasses
import html
import re
import sys
from pathlib import Path

import pytest

from steadystyle.benchmarks.record import Report, Run
from steadystyle.benchmarks.report.merge import merge_reports
from steadystyle.benchmarks.report.tables import sections
from steadystyle.benchmarks.report.write import check_folder, write_report
from steadystyle.benchmarks.request import BenchmarkRequest
from steadystyle.common.files import InputError


def written(report: Report, folder: Path) -> str:
    write_report(report, [None] * len(report.clips), folder)
    return (folder / "report.html").read_text(encoding="utf-8")


def test_each_table_has_its_anchor_and_each_device_its_tables(whole: Report, tmp_path: Path) -> None:
    board = dataclasses.replace(whole, device=dataclasses.replace(whole.device, processor="Cortex-A76"))
    report = merge_reports([whole, board], command="steadystyle merge")
    page = written(report, tmp_path)
    titles = [table.title for tables in sections(report).values() for table in tables]
    assert sum("Cortex-A76" in title for title in titles) == sum("local (" in title for title in titles) / 2 >= 1
    headings = dict(re.findall(r'<h2 id="([^"]+)">([^<]+)</h2>', page))
    links = dict(re.findall(r'<a href="#([^"]+)">([^<]+)</a>', page))
    assert list(headings.values())[: len(titles)] == titles and set(headings) == set(links)
    assert {"summary", "clip-0", "clip-1", "latency", "latency-2", "definitions", "machine"} <= set(headings)


def test_what_was_asked_of_a_device_stands_with_it(whole: Report, tmp_path: Path) -> None:
    report = dataclasses.replace(
        whole,
        other_devices=[dataclasses.replace(whole.device, name="ssh://board")],
        runs=[
            Run(device, f"benchmark on {device}", "", "", BenchmarkRequest(sizes=((32, 24), (64, 48)), threads=threads))
            for device, threads in (("local", 3), ("ssh://board", 4))
        ],
    )
    _, mine, board = re.split("<h3>(?:local|ssh://board)</h3>", written(report, tmp_path))
    for part, other, threads in ((mine, "ssh://board", 3), (board, "local", 4)):
        assert f"<dt>threads</dt><dd>{threads}</dd>" in part and "<dd>32x24, 64x48</dd>" in part
        assert f"benchmark on {other}" not in part and "<dt>processor</dt>" in part


def test_words_of_a_report_are_no_markup(whole: Report, tmp_path: Path) -> None:
    bold = "<b>\"&'</b>"
    report = dataclasses.replace(
        whole, command=bold, holes=[bold], notes=[bold], settings=whole.settings | {bold: [bold, 1], "images": {}}
    )
    page = written(report, tmp_path)
    assert "<b>" not in page and html.unescape(page).count(bold) == 5
    assert "<dd>none</dd>" in page and page.startswith("<!doctype html>")


def test_no_control_character_of_a_report_is_written(whole: Report, tmp_path: Path) -> None:
    named = dataclasses.replace(whole.clips[0], name="a\x1b[2J\x07\u202eb\n| c.mp4", notes=["\x9bnote"])
    write_report(dataclasses.replace(whole, clips=[named], holes=["\x1b]0;owned\x07"]), [None], tmp_path)
    for file in ("report.html", "tables.md"):
        text = (tmp_path / file).read_text(encoding="utf-8")
        assert text.replace("\n", "").isprintable(), file
        assert "\\x1b[2J" in text, file


@pytest.mark.parametrize("module", ["matplotlib", "jinja2"])
def test_what_the_report_needs_is_told_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=rf"needs? {module}: pip install 'steadystyle\[report\]'"):
        check_folder(tmp_path)
    assert check_folder(tmp_path, pictures=False) == tmp_path
