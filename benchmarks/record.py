"""The benchmark report: every raw figure of `report.json`.

The dataclasses here and in `costs.py` define the format; msgspec reads, checks and writes them. A figure that could
not be measured is None, and `absent` gives the reason.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, Literal

import msgspec

from .. import __version__
from ..common.files import InputError, atomic_path
from ..common.machine import Device
from ..common.untrusted import parse_json
from ..video.temporal import FlowSource
from .costs import CostGrowth, Latency, Roofline, Sustained, ThreadScaling
from .fields import Count, DeviceName, MethodName, NotNegative, Positive, Share
from .request import BenchmarkRequest

FORMAT_VERSION = 3
OLDEST_FORMAT = 2
_MOST_BYTES = 64 << 20

Kind = Literal["artifact", "peer", "video", "control"]
Control = Literal["identity", "blur", "still"]


@dataclass(frozen=True)
class Method:
    """One row of the tables.

    `of` is the method whose video a control is made from, None for identity. `file` has no folder. Fields that do not
    apply are None: `control` outside controls, `engine` if nothing was run, `metadata` for all but artifacts.
    """

    name: MethodName
    kind: Kind
    control: Control | None = None
    of: MethodName | None = None
    file: str | None = None
    sha256: str | None = None
    bytes: Count | None = None
    engine: str | None = None
    metadata: dict[str, Any] | None = None


@dataclass(frozen=True)
class Temporal:
    """Temporal error of one method on one clip at one interval, of RGB in [0, 1] (CONTRIBUTING.md, Figures).

    Attributes:
        value: e_temporal.
        excess: e_temporal minus identity's on the same pairs.
        mask_share: mean share of valid pixels.
        starts: index of each pair's earlier frame.
        per_pair: masked mean squared difference of each pair.
    """

    interval: Positive
    value: NotNegative
    excess: float
    pairs: Positive
    mask_share: Share
    flow_source: FlowSource
    starts: list[Count]
    per_pair: list[NotNegative]


@dataclass(frozen=True)
class Style:
    """Style figures of one method on one clip.

    Attributes:
        score: style score, 1 = source, 0 = statistics of the style; None without a style image.
        content: content score, 0 = source, near 1 or above = content lost.
        frames: number of frames judged (every tenth).
        own_score: style score with the style image at the network's training size (``style_size`` of its metadata).
        stroke: stroke score, 1 = source, 0 = statistics of the style at half size.
        colour: colour distance to the style image, 0 = equal mean and covariance.
    """

    score: NotNegative | None
    content: NotNegative | None
    frames: Positive
    own_score: NotNegative | None = None
    stroke: NotNegative | None = None
    colour: NotNegative | None = None


JUDGED = ("score", "own_score", "content", "stroke", "colour")
"""The figures of `Style`, as named in `absent`."""


@dataclass(frozen=True)
class Row:
    """Figures of one method on one clip.

    `short` and `long` are at intervals 1 and 5. `shift` is of the first frame at 1, 2, 3 and 4 px; None for controls.
    `absent` has a reason for each figure that is None ("short", "long", "shift", and `JUDGED`).
    """

    method: MethodName
    device: DeviceName
    short: Temporal | None
    long: Temporal | None
    style: Style | None
    absent: dict[str, str]
    shift: list[NotNegative] | None = None


@dataclass(frozen=True)
class Clip:
    """One clip and its rows, identity first.

    Attributes:
        frame_rate: frames per second, None if unknown.
        cuts: number of scene cuts; pairs across one are left out.
        again: further devices' rows of methods in `rows`; not in tables and means.
        notes: remarks for the reader, one sentence each.
        moment: index of the first of the three frames shown in the pictures, None without pictures.
    """

    name: str
    width: Positive
    height: Positive
    frames: Positive
    frame_rate: NotNegative | None
    flow_source: FlowSource
    cuts: Count
    rows: list[Row]
    notes: list[str]
    moment: Count | None
    again: list[Row] = field(default_factory=list)


@dataclass(frozen=True)
class Drift:
    """Change of a method's mean colour over a static clip, of RGB in [0, 1]."""

    method: MethodName
    device: DeviceName
    value: NotNegative


