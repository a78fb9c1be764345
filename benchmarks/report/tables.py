"""The report's tables, for the page and for Markdown."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ...runtimes.artifact import STYLE_SIZE
from ...video.temporal import SHIFTS
from ..costs import CostGrowth, Latency, Roofline, RooflineRow, Sustained, ThreadScaling
from ..record import Clip, Method, Report, Row, Style, Summary

ABSENT = "—"
OnDevice = TypeVar("OnDevice", Latency, CostGrowth, ThreadScaling, Sustained, Roofline)
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


@dataclass(frozen=True)
class Table:
    """Rows of text under headings.

    Attributes:
        title: what it is.
        caption: resolution, flow source and mask share, and what else belongs beside the figures.
        columns: headings.
        rows: for each row whether it is a control, and its cells, the name first.
    """

    title: str
    caption: str
    columns: list[str]
    rows: list[tuple[bool, list[str]]]

    def to_markdown(self) -> str:
        """The table in Markdown, its caption below."""
        lines = [self.columns, ["---", *["---:"] * (len(self.columns) - 1)]]
        lines += [[f"*{cells[0]}*" if control else cells[0], *cells[1:]] for control, cells in self.rows]
        text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        return f"## {self.title}\n\n{text}\n\n{self.caption}\n"


def figure(value: float | None, digits: int, *, sign: bool = False) -> str:
    """A number as text, a dash where it is absent."""
    if value is None:
        return ABSENT
    return f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"


def _share(value: float | None) -> str:
    return ABSENT if value is None else f"{100 * value:.0f} %"


def tables(report: Report) -> list[Table]:
    """All tables of a report: the summary, one for each clip, latency, and what else was asked for."""
    clips = [clip_table(clip, report) for clip in report.clips]
    more = (
        *roofline_tables(report),
        *thread_tables(report),
        *growth_tables(report),
        *sustained_tables(report),
    )
    return [summary_table(report), *clips, *latency_tables(report), *more]


def summary_table(report: Report) -> Table:
    """Every method and control with the means over the clips, and its latency."""
    latency = {(row.device, row.method): row for row in report.latency}
    devices = devices_timed(report)
    summary = {row.method: row for row in report.summary}
    timed = []
    for device in devices:
        of = f", {device}" if len(devices) > 1 else ""
        timed += [f"ms a frame{of}", "p99", f"x {latency_reference(report, device)}"]
    drift = ["drift"] if report.drift else []
    judged, judgements = _judgements(report.methods, summary)
    moved, shifts = _shifts(summary)
    rows = []
    for method in report.methods:
        row = summary[method.name]
        cells = [
            method.name,
            figure(row.short, 4),
            figure(row.excess_short, 4, sign=True),
            figure(row.long, 4),
            figure(row.excess_long, 4, sign=True),
            *judgements[method.name],
        ]
        if drift:
            cells.append(figure(row.drift, 5))
        cells += shifts[method.name]
        for device in devices:
            time = latency.get((device, method.name))
            cells += (
                [figure(time.median_ms, 1), figure(time.p99_ms, 1), figure(time.ratio, 3)] if time else [ABSENT] * 3
            )
        rows.append((method.kind == "control", cells))
    count = len(report.clips)
    caption = f"Means over {count} clip{'s' if count != 1 else ''}. "
    for device in devices:
        first = next(row for row in report.latency if row.device == device)
        where = f" on {device}" if len(devices) > 1 else ""
        caption += f"Latency{where} at {first.width}x{first.height}, {first.threads} threads. "
    for reason in dict.fromkeys(report.absent.values()):  # several figures may lack for one reason
        *others, last = (_NAMES.get(name, name) for name, why in report.absent.items() if why == reason)
        names = f"{', '.join(others)} and {last}" if others else last
        caption += f"{names[:1].upper()}{names[1:]} absent: {reason}. "
    columns = ["method", "e(1)", "over the source", "e(5)", "over the source", *judged, *drift, *moved, *timed]
    return Table("All clips", caption.strip(), columns, rows)


def _judgements(
    methods: Sequence[Method], figures: Mapping[str, Summary | Style | None]
) -> tuple[list[str], dict[str, list[str]]]:
    """Headings and each method's cells for the figures of `Style`; those that no method has are left out.

    The style score is stated again with the style image at the network's own size, in brackets.
    """
    by_name = {method.name: method for method in methods}
    headings, cells = list[str](), {name: list[str]() for name in figures}
    for heading, key, digits in (
        ("style", "score", 3),
        ("style, own size", "own_score", 3),
        ("strokes", "stroke", 3),
        ("colour", "colour", 3),
        ("content", "content", 2),
    ):
        values = {name: getattr(own, key, None) for name, own in figures.items()}
        if key not in ("score", "content") and all(value is None for value in values.values()):
            continue
        headings.append(heading)
        for name, value in values.items():
            made_by = by_name.get(by_name[name].of or name, by_name[name])
            size = (made_by.metadata or {}).get("style_size", STYLE_SIZE)
            of = f" ({size} px)" if key == "own_score" and value is not None else ""
            cells[name].append(figure(value, digits) + of)
    return headings, cells


def _shifts(figures: Mapping[str, Summary | Row]) -> tuple[list[str], dict[str, list[str]]]:
    """The same for the shift error."""
    if not any(own.shift for own in figures.values()):
        return [], {name: [] for name in figures}
    texts = {name: " ".join(f"{error:.4f}" for error in own.shift or []) for name, own in figures.items()}
    heading = f"shift error, {', '.join(map(str, SHIFTS))} px"
    return [heading], {name: [text or ABSENT] for name, text in texts.items()}


def devices_timed(report: Report) -> list[str]:
    """Names of the devices that latency was measured on, in the order of the rows."""
    return list(dict.fromkeys(row.device for row in report.latency))


def asked(report: Report) -> list[tuple[str, str]]:
    """What was asked for, device by device, and what else shaped the figures."""
    several = len(report.runs) > 1
    found = [
        (f"{run.device}: {name}" if several else name, str(value))
        for run in report.runs
        if run.request is not None
        for field in dataclasses.fields(run.request)
        for name, value in [(field.name.replace("_", " "), getattr(run.request, field.name))]
        if value not in ((), {}, None)
    ]
    return [*found, *((name, str(value)) for name, value in report.settings.items())]


def devices_of(report: Report) -> list[str]:
    """Names of all devices."""
    return [device.name for device in (report.device, *report.other_devices)]


def _for_each_device(
    title: str, rows: Sequence[OnDevice], table: Callable[[str, list[OnDevice]], Table], report: Report
) -> list[Table]:
    """A table of each device's rows; the title names the device where the report has several."""
    several = len(devices_of(report)) > 1
    return [
        table(f"{title} on {device}" if several else title, [row for row in rows if row.device == device])
        for device in dict.fromkeys(row.device for row in rows)
    ]


