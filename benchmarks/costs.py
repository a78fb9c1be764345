"""Records of latency, memory, growth with size and threads, sustained runs and share of the peak.

`width` and `height` are of the frames in pixels, `threads` of the engine; `_ms` is milliseconds, `_mib` MiB. A figure
that could not be measured is None.
"""

from dataclasses import dataclass
from typing import Literal

from .fields import Count, DeviceName, MethodName, NotNegative, Positive, Share


@dataclass(frozen=True)
class EndToEnd:
    """Decoding, stylizing and encoding one clip through the pipeline.

    `share_of_inference` is fps over the fps of inference alone (1000 / median_ms). `inference_share` is the share of
    this run's wall time in which the stylizer worked, in parallel with decoding and encoding; near 1 it is the
    bottleneck.
    """

    frames: Positive
    seconds: NotNegative
    fps: NotNegative
    share_of_inference: NotNegative
    inference_share: Share


@dataclass(frozen=True)
class Latency:
    """Latency per frame and memory of one method in its own process; None where a device's tool reports no figure.

    Attributes:
        warm_up_frames: frames not counted: some at the start and one before each round.
        deadline_ms: 33.3 for 30 frames per second.
        over_deadline: share of frames that took longer than the deadline.
        reference: method on the same device that the ratio refers to.
        ratio: median over the rounds of (this method's median of the round / the reference's).
        rounds_ms: every sample, by round; empty if only the summary is known.
        spread: 90th minus 10th percentile of the rounds' medians, over their median; None without samples.
        peak_memory_mib: peak resident memory of the process after `memory_frames` frames.
        memory_before_mib: peak before the method was loaded (Python and its libraries).
    """

    method: MethodName
    device: DeviceName
    engine: str
    width: Positive
    height: Positive
    threads: Positive
    warm_up_frames: Count
    frames: Positive
    median_ms: NotNegative
    p90_ms: NotNegative | None
    p99_ms: NotNegative | None
    deadline_ms: NotNegative
    over_deadline: Share | None
    reference: MethodName
    ratio: NotNegative
    ratio_low: NotNegative
    ratio_high: NotNegative
    rounds_ms: list[list[NotNegative]]
    spread: NotNegative | None
    end_to_end: EndToEnd | None
    peak_memory_mib: NotNegative | None
    memory_before_mib: NotNegative | None
    memory_frames: Count


@dataclass(frozen=True)
class CostPoint:
    """Cost of one method at one frame size, in its own process; fields as in `Latency`.

    Sizes alternate round by round. Memory before loading includes the frames.
    """

    width: Positive
    height: Positive
    frames: Positive
    median_ms: NotNegative
    rounds_ms: list[list[NotNegative]]
    spread: NotNegative
    peak_memory_mib: NotNegative
    memory_before_mib: NotNegative
    memory_frames: Count


@dataclass(frozen=True)
class CostGrowth:
    """Growth of one method's cost with the number of pixels.

    Exponents are slopes of the least-squares lines of log latency, and of log memory (peak minus before loading), over
    log pixels; 1 = proportional. `absent` has reasons for missing sizes ("640x360") and "exponents".
    """

    method: MethodName
    device: DeviceName
    points: list[CostPoint]
    latency_exponent: float | None
    memory_exponent: float | None
    absent: dict[str, str]


@dataclass(frozen=True)
class ThreadPoint:
    """Cost of one method with one number of threads, in its own process; fields as in `Latency`."""

    threads: Positive
    frames: Positive
    median_ms: NotNegative
    rounds_ms: list[list[NotNegative]]
    spread: NotNegative
    peak_memory_mib: NotNegative


@dataclass(frozen=True)
class ThreadScaling:
    """One method's latency with several numbers of threads; `points` are in the requested order."""

    method: MethodName
    device: DeviceName
    width: Positive
    height: Positive
    points: list[ThreadPoint]


@dataclass(frozen=True)
class Sustained:
    """One method run alone for minutes, without a pause between frames; `at_s` is when each second began.

    `medians_ms` are of each second, other figures of all frames (deadline as in `Latency`). The slope is of the
    least-squares line through `medians_ms`; above 0 it slows down. Jitter is the 90th minus the 10th percentile.
    """

    method: MethodName
    device: DeviceName
    width: Positive
    height: Positive
    threads: Positive
    frames: Positive
    at_s: list[NotNegative]
    medians_ms: list[NotNegative]
    median_ms: NotNegative
    p99_ms: NotNegative
    worst_ms: NotNegative
    slope_ms_per_minute: float
    jitter_ms: NotNegative
    deadline_ms: NotNegative
    over_deadline: Share


@dataclass(frozen=True)
class RooflineRow:
    """Share of the machine's peak that one method reaches.

    Attributes:
        precision: of the artifact, None for a peer. The peak is of float32; 8 bits may exceed it.
        multiplications: multiply-accumulates of the architecture's convolutions for one frame.
        least_bytes: frame in, frame out and the file once; actual traffic is higher.
        bound_ms: lower bound of the latency at the measured peak.
        bound_by: "arithmetic" or "memory", whichever takes longer.
        share: bound over measured median latency; above 1 only for 8 bits or a disturbed peak.
        absent: why there is no share, None if there is one.
    """

    method: MethodName
    precision: str | None
    multiplications: Count | None
    least_bytes: Count | None
    bound_ms: NotNegative | None
    bound_by: Literal["arithmetic", "memory"] | None
    share: NotNegative | None
    absent: str | None


@dataclass(frozen=True)
class Roofline:
    """The machine's peak, measured with numpy in the same run, and each method's share of it.

    `gflops` are 10⁹ operations per second of the fastest float32 matrix product, of side `product_side`; a
    multiply-accumulate counts as two. `gb_per_s` are 10⁹ bytes per second, read and written by the fastest copy.
    """

    device: DeviceName
    threads: Positive
    product_side: Positive
    copy_mib: Positive
    gflops: NotNegative
    gb_per_s: NotNegative
    rows: list[RooflineRow]