@dataclass(frozen=True)
class Summary:
    """A method's mean of each figure over the clips, None if no clip has it."""

    method: MethodName
    short: NotNegative | None
    excess_short: float | None
    long: NotNegative | None
    excess_long: float | None
    score: NotNegative | None
    content: NotNegative | None
    drift: NotNegative | None
    own_score: NotNegative | None = None
    stroke: NotNegative | None = None
    colour: NotNegative | None = None
    shift: list[NotNegative] | None = None


@dataclass(frozen=True)
class Run:
    """What was requested on one device; `date` is UTC, ISO 8601.

    `request` is None for a comparison, and if an older report does not contain it.
    """

    device: DeviceName
    command: str
    date: str
    version: str
    request: BenchmarkRequest | None


@dataclass(frozen=True)
class Report:
    """A whole benchmark or comparison; lists of figures that were not measured are empty.

    Attributes:
        date: UTC, ISO 8601.
        settings: what else affects the figures: reference of ratios, style images, loss networks.
        absent: reason for each figure missing in the whole report ("latency", "drift", "shift", and `JUDGED`).
        holes: what was requested and could not be measured, and why, one sentence each, like `notes`.
        pictures: names of the PNG files beside the report.
        runs, roofline: one for each device.
    """

    kind: Literal["benchmark", "compare"]
    command: str
    date: str
    version: str
    device: Device
    other_devices: list[Device]
    settings: dict[str, Any]
    methods: list[Method]
    clips: list[Clip]
    drift: list[Drift]
    latency: list[Latency]
    summary: list[Summary]
    absent: dict[str, str]
    holes: list[str]
    notes: list[str]
    pictures: list[str]
    format_version: int = FORMAT_VERSION
    runs: list[Run] = field(default_factory=list)
    growth: list[CostGrowth] = field(default_factory=list)
    sustained: list[Sustained] = field(default_factory=list)
    threads: list[ThreadScaling] = field(default_factory=list)
    roofline: list[Roofline] = field(default_factory=list)

    @classmethod
    def begun(
        cls,
        kind: Literal["benchmark", "compare"],
        device: Device,
        methods: list[Method],
        command: str,
        request: BenchmarkRequest | None = None,
    ) -> "Report":
        """A report of one run on one device, as of now, without any figures."""
        date = now()
        lists = ("other_devices", "clips", "drift", "latency", "summary", "holes", "notes", "pictures")
        empty: dict[str, Any] = {name: [] for name in lists}
        runs = [Run(device.name, command, date, __version__, request)]
        return cls(
            kind=kind,
            command=command,
            date=date,
            version=__version__,
            device=device,
            settings={},
            methods=methods,
            absent={},
            runs=runs,
            **empty,
        )

    @property
    def devices(self) -> list[Device]:
        """All devices, the report's own first."""
        return [self.device, *self.other_devices]

    @property
    def controls(self) -> set[str]:
        """Names of the control rows."""
        return {method.name for method in self.methods if method.kind == "control"}

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return dict(msgspec.to_builtins(self))

    def to_json(self) -> str:
        """The report as JSON text; ValueError if a figure is out of range or not finite."""
        record = self.to_dict()
        check(record)
        return json.dumps(record, indent=1, allow_nan=False)

    def write(self, path: Path) -> None:
        """Write `report.json`; InputError if the path is not writable."""
        with atomic_path(path) as temporary:
            temporary.write_text(self.to_json() + "\n", encoding="utf-8")


