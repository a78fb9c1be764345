"""`benchmark`: artifacts and peers on clips, and a folder with the report."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Literal

from .. import __version__
from ..common.files import InputError, sha256_of, size_on_disk
from ..common.machine import this_device
from ..common.progress import Progress
from ..runtimes.registry import bundled_models, open_stylizer, resolve
from ..video.synthetic.motions import SCENES
from ..video.synthetic.scene import Scene
from .judging import Judging, StyleImages, open_judging, read_style_images
from .measure.clips import ClipSource, FileClip, Frame, SceneClip, resize
from .measure.growth import Size, measure_growth
from .measure.latency import FRAMES_IN_MEMORY, Subject, measure_latency, noise_notes
from .measure.peer import open_peer
from .measure.roofline import measure_peak, roofline
from .measure.sintel import sintel_clips
from .measure.steadiness import IDENTITY, Moment, Stylize, controls_of, measure_clip, measure_drift
from .measure.sustained import measure_sustained
from .measure.threads import measure_threads
from .record import Clip, CostGrowth, Latency, Method, Report, Sustained, ThreadScaling, summarize
from .report.write import check_folder, now, write_report
from .resume import Kept, fingerprint, keeping


def benchmark(
    artifacts: Sequence[str | Path] = (),
    *,
    peers: Sequence[str | Path] = (),
    clips: Sequence[str | Path] = (),
    scenes: Sequence[str] = (),
    sintel: Sequence[str | Path] = (),
    out_dir: str | Path,
    size: tuple[int, int] = (640, 360),
    height: int = 360,
    threads: int = 2,
    max_frames: int | None = None,
    every: int = 1,
    latency_seconds: float = 10,
    latency_frames: int = 100,
    sizes: Sequence[Size] = (),
    minutes: float = 0,
    thread_counts: Sequence[int] = (),
    style_images: StyleImages = None,
    loss_networks: Sequence[str | Path] = (),
    device: str = "local",
    pictures: bool = True,
    completed: Callable[[Report], Report] | None = None,
    command: str = "",
    progress: Progress | None = None,
) -> Report:
    """Measure latency, temporal error, style and content of what ships, and write the report.

    What is finished is kept in `out_dir` until the report is there: an interrupted call that is made again goes on.

    Args:
        artifacts: artifact files or names of bundled models; all bundled models when neither these nor peers are given.
        peers: other people's networks, see `Peer`.
        clips: videos.
        scenes: names of synthetic scenes with exact flow (`video.motions.SCENES`), or ``all``; the scene ``harbour``
            when nothing is given to measure on.
        sintel: folders of MPI-Sintel.
        out_dir: folder for report.json, report.html, tables.md and the PNGs; created when missing.
        size: (width, height) of the frames for latency, in pixels.
        height: of the frames for everything else, in pixels, width in proportion.
        threads: threads for each engine.
        max_frames: take only so many frames of each clip.
        every: measure temporal error on every so many-th frame only.
        latency_seconds: least time of inference for each method.
        latency_frames: least number of frames timed for each method, and number of frames of the end-to-end run.
        sizes: (width, height) of the frames, in pixels, for the growth of cost, two or more; none leaves it out.
        minutes: of the sustained run of each method; 0 leaves it out.
        thread_counts: latency with each of these numbers of threads too, two or more; none leaves it out.
        style_images: for the style score, see `StyleImages`.
        loss_networks: VGG-19 weights, VGG-16 weights, or both; none takes the environment variable
            STEADYSTYLE_LOSS_NETWORK.
        device: what the report calls this machine.
        pictures: False writes report.json only, which needs no matplotlib.
        completed: adds what was measured on other devices, before the report is written.
        command: the command line, for the record.
        progress: see `Progress`.

    Returns:
        The report as written.

    Raises:
        InputError: bad input; no report is written then.
        OSError: writing fails.
    """
    _require_at_least_one(
        height=height, threads=threads, max_frames=max_frames, every=every, latency_frames=latency_frames
    )
    _check_sizes_and_minutes(sizes, minutes)
    if thread_counts and (len(set(thread_counts)) < max(2, len(thread_counts)) or min(thread_counts) < 1):
        raise InputError("thread counts are compared: give two or more, each once, for example --thread-counts 1,2")
    folder = check_folder(out_dir, pictures=pictures)
    subjects = _subjects(artifacts, peers)
    reference = next((subject.name for subject in subjects if subject.kind == "peer"), subjects[0].name)
    images = read_style_images(style_images)
    sources: list[ClipSource] = [FileClip(clip, height=height, max_frames=max_frames) for clip in clips]
    default = () if clips or sintel else ("harbour",)
    sources += [SceneClip(scene, max_frames) for scene in _scenes(scenes or default, height)]
    sources += sintel_clips(sintel, height, max_frames)
    machine = this_device(device)
    tell = progress or (lambda stage, done, total: None)
    with ExitStack() as stack:
        opened = [_open(subject, threads) for subject in subjects]
        for one in opened:
            stack.callback(one.close)
        methods = [Method(IDENTITY, "control", control="identity")]
        for one in opened:
            methods += [one.method, *controls_of(one.method.name)]
        stylizers = {one.method.name: one.stylize for one in opened}
        styles = {one.method.name: str(one.method.metadata["style"]) for one in opened if one.method.metadata}
        style_sizes = {one.method.name: int(one.method.metadata["style_size"]) for one in opened if one.method.metadata}
        judging = open_judging(methods, images, loss_networks, styles, style_sizes)
        for source in sources:
            source.notes += [f"{one.method.name}: {note}" for one in opened if (note := one.note(*source.size))]

        settings = {
            "reference": reference,
            "latency size": f"{size[0]}x{size[1]}",
            "threads": threads,
            "height": height,
            "max frames": max_frames,
            "temporal error on every": every,
            "least seconds of latency": latency_seconds,
            "least frames of latency": latency_frames,
            "sizes": [f"{width}x{height}" for width, height in sizes],
            "minutes": minutes,
            "thread counts": list(thread_counts),
            **judging.settings,
        }
        inputs = {
            "version": __version__,
            "device": dataclasses.asdict(dataclasses.replace(machine, load_average=None)),
            "settings": settings,
            "methods": [dataclasses.asdict(method) for method in methods],
            "files": [fingerprint(file) for file in (*clips, *sintel)],
            "clips": [[source.name, *source.size, source.expected_frames] for source in sources],
        }
        kept = stack.enter_context(keeping(folder, inputs))
        latency = kept.take(
            "latency",
            list[Latency],
            lambda: measure_latency(
                subjects,
                _repeated(sources[0], size, latency_frames),
                kept.scratch,
                reference=reference,
                device=device,
                threads=threads,
                seconds=latency_seconds,
                at_least=latency_frames,
                frame_rate=sources[0].frame_rate or 25,
                progress=progress,
            ),
        )
        tell("peak of this machine", 0, None)
        peak = kept.take("peak of this machine", dict[str, float], lambda: measure_peak(threads))
        growth = _growth(kept, subjects, methods, sources[0], sizes, threads, progress) if sizes else []
        scaling = _threads(kept, subjects, sources[0], size, thread_counts, progress) if thread_counts else []
        sustained = _sustained(kept, subjects, sources[0], size, minutes, threads, progress) if minutes else []
        fixed_sizes = {method.name: _own_size(method) for method in methods if method.control is None}
        measured = _clips(kept, sources, stylizers, judging, fixed_sizes, every, progress)
        tell("drift", 0, None)
        drift = kept.take("drift", dict[str, float], lambda: measure_drift(next(iter(sources[0])), stylizers))
        results = [clip for clip, _ in measured]
        notes = [f"Latency of {one.method.name}: {note}." for one in opened if (note := one.note(*size))]
        report = Report(
            kind="benchmark",
            command=command,
            date=now(),
            version=__version__,
            device=machine,
            other_devices=[],
            settings=settings,
            methods=methods,
            clips=results,
            drift=drift,
            latency=latency,
            summary=summarize(results, drift),
            absent=judging.absent,
            holes=[],
            notes=[*notes, *noise_notes(latency), *kept.note()],
            pictures=[],
            growth=growth,
            sustained=sustained,
            threads=scaling,
            roofline=roofline(peak, latency, methods),
        )
        if completed is not None:
            report = completed(report)
        moments = [moment for _, moment in measured]
        # Clips of other devices come behind, and have no pictures.
        moments += [None] * (len(report.clips) - len(moments))
        if not pictures:
            report.write(folder / "report.json")
            return report
        return write_report(report, moments, folder)


def _clips(
    kept: Kept,
    sources: Sequence[ClipSource],
    stylizers: Mapping[str, Stylize],
    judging: Judging,
    fixed_sizes: Mapping[str, Size | None],
    every: int,
    progress: Progress | None,
) -> list[tuple[Clip, Moment | None]]:
    """Figures and moment of each clip."""

    def measure(source: ClipSource) -> tuple[Clip, Moment | None]:
        return measure_clip(
            source,
            stylizers,
            judge=judging.judge,
            absent=judging.absent,
            fixed_sizes=fixed_sizes,
            every=every,
            progress=progress,
        )

    return [
        kept.take_clip(f"clip {number}, {source.name}", partial(measure, source))
        for number, source in enumerate(sources, start=1)
    ]


def _growth(
    kept: Kept,
    subjects: Sequence[Subject],
    methods: Sequence[Method],
    source: ClipSource,
    sizes: Sequence[Size],
    threads: int,
    progress: Progress | None,
) -> list[CostGrowth]:
    """Cost growth of each method, on the first frames of a clip."""
    first = list(islice(source, FRAMES_IN_MEMORY))
    frames = {size: [resize(frame, size) for frame in first] for size in sizes}
    own_sizes = {method.name: _own_size(method) for method in methods}

    def measure(subject: Subject) -> CostGrowth:
        own_size = own_sizes[subject.name]
        return measure_growth(subject, frames, kept.scratch, own_size=own_size, threads=threads, progress=progress)

    return [kept.take(f"cost growth of {subject.name}", CostGrowth, partial(measure, subject)) for subject in subjects]


def _own_size(method: Method) -> Size | None:
    """The size that an artifact is made for; None for any."""
    own = method.metadata or {}
    return (own["width"], own["height"]) if own.get("width") else None


def _threads(
    kept: Kept,
    subjects: Sequence[Subject],
    source: ClipSource,
    size: Size,
    counts: Sequence[int],
    progress: Progress | None,
) -> list[ThreadScaling]:
    """Latency of each method with each number of threads, on the first frames of a clip."""
    frames = [resize(frame, size) for frame in islice(source, FRAMES_IN_MEMORY)]

    def measure(subject: Subject) -> ThreadScaling:
        return measure_threads(subject, frames, kept.scratch, counts=counts, progress=progress)

    return [kept.take(f"threads of {subject.name}", ThreadScaling, partial(measure, subject)) for subject in subjects]


def _sustained(
    kept: Kept,
    subjects: Sequence[Subject],
    source: ClipSource,
    size: Size,
    minutes: float,
    threads: int,
    progress: Progress | None,
) -> list[Sustained]:
    """Sustained run of each method, one after the other, on the first frames of a clip."""
    frames = [resize(frame, size) for frame in islice(source, FRAMES_IN_MEMORY)]

    def measure(subject: Subject) -> Sustained:
        return measure_sustained(subject, frames, kept.scratch, minutes=minutes, threads=threads, progress=progress)

    return [kept.take(f"sustained run of {subject.name}", Sustained, partial(measure, subject)) for subject in subjects]


def _check_sizes_and_minutes(sizes: Sequence[Size], minutes: float) -> None:
    if sizes and len({width * height for width, height in sizes}) < 2:
        raise InputError("growth of cost needs two sizes or more: give --sizes 320x180,640x360, for example")
    if len(set(sizes)) < len(sizes):
        raise InputError("a size was given twice for the growth of cost: give each once")
    if not 0 <= minutes < float("inf"):
        raise InputError(f"minutes must be 0 or more, but is {minutes}")


def _scenes(names: Sequence[str], height: int) -> list[Scene]:
    """Scenes by name, 16:9."""
    unknown = next((name for name in names if name not in (*SCENES, "all")), None)
    if unknown is not None:
        raise InputError(f"unknown scene '{unknown}': choose one of {', '.join(SCENES)}, or all")
    chosen = list(SCENES) if "all" in names else dict.fromkeys(names)
    return [SCENES[name](width=2 * round(height * 8 / 9), height=height) for name in chosen]


def _require_at_least_one(**values: int | None) -> None:
    for name, value in values.items():
        if value is not None and value < 1:
            raise InputError(f"{name.replace('_', ' ')} must be at least 1, but is {value}")


def _subjects(artifacts: Sequence[str | Path], peers: Sequence[str | Path]) -> list[Subject]:
    if not artifacts and not peers:
        artifacts = [model.name for model in bundled_models()]
    subjects: list[Subject] = []
    given: list[tuple[Literal["artifact", "peer"], Sequence[str | Path]]] = [("artifact", artifacts), ("peer", peers)]
    for kind, files in given:
        for file in files:
            # Only a file has an ending to leave off; a dot may be part of a bundled model's name.
            path, provider = resolve(file)
            stem = str(file)
            if path.exists() and not any(model.path == path for model in bundled_models()):
                stem = path.stem if provider is None else f"{path.stem}@{provider}"
            taken = {IDENTITY, *(subject.name for subject in subjects)}
            names = (stem, *(f"{stem} #{number}" for number in range(2, len(taken) + 2)))
            name = next(name for name in names if name not in taken)
            subjects.append(Subject(name, kind, str(file)))
    if not subjects:
        raise InputError("there is nothing to benchmark: name a bundled model, an artifact file or a --peer file")
    return subjects


@dataclass(frozen=True)
class _Opened:
    """A subject, opened in this process for everything but latency."""

    method: Method
    stylize: Stylize
    close: Callable[[], None]
    note: Callable[[int, int], str]


def _open(subject: Subject, threads: int) -> _Opened:
    file = resolve(subject.file)[0]
    if subject.kind == "peer":
        peer = open_peer(file, threads=threads)
        method = Method(
            subject.name, "peer", file=file.name, sha256=sha256_of(file), bytes=file.stat().st_size, engine=peer.engine
        )
        return _Opened(method, peer, peer.close, lambda width, height: "")
    stylizer = open_stylizer(subject.file, threads=threads)
    method = Method(
        subject.name,
        "artifact",
        file=file.name,
        sha256=stylizer.metadata.content_sha256 if file.is_dir() else sha256_of(file),  # a Core ML package is a folder
        bytes=size_on_disk(file),
        engine=stylizer.engine,
        metadata=dataclasses.asdict(stylizer.metadata),
    )
    return _Opened(method, stylizer, stylizer.close, stylizer.note)


def _repeated(source: ClipSource, size: tuple[int, int], count: int) -> Iterator[Frame]:
    """So many frames of a clip at a size, from the beginning again when it ends."""
    given = 0
    while given < count:
        for frame in source:
            yield resize(frame, size)
            given += 1
            if given == count:
                return