def latency_reference(report: Report, device: str) -> str:
    """The method that a device's ratios of latency are to."""
    return next(row.reference for row in report.latency if row.device == device)


def clip_table(clip: Clip, report: Report) -> Table:
    """Every method and control on one clip."""
    reference = str(report.settings.get("reference", ""))
    base = next((row for row in clip.rows if row.method == reference), None)
    methods = {method.name: method for method in report.methods}
    judged, judgements = _judgements(report.methods, {row.method: row.style for row in clip.rows})
    moved, shifts = _shifts({row.method: row for row in clip.rows})
    rows = []
    for row in clip.rows:
        cells = [row.method]
        for own, other in ((row.short, base.short if base else None), (row.long, base.long if base else None)):
            ratio = own.value / other.value if own and other and other.value > 0 else None
            cells += [f"{own.value:.4f}", f"{own.excess:+.4f}"] if own else [ABSENT] * 2
            cells.append(figure(ratio, 2))
        cells += [*judgements[row.method], *shifts[row.method]]
        rows.append((methods[row.method].kind == "control", cells))
    columns = [
        "method",
        "e(1)",
        "over the source",
        f"x {reference}",
        "e(5)",
        "over the source",
        f"x {reference}",
        *judged,
        *moved,
    ]
    return Table(clip.name, _clip_caption(clip, report.absent), columns, rows)


def _clip_caption(clip: Clip, absent_throughout: Mapping[str, str]) -> str:
    rate = f" at {clip.frame_rate:.4g} fps" if clip.frame_rate else ""
    parts = [f"{clip.frames} frames of {clip.width}x{clip.height}{rate}", f"flow: {clip.flow_source}"]
    first = clip.rows[0]
    for interval, found in (("e(1)", first.short), ("e(5)", first.long)):
        if found:
            parts.append(f"{interval} over {found.pairs} pairs, {_share(found.mask_share)} of the pixels valid")
    if clip.cuts:
        parts.append(f"{clip.cuts} scene cut{'s' if clip.cuts > 1 else ''}, pairs across left out")
    # What is missing in the whole report is said once, below the first table.
    reasons = dict.fromkeys(
        f"{_NAMES.get(name, name).capitalize()} absent: {reason}"
        for row in clip.rows
        for name, reason in row.absent.items()
        if name not in absent_throughout
    )
    return ". ".join(["; ".join(parts), *clip.notes, *reasons]) + "."


def latency_tables(report: Report) -> list[Table]:
    """Latency and memory in full, one table for each device; empty for a comparison."""
    return _for_each_device("Latency and memory", report.latency, _latency_table, report)


