"""The interface of every runtime: a frame in, a stylized frame of the same size out."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

import cv2
import numpy as np

from ..common.arrays import Image, resized
from .artifact import ArtifactMetadata


class Stylizer(ABC):
    """An opened artifact: call it with a frame.

    A runtime implements `_stylize`; checks, and the resizing around an artifact of a fixed size, are here.

    Attributes:
        metadata: what the artifact says of itself.
        engine: what runs it, for example ``onnxruntime 1.32.0 CPUExecutionProvider, 2 threads``.
        real_time: whether this is how people run it; an interpreter made for proofs alone is not.
    """

    metadata: ArtifactMetadata
    engine: str
    real_time: bool = True

    @abstractmethod
    def _stylize(self, frame: Image) -> Image:
        """Stylize a C-contiguous frame of a size that the artifact takes, into a new array."""

    def close(self) -> None:
        """Let go of the engine; the stylizer cannot be called any more."""
        return

    def __call__(self, frame: Image) -> Image:
        """Stylize one frame.

        Args:
            frame: (H, W, 3) uint8 RGB; any size. Where the artifact has a fixed one, the frame is resized to it and the
                result back (see `note`).

        Returns:
            (H, W, 3) uint8 RGB, a new array that the caller owns.

        Raises:
            ValueError: the frame has another shape or type.
        """
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or 0 in frame.shape:
            raise ValueError(f"a frame must be (H, W, 3) uint8 with H, W >= 1, but is {frame.shape} {frame.dtype}")
        height, width = frame.shape[:2]
        own_size = (self.metadata.width or width, self.metadata.height or height)
        fitting = resized(frame, own_size, enlarge=cv2.INTER_LINEAR)
        return resized(self._stylize(np.ascontiguousarray(fitting)), (width, height), enlarge=cv2.INTER_LINEAR)

    def note(self, width: int, height: int) -> str:
        """What a person should know of frames of this size: one sentence, or nothing.

        Args:
            width: of the frames, in pixels.
            height: of the frames, in pixels.
        """
        own = (self.metadata.width, self.metadata.height)
        if own in ((None, None), (width, height)):
            return ""
        return (
            f"this artifact is made for {self.metadata.size_text}: the frames of {width}x{height} "
            "are resized to that and back"
        )

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()
