"""The interface of every runtime: a frame in, a stylized frame of the same size out."""

from abc import ABC, abstractmethod
from typing import Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from ..common.arrays import Image, resized
from ..common.files import InputError
from ..common.watch import engine_call
from .artifact import ArtifactMetadata


class Stylizer(ABC):
    """An opened artifact: call it with a frame. A runtime implements `_stylize`; checks and resizing are here."""

    metadata: ArtifactMetadata
    engine: str  # for example ``onnxruntime 1.32.0 CPUExecutionProvider, 2 threads``
    real_time: bool = True  # False for an interpreter made for proofs alone

    @abstractmethod
    def _stylize(self, frame: Image) -> Image:
        """Stylize a C-contiguous frame of a size that the artifact takes, into a new array."""

    def restart(self) -> None:
        """Forget the frames before, because another video begins; a look that follows a person remembers some."""
        return

    def close(self) -> None:
        """Release the engine; the stylizer cannot be called any more."""
        return

    def __call__(self, frame: Image) -> Image:
        """Stylize (H, W, 3) uint8 RGB into a new array; raises ValueError for another shape or type.

        Raises InputError if the engine fails on it.
        A frame of any size is resized to an artifact's fixed size, and the result back (see `note`).
        """
        check_frame(frame)
        height, width = frame.shape[:2]
        own_size = (self.metadata.width or width, self.metadata.height or height)
        fitting = resized(frame, own_size, enlarge=cv2.INTER_LINEAR)
        with engine_call():
            try:
                stylized = self._stylize(np.ascontiguousarray(fitting))
            except (RuntimeError, ValueError) as error:  # a damaged graph, or too little memory
                reason = str(error).strip().split("\n")[0][:200]
                raise InputError(
                    f"the model '{self.metadata.name}' fails on a frame of {width}x{height} ({reason}): "
                    "take smaller frames, or export it again"
                ) from error
        return resized(stylized, (width, height), enlarge=cv2.INTER_LINEAR)

    def note(self, width: int, height: int) -> str:
        """One sentence for the user about frames of this size in pixels, or an empty text."""
        own = (self.metadata.width, self.metadata.height)
        if own in ((None, None), (width, height)):
            return ""
        return (
            f"this artifact is made for {self.metadata.size_text}: the frames of {width}x{height} "
            "are resized to that and back"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def check_frame(frame: Image) -> None:
    """Raise ValueError for what is no (H, W, 3) uint8 with H and W of at least 1."""
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or 0 in frame.shape:
        raise ValueError(f"a frame must be (H, W, 3) uint8 with H, W >= 1, but is {frame.shape} {frame.dtype}")


def laid_out(frame: Image, layout: str) -> NDArray[Any]:
    """A frame, (H, W, 3) uint8 RGB, as an artifact of this layout takes it; the frame itself for HWC."""
    if layout == "HWC":
        return frame
    values = frame.astype(np.float32)[np.newaxis] / np.float32(255)
    return values if layout == "NHWC" else np.ascontiguousarray(values.transpose(0, 3, 1, 2))


def as_frame(result: NDArray[Any], layout: str) -> Image:
    """What an artifact of this layout gives, as (H, W, 3) uint8 RGB."""
    if layout == "HWC":
        return np.asarray(result, np.uint8)
    picture = result[0] if layout == "NHWC" else result[0].transpose(1, 2, 0)
    return np.ascontiguousarray(np.rint(np.clip(picture * np.float32(255), 0, 255)).astype(np.uint8))
