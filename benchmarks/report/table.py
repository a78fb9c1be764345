"""Shared by all tables of a report: rows of text under headings, and formatted figures."""

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ..costs import CostGrowth, Latency, Roofline, Sustained, ThreadScaling
from ..record import Report

ABSENT = "—"
T = TypeVar("T")
Columns = list[tuple[str, Callable[[T], str]]]
"""Heading of each column, and a row's text in it."""


OnDevice = TypeVar("OnDevice", Latency, CostGrowth, ThreadScaling, Sustained, Roofline)


@dataclass(frozen=True)
class Table:
    """Rows of text under headings; the caption has resolution, flow source and mask share.

    Each row is whether it is a control, and its cells, name first.
    """

    title: str
    caption: str
    columns: list[str]
    rows: list[tuple[bool, list[str]]]

    def to_markdown(self) -> str:
        """The table in Markdown, with its caption below."""
        lines = [self.columns, ["---", *["---:"] * (len(self.columns) - 1)]]
        lines += [[f"*{cells[0]}*" if control else cells[0], *cells[1:]] for control, cells in self.rows]
        text = "\n".join(f"| {' | '.join(' '.join(cell.splitlines()) for cell in line)} |" for line in lines)
        return f"## {self.title}\n\n{text}\n\n{self.caption}\n"


def listed(title: str, caption: str, columns: Columns[T], rows: Sequence[T], controls: Container[str] = ()) -> Table:
    """A table with one row per item; the first column has its name, which may be one of `controls`."""
    cells = [[text(row) for _, text in columns] for row in rows]
    return Table(title, caption, [heading for heading, _ in columns], [(own[0] in controls, own) for own in cells])


def for_each_device(
    title: str, report: Report, rows: Sequence[OnDevice], table: Callable[[str, list[OnDevice]], Table]
) -> list[Table]:
    """A table of each device's rows; the title names the device if the report has several."""
    return [
        table(f"{title} on {device}" if report.other_devices else title, [row for row in rows if row.device == device])
        for device in dict.fromkeys(row.device for row in rows)
    ]


def figure(value: float | None, digits: int, *, sign: bool = False) -> str:
    """A number as text, a dash if absent."""
    if value is None:
        return ABSENT
    return f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"


def share(value: float | None) -> str:
    """A share in per cent, a dash if absent."""
    return ABSENT if value is None else f"{100 * value:.0f} %"
