"""`compare`: stylized videos of any origin against their source."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from ..common.arrays import Size
from ..common.files import InputError
from ..common.machine import this_device
from ..common.progress import Progress, no_progress
from .alignment import Alignment, Sketched, align, check_shape, sketch
from .judging import StyleImages, open_judging, read_style_images
from .measure.clips import FileClip
from .measure.steadiness import IDENTITY, Stylize, controls_of, measure_clip
from .record import Method, Report, summarize
from .report.write import check_folder, write_report
from .subjects import method_of


def compare(
    source: str | Path,
    stylized: Sequence[str | Path],
    *,
    out_dir: str | Path,
    max_frames: int | None = None,
    every: int = 1,
    style_images: StyleImages | None = None,
    loss_networks: Sequence[str | Path] = (),
    command: str = "",
    progress: Progress = no_progress,
) -> Report:
    """Measure temporal error, style and content of stylized videos, and write the report.

    The source is resized to the size of each video; videos of one size share a table. A video that cannot be aligned
    (see `alignment`) is a hole in the report. `style_images` are as in `StyleImages`, by file names without ending, and
    `loss_networks` as in `open_judging`; every `every`-th frame is measured. `out_dir` is created if missing.
    InputError for bad input, such as no video that can be aligned, and nothing is written; OSError if writing fails.
    """
    if not stylized:
        raise InputError("there is nothing to compare: give at least one stylized video after the source")
    folder = check_folder(out_dir)
    files = _named(stylized)
    original = _sketched(FileClip(source), progress)
    videos, holes = _aligned(files, original, progress)
    methods = [Method(IDENTITY, "control", control="identity")]
    for name, video in videos.items():
        methods += [method_of(name, "video", video.clip.path), *controls_of(name)]
    images = {
        name: image
        for name, image in read_style_images(style_images or {}).items()
        if name in videos or name not in files
    }
    judging = open_judging(methods, images, loss_networks, {})
    absent = {**judging.absent, "shift": "finished videos are compared"}
    device = this_device()
    groups: dict[tuple[Size, int, int], dict[str, _Aligned]] = {}
    for name, video in videos.items():
        groups.setdefault(video.group, {})[name] = video
    measured = []
    for group in groups.values():
        clip, skips = _shared(source, original, group, max_frames)
        if len(groups) > 1:
            step = next(iter(group.values())).alignment.step
            of = f", one frame in {step}" if step > 1 else ""
            clip.name = f"{clip.name} at {clip.size[0]}x{clip.size[1]}{of}"
        measured.append(
            measure_clip(
                clip,
                {name: _playback(video.clip, skips[name]) for name, video in group.items()},
                judge=judging.judge,
                absent=absent,
                every=every,
                progress=progress,
            )
        )
    results = [clip for clip, _ in measured]
    report = replace(
        Report.begun("compare", device, methods, command),
        settings={
            "reference": next(iter(videos)),
            "max frames": max_frames,
            "temporal error on every": every,
            **judging.settings,
        },
        clips=results,
        summary=summarize(results, []),
        absent={"latency": "finished videos are compared", "drift": "there is no still clip", **absent},
        holes=holes,
        notes=[
            "The videos are measured as they are decoded, so what their compression does to them is in the figures."
        ],
    )
    return write_report(report, [moment for _, moment in measured], folder)


@dataclass(frozen=True)
class _Aligned:
    clip: FileClip
    frames: int
    alignment: Alignment

    @property
    def group(self) -> tuple[Size, int, int]:
        """Videos of one size that show the same source frames share a table."""
        return self.clip.size, self.alignment.step, self.alignment.offset % self.alignment.step


def _aligned(
    files: Mapping[str, str | Path], original: Sketched, progress: Progress
) -> tuple[dict[str, _Aligned], list[str]]:
    """The videos that can be measured, and why the others cannot; InputError if none can."""
    videos: dict[str, _Aligned] = {}
    refusals: list[InputError] = []
    for name, file in files.items():
        try:
            clip = FileClip(file)
            check_shape((clip.name, clip.size), (original.name, original.size))
            sketched = _sketched(clip, progress)
            videos[name] = _Aligned(clip, sketched.frames, align(sketched, original))
        except InputError as error:
            refusals.append(error)
    if not videos:
        raise refusals[0]
    return videos, [str(error) for error in refusals]


def _sketched(clip: FileClip, progress: Progress) -> Sketched:
    progress(f"counting the frames of {clip.name}", 0, None)
    return sketch(clip.name, clip.size, clip.frame_rate, clip)


def _shared(
    source: str | Path, original: Sketched, group: Mapping[str, _Aligned], max_frames: int | None
) -> tuple[FileClip, dict[str, int]]:
    """The part of the source that all videos of a group show, and how many frames each must skip."""
    first = next(iter(group.values()))
    step = first.alignment.step
    offsets = {name: video.alignment.offset for name, video in group.items()}
    # Offsets are equal modulo the step; a negative one starts at the next whole step.
    start = max(offset if offset >= 0 else offset % step for offset in offsets.values())
    ends = (offsets[name] + step * (video.frames - 1) for name, video in group.items())
    count = (min(original.frames - 1, *ends) - start) // step + 1
    clip = FileClip(source, size=first.clip.size, max_frames=min(count, max_frames or count), start=start, step=step)
    clip.notes += [video.alignment.note for video in group.values() if video.alignment.note]
    return clip, {name: (start - offset) // step for name, offset in offsets.items()}


def _playback(video: FileClip, skip: int) -> Stylize:
    """A finished video in place of a stylizer: each call returns its next frame."""
    frames = islice(video, skip, None)
    return lambda frame: next(frames)


def _named(files: Sequence[str | Path]) -> dict[str, str | Path]:
    stems = [Path(file).stem for file in files]
    names = [
        stem if stems.count(stem) == 1 and stem != IDENTITY else str(file)
        for stem, file in zip(stems, files, strict=True)
    ]
    if len(set(names)) < len(names):
        raise InputError("a stylized video was given twice: give each once")
    return dict(zip(names, files, strict=True))
