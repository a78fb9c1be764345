"""The stages of an export, in order: load, rewrite, write, run the written file, embed the figures, rename.

Each target has one file beside this one that writes its format (see `Writer`); nothing here knows a converter.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import nn

from .. import __version__
from ..common.files import InputError, atomic_path, sha256_of, size_on_disk
from ..runtimes.artifact import ArtifactMetadata
from ..runtimes.registry import find_checkpoint
from ..runtimes.stylizer import Stylizer
from ..train.checkpoint import load_checkpoint
from ..train.loss.style_score import StyleJudge
from ..video.images import read_image
from .quantization import Quantization, load_calibration, plan_quantization
from .verify import load_test_frames, shortfalls, verify

Size = tuple[int, int]
"""Width and height in pixels."""

MAX_SIDE = 8192
LEAST_CALIBRATED_SIDE = 32
_WARM_UP, _TIMED = 3, 15
PRECISIONS = ("fp32", "fp16", "int8")


class Writer(Protocol):
    """What a target's file provides.

    Attributes:
        ending: of its files, with the dot; the runtime is found by it.
        precisions: what it can write.
        default_precision: what it writes when nothing is asked for.
        any_size: whether it can write artifacts for frames of any size.
        calibrated: the precisions that need a `Quantization`.
        rounds_results: whether these round what a convolution gives, too, or only what it takes.
    """

    ending: str
    precisions: tuple[str, ...]
    default_precision: str
    any_size: bool
    calibrated: frozenset[str]
    rounds_results: bool

    def write(
        self, network: nn.Module, path: Path, size: Size | None, precision: str, quantization: Quantization | None
    ) -> str:
        """Write the network to a new file, and return what wrote it, with versions."""
        ...

    def embed(self, path: Path, metadata: ArtifactMetadata) -> ArtifactMetadata:
        """Put the metadata into a written file, in place of what it had; return it with the hash of the content."""
        ...

    def run(self, path: Path) -> Stylizer:
        """Open a written file, metadata in it, with what proves it best on this machine."""
        ...


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
"""Name of a target -> its writer. A converter is imported when it is asked for, so that one is enough."""


@dataclass(frozen=True)
class ExportResult:
    """One artifact.

    Attributes:
        target: name of the target.
        path: the file; where the verdict is ``degraded``, none was kept there unless that was allowed.
        metadata: as embedded, with the verification figures.
        size_bytes: on disk; 0 where nothing was kept.
        median_ms: of a frame on this machine, roughly (`benchmark` measures it well); None where the proof was not run
            by an engine.
        shortfalls: where it stays under its floors.
        verdict: ``ok``, or ``degraded`` for one that differs or flickers too much.
    """

    target: str
    path: Path
    metadata: ArtifactMetadata
    size_bytes: int
    median_ms: float | None
    shortfalls: list[str]
    verdict: Literal["ok", "degraded"]


@dataclass(frozen=True)
class Proof:
    """What artifacts are proven on.

    Attributes:
        clip: video whose first frames are taken; None for the bundled scene.
        style: the style image, for the change of the style score; with ``loss_network`` or not at all.
        loss_network: weights of the loss network; None takes the environment variable when there is a style.
        allow_degraded: keep artifacts that stay under their floors.
    """

    clip: str | None = None
    style: Path | None = None
    loss_network: Path | None = None
    allow_degraded: bool = False

    def judge(self) -> StyleJudge | None:
        """Gives style scores, where there is a style image.

        Raises:
            InputError: an image or weights that cannot be used.
        """
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
    calibration_clips: Sequence[str] = (),
    proof: Proof | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    note: Callable[[str], None] | None = None,
) -> list[ExportResult]:
    """Turn a checkpoint into artifacts, each proven by running it.

    Args:
        model: the name of a bundled model, or a ``.safetensors`` file.
        target: a key of `TARGETS`, or ``all``.
        precision: one of `PRECISIONS`, or ``all`` for whatever the target can write; None for what the target is mostly
            used with.
        size: width and height of the frames; None for any.
        out_dir: folder for the artifacts, which is created.
        calibration_clips: videos that 8-bit artifacts are calibrated on; none for the bundled scene.
        proof: what they are proven on; None for the bundled scene.
        progress: called with what is being made, how many are done, and how many there are.
        note: called with a sentence when something worth saying happens.

    Returns:
        A result for each artifact, in the order of targets and precisions.

    Raises:
        InputError: unknown model, target, precision or size, a damaged checkpoint or clip, or no place to write to.
    """
    wanted = _plan(target, precision, size)
    checkpoint = find_checkpoint(model)
    loaded = load_checkpoint(checkpoint)
    calibration = None
    if size is not None and any(chosen in writer.calibrated for _, writer, chosen in wanted):
        calibration = load_calibration(calibration_clips, size)
        if calibration.note and note is not None:
            note(calibration.note)
    results = []
    for done, (name, writer, chosen) in enumerate(wanted):
        quantization = None
        if size is not None and calibration is not None and chosen in writer.calibrated:
            if progress is not None:
                progress(f"{name} {chosen}: how each layer bears it", done, len(wanted))
            quantization = plan_quantization(loaded.network, calibration, size, results=writer.rounds_results)
        if progress is not None:
            progress(f"{name} {chosen}", done, len(wanted))
        results.append(
            export_one(
                checkpoint,
                out_dir,
                writer,
                target=name,
                size=size,
                precision=chosen,
                quantization=quantization,
                proof=proof,
            )
        )
    return results


def _plan(target: str, precision: str | None, size: Size | None) -> list[tuple[str, Writer, str]]:
    if target not in (*TARGETS, "all"):
        raise InputError(f"unknown target '{target}': choose one of {', '.join(TARGETS)}, or all")
    writers = {name: make() for name, make in TARGETS.items() if target in (name, "all")}
    plan = []
    for name, writer in writers.items():
        chosen = writer.precisions if precision == "all" else (precision or writer.default_precision,)
        for one in chosen:
            if size is None and precision == "all" and one in writer.calibrated:
                continue
            check_offer(name, writer, one, size)
            plan.append((name, writer, one))
    return plan


def check_offer(target: str, writer: Writer, precision: str, size: Size | None) -> None:
    """Check that a target can write what is asked for.

    Raises:
        InputError: it cannot; the sentence says what it can.
    """
    if precision not in writer.precisions:
        what = "has no precision" if precision in PRECISIONS else "knows no precision"
        raise InputError(f"the target {target} {what} '{precision}': choose {' or '.join(writer.precisions)}")
    if size is None and (not writer.any_size or precision in writer.calibrated):
        what = f"{target} in {precision}" if writer.any_size else target
        raise InputError(f"the target {what} needs a fixed size: give WIDTHxHEIGHT, for example 640x360")
    if size is not None and not all(1 <= side <= MAX_SIDE for side in size):
        raise InputError(f"size {size[0]}x{size[1]} cannot be exported: both sides must be from 1 to {MAX_SIDE} pixels")
    if size is not None and precision in writer.calibrated and min(size) < LEAST_CALIBRATED_SIDE:
        raise InputError(
            f"size {size[0]}x{size[1]} is too small for {precision}: "
            f"both sides must be at least {LEAST_CALIBRATED_SIDE} pixels"
        )


def export_one(
    checkpoint: Path,
    folder: Path,
    writer: Writer,
    *,
    target: str,
    size: Size | None,
    precision: str,
    file_name: str | None = None,
    quantization: Quantization | None = None,
    proof: Proof | None = None,
) -> ExportResult:
    """Make and prove one artifact.

    Args:
        checkpoint: a ``.safetensors`` file.
        folder: for the file.
        writer: of the target.
        target: its name.
        size: width and height; None for any.
        precision: one of the writer's.
        file_name: of the artifact; None for its own name (see `ArtifactMetadata.file_name`).
        quantization: for a precision that needs one.
        proof: what it is proven on; None for the bundled scene.

    Raises:
        InputError: a damaged checkpoint or clip, or no place to write to.
    """
    proof = proof or Proof()
    loaded = load_checkpoint(checkpoint)
    header = loaded.header
    metadata = ArtifactMetadata(
        name=header.name,
        style=header.style,
        architecture=header.architecture,
        sizes=dict(header.sizes),
        precision=precision,
        width=size[0] if size else None,
        height=size[1] if size else None,
        checkpoint_sha256=sha256_of(checkpoint),
        calibration_sha256=quantization.calibration.sha256 if quantization else None,
        steps=header.steps,
        style_size=header.style_size,
        producer=f"steadystyle {__version__}",
        float_layers=sorted(quantization.float_layers) if quantization else [],
        sensitivity=_rounded_table(quantization.sensitivity) if quantization else {},
    )
    path = folder / (file_name or metadata.file_name(writer.ending))
    test, judge = load_test_frames(proof.clip, size), proof.judge()
    try:
        with atomic_path(path) as partial:
            versions = writer.write(loaded.network, partial, size, precision, quantization)
            metadata = replace(metadata, producer=f"{metadata.producer}, {versions}")
            # A runtime takes nothing without metadata, so that it goes in twice: bare, then with the figures.
            writer.embed(partial, metadata)
            with writer.run(partial) as stylizer:
                figures = verify(stylizer, loaded, test.frames, test.pairs, judge)
                figures |= {"source": test.source, "flow_source": test.flow_source, "engine": stylizer.engine}
                median_ms = _median_ms(stylizer, test.frames) if stylizer.real_time else None
            if quantization:
                figures["calibration_source"] = quantization.calibration.source
            metadata = replace(metadata, verification=figures)
            found = shortfalls(figures, precision)
            if found and not proof.allow_degraded:
                raise _DegradedError
            metadata = writer.embed(partial, metadata)
            size_bytes = size_on_disk(partial)
    except _DegradedError:
        return ExportResult(target, path, metadata, 0, median_ms, found, "degraded")
    return ExportResult(target, path, metadata, size_bytes, median_ms, found, "degraded" if found else "ok")


def _rounded_table(sensitivity: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    return {layer: {key: round(value, 4) for key, value in row.items()} for layer, row in sensitivity.items()}


def _median_ms(stylizer: Stylizer, frames: Sequence[NDArray[np.uint8]]) -> float:
    times = []
    for number in range(_WARM_UP + _TIMED):
        began = time.perf_counter()
        stylizer(frames[number % len(frames)])
        times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times[_WARM_UP:])
