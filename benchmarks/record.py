"""What a benchmark found: the record with every raw figure, its schema, and its way to `report.json`.

The dataclasses below are the report; `report.schema.json` beside this file says the same in the terms of JSON
Schema, so that other programs can rely on it. A figure that could not be taken is None, and `absent` says why.
"""

import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ..common.files import InputError, atomic_path
from ..common.machine import Device

FORMAT_VERSION = 2

Kind = Literal["artifact", "peer", "video", "control"]
Control = Literal["identity", "blur", "still"]


@dataclass(frozen=True)
class Method:
    """One row of the tables.

    Attributes:
        name: its name in every table.
        kind: our artifact, a peer's network, a stylized video, or a control.
        control: which control, None for the others.
        of: the method whose video the control is made from; None for identity, which is the source itself.
        file: name of the file (not its folder), None for controls.
        sha256: of the file.
        bytes: size of the file.
        engine: what ran it, None where nothing was run.
        metadata: what the artifact says of itself, None for others.
    """

    name: str
    kind: Kind
    control: Control | None = None
    of: str | None = None
    file: str | None = None
    sha256: str | None = None
    bytes: int | None = None
    engine: str | None = None
    metadata: dict[str, Any] | None = None


@dataclass(frozen=True)
class Temporal:
    """Temporal error of one method on one clip at one interval; figures as the plan defines them, RGB in [0, 1].

    Attributes:
        interval: distance of the two frames of a pair, in frames.
        value: e_temporal.
        excess: e_temporal minus identity's on the same pairs.
        pairs: number of pairs averaged.
        mask_share: mean share of valid pixels, in [0, 1].
        flow_source: "ground truth" or "DIS medium".
        starts: index of each pair's earlier frame.
        per_pair: masked mean squared difference of each pair.
    """

    interval: int
    value: float
    excess: float
    pairs: int
    mask_share: float
    flow_source: str
    starts: list[int]
    per_pair: list[float]


@dataclass(frozen=True)
class Style:
    """What style image and loss networks say of one method on one clip.

    Attributes:
        score: style score, 1 = nothing happened, 0 = the style's own statistics; None without a style image.
        content: content score, 0 = the source itself, near 1 or above = hard to find.
        frames: number of frames judged (every tenth).
        own_score: style score, the style image at the size that the network was trained for (its metadata's
            ``style_size``).
        stroke: stroke score, 1 = nothing happened, 0 = the style's own statistics at half the size.
        colour: colour distance to the style image, 0 = its own mean and covariance.
    """

    score: float | None
    content: float | None
    frames: int
    own_score: float | None = None
    stroke: float | None = None
    colour: float | None = None


JUDGED = ("score", "own_score", "content", "stroke", "colour")
"""The figures of `Style`, by their names in `absent`."""


@dataclass(frozen=True)
class Row:
    """What one method did on one clip.

    Attributes:
        method: name of the method.
        short: temporal error at interval 1.
        long: temporal error at interval 5.
        style: what style image and loss networks say.
        absent: reason for each figure that is None, by the figure's name ("short", "long", "shift", and `JUDGED`).
        shift: shift error at 1, 2, 3 and 4 px, of the first frame; None for controls, which nothing paints.
    """

    method: str
    short: Temporal | None
    long: Temporal | None
    style: Style | None
    absent: dict[str, str]
    shift: list[float] | None = None


@dataclass(frozen=True)
class Clip:
    """One clip with the rows measured on it.

    Attributes:
        name: the clip's name.
        width: in pixels, as measured.
        height: in pixels, as measured.
        frames: number of frames measured.
        frame_rate: in frames a second, None where it is not known.
        flow_source: "ground truth" or "DIS medium".
        cuts: number of scene cuts; pairs across one are left out.
        rows: one row a method, identity first.
        notes: what a reader should know, one sentence each.
        moment: index of the first of the three frames in the clip's pictures, None without pictures.
    """

    name: str
    width: int
    height: int
    frames: int
    frame_rate: float | None
    flow_source: str
    cuts: int
    rows: list[Row]
    notes: list[str]
    moment: int | None


@dataclass(frozen=True)
class EndToEnd:
    """Decoding, stylizing and encoding one clip through the pipeline.

    Attributes:
        frames: number of frames.
        seconds: wall time of the whole.
        fps: frames a second.
        share_of_inference: fps over the fps that inference alone reaches (1000 / median_ms).
        inference_share: share of the wall time that the stylizer was at work, measured in this very run. Decoding and
            encoding work beside it, so that near 1 inference sets the pace, and the lower it is, the more they do.
    """

    frames: int
    seconds: float
    fps: float
    share_of_inference: float
    inference_share: float


