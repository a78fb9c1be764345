"""Calibration frames of 8-bit artifacts."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ..common.arrays import Image, Size, resized
from ..common.files import InputError
from ..video.frames import open_source
from ..video.synthetic.harbour import harbour

CALIBRATION_FRAMES = 10
PLAIN_SHARES = (0.5, 0.65)
"""Shares of the scene that are painted plain; each adds half as many frames. In filmed clips with little detail,
normalization raised the edge network's activations to 1.5 to 4 times the scene's; clipping there cost contrast."""
SCENE_FRAMES = 400
CALIBRATED_SIZE = (427, 241)
"""Size of the frames on which an artifact for any size is calibrated, and proven: odd, where halves are not whole."""


@dataclass(frozen=True)
class Calibration:
    """Frames on which the range of each activation is observed."""

    frames: Sequence[Image]  # of the artifact's size, (H, W, 3) uint8 RGB
    source: str  # where the frames come from, for the metadata
    note: str = ""  # one sentence if the frames are a poor choice

    @property
    def sha256(self) -> str:
        """SHA-256 of the shapes and values of the frames."""
        digest = hashlib.sha256()
        for frame in self.frames:
            digest.update(repr(frame.shape).encode())
            digest.update(np.ascontiguousarray(frame).tobytes())
        return digest.hexdigest()


def load_calibration(clips: Sequence[str], size: Size) -> Calibration:
    """Frames spread evenly over clips, or over the bundled scene if there are no clips.

    A clip is anything that `video.frames.open_source` takes. Raises InputError if one cannot be read or has no frame.
    """
    if not clips:
        scene = harbour(*size, SCENE_FRAMES)
        times = np.linspace(SCENE_FRAMES // 10, SCENE_FRAMES - 1, CALIBRATION_FRAMES).round()
        frames = [scene.frame(int(t)) for t in times]
        covered = [
            _partly_plain(frame, share, index)
            for step, share in enumerate(PLAIN_SHARES)
            for index, frame in enumerate(frames[step :: len(PLAIN_SHARES)])
        ]
        return Calibration(frames + covered, f"{scene.name}, also in part plain")
    each = max(1, math.ceil(CALIBRATION_FRAMES / len(clips)))
    chosen: list[Image] = []
    for clip in clips:
        with open_source(clip) as source:
            count = sum(1 for _ in source)
        if count == 0:
            raise InputError(f"the calibration clip '{clip}' has no frame: choose another")
        wanted = {int(t) for t in np.linspace(0, count - 1, each).round()}
        with open_source(clip) as source:
            chosen += [
                resized(frame.image, size, enlarge=cv2.INTER_AREA) for t, frame in enumerate(source) if t in wanted
            ]
    still = all(np.array_equal(chosen[0], frame) for frame in chosen[1:])
    note = "calibrated on a single picture: give a clip that moves, or several" if still else ""
    # Names without folders, because the artifact stores them.
    return Calibration(chosen, ", ".join(clip.replace("\\", "/").rsplit("/", 1)[-1] for clip in clips), note)


def _partly_plain(image: Image, share: float, index: int) -> Image:
    """Paint a share of a picture, from the left or from the top, in one of five colours."""
    colours = ((235, 235, 235), (128, 128, 128), (40, 40, 40), (190, 200, 215), (90, 80, 60))
    image = image.copy()
    part = image[:, : round(image.shape[1] * share)] if index % 2 else image[: round(image.shape[0] * share)]
    part[...] = colours[index % len(colours)]
    return image
