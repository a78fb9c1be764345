"""What all tables of a report share: rows of text under headings, and how figures become text."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ..costs import CostGrowth, Latency, Roofline, Sustained, ThreadScaling
from ..record import Report

ABSENT = "—"
T = TypeVar("T")
Columns = list[tuple[str, Callable[[T], str]]]
"""Heading of each column, and the text of a row in it."""


OnDevice = TypeVar("OnDevice", Latency, CostGrowth, ThreadScaling, Sustained, Roofline)


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


def listed(
    title: str,
    caption: str,
    columns: Columns[T],
    rows: Sequence[T],
    is_control: Callable[[T], bool] = lambda row: False,
) -> Table:
    """A table of a row for each item, with these columns."""
    cells = [(is_control(row), [text(row) for _, text in columns]) for row in rows]
    return Table(title, caption, [heading for heading, _ in columns], cells)


def for_each_device(
    title: str, report: Report, rows: Sequence[OnDevice], table: Callable[[str, list[OnDevice]], Table]
) -> list[Table]:
    """A table of each device's rows; the title names the device where the report has several."""
    return [
        table(f"{title} on {device}" if report.other_devices else title, [row for row in rows if row.device == device])
        for device in dict.fromkeys(row.device for row in rows)
    ]


def figure(value: float | None, digits: int, *, sign: bool = False) -> str:
    """A number as text, a dash where it is absent."""
    if value is None:
        return ABSENT
    return f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"


def share(value: float | None) -> str:
    """A share as per cent, a dash where it is absent."""
    return ABSENT if value is None else f"{100 * value:.0f} %"
