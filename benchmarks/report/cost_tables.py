"""Tables of latency and memory, threads, growth, sustained runs, and share of the machine's peak."""

import math
from collections.abc import Sequence

from ..costs import CostGrowth, Latency, Roofline, RooflineRow, Sustained, ThreadScaling
from .table import ABSENT, Columns, Table, figure, listed, share


def latency_table(title: str, rows: Sequence[Latency]) -> Table:
    """Latency and memory in full."""
    first = rows[0]
    columns: Columns[Latency] = [
        ("method", lambda row: row.method),
        ("frames", lambda row: str(row.frames)),
        ("median ms", lambda row: figure(row.median_ms, 2)),
        ("spread", lambda row: share(row.spread)),
        ("p90", lambda row: figure(row.p90_ms, 2)),
        ("p99", lambda row: figure(row.p99_ms, 2)),
        (f"> {first.deadline_ms:.1f} ms", lambda row: share(row.over_deadline)),
        (f"x {first.reference}", _ratio),
        ("end to end, fps", lambda row: figure(row.end_to_end.fps if row.end_to_end else None, 1)),
        ("of inference alone", lambda row: share(row.end_to_end.share_of_inference if row.end_to_end else None)),
        ("inference's share", lambda row: share(row.end_to_end.inference_share if row.end_to_end else None)),
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
    engines = "; ".join(f"{row.method}: {row.engine}" for row in rows)
    caption += f". Memory after at least {min(row.memory_frames for row in rows)} frames. Engines: {engines}."
    return listed(title, caption, columns, rows)


def _ratio(row: Latency) -> str:
    spread = f" ({row.ratio_low:.3f} to {row.ratio_high:.3f})" if row.rounds_ms else ""
    return f"{row.ratio:.3f}{spread}"


def _memory(row: Latency) -> str:
    before = f" ({row.memory_before_mib:.0f} before loading)" if row.memory_before_mib is not None else ""
    return f"{figure(row.peak_memory_mib, 0)}{before}"


def roofline_table(title: str, peak: Roofline, latency: Sequence[Latency]) -> Table:
    """Each method's share of its machine's peak."""
    medians = {row.method: row.median_ms for row in latency if row.device == peak.device}
    columns: Columns[RooflineRow] = [
        ("method", lambda row: row.method),
        ("precision", lambda row: row.precision or ABSENT),
        ("GMAC a frame", lambda row: figure(row.multiplications and row.multiplications / 1e9, 3)),
        ("least MB moved", lambda row: figure(row.least_bytes and row.least_bytes / 1e6, 2)),
        ("bound, ms", lambda row: f"{row.bound_ms:.2f} ({row.bound_by})" if row.bound_ms is not None else ABSENT),
        ("measured, ms", lambda row: figure(medians.get(row.method), 2)),
        (
            "of what the processor can do",
            lambda row: share(row.share) + (" *" if row.share is not None and row.precision == "int8" else ""),
        ),
    ]
    return listed(title, _roofline_caption(peak), columns, peak.rows)


def _roofline_caption(peak: Roofline) -> str:
    parts = [
        f"Peak measured in this run with numpy on {peak.threads} threads: {peak.gflops:.1f} GFLOP/s, a float32 matrix "
        f"product of side {peak.product_side}, and {peak.gb_per_s:.1f} GB/s read and written, a copy of "
        f"{peak.copy_mib} MiB. Bound: no method is quicker than its multiplications at the one, or frame in, frame out "
        "and weights at the other. Multiplications are those of the architecture's convolutions at its own sizes."
    ]
    if any(row.precision == "int8" for row in peak.rows):
        parts.append(
            "* An 8-bit artifact is held against the float32 peak, which 8-bit arithmetic may exceed: its share "
            "compares methods and is no share of a limit."
        )
    if any(row.share is not None and row.share > 1 and row.precision != "int8" for row in peak.rows):
        parts.append("More than 100 % in float: the peak was disturbed, measure again with nothing else running.")
    parts += [f"{row.method} has no share: {row.absent}." for row in peak.rows if row.absent]
    return " ".join(parts)


def thread_table(title: str, scalings: Sequence[ThreadScaling]) -> Table:
    """Latency with each number of threads, and the speed-up."""
    first = scalings[0]

    most = max(point.spread for row in scalings for point in row.points)
    caption = (
        f"Median latency at {first.width}x{first.height}, each number of threads in a process of its own, in "
        f"alternating rounds whose medians spread by up to {share(most)}. In brackets: how many times as quick as "
        "with the first."
    )
    counts = [f"{point.threads} thread{'s' * (point.threads > 1)}" for point in first.points]
    rows = []
    for row in scalings:
        first_ms = row.points[0].median_ms
        cells = [f"{point.median_ms:.2f} ms ({first_ms / point.median_ms:.2f}x)" for point in row.points]
        rows.append((False, [row.method, *cells]))
    return Table(title, caption, ["method", *counts], rows)


def growth_table(title: str, growths: Sequence[CostGrowth]) -> Table:
    """Cost at each size, and its growth."""
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
    most = max((point.spread for growth in growths for point in growth.points), default=None)
    spread = f" whose medians spread by up to {share(most)}" if most is not None else ""
    parts = [
        "Median latency and peak memory, each size in a process of its own, the sizes of a method in alternating "
        f"rounds{spread}. Exponents: slope of the least-squares line of the logarithms over that of the number of "
        "pixels; 1 = in proportion. That of memory is of the peak less what the process had before the method was "
        "loaded.",
        *(f"{one.method}, {what}: {reason}." for one in growths for what, reason in one.absent.items()),
    ]
    return Table(title, " ".join(parts), ["method", *sizes, "exponent of latency", "exponent of memory"], rows)


def growth_sizes(growths: Sequence[CostGrowth]) -> list[str]:
    """All sizes of a cost growth, measured or not, by number of pixels."""
    found = {f"{point.width}x{point.height}" for one in growths for point in one.points}
    found |= {size for one in growths for size in one.absent if size != "exponents"}
    return sorted(found, key=lambda size: math.prod(map(int, size.split("x"))))


def sustained_table(title: str, rows: Sequence[Sustained]) -> Table:
    """The sustained runs."""
    first = rows[0]
    columns: Columns[Sustained] = [
        ("method", lambda row: row.method),
        ("frames", lambda row: str(row.frames)),
        ("median ms", lambda row: figure(row.median_ms, 2)),
        ("jitter ms", lambda row: figure(row.jitter_ms, 2)),
        ("p99", lambda row: figure(row.p99_ms, 2)),
        ("slowest", lambda row: figure(row.worst_ms, 2)),
        ("ms a minute", lambda row: figure(row.slope_ms_per_minute, 3, sign=True)),
        (f"> {first.deadline_ms:.1f} ms", lambda row: share(row.over_deadline)),
    ]
    caption = (
        f"{first.width}x{first.height}, {first.threads} threads, {(first.at_s[-1] + 1) / 60:.3g} minutes of each "
        "method alone, frame after frame without a pause. Jitter: 90th minus 10th percentile of all frames. Ms a "
        "minute: slope of the least-squares line through the medians of each second; above 0 it gets slower."
    )
    return listed(title, caption, columns, rows)
