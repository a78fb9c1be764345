"""Training data: frame pairs of clips (`clips.py`, estimated flow) and of photos moved by an exactly known flow.

Every sample depends on (seed, step, index) alone, so a resumed run sees the same samples as an unbroken one.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..common.arrays import Image, scaled
from ..common.files import InputError
from ..common.progress import Progress, no_progress
from ..video.flow import FlowPair
from ..video.images import read_image
from .clips import ClipPairs, Pair, find_files, inside, pixel_grid
from .recipe import REACH, Recipe

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
MOTION = 0.03  # standard deviation of the random shift of a photo pair, as a share of the crop
Batch = dict[str, NDArray[Any]]
"""Arrays that `stacked` returns and `loss.objective.Objective` takes."""

_NOISY_SHARE = 1 / 3
# With three, the loss kept a checkpoint from half of the steps; another one's style score was a sixth lower.
_FIXED_PAIRS = 8


class PhotoPairs:
    """Photographs seen twice under a random smooth motion; both views sample the photograph, so the flow is exact."""

    def __init__(self, folder: Path, recipe: Recipe) -> None:
        """List the photographs of ``folder``; they are read on demand, and the last 600 kept."""
        self._files = find_files(folder, IMAGE_ENDINGS, "photos")
        self._data = recipe.data
        self.picture = lru_cache(600)(self._picture)
        self.picture(0)  # an unreadable folder fails before training starts

    def __len__(self) -> int:
        return len(self._files)

    def _picture(self, index: int) -> Image:
        """A photograph, scaled to a shorter side of about 320 px."""
        image = read_image(self._files[index])
        scale = 320 / min(image.shape[:2])
        return scaled(image, scale) if abs(scale - 1) > 0.05 else image

    def sample(self, rng: np.random.Generator) -> Pair:
        """Draw a pair of crops."""
        image = self.picture(int(rng.integers(len(self._files))))
        size = self._data.crop
        still = rng.random() < self._data.still_share
        flow = smooth_motion(size, 0.0 if still else MOTION, rng)
        zoom = rng.uniform(0.8, 1.25)  # photo pixels a crop pixel
        stretch = np.array([zoom * rng.choice((-1.0, 1.0)), zoom])  # half of them mirrored
        height, width = image.shape[:2]
        slack = np.maximum(0, np.array([width, height]) - size * zoom) / 2
        centre = (np.array([width, height]) - 1) / 2 + rng.uniform(-slack, slack)
        views = []
        grid = pixel_grid(size).astype(np.float32)
        for positions in (grid, grid + flow):
            at = ((positions - (size - 1) / 2) * stretch + centre).astype(np.float32)
            columns, rows = cv2.split(at)
            view = cv2.remap(image, columns, rows, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
            views.append(_with_noise(np.asarray(view, np.uint8), rng.uniform(0, self._data.noise), rng))
        return Pair(views[0], views[1], FlowPair(flow, inside(grid + flow)))


def _with_noise(image: Image, deviation: float, rng: np.random.Generator) -> Image:
    if deviation <= 0:
        return image
    noisy = image + deviation * rng.standard_normal(image.shape, dtype=np.float32)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def smooth_motion(size: int, strength: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """A random flow (size, size, 2) float32, px: a shift, a small linear part and a smooth local part.

    ``strength`` is the standard deviation of the shift as a share of ``size``; the other parts have a third of it.
    """
    axis = (np.arange(size, dtype=np.float32) - (size - 1) / 2) / size
    positions = np.stack(np.meshgrid(axis, axis), axis=-1)
    shift = rng.normal(0, strength, 2)
    linear = rng.normal(0, strength / 3, (2, 2))
    knots = rng.normal(0, strength / 3, (4, 4, 2)).astype(np.float32)
    local = cv2.resize(knots, (size, size), interpolation=cv2.INTER_CUBIC)
    return np.asarray((shift + positions @ linear.T + local) * size, np.float32)


class PairSampler:
    """Mixes clip and photo pairs in the recipe's share; InputError without either."""

    def __init__(self, recipe: Recipe, photos: PhotoPairs | None, clips: ClipPairs | None) -> None:
        if photos is None and clips is None:
            raise InputError("nothing to train on: give --clips DIR, --photos DIR or both")
        self._recipe, self._photos, self._clips = recipe, photos, clips

    def sample(self, step: int, index: int) -> Pair:
        """Pair ``index`` of a step's batch, reproducible by recipe and data; all pairs of a step are of one kind."""
        data, seed = self._recipe.data, self._recipe.seed
        rng = np.random.default_rng((seed, step, index))
        of_shifts = np.random.default_rng((seed, step, 2**31)).random() < data.shift_share
        from_clips = rng.random() < data.clip_share
        sources = (self._clips, self._photos) if from_clips else (self._photos, self._clips)
        preferred = next(source for source in sources if source is not None)
        if not of_shifts:
            return preferred.sample(rng)
        picture = preferred.picture(int(rng.integers(len(preferred))))
        return shifted(picture, data.crop, rng, data.noise)

    def batch(self, step: int, rank: int = 0) -> Batch:
        """The samples of a step; each of several processes has its own."""
        size = self._recipe.data.batch
        return stacked([self.sample(step, rank * size + index) for index in range(size)], self._recipe)


