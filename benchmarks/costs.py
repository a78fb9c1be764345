"""The records of what methods cost: latency, memory, growth with size and threads, sustained runs, share of the peak.

`width` and `height` are those of the frames in pixels, `threads` is what the engine was given, `_ms` is milliseconds,
`_mib` MiB. A figure that could not be taken is None.
"""

from dataclasses import dataclass
from typing import Literal

from .fields import Count, DeviceName, MethodName, NotNegative, Positive, Share


@dataclass(frozen=True)
class EndToEnd:
    """Decoding, stylizing and encoding one clip through the pipeline.

    Attributes:
        seconds: wall time of the whole.
        share_of_inference: fps over the fps that inference alone reaches (1000 / median_ms).
        inference_share: share of the wall time that the stylizer was at work, measured in this very run. Decoding and
            encoding work beside it, so that near 1 inference sets the pace, and the lower it is, the more they do.
    """

    frames: Positive
    seconds: NotNegative
    fps: NotNegative
    share_of_inference: NotNegative
    inference_share: Share


@dataclass(frozen=True)
class Latency:
    """Latency and memory of one method in a process of its own, in milliseconds a frame.

    What a device's own tool does not tell is None.

    Attributes:
        engine: what ran it.
        warm_up_frames: frames run and not counted: some at the start and one at the beginning of each round.
        deadline_ms: the deadline, 33.3 for 30 frames a second.
        over_deadline: share of frames that took longer than the deadline.
        reference: method on the same device that the ratio is to.
        ratio: median over the rounds of (this method's median of the round / the reference's).
        rounds_ms: every sample, round by round; empty where only the summary is known.
        spread: 90th minus 10th percentile of the rounds' medians, over the median of these; None without samples.
        end_to_end: decode, stylize and encode.
        peak_memory_mib: largest resident memory of the process after `memory_frames` frames.
        memory_before_mib: the same before the method was loaded (Python and its libraries).
        memory_frames: frames that had been run by then.
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
    """What one method costs at one size of the frame, in a process of its own.

    Attributes:
        rounds_ms: every sample, round by round; the sizes take turns.
        spread: see `Latency`.
        peak_memory_mib: largest resident memory of the process after `memory_frames` frames.
        memory_before_mib: the same before the method was loaded (Python, its libraries and the frames).
        memory_frames: frames that had been run by then.
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
    """How one method's cost grows with the number of pixels.

    Attributes:
        points: one for each size that it can do.
        latency_exponent: slope of the least-squares line of log latency over log pixels; 1 = in proportion.
        memory_exponent: the same of peak memory less the memory before loading.
        absent: why a size is missing, by the size ("640x360"), or the exponents are ("exponents").
    """

    method: MethodName
    device: DeviceName
    points: list[CostPoint]
    latency_exponent: float | None
    memory_exponent: float | None
    absent: dict[str, str]


@dataclass(frozen=True)
class ThreadPoint:
    """What one method costs with one number of threads, in a process of its own.

    Attributes:
        rounds_ms: every sample, round by round; the numbers of threads take turns.
        spread: see `Latency`.
        peak_memory_mib: largest resident memory of the process.
    """

    threads: Positive
    frames: Positive
    median_ms: NotNegative
    rounds_ms: list[list[NotNegative]]
    spread: NotNegative
    peak_memory_mib: NotNegative


@dataclass(frozen=True)
class ThreadScaling:
    """One method's latency with several numbers of threads.

    Attributes:
        points: one for each number of threads, in the order asked for.
    """

    method: MethodName
    device: DeviceName
    width: Positive
    height: Positive
    points: list[ThreadPoint]


@dataclass(frozen=True)
class Sustained:
    """One method run for minutes, alone, frame after frame without a pause.

    Attributes:
        at_s: when each second began, in seconds.
        medians_ms: median latency of each second.
        median_ms: of all frames.
        worst_ms: the slowest frame.
        slope_ms_per_minute: of the least-squares line through `medians_ms`; above 0 it gets slower.
        jitter_ms: 90th minus 10th percentile of all frames' latencies.
        deadline_ms: the deadline, 33.3 for 30 frames a second.
        over_deadline: share of frames that took longer than the deadline.
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
    """How much of the machine's peak one method makes use of.

    Attributes:
        precision: of the artifact; the peak is that of float32, which 8 bits may exceed. None for a peer.
        multiplications: multiply-accumulates of the convolutions for one frame, for the architecture's own sizes.
        least_bytes: frame in, frame out, and the file's bytes once; between the layers more is moved.
        bound_ms: nobody is quicker than this at the measured peak.
        bound_by: "arithmetic" or "memory", whichever takes longer.
        share: bound over measured median latency, in [0, 1] but for 8 bits or a peak that was disturbed.
        absent: why there is none, None where there is.
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
    """The machine's peak, measured in the same run with numpy, and what of it each method makes use of.

    Attributes:
        threads: of the matrix product and the copy.
        product_side: rows and columns of the float32 matrices.
        copy_mib: size of the array that was copied, in MiB.
        gflops: 10⁹ operations a second of the quickest product, a multiply-accumulate counted as two.
        gb_per_s: 10⁹ bytes read and written a second by the quickest copy.
        rows: one for each method.
    """

    device: DeviceName
    threads: Positive
    product_side: Positive
    copy_mib: Positive
    gflops: NotNegative
    gb_per_s: NotNegative
    rows: list[RooflineRow]
