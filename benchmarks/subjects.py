"""Artifacts and peers by name, opened in this process for everything but latency."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..common.arrays import Size
from ..common.files import InputError, sha256_of, size_on_disk
from ..runtimes.artifact import ArtifactMetadata
from ..runtimes.registry import bundled_models, open_stylizer, resolve
from ..runtimes.stylizer import Stylizer
from .measure.latency import Subject
from .measure.peer import Peer, open_peer
from .measure.steadiness import IDENTITY
from .record import Kind, Method, free_name


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
            subjects.append(Subject(free_name(stem, taken), kind, file))
    if not subjects:
        raise InputError("there is nothing to benchmark: name a bundled model, an artifact file or a --peer file")
    return subjects


@dataclass(frozen=True)
class Opened:
    """An opened subject, which stylizes frames and says in `note` what to remark about a size."""

    method: Method
    stylizer: Stylizer | Peer


def open_subject(subject: Subject, threads: int) -> Opened:
    """Open a subject; InputError if that fails."""
    file = resolve(subject.file)[0]
    if subject.kind == "peer":
        peer = open_peer(file, threads=threads)
        return Opened(method_of(subject.name, "peer", file, peer.engine), peer)
    stylizer = open_stylizer(subject.file, threads=threads)
    return Opened(method_of(subject.name, "artifact", file, stylizer.engine, stylizer.metadata), stylizer)


def method_of(
    name: str, kind: Kind, file: Path, engine: str | None = None, metadata: ArtifactMetadata | None = None
) -> Method:
    """A file, with its hash and bytes, as a row of the tables; of folders, only a Core ML package has these."""
    known: dict[str, Any] = {}
    if file.is_file():
        known = {"sha256": sha256_of(file), "bytes": size_on_disk(file)}
    elif metadata is not None:
        known = {"sha256": metadata.content_sha256, "bytes": size_on_disk(file)}
    own = dataclasses.asdict(metadata) if metadata else None
    return Method(name, kind, file=file.name, engine=engine, metadata=own, **known)


def own_size(method: Method) -> Size | None:
    """The size that an artifact is made for; None for any."""
    own = method.metadata or {}
    return (own["width"], own["height"]) if own.get("width") else None
