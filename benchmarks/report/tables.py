"""The report's tables for page and Markdown: summary and clips; costs are in `cost_tables.py`."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from ...runtimes.artifact import STYLE_SIZE
from ...video.temporal import SHIFTS
from ..costs import Latency
from ..record import Clip, Method, Report, Row, Style, Summary, Temporal
from .cost_tables import growth_table, latency_table, roofline_table, sustained_table, thread_table
from .table import ABSENT, Columns, Table, figure, for_each_device, listed, share

_NAMES = {
    "score": "style score",
    "own_score": "style score at its own size",
    "content": "content score",
    "stroke": "stroke score",
    "colour": "colour distance",
    "shift": "shift error",
    "short": "e(1)",
    "long": "e(5)",
}
_JUDGED = (
    ("style", "score", 3),
    ("style, own size", "own_score", 3),
    ("strokes", "stroke", 3),
    ("colour", "colour", 3),
    ("content", "content", 2),
)
"""Heading, field of `Style` and digits."""
_ALWAYS = ("score", "content")
"""Figures that have a column even if no method has them."""
AnyRow = TypeVar("AnyRow", Summary, Row)


def sections(report: Report) -> dict[str, list[Table]]:
    """All non-empty tables by section in reading order; ``clip-0`` is the first clip."""
    found = {"summary": [summary_table(report)]}
    found |= {f"clip-{index}": [clip_table(clip, report)] for index, clip in enumerate(report.clips)}
    found |= {
        "latency": for_each_device("Latency and memory", report, report.latency, latency_table),
        "roofline": for_each_device(
            "Roofline", report, report.roofline, lambda title, rows: roofline_table(title, rows[0], report.latency)
        ),
        "threads": for_each_device("Threads", report, report.threads, thread_table),
        "growth": for_each_device("Cost growth", report, report.growth, growth_table),
        "sustained": for_each_device("Sustained run", report, report.sustained, sustained_table),
    }
    return {name: tables for name, tables in found.items() if tables}


def tables(report: Report) -> list[Table]:
    """All tables of a report, in reading order."""
    return [table for section in sections(report).values() for table in section]


def summary_table(report: Report) -> Table:
    """Every method and control with its means over the clips, and its latency."""
    by_method = {row.method: row for row in report.summary}
    rows = [by_method[method.name] for method in report.methods]
    columns: Columns[Summary] = [
        ("method", lambda row: row.method),
        ("e(1)", lambda row: figure(row.short, 4)),
        ("over the source", lambda row: figure(row.excess_short, 4, sign=True)),
        ("e(5)", lambda row: figure(row.long, 4)),
        ("over the source", lambda row: figure(row.excess_long, 4, sign=True)),
        *_judged_columns(rows, lambda row: row, report.methods),
    ]
    if report.drift:
        columns.append(("drift", lambda row: figure(row.drift, 5)))
    columns += _shift_columns(rows)
    count = len(report.clips)
    captions = [f"Means over {count} clip{'s' if count != 1 else ''}."]
    for device in dict.fromkeys(row.device for row in report.latency):
        timed = {row.method: row for row in report.latency if row.device == device}
        columns += _time_columns(timed, f", {device}" if report.other_devices else "")
        first = next(iter(timed.values()))
        where = f" on {device}" if report.other_devices else ""
        captions.append(f"Latency{where} at {first.width}x{first.height}, {first.threads} threads.")
    for reason in dict.fromkeys(report.absent.values()):  # several figures may share a reason
        *others, last = (_NAMES.get(name, name) for name, why in report.absent.items() if why == reason)
        names = f"{', '.join(others)} and {last}" if others else last
        captions.append(f"{names[:1].upper()}{names[1:]} absent: {reason}.")
    return listed("All clips", " ".join(captions), columns, rows, report.controls)


def _time_columns(timed: Mapping[str, Latency], of: str) -> Columns[Summary]:
    def cell(text: Callable[[Latency], str]) -> Callable[[Summary], str]:
        return lambda row: text(timed[row.method]) if row.method in timed else ABSENT

    return [
        (f"ms a frame{of}", cell(lambda time: figure(time.median_ms, 1))),
        ("p99", cell(lambda time: figure(time.p99_ms, 1))),
        (f"x {next(iter(timed.values())).reference}", cell(lambda time: figure(time.ratio, 3))),
    ]


def _judged_columns(
    rows: Sequence[AnyRow], judged: Callable[[AnyRow], Summary | Style | None], methods: Sequence[Method]
) -> Columns[AnyRow]:
    """Columns of style and content figures; the network's training style size is in brackets."""
    by_name = {method.name: method for method in methods}

    def size(row: AnyRow) -> int:
        made_by = by_name.get(by_name[row.method].of or row.method, by_name[row.method])
        return int((made_by.metadata or {}).get("style_size", STYLE_SIZE))

    def text(row: AnyRow, key: str, digits: int) -> str:
        value = getattr(judged(row), key, None)
        return figure(value, digits) + (f" ({size(row)} px)" if key == "own_score" and value is not None else "")

    return [
        (heading, partial(text, key=key, digits=digits))
        for heading, key, digits in _JUDGED
        if key in _ALWAYS or any(getattr(judged(row), key, None) is not None for row in rows)
    ]


