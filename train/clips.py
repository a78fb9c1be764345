"""Frame pairs of real video; DIS flow and masks are computed once and cached."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..common.arrays import Image
from ..common.files import InputError, atomic_path, sha256_of
from ..common.progress import Progress, no_progress
from ..video.flow import FlowPair, flow_pair
from ..video.frames import open_source, resize_to_height
from ..video.temporal import is_cut
from .recipe import Data, Recipe

VIDEO_ENDINGS = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v")
_CACHE_FORMAT = 1
_MIRROR = np.array([-1, 1], np.float32)


@dataclass(frozen=True)
class Pair:
    """An earlier and a later frame, both (H, W, 3) uint8 RGB, and the flow from the later to the earlier one.

    ``shift`` is (columns, rows) where the second is the first moved by whole pixels: it shows at (x, y) what the first
    shows at (x + columns, y + rows).
    """

    first: Image
    second: Image
    motion: FlowPair
    shift: tuple[int, int] | None = None

    def part(self, top: int, left: int, size: int) -> "Pair":
        """Crop a square."""
        at = (slice(top, top + size), slice(left, left + size))
        return Pair(self.first[at], self.second[at], FlowPair(self.motion.flow[at], self.motion.valid[at]))


def pixel_grid(size: int) -> NDArray[Any]:
    """(size, size, 2) int: column and row of each pixel."""
    return np.stack(np.meshgrid(np.arange(size), np.arange(size)), axis=-1)


def inside(landing: NDArray[Any]) -> NDArray[np.bool_]:
    """Which positions, (size, size, 2), lie inside the square: nothing can be warped from outside it."""
    return np.asarray(np.all((landing >= 0) & (landing <= len(landing) - 1), axis=-1))


def find_files(folder: Path, endings: Sequence[str], what: str) -> list[Path]:
    """Files of a folder by ending, sorted; InputError when the folder is missing or holds none."""
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}: give one with {what}")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in endings)
    if not files:
        raise InputError(f"the folder {folder} holds no {what} ({', '.join(endings)})")
    return files


class ClipPairs:
    """Frame pairs of a folder of clips; frames, flow and masks are kept in ``cache``. InputError without any pair."""

    def __init__(self, folder: Path, recipe: Recipe, cache: Path, progress: Progress = no_progress) -> None:
        self._crop = recipe.data.crop
        self._files: list[Path] = []
        clips = find_files(folder, VIDEO_ENDINGS, "video clips")
        for done, clip in enumerate(clips, start=1):
            self._files += _cached_pairs(clip, recipe, cache)
            progress("flow of the clips", done, len(clips))
        if not self._files:
            raise InputError(f"no clip in {folder} holds two consecutive frames without a cut: give longer clips")

    def __len__(self) -> int:
        return len(self._files)

    def load(self, index: int) -> Pair:
        """A whole pair, uncropped."""
        with np.load(self._files[index]) as stored:
            first, second = _decoded(stored["first"]), _decoded(stored["second"])
            height, width = first.shape[:2]
            flow = cv2.resize(stored["flow"].astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
            valid = np.unpackbits(stored["valid"], count=height * width).reshape(height, width).astype(bool)
        return Pair(first, second, FlowPair(np.asarray(flow, np.float32), valid))

    def picture(self, index: int) -> Image:
        """The first frame of a pair, whole."""
        with np.load(self._files[index]) as stored:
            return _decoded(stored["first"])

    def sample(self, rng: np.random.Generator) -> Pair:
        """Draw a pair of crops, half of them mirrored."""
        pair = self.load(int(rng.integers(len(self._files))))
        height, width = pair.first.shape[:2]
        top, left = int(rng.integers(height - self._crop + 1)), int(rng.integers(width - self._crop + 1))
        pair = pair.part(top, left, self._crop)
        flow, valid = pair.motion.flow, pair.motion.valid & inside(pixel_grid(self._crop) + pair.motion.flow)
        if rng.random() < 0.5:
            return Pair(pair.first[:, ::-1], pair.second[:, ::-1], FlowPair(flow[:, ::-1] * _MIRROR, valid[:, ::-1]))
        return Pair(pair.first, pair.second, FlowPair(flow, valid))


def _decoded(png: NDArray[np.uint8]) -> Image:
    return np.asarray(cv2.imdecode(png, cv2.IMREAD_COLOR_RGB), np.uint8)


def _cached_pairs(clip: Path, recipe: Recipe, cache: Path) -> list[Path]:
    data = recipe.data
    settings = [_CACHE_FORMAT, data.clip_height, data.clip_intervals, data.pairs_per_clip]
    key = hashlib.sha256(json.dumps([sha256_of(clip), *settings]).encode()).hexdigest()[:12]
    folder = cache / f"{clip.stem}-{key}"
    listing = folder / "pairs.json"  # written last: its presence says that the folder is whole
    if not listing.is_file():
        names, width = [], 0
        for start, first, second in _chosen_frames(clip, data):
            width = first.shape[1]
            if not is_cut(first, second):
                names.append(f"{start:06d}.npz")
                _write_pair(folder / names[-1], Pair(first, second, flow_pair(first, second)))
        if not names:
            return []
        with atomic_path(listing) as partial:
            partial.write_text(json.dumps({"width": width, "pairs": names}), encoding="utf-8")
    listed = json.loads(listing.read_text(encoding="utf-8"))
    # A clip in portrait may be narrower than the crop; its height always suffices.
    return [folder / name for name in listed["pairs"]] if listed["width"] >= data.crop else []


def _chosen_frames(clip: Path, data: Data) -> Iterator[tuple[int, Image, Image]]:
    """(index of the first, first, second) of pairs spread evenly over a clip; keeps few frames in memory."""
    with open_source(clip) as source:
        count = sum(1 for _ in source)  # a container's stated length may be wrong or missing
    intervals = data.clip_intervals
    starts = count - max(intervals)
    chosen = sorted({round(at) for at in np.linspace(0, starts - 1, data.pairs_per_clip)}) if starts > 0 else []
    ends = {start: start + intervals[number % len(intervals)] for number, start in enumerate(chosen)}
    waiting: dict[int, Image] = {}  # first frames whose second has not come yet, by index
    with open_source(clip) as source:
        for index, frame in enumerate(source):
            if index not in ends and index not in (ends[start] for start in waiting):
                continue
            image = resize_to_height(frame.image, data.clip_height)
            for start in [start for start in waiting if ends[start] == index]:
                yield start, waiting.pop(start), image
            if index in ends:
                waiting[index] = image


def _write_pair(path: Path, pair: Pair) -> None:
    # Flow at half size in half precision: DIS (medium) works at half size itself, and is coarser than 1/32 px.
    height, width = pair.first.shape[:2]
    flow = cv2.resize(pair.motion.flow, (width // 2, height // 2), interpolation=cv2.INTER_AREA).astype(np.float16)
    with atomic_path(path) as partial:
        np.savez(
            partial,
            first=cv2.imencode(".png", pair.first[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])[1],
            second=cv2.imencode(".png", pair.second[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])[1],
            flow=flow,
            valid=np.packbits(pair.motion.valid),
        )
