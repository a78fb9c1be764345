"""The report as one self-contained HTML page without scripts (needs Jinja2); text and style are in `templates/`."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import cv2
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ...common.arrays import Image
from ...common.files import atomic_path
from ...common.untrusted import printable
from ..record import Report
from ..request import BenchmarkRequest
from .pictures import Grid
from .tables import sections

_PAGES = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True)
class Pictures:
    """Pictures below a section's tables: a PNG, its alternative text and heading, and grids."""

    plot: Path
    text: str
    heading: str = ""
    grids: Sequence[Grid] = field(default_factory=list)


def write_page(report: Report, target: Path, pictures: Mapping[str, Pictures]) -> None:
    """Write the page to an .html file, with the pictures of each section; InputError if that fails."""
    made = ", ".join(method.name for method in report.methods if method.control is None)
    page = _PAGES.get_template("report.html.jinja").render(
        title=f"{'Benchmark' if report.kind == 'benchmark' else 'Comparison'}: {made}",
        report=report,
        sections=sections(report),
        pictures=pictures,
    )
    with atomic_path(target) as temporary:
        temporary.write_text(printable(page), encoding="utf-8")


def _asked(request: BenchmarkRequest) -> list[tuple[str, str]]:
    values = ((field.name.replace("_", " "), getattr(request, field.name)) for field in fields(request))
    return [(name, _words(value)) for name, value in values if value not in ((), {}, None)]


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {one}" for key, one in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join("x".join(map(str, one)) if isinstance(one, tuple) else str(one) for one in value)
    return str(value)


def _uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _file_uri(png: Path) -> str:
    return _uri(png.read_bytes(), "png")


def _image_uri(image: Image) -> str:
    # Error maps are mostly black and stay exact as PNG; painted frames would be megabytes.
    if image.ndim == 2:
        return _uri(cv2.imencode(".png", image)[1].tobytes(), "png")
    colours = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return _uri(cv2.imencode(".jpg", colours, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes(), "jpeg")


_PAGES.filters |= {"file_uri": _file_uri, "image_uri": _image_uri, "words": _words, "asked": _asked}