def _shift_columns(rows: Sequence[AnyRow]) -> Columns[AnyRow]:
    if not any(row.shift for row in rows):
        return []
    heading = f"shift error, {', '.join(map(str, SHIFTS))} px"
    return [(heading, lambda row: " ".join(f"{error:.4f}" for error in row.shift or []) or ABSENT)]


def clip_table(clip: Clip, report: Report) -> Table:
    """Every method and control on one clip."""
    reference = str(report.settings.get("reference", ""))
    base = next((row for row in clip.rows if row.method == reference), None)

    def errors(name: str, key: str) -> Columns[Row]:
        def column(text: Callable[[Temporal], str]) -> Callable[[Row], str]:
            return lambda row: text(own) if (own := getattr(row, key)) is not None else ABSENT

        whole = getattr(base, key, None)
        of = whole.value if whole is not None and whole.value > 0 else None
        return [
            (name, column(lambda own: f"{own.value:.4f}")),
            ("over the source", column(lambda own: f"{own.excess:+.4f}")),
            (f"x {reference}", column(lambda own: figure(of and own.value / of, 2))),
        ]

    columns: Columns[Row] = [
        ("method", lambda row: row.method),
        *errors("e(1)", "short"),
        *errors("e(5)", "long"),
        *_judged_columns(clip.rows, lambda row: row.style, report.methods),
        *_shift_columns(clip.rows),
    ]
    caption = _clip_caption(clip, report.absent)
    return listed(clip.name, caption, columns, clip.rows, report.controls)


def _clip_caption(clip: Clip, absent_throughout: Mapping[str, str]) -> str:
    rate = f" at {clip.frame_rate:.4g} fps" if clip.frame_rate else ""
    parts = [f"{clip.frames} frames of {clip.width}x{clip.height}{rate}", f"flow: {clip.flow_source}"]
    first = clip.rows[0]
    for interval, found in (("e(1)", first.short), ("e(5)", first.long)):
        if found:
            parts.append(f"{interval} over {found.pairs} pairs, {share(found.mask_share)} of the pixels valid")
    if clip.cuts:
        parts.append(f"{clip.cuts} scene cut{'s' if clip.cuts > 1 else ''}, pairs across left out")
    # Reasons that hold for the whole report are in the summary's caption.
    reasons = dict.fromkeys(
        f"{_NAMES.get(name, name).capitalize()} absent: {reason}"
        for row in clip.rows
        for name, reason in row.absent.items()
        if name not in absent_throughout
    )
    return ". ".join(["; ".join(parts), *clip.notes, *reasons]) + "."
