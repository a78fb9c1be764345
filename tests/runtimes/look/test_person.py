"""The mask of a person: steadied, feathered, and what is painted by it."""

import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from steadystyle.common.arrays import Image, resized
from steadystyle.common.files import InputError
from steadystyle.runtimes.look import Look
from steadystyle.runtimes.look.painted import painted, with_look
from steadystyle.runtimes.look.person import SIZE, Mask, Person
from steadystyle.runtimes.registry import open_stylizer
from steadystyle.video.frames import read_frames, read_image
from steadystyle.video.synthetic.harbour import harbour
from steadystyle.video.temporal import flow_pairs, temporal_error

WIDTH, HEIGHT = SIZE
DRAWN = Path(__file__).with_name("masks")
"""Masks drawn by hand, by clip and index of the frame."""
CLIPS = Path(__file__).resolve().parents[3] / ".." / "shared" / "data" / "clips" / "eval"


class Drawn(Person):
    """Gets its masks from a function in place of the network."""

    def __init__(self, draw: Callable[[Image], Mask]) -> None:
        super().__init__(threads=1)
        self.draw = draw

    def raw(self, small: Image) -> Mask:
        return self.draw(small)


def grey(masks: list[Mask]) -> list[Image]:
    return [np.asarray(np.dstack([np.rint(255 * mask)] * 3), np.uint8) for mask in masks]


