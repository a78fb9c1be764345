"""`compare`: any stylized videos against their source, whoever made them."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from .. import __version__
from ..video.files import InputError, made_folder, sha256_of
from ..video.frames import open_source
from .clips import FileClip, Frame
from .device import this_device
from .judging import StyleImages, open_judging, read_style_images
from .output import check_folder, now, write_report
from .progress import Progress
from .report import Method, Report, summarize
from .steadiness import IDENTITY, controls_of, measure_clip

_FRAMES_APART = 1
_SHAPE_TOLERANCE = 0.02


def compare(
    source: str | Path,
    stylized: Sequence[str | Path],
    *,
    out_dir: str | Path,
    max_frames: int | None = None,
    every: int = 1,
    style_images: StyleImages = None,
    loss_network: str | Path | None = None,
    command: str = "",
    progress: Progress | None = None,
) -> Report:
    """Measure temporal error, style and content of stylized videos, and write the report.

    Each is measured at its own size, to which the source is resized; those of one size share a table.

    Args:
        source: the video that was stylized.
        stylized: what came out, frame for frame; a difference of one frame in length is let pass.
        out_dir: folder for report.json, report.html, tables.md and the PNGs; created when missing.
        max_frames: take only so many frames.
        every: measure temporal error on every so many-th frame only.
        style_images: for the style score, see `StyleImages`; names are the files' names without ending.
        loss_network: VGG-19 weights; None takes the environment variable STEADYSTYLE_LOSS_NETWORK.
        command: the command line, for the record.
        progress: see `Progress`.

    Returns:
        The report as written.

    Raises:
        InputError: bad input, for instance another number of frames or another shape; nothing is written then.
        OSError: writing fails.
    """
    if not stylized:
        raise InputError("there is nothing to compare: give at least one stylized video after the source")
    folder = check_folder(out_dir)
    original = FileClip(source)
    videos = {name: FileClip(file) for name, file in _named(stylized).items()}
    for video in videos.values():
        _check_shape(video, original)
    counts = {name: _count(clip, progress) for name, clip in {"": original, **videos}.items()}
    for name, video in videos.items():
        if abs(counts[name] - counts[""]) > _FRAMES_APART:
            raise InputError(
                f"'{video.name}' has {counts[name]} frames and its source '{original.name}' {counts['']}: "
                "give a stylized video with one frame for each of the source's"
            )
    methods = [Method(IDENTITY, "control", control="identity")]
    for name, video in videos.items():
        methods += [_method(name, video), *controls_of(name)]
    judging = open_judging(methods, read_style_images(style_images), loss_network, {})
    device = this_device()
    measured = []
    for size in dict.fromkeys(video.size for video in videos.values()):
        group = {name: video for name, video in videos.items() if video.size == size}
        shared = min(counts[name] for name in ("", *group))
        clip = FileClip(source, size=size, max_frames=min(shared, max_frames or shared))
        if len(group) < len(videos):
            clip.name = f"{clip.name} at {size[0]}x{size[1]}"
        clip.notes += [
            f"{group[name].name if name in group else original.name} has a frame more, left out"
            for name in ("", *group)
            if counts[name] > shared
        ]
        measured.append(
            measure_clip(
                clip,
                {name: _Playback(video) for name, video in group.items()},
                judge=judging.judge,
                style_absent=judging.absent.get("content", ""),
                every=every,
                progress=progress,
            )
        )
    results = [clip for clip, _ in measured]
    report = Report(
        kind="compare",
        command=command,
        date=now(),
        version=__version__,
        device=device,
        settings={
            "reference": next(iter(videos)),
            "max frames": max_frames,
            "temporal error on every": every,
            **judging.settings,
        },
        methods=methods,
        clips=results,
        drift={},
        latency=[],
        summary=summarize(results, {}),
        absent={"latency": "finished videos are compared", "drift": "there is no still clip", **judging.absent},
        notes=[
            "The videos are measured as they are decoded, so what their compression does to them is in the figures."
        ],
        pictures=[],
    )
    with made_folder(folder):
        return write_report(report, [moment for _, moment in measured], folder)


class _Playback:
    """A finished video in the place of a stylizer: called with a source frame, it gives its own next one."""

    def __init__(self, video: FileClip) -> None:
        self._frames: Iterator[Frame] = iter(video)

    def __call__(self, frame: Frame) -> Frame:
        return next(self._frames)


def _named(files: Sequence[str | Path]) -> dict[str, str | Path]:
    stems = [Path(file).stem for file in files]
    names = [
        stem if stems.count(stem) == 1 and stem != IDENTITY else str(file)
        for stem, file in zip(stems, files, strict=True)
    ]
    if len(set(names)) < len(names):
        raise InputError("a stylized video was given twice: give each once")
    return dict(zip(names, files, strict=True))


def _check_shape(video: FileClip, source: FileClip) -> None:
    (width, height), (source_width, source_height) = video.size, source.size
    wanted = height * source_width / source_height
    # Encoders add a line or a column to odd sizes, so two pixels are let pass however small the video is.
    if abs(width - wanted) > max(2.0, _SHAPE_TOLERANCE * wanted):
        raise InputError(
            f"'{video.name}' is {width}x{height} and its source '{source.name}' {source_width}x{source_height}: "
            "give a stylized video of the source's shape"
        )


def _count(clip: FileClip, progress: Progress | None) -> int:
    """Count by decoding, because what a container says of its length is often wrong."""
    if progress is not None:
        progress(f"counting the frames of {clip.name}", 0, None)
    with open_source(clip.path) as source:
        return sum(1 for _ in source)


def _method(name: str, video: FileClip) -> Method:
    file = video.path
    if file.is_dir():
        return Method(name, "video", file=file.name)
    return Method(name, "video", file=file.name, sha256=sha256_of(file), bytes=file.stat().st_size)
