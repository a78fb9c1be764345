import shutil
from pathlib import Path

import numpy as np
import pytest

from steadystyle.common.files import InputError
from steadystyle.train.clips import ClipPairs, Pair
from steadystyle.train.pairs import PairSampler, PhotoPairs, shifted, smooth_motion
from steadystyle.train.recipe import REACH, Recipe
from steadystyle.train.recipes import changed
from steadystyle.video.flow import warp
from steadystyle.video.frames import write_video


def warped_error(pair: Pair) -> float:
    warped, _ = warp(pair.first, pair.motion.flow)
    difference = np.abs(warped.astype(float) - pair.second)[pair.motion.valid]
    return float(difference.mean())


def test_photo_pairs_move_exactly_as_their_flow_says(material: Path, recipe: Recipe) -> None:
    photos = PhotoPairs(material / "photos", changed(recipe, noise=0.0, crop=48))
    for seed in range(6):
        pair = photos.sample(np.random.default_rng(seed))
        assert pair.first.shape == (48, 48, 3) and pair.motion.valid.mean() > 0.5
        assert np.abs(pair.motion.flow).max() > 0.1
        wrong = np.abs(pair.first.astype(float) - pair.second)[pair.motion.valid].mean()
        assert warped_error(pair) < min(1.5, 0.7 * wrong)


def test_photo_noise_is_fresh_on_each_view(material: Path, recipe: Recipe) -> None:
    still = changed(recipe, still_share=1.0, noise=20.0)
    pair = PhotoPairs(material / "photos", still).sample(np.random.default_rng(3))
    assert np.abs(pair.motion.flow).max() == 0
    assert 1 < (pair.first.astype(float) - pair.second).std() < 30


def test_photos_stand_still_as_the_recipe_says(material: Path, recipe: Recipe) -> None:
    plain = changed(recipe, noise=0.0)
    still = PhotoPairs(material / "photos", changed(plain, still_share=0.5))
    pairs = [still.sample(np.random.default_rng(seed)) for seed in range(40)]
    unmoved = [pair for pair in pairs if np.abs(pair.motion.flow).max() == 0]
    assert 10 < len(unmoved) < 30
    assert all(np.array_equal(pair.first, pair.second) and pair.motion.valid.all() for pair in unmoved)


def test_shift_pairs_show_the_same_places_at_whole_pixels() -> None:
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    seen = set()
    for seed in range(300):
        pair = shifted(image, 40, np.random.default_rng(seed))
        assert pair.first.shape == pair.second.shape == (40, 40, 3) and pair.shift is not None
        dx, dy = pair.shift
        seen.add((dx, dy))
        # The second shows at (x, y) what the first shows at (x + dx, y + dy).
        rows, columns = slice(max(0, -dy), 40 - max(0, dy)), slice(max(0, -dx), 40 - max(0, dx))
        moved = pair.first[rows.start + dy : rows.stop + dy, columns.start + dx : columns.stop + dx]
        np.testing.assert_array_equal(pair.second[rows, columns], moved)
        assert (pair.motion.flow == (dx, dy)).all()
        assert pair.motion.valid.sum() == (40 - abs(dx)) * (40 - abs(dy))
    assert (0, 0) not in seen and len(seen) > 100
    assert {max(abs(x), abs(y)) for x, y in seen} == set(range(1, REACH + 1))
    noisy = [shifted(image, 40, np.random.default_rng(seed), noise=5.0) for seed in range(60)]
    clean = [shifted(image, 40, np.random.default_rng(seed)) for seed in range(60)]
    differ = [not np.array_equal(a.first, b.first) for a, b in zip(noisy, clean, strict=True)]
    assert 8 < sum(differ) < 32  # a third


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_all_pairs_of_a_step_are_of_one_kind(material: Path, recipe: Recipe, tmp_path: Path, share: float) -> None:
    recipe = changed(recipe, shift_share=share)
    sampler = PairSampler(
        recipe, PhotoPairs(material / "photos", recipe), ClipPairs(material / "clips", recipe, tmp_path)
    )
    kinds = [{sampler.sample(step, index).shift is not None for index in range(3)} for step in range(60)]
    assert all(len(kind) == 1 for kind in kinds)
    assert sum(kind == {True} for kind in kinds) / 60 == pytest.approx(share, abs=0.2 if share == 0.5 else 0.0)


