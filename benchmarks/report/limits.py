"""`--fail-if`: limits for a report's figures, for automatic checks.

The grammar::

    expression = [METHOD ":"] FIGURE ("<" | "<=" | ">" | ">=") limit
    limit      = NUMBER | [NUMBER "*"] REPORT

FIGURE is a key of `FIGURES`. Without METHOD the expression applies to all methods except controls. REPORT is an earlier
report.json: each method is compared with its own figure there, on the same device.
"""

import math
import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...common.files import InputError
from ...video.temporal import SHIFTS
from ..record import Report, load_report

_SUMMARY = {
    "e_temporal": "short",
    "e_temporal_long": "long",
    "excess": "excess_short",
    "excess_long": "excess_long",
    "style": "score",
    "content": "content",
    "drift": "drift",
    "style_own_size": "own_score",
    "stroke": "stroke",
    "colour": "colour",
}
_SHIFT = {f"shift_{shift}": number for number, shift in enumerate(SHIFTS)}
_LATENCY = {
    "latency_ms": "median_ms",
    "p90_ms": "p90_ms",
    "p99_ms": "p99_ms",
    "over_deadline": "over_deadline",
    "memory_mib": "peak_memory_mib",
}
FIGURES = (*_SUMMARY, *_SHIFT, *_LATENCY)
"""Figures to ask for: means over the clips, and latency and memory of each device."""

_SIGNS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_EXPRESSION = re.compile(r"(?:(?P<method>.+):)?\s*(?P<figure>\w+)\s*(?P<sign><=|>=|<|>)\s*(?P<limit>[^<>=].*)")


@dataclass(frozen=True)
class Limit:
    """One `--fail-if`, broken if the comparison by its sign holds.

    `method` None means all except controls; `figure` is a key of `FIGURES`. `bound` is a number, or the factor to the
    figure of `baseline`, an earlier report (None: plain number).
    """

    text: str
    method: str | None
    figure: str
    sign: str
    bound: float
    baseline: Report | None


def parse_limit(text: str) -> Limit:
    """Parse an expression such as ``great-wave:style>0.2``; InputError if it or its report cannot be read."""
    found = _EXPRESSION.fullmatch(text.strip())
    if found is None or found["figure"] not in FIGURES:
        raise InputError(
            f"--fail-if '{text}' cannot be read: give FIGURE>LIMIT or METHOD:FIGURE>LIMIT, the sign one of "
            f"{' '.join(_SIGNS)}, the figure one of {', '.join(FIGURES)}, the limit a number, REPORT.json or "
            "NUMBER*REPORT.json"
        )
    bound, baseline = _parse_bound(found["limit"].strip(), text)
    return Limit(text, found["method"], found["figure"], found["sign"], bound, baseline)


def _parse_bound(limit: str, text: str) -> tuple[float, Report | None]:
    number = _number(limit)
    if number is None:
        factor, star, file = limit.partition("*")
        number, file = (_number(factor), file.strip()) if star else (1.0, limit)
        if number is not None:
            return number, load_report(Path(file))
    if number is None or not math.isfinite(number):
        raise InputError(
            f"--fail-if '{text}' has no number where '{limit}' is: give for example 0.05 or 1.1*REPORT.json"
        )
    return number, None


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def broken_limits(limits: Sequence[Limit], report: Report) -> list[str]:
    """One sentence for each figure of a report that breaks a limit, or is asked for and absent."""
    sentences = []
    for limit in limits:
        methods = [limit.method] if limit.method else [method.name for method in report.methods if not method.control]
        for method in methods:
            sentences += _break(limit, method, report)
    return sentences


def _break(limit: Limit, method: str, report: Report) -> list[str]:
    values = _figures(report, limit.figure, method)
    before = _figures(limit.baseline, limit.figure, method) if limit.baseline else {}
    sentences = []
    for device, value in (values or {"": None}).items():
        what = f"{limit.figure} of {method}{f' on {device}' if device else ''}"
        bound = limit.bound
        if limit.baseline is not None:
            base = before.get(device)
            if base is None:
                sentences.append(f"{what} is absent in the earlier report: --fail-if '{limit.text}' cannot be decided")
                continue
            bound *= base
        if value is None:
            sentences.append(f"{what} is absent: --fail-if '{limit.text}' cannot be decided")
        elif _SIGNS[limit.sign](value, bound):
            sentences.append(f"{what} is {value:.4g}, which is {limit.sign} {bound:.4g}: --fail-if '{limit.text}'")
    return sentences


def _figures(report: Report, figure: str, method: str) -> dict[str, float | None]:
    """A method's figure by device, "" for means over the clips; empty if the report lacks the method."""
    if figure in _LATENCY:
        rows = [row for row in report.latency if row.method == method]
        return {row.device: getattr(row, _LATENCY[figure]) for row in rows}
    row = next((row for row in report.summary if row.method == method), None)
    if row is None:
        return {}
    if figure in _SHIFT:
        return {"": row.shift[_SHIFT[figure]] if row.shift else None}
    return {"": getattr(row, _SUMMARY[figure])}
