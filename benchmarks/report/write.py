"""A report's folder: report.json, report.html, tables.md and the PNGs."""

import importlib.util
import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path

from ...common.files import InputError, atomic_path, check_writable
from ...common.untrusted import printable
from ...video.frames import write_image
from ..measure.steadiness import Moment
from ..record import Report
from .pictures import moment_grids, sheet
from .tables import sections

_FOREWORD = (
    "Written by steadystyle. Beside it: report.json (every raw figure), report.html (pictures, meaning of the figures)."
)


def check_folder(folder: str | Path, *, pictures: bool = True) -> Path:
    """Raise InputError early if the folder is not writable or, for `pictures`, matplotlib or Jinja2 is missing."""
    check_writable(Path(folder) / "report.json")
    for module, what in (("matplotlib", "plots need"), ("jinja2", "page needs")) if pictures else ():
        if importlib.util.find_spec(module) is None:
            raise InputError(f"the report's {what} {module}: pip install 'steadystyle[report]'")
    return Path(folder)


def write_report(report: Report, moments: Sequence[Moment | None], folder: Path) -> Report:
    """Write a report with the moments of its first clips, and return it with `pictures` filled.

    report.json comes last, so it exists only if everything does. InputError if the folder is not writable, OSError if
    writing fails.
    """
    # Optional dependencies, which take a second to load.
    from .page import Pictures, write_page
    from .plots import OF_SECTION, plot_timeline, save

    there = sections(report)
    shown = {}
    for section, (name, draw) in OF_SECTION.items():
        if section in there:
            shown[section] = Pictures(folder / f"{name}.png", there[section][0].title)
            save(draw(report), shown[section].plot)
    written = [pictures.plot for pictures in shown.values()]
    for index, (clip, moment) in enumerate(zip_longest(report.clips, moments)):
        stem = f"{index + 1}-{re.sub(r'[^a-z0-9]+', '-', Path(clip.name).stem.lower()).strip('-') or 'clip'}"
        timeline = folder / f"{stem}-timeline.png"
        save(plot_timeline(clip, report.methods), timeline)
        grids = moment_grids(stem, moment) if moment else []
        for grid in grids:
            write_image(folder / f"{grid.name}.png", sheet(grid))
        written += [timeline, *(folder / f"{grid.name}.png" for grid in grids)]
        text = f"temporal error over time of {clip.name}"
        shown[f"clip-{index}"] = Pictures(timeline, text, "Temporal error over time", grids)
    report = replace(report, pictures=[path.name for path in written])
    with atomic_path(folder / "tables.md") as temporary:
        text = "\n".join(table.to_markdown() for tables in there.values() for table in tables)
        holes = "".join(f"Not measured: {hole}\n\n" for hole in report.holes)
        temporary.write_text(printable(f"{_FOREWORD}\n\n{holes}{text}"), encoding="utf-8")
    write_page(report, folder / "report.html", shown)
    report.write(folder / "report.json")
    return report