def stacked(pairs: Sequence[Pair], recipe: Recipe) -> Batch:
    """Pairs of one kind as a batch for `Objective`; single frames for a recipe without temporal loss."""
    batch: Batch = {"first": np.stack([pair.first for pair in pairs])}
    if recipe.loss.temporal <= 0:
        return batch
    batch["second"] = np.stack([pair.second for pair in pairs])
    if pairs[0].shift is not None:
        return {**batch, "shift": np.array([pair.shift for pair in pairs])}
    return {
        **batch,
        "flow": np.stack([pair.motion.flow.transpose(2, 0, 1) for pair in pairs]),
        "valid": np.stack([pair.motion.valid[None] for pair in pairs]).astype(np.float32),
    }


def open_pairs(
    recipe: Recipe, clips: Path | None, photos: Path | None, cache: Path, progress: Progress = no_progress
) -> tuple[PairSampler, list[Pair]]:
    """Open folders of clips and photographs; the clips' flow is kept in ``cache``.

    Returns the sampler and up to 8 fixed pairs: whole frames of clips, else photo crops. InputError for bad folders.
    """
    photo_pairs = PhotoPairs(photos, recipe) if photos else None
    clip_pairs = ClipPairs(clips, recipe, cache, progress) if clips else None
    sampler = PairSampler(recipe, photo_pairs, clip_pairs)
    if clip_pairs is None:
        return sampler, [sampler.sample(0, index) for index in range(_FIXED_PAIRS)]
    chosen = sorted({len(clip_pairs) * k // (2 * _FIXED_PAIRS) for k in range(1, 2 * _FIXED_PAIRS, 2)})
    return sampler, [clip_pairs.load(index) for index in chosen]


def fixed_batches(fixed: Sequence[Pair], recipe: Recipe) -> list[Batch]:
    """One-pair batches from the centres of the fixed pairs; every second is shifted where the recipe has such steps."""
    size, batches = recipe.data.crop, []
    for index, pair in enumerate(fixed):
        if recipe.data.shift_share > 0 and index % 2:
            pair = shifted(pair.first, size, np.random.default_rng(index))
        elif pair.shift is None:
            pair = pair.part((len(pair.first) - size) // 2, (pair.first.shape[1] - size) // 2, size)
        batches.append(stacked([pair], recipe))
    return batches


def shifted(image: Image, size: int, rng: np.random.Generator, noise: float = 0.0) -> Pair:
    """Two crops of ``size`` px from a (H, W, 3) uint8 RGB image, some whole pixels apart.

    The image is scaled a little at random, and up where it is too small. A third of the pairs get noise, fresh on each
    crop; ``noise`` is its largest standard deviation, of 255.
    """
    zoom = rng.uniform(0.8, 1.25)
    image = scaled(image, max(zoom, (size + REACH + 0.5) / min(image.shape[:2])))
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
    return Pair(views[0], views[1], FlowPair(flow, inside(pixel_grid(size) + flow)), (dx, dy))
