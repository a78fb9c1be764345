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

_MARGIN = 0.25
"""By how much the network's view is larger than the person, on each side, as a share of the person's sides."""

_SEARCH = 8
"""Every so many frames the whole frame is searched, for whoever came in."""

_SMALLEST = 0.2
"""Shortest side of the view, as a share of the frame's."""

Box = tuple[float, float, float, float]
"""Left, top, right, bottom, as shares of the frame's sides."""

_WHOLE: Box = (0.0, 0.0, 1.0, 1.0)


class Person:
    """The masks of consecutive frames. Raises InputError if ONNX Runtime is not installed.

    The network sees a view around the person, because it sees hands and feet only where a person is large.
    """

    def __init__(self, threads: int | None = None) -> None:
        try:
            from ..onnx import open_session
        except ModuleNotFoundError as error:
            raise InputError(
                f"to find a person takes {error.name}, which is not installed: pip install 'steadystyle[person]'"
            ) from error
        self._session, _ = open_session(MODEL, threads=threads)
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self.restart()

    def restart(self) -> None:
        """Forget the frames before: another video begins."""
        self._count = 0
        self._view = _WHOLE
        self._before: tuple[Mask, NDArray[np.uint8]] | None = None  # the last steadied mask and luma, of the view

    def __call__(self, frame: Image) -> Mask:
        """The mask of the next frame, (H, W) float32: 1 is a person, 0 the background. Frames are (H, W, 3) uint8."""
        if self._view != _WHOLE and self._count % _SEARCH == 0:
            self._follow(self.raw(resized(frame, SIZE)), _WHOLE)
        self._count += 1
        left, top, right, bottom = _pixels(self._view, frame.shape[1], frame.shape[0])
        small = resized(frame[top:bottom, left:right], SIZE)
        luma = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)
        mask = self.steadied(self.raw(small), luma)
        self._before = mask, luma
        soft = cv2.GaussianBlur(mask, (_FEATHER, _FEATHER), 0)
        whole = np.zeros(frame.shape[:2], np.float32)
        cv2.resize(soft, (right - left, bottom - top), dst=whole[top:bottom, left:right])
        self._follow(mask, self._view)
        return whole

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

    def _follow(self, mask: Mask, view: Box) -> None:
        """Change the view when a person in this mask of a view nears its edge or has grown small in it."""
        needed, wanted, own = _around(mask, view, _MARGIN / 4), _around(mask, view, _MARGIN), self._view
        inside = needed[0] >= own[0] and needed[1] >= own[1] and needed[2] <= own[2] and needed[3] <= own[3]
        if inside and _area(wanted) > 0.5 * _area(own):
            return
        if self._before is not None:  # seen from the new view
            to_old = np.zeros((2, 3))
            for axis, length in enumerate(SIZE):
                low, side = own[axis], own[axis + 2] - own[axis]
                scale = (wanted[axis + 2] - wanted[axis]) / side
                to_old[axis, axis] = scale
                to_old[axis, 2] = (wanted[axis] - low) / side * length + (scale - 1) / 2
            way = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            mask_before, luma_before = (
                cv2.warpAffine(image, to_old, SIZE, flags=way, borderMode=cv2.BORDER_REPLICATE)
                for image in self._before
            )
            self._before = np.asarray(mask_before, np.float32), np.asarray(luma_before, np.uint8)
        self._view = wanted


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _pixels(box: Box, width: int, height: int) -> tuple[int, int, int, int]:
    left, top = min(int(box[0] * width), width - 1), min(int(box[1] * height), height - 1)
    return left, top, max(left + 1, round(box[2] * width)), max(top + 1, round(box[3] * height))


def _around(mask: Mask, view: Box, margin: float) -> Box:
    """The box of what a mask of a view covers, larger by a margin; the whole frame where it covers nothing."""
    ends = []
    for axis in (0, 1):
        found = np.flatnonzero((mask > 0.5).sum(axis=axis) > 1)
        if found.size == 0:
            return _WHOLE
        low, side = view[axis], (view[axis + 2] - view[axis]) / SIZE[axis]
        first, last = low + side * float(found[0]), low + side * float(found[-1] + 1)
        half = max((last - first) * (0.5 + margin), _SMALLEST / 2)
        ends.append((max(0.0, (first + last) / 2 - half), min(1.0, (first + last) / 2 + half)))
    return ends[0][0], ends[1][0], ends[0][1], ends[1][1]
