"""Matches frames of a stylized video to frames of its source, by counts, frame rates and outlines."""

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ..common.arrays import Image, Size
from ..common.files import InputError

FRAMES_APART = 2
"""Maximum number of frames missing or extra at either end: encoders and editors drop and repeat some there."""
_SHAPE_TOLERANCE = 0.02
_RATE_TOLERANCE = 0.01
_SKETCH_SIZE = (128, 72)
_SKETCHES = 200
_CLEARLY = 1e-4


@dataclass(frozen=True)
class Sketched:
    """A video's (width, height) in pixels, frames per second (None if unknown) and outlines.

    `frames` is counted by decoding, because containers often state a wrong number. `sketches` are the edge strengths of
    the first 200 frames, each (72, 128) float32, mean 0, norm 1.
    """

    name: str
    size: Size
    frame_rate: float | None
    frames: int
    sketches: list[NDArray[np.float32]]


@dataclass(frozen=True)
class Alignment:
    """Frame k of the stylized video shows frame ``offset + step * k`` of the source.

    `offset` is negative if the stylized video begins earlier. `note` is for the report, empty for a one-to-one match.
    """

    offset: int
    step: int
    note: str = ""


def sketch(name: str, size: Size, frame_rate: float | None, frames: Iterable[Image]) -> Sketched:
    """Count frames, each (H, W, 3) uint8 RGB, and keep the outlines of the first 200; `size` is (width, height)."""
    outlines, count = [], 0
    for frame in frames:
        if count < _SKETCHES:
            outlines.append(_outline(frame))
        count += 1
    return Sketched(name, size, frame_rate, count, outlines)


def _outline(frame: Image) -> NDArray[np.float32]:
    """Edge strength: a stylizer mostly keeps outlines."""
    small = cv2.resize(frame, _SKETCH_SIZE, interpolation=cv2.INTER_AREA)
    gray = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
    strength = cv2.magnitude(cv2.Sobel(gray, cv2.CV_32F, 1, 0), cv2.Sobel(gray, cv2.CV_32F, 0, 1))
    strength -= strength.mean()
    return np.asarray(strength / max(float(np.linalg.norm(strength)), 1e-6), np.float32)


def check_shape(video: tuple[str, Size], source: tuple[str, Size]) -> None:
    """Check the aspect ratio of (name, (width, height)) against the source's; InputError if it differs."""
    (name, (width, height)), (source_name, (source_width, source_height)) = video, source
    wanted = height * source_width / source_height
    # Encoders pad odd sizes, so two pixels are accepted however small the video is.
    if abs(width - wanted) > max(2.0, _SHAPE_TOLERANCE * wanted):
        raise InputError(
            f"'{name}' is {width}x{height} and its source '{source_name}' {source_width}x{source_height}: "
            "give a stylized video of the source's shape"
        )


def align(video: Sketched, source: Sketched) -> Alignment:
    """Find the source frame of each frame of a stylized video.

    A video of the source's length is matched frame by frame. With up to two frames more or fewer, it starts where its
    outlines fit best; so does one at 1/n of the frame rate, which has every nth frame. Anything else raises InputError.
    """
    if video.frames == source.frames:
        return Alignment(0, 1)
    step = 1 if abs(video.frames - source.frames) <= FRAMES_APART else _whole_step(video, source)
    if abs(video.frames * step - source.frames) > FRAMES_APART * step:
        raise InputError(
            f"'{video.name}' has {video.frames} frames and its source '{source.name}' {source.frames}"
            f"{f', of which it should have one in {step}' if step > 1 else ''}: "
            "give a stylized video with one frame for each of the source's"
        )
    spare = source.frames - (video.frames - 1) * step - 1
    offset = _best_offset(video, source, sorted((0, spare)), step)
    if step == 1:
        return Alignment(offset, 1, _describe(video, spare, offset))
    first = f", from frame {offset} on" if offset else ""
    return Alignment(offset, step, f"{video.name} has one frame in {step} of the source's{first}")


def _whole_step(video: Sketched, source: Sketched) -> int:
    """Source frames per frame of the video."""
    if video.frame_rate is None or source.frame_rate is None:
        return 1
    ratio = source.frame_rate / video.frame_rate
    step = round(ratio)
    if step < 1 or abs(ratio - step) > _RATE_TOLERANCE * step:
        raise InputError(
            f"'{video.name}' has {video.frame_rate:.4g} frames a second and its source '{source.name}' "
            f"{source.frame_rate:.4g}, so that its frames lie between the source's: "
            "give one at the source's frame rate, or at a half or a third of it"
        )
    return step


def _best_offset(video: Sketched, source: Sketched, ends: list[int], step: int) -> int:
    """The offset at which outlines agree best; of equal ones the nearest to 0."""
    best, highest = 0, -np.inf
    for offset in sorted(range(ends[0], ends[1] + 1), key=abs):
        pairs = [
            float((sketch * source.sketches[offset + step * k]).sum())
            for k, sketch in enumerate(video.sketches)
            if 0 <= offset + step * k < len(source.sketches)
        ]
        agreement = float(np.mean(pairs))
        if agreement > highest + _CLEARLY:
            best, highest = offset, agreement
    return best


def _describe(video: Sketched, missing: int, offset: int) -> str:
    parts = []
    for where, count in (("start", offset), ("end", missing - offset)):
        if count:
            what, more = ("lacks", "") if count > 0 else ("has", " more")
            parts.append(f"{what} {abs(count)} frame{'s' if abs(count) > 1 else ''}{more} at its {where}")
    return f"{video.name} {' and '.join(parts)}, found by its outlines; measured where both are"
