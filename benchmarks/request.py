"""The benchmark request: one record for command line, other machines, `.working` and report.

A new field is added only here. Its annotation gives the minimum (`Meta`), the command-line option (`Asked`; fields
without one are for programs) and whether it is a file to copy to other machines (`InputFile`).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from ..common.asked import Asked
from ..common.files import InputError
from ..common.untrusted import parse_json
from .fields import FILE, InputFile, Positive, hints_of, with_marked


@dataclass(frozen=True, kw_only=True)
class BenchmarkRequest:
    """What to measure, on what, and how long; sizes are (width, height) in pixels."""

    artifacts: Annotated[
        tuple[InputFile, ...],
        Asked("Names or files, FILE@ENGINE for another engine; none: all bundled.", None, "ARTIFACT"),
    ] = ()
    peers: Annotated[tuple[InputFile, ...], Asked("Other network: ONNX, NCHW float in 0..255.", "peer", "FILE")] = ()
    clips: Annotated[tuple[InputFile, ...], Asked("Video; without any, a bundled scene.", "clip", "FILE")] = ()
    scenes: Annotated[tuple[str, ...], Asked("Synthetic scene with exact motion; or all.", "scene", "NAME")] = ()
    sintel: Annotated[tuple[InputFile, ...], Asked("MPI-Sintel, unpacked: the scenes of papers.", metavar="DIR")] = ()
    style_images: Annotated[
        dict[str, InputFile], Asked("Style image of all, a method or a style.", "style", "[NAME=]IMAGE")
    ] = field(default_factory=dict)
    loss_networks: Annotated[
        tuple[InputFile, ...], Asked("VGG-19 (style, content) or VGG-16 (strokes).", "loss-network", "FILE")
    ] = ()
    size: Annotated[tuple[int, int], Asked("Frame size for latency.", metavar="WxH")] = (640, 360)
    height: Annotated[int, Meta(ge=16), Asked("Frame height for all else, px.", metavar="N")] = 360
    threads: Annotated[Positive, Asked("Threads of each engine.", metavar="N")] = 2
    max_frames: Annotated[Positive | None, Asked("Read at most N frames of each clip.", metavar="N")] = None
    every: Annotated[Positive, Asked("Measure every Nth frame.", metavar="N")] = 1
    latency_seconds: Annotated[float, Meta(ge=0), Asked("Time each artifact for at least N s.", "seconds", "N")] = 10.0
    latency_frames: Positive = 100
    sizes: Annotated[tuple[tuple[int, int], ...], Asked("Latency and memory at each size.", metavar="WxH,WxH,...")] = ()
    minutes: Annotated[float, Meta(ge=0), Asked("Run each method alone for N minutes.", metavar="N")] = 0.0
    thread_counts: Annotated[tuple[int, ...], Asked("Latency with each number of threads.", metavar="N,N,...")] = ()

    def check(self) -> None:
        """Check all that needs no file; InputError if a value is out of range or there is nothing to compare."""
        if not 0 <= self.minutes < float("inf"):
            raise InputError(f"minutes must be 0 or more, but is {self.minutes}")
        for name, least in _least_values(type(self)):
            value = getattr(self, name)
            if value is not None and not value >= least:
                raise InputError(f"{name.replace('_', ' ')} must be at least {least}, but is {value}")
        if self.sizes and len({width * height for width, height in self.sizes}) < 2:
            raise InputError("growth of cost needs two sizes or more: give --sizes 320x180,640x360, for example")
        if len(set(self.sizes)) < len(self.sizes):
            raise InputError("a size was given twice for the growth of cost: give each once")
        counts = self.thread_counts
        if counts and (len(set(counts)) < max(2, len(counts)) or min(counts) < 1):
            raise InputError("thread counts are compared: give two or more, each once, for example --thread-counts 1,2")

    def files(self) -> list[str]:
        """All files of the request, as given."""
        found: list[str] = []

        def keep(given: str) -> str:
            found.append(given)
            return given

        with_marked(self, {FILE: keep})
        return found

    def to_json(self) -> bytes:
        """The request as JSON, for another machine."""
        return msgspec.json.encode(self)


def _least_values(kind: Any) -> Iterator[tuple[str, float]]:
    for name, hint in hints_of(kind).items():
        choices: tuple[Any, ...] = (hint, *getattr(hint.__origin__, "__args__", ()))
        for bound in (one for choice in choices for one in getattr(choice, "__metadata__", ())):
            if isinstance(bound, Meta) and bound.ge is not None:
                yield name, bound.ge


def read_request(file: Path) -> BenchmarkRequest:
    """Read a request written by `to_json`; InputError if that fails."""
    try:
        return msgspec.convert(parse_json(file.read_bytes()), BenchmarkRequest)
    except (OSError, ValueError) as error:
        raise InputError(f"'{file}' is no benchmark request ({error}): write it with this version") from error
