"""Names in the plots are text, whatever is in them."""

import dataclasses
from pathlib import Path

import pytest

from steadystyle.benchmarks.record import Report
from steadystyle.benchmarks.report.merge import rename
from steadystyle.benchmarks.report.write import write_report


@pytest.mark.parametrize("name", [r"$\frac{$", "$x_1$ ^", "a$b"])
def test_a_dollar_sign_in_a_name_is_no_formula(whole: Report, tmp_path: Path, name: str) -> None:
    clips = [dataclasses.replace(clip, name=f"{name} {clip.name}") for clip in whole.clips]
    report = rename(dataclasses.replace(whole, clips=clips), methods={"ours": name}, devices={"local": name})
    written = write_report(report, [None] * len(clips), tmp_path)
    assert {"trade-offs.png", "latency.png"} <= set(written.pictures)
