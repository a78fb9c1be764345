"""How far the estimated flow can be trusted: against exact flow, and what it does to the figures that rest on it.

    python -m studies.flow_check great-wave great-wave-huang --middlebury DIR...

The first table has DIS's end-point error in px, everywhere and within the masks, on Middlebury pairs (folders with
frame10.png, frame11.png and flow10.flo) and synthetic scenes. The second has each method's temporal error with DIS over
that with exact flow; DIS misleads where they differ by over 15 %.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from steadystyle.benchmarks.measure.clips import SceneClip
from steadystyle.benchmarks.measure.steadiness import LONG, SHORT, measure_clip
from steadystyle.common.arrays import Image
from steadystyle.runtimes.registry import open_stylizer
from steadystyle.video.flow import FlowPair, estimate_flow, flow_pair, read_flo
from steadystyle.video.images import read_image
from steadystyle.video.synthetic.motions import SCENES
from steadystyle.video.synthetic.scene import Scene

from . import run_study

TOLERANCE = 0.15  # most by which temporal errors with DIS and with exact flow may differ, as a share
_HEIGHT = 360
_FRAMES = 16


class EstimatedClip(SceneClip):
    """A scene measured like a video file: its flow is estimated."""

    def pair(self, t: int, interval: int, earlier: Image, later: Image) -> FlowPair:
        """DIS and its masks."""
        return flow_pair(earlier, later)


def end_point_error(
    found: NDArray[np.float32], exact: NDArray[np.float32], where: NDArray[np.bool_] | None = None
) -> float:
    """Mean length of the difference of two flows, px (Baker et al. 2011, "A database and evaluation methodology").

    Flows are (H, W, 2) px; pixels where ``exact`` is NaN, or outside ``where`` (H, W), do not count.
    """
    length = np.hypot(*np.moveaxis(found - exact, 2, 0))
    counts = np.isfinite(length) if where is None else np.isfinite(length) & where
    return float(length[counts].mean()) if counts.any() else float("nan")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("artifacts", nargs="*", default=["great-wave"], help="names or files")
    parser.add_argument("--middlebury", type=Path, nargs="*", default=[], help="folders of pairs with exact flow")
    options = parser.parse_args(arguments)
    scenes = {name: SCENES[name](width=2 * round(_HEIGHT * 8 / 9), height=_HEIGHT) for name in SCENES}
    print("| pair | mean motion, px | end-point error | where the masks let it count | share that counts |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name, figures in _flow_rows(options.middlebury, scenes):
        print(f"| {name} | {' | '.join(figures)} |", flush=True)
    print("\n| scene | method | e(1): exact | DIS / exact | e(5): exact | DIS / exact | |")
    print("| --- | --- | ---: | ---: | ---: | ---: | --- |")
    stylizers = {name: open_stylizer(name) for name in options.artifacts}
    for name, scene in scenes.items():
        exact, estimated = (measure_clip(kind(scene, _FRAMES), stylizers)[0] for kind in (SceneClip, EstimatedClip))
        for row, other in zip(exact.rows, estimated.rows, strict=True):
            if "(" in row.method or row.short is None or row.long is None or other.short is None or other.long is None:
                continue  # controls are made from what is here
            ratios = [found.value / one.value for one, found in ((row.short, other.short), (row.long, other.long))]
            verdict = "agrees" if all(abs(ratio - 1) <= TOLERANCE for ratio in ratios) else "**DIS misleads**"
            print(
                f"| {name} | {row.method} | {row.short.value:.4f} | {ratios[0]:.2f} | "
                f"{row.long.value:.4f} | {ratios[1]:.2f} | {verdict} |",
                flush=True,
            )


def _flow_rows(folders: Sequence[Path], scenes: dict[str, Scene]) -> Iterator[tuple[str, list[str]]]:
    for folder in folders:
        first, second = read_image(folder / "frame10.png"), read_image(folder / "frame11.png")
        # The file's flow leads from frame 10 to 11; a pair's leads from the later frame: swap them.
        yield folder.name, _flow_row(second, first, read_flo(folder / "flow10.flo"))
    for name, scene in scenes.items():
        for interval in (SHORT, LONG):
            first, second = scene.frame(1), scene.frame(1 + interval)
            yield f"{name}, {interval} apart", _flow_row(first, second, scene.pair(1, interval).flow)


def _flow_row(earlier: Image, later: Image, exact: NDArray[np.float32]) -> list[str]:
    """Row of one pair; ``exact`` leads from the later frame to the earlier one."""
    found, counts = estimate_flow(later, earlier), flow_pair(earlier, later).valid
    motion = np.nanmean(np.hypot(*np.moveaxis(exact, 2, 0)))
    errors = end_point_error(found, exact), end_point_error(found, exact, counts)
    return [f"{motion:.2f}", *(f"{error:.3f}" for error in errors), f"{counts.mean():.2f}"]


if __name__ == "__main__":
    run_study(main)