def free_name(name: str, taken: set[str]) -> str:
    """The name, with a number behind it where it is taken."""
    return next(choice for number in count(1) if (choice := name if number == 1 else f"{name} #{number}") not in taken)


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def summarize(clips: Sequence[Clip], drift: Iterable[Drift], methods: Sequence[str] = ()) -> list[Summary]:
    """Average each method's figures over the clips, with equal weights; `methods` get a row even without a clip.

    Of a method's drift on several devices the first one counts.
    """
    drifts: dict[str, float] = {}
    for one in drift:
        drifts.setdefault(one.method, one.value)
    names = list(dict.fromkeys([*(row.method for clip in clips for row in clip.rows), *methods]))
    summary = []
    for name in names:
        rows = [row for clip in clips for row in clip.rows if row.method == name]
        styles, shifts = [row.style for row in rows if row.style], [row.shift for row in rows if row.shift]
        summary.append(
            Summary(
                method=name,
                short=_mean(row.short.value for row in rows if row.short),
                excess_short=_mean(row.short.excess for row in rows if row.short),
                long=_mean(row.long.value for row in rows if row.long),
                excess_long=_mean(row.long.excess for row in rows if row.long),
                drift=drifts.get(name),
                shift=[sum(errors) / len(errors) for errors in zip(*shifts, strict=True)] or None,
                **{
                    key: _mean(value for style in styles if (value := getattr(style, key)) is not None)
                    for key in JUDGED
                },
            )
        )
    return summary


def _mean(values: Iterable[float]) -> float | None:
    figures = list(values)
    return sum(figures) / len(figures) if figures else None


def load_report(path: Path) -> Report:
    """Read a `report.json`, also of format 2; InputError if it is missing, not JSON, or of another format."""
    try:
        record = parse_json(path.read_bytes(), most_bytes=_MOST_BYTES)
        version = record.get("format_version") if isinstance(record, dict) else None
        if version not in (None, OLDEST_FORMAT, FORMAT_VERSION):
            raise ValueError(f"it is of format {version}, and this version reads {OLDEST_FORMAT} and {FORMAT_VERSION}")
        return check(_upgraded(record) if version == OLDEST_FORMAT else record)
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(f"'{path}' is not a report that can be read ({error}): make it again") from error


def _upgraded(record: dict[str, Any]) -> dict[str, Any]:
    """Convert format 2: rows without a device belong to the first device."""
    device = record["device"]["name"]
    rows = [row for clip in record["clips"] for row in clip["rows"]]
    for row in (*rows, *record["growth"], *record["sustained"], *record["threads"]):
        row["device"] = device
    about = {name: record[name] for name in ("command", "date", "version")}
    return record | {
        "format_version": FORMAT_VERSION,
        "drift": [{"method": method, "device": device, "value": value} for method, value in record["drift"].items()],
        "roofline": [record["roofline"] | {"device": device}] if record["roofline"] else [],
        "runs": [
            {"device": one["name"], "request": None, **about} for one in (record["device"], *record["other_devices"])
        ],
    }


def check(record: Any) -> Report:
    """Convert plain JSON values to a report; ValueError says which field does not fit and why."""
    try:
        report = msgspec.convert(record, Report)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$")
        raise ValueError(f"report{where.rstrip('`')}: {what[:1].lower()}{what[1:]}") from error
    _check_known(record, report.to_dict(), "report")
    unknown = sorted(_named(record) - {method.name for method in report.methods})
    if unknown:
        raise ValueError(f"it has figures of '{unknown[0]}', which is not among its methods")
    return report


def _named(value: Any) -> set[str]:
    """Every method that a figure is of."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    own = {value["method"]} if isinstance(value, dict) and isinstance(value.get("method"), str) else set()
    return own.union(*map(_named, inside))


def _check_known(given: Any, kept: Any, where: str) -> None:
    """Refuse unknown fields, which msgspec ignores."""
    if isinstance(given, dict):
        for name, value in given.items():
            if name not in kept:
                raise ValueError(f"{where} has an unknown field {name}")
            _check_known(value, kept[name], f"{where}.{name}")
    elif isinstance(given, list):
        for index, (value, own) in enumerate(zip(given, kept, strict=True)):
            if isinstance(value, dict | list):
                _check_known(value, own, f"{where}[{index}]")


def schema() -> dict[str, Any]:
    """The JSON Schema of `report.json`, generated from the dataclasses."""
    (whole,), parts = msgspec.json.schema_components([Report], ref_template="#/$defs/{name}")
    for part in parts.values():
        part["additionalProperties"] = False
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **whole, "$defs": parts}
