"""Artifacts and peers by name, opened in this process for everything but latency."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from ..common.arrays import Size
from ..common.files import InputError, sha256_of, size_on_disk
from ..runtimes.registry import bundled_models, open_stylizer, resolve
from .measure.latency import Subject
from .measure.peer import open_peer
from .measure.steadiness import IDENTITY, Stylize
from .record import Method


def subjects_of(artifacts: Sequence[str], peers: Sequence[str]) -> list[Subject]:
    """Name artifacts and peers uniquely; without any, all bundled models. InputError if none is bundled."""
    if not artifacts and not peers:
        artifacts = [model.name for model in bundled_models()]
    subjects: list[Subject] = []
    given: list[tuple[Literal["artifact", "peer"], Sequence[str]]] = [("artifact", artifacts), ("peer", peers)]
    for kind, files in given:
        for file in files:
            # Only files lose their ending; a bundled model's name may contain a dot.
            path, provider = resolve(file)
            stem = file
            if path.exists() and not any(model.path == path for model in bundled_models()):
                stem = path.stem if provider is None else f"{path.stem}@{provider}"
            taken = {IDENTITY, *(subject.name for subject in subjects)}
            names = (stem, *(f"{stem} #{number}" for number in range(2, len(taken) + 2)))
            name = next(name for name in names if name not in taken)
            subjects.append(Subject(name, kind, file))
    if not subjects:
        raise InputError("there is nothing to benchmark: name a bundled model, an artifact file or a --peer file")
    return subjects


@dataclass(frozen=True)
class Opened:
    """An opened subject: `stylize` maps frame to frame, `close` frees it, `note` takes width and height.

    `note` returns a remark for the report, empty if there is none.
    """

    method: Method
    stylize: Stylize
    close: Callable[[], None]
    note: Callable[[int, int], str]


def open_subject(subject: Subject, threads: int) -> Opened:
    """Open a subject; InputError if that fails."""
    file = resolve(subject.file)[0]
    if subject.kind == "peer":
        peer = open_peer(file, threads=threads)
        method = Method(
            subject.name, "peer", file=file.name, sha256=sha256_of(file), bytes=file.stat().st_size, engine=peer.engine
        )
        return Opened(method, peer, peer.close, lambda width, height: "")
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
    return Opened(method, stylizer, stylizer.close, stylizer.note)


def own_size(method: Method) -> Size | None:
    """The size that an artifact is made for; None for any."""
    own = method.metadata or {}
    return (own["width"], own["height"]) if own.get("width") else None
