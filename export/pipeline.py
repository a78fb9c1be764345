"""The stages of an export: load, rewrite, write, run the file, embed figures, rename. Converters are in other files."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from .. import __version__
from ..common.arrays import Image, Size
from ..common.files import InputError, atomic_path, sha256_of, size_on_disk
from ..common.progress import Notify, Progress, no_notify, no_progress
from ..runtimes.artifact import LAYOUTS, ArtifactMetadata, look_numbers
from ..runtimes.look import PLAIN, Look
from ..runtimes.look.painted import painted
from ..runtimes.registry import find_checkpoint
from ..runtimes.stylizer import Stylizer
from ..train.checkpoint import Checkpoint, load_checkpoint
from ..train.loss.style_score import StyleJudge
from ..video.images import read_image
from .calibration import CALIBRATED_SIZE, load_calibration
from .quantization import Quantization, plan_quantization
from .target import Writer, check_offer
from .verify import TestFrames, load_test_frames, reference, shortfalls, verify

_WARM_UP, _TIMED = 3, 15


def _onnx() -> Writer:
    from .onnx import OnnxWriter

    return OnnxWriter()


def _tflite() -> Writer:
    from .tflite import TfliteWriter

    return TfliteWriter()


def _coreml() -> Writer:
    from .coreml import CoremlWriter

    return CoremlWriter()


TARGETS: Mapping[str, Callable[[], Writer]] = {"onnx": _onnx, "tflite": _tflite, "coreml": _coreml}
"""Target -> its writer. Converters are imported on demand, so that one is enough."""


@dataclass(frozen=True)
class ExportResult:
    """One artifact."""

    target: str
    path: Path  # a degraded artifact is kept only if that was allowed
    metadata: ArtifactMetadata  # as embedded, with the figures of the proof
    size_bytes: int  # 0 if no file was kept
    median_ms: float | None  # rough time per frame on this machine; None if no engine ran the proof
    shortfalls: list[str]  # limits that the artifact misses, a few words each
    verdict: Literal["ok", "degraded"]
    remark: str = ""  # of the target, for instance which operators a phone's GPU takes


@dataclass(frozen=True)
class Proof:
    """What artifacts are proven on."""

    clip: str | None = None  # video whose first frames are taken; None: the bundled scene
    style: Path | None = None  # style image for the change of the style score; None: no style score
    loss_network: Path | None = None  # weights; None: from the environment variable if there is a style
    allow_degraded: bool = False

    def judge(self) -> StyleJudge | None:
        """A judge of style scores; None without a style image. Raises InputError for an unusable image or weights."""
        if self.style is None:
            return None
        image = read_image(self.style)
        files = None if self.loss_network is None else [self.loss_network]
        judge = StyleJudge(files, {"artifact": image, "checkpoint": image})
        if not judge.style_layers:
            raise InputError("the style score is VGG-19's: give --loss-network a VGG-19 file")
        return judge


class _DegradedError(Exception):
    """Leaves `atomic_path` without keeping the file."""


def export(
    model: str | Path,
    target: str = "onnx",
    precision: str | None = None,
    size: Size | None = None,
    out_dir: Path = Path("exports"),
    *,
    io: str = "frame",
    look: Look = PLAIN,
    calibration_clips: Sequence[str] = (),
    proof: Proof | None = None,
    progress: Progress = no_progress,
    notify: Notify = no_notify,
) -> list[ExportResult]:
    """Turn a checkpoint into artifacts, each proven by running it, in the order of targets and precisions.

    Args:
        model: name of a bundled model, or a ``.safetensors`` file.
        target: a key of `TARGETS`, or ``all``.
        precision: one of `PRECISIONS`, or ``all`` that the target can write; None: the target's default.
        size: of the frames; None: any.
        out_dir: folder for the artifacts, created if missing.
        io: what the artifacts take and give, a key of `LAYOUTS`.
        look: becomes part of the artifacts; nothing for `Look.only`, which is no part of a picture alone.
        calibration_clips: videos to calibrate 8-bit artifacts on; none: the bundled scene.
        proof: None: the bundled scene, no style score.
        notify: called with a warning about the calibration, and with the targets that ``all`` leaves out.

    Raises:
        InputError: unknown model, target, precision, size or io, a look that a target cannot contain, damaged
            checkpoint or clip, or no place to write to.
    """
    if io not in LAYOUTS:
        raise InputError(f"unknown io '{io}': choose one of {', '.join(LAYOUTS)}")
    layout = LAYOUTS[io]
    plan = _plan(target, precision, size, look, layout)
    for name in TARGETS if target == "all" else ():
        if name not in {planned for planned, *_ in plan}:
            notify(f"{name} is left out: it takes images, not arrays")
    path, proof = find_checkpoint(model), proof or Proof()
    checkpoint = load_checkpoint(path)
    judge, test = proof.judge(), load_test_frames(proof.clip, size)
    references = [painted(frame, look, partial(reference, checkpoint.network)) for frame in test.frames]
    source = _Source(checkpoint, sha256_of(path), size, look, layout, test, references, judge, proof.allow_degraded)
    seen = look.network_size(*(size or CALIBRATED_SIZE))
    calibration = None
    if any(chosen in writer.calibrated for _, writer, chosen in plan):
        calibration = load_calibration(calibration_clips, seen)
        if calibration.note:
            notify(calibration.note)
    results = []
    for done, (name, writer, chosen) in enumerate(plan):
        quantization = None
        if calibration is not None and chosen in writer.calibrated:
            progress(f"{name} {chosen}: how each layer bears it", done, len(plan))
            quantization = plan_quantization(checkpoint.network, calibration, seen, results=writer.rounds_results)
        progress(f"{name} {chosen}", done, len(plan))
        results.append(_export_one(source, out_dir, name, writer, chosen, quantization))
    return results


def _plan(
    target: str, precision: str | None, size: Size | None, look: Look, layout: str
) -> list[tuple[str, Writer, str]]:
    if target not in (*TARGETS, "all"):
        raise InputError(f"unknown target '{target}': choose one of {', '.join(TARGETS)}, or all")
    writers = {name: make() for name, make in TARGETS.items() if target in (name, "all")}
    plan = []
    for name, writer in writers.items():
        if target == "all" and layout not in writer.layouts:
            continue
        chosen = writer.precisions if precision == "all" else (precision or writer.default_precision,)
        for one in chosen:
            check_offer(name, writer, one, size, look, layout)
            plan.append((name, writer, one))
    return plan


@dataclass(frozen=True)
class _Source:
    """Data shared by all artifacts of one model, computed once."""

    checkpoint: Checkpoint
    sha256: str  # of the checkpoint's file
    size: Size | None
    look: Look
    layout: str
    test: TestFrames  # frames of the proof
    references: Sequence[Image]  # the checkpoint's results for the test frames, with the look
    judge: StyleJudge | None
    allow_degraded: bool


def _export_one(
    source: _Source, folder: Path, target: str, writer: Writer, precision: str, quantization: Quantization | None
) -> ExportResult:
    """Make and prove one artifact."""
    header, test = source.checkpoint.header, source.test
    sensitivity = quantization.sensitivity if quantization else {}
    metadata = ArtifactMetadata(
        name=header.name,
        style=header.style,
        architecture=header.architecture,
        sizes=dict(header.sizes),
        precision=precision,
        width=source.size[0] if source.size else None,
        height=source.size[1] if source.size else None,
        look=look_numbers(source.look),
        layout=source.layout,
        checkpoint_sha256=source.sha256,
        calibration_sha256=quantization.calibration.sha256 if quantization else None,
        steps=header.steps,
        style_size=header.style_size,
        producer=f"steadystyle {__version__}",
        float_layers=sorted(quantization.float_layers) if quantization else [],
        sensitivity={layer: {key: round(value, 4) for key, value in row.items()} for layer, row in sensitivity.items()},
    )
    path = folder / metadata.file_name(writer.ending)
    size_bytes, remark = 0, ""
    with suppress(_DegradedError), atomic_path(path) as partial_file:
        network = source.checkpoint.network
        versions = writer.write(network, partial_file, source.size, precision, quantization, source.look, source.layout)
        metadata = replace(metadata, producer=f"{metadata.producer}, {versions}")
        # A runtime needs metadata, so it is embedded twice: first without figures, then with them.
        writer.embed(partial_file, metadata)
        with writer.run(partial_file) as stylizer:
            figures = verify(stylizer, source.references, test.frames, test.pairs, source.judge)
            figures |= {"source": test.source, "flow_source": test.flow_source, "engine": stylizer.engine}
            median_ms = _median_ms(stylizer, test.frames) if stylizer.real_time else None
        if quantization:
            figures["calibration_source"] = quantization.calibration.source
        metadata = replace(metadata, verification=figures)
        found = shortfalls(figures, precision)
        if found and not source.allow_degraded:
            raise _DegradedError
        metadata = writer.embed(partial_file, metadata)
        size_bytes, remark = size_on_disk(partial_file), writer.remark(partial_file)
    verdict: Literal["ok", "degraded"] = "degraded" if found else "ok"
    return ExportResult(target, path, metadata, size_bytes, median_ms, found, verdict, remark)


def _median_ms(stylizer: Stylizer, frames: Sequence[Image]) -> float:
    times = []
    for number in range(_WARM_UP + _TIMED):
        began = time.perf_counter()
        stylizer(frames[number % len(frames)])
        times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times[_WARM_UP:])
