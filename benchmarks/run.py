"""`benchmark`: measures artifacts and peers on clips, and writes the report."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any, TypeVar

from .. import __version__
from ..common.arrays import Image, Size, resized
from ..common.files import InputError
from ..common.machine import this_device
from ..common.progress import Progress, no_progress
from ..runtimes.registry import resolve
from ..video.synthetic.motions import SCENES
from ..video.synthetic.scene import Scene
from .costs import CostGrowth, Latency, Sustained, ThreadScaling
from .judging import Judging, open_judging, read_style_images
from .measure.clips import ClipSource, FileClip, SceneClip
from .measure.growth import measure_growth, measure_threads
from .measure.latency import FRAMES_IN_MEMORY, Subject, measure_latency, noise_notes
from .measure.roofline import measure_peak, roofline
from .measure.sintel import open_sintel
from .measure.steadiness import IDENTITY, Moment, Stylize, controls_of, measure_clip, measure_drift
from .measure.sustained import measure_sustained
from .record import Clip, Drift, Method, Report, summarize
from .report.write import check_folder, write_report
from .request import BenchmarkRequest
from .resume import Kept, fingerprint, keeping
from .subjects import Opened, open_subject, own_size, subjects_of

T = TypeVar("T")


def benchmark(
    request: BenchmarkRequest,
    *,
    out_dir: str | Path,
    device: str = "local",
    pictures: bool = True,
    completed: Callable[[Report], Report] | None = None,
    command: str = "",
    progress: Progress = no_progress,
) -> Report:
    """Measure latency, temporal error, style and content, and write the report.

    Finished steps are kept in `out_dir`, which is created if missing, until the report is written: after an
    interruption the same call continues. `device` is this machine's name in the report. Without `pictures`, only
    report.json is written, which needs no matplotlib. `completed` adds other devices' figures before that. InputError
    for bad input, and no report is written; OSError if writing fails.
    """
    request.check()
    folder = check_folder(out_dir, pictures=pictures)
    subjects = subjects_of(request.artifacts, request.peers)
    images = read_style_images(request.style_images)
    sources = _sources(request)
    with ExitStack() as stack:
        opened = [open_subject(subject, request.threads) for subject in subjects]
        for one in opened:
            stack.callback(one.stylizer.close)
        methods = [Method(IDENTITY, "control", control="identity")]
        for one in opened:
            methods += [one.method, *controls_of(one.method.name)]
        styles = {one.method.name: str(one.method.metadata["style"]) for one in opened if one.method.metadata}
        style_sizes = {one.method.name: int(one.method.metadata["style_size"]) for one in opened if one.method.metadata}
        judging = open_judging(methods, images, request.loss_networks, styles, style_sizes)
        for source in sources:
            source.notes += [
                f"{one.method.name}: {note}" for one in opened if (note := one.stylizer.note(*source.size))
            ]

        machine = this_device(device)
        inputs = {
            "version": __version__,
            "device": dataclasses.replace(machine, load_average=None),
            "request": request,
            "files": [fingerprint(path) for file in request.files() if (path := resolve(file)[0]).exists()],
            "methods": methods,
            "settings": judging.settings,
        }
        kept = stack.enter_context(keeping(folder, inputs))
        measuring = _Measuring(request, subjects, opened, sources, judging, kept, device, progress)
        latency = measuring.latency()
        progress("peak of this machine", 0, None)
        peak = kept.take("peak of this machine", dict[str, float], partial(measure_peak, request.threads))
        growth, threads, sustained = measuring.growth(), measuring.threads(), measuring.sustained()
        measured = measuring.clips()
        drift = measuring.drift()
        clips = [clip for clip, _ in measured]
        notes = [
            f"Latency of {one.method.name}: {note}." for one in opened if (note := one.stylizer.note(*request.size))
        ]
        report = dataclasses.replace(
            Report.begun("benchmark", machine, methods, command, request),
            settings={"reference": measuring.reference, **judging.settings},
            clips=clips,
            drift=drift,
            latency=latency,
            summary=summarize(clips, drift),
            absent=judging.absent,
            notes=[*notes, *noise_notes(latency), *kept.note()],
            growth=growth,
            sustained=sustained,
            threads=threads,
            roofline=[roofline(peak, latency, methods)],
        )
        if completed is not None:
            report = completed(report)
        if not pictures:
            report.write(folder / "report.json")
            return report
        # Other devices' clips come last and have no pictures.
        return write_report(report, [moment for _, moment in measured], folder)


@dataclasses.dataclass(frozen=True)
class _Measuring:
    """The steps of one run on one device; `opened` are the subjects in this process."""

    request: BenchmarkRequest
    subjects: Sequence[Subject]
    opened: Sequence[Opened]
    sources: Sequence[ClipSource]
    judging: Judging
    kept: Kept
    device: str
    progress: Progress

    @property
    def reference(self) -> str:
        """Reference of ratios: the first peer, or the first artifact."""
        return next((subject.name for subject in self.subjects if subject.kind == "peer"), self.subjects[0].name)

    @property
    def stylizers(self) -> dict[str, Stylize]:
        return {one.method.name: one.stylizer for one in self.opened}

    @property
    def own_sizes(self) -> dict[str, Size | None]:
        return {one.method.name: own_size(one.method) for one in self.opened}

    def latency(self) -> list[Latency]:
        asked, source = self.request, self.sources[0]
        measure = partial(
            measure_latency,
            self.subjects,
            _repeated(source, asked.size, asked.latency_frames),
            self.kept.scratch,
            reference=self.reference,
            device=self.device,
            threads=asked.threads,
            seconds=asked.latency_seconds,
            at_least=asked.latency_frames,
            frame_rate=source.frame_rate or 25,
            progress=self.progress,
        )
        return self.kept.take("latency", list[Latency], measure)

    def growth(self) -> list[CostGrowth]:
        frames = {size: self._first_frames(size) for size in self.request.sizes}
        own_sizes = self.own_sizes

        def measure(subject: Subject, **more: Any) -> CostGrowth:
            own_size = own_sizes[subject.name]
            return measure_growth(subject, frames, own_size=own_size, threads=self.request.threads, **more)

        return self._each("cost growth", CostGrowth, measure) if frames else []

    def threads(self) -> list[ThreadScaling]:
        counts = self.request.thread_counts
        if not counts:
            return []
        measure = partial(measure_threads, frames=self._first_frames(self.request.size), counts=counts)
        return self._each("threads", ThreadScaling, measure)

    def sustained(self) -> list[Sustained]:
        asked = self.request
        if not asked.minutes:
            return []
        frames = self._first_frames(asked.size)
        measure = partial(measure_sustained, frames=frames, minutes=asked.minutes, threads=asked.threads)
        return self._each("sustained run", Sustained, measure)

    def _each(self, what: str, kind: type[T], measure: Callable[..., T]) -> list[T]:
        more: dict[str, Any] = {"folder": self.kept.scratch, "device": self.device, "progress": self.progress}
        return [
            self.kept.take(f"{what} of {subject.name}", kind, partial(measure, subject, **more))
            for subject in self.subjects
        ]

    def _first_frames(self, size: Size) -> list[Image]:
        return [resized(frame, size) for frame in islice(self.sources[0], FRAMES_IN_MEMORY)]

    def clips(self) -> list[tuple[Clip, Moment | None]]:
        measure = partial(
            measure_clip,
            methods=self.stylizers,
            judge=self.judging.judge,
            absent=self.judging.absent,
            fixed_sizes=self.own_sizes,
            every=self.request.every,
            device=self.device,
            progress=self.progress,
        )
        return [
            self.kept.take_clip(f"clip {number}, {source.name}", partial(measure, source))
            for number, source in enumerate(self.sources, start=1)
        ]

    def drift(self) -> list[Drift]:
        self.progress("drift", 0, None)
        source, stylizers = self.sources[0], self.stylizers
        found = self.kept.take("drift", dict[str, float], lambda: measure_drift(next(iter(source)), stylizers))
        return [Drift(method, self.device, value) for method, value in found.items()]


def _sources(request: BenchmarkRequest) -> list[ClipSource]:
    height, most = request.height, request.max_frames
    sources: list[ClipSource] = [FileClip(clip, height=height, max_frames=most) for clip in request.clips]
    default = () if request.clips or request.sintel else ("harbour",)
    sources += [SceneClip(scene, most) for scene in _scenes(request.scenes or default, height)]
    return [*sources, *(clip for root in request.sintel for clip in open_sintel(root, height=height, max_frames=most))]


def _scenes(names: Sequence[str], height: int) -> list[Scene]:
    """Scenes by name, 16:9."""
    unknown = next((name for name in names if name not in (*SCENES, "all")), None)
    if unknown is not None:
        raise InputError(f"unknown scene '{unknown}': choose one of {', '.join(SCENES)}, or all")
    chosen = list(SCENES) if "all" in names else dict.fromkeys(names)
    return [SCENES[name](width=2 * round(height * 8 / 9), height=height) for name in chosen]


def _repeated(source: ClipSource, size: Size, count: int) -> Iterator[Image]:
    """`count` frames of a clip at a size; the clip repeats."""
    return (resized(frame, size) for frame in islice(chain.from_iterable(repeat(source)), count))