@dataclass(frozen=True)
class Latency:
    """Latency and memory of one method in a process of its own, in milliseconds a frame.

    What a device's own tool does not tell is None.

    Attributes:
        method: name of the method.
        device: name of the device that it ran on.
        engine: what ran it.
        width: of the frames, in pixels.
        height: of the frames, in pixels.
        threads: threads that the engine was given.
        warm_up_frames: frames run and not counted: some at the start and one at the beginning of each round.
        frames: frames timed.
        median_ms: median.
        p90_ms: 90th percentile.
        p99_ms: 99th percentile.
        deadline_ms: the deadline, 33.3 for 30 frames a second.
        over_deadline: share of frames that took longer than the deadline.
        reference: method on the same device that the ratio is to.
        ratio: median over the rounds of (this method's median of the round / the reference's).
        ratio_low: smallest of those ratios.
        ratio_high: largest of those ratios.
        rounds_ms: every sample, round by round; empty where only the summary is known.
        spread: 90th minus 10th percentile of the rounds' medians, over the median of these; None without samples.
        end_to_end: decode, stylize and encode.
        peak_memory_mib: largest resident memory of the process after `memory_frames` frames.
        memory_before_mib: the same before the method was loaded (Python and its libraries).
        memory_frames: frames that had been run by then.
    """

    method: str
    device: str
    engine: str
    width: int
    height: int
    threads: int
    warm_up_frames: int
    frames: int
    median_ms: float
    p90_ms: float | None
    p99_ms: float | None
    deadline_ms: float
    over_deadline: float | None
    reference: str
    ratio: float
    ratio_low: float
    ratio_high: float
    rounds_ms: list[list[float]]
    spread: float | None
    end_to_end: EndToEnd | None
    peak_memory_mib: float | None
    memory_before_mib: float | None
    memory_frames: int


@dataclass(frozen=True)
class CostPoint:
    """What one method costs at one size of the frame, in a process of its own.

    Attributes:
        width: of the frames, in pixels.
        height: of the frames, in pixels.
        frames: frames timed.
        median_ms: median latency.
        rounds_ms: every sample, round by round; the sizes take turns.
        spread: 90th minus 10th percentile of the rounds' medians, over the median of these.
        peak_memory_mib: largest resident memory of the process after `memory_frames` frames.
        memory_before_mib: the same before the method was loaded (Python, its libraries and the frames).
        memory_frames: frames that had been run by then.
    """

    width: int
    height: int
    frames: int
    median_ms: float
    rounds_ms: list[list[float]]
    spread: float
    peak_memory_mib: float
    memory_before_mib: float
    memory_frames: int


@dataclass(frozen=True)
class CostGrowth:
    """How one method's cost grows with the number of pixels.

    Attributes:
        method: name of the method.
        points: one for each size that it can do.
        latency_exponent: slope of the least-squares line of log latency over log pixels; 1 = in proportion.
        memory_exponent: the same of peak memory less the memory before loading.
        absent: why a size is missing, by the size ("640x360"), or the exponents are ("exponents").
    """

    method: str
    points: list[CostPoint]
    latency_exponent: float | None
    memory_exponent: float | None
    absent: dict[str, str]


@dataclass(frozen=True)
class ThreadPoint:
    """What one method costs with one number of threads, in a process of its own.

    Attributes:
        threads: threads that the engine was given.
        frames: frames timed.
        median_ms: median latency.
        rounds_ms: every sample, round by round; the numbers of threads take turns.
        spread: 90th minus 10th percentile of the rounds' medians, over the median of these.
        peak_memory_mib: largest resident memory of the process.
    """

    threads: int
    frames: int
    median_ms: float
    rounds_ms: list[list[float]]
    spread: float
    peak_memory_mib: float


@dataclass(frozen=True)
class ThreadScaling:
    """One method's latency with several numbers of threads.

    Attributes:
        method: name of the method.
        width: of the frames, in pixels.
        height: of the frames, in pixels.
        points: one for each number of threads, in the order asked for.
    """

    method: str
    width: int
    height: int
    points: list[ThreadPoint]


@dataclass(frozen=True)
class Sustained:
    """One method run for minutes, alone, frame after frame without a pause.

    Attributes:
        method: name of the method.
        width: of the frames, in pixels.
        height: of the frames, in pixels.
        threads: threads that the engine was given.
        frames: frames timed.
        at_s: when each second began, in seconds.
        medians_ms: median latency of each second.
        median_ms: of all frames.
        p99_ms: 99th percentile of all frames.
        worst_ms: the slowest frame.
        slope_ms_per_minute: of the least-squares line through `medians_ms`; above 0 it gets slower.
        jitter_ms: 90th minus 10th percentile of all frames' latencies.
        deadline_ms: the deadline, 33.3 for 30 frames a second.
        over_deadline: share of frames that took longer than the deadline.
    """

    method: str
    width: int
    height: int
    threads: int
    frames: int
    at_s: list[float]
    medians_ms: list[float]
    median_ms: float
    p99_ms: float
    worst_ms: float
    slope_ms_per_minute: float
    jitter_ms: float
    deadline_ms: float
    over_deadline: float