def _latency_table(title: str, latency: Sequence[Latency]) -> Table:
    first = latency[0]
    columns: list[tuple[str, Callable[[Latency], str]]] = [
        ("method", lambda row: row.method),
        ("frames", lambda row: str(row.frames)),
        ("median ms", lambda row: figure(row.median_ms, 2)),
        ("spread", lambda row: _share(row.spread)),
        ("p90", lambda row: figure(row.p90_ms, 2)),
        ("p99", lambda row: figure(row.p99_ms, 2)),
        (f"> {first.deadline_ms:.1f} ms", lambda row: _share(row.over_deadline)),
        (f"x {first.reference}", _ratio),
        ("end to end, fps", lambda row: figure(row.end_to_end.fps if row.end_to_end else None, 1)),
        (
            "of inference alone",
            lambda row: _share(row.end_to_end.share_of_inference if row.end_to_end else None),
        ),
        (
            "inference's share",
            lambda row: _share(row.end_to_end.inference_share if row.end_to_end else None),
        ),
        ("peak memory, MiB", _memory),
    ]
    caption = f"{first.width}x{first.height}, {first.threads} threads, each method in a process of its own"
    if first.rounds_ms:
        caption += (
            f", in {len(first.rounds_ms)} alternating rounds; {first.warm_up_frames} frames of warm-up not counted. "
            "The ratio is the median over the rounds (smallest to largest). Spread: the rounds' medians, 90th minus "
            "10th percentile, over their median"
        )
    if first.end_to_end:
        caption += (
            f". End to end: decode, stylize and encode {first.end_to_end.frames} frames; inference's share is how much "
            "of that time the stylizer was at work, decoding and encoding went on beside it"
        )
    frames = min(row.memory_frames for row in latency)
    engines = "; ".join(f"{row.method}: {row.engine}" for row in latency)
    caption += f". Memory after at least {frames} frames. Engines: {engines}."
    rows = [(False, [text(row) for _, text in columns]) for row in latency]
    return Table(title, caption, [name for name, _ in columns], rows)


def _ratio(row: Latency) -> str:
    spread = f" ({row.ratio_low:.3f} to {row.ratio_high:.3f})" if row.rounds_ms else ""
    return f"{row.ratio:.3f}{spread}"


def _memory(row: Latency) -> str:
    before = f" ({row.memory_before_mib:.0f} before loading)" if row.memory_before_mib is not None else ""
    return f"{figure(row.peak_memory_mib, 0)}{before}"


def roofline_tables(report: Report) -> list[Table]:
    """Each method's share of its machine's peak; empty for a comparison."""
    medians = {(row.device, row.method): row.median_ms for row in report.latency}
    return _for_each_device("Roofline", report.roofline, lambda title, rows: _roofline(title, rows[0], medians), report)


def _roofline(title: str, peak: Roofline, medians: Mapping[tuple[str, str], float]) -> Table:
    columns: list[tuple[str, Callable[[RooflineRow], str]]] = [
        ("method", lambda row: row.method),
        ("precision", lambda row: row.precision or ABSENT),
        ("GMAC a frame", lambda row: _scaled(row.multiplications, 1e9, 3)),
        ("least MB moved", lambda row: _scaled(row.least_bytes, 1e6, 2)),
        ("bound, ms", lambda row: f"{row.bound_ms:.2f} ({row.bound_by})" if row.bound_ms is not None else ABSENT),
        ("measured, ms", lambda row: figure(medians[peak.device, row.method], 2)),
        ("of what the processor can do", _share_of_peak),
    ]
    caption = (
        f"Peak measured in this run with numpy on {peak.threads} threads: {peak.gflops:.1f} GFLOP/s, a float32 matrix "
        f"product of side {peak.product_side}, and {peak.gb_per_s:.1f} GB/s read and written, a copy of "
        f"{peak.copy_mib} MiB. Bound: no method is quicker than its multiplications at the one, or frame in, frame out "
        "and weights at the other. Multiplications are those of the architecture's convolutions at its own sizes. "
    )
    if any(row.precision == "int8" for row in peak.rows):
        caption += (
            "* An 8-bit artifact is held against the float32 peak, which 8-bit arithmetic may exceed: its share "
            "compares methods and is no share of a limit. "
        )
    if any(row.share is not None and row.share > 1 and row.precision != "int8" for row in peak.rows):
        caption += "More than 100 % in float: the peak was disturbed, measure again with nothing else running. "
    caption += " ".join(f"{row.method} has no share: {row.absent}." for row in peak.rows if row.absent)
    rows = [(False, [text(row) for _, text in columns]) for row in peak.rows]
    return Table(title, caption.strip(), [name for name, _ in columns], rows)


