"""The report's tables, for the page and for Markdown."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from .report import Clip, Latency, Report, Style

ABSENT = "—"


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
    """All tables of a report: the summary, one for each clip, and latency."""
    return [summary_table(report), *(clip_table(clip, report) for clip in report.clips), *latency_tables(report)]


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
    rows = []
    for method in report.methods:
        row = summary[method.name]
        cells = [
            method.name,
            figure(row.short, 4),
            figure(row.excess_short, 4, sign=True),
            figure(row.long, 4),
            figure(row.excess_long, 4, sign=True),
            figure(row.score, 3),
            figure(row.content, 2),
        ]
        if drift:
            cells.append(figure(row.drift, 5))
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
    caption += " ".join(f"{_names(name)} absent: {reason}." for name, reason in report.absent.items())
    columns = ["method", "e(1)", "over the source", "e(5)", "over the source", "style", "content", *drift, *timed]
    return Table("All clips", caption.strip(), columns, rows)


def _names(figure_name: str) -> str:
    return {"score": "Style score", "content": "Content score", "short": "e(1)", "long": "e(5)"}.get(
        figure_name, figure_name.capitalize()
    )


def devices_timed(report: Report) -> list[str]:
    """Names of the devices that latency was measured on, in the order of the rows."""
    return list(dict.fromkeys(row.device for row in report.latency))


def latency_reference(report: Report, device: str) -> str:
    """The method that a device's ratios of latency are to."""
    return next(row.reference for row in report.latency if row.device == device)


def clip_table(clip: Clip, report: Report) -> Table:
    """Every method and control on one clip."""
    reference = str(report.settings.get("reference", ""))
    base = next((row for row in clip.rows if row.method == reference), None)
    methods = {method.name: method for method in report.methods}
    rows = []
    for row in clip.rows:
        cells = [row.method]
        for own, other in ((row.short, base.short if base else None), (row.long, base.long if base else None)):
            ratio = own.value / other.value if own and other and other.value > 0 else None
            cells += [f"{own.value:.4f}", f"{own.excess:+.4f}"] if own else [ABSENT] * 2
            cells.append(figure(ratio, 2))
        style = row.style or Style(None, None, 1)
        cells += [figure(style.score, 3), figure(style.content, 2)]
        rows.append((methods[row.method].kind == "control", cells))
    columns = [
        "method",
        "e(1)",
        "over the source",
        f"x {reference}",
        "e(5)",
        "over the source",
        f"x {reference}",
        "style",
        "content",
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
        f"{_names(name)} absent: {reason}"
        for row in clip.rows
        for name, reason in row.absent.items()
        if name not in absent_throughout
    )
    return ". ".join(["; ".join(parts), *clip.notes, *reasons]) + "."


def latency_tables(report: Report) -> list[Table]:
    """Latency and memory in full, one table for each device; empty for a comparison."""
    devices = devices_timed(report)
    by_device = ([row for row in report.latency if row.device == device] for device in devices)
    where = [f" on {device}" if len(devices) > 1 else "" for device in devices]
    return [_latency_table(f"Latency and memory{on}", rows) for on, rows in zip(where, by_device, strict=True)]


def _latency_table(title: str, latency: Sequence[Latency]) -> Table:
    first = latency[0]
    columns: list[tuple[str, Callable[[Latency], str]]] = [
        ("method", lambda row: row.method),
        ("frames", lambda row: str(row.frames)),
        ("median ms", lambda row: figure(row.median_ms, 2)),
        ("p90", lambda row: figure(row.p90_ms, 2)),
        ("p99", lambda row: figure(row.p99_ms, 2)),
        (f"> {first.deadline_ms:.1f} ms", lambda row: _share(row.over_deadline)),
        (f"x {first.reference}", _ratio),
        ("end to end, fps", lambda row: figure(row.end_to_end.fps if row.end_to_end else None, 1)),
        (
            "of inference alone",
            lambda row: _share(row.end_to_end.share_of_inference if row.end_to_end else None),
        ),
        ("peak memory, MiB", _memory),
    ]
    caption = f"{first.width}x{first.height}, {first.threads} threads, each method in a process of its own"
    if first.rounds_ms:
        caption += (
            f", in {len(first.rounds_ms)} alternating rounds; {first.warm_up_frames} frames of warm-up not counted. "
            "The ratio is the median over the rounds (smallest to largest)"
        )
    if first.end_to_end:
        caption += f". End to end: decode, stylize and encode {first.end_to_end.frames} frames"
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
