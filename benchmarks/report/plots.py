"""The report's plots (needs matplotlib)."""

import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import FormatStrFormatter, LogLocator, MaxNLocator, NullFormatter

from ...common.files import atomic_path
from ..costs import CostGrowth, Latency, Sustained
from ..measure.latency import DEADLINE_MS
from ..record import Clip, Method, Report
from .cost_tables import growth_sizes

_COLOURS = (
    *("#1f5fa8", "#c8552b", "#3b8a5a", "#7a4fa3", "#b08900"),
    *("#4a4a4a", "#b0307a", "#2a9aa8", "#7a5230", "#6b8e23"),
)
_SOFT = "#808080"
_LINES = ("-", "--", ":", "-.")
"""One for each device."""
_WIDTH = 12.4
"""Figure width in inches."""
_PANEL_HEIGHT, _LABEL_HEIGHT = 260, 11
"""Heights in points; the panel's is approximate, before the layout is known."""
_MARKERS = {None: "o", "identity": "*", "blur": "s", "still": "X"}


def _colours(methods: Sequence[Method]) -> dict[str, str]:
    """A colour for each method; controls share their method's, the source is gray."""
    made = [method.name for method in methods if method.control is None]
    colours = {name: _COLOURS[index % len(_COLOURS)] for index, name in enumerate(made)}
    return {method.name: colours.get(method.of or method.name, _SOFT) for method in methods}


def _panels(height: float, x: str, *y: str, width: float = _WIDTH) -> tuple[Figure, list[Axes]]:
    """A figure with one panel for each y label, side by side."""
    figure = Figure(figsize=(width, height), layout="constrained")
    panels = list(figure.subplots(1, len(y), squeeze=False)[0])
    for axes, label in zip(panels, y, strict=True):
        axes.set_xlabel(x)
        axes.set_ylabel(label)
        axes.grid(color="#e4e4e4", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    return figure, panels


def save(figure: Figure, target: Path) -> None:
    """Write a plot as PNG; InputError or OSError if that fails."""
    for text in figure.findobj(Text):
        text.set_parse_math(False)  # a name may have dollar signs
    with atomic_path(target) as temporary:
        figure.savefig(temporary, dpi=150, facecolor="white")


def plot_trade_offs(report: Report) -> Figure:
    """Temporal error over latency and over style score, means over the clips, where available."""
    draws = [_plot_latency_panel, _plot_style_panel] if report.latency else [_plot_style_panel]
    labels = ["temporal error e(1), mean of the clips"] * len(draws)
    figure, panels = _panels(4.6, "", *labels, width=_WIDTH / 2 * len(draws))
    errors = {row.method: row.short for row in report.summary if row.short is not None}
    for draw, axes in zip(draws, panels, strict=True):
        axes.set_ylim(0, 1.18 * max(errors.values(), default=0.01))
        draw(axes, report, errors, _colours(report.methods))
    return figure


def _plot_latency_panel(axes: Axes, report: Report, errors: Mapping[str, float], colours: Mapping[str, str]) -> None:
    axes.set_xlabel("latency, ms a frame (median; line to the 99th percentile)")
    _scale_time(axes)
    if "identity" in errors:
        axes.axhline(errors["identity"], color=_SOFT, linestyle="--", linewidth=1)
        # Below the line, as labels stand above their points.
        place: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "ha": "right", "va": "top"}
        axes.text(0.99, errors["identity"], "the source itself", color=_SOFT, size=8, **place)
    timed = [row for row in report.latency if row.method in errors]
    names = []
    for row in timed:
        error, colour = errors[row.method], colours[row.method]
        axes.plot([row.median_ms, row.p99_ms or row.median_ms], [error, error], color=colour, linewidth=1.5, alpha=0.5)
        axes.plot(row.median_ms, error, "o", color=colour, markersize=9)
        names.append((_name(row, report), row.median_ms, error, colour))
    times = [DEADLINE_MS, *(row.median_ms for row in timed), *(row.p99_ms for row in timed if row.p99_ms)]
    axes.set_xlim(min(times) / 1.6, max(times) * 2.2)
    _label_all(axes, names, near=lambda x, other: max(x, other) < 1.6 * min(x, other))