def test_a_mask_of_noise_along_a_moving_scene_is_half_as_restless() -> None:
    scene = harbour(WIDTH, HEIGHT, 12)
    frames = [scene.frame(t) for t in range(12)]
    dice = np.random.default_rng(0)
    raw: list[Mask] = []

    def draw(small: Image) -> Mask:
        blocks = dice.uniform(0, 1, (HEIGHT // 16, WIDTH // 16)).astype(np.float32)
        raw.append(np.asarray(cv2.resize(blocks, SIZE, interpolation=cv2.INTER_LINEAR), np.float32))
        return raw[-1]

    person = Drawn(draw)
    steady = [person(frame) for frame in frames]
    pairs = {t: scene.pair(t, 1) for t in range(3, 11)}
    assert temporal_error(grey(steady), pairs, 1).value <= 0.5 * temporal_error(grey(raw), pairs, 1).value


def test_a_new_picture_gets_its_own_mask() -> None:
    dice = np.random.default_rng(1)
    pictures = [dice.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8) for _ in range(2)]
    person = Drawn(lambda small: np.full((HEIGHT, WIDTH), float(np.array_equal(small, pictures[1])), np.float32))
    assert person(pictures[0]).max() == 0
    assert person(pictures[1]).min() > 0.9


def test_another_video_begins_without_the_masks_of_the_one_before() -> None:
    frame = harbour(WIDTH, HEIGHT, 1).frame(0)
    masks = [np.full((HEIGHT, WIDTH), share, np.float32) for share in (1.0, 0.0, 0.0)]
    given = iter(masks)
    person = Drawn(lambda small: next(given))
    assert person(frame).min() == 1
    assert person(frame).max() > 0.5  # the same frame keeps most of its mask
    person.restart()
    assert person(frame).max() == 0


def test_the_edge_is_feathered_and_the_mask_has_the_frames_size() -> None:
    half = np.zeros((HEIGHT, WIDTH), np.float32)
    half[:, WIDTH // 2 :] = 1
    mask = Drawn(lambda small: half)(np.zeros((360, 640, 3), np.uint8))
    assert mask.shape == (360, 640)
    assert mask.dtype == np.float32
    row = mask[180]
    assert row[290] == 0 and row[350] == 1
    assert 4 <= int(((row > 0.1) & (row < 0.9)).sum()) <= 16


@pytest.mark.parametrize("strength", [0.5, 1])
def test_person_and_background_are_the_two_parts_of_the_painting(strength: float) -> None:
    dice = np.random.default_rng(2)
    frame, painting = (dice.integers(0, 256, (36, 64, 3), dtype=np.uint8) for _ in range(2))
    mask = np.tile(np.linspace(0, 1, 64, dtype=np.float32), (36, 1))
    person, background = (
        painted(frame, Look(strength=strength, only=only), lambda _: painting.copy(), lambda _: mask).astype(int)
        for only in ("person", "background")
    )
    assert np.array_equal(person[:, 0], frame[:, 0])
    assert np.array_equal(background[:, -1], frame[:, -1])
    whole = strength * painting.astype(np.float64) + (1 - strength) * frame
    assert np.abs(person + background - frame - whole).max() <= 1.1


def figure(ground: Image) -> Image:
    """A person, head and shoulders, painted on a picture of 320x180."""
    image = ground.copy()
    cv2.ellipse(image, (160, 190), (75, 80), 0, 0, 360, (60, 70, 120), -1, cv2.LINE_AA)
    cv2.rectangle(image, (148, 95), (172, 125), (205, 160, 130), -1)
    cv2.ellipse(image, (160, 72), (27, 36), 0, 0, 360, (225, 180, 150), -1, cv2.LINE_AA)
    cv2.ellipse(image, (160, 58), (30, 28), 0, 180, 360, (60, 40, 30), -1, cv2.LINE_AA)
    for x in (150, 170):
        cv2.circle(image, (x, 70), 3, (40, 30, 30), -1, cv2.LINE_AA)
    cv2.ellipse(image, (160, 90), (9, 4), 0, 0, 180, (170, 70, 70), -1, cv2.LINE_AA)
    return image


def test_the_network_finds_a_painted_person_and_nobody_at_sea() -> None:
    sea = harbour(320, 180, 1).frame(0)
    assert Person(1)(sea).mean() < 0.1
    drawn = (figure(np.zeros_like(sea)) == figure(np.full_like(sea, 255))).all(axis=2)
    found = Person(1)(figure(sea)) > 0.5
    assert (found & drawn).sum() / (found | drawn).sum() >= 0.85
    with open_stylizer("udnie", threads=1, look=Look(only="person")) as stylizer:
        changed = np.abs(stylizer(figure(sea)).astype(int) - figure(sea)).mean(axis=2)
    assert changed[drawn].mean() > 10 * changed[~drawn].mean()


def overlap(mask: Mask, drawn: NDArray[np.bool_]) -> float:
    """Intersection over union."""
    return float(((mask > 0.5) & drawn).sum() / ((mask > 0.5) | drawn).sum())


def small_figures(*columns: int) -> tuple[Image, NDArray[np.bool_]]:
    """A grey frame of 960x540 with a figure of a quarter of its height at each of these columns, and where they are."""
    frame = np.full((540, 960, 3), 150, np.uint8)
    small = resized(figure(np.full((180, 320, 3), 150, np.uint8)), (240, 135))
    for column in columns:
        frame[405:, column : column + 240] = small
    return frame, np.asarray((frame != 150).any(axis=2))


def test_the_view_follows_a_small_person_and_finds_who_comes_in() -> None:
    person = Person(1)
    frame, drawn = small_figures(100)
    masks = [person(frame) for _ in range(12)]
    assert overlap(masks[-1], drawn) >= 0.9
    both, both_drawn = small_figures(100, 620)
    masks = [person(both) for _ in range(16)]
    assert masks[0][:, 620:].max() == 0, "the network saw the whole frame"
    assert overlap(masks[-1], both_drawn) >= 0.8
    one_again, _ = small_figures(620)
    assert overlap([person(one_again) for _ in range(16)][-1], small_figures(620)[1]) >= 0.9


@pytest.mark.parametrize("name", ["tokenflow_woman_running", "sam2_05_default_juggle", "sam2_01_dog"])
def test_the_mask_of_a_real_clip_is_the_drawn_one_and_half_as_restless(name: str) -> None:
    clip = CLIPS / f"{name}.mp4"
    if not clip.is_file():
        pytest.skip(f"there is no {clip.name}")
    frames = read_frames(clip, max_frames=126)
    person = Person(2)
    masks = [person(frame) for frame in frames]
    drawings = sorted(DRAWN.glob(f"{name}-*.png"))
    assert len(drawings) == 3
    found = [overlap(masks[int(path.stem.split("-")[-1])], read_image(path)[..., 0] > 0) for path in drawings]
    # Over the nine drawings the mean is 0.88. Far away, the network takes a ball for a person, and misses hands.
    assert np.mean(found) >= (0.95 if "running" in name else 0.81), found
    part = slice(30, 46)
    raw = [cv2.resize(person.raw(resized(frame, SIZE)), frame.shape[1::-1]) for frame in frames[part]]
    pairs = flow_pairs(frames[part], 1)
    restless = temporal_error(grey([np.asarray(mask, np.float32) for mask in raw]), pairs, 1).value
    assert temporal_error(grey(masks[part]), pairs, 1).value <= 0.5 * restless


def test_without_onnx_runtime_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    udnie = open_stylizer("udnie", threads=1)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.delitem(sys.modules, "steadystyle.runtimes.onnx")
    with pytest.raises(InputError, match=r"pip install 'steadystyle\[person\]'"):
        with_look(udnie, Look(only="person"))
