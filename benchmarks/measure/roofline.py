"""Roofline: each method's share of this machine's peak (Williams, Waterman and Patterson, CACM 2009, section 3).

The peak is measured in the same run, because neighbours, heat and container limits change it. A method's bound is the
longer of its multiplications at peak arithmetic and its least traffic at peak memory speed.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from ...common.files import InputError
from ..costs import Latency, Roofline, RooflineRow
from ..record import Method
from .peak_worker import COPY_MIB, PRODUCT_SIDE

_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
_ELSEWHERE = ("CUDA", "Tensorrt", "CoreML", "Core ML", "Dml")
"""In an engine's name: it does not run on the processor whose peak is measured."""


def measure_peak(threads: int) -> dict[str, float]:
    """Measure this machine's peak with numpy in its own process; InputError if that fails.

    Returns 10⁹ float32 operations (``gflops``; a multiply-accumulate counts as two) and 10⁹ bytes read and written
    (``gb_per_s``) per second.
    """
    done = subprocess.run(
        [sys.executable, "-m", f"{__package__}.peak_worker", str(threads)],
        env=os.environ | dict.fromkeys(_THREAD_VARIABLES, str(threads)),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise InputError(
            f"measuring this machine's peak broke off, its process ended with exit code {done.returncode}: free memory "
            "and run it again"
        )
    return dict(json.loads(done.stdout))


def roofline(peak: Mapping[str, float], latency: Sequence[Latency], methods: Sequence[Method]) -> Roofline:
    """Compare latencies with the `peak` of `measure_peak`, which was measured with the same threads."""
    by_name = {method.name: method for method in methods}
    return Roofline(
        device=latency[0].device,
        threads=latency[0].threads,
        product_side=PRODUCT_SIDE,
        copy_mib=COPY_MIB,
        gflops=peak["gflops"],
        gb_per_s=peak["gb_per_s"],
        rows=[roofline_row(peak, row, by_name[row.method]) for row in latency],
    )


def roofline_row(peak: Mapping[str, float], latency: Latency, method: Method) -> RooflineRow:
    """One method's share of the peak; only a reason if its multiplications are unknown."""
    metadata = method.metadata or {}
    # An artifact of fixed size always computes at that size.
    size = (metadata.get("width") or latency.width, metadata.get("height") or latency.height)
    count, reason = _multiplications(method, size)
    precision = metadata.get("precision")
    if not _on_this_processor(latency.engine):
        count, reason = None, f"it ran on another processor than the one measured ({latency.engine})"
    if count is None:
        return RooflineRow(latency.method, precision, None, None, None, None, None, reason)
    # Minimum: the frame is read, the result written, and the weights read once.
    least_bytes = 2 * 3 * size[0] * size[1] + (method.bytes or 0)
    arithmetic_ms = 2 * count / peak["gflops"] / 1e6
    traffic_ms = least_bytes / peak["gb_per_s"] / 1e6
    return RooflineRow(
        method=latency.method,
        precision=precision,
        multiplications=count,
        least_bytes=least_bytes,
        bound_ms=max(arithmetic_ms, traffic_ms),
        bound_by="arithmetic" if arithmetic_ms >= traffic_ms else "memory",
        share=max(arithmetic_ms, traffic_ms) / latency.median_ms,
        absent=None,
    )


def _on_this_processor(engine: str) -> bool:
    # PyTorch's engine name contains the GPU or CPU.
    return not any(word in engine for word in _ELSEWHERE) and (not engine.startswith("torch") or " CPU" in engine)


def _multiplications(method: Method, size: tuple[int, int]) -> tuple[int | None, str | None]:
    """Multiply-accumulates for one frame, or why they are unknown."""
    metadata: dict[str, Any] = method.metadata or {}
    if "architecture" not in metadata:
        return None, "the multiplications of other people's networks are not known"
    try:
        from ...train.networks import ARCHITECTURES, cost
    except ModuleNotFoundError as error:
        return None, f"counting multiplications needs {error.name} (pip install 'steadystyle[train]')"
    architecture = metadata["architecture"]
    if architecture not in ARCHITECTURES:
        return None, f"this version does not know the architecture {architecture}"
    try:
        return cost(architecture, size, metadata["sizes"])[0], None
    except ValueError as error:
        return None, f"this version does not know its network: {error}"
