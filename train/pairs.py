"""Training data: pairs of frames with the flow between them and a mask of where it holds.

Two sources. *Clips*: consecutive frames of real video, with DIS flow and masks computed once and kept in a cache.
*Photos*: one photograph seen twice under a random smooth motion that is known exactly, with fresh noise on each view.

Every sample is a function of (seed, step, index) alone, so a resumed run sees the very samples an unbroken one sees.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ..common.files import InputError, atomic_path, sha256_of
from ..video.flow import FlowPair, flow_pair
from ..video.frames import open_source, resize_to_height
from ..video.images import read_image
from ..video.temporal import is_cut
from .recipes import REACH, Recipe

VIDEO_ENDINGS = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v")
IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
_CACHE_FORMAT = 1
_NOISY_SHARE = 1 / 3


@dataclass(frozen=True)
class Pair:
    """Two frames and the motion between them.

    Attributes:
        first: (H, W, 3) uint8 RGB, the earlier frame.
        second: (H, W, 3) uint8 RGB, the later frame.
        motion: flow from the second to the first, and where it is valid.
        shift: columns and rows, where the second is the first moved by whole pixels: it shows at (x, y) what the first
            shows at (x + columns, y + rows).
    """

    first: NDArray[np.uint8]
    second: NDArray[np.uint8]
    motion: FlowPair
    shift: tuple[int, int] | None = None


def find_files(folder: Path, endings: Sequence[str], what: str) -> list[Path]:
    """Files of a folder by ending, sorted; InputError when the folder is missing or holds none."""
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}: give one with {what}")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in endings)
    if not files:
        raise InputError(f"the folder {folder} holds no {what} ({', '.join(endings)})")
    return files


class PhotoPairs:
    """Photographs seen twice under a random smooth motion.

    Both views are sampled from the photograph itself, the second through the motion, so the flow is exact.
    """

    def __init__(self, folder: Path, recipe: Recipe) -> None:
        """List the photographs of ``folder``; they are read when needed and the last few hundred kept."""
        self._files = find_files(folder, IMAGE_ENDINGS, "photos")
        self._images: dict[int, NDArray[np.uint8]] = {}
        self._crop, self._recipe = recipe.crop, recipe
        self.picture(0)  # an unreadable folder fails before training starts

    def __len__(self) -> int:
        return len(self._files)

    def picture(self, index: int) -> NDArray[np.uint8]:
        """A photograph, brought to a shorter side of about 320 px."""
        if index not in self._images:
            image = read_image(self._files[index])
            scale = 320 / min(image.shape[:2])
            if abs(scale - 1) > 0.05:
                method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
                image = np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=method), np.uint8)
            if len(self._images) >= 600:
                self._images.pop(next(iter(self._images)))
            self._images[index] = image
        return self._images[index]

    def sample(self, rng: np.random.Generator) -> Pair:
        """Draw a pair of crops."""
        image = self.picture(int(rng.integers(len(self._files))))
        size = self._crop
        still = rng.random() < self._recipe.still_share
        flow = smooth_motion(size, 0.0 if still else self._recipe.motion, rng)
        zoom = rng.uniform(0.8, 1.25)  # photo pixels a crop pixel
        stretch = np.array([zoom * rng.choice((-1.0, 1.0)), zoom])  # half of them mirrored
        height, width = image.shape[:2]
        slack = np.maximum(0, np.array([width, height]) - size * zoom) / 2
        centre = (np.array([width, height]) - 1) / 2 + rng.uniform(-slack, slack)
        grid = np.stack(np.meshgrid(np.arange(size), np.arange(size)), axis=-1).astype(np.float32)  # (S, S, 2)
        views = []
        for positions in (grid, grid + flow):
            at = ((positions - (size - 1) / 2) * stretch + centre).astype(np.float32)
            view = cv2.remap(
                image,
                np.ascontiguousarray(at[..., 0]),
                np.ascontiguousarray(at[..., 1]),
                cv2.INTER_CUBIC,
                borderMode=cv2.BORDER_REFLECT_101,
            )
            views.append(np.asarray(view, np.uint8))
        views = [_with_noise(view, rng.uniform(0, self._recipe.noise), rng) for view in views]
        landing = grid + flow
        valid = np.all((landing >= 0) & (landing <= size - 1), axis=-1)
        return Pair(views[0], views[1], FlowPair(flow, valid))


def _with_noise(image: NDArray[np.uint8], deviation: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    if deviation <= 0:
        return image
    noisy = image + deviation * rng.standard_normal(image.shape, dtype=np.float32)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def smooth_motion(size: int, strength: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """A random flow: a shift, a small linear part and a smooth local part.

    Args:
        size: side of the square frame, px.
        strength: standard deviation of the shift as a share of ``size``; the other parts are a third of it.
        rng: source of randomness.

    Returns:
        (size, size, 2) float32, px.
    """
    axis = (np.arange(size, dtype=np.float32) - (size - 1) / 2) / size
    positions = np.stack(np.meshgrid(axis, axis), axis=-1)
    shift = rng.normal(0, strength, 2)
    linear = rng.normal(0, strength / 3, (2, 2))
    knots = rng.normal(0, strength / 3, (4, 4, 2)).astype(np.float32)
    local = cv2.resize(knots, (size, size), interpolation=cv2.INTER_CUBIC)
    return np.asarray((shift + positions @ linear.T + local) * size, np.float32)


class ClipPairs:
    """Pairs of frames of real clips, with flow and masks computed once.

    Args:
        folder: with the clips.
        recipe: gives height, intervals, pairs a clip and crop.
        cache: folder in which frames, flow and masks are kept; reused when clip and settings are the same.
        progress: called with (clips done, clips).

    Raises:
        InputError: no clips, or no pair of frames in any of them.
    """

    def __init__(
        self, folder: Path, recipe: Recipe, cache: Path, progress: Callable[[int, int], None] | None = None
    ) -> None:
        self._crop = recipe.crop
        self._files: list[Path] = []
        clips = find_files(folder, VIDEO_ENDINGS, "video clips")
        for done, clip in enumerate(clips):
            self._files += _cached_pairs(clip, recipe, cache)
            if progress:
                progress(done + 1, len(clips))
        if not self._files:
            raise InputError(f"no clip in {folder} holds two consecutive frames without a cut: give longer clips")

    def __len__(self) -> int:
        return len(self._files)

    def load(self, index: int) -> Pair:
        """A whole pair, uncropped."""
        return _read_pair(self._files[index])

    def picture(self, index: int) -> NDArray[np.uint8]:
        """The first frame of a pair, whole."""
        with np.load(self._files[index]) as stored:
            return np.asarray(cv2.imdecode(stored["first"], cv2.IMREAD_COLOR_RGB), np.uint8)

    def sample(self, rng: np.random.Generator) -> Pair:
        """Draw a pair of crops, mirrored half of the time."""
        pair = self.load(int(rng.integers(len(self._files))))
        height, width = pair.first.shape[:2]
        size = self._crop
        top, left = int(rng.integers(height - size + 1)), int(rng.integers(width - size + 1))
        window = (slice(top, top + size), slice(left, left + size))
        flow, valid = pair.motion.flow[window].copy(), pair.motion.valid[window].copy()
        # What comes from outside the crop cannot be warped from inside it.
        landing = flow + np.stack(np.meshgrid(np.arange(size), np.arange(size)), axis=-1)
        valid &= np.all((landing >= 0) & (landing <= size - 1), axis=-1)
        first, second = pair.first[window], pair.second[window]
        if rng.random() < 0.5:
            first, second, valid, flow = first[:, ::-1], second[:, ::-1], valid[:, ::-1], flow[:, ::-1].copy()
            flow[..., 0] *= -1
        return Pair(first, second, FlowPair(flow, valid))


def _cached_pairs(clip: Path, recipe: Recipe, cache: Path) -> list[Path]:
    """Paths of the cached pairs of a clip, computed when they are not there."""
    settings = [_CACHE_FORMAT, recipe.clip_height, recipe.clip_intervals, recipe.pairs_per_clip]
    key = hashlib.sha256(json.dumps([sha256_of(clip), *settings]).encode()).hexdigest()[:12]
    folder = cache / f"{clip.stem}-{key}"
    listing = folder / "pairs.json"  # written last: its presence says that the folder is whole
    if not listing.is_file():
        names, width = [], 0
        for start, first, second in _chosen_frames(clip, recipe):
            width = first.shape[1]
            if not is_cut(first, second):
                names.append(f"{start:06d}.npz")
                _write_pair(folder / names[-1], Pair(first, second, flow_pair(first, second)))
        if not names:
            return []
        with atomic_path(listing) as partial:
            partial.write_text(json.dumps({"width": width, "pairs": names}), encoding="utf-8")
    listed = json.loads(listing.read_text(encoding="utf-8"))
    # A clip in portrait may be narrower than the crop; its height is the recipe's and always enough.
    return [folder / name for name in listed["pairs"]] if listed["width"] >= recipe.crop else []


def _chosen_frames(clip: Path, recipe: Recipe) -> Iterator[tuple[int, NDArray[np.uint8], NDArray[np.uint8]]]:
    """(index of the first, first, second) of pairs spread evenly over a clip; holds no more frames than it must."""
    with open_source(clip) as source:
        count = sum(1 for _ in source)  # what a container says of its length may be wrong or missing
    intervals = recipe.clip_intervals
    starts = count - max(intervals)
    chosen = sorted({round(at) for at in np.linspace(0, starts - 1, recipe.pairs_per_clip)}) if starts > 0 else []
    ends = {start: start + intervals[number % len(intervals)] for number, start in enumerate(chosen)}
    waiting: dict[int, NDArray[np.uint8]] = {}  # first frames whose second has not come yet, by index
    with open_source(clip) as source:
        for index, frame in enumerate(source):
            if index not in ends and index not in (ends[start] for start in waiting):
                continue
            image = resize_to_height(frame.image, recipe.clip_height)
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


def _read_pair(path: Path) -> Pair:
    with np.load(path) as stored:
        first = np.asarray(cv2.imdecode(stored["first"], cv2.IMREAD_COLOR_RGB), np.uint8)
        second = np.asarray(cv2.imdecode(stored["second"], cv2.IMREAD_COLOR_RGB), np.uint8)
        height, width = first.shape[:2]
        flow = cv2.resize(stored["flow"].astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
        valid = np.unpackbits(stored["valid"], count=height * width).reshape(height, width).astype(bool)
    return Pair(first, second, FlowPair(np.asarray(flow, np.float32), valid))


class PairSampler:
    """Mixes clip and photo pairs in the recipe's share.

    Raises:
        InputError: neither clips nor photos given.
    """

    def __init__(self, recipe: Recipe, photos: PhotoPairs | None, clips: ClipPairs | None) -> None:
        if photos is None and clips is None:
            raise InputError("nothing to train on: give --clips DIR, --photos DIR or both")
        self._recipe, self._photos, self._clips = recipe, photos, clips

    def sample(self, step: int, index: int) -> Pair:
        """The pair number ``index`` of the batch of ``step``: always the same for the same recipe and data.

        All pairs of a step are of one kind: shifted by whole pixels, or moved.
        """
        rng = np.random.default_rng((self._recipe.seed, step, index))
        of_shifts = np.random.default_rng((self._recipe.seed, step, 2**31)).random() < self._recipe.shift_share
        from_clips = rng.random() < self._recipe.clip_share
        sources = (self._clips, self._photos) if from_clips else (self._photos, self._clips)
        preferred = next(source for source in sources if source is not None)
        if not of_shifts:
            return preferred.sample(rng)
        picture = preferred.picture(int(rng.integers(len(preferred))))
        return shifted(picture, self._recipe.crop, rng, self._recipe.noise)


def shifted(image: NDArray[np.uint8], size: int, rng: np.random.Generator, noise: float = 0.0) -> Pair:
    """A random part of a picture, and the part some whole pixels beside it.

    Args:
        image: (H, W, 3) uint8 RGB; it is scaled a little at random, and up where it is too small.
        size: side of both parts, px.
        rng: source of randomness.
        noise: largest standard deviation of noise, of 255; a third of the pairs get some, fresh on each part.
    """
    zoom = rng.uniform(0.8, 1.25)
    zoom = max(zoom, (size + REACH + 0.5) / min(image.shape[:2]))
    method = cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC
    image = np.asarray(cv2.resize(image, None, fx=zoom, fy=zoom, interpolation=method), np.uint8)
    if rng.random() < 0.5:
        image = image[:, ::-1]
    dx, dy = (int(value) for value in rng.integers(-REACH, REACH + 1, 2))
    if dx == dy == 0:
        dx = 4
    height, width = image.shape[:2]
    top = int(rng.integers(max(0, -dy), height - size - max(0, dy) + 1))
    left = int(rng.integers(max(0, -dx), width - size - max(0, dx) + 1))
    views = [image[y : y + size, x : x + size] for y, x in ((top, left), (top + dy, left + dx))]
    if rng.random() < _NOISY_SHARE:
        views = [_with_noise(view, rng.uniform(0, noise), rng) for view in views]
    flow = np.full((size, size, 2), (dx, dy), np.float32)
    landing = flow + np.stack(np.meshgrid(np.arange(size), np.arange(size)), axis=-1)
    valid = np.all((landing >= 0) & (landing <= size - 1), axis=-1)
    return Pair(views[0], views[1], FlowPair(flow, valid), (dx, dy))
