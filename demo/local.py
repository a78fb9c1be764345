"""The local demo: a bundled model on the bundled scene, a file or a camera.

Every source is first saved as a short `source.mp4`, so that the end-to-end speed includes decoding and encoding.
Temporal error uses the stylizer's input and output frames, with the scene's exact flow or estimated flow (DIS).
"""

import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np

from ..common.arrays import Image, resized, size_within_height
from ..common.files import check_not_input, check_writable, made_folder
from ..common.progress import Progress, no_progress
from ..runtimes.look import PLAIN, Look
from ..runtimes.look.painted import with_look
from ..runtimes.pipeline import run
from ..runtimes.registry import bundled_models, open_stylizer
from ..video.flow import FlowPair, flow_pair
from ..video.frames import Frame, open_sink, open_source, write_image, write_video
from ..video.synthetic.harbour import harbour
from ..video.synthetic.scene import Scene
from ..video.temporal import FlowSource, box_blur, error_map, flow_pairs, temporal_error
from .requests import FileRequest

INTERVALS = (1, 5)
EVERY = 2  # every second frame starts a pair: half the time, and temporal error changes in the third digit only
ALONE_FRAMES = 30
CELL_WIDTH = 400  # of a contact sheet cell, in pixels
COLUMNS = 4
LOOKS = {
    "as it is": PLAIN,
    "colours kept": Look(keep_colors=True),
    "strength 0.5": Look(strength=0.5),
    "stroke 2": Look(stroke=2),
}


@dataclass(frozen=True)
class SteadinessRow:
    """Temporal error of the "stylized" video or of a control ("identity", "blur", "still").

    `errors` is e_temporal, RGB in [0, 1], by interval in frames (1 and 5); intervals beyond the clip are left out.
    """

    name: str
    errors: dict[int, float]


@dataclass(frozen=True)
class DemoResult:
    """What the demo did and measured."""

    source: str
    model: str
    engine: str  # with its version, provider and threads
    width: int  # of the frames, in pixels
    height: int
    frames: int
    fps_alone: float  # frames per second of the model alone, from the median time per frame
    fps_end_to_end: float  # from file through model to file
    flow_source: FlowSource
    mask_share: dict[int, float]  # mean share of valid pixels in the temporal error, by interval
    rows: list[SteadinessRow]  # the stylized video and the three controls
    files: list[Path]
    notes: list[str]