def _plot_style_panel(axes: Axes, report: Report, errors: Mapping[str, float], colours: Mapping[str, str]) -> None:
    axes.set_xlabel("style score (0 = the style's statistics, 1 = nothing happened)")
    scores = {row.method: row.score for row in report.summary if row.score is not None and row.method in errors}
    names = []
    for method in report.methods:
        if method.name in scores:
            x, y, colour = scores[method.name], errors[method.name], colours[method.name]
            size, strength = (9, 1.0) if method.control is None else (7, 0.6)
            axes.plot(x, y, _MARKERS[method.control], color=colour, markersize=size, alpha=strength)
            if method.control is None or method.name == "identity":
                names.append((method.name, x, y, colour))
    # Colour shows the method, shape the control.
    controls = {method.control for method in report.methods if method.name in scores and method.of}
    marks = [
        Line2D([], [], marker=_MARKERS[control], color=_SOFT, linestyle="", label=f"{control}, a control")
        for control in ("blur", "still")
        if control in controls
    ]
    if marks:
        axes.legend(handles=marks, loc="upper right", frameon=False, labelcolor=_SOFT)
    _label_all(axes, names, near=lambda x, other: abs(x - other) < 0.2)
    if not scores:
        reason = textwrap.fill(report.absent.get("score", "no style scores"), 48)
        axes.text(0.5, 0.5, reason, ha="center", va="center", transform=axes.transAxes, color=_SOFT)
    axes.set_xlim(0, 1.25 * max([1.0, *scores.values()]))


def _name(row: Latency | CostGrowth | Sustained, report: Report) -> str:
    """A row's method, with its device if the report has several."""
    return f"{row.method}, {row.device}" if report.other_devices else row.method


def _line(row: CostGrowth | Sustained, report: Report) -> str:
    devices = [device.name for device in report.devices]
    return _LINES[devices.index(row.device) % len(_LINES)]


def _scale_time(axes: Axes) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.axvline(DEADLINE_MS, color=_SOFT, linestyle=":", linewidth=1)
    axes.text(DEADLINE_MS, 0.98, " 30 fps", transform=axes.get_xaxis_transform(), va="top", color=_SOFT, size=8)


def _label_all(
    axes: Axes, points: Sequence[tuple[str, float, float, str]], near: Callable[[float, float], bool]
) -> None:
    """Label points (text, x, y, colour); of points `near` in x, the upper label is raised."""
    to_points = _PANEL_HEIGHT / axes.get_ylim()[1]
    placed: list[tuple[float, float]] = []
    for text, x, y, colour in sorted(points, key=lambda point: point[2]):
        height = y * to_points + 5
        for other, taken in placed:  # from low to high
            if near(x, other) and abs(height - taken) < _LABEL_HEIGHT:
                height = taken + _LABEL_HEIGHT
        placed.append((x, height))
        placed.sort(key=lambda place: place[1])
        shift, side = (-7, "right") if text == "identity" else (7, "left")
        where = (shift, height - y * to_points)
        axes.annotate(text, (x, y), xytext=where, textcoords="offset points", ha=side, size=9, color=colour)


def plot_timeline(clip: Clip, methods: Sequence[Method]) -> Figure:
    """Temporal error of consecutive frames of a clip over time, without controls made from a method."""
    figure, (axes,) = _panels(2.6, "frame", "error of the pair")
    colours = _colours(methods)
    made = {method.name for method in methods if method.of is None}
    shown = list[float]()
    for row in clip.rows:
        if row.short is not None and row.method in made:
            errors = [squared**0.5 for squared in row.short.per_pair]
            label = "source" if row.method == "identity" else row.method
            shown += errors
            axes.plot(row.short.starts, errors, color=colours[row.method], linewidth=1.3, label=label)
    if clip.moment is not None:
        axes.axvspan(clip.moment, clip.moment + 2, color="#d9a400", alpha=0.25, linewidth=0)
    axes.set_ylim(0, 1.25 * max(shown, default=0.01))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if axes.get_legend_handles_labels()[0]:  # empty if no pair could be measured
        axes.legend(loc="upper right", frameon=False, fontsize=8, ncols=4)
    return figure


