"""The stages of an export, in order: load, rewrite, write, run the written file, embed the figures, rename.

Each target has one file beside this one that writes its format (see `Writer`); nothing here knows a converter.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

from .. import __version__
from ..runtimes.artifact import ArtifactMetadata
from ..runtimes.registry import find_checkpoint, open_stylizer
from ..train.checkpoint import load_checkpoint
from ..video.files import InputError, atomic_path, sha256_of
from .graph import DeployableGraph
from .verify import FLOORS_DB, load_test_frames, verify

Size = tuple[int, int]
"""Width and height in pixels."""

MAX_SIDE = 8192
PRECISIONS = ("fp32", "fp16", "int8")


class Writer(Protocol):
    """What a target's file provides.

    Attributes:
        ending: of its files, with the dot; the runtime is found by it.
        precisions: what it can write.
        any_size: whether it can write artifacts for frames of any size.
    """

    ending: str
    precisions: tuple[str, ...]
    any_size: bool

    def write(self, graph: DeployableGraph, path: Path, size: Size | None, precision: str) -> str:
        """Write the graph to a new file, and return what wrote it, with versions."""
        ...

    def embed(self, path: Path, metadata: ArtifactMetadata) -> None:
        """Put the metadata into a written file, in place of what it had."""
        ...


def _onnx() -> Writer:
    from .onnx import OnnxWriter

    return OnnxWriter()


TARGETS: Mapping[str, Callable[[], Writer]] = {"onnx": _onnx}
"""Name of a target -> its writer. A converter is imported when it is asked for, so that one is enough."""


@dataclass(frozen=True)
class ExportResult:
    """One artifact.

    Attributes:
        target: name of the target.
        path: the file; where the verdict is ``degraded``, none was kept there.
        metadata: as embedded, with the verification figures.
        size_bytes: of the file.
        verdict: ``ok``, or ``degraded`` for one that differs too much from its checkpoint.
    """

    target: str
    path: Path
    metadata: ArtifactMetadata
    size_bytes: int
    verdict: Literal["ok", "degraded"]


class _DegradedError(Exception):
    """Leaves `atomic_path` without keeping the file."""


def export(
    model: str | Path,
    target: str = "onnx",
    precision: str = "fp32",
    size: Size | None = None,
    out_dir: Path = Path("exports"),
    *,
    clip: str | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[ExportResult]:
    """Turn a checkpoint into artifacts, each proven by running it.

    Args:
        model: the name of a bundled model, or a ``.safetensors`` file.
        target: a key of `TARGETS`, or ``all``.
        precision: ``fp32``, or ``all`` for whatever the target can write.
        size: width and height of the frames; None for any.
        out_dir: folder for the artifacts, which is created.
        clip: video whose first frames they are proven on; None for the bundled scene.
        progress: called with what is being made, how many are done, and how many there are.

    Returns:
        A result for each artifact, in the order of targets and precisions. A degraded one is not kept.

    Raises:
        InputError: unknown model, target, precision or size, a damaged checkpoint or clip, or no place to write to.
    """
    wanted = _plan(target, precision, size)
    checkpoint = find_checkpoint(model)
    results = []
    for done, (name, writer, chosen) in enumerate(wanted):
        if progress is not None:
            progress(f"{name} {chosen}", done, len(wanted))
        results.append(export_one(checkpoint, out_dir, writer, target=name, size=size, precision=chosen, clip=clip))
    return results


def _plan(target: str, precision: str, size: Size | None) -> list[tuple[str, Writer, str]]:
    if target not in (*TARGETS, "all"):
        raise InputError(f"unknown target '{target}': choose one of {', '.join(TARGETS)}, or all")
    writers = {name: make() for name, make in TARGETS.items() if target in (name, "all")}
    plan = []
    for name, writer in writers.items():
        chosen = writer.precisions if precision == "all" else (precision,)
        for one in chosen:
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
    if size is None and not writer.any_size:
        raise InputError(f"the target {target} needs a fixed size: give WIDTHxHEIGHT, for example 640x360")
    if size is not None and not all(1 <= side <= MAX_SIDE for side in size):
        raise InputError(f"size {size[0]}x{size[1]} cannot be exported: both sides must be from 1 to {MAX_SIDE} pixels")


def export_one(
    checkpoint: Path,
    folder: Path,
    writer: Writer,
    *,
    target: str,
    size: Size | None,
    precision: str,
    file_name: str | None = None,
    clip: str | None = None,
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
        clip: video whose first frames it is proven on; None for the bundled scene.

    Raises:
        InputError: a damaged checkpoint or clip, or no place to write to.
    """
    loaded = load_checkpoint(checkpoint)
    header = loaded.header
    metadata = ArtifactMetadata(
        name=header.name,
        style=header.style,
        architecture=header.architecture,
        precision=precision,
        width=size[0] if size else None,
        height=size[1] if size else None,
        checkpoint_sha256=sha256_of(checkpoint),
        calibration_sha256=None,
        steps=header.steps,
        producer=f"steadystyle {__version__}",
    )
    path = folder / (file_name or metadata.file_name(writer.ending))
    test = load_test_frames(clip, size)
    try:
        with atomic_path(path) as partial:
            versions = writer.write(DeployableGraph(loaded.network), partial, size, precision)
            metadata = replace(metadata, producer=f"{metadata.producer}, {versions}")
            # A runtime takes nothing without metadata, so that it goes in twice: bare, then with the figures.
            writer.embed(partial, metadata)
            with open_stylizer(partial) as stylizer:
                figures = verify(stylizer, loaded, test.frames, test.pairs)
                figures |= {"source": test.source, "flow_source": test.flow_source, "engine": stylizer.engine}
            metadata = replace(metadata, verification=figures)
            if float(figures["psnr_db"]) < FLOORS_DB[precision]:
                raise _DegradedError
            writer.embed(partial, metadata)
            size_bytes = partial.stat().st_size
    except _DegradedError:
        return ExportResult(target, path, metadata, 0, "degraded")
    return ExportResult(target, path, metadata, size_bytes, "ok")