def run_demo(
    request: FileRequest, *, threads: int | None = None, provider: str | None = None, progress: Progress = no_progress
) -> DemoResult:
    """Stylize a scene, a file or a camera; write videos and pictures; measure speed and steadiness.

    `progress` is called with the name of the step, the amount done, and the total. Raises InputError if the source or
    model cannot be read, the output folder is not writable, or an output file is an input.
    """
    source, out_dir, height, frames = request.source, request.output, request.height, request.frames
    names = ("source.mp4", "stylized.mp4", "side-by-side.mp4", "contact-sheet.png", "looks.png")
    for name in names:
        check_not_input(out_dir / name, source, request.model)
        check_writable(out_dir / name)
    before: list[Image] = []
    after: list[Image] = []

    def keep(frame: Frame, stylized: Image) -> None:
        before.append(frame.image)
        after.append(stylized)

    with ExitStack() as stack:
        stylizer = stack.enter_context(
            open_stylizer(request.model, threads=threads, provider=provider, look=request.look)
        )
        stack.enter_context(made_folder(out_dir))
        # Files move to the folder together at the end: an interrupted demo leaves none.
        scratch = Path(stack.enter_context(TemporaryDirectory(dir=out_dir, prefix=".working-")))
        source_video, stylized_video, side_by_side, contact_sheet, looks = (scratch / name for name in names)

        scene, notes = None, []
        if source is None:
            scene = harbour(width=2 * round(height * 8 / 9), height=height, frames=frames)
            painted = _counted(map(scene.frame, range(frames)), "paint the scene", frames, progress)
            write_video(source_video, painted, scene.frame_rate)
        else:
            notes = _keep_clip(source, source_video, frames, height, progress)
        with open_source(source_video) as clip, open_sink(stylized_video, clip) as sink:
            rate = clip.info.frame_rate or Fraction(25)
            stages = run(
                clip, stylizer, sink, on_frame=keep, progress=lambda done, _: progress("stylize", done, frames)
            )
        fps_alone = _fps_alone(stylizer, before)

        pairs = _pairs(scene, before)
        both = (np.hstack([b, a]) for b, a in zip(before, after, strict=True))
        write_video(side_by_side, _counted(both, "side by side", len(before), progress), rate)
        write_image(contact_sheet, _contact_sheet(scene, before, after, stylizer.metadata.name))
        write_image(looks, _look_sheet(before[len(before) // 2], threads, provider, progress))
        rows = _steadiness(before, after, pairs, progress)
        for name in names:
            (scratch / name).replace(out_dir / name)
    return DemoResult(
        source="the bundled scene" if source is None else source,
        model=stylizer.metadata.name,
        engine=stylizer.engine,
        width=before[0].shape[1],
        height=before[0].shape[0],
        frames=len(before),
        fps_alone=fps_alone,
        fps_end_to_end=stages.fps,
        flow_source="DIS medium" if scene is None else "ground truth",
        mask_share={i: float(np.mean([pair.valid.mean() for pair in found.values()])) for i, found in pairs.items()},
        rows=rows,
        files=[out_dir / name for name in names],
        notes=[*notes, *stages.notes],
    )


def _counted(images: Iterable[Image], step: str, total: int, progress: Progress) -> Iterator[Image]:
    for done, image in enumerate(images):
        progress(step, done, total)
        yield image


def _keep_clip(spec: str, target: Path, frames: int, height: int, progress: Progress) -> list[str]:
    """Save the first frames of a file or camera as a small video; returns notes on what was changed."""
    with open_source(spec) as clip:
        info = clip.info
        size = size_within_height((info.width, info.height), height)
        small = (resized(frame.image, size, enlarge=cv2.INTER_AREA) for frame in islice(clip, frames))
        write_video(target, _counted(small, "read", frames, progress), info.frame_rate or Fraction(25))
        notes = [clip.note] if clip.note else []
    if size != (info.width, info.height):
        notes.append(f"the demo scaled the source from {info.width}x{info.height} to {size[0]}x{size[1]}")
    if info.frames is not None and info.frames > frames:
        notes.append(f"the demo took the first {frames} of about {info.frames} frames: `steadystyle stylize` takes all")
    return notes


def _fps_alone(stylizer: Callable[[Image], Image], frames: Sequence[Image]) -> float:
    """Frames per second of the model alone: 1 / median time per frame, after a warm-up."""
    for frame in frames[:3]:
        stylizer(frame)
    seconds = []
    for frame in frames[:ALONE_FRAMES]:
        start = time.perf_counter()
        stylizer(frame)
        seconds.append(time.perf_counter() - start)
    return 1 / statistics.median(seconds)


def _pairs(scene: Scene | None, frames: Sequence[Image]) -> dict[int, dict[int, FlowPair]]:
    """Motion by interval and earlier frame: exact for a scene, else estimated and without cuts; none that is masked."""
    if scene is None:
        found = {i: flow_pairs(frames, i, every=EVERY) for i in INTERVALS}
    else:
        found = {i: {t: scene.pair(t, i) for t in range(0, len(frames) - i, EVERY)} for i in INTERVALS}
    return {i: pairs for i, pairs in found.items() if any(pair.valid.any() for pair in pairs.values())}


def _steadiness(
    before: Sequence[Image], after: Sequence[Image], pairs: Mapping[int, dict[int, FlowPair]], progress: Progress
) -> list[SteadinessRow]:
    """Temporal error of the stylized video and of the three controls."""
    videos = {
        "stylized": after,
        "identity": before,
        "blur": [box_blur(frame) for frame in after],
        "still": [after[0]] * len(after),
    }
    rows = []
    for done, (name, video) in enumerate(videos.items()):
        progress("measure", done, len(videos))
        rows.append(SteadinessRow(name, {i: temporal_error(video, found, i).value for i, found in pairs.items()}))
    return rows


def _contact_sheet(scene: Scene | None, before: Sequence[Image], after: Sequence[Image], style: str) -> Image:
    """Consecutive middle frames as (H, W, 3) uint8 RGB: source, stylized frames, and temporal error."""
    first = max(0, (len(before) - COLUMNS) // 2)
    shown = range(first, min(first + COLUMNS, len(before)))
    errors = []
    for t in shown:
        if t == 0:
            errors.append(np.zeros_like(before[0]))
            continue
        motion = scene.pair(t - 1, 1) if scene is not None else flow_pair(before[t - 1], before[t])
        errors.append(np.dstack([error_map(after[t - 1], after[t], motion)] * 3))
    rows = {
        "source": [before[t] for t in shown],
        style: [after[t] for t in shown],
        "temporal error against the previous frame (white: 0.25 or more; black: 0 or masked)": errors,
    }
    return np.vstack([_row([label], images) for label, images in rows.items()])


def _look_sheet(frame: Image, threads: int | None, provider: str | None, progress: Progress) -> Image:
    """A frame in all bundled fast styles, a row each, and in `LOOKS`, a column each: (H, W, 3) uint8 RGB."""
    rows = []
    models = bundled_models()
    for done, model in enumerate(models):
        progress("looks", done, len(models))
        with open_stylizer(model.name, threads=threads, provider=provider) as stylizer:
            if stylizer.metadata.architecture.startswith("edge"):  # as opposed to Huang's, ten times slower
                labels = [f"{model.name}, {words}" for words in LOOKS]
                rows.append(_row(labels, [with_look(stylizer, look)(frame) for look in LOOKS.values()]))
    return np.vstack(rows)


def _row(labels: Sequence[str], images: Sequence[Image]) -> Image:
    """Images of one size side by side, each `CELL_WIDTH` pixels wide, under their labels."""
    height = max(1, round(images[0].shape[0] * CELL_WIDTH / images[0].shape[1]))
    cells = [resized(image, (CELL_WIDTH, height), enlarge=cv2.INTER_AREA) for image in images]
    strip = np.full((24, CELL_WIDTH * len(cells), 3), 255, np.uint8)
    for column, label in enumerate(labels):
        place = (8 + CELL_WIDTH * column, 17)
        cv2.putText(strip, label, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    return np.vstack([strip, np.hstack(cells)])
