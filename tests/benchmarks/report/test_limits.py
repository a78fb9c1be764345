"""Each figure of a report with known figures, held against limits above, below and at it."""

import dataclasses
from pathlib import Path

import pytest

from steadystyle.benchmarks.record import Report
from steadystyle.benchmarks.report.limits import FIGURES, broken_limits, parse_limit
from steadystyle.common.files import InputError


def broken(expression: str, report: Report) -> list[str]:
    return broken_limits([parse_limit(expression)], report)


def test_a_limit_breaks_on_its_own_side_only(whole: Report) -> None:
    # ours: e(1) = 0.04, style 0.1, 80 ms; peer: 400 ms.
    assert broken("ours:e_temporal>0.041", whole) == []
    assert broken("ours:e_temporal > 0.039", whole) == [
        "e_temporal of ours is 0.04, which is > 0.039: --fail-if 'ours:e_temporal > 0.039'"
    ]
    assert broken("ours:latency_ms>80", whole) == []
    assert len(broken("ours:latency_ms>=80", whole)) == 1
    assert len(broken("ours:style<2e-1", whole)) == 1
    assert broken("ours:style<=0.05", whole) == []


def test_without_a_method_it_holds_for_all_but_controls(whole: Report) -> None:
    assert broken("latency_ms>1", whole) == [
        "latency_ms of ours on local is 80, which is > 1: --fail-if 'latency_ms>1'",
        "latency_ms of peer on local is 400, which is > 1: --fail-if 'latency_ms>1'",
    ]
    assert [sentence.split()[2] for sentence in broken("e_temporal>0", whole)] == ["ours", "peer"]


@pytest.mark.parametrize("figure", FIGURES)
def test_every_figure_is_there(whole: Report, figure: str) -> None:
    (sentence,) = broken(f"ours:{figure}>0", whole)
    assert sentence.startswith(f"{figure} of ours") and "absent" not in sentence


def test_the_shift_error_is_asked_for_by_its_pixels(whole: Report) -> None:
    # Means over the two clips: 0.02, 0.02, 0.02 and 0.003.
    assert broken("ours:shift_4>0.0031", whole) == [] and len(broken("ours:shift_4>0.0029", whole)) == 1
    assert len(broken("ours:shift_1>0.019", whole)) == 1
    assert "absent" in broken("peer:shift_1>0.019", whole)[0]


def test_what_is_absent_fails_loudly(whole: Report) -> None:
    assert broken("peer:style>0.5", whole) == ["style of peer is absent: --fail-if 'peer:style>0.5' cannot be decided"]
    assert "absent" in broken("nobody:latency_ms>1", whole)[0]


def test_an_earlier_report_is_the_measure(whole: Report, tmp_path: Path) -> None:
    whole.write(tmp_path / "before.json")
    slower = dataclasses.replace(whole.latency[0], median_ms=90.0)
    now = dataclasses.replace(whole, latency=[slower, whole.latency[1]])
    file = tmp_path / "before.json"
    assert broken(f"latency_ms>1.2*{file}", now) == []  # 80 and 400 before, 90 and 400 now
    assert broken(f"latency_ms>{file}", whole) == []
    assert broken(f"latency_ms>1.1 * {file}", now) == [
        f"latency_ms of ours on local is 90, which is > 88: --fail-if 'latency_ms>1.1 * {file}'"
    ]
    elsewhere = dataclasses.replace(whole, latency=[dataclasses.replace(slower, device="cuda")])
    assert "absent in the earlier report" in broken(f"latency_ms>{file}", elsewhere)[0]


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [
        ("", "cannot be read"),
        ("e_temporal", "cannot be read"),
        ("e_temporal=3", "cannot be read"),
        ("e_temporal>", "cannot be read"),
        ("e_temporal>=<3", "cannot be read"),
        ("beauty>3", "the figure one of e_temporal"),
        ("__import__('os')>3", "cannot be read"),
        ("e_temporal>nan", "has no number"),
        ("e_temporal>x*report.json", "has no number"),
        ("e_temporal>nowhere.json", "'nowhere.json' is not a report"),
        ("e_temporal>1.1*nowhere.json", "'nowhere.json' is not a report"),
    ],
)
def test_what_cannot_be_read_is_refused(expression: str, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        parse_limit(expression)
