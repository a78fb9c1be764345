import dataclasses
import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from steadystyle.benchmarks import costs, record, request
from steadystyle.benchmarks.record import Report, Style, check, load_report, schema
from steadystyle.benchmarks.report.limits import broken_limits, parse_limit
from steadystyle.benchmarks.report.merge import merge
from steadystyle.benchmarks.report.tables import tables
from steadystyle.common.files import InputError

ADDED = {
    "row": ["shift"],
    "style": ["own_score", "stroke", "colour"],
    "summary": ["own_score", "stroke", "colour", "shift"],
}
"""Fields that reports of format 2 did not have from the beginning: they may be missing."""


def test_a_report_is_written_checked_and_read_back(whole: Report, tmp_path: Path) -> None:
    whole.write(tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text()) == json.loads(json.dumps(whole.to_dict()))
    assert load_report(tmp_path / "report.json") == whole


def test_the_schema_and_the_dataclasses_name_the_same_fields() -> None:
    definitions = schema()["$defs"]
    assert {"Report", "Row", "Latency", "BenchmarkRequest", "Device"} <= set(definitions)
    for name, definition in definitions.items():
        kind = next(getattr(file, name) for file in (record, costs, request) if hasattr(file, name))
        fields = dataclasses.fields(kind)
        assert list(definition["properties"]) == [field.name for field in fields], name
        required = [field.name for field in fields if field.default is field.default_factory is dataclasses.MISSING]
        assert definition["required"] == required, name
        assert definition["additionalProperties"] is False, name
    assert definitions["Temporal"]["properties"]["mask_share"] == {"type": "number", "minimum": 0, "maximum": 1}


def as_of_format_2(report: Report) -> dict[str, Any]:
    """What was written of a report before its rows named their device."""
    record = json.loads(report.to_json())
    del record["runs"]
    rows = [row for clip in record["clips"] for row in clip["rows"]]
    for row in (*rows, *record["growth"], *record["sustained"], *record["threads"], *record["roofline"]):
        del row["device"]
    for clip in record["clips"]:
        del clip["again"]
    drift = {row["method"]: row["value"] for row in record["drift"]}
    roofline = record["roofline"][0] if record["roofline"] else None
    return dict(record | {"format_version": 2, "drift": drift, "roofline": roofline})


def test_a_report_of_before_is_still_read(whole: Report, tmp_path: Path) -> None:
    record = as_of_format_2(whole)
    rows = [row for clip in record["clips"] for row in clip["rows"]]
    for name, places in (("row", rows), ("style", [row["style"] for row in rows]), ("summary", record["summary"])):
        for place, field in itertools.product(places, ADDED[name]):
            del place[field]
    del record["methods"][1]["metadata"]["style_size"]
    (tmp_path / "before.json").write_text(json.dumps(record))
    whole.write(tmp_path / "now.json")
    before = load_report(tmp_path / "before.json")
    assert before.summary[1].score == whole.summary[1].score and before.summary[1].shift is None
    merged = merge([tmp_path / "before.json", tmp_path / "now.json"], out_dir=tmp_path / "merged")
    assert merged.summary == before.summary  # the first one's figures stay
    for figure in ("stroke", "colour", "style_own_size", "shift_3"):
        (sentence,) = broken_limits([parse_limit(f"ours:{figure}>0.1")], before)
        assert sentence.startswith(f"{figure} of ours is absent")
        (sentence,) = broken_limits([parse_limit(f"ours:{figure}>{tmp_path / 'before.json'}")], whole)
        assert "absent in the earlier report" in sentence
    assert broken_limits([parse_limit(f"ours:style>{tmp_path / 'before.json'}")], whole) == []


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        (("kind",), "other", r"report.kind: invalid enum value 'other'"),
        (("clips", 0, "frames"), "30", r"report.clips\[0\].frames: expected `int`, got `str`"),
        (("clips", 0, "frames"), True, r"expected `int`, got `bool`"),
        (("clips", 0, "rows", 1, "short", "mask_share"), 1.5, r"mask_share: expected `float` <= 1.0"),
        (("clips", 0, "rows", 1, "short", "value"), float("nan"), r"value: expected `float` >= 0.0"),
        (("clips", 0, "rows", 1, "short", "value"), None, r"value: expected `float`, got `null`"),
        (("latency", 0, "rounds_ms", 2, 3), -1, r"rounds_ms\[2\]\[3\]: expected `float` >= 0.0"),
        (("absent",), {"score": 3}, r"report.absent\[...\]: expected `str`, got `int`"),
        (("device", "colour"), "red", r"report.device has an unknown field colour"),
    ],
)
def test_what_does_not_fit_the_schema_is_found(
    whole: Report, path: tuple[str | int, ...], value: object, complaint: str
) -> None:
    record: Any = json.loads(whole.to_json())
    check(record)
    place = record
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(ValueError, match=complaint):
        check(record)