@dataclass(frozen=True)
class RooflineRow:
    """How much of the machine's peak one method makes use of.

    Attributes:
        method: name of the method.
        precision: of the artifact; the peak is that of float32, which 8 bits may exceed. None for a peer.
        multiplications: multiply-accumulates of the convolutions for one frame, for the architecture's own sizes.
        least_bytes: frame in, frame out, and the file's bytes once; between the layers more is moved.
        bound_ms: nobody is quicker than this at the measured peak.
        bound_by: "arithmetic" or "memory", whichever takes longer.
        share: bound over measured median latency, in [0, 1] but for 8 bits or a peak that was disturbed.
        absent: why there is none, None where there is.
    """

    method: str
    precision: str | None
    multiplications: int | None
    least_bytes: int | None
    bound_ms: float | None
    bound_by: Literal["arithmetic", "memory"] | None
    share: float | None
    absent: str | None


@dataclass(frozen=True)
class Roofline:
    """The machine's peak, measured in the same run with numpy, and what of it each method makes use of.

    Attributes:
        threads: of the matrix product and the copy.
        product_side: rows and columns of the float32 matrices.
        copy_mib: size of the array that was copied, in MiB.
        gflops: 10⁹ operations a second of the quickest product, a multiply-accumulate counted as two.
        gb_per_s: 10⁹ bytes read and written a second by the quickest copy.
        rows: one for each method.
    """

    threads: int
    product_side: int
    copy_mib: int
    gflops: float
    gb_per_s: float
    rows: list[RooflineRow]


@dataclass(frozen=True)
class Summary:
    """One row of the first table: the mean over the clips of each figure, None where no clip has it."""

    method: str
    short: float | None
    excess_short: float | None
    long: float | None
    excess_long: float | None
    score: float | None
    content: float | None
    drift: float | None
    own_score: float | None = None
    stroke: float | None = None
    colour: float | None = None
    shift: list[float] | None = None


@dataclass(frozen=True)
class Report:
    """A whole benchmark or comparison.

    Attributes:
        kind: which command made it.
        command: the command line.
        date: UTC, ISO 8601.
        version: of this package.
        device: machine and software.
        other_devices: further ones that rows of latency are from.
        settings: the arguments that shape the figures.
        methods: the rows' methods.
        clips: figures clip by clip.
        drift: drift of each method on the still clip; empty for a comparison.
        latency: empty for a comparison.
        summary: means over the clips.
        absent: reason for each kind of figure that is missing throughout ("latency", "drift", "shift", and `JUDGED`).
        holes: what was asked for and could not be measured, and why, one sentence each.
        notes: what a reader should know, one sentence each.
        pictures: names of the PNG files beside the report.
        format_version: of this record.
        growth: cost growth of each method, empty where it was not asked for.
        sustained: sustained run of each method, empty where it was not asked for.
        threads: latency of each method with several numbers of threads, empty where it was not asked for.
        roofline: None for a comparison.
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
    drift: dict[str, float]
    latency: list[Latency]
    summary: list[Summary]
    absent: dict[str, str]
    holes: list[str]
    notes: list[str]
    pictures: list[str]
    format_version: int = FORMAT_VERSION
    growth: list[CostGrowth] = field(default_factory=list)
    sustained: list[Sustained] = field(default_factory=list)
    threads: list[ThreadScaling] = field(default_factory=list)
    roofline: Roofline | None = None

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return dataclasses.asdict(self)

    def to_json(self) -> str:
        """The report as JSON text, checked against the schema.

        Raises:
            ValueError: the report does not fit the schema, or holds a number that is not finite.
        """
        record = self.to_dict()
        check(record)
        return json.dumps(record, indent=1, allow_nan=False)

    def write(self, path: Path) -> None:
        """Write `report.json`.

        Raises:
            InputError: the path cannot be written.
        """
        with atomic_path(path) as temporary:
            temporary.write_text(self.to_json() + "\n", encoding="utf-8")


def summarize(rows_by_clip: list[Clip], drift: Mapping[str, float], methods: Sequence[str] = ()) -> list[Summary]:
    """Average each method's figures over the clips, each clip with the same weight.

    Args:
        rows_by_clip: the clips.
        drift: of the methods that have it.
        methods: names of methods that get a row of their own without a clip too.
    """
    names = list(dict.fromkeys([*(row.method for clip in rows_by_clip for row in clip.rows), *methods]))
    summary = []
    for name in names:
        rows = [row for clip in rows_by_clip for row in clip.rows if row.method == name]
        styles, shifts = [row.style for row in rows if row.style], [row.shift for row in rows if row.shift]
        summary.append(
            Summary(
                method=name,
                short=_mean(row.short.value for row in rows if row.short),
                excess_short=_mean(row.short.excess for row in rows if row.short),
                long=_mean(row.long.value for row in rows if row.long),
                excess_long=_mean(row.long.excess for row in rows if row.long),
                drift=drift.get(name),
                shift=[sum(errors) / len(errors) for errors in zip(*shifts, strict=True)] or None,
                **{
                    key: _mean(value for style in styles if (value := getattr(style, key)) is not None)
                    for key in JUDGED
                },
            )
        )
    return summary


def _mean(values: Any) -> float | None:
    figures = list(values)
    return sum(figures) / len(figures) if figures else None


def read_report(path: Path) -> dict[str, Any]:
    """Read a `report.json` back as plain values, checked.

    Raises:
        InputError: missing, not JSON, or not a report of this version.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        version = record.get("format_version") if isinstance(record, dict) else None
        if version not in (None, FORMAT_VERSION):
            raise ValueError(f"it is of format {version}, and this version reads {FORMAT_VERSION}")
        check(record)
    except (OSError, ValueError) as error:
        raise InputError(f"'{path}' is not a report that can be read ({error}): make it again") from error
    return dict(record)