def _scaled(value: int | None, unit: float, digits: int) -> str:
    return figure(None if value is None else value / unit, digits)


def _share_of_peak(row: RooflineRow) -> str:
    if row.share is None:
        return ABSENT
    return f"{100 * row.share:.0f} %{' *' if row.precision == 'int8' else ''}"


def thread_tables(report: Report) -> list[Table]:
    """Latency with each number of threads, and how much quicker that is; empty where it was not asked for."""
    return _for_each_device("Threads", report.threads, _thread_table, report)


def _thread_table(title: str, threads: Sequence[ThreadScaling]) -> Table:
    first = threads[0]
    counts = [point.threads for point in first.points]
    rows = []
    for row in threads:
        one = row.points[0].median_ms
        cells = [f"{point.median_ms:.2f} ms ({one / point.median_ms:.2f}x)" for point in row.points]
        rows.append((False, [row.method, *cells]))
    most = max(point.spread for row in threads for point in row.points)
    caption = (
        f"Median latency at {first.width}x{first.height}, each number of threads in a process of its own, in "
        f"alternating rounds whose medians spread by up to {_share(most)}. In brackets: how many times as quick as "
        "with the first."
    )
    return Table(title, caption, ["method", *(f"{count} thread{'s' * (count > 1)}" for count in counts)], rows)


def growth_tables(report: Report) -> list[Table]:
    """Cost at each size and how it grows; empty where it was not asked for."""
    return _for_each_device("Cost growth", report.growth, _growth_table, report)


def _growth_table(title: str, growths: Sequence[CostGrowth]) -> Table:
    sizes = growth_sizes(growths)
    rows = []
    for growth in growths:
        cost = {f"{point.width}x{point.height}": point for point in growth.points}
        cells = [
            f"{cost[size].median_ms:.2f} ms, {cost[size].peak_memory_mib:.0f} MiB" if size in cost else ABSENT
            for size in sizes
        ]
        exponents = [figure(growth.latency_exponent, 2), figure(growth.memory_exponent, 2)]
        rows.append((False, [growth.method, *cells, *exponents]))
    points = [point for growth in growths for point in growth.points]
    caption = (
        "Median latency and peak memory, each size in a process of its own, the sizes of a method in alternating rounds"
        + (f" whose medians spread by up to {_share(max(point.spread for point in points))}. " if points else ". ")
        + "Exponents: slope of the least-squares line of the logarithms over that of the number of pixels; 1 = in "
        "proportion. That of memory is of the peak less what the process had before the method was loaded. "
        + _growth_holes(growths)
    )
    columns = ["method", *sizes, "exponent of latency", "exponent of memory"]
    return Table(title, caption.strip(), columns, rows)


def growth_sizes(growth: Sequence[CostGrowth]) -> list[str]:
    """All sizes of a cost growth, measured or not, from few pixels to many."""
    found = {f"{point.width}x{point.height}" for one in growth for point in one.points}
    found |= {size for one in growth for size in one.absent if size != "exponents"}
    return sorted(found, key=lambda size: math.prod(map(int, size.split("x"))))


def _growth_holes(growth: Sequence[CostGrowth]) -> str:
    return " ".join(f"{one.method}, {what}: {reason}." for one in growth for what, reason in one.absent.items())


def sustained_tables(report: Report) -> list[Table]:
    """The sustained runs; empty where they were not asked for."""
    return _for_each_device("Sustained run", report.sustained, _sustained_table, report)


def _sustained_table(title: str, sustained: Sequence[Sustained]) -> Table:
    first = sustained[0]
    minutes = (max(first.at_s) + 1) / 60
    columns: list[tuple[str, Callable[[Sustained], str]]] = [
        ("method", lambda row: row.method),
        ("frames", lambda row: str(row.frames)),
        ("median ms", lambda row: figure(row.median_ms, 2)),
        ("jitter ms", lambda row: figure(row.jitter_ms, 2)),
        ("p99", lambda row: figure(row.p99_ms, 2)),
        ("slowest", lambda row: figure(row.worst_ms, 2)),
        ("ms a minute", lambda row: figure(row.slope_ms_per_minute, 3, sign=True)),
        (f"> {first.deadline_ms:.1f} ms", lambda row: _share(row.over_deadline)),
    ]
    caption = (
        f"{first.width}x{first.height}, {first.threads} threads, {minutes:.3g} minutes of each "
        "method alone, frame after frame without a pause. Jitter: 90th minus 10th percentile of all frames. Ms a "
        "minute: slope of the least-squares line through the medians of each second; above 0 it gets slower."
    )
    rows = [(False, [text(row) for _, text in columns]) for row in sustained]
    return Table(title, caption, [name for name, _ in columns], rows)