def plot_latency(report: Report) -> Figure:
    """Distribution of latencies: one line of samples per method, in order of rounds."""
    rows = report.latency[::-1]
    figure, (axes,) = _panels(0.9 + 0.75 * len(rows), "latency, ms a frame (each dot a frame; line = median)", "")
    colours = _colours(report.methods)
    for level, row in enumerate(rows):
        samples = [sample for samples in row.rounds_ms for sample in samples]
        # Height follows the order of samples, so that drift shows as a slant.
        heights = [level - 0.3 + 0.6 * index / len(samples) for index in range(len(samples))]
        axes.plot(samples, heights, ".", color=colours[row.method], markersize=3, alpha=0.5)
        axes.plot([row.median_ms] * 2, [level - 0.38, level + 0.38], color=colours[row.method], linewidth=2)
    axes.set_yticks(range(len(rows)), [_name(row, report) for row in rows])
    _scale_time(axes)
    return figure


def plot_growth(report: Report) -> Figure:
    """Latency and memory over the number of pixels, log-log, with exponents."""
    figure, panels = _panels(4.2, "frame", "latency, ms a frame", "peak memory less that before loading, MiB")
    sizes = growth_sizes(report.growth)
    colours = _colours(report.methods)
    for row in report.growth:
        pixels = [point.width * point.height for point in row.points]
        times = [point.median_ms for point in row.points]
        taken = [point.peak_memory_mib - point.memory_before_mib for point in row.points]
        exponents = (row.latency_exponent, row.memory_exponent)
        for axes, figures, exponent in zip(panels, (times, taken), exponents, strict=True):
            label = _name(row, report) + (f": pixels to the power of {exponent:.2f}" if exponent is not None else "")
            line = "o" + _line(row, report)
            axes.plot(pixels, figures, line, color=colours[row.method], linewidth=1.3, markersize=5, label=label)
    for axes in panels:
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xticks([math.prod(map(int, size.split("x"))) for size in sizes], sizes)
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
        axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_minor_formatter(NullFormatter())
        axes.margins(y=0.25)
        axes.legend(loc="upper left", frameon=False, fontsize=8)
    return figure


def plot_sustained(report: Report) -> Figure:
    """Median latency of each second of the sustained runs."""
    figure, (axes,) = _panels(3.2, "minutes", "ms a frame, median of a second")
    colours = _colours(report.methods)
    for row in report.sustained:
        minutes = [second / 60 for second in row.at_s]
        label = f"{_name(row, report)}: {row.slope_ms_per_minute:+.3f} ms a minute"
        axes.plot(minutes, row.medians_ms, _line(row, report), color=colours[row.method], linewidth=1.3, label=label)
    axes.axhline(DEADLINE_MS, color=_SOFT, linestyle=":", linewidth=1)
    # The deadline may lie outside: it would flatten the lines of much faster methods.
    axes.set_ylim(0, 1.3 * max(max(row.medians_ms) for row in report.sustained))
    axes.legend(loc="upper right", frameon=False, fontsize=8, ncols=3)
    return figure


OF_SECTION: Mapping[str, tuple[str, Callable[[Report], Figure]]] = {
    "summary": ("trade-offs", plot_trade_offs),
    "latency": ("latency", plot_latency),
    "growth": ("growth", plot_growth),
    "sustained": ("sustained", plot_sustained),
}
"""File name and function of each section of `tables.sections` that has a plot."""