def test_smooth_motion_scales_with_the_crop() -> None:
    flows = [smooth_motion(64, 0.03, np.random.default_rng(seed)) for seed in range(200)]
    assert 1.2 < np.std([flow.mean(axis=(0, 1)) for flow in flows]) < 2.6  # 0.03 of 64 px
    assert all(np.abs(np.diff(flow, axis=0)).max() < 1 for flow in flows)  # smooth: no folding


def test_clip_pairs_find_the_motion_and_are_kept(material: Path, recipe: Recipe, tmp_path: Path) -> None:
    pairs = ClipPairs(material / "clips", recipe, tmp_path / "cache")
    assert len(pairs) == 4
    whole = pairs.load(0)
    assert np.abs(np.median(whole.motion.flow[whole.motion.valid], axis=0) - (2, 0)).max() < 0.3  # slides left by 2 px
    sampled = [pairs.sample(np.random.default_rng(seed)) for seed in range(12)]
    assert all(pair.first.shape == (32, 32, 3) for pair in sampled)
    assert {np.sign(np.median(pair.motion.flow[..., 0])) for pair in sampled} == {-1.0, 1.0}  # mirrored with its flow
    assert max(warped_error(pair) for pair in sampled if pair.motion.valid.any()) < 12

    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.npz")}
    ClipPairs(material / "clips", recipe, tmp_path / "cache")
    assert stamps == {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.npz")}
    ClipPairs(material / "clips", changed(recipe, pairs_per_clip=3), tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 2  # other settings, other pairs


def test_pairs_across_a_cut_are_dropped(recipe: Recipe, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    shots = [np.kron(rng.integers(0, 255, (8, 10, 3)), np.ones((8, 8, 1))).astype(np.uint8) for _ in range(2)]
    write_video(tmp_path / "clips" / "cut.mp4", [shots[0]] * 3 + [shots[1]] * 3, 25)
    pairs = ClipPairs(tmp_path / "clips", changed(recipe, pairs_per_clip=5), tmp_path / "cache")
    assert len(pairs) == 4  # of five
    for index in range(4):
        pair = pairs.load(index)
        assert np.abs(pair.first.astype(float) - pair.second).mean() < 10


def test_samples_depend_on_step_and_index_alone(material: Path, recipe: Recipe, tmp_path: Path) -> None:
    def fresh() -> PairSampler:
        clips = ClipPairs(material / "clips", recipe, tmp_path / "cache")
        return PairSampler(recipe, PhotoPairs(material / "photos", recipe), clips)

    one, other = fresh(), fresh()
    for _ in range(3):
        one.sample(0, 0)
    for step, index in ((5, 0), (5, 1), (6, 0)):
        a, b = one.sample(step, index), other.sample(step, index)
        assert np.array_equal(a.first, b.first) and np.array_equal(a.motion.flow, b.motion.flow)
    assert not np.array_equal(one.sample(5, 0).first, one.sample(5, 1).first)


def test_folders_without_use_are_refused(material: Path, recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folder"):
        ClipPairs(tmp_path / "absent", recipe, tmp_path / "cache")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no video clips"):
        ClipPairs(tmp_path / "empty", recipe, tmp_path / "cache")
    with pytest.raises(InputError, match="no photos"):
        PhotoPairs(tmp_path / "empty", recipe)
    write_video(tmp_path / "single" / "one.mp4", [np.zeros((64, 64, 3), np.uint8)], 25)
    with pytest.raises(InputError, match="two consecutive frames"):
        ClipPairs(tmp_path / "single", recipe, tmp_path / "cache")
    shutil.copy(material / "style.png", tmp_path / "single" / "fake.mp4")
    with pytest.raises(InputError, match="nothing to train on"):
        PairSampler(recipe, None, None)
