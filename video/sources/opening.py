"""Opens a source by its name; images are read here."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from ...common.files import InputError
from ..images import IMAGE_SUFFIXES, natural_key, read_picture
from .base import DEFAULT_RATE, Frame, FrameSource, SourceInfo
from .camera import CameraSource
from .videos import VideoSource


class _PictureSource(FrameSource):
    def __init__(self, name: str, kind: Literal["image", "folder"], paths: list[Path]) -> None:
        self._paths = paths
        self.file_names = tuple(path.name for path in paths)
        image, alpha = read_picture(paths[0])
        height, width = image.shape[:2]
        rate = DEFAULT_RATE if kind == "folder" else None
        duration_s = float(len(paths) / DEFAULT_RATE)
        self.info = SourceInfo(name, kind, width, height, rate, len(paths), duration_s, False, alpha is not None)

    def _frames(self) -> Iterator[Frame]:
        for index, path in enumerate(self._paths):
            image, alpha = read_picture(path)
            yield Frame(image, float(index / DEFAULT_RATE), alpha)


def open_source(spec: str | Path) -> FrameSource:
    """Open a video, an image, a folder of images, or a camera ("0", "camera:0" or "/dev/video0").

    The result is a context manager that is iterated once. Folders are read in natural order (2 before 10). Rotation
    metadata of videos and images is applied. HLG and PQ become BT.709. InputError if it is missing, empty, not a
    video or image, or without picture.
    """
    path = Path(spec)
    camera = re.fullmatch(r"(?:camera:|/dev/video)?(\d{1,9})", str(spec))
    if camera is not None and not path.is_file() and not path.is_dir():
        return CameraSource(int(camera[1]))
    if path.is_dir():
        images = [p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".")]
        if not images:
            raise InputError(f"there are no images in the folder '{path}': give one with PNG or JPEG files, or a video")
        return _PictureSource(path.name, "folder", sorted(images, key=lambda p: natural_key(p.name)))
    if not path.is_file():
        raise InputError(f"the input '{path}' does not exist: check the path")
    if not os.access(path, os.R_OK):
        raise InputError(f"the input '{path}' cannot be opened: make it readable")
    if path.stat().st_size == 0:
        raise InputError(f"the input '{path}' is empty: get the file again")
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return _PictureSource(path.name, "image", [path])
    return VideoSource(path)
