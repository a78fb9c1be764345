"""A report's folder: report.json, report.html, tables.md and the PNGs."""

import importlib.util
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from ...common.files import InputError, atomic_path, check_writable
from ...video.frames import write_image
from ..measure.steadiness import Moment
from ..record import Report
from .page import ClipPictures, write_page
from .pictures import moment_grids, sheet
from .tables import tables

_FOREWORD = (
    "Written by steadystyle. Beside it: report.json (every raw figure), report.html (pictures, meaning of the figures)."
)


def check_folder(folder: str | Path, *, pictures: bool = True) -> Path:
    """Check that a report can be made and written into a folder, before the long work begins.

    Args:
        folder: where to.
        pictures: whether there will be more than report.json.

    Raises:
        InputError: nothing can be written there, or matplotlib is not installed.
    """
    check_writable(Path(folder) / "report.json")
    if pictures and importlib.util.find_spec("matplotlib") is None:
        raise InputError("the report's plots need matplotlib: pip install 'steadystyle[report]'")
    return Path(folder)


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def write_report(report: Report, moments: Sequence[Moment | None], folder: Path) -> Report:
    """Write a report with its pictures; report.json comes last, so that it is there only when all is.

    Args:
        report: the figures; `pictures` is filled here.
        moments: the moment of each clip.
        folder: where to; created when missing.

    Returns:
        The report as written.

    Raises:
        InputError: the folder cannot be written.
        OSError: writing fails.
    """
    # matplotlib is an extra, and takes a second to load
    from .plots import plot_growth, plot_latency, plot_sustained, plot_timeline, plot_trade_offs

    plots = [folder / "trade-offs.png"]
    plot_trade_offs(report, plots[0])
    of_sections = {}
    for section, figures, draw in (
        ("latency", report.latency, plot_latency),
        ("growth", report.growth, plot_growth),
        ("sustained", report.sustained, plot_sustained),
    ):
        if figures:
            of_sections[section] = folder / f"{section}.png"
            draw(report, of_sections[section])
    written = [*plots, *of_sections.values()]
    clips = []
    for index, (clip, moment) in enumerate(zip(report.clips, moments, strict=True), start=1):
        stem = f"{index}-{re.sub(r'[^a-z0-9]+', '-', Path(clip.name).stem.lower()).strip('-') or 'clip'}"
        timeline = folder / f"{stem}-timeline.png"
        plot_timeline(clip, report.methods, timeline)
        grids = moment_grids(stem, moment) if moment else []
        for grid in grids:
            write_image(folder / f"{grid.name}.png", sheet(grid))
        written += [timeline, *(folder / f"{grid.name}.png" for grid in grids)]
        clips.append(ClipPictures(timeline, grids))
    report = replace(report, pictures=[path.name for path in written])
    with atomic_path(folder / "tables.md") as temporary:
        text = "\n".join(table.to_markdown() for table in tables(report))
        holes = "".join(f"Not measured: {hole}\n\n" for hole in report.holes)
        temporary.write_text(f"{_FOREWORD}\n\n{holes}{text}", encoding="utf-8")
    write_page(report, folder / "report.html", plots=plots, clips=clips, sections=of_sections)
    report.write(folder / "report.json")
    return report
