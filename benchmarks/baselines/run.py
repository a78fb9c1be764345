"""`baseline`: an iterative method of the literature on a video, frame by frame, resumable."""

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from ...common.files import InputError, check_not_input, check_writable, sha256_of
from ...train.loss.network import LossNetwork
from ...video.frames import open_source, resize_to_height, write_video
from ...video.images import read_image
from ...video.sinks import VIDEO_SUFFIXES
from . import gatys2016, ruder2016
from .iterative import Finished, Image, Painter, Settings

METHODS = ("gatys2016", "ruder2016")


@dataclass(frozen=True)
class BaselineReport:
    """What a run did.

    Attributes:
        output: the video.
        method: see `METHODS`.
        frames: in the video.
        painted: frames optimized now, each pass counted; the others were there.
        seconds: for them.
        seconds_per_frame: of the video, all passes together; None where nothing was painted.
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
    progress: Callable[[int, int], None] | None = None,
) -> BaselineReport:
    """Stylize a video by optimizing its frames.

    Frames are kept in ``OUT.frames`` until the video is written; when a run is cut off, the same call goes on from
    there.

    Args:
        method: one of `METHODS`.
        source: anything that `video.frames.open_source` takes.
        out: the video to write.
        style: the style image.
        loss_network: see `train/loss_network.py`.
        settings: see `Settings`.
        height: to which frames are scaled first, px.
        max_frames: take only so many frames.
        progress: called with (frames painted or found, all), each pass counted.

    Raises:
        InputError: unknown method, unusable source, style or output, an output that is an input, or frames of another
            run in the way.
    """
    if method not in METHODS:
        raise InputError(f"unknown baseline '{method}': choose one of {', '.join(METHODS)}")
    if out.suffix.lower() not in VIDEO_SUFFIXES:
        raise InputError(f"cannot write '{out}' as a video: end its name in {', '.join(sorted(VIDEO_SUFFIXES))}")
    check_not_input(out, source, style)
    image = read_image(style)
    painter = Painter(loss_network, image, settings)
    frames, rate = _frames(source, height, max_frames)
    check_writable(out)
    inputs = {
        "method": method,
        "source": Path(source).name,
        "style image": sha256_of(style),
        "size": f"{frames[0].shape[1]}x{frames[0].shape[0]}",
        "loss network": loss_network.available_layers()[-1],
    }
    finished = Finished(out.with_name(f"{out.name}.frames"), settings, inputs)
    passes = settings.passes if method == "ruder2016" else 1
    painted, there = 0, sum(finished.has(index, run) for run in range(passes) for index in range(len(frames)))
    began = time.monotonic()

    def painted_one() -> None:
        nonlocal painted
        painted += 1
        if progress is not None:
            progress(there + painted, passes * len(frames))

    if method == "gatys2016":
        last = gatys2016.stylize(frames, painter, finished, painted_one)
    else:
        last = ruder2016.stylize(frames, painter, settings, finished, painted_one)
    seconds = time.monotonic() - began
    write_video(out, finished.all(len(frames), last), rate)
    shutil.rmtree(finished.folder)
    each = passes * seconds / painted if painted else None
    return BaselineReport(out, method, len(frames), painted, seconds, each)


def _frames(source: str | Path, height: int | None, max_frames: int | None) -> tuple[Sequence[Image], Fraction]:
    """The frames, all in memory: passes go over them again and again, and no one optimizes many."""
    frames: list[Image] = []
    with open_source(source) as clip:
        rate = clip.info.frame_rate or Fraction(25)
        for frame in clip:
            if len(frames) == max_frames:
                break
            frames.append(frame.image if height is None else resize_to_height(frame.image, height))
    if not frames:
        raise InputError(f"'{source}' has no frames: give another video")
    return frames, rate
