"""How files are stylized: one record, the same for one file and for a thousand."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

from ...video.codecs import AS_EVER, Encoder, Encoding, ending_for
from ...video.frames import FrameSource, open_part
from ..artifact import ArtifactMetadata
from ..look import PLAIN, Look
from ..pipeline import RunReport, stylize_into
from ..registry import open_stylizer
from ..stylizer import Stylizer
from .preview import write_preview


@dataclass(frozen=True)
class Settings:
    """How files are stylized.

    Attributes:
        model, threads, provider, look: as for `open_stylizer`.
        encoding: of a video that is written.
        start_s, duration_s: the part of each video that is stylized, in seconds; None: to its end.
        preview: write a contact sheet instead, of a frame a second.
    """

    model: str
    threads: int | None = None
    provider: str | None = None
    look: Look = PLAIN
    encoding: Encoding = AS_EVER
    start_s: float = 0.0
    duration_s: float | None = None
    preview: bool = False

    def ending(self, path: Path) -> str:
        """How the output of a video file ends: as the file does, if the codec fits."""
        return ending_for(path.suffix.lower(), self.encoding)

    def check(self) -> None:
        """Raise InputError if videos cannot be encoded so, whatever their size is."""
        Encoder(self.encoding, Path(f"any{ending_for('.mp4', self.encoding)}"), (640, 360), Fraction(25), alpha=False)

    def stylizer(self) -> Stylizer:
        """Open the model; raises InputError as `open_stylizer`."""
        return open_stylizer(self.model, threads=self.threads, provider=self.provider, look=self.look)

    def source(self, spec: str | Path) -> FrameSource:
        """Open a source, or the part of it; raises InputError as `open_part`."""
        return open_part(spec, self.start_s, self.duration_s)

    def stylize(
        self, source: FrameSource, target: Path, stylizer: Stylizer, progress: Callable[[int, int | None], None]
    ) -> RunReport:
        """Stylize an open source into a file or a folder; the caller closes source and stylizer.

        Raises InputError or OSError if writing fails; nothing half-written stays.
        """
        stylizer.restart()
        if self.preview:
            return write_preview(target, source, stylizer, progress, self.start_s)
        return stylize_into(target, source, stylizer, progress, self.encoding)

    def key(self, metadata: ArtifactMetadata) -> str:
        """A text that differs whenever the outputs may."""
        own = {name: value for name, value in asdict(self).items() if name not in ("model", "threads", "provider")}
        return json.dumps([own, metadata.to_json()], sort_keys=True)
