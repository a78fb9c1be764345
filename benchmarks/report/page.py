"""The report as one HTML page that carries everything in itself: no script, no request."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import cv2
import numpy as np

from ...common.files import atomic_path
from ...common.machine import Device
from ..record import Report
from .pictures import Grid, Image
from .tables import (
    Table,
    asked,
    clip_table,
    growth_tables,
    latency_tables,
    roofline_tables,
    summary_table,
    sustained_tables,
    thread_tables,
)

_STYLE = """
:root { color-scheme: light; --ink: #20242b; --soft: #68707c; --line: #e2e5ea; --wash: #f6f7f9; --accent: #1f5fa8; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1180px; padding: 40px 28px 80px; color: var(--ink); background: #fff;
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 28px; line-height: 1.2; margin: 0 0 6px; letter-spacing: -.01em; }
h2 { font-size: 20px; margin: 52px 0 10px; padding-top: 18px; border-top: 2px solid var(--ink); overflow-wrap:
anywhere; } h3 { font-size: 15px; margin: 28px 0 6px; } p, figcaption { color: var(--soft); margin: 6px 0 14px;
max-width: 95ch; } code { font: 13px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; background:
var(--wash); padding: 1px 5px; border-radius: 4px;
  overflow-wrap: anywhere; }
.hole { color: #a3261b; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 6px 10px; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { font-weight: 600; color: var(--soft); font-size: 13px; vertical-align: bottom; white-space: normal; }
th:first-child, td:first-child { text-align: left; }
tr.control td { color: var(--soft); font-style: italic; }
tbody tr:hover { background: var(--wash); }
img { display: block; max-width: 100%; height: auto; }
figure { margin: 0; }
.plot { margin: 18px 0; }
.grid { display: grid; gap: 6px; align-items: center; margin: 10px 0 4px; }
.grid .head { color: var(--soft); font-size: 13px; text-align: center; }
.grid .name { grid-column: 1 / -1; font-weight: 600; font-size: 13px; margin-top: 6px; }
.grid img { width: 100%; border-radius: 3px; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 4px 18px; margin: 10px 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
nav { margin: 14px 0 0; display: flex; flex-wrap: wrap; gap: 4px 18px; }
a { color: var(--accent); text-decoration: none; } a:hover { text-decoration: underline; }
@media print { body { max-width: none; padding: 0; } h2 { break-after: avoid; } figure, table { break-inside: avoid; } }
"""

_DEFINITIONS = (
    (
        "e(1), e(5)",
        "Temporal error, short and long: the earlier stylized frame, warped by the source's motion, against the one "
        "1 or 5 frames later: root mean square difference of RGB in [0, 1] over pixels whose motion can be trusted.",
    ),
    (
        "over the source",
        "The same minus the source video's own error on the same pairs (its noise, its changes of light, errors of the "
        "flow): what the method adds. Negative means blur or loss of contrast.",
    ),
    (
        "style",
        "Gram distance to the style image (VGG-19) divided by the unstylized frame's: 1 = nothing happened, 0 = the "
        "style's own statistics.",
    ),
    (
        "style, own size",
        "The same, the style image brought to the size that the network was trained for (in brackets, its shorter "
        "side; that of the column before is 384 px): larger ornament is held against ornament of its own size.",
    ),
    (
        "strokes",
        "Gram distance (VGG-16) of the frame at half its size to the style image at half its size, divided by the "
        "unstylized frame's: 1 = nothing happened, 0 = the style's own large forms.",
    ),
    (
        "colour",
        "Difference of mean and covariance of the colours from the style image's, in lightness and two hues, each in "
        "units of the style's own deviation: 0 = the style's colours.",
    ),
    (
        "content",
        "Feature distance to the source frame divided by that between the frame and its mirror image: 0 = the source "
        "itself, near 1 or above = the content is hard to find.",
    ),
    (
        "shift error",
        "What is painted of a frame against what is painted of the same frame moved by 1, 2, 3, 4 px right and down, "
        "moved back: root mean square difference of RGB in [0, 1]. What a network's grid adds to its temporal error.",
    ),
    ("drift", "Change of the mean colour over a clip that stands still but for a camera's noise, of RGB in [0, 1]."),
    (
        "controls",
        "Temporal error alone is won by doing nothing: identity is the source itself, (blur) the method's video after "
        "a 5x5 box blur, (still) its first frame repeated. Read every temporal error beside its style score.",
    ),
    (
        "ms a frame",
        "Inference alone, median, after a warm-up, in a process of its own, in rounds that alternate between the "
        "methods.",
    ),
    (
        "inference's share",
        "How much of the time from the first frame decoded to the last one encoded the stylizer was at work; decoding "
        "and encoding go on beside it. Near 100 % it sets the pace.",
    ),
    (
        "of what the processor can do",
        "The least time that the network's multiplications, or its frames and weights, take at the peak measured in "
        "this run, over the measured latency.",
    ),
)


@dataclass(frozen=True)
class ClipPictures:
    """A clip's pictures.

    Attributes:
        timeline: the PNG of its temporal error over time.
        grids: error maps and zooms; empty for a clip too short for them.
    """

    timeline: Path
    grids: Sequence[Grid]


def write_page(
    report: Report,
    target: Path,
    *,
    plots: Sequence[Path],
    clips: Sequence[ClipPictures],
    sections: Mapping[str, Path],
) -> None:
    """Write the page.

    Args:
        report: the figures.
        target: the .html file to write.
        plots: PNGs for below the first table.
        clips: pictures of each clip, in the report's order.
        sections: PNGs of the sections behind the clips, by the section's anchor; a section may have none.

    Raises:
        InputError: `target` cannot be written.
    """
    title = "Benchmark" if report.kind == "benchmark" else "Comparison"
    made = ", ".join(method.name for method in report.methods if method.control is None)
    links = [("All clips", "summary"), *((clip.name, f"clip-{index}") for index, clip in enumerate(report.clips))]
    behind = _sections_behind(report)
    links += [(table.title, anchor) for anchor, table in behind.items()]
    links += [("What the figures mean", "definitions"), ("Machine", "machine")]
    parts = [
        f"<h1>{title}: {escape(made)}</h1>",
        f"<p>steadystyle {escape(report.version)}, {escape(report.date)}, {escape(report.device.processor)}</p>",
        f"<nav>{' '.join(_link(text, anchor) for text, anchor in links)}</nav>",
        _table(summary_table(report), "summary"),
        *(f'<p class="hole">Not measured: {escape(hole)}</p>' for hole in report.holes),
        *(f"<p>{escape(note)}</p>" for note in report.notes),
        *(_plot(path, "latency, temporal error and style") for path in plots),
    ]
    for index, (clip, pictures) in enumerate(zip(report.clips, clips, strict=True)):
        parts += [_table(clip_table(clip, report), f"clip-{index}"), "<h3>Temporal error over time</h3>"]
        parts += [_plot(pictures.timeline, f"temporal error over time of {clip.name}"), *map(_grid, pictures.grids)]
    for anchor, table in behind.items():
        parts.append(_table(table, anchor))
        if anchor in sections:
            parts.append(_plot(sections[anchor], table.title))
    parts += ['<h2 id="definitions">What the figures mean</h2>', _pairs(_DEFINITIONS), _machine(report)]
    html = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}: {escape(made)}</title><style>{_STYLE}</style></head><body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )
    with atomic_path(target) as temporary:
        temporary.write_text(html, encoding="utf-8")


def _sections_behind(report: Report) -> dict[str, Table]:
    """The tables behind the clips, by their anchors."""
    found = {
        "latency": latency_tables(report),
        "roofline": roofline_tables(report),
        "threads": thread_tables(report),
        "growth": growth_tables(report),
        "sustained": sustained_tables(report),
    }
    return {
        f"{anchor}-{number}" if number else anchor: table
        for anchor, tables in found.items()
        for number, table in enumerate(tables)
    }


def _link(text: str, anchor: str) -> str:
    return f'<a href="#{anchor}">{escape(text)}</a>'


def _table(table: Table, anchor: str) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in table.columns)
    body = ""
    for control, cells in table.rows:
        data = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        body += f'<tr class="control">{data}</tr>' if control else f"<tr>{data}</tr>"
    return (
        f'<h2 id="{anchor}">{escape(table.title)}</h2>'
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        f"<p>{escape(table.caption)}</p>"
    )


def _plot(path: Path, alternative: str) -> str:
    return f'<figure class="plot"><img alt="{escape(alternative)}" src="{_png_uri(path.read_bytes())}"></figure>'


def _grid(grid: Grid) -> str:
    cells = [f'<div class="head">{escape(heading)}</div>' for heading in grid.columns]
    for name, images in grid.rows:
        cells.append(f'<div class="name">{escape(name)}</div>')
        for heading, image in zip(grid.columns, images, strict=True):
            cells.append(f'<img alt="{escape(name)}, {escape(heading)}" src="{_uri(image)}">')
    columns = f"grid-template-columns: repeat({len(grid.columns)}, 1fr)"
    return (
        f'<h3>{escape(grid.title)}</h3><figure><div class="grid" style="{columns}">'
        f"{''.join(cells)}</div><figcaption>{escape(grid.caption)}</figcaption></figure>"
    )


def _uri(image: Image) -> str:
    # Error maps are mostly black and stay exact; painted frames would be megabytes as PNG.
    if image.ndim == 2:
        return _png_uri(cv2.imencode(".png", image)[1].tobytes())
    encoded = cv2.imencode(".jpg", np.asarray(image[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
    return f"data:image/jpeg;base64,{base64.b64encode(encoded).decode('ascii')}"


def _png_uri(content: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(content).decode('ascii')}"


def _pairs(pairs: Sequence[tuple[str, str]]) -> str:
    return f"<dl>{''.join(f'<dt>{escape(name)}</dt><dd>{escape(text)}</dd>' for name, text in pairs)}</dl>"


def _machine(report: Report) -> str:
    settings = asked(report)
    files = [
        (method.name, f"{method.file}, {method.bytes} bytes, SHA-256 {method.sha256}")
        for method in report.methods
        if method.file
    ]
    command = f"<p><code>{escape(report.command)}</code></p>" if report.command else ""
    return (
        f'<h2 id="machine">Machine, software and settings</h2>{command}'
        f"{_pairs([*_device(report.device), *settings, *files])}"
        f"{''.join(f'<h3>{escape(other.name)}</h3>{_pairs(_device(other))}' for other in report.other_devices)}"
        "<p>All raw figures: report.json.</p>"
    )


def _device(device: Device) -> list[tuple[str, str]]:
    return [
        ("system", device.system),
        ("processor", f"{device.processor}, {device.cores} cores"),
        ("memory", f"{device.memory_gib} GiB" if device.memory_gib else "unknown"),
        ("load at the start", str(device.load_average) if device.load_average is not None else "unknown"),
        *([("Python", device.python)] if device.python else []),
        *device.versions.items(),
        ("commit", device.commit or "not a source checkout"),
    ]
