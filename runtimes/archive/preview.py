"""A contact sheet: what a video will look like, from a frame a second."""

import math
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from ...common.arrays import Image, resized, size_within_height
from ...common.files import InputError, check_writable
from ...video.frames import FrameSource, write_image
from ...video.images import IMAGE_SUFFIXES
from ..pipeline import RunReport
from ..stylizer import Stylizer

_MOST = 60
"""Pictures of a sheet: those of a longer video are further apart."""

_HEIGHT, _LABEL, _GAP = 180, 18, 4
"""Height of a picture, of its label and of the gap around it, in px."""


def write_preview(
    target: Path,
    source: FrameSource,
    stylizer: Stylizer,
    progress: Callable[[int, int | None], None],
    start_s: float = 0.0,
) -> RunReport:
    """Stylize a frame a second (at most 60, evenly) and write them with their times as one picture.

    `start_s` is where the source begins in its file, in seconds: the times are those of the file.

    Raises InputError for a camera and if `target` is not a picture's name, OSError if writing fails.
    """
    if source.info.kind == "camera":
        raise InputError("a camera has no preview: give a file")
    if target.suffix.lower() not in IMAGE_SUFFIXES:
        raise InputError(
            f"a preview is a picture, but '{target}' is none: end it in {', '.join(sorted(IMAGE_SUFFIXES))}"
        )
    check_writable(target)
    report, began = RunReport(), time.perf_counter()
    step = max(1.0, (source.info.duration_s or 0.0) / _MOST)
    pictures: list[tuple[float, Image]] = []
    for index, frame in enumerate(source, 1):
        if len(pictures) < _MOST and frame.time_s >= step * len(pictures):
            picture = stylizer(frame.on_white)
            size = size_within_height((picture.shape[1], picture.shape[0]), _HEIGHT)
            pictures.append((start_s + frame.time_s, resized(picture, size)))
        progress(index, source.info.frames)
    if not pictures:
        raise InputError(f"there is no frame to write to '{target}': check the input")
    write_image(target, _sheet(pictures))
    report.frames, report.seconds = len(pictures), time.perf_counter() - began
    report.fps = report.frames / report.seconds
    report.notes = [source.note] if source.note else []
    return report


def _sheet(pictures: list[tuple[float, Image]]) -> Image:
    """All pictures, about as wide as high, each above its time in minutes and seconds."""
    height = max(picture.shape[0] for _, picture in pictures) + _LABEL + _GAP
    width = max(picture.shape[1] for _, picture in pictures) + _GAP
    columns = min(len(pictures), max(1, round(math.sqrt(len(pictures) * height / width * 16 / 9))))
    sheet = np.full((math.ceil(len(pictures) / columns) * height + _GAP, columns * width + _GAP, 3), 255, np.uint8)
    for index, (seconds, picture) in enumerate(pictures):
        top, left = _GAP + index // columns * height, _GAP + index % columns * width
        sheet[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
        label = f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
        place = (left, top + picture.shape[0] + _LABEL - 5)
        cv2.putText(sheet, label, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    return sheet
