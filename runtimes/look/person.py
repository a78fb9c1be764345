"""Where a person is: MediaPipe's selfie segmentation, steadied along the motion and feathered."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ...common.arrays import Image, resized
from ...common.files import InputError
from ...video.flow import warp

MODEL = Path(__file__).with_name("selfie-segmentation.onnx")
SIZE = (256, 144)
"""Width and height that the network sees, in pixels."""

Mask = NDArray[np.float32]

_LEAST_NEW, _ALL_NEW = 0.2, 40.0
"""Share of a new mask where nothing changed, and the change of luma, of 255, that makes the share one larger."""

_FEATHER = 7
"""Side of the Gaussian window that softens the edge, in pixels of `SIZE`."""


class Person:
    """The masks of consecutive frames. Raises InputError if ONNX Runtime is not installed."""

    def __init__(self, threads: int | None = None) -> None:
        try:
            from ..onnx import open_session
        except ModuleNotFoundError as error:
            raise InputError(
                f"to find a person takes {error.name}, which is not installed: pip install 'steadystyle[person]'"
            ) from error
        self._session, _ = open_session(MODEL, threads=threads)
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._before: tuple[Mask, NDArray[np.uint8]] | None = None  # the steadied mask and luma of the last frame

    def __call__(self, frame: Image) -> Mask:
        """The mask of the next frame, (H, W) float32: 1 is a person, 0 the background. Frames are (H, W, 3) uint8."""
        small = resized(frame, SIZE)
        luma = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)
        mask = self.steadied(self.raw(small), luma)
        self._before = mask, luma
        soft = cv2.GaussianBlur(mask, (_FEATHER, _FEATHER), 0)
        return np.asarray(cv2.resize(soft, frame.shape[1::-1], interpolation=cv2.INTER_LINEAR), np.float32)

    def raw(self, small: Image) -> Mask:
        """The network's own mask, (144, 256) float32 in [0, 1], of (144, 256, 3) uint8 RGB."""
        return np.asarray(self._session.run(None, {"frame": np.ascontiguousarray(small)})[0], np.float32)

    def steadied(self, mask: Mask, luma: NDArray[np.uint8]) -> Mask:
        """A recursive average along the motion: new is what moved in a way that the flow does not explain."""
        if self._before is None:
            return mask
        flow = np.asarray(self._flow.calc(luma, self._before[1], np.zeros((*luma.shape, 2), np.float32)), np.float32)
        mask_before, luma_before = warp(self._before[0], flow)[0], warp(self._before[1], flow)[0]
        change = cv2.blur(cv2.absdiff(luma, luma_before), (5, 5)).astype(np.float32)
        share = np.minimum(_LEAST_NEW + change / _ALL_NEW, 1)
        return np.asarray(mask_before + share * (mask - mask_before), np.float32)