def load_report(path: Path) -> Report:
    """Read a `report.json` back.

    Raises:
        InputError: missing, not JSON, or not a report of this version.
    """
    report: Report = restored(Report, read_report(path))
    return report


def restored(kind: Any, value: Any) -> Any:
    """A record from its plain JSON values.

    Args:
        kind: a dataclass of this file, a list or dict of them, or what their fields are annotated with.
        value: what `dataclasses.asdict` and JSON made of it.
    """
    if value is None:
        return None
    inner = get_args(kind)
    if get_origin(kind) in (Union, UnionType):  # in this file always with None
        return restored(next(choice for choice in inner if choice is not NoneType), value)
    if get_origin(kind) is list:
        return [restored(inner[0], item) for item in value]
    if get_origin(kind) is dict:
        return {name: restored(inner[1], item) for name, item in value.items()}
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        hints = get_type_hints(kind)
        return kind(**{name: restored(hints[name], item) for name, item in value.items()})
    return value


@functools.cache
def schema() -> dict[str, Any]:
    """The JSON Schema of `report.json`."""
    return dict(json.loads(Path(__file__).with_name("record.schema.json").read_text(encoding="utf-8")))


def check(record: object) -> None:
    """Check a report against the schema.

    Args:
        record: plain JSON values.

    Raises:
        ValueError: where and why it does not fit.
    """
    _check(record, schema(), "report")


_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list, tuple),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "null": (type(None),),
}


def _check(value: object, rule: Mapping[str, Any], where: str) -> None:
    """The part of JSON Schema that our schema uses; a test holds the two together."""
    if "$ref" in rule:
        return _check(value, schema()["$defs"][rule["$ref"].removeprefix("#/$defs/")], where)
    if "anyOf" in rule:
        if not any(_fits(value, choice, where) for choice in rule["anyOf"]):
            # The last choice is the full one (the first is null), so its complaint is the one that helps.
            _check(value, rule["anyOf"][-1], where)
        return None
    kinds = [rule["type"]] if isinstance(rule.get("type"), str) else rule.get("type", [])
    if kinds and (isinstance(value, bool) or not any(isinstance(value, _TYPES[kind]) for kind in kinds)):
        raise ValueError(f"{where} must be {' or '.join(kinds)}, but is {value!r:.60}")
    if "enum" in rule and value not in rule["enum"]:
        raise ValueError(f"{where} must be one of {rule['enum']}, but is {value!r:.60}")
    if isinstance(value, (int, float)) and not rule.get("minimum", value) <= value <= rule.get("maximum", value):
        raise ValueError(f"{where} is out of range: {value}")
    if isinstance(value, dict):
        fields = rule.get("properties", {})
        missing = [name for name in rule.get("required", []) if name not in value]
        if missing:
            raise ValueError(f"{where} lacks {missing[0]}")
        others = rule.get("additionalProperties", True)
        for name, item in value.items():
            if name in fields:
                _check(item, fields[name], f"{where}.{name}")
            elif others is False:
                raise ValueError(f"{where} has an unknown field {name}")
            elif isinstance(others, dict):
                _check(item, others, f"{where}.{name}")
    elif isinstance(value, (list, tuple)) and "items" in rule:
        for index, item in enumerate(value):
            _check(item, rule["items"], f"{where}[{index}]")
    return None


def _fits(value: object, rule: Mapping[str, Any], where: str) -> bool:
    try:
        _check(value, rule, where)
    except ValueError:
        return False
    return True
