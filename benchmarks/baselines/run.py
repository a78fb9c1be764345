"""`baseline`: a resumable run of an iterative method on a video."""

import shutil
import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from ...common.files import InputError, check_not_input, check_writable, sha256_of
from ...common.progress import Progress, no_progress
from ...train.loss.network import LossNetwork
from ...video.frames import open_source, read_frames, write_video
from ...video.images import read_image
from ...video.sinks import VIDEO_SUFFIXES
from . import gatys2016, ruder2016
from .iterative import Finished, Painter, Settings

METHODS = {"gatys2016": gatys2016.stylize, "ruder2016": ruder2016.stylize}


@dataclass(frozen=True)
class BaselineReport:
    """What a run did: `frames` of the video, and `painted` ones of this run in `seconds`, each pass counted.

    `seconds_per_frame` is per frame of the video, all passes together; None if nothing was painted.
    """

    output: Path
    method: str
    frames: int
    painted: int
    seconds: float
    seconds_per_frame: float | None


def run_baseline(
    method: str,
    source: str | Path,
    out: Path,
    *,
    style: Path,
    loss_network: LossNetwork,
    settings: Settings,
    height: int | None = None,
    max_frames: int | None = None,
    progress: Progress = no_progress,
) -> BaselineReport:
    """Stylize a video by optimizing its frames.

    Frames are kept in ``OUT.frames`` until the video is written; after an interruption the same call continues.
    `method` is a key of `METHODS`, `source` anything that `open_source` takes, `style` the style image's file. Frames
    are resized to `height` px first; None keeps the size. InputError for an unknown method, an unusable source, style
    or output, or frames of another run.
    """
    if method not in METHODS:
        raise InputError(f"unknown baseline '{method}': choose one of {', '.join(METHODS)}")
    if out.suffix.lower() not in VIDEO_SUFFIXES:
        raise InputError(f"cannot write '{out}' as a video: end its name in {', '.join(sorted(VIDEO_SUFFIXES))}")
    kept = out.with_name(f"{out.name}.frames")
    for written in (out, kept):
        check_not_input(written, source, style)
    painter = Painter(loss_network, read_image(style), settings)
    with open_source(source) as clip:
        rate = clip.info.frame_rate or Fraction(25)
    # All in memory: every pass reads them again, and runs have few frames.
    frames = read_frames(source, height=height, max_frames=max_frames)
    if not frames:
        raise InputError(f"'{source}' has no frames: give another video")
    check_writable(out)
    inputs = {
        "method": method,
        "source": Path(source).name,
        "style image": sha256_of(style),
        "size": f"{frames[0].shape[1]}x{frames[0].shape[0]}",
        "loss network": loss_network.names[-1],
    }
    passes = settings.passes if method == "ruder2016" else 1
    painted = 0

    def painted_one() -> None:
        nonlocal painted
        painted += 1
        progress("painting", there + painted, passes * len(frames))

    finished = Finished(kept, settings, inputs, painted_one)
    there = sum(finished.has(index, run) for run in range(passes) for index in range(len(frames)))
    began = time.monotonic()
    last = METHODS[method](frames, painter, finished)
    seconds = time.monotonic() - began
    write_video(out, (finished.read(index, last) for index in range(len(frames))), rate)
    shutil.rmtree(finished.folder)
    each = passes * seconds / painted if painted else None
    return BaselineReport(out, method, len(frames), painted, seconds, each)