def test_a_missing_field_is_found(whole: Report) -> None:
    record = whole.to_dict()
    del record["clips"][1]["cuts"]
    with pytest.raises(ValueError, match=r"report.clips\[1\]: object missing required field `cuts`"):
        check(record)


def test_what_is_no_report_is_refused(tmp_path: Path) -> None:
    for content in ("", "[]", '{"kind": "benchmark"}'):
        (tmp_path / "report.json").write_text(content)
        with pytest.raises(InputError, match="is not a report"):
            load_report(tmp_path / "report.json")
    with pytest.raises(InputError, match="is not a report"):
        load_report(tmp_path / "none.json")
    (tmp_path / "report.json").write_text('{"format_version": 1}')
    with pytest.raises(InputError, match="of format 1, and this version reads 2 and 3"):
        load_report(tmp_path / "report.json")


def test_the_summary_is_the_mean_over_the_clips_that_have_the_figure(whole: Report) -> None:
    ours = whole.summary[1]
    assert ours.method == "ours"
    # 0.03 and 0.05 in the two clips; the long error and its excess in the first one only.
    assert (ours.short, ours.excess_short) == pytest.approx((0.04, 0.03))
    assert (ours.long, ours.excess_long) == (0.05, 0.03)
    assert (ours.score, ours.content, ours.drift) == pytest.approx((0.1, 0.9, 0.001))
    assert whole.summary[2].score is None
    assert (ours.own_score, ours.stroke, ours.colour) == pytest.approx((0.15, 0.4, 0.7))
    assert ours.shift == pytest.approx([0.02, 0.02, 0.02, 0.003])  # 0.01 and 0.03 at 1 px, and so on


def test_tables_show_every_row_and_a_dash_for_what_is_absent(whole: Report) -> None:
    summary, first, second, speed = tables(whole)
    assert [cells[0] for _, cells in summary.rows] == ["identity", "ours", "peer"]
    assert [control for control, _ in summary.rows] == [True, False, False]
    assert dict(zip(summary.columns, summary.rows[1][1], strict=True))["ms a frame"] == "80.0"
    peer = summary.rows[2][1]
    assert peer[summary.columns.index("style")] == "—"
    assert len({len(cells) for _, cells in summary.rows} | {len(summary.columns)}) == 1
    # 0.03 and 0.05 of ours over 0.06 and 0.1 of the reference's.
    assert first.rows[1][1] == [
        "ours", "0.0300", "+0.0200", "0.50", "0.0500", "+0.0300", "0.50", "0.100", "0.150 (448 px)", "0.400", "0.700",
        "0.90", "0.0100 0.0200 0.0300 0.0040",
    ]  # fmt: skip
    ours = dict(zip(summary.columns, summary.rows[1][1], strict=True))
    assert (ours["style, own size"], ours["strokes"], ours["colour"]) == ("0.150 (448 px)", "0.400", "0.700")
    assert ours["shift error, 1, 2, 3, 4 px"] == "0.0200 0.0200 0.0200 0.0030"
    assert first.rows[0][1][7:] == ["1.000", "—", "—", "—", "0.00", "—"]
    # What nobody has gets no column.
    bare = [dataclasses.replace(row, style=Style(0.1, 0.9, 3), shift=None) for row in whole.clips[0].rows]
    _, bare_first, *_ = tables(dataclasses.replace(whole, clips=[dataclasses.replace(whole.clips[0], rows=bare)]))
    assert bare_first.columns[7:] == ["style", "content"]
    assert "resized from 852x480" in first.caption and "90 % of the pixels valid" in first.caption
    assert second.rows[1][1][4] == "—" and "too short" in second.caption and "1 scene cut" in second.caption
    found = dict(zip(speed.columns, speed.rows[0][1], strict=True))
    assert (found["median ms"], found["spread"], found["inference's share"]) == ("80.00", "5 %", "80 %")
    assert "2 threads" in speed.caption
    text = first.to_markdown()
    assert "| *identity* | 0.0100 |" in text
    assert "| ours | 0.0300 | +0.0200 | 0.50 |" in text


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000 + "]" * 100_000,
        '{"a":' * 70 + "1" + "}" * 70,
        '{"format_version": ' + "9" * 5000 + "}",
        '{"kind": "\\ud800"}',
        "\ud800",
    ],
)
def test_a_hostile_report_is_refused_in_a_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "report.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(InputError, match="is not a report that can be read"):
        load_report(tmp_path / "report.json")


def test_figures_of_a_method_that_the_report_does_not_have_are_refused(whole: Report) -> None:
    record = whole.to_dict()
    record["latency"][0]["method"] = "another"
    with pytest.raises(ValueError, match="figures of 'another', which is not among its methods"):
        check(record)
