"""`benchmark`: measures artifacts and peers on clips, and writes the report."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import islice
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
from .measure.sintel import sintel_clips
from .measure.steadiness import IDENTITY, Moment, controls_of, measure_clip, measure_drift
from .measure.sustained import measure_sustained
from .record import Clip, Drift, Method, Report, Run, summarize
from .report.write import check_folder, now, write_report
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

    Finished steps are kept in `out_dir` until the report is written: after an interruption the same call continues.

    Args:
        request: what to measure, on what, and how long.
        out_dir: folder for report.json, report.html, tables.md and the PNGs; created if missing.
        device: this machine's name in the report.
        pictures: False writes report.json only, which needs no matplotlib.
        completed: adds other devices' figures before the report is written.
        command: the command line, for the record.
        progress: called at each step.

    Raises:
        InputError: bad input; no report is written.
        OSError: writing fails.
    """
    request.check()
    folder = check_folder(out_dir, pictures=pictures)
    subjects = subjects_of(request.artifacts, request.peers)
    images = read_style_images(request.style_images)
    sources = _sources(request)
    with ExitStack() as stack:
        opened = [open_subject(subject, request.threads) for subject in subjects]
        for one in opened:
            stack.callback(one.close)
        methods = [Method(IDENTITY, "control", control="identity")]
        for one in opened:
            methods += [one.method, *controls_of(one.method.name)]
        styles = {one.method.name: str(one.method.metadata["style"]) for one in opened if one.method.metadata}
        style_sizes = {one.method.name: int(one.method.metadata["style_size"]) for one in opened if one.method.metadata}
        judging = open_judging(methods, images, request.loss_networks, styles, style_sizes)
        for source in sources:
            source.notes += [f"{one.method.name}: {note}" for one in opened if (note := one.note(*source.size))]

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
        date = now()
        notes = [f"Latency of {one.method.name}: {note}." for one in opened if (note := one.note(*request.size))]
        report = Report(
            kind="benchmark",
            command=command,
            date=date,
            version=__version__,
            device=machine,
            other_devices=[],
            settings={"reference": measuring.reference, **judging.settings},
            methods=methods,
            clips=clips,
            drift=drift,
            latency=latency,
            summary=summarize(clips, drift),
            absent=judging.absent,
            holes=[],
            notes=[*notes, *noise_notes(latency), *kept.note()],
            pictures=[],
            runs=[Run(device, command, date, __version__, request)],
            growth=growth,
            sustained=sustained,
            threads=threads,
            roofline=[roofline(peak, latency, methods)],
        )
        if completed is not None:
            report = completed(report)
        moments = [moment for _, moment in measured]
        # Other devices' clips come last and have no pictures.
        moments += [None] * (len(report.clips) - len(moments))
        if not pictures:
            report.write(folder / "report.json")
            return report
        return write_report(report, moments, folder)


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

    def latency(self) -> list[Latency]:
        asked, source = self.request, self.sources[0]

        def measure() -> list[Latency]:
            return measure_latency(
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
        if not self.request.sizes:
            return []
        frames = {size: self._first_frames(size) for size in self.request.sizes}
        own_sizes = {one.method.name: own_size(one.method) for one in self.opened}
        return self._each(
            "cost growth",
            CostGrowth,
            lambda subject, **more: measure_growth(
                subject, frames, own_size=own_sizes[subject.name], threads=self.request.threads, **more
            ),
        )

    def threads(self) -> list[ThreadScaling]:
        if not self.request.thread_counts:
            return []
        frames = self._first_frames(self.request.size)
        return self._each(
            "threads",
            ThreadScaling,
            lambda subject, **more: measure_threads(subject, frames, counts=self.request.thread_counts, **more),
        )

    def sustained(self) -> list[Sustained]:
        if not self.request.minutes:
            return []
        frames, asked = self._first_frames(self.request.size), self.request
        return self._each(
            "sustained run",
            Sustained,
            lambda subject, **more: measure_sustained(
                subject, frames, minutes=asked.minutes, threads=asked.threads, **more
            ),
        )

    def _each(self, what: str, kind: type[T], measure: Callable[..., T]) -> list[T]:
        more: dict[str, Any] = {"folder": self.kept.scratch, "device": self.device, "progress": self.progress}
        return [
            self.kept.take(f"{what} of {subject.name}", kind, partial(measure, subject, **more))
            for subject in self.subjects
        ]

    def _first_frames(self, size: Size) -> list[Image]:
        return [resized(frame, size) for frame in islice(self.sources[0], FRAMES_IN_MEMORY)]

    def clips(self) -> list[tuple[Clip, Moment | None]]:
        stylizers = {one.method.name: one.stylize for one in self.opened}
        fixed_sizes = {one.method.name: own_size(one.method) for one in self.opened}

        def measure(source: ClipSource) -> tuple[Clip, Moment | None]:
            return measure_clip(
                source,
                stylizers,
                judge=self.judging.judge,
                absent=self.judging.absent,
                fixed_sizes=fixed_sizes,
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
        stylizers = {one.method.name: one.stylize for one in self.opened}
        found = self.kept.take("drift", dict[str, float], lambda: measure_drift(next(iter(self.sources[0])), stylizers))
        return [Drift(method, self.device, value) for method, value in found.items()]


def _sources(request: BenchmarkRequest) -> list[ClipSource]:
    height, most = request.height, request.max_frames
    sources: list[ClipSource] = [FileClip(clip, height=height, max_frames=most) for clip in request.clips]
    default = () if request.clips or request.sintel else ("harbour",)
    sources += [SceneClip(scene, most) for scene in _scenes(request.scenes or default, height)]
    return [*sources, *sintel_clips(request.sintel, height, most)]


def _scenes(names: Sequence[str], height: int) -> list[Scene]:
    """Scenes by name, 16:9."""
    unknown = next((name for name in names if name not in (*SCENES, "all")), None)
    if unknown is not None:
        raise InputError(f"unknown scene '{unknown}': choose one of {', '.join(SCENES)}, or all")
    chosen = list(SCENES) if "all" in names else dict.fromkeys(names)
    return [SCENES[name](width=2 * round(height * 8 / 9), height=height) for name in chosen]


def _repeated(source: ClipSource, size: Size, count: int) -> Iterator[Image]:
    """`count` frames of a clip at a size; the clip repeats."""
    given = 0
    while given < count:
        for frame in source:
            yield resized(frame, size)
            given += 1
            if given == count:
                return
