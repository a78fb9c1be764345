"""Known answers: clips whose motion is known to the pixel, methods whose error can be worked out by hand."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import count, pairwise

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from steadystyle.benchmarks.measure.steadiness import IDENTITY, Moment, Stylize, measure_clip, measure_drift
from steadystyle.benchmarks.record import Clip, Row
from steadystyle.common.files import InputError
from steadystyle.video.flow import FlowPair
from steadystyle.video.temporal import FlowSource, temporal_error

Frame = NDArray[np.uint8]


class GivenClip:
    """Frames whose content moves to the right by whole pixels, with that motion as exact flow."""

    flow_source: FlowSource = "ground truth"

    def __init__(self, frames: Sequence[Frame], pixels_a_frame: int = 0) -> None:
        self.frames = list(frames)
        self.name = "given"
        self.size = (frames[0].shape[1], frames[0].shape[0]) if frames else (8, 8)
        self.frame_rate: float | None = 25.0
        self.expected_frames: int | None = len(frames)
        self.notes: list[str] = []
        self._motion = pixels_a_frame

    def __iter__(self) -> Iterator[Frame]:
        return iter(self.frames)

    def pair(self, t: int, interval: int, earlier: Frame, later: Frame) -> FlowPair:
        assert earlier is self.frames[t]
        assert later is self.frames[t + interval]
        width, height = self.size
        flow = np.zeros((height, width, 2), np.float32)
        flow[..., 0] = -self._motion * interval
        valid = np.broadcast_to(np.arange(width) >= self._motion * interval, (height, width))
        return FlowPair(flow, valid.copy())


def texture(width: int, height: int, seed: int = 0) -> Frame:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def moving(width: int, height: int, frames: int) -> list[Frame]:
    # Smooth, because noise that moves by a pixel shares nothing with the frame before, as after a cut.
    wide = cv2.GaussianBlur(texture(width + frames, height), (0, 0), 2).astype(np.uint8)
    return [wide[:, frames - t : frames - t + width].copy() for t in range(frames)]


def gray(levels: Sequence[int]) -> list[Frame]:
    return [np.full((8, 10, 3), level, np.uint8) for level in levels]


def rows_of(clip: Clip) -> dict[str, Row]:
    return {row.method: row for row in clip.rows}


def values(row: Row) -> tuple[float, float]:
    assert row.short is not None and row.long is not None
    return row.short.value, row.long.value


def flickering(amplitude: int) -> Stylize:
    """Lightens every other frame by `amplitude`."""
    numbers = count()
    return lambda frame: frame // 2 + np.uint8(amplitude * (next(numbers) % 2))


def test_identity_is_worked_out_by_hand() -> None:
    levels = [100, 104, 104, 108, 100, 104, 112]
    clip, _ = measure_clip(GivenClip(gray(levels)), {})
    steps = [(b - a) / 255 for a, b in pairwise(levels)]
    far = [(b - a) / 255 for a, b in zip(levels, levels[5:], strict=False)]
    short, long = values(rows_of(clip)[IDENTITY])
    assert short == pytest.approx(np.sqrt(np.mean(np.square(steps))), rel=1e-6)
    assert long == pytest.approx(np.sqrt(np.mean(np.square(far))), rel=1e-6)


def test_flicker_of_an_amplitude_has_just_that_error() -> None:
    clip, _ = measure_clip(GivenClip(gray([90] * 8)), {"flickers": flickering(51)})
    row = rows_of(clip)["flickers"]
    assert values(row) == pytest.approx((0.2, 0.2))  # 51 / 255, at interval 1 and at the odd interval 5
    assert row.short is not None and row.short.excess == pytest.approx(0.2)


def test_content_that_moves_with_the_flow_has_no_error_and_a_still_picture_has() -> None:
    source = GivenClip(moving(64, 36, 9), pixels_a_frame=1)
    clip, _ = measure_clip(source, {"copies": lambda frame: frame.copy()})
    rows = rows_of(clip)
    assert values(rows[IDENTITY]) == (0, 0)
    assert values(rows["copies"]) == (0, 0)
    still = rows["copies (still)"].short
    assert still is not None
    first = source.frames[0].astype(np.float64) / 255
    assert still.value == pytest.approx(np.sqrt(np.mean((first[:, 1:] - first[:, :-1]) ** 2)), rel=1e-5)
    assert still.value > 0.01
    assert still.mask_share == pytest.approx(63 / 64)


def test_flow_of_the_wrong_direction_makes_an_error() -> None:
    clip, _ = measure_clip(GivenClip(moving(64, 36, 9), pixels_a_frame=-1), {})
    assert values(rows_of(clip)[IDENTITY])[0] > 0.01


def test_blur_lowers_the_error_of_noise_below_the_methods_own() -> None:
    noise = [texture(20, 20, seed) for seed in range(8)]
    given = iter(noise)
    clip, _ = measure_clip(GivenClip([np.full((20, 20, 3), 90, np.uint8)] * 8), {"noisy": lambda frame: next(given)})
    rows = rows_of(clip)
    noisy, blurred, still = (values(rows[name])[0] for name in ("noisy", "noisy (blur)", "noisy (still)"))
    # A 5x5 box leaves a fifth of independent noise.
    assert blurred == pytest.approx(noisy / 5, rel=0.15)
    assert still == 0


def test_the_pass_agrees_with_the_figure_of_whole_clips() -> None:
    source = GivenClip(moving(64, 36, 9), pixels_a_frame=1)
    stylize = flickering(30)
    stylized = [stylize(frame) for frame in source.frames]
    given = iter(stylized)
    clip, _ = measure_clip(source, {"flickers": lambda frame: next(given)})
    for interval, found in ((1, rows_of(clip)["flickers"].short), (5, rows_of(clip)["flickers"].long)):
        pairs = {
            t: source.pair(t, interval, source.frames[t], source.frames[t + interval]) for t in range(9 - interval)
        }
        whole = temporal_error(stylized, pairs, interval, "ground truth")
        assert found is not None
        assert found.value == pytest.approx(whole.value)
        assert found.pairs == whole.pairs
        assert found.mask_share == pytest.approx(whole.mask_share)
        assert found.per_pair == pytest.approx(whole.per_pair)


def test_no_pair_lies_across_a_cut() -> None:
    # Left half light, then right half light: another layout and other colours.
    one, other = np.zeros((36, 64, 3), np.uint8), np.zeros((36, 64, 3), np.uint8)
    one[:, :32], other[:, 32:] = (250, 200, 40), (10, 90, 240)
    clip, moment = measure_clip(GivenClip([one] * 7 + [other] * 4), {})
    row = rows_of(clip)[IDENTITY]
    assert clip.cuts == 1
    assert row.short is not None and row.long is not None
    assert row.short.starts == [0, 1, 2, 3, 4, 5, 7, 8, 9]
    assert row.long.starts == [0, 1]
    assert values(row) == (0, 0)
    assert moment is not None and moment.start not in (5, 6)


def test_every_takes_fewer_pairs() -> None:
    clip, _ = measure_clip(GivenClip(gray([90] * 9)), {}, every=3)
    row = rows_of(clip)[IDENTITY]
    assert row.short is not None and row.short.starts == [0, 3, 6]
    assert row.long is not None and row.long.starts == [0, 3]


def test_a_clip_too_short_for_a_figure_says_so() -> None:
    clip, moment = measure_clip(GivenClip(gray([90, 90])), {"copies": lambda frame: frame})
    for row in clip.rows:
        assert row.short is not None
        assert row.long is None
        assert "5 apart" in row.absent["long"] and "2 frames" in row.absent["long"]
    assert moment is None and clip.moment is None


def test_a_clip_without_frames_is_refused() -> None:
    with pytest.raises(InputError, match="no frames"):
        measure_clip(GivenClip([]), {})


def test_a_method_that_changes_the_size_is_an_error() -> None:
    with pytest.raises(ValueError, match="gave back"):
        measure_clip(GivenClip(gray([90, 90])), {"crops": lambda frame: frame[:4]})


def test_the_moment_is_where_a_method_is_worse_than_the_source() -> None:
    numbers = count()

    def slips_once(frame: Frame) -> Frame:
        return frame + np.uint8(60 if next(numbers) == 6 else 0)

    # The source itself jumps more, at frame 3: that is not the method's doing.
    source = GivenClip(gray([40, 40, 40, 140, 140, 140, 140, 140, 140]))
    clip, moment = measure_clip(source, {"steady": lambda frame: frame, "slips": slips_once})
    assert isinstance(moment, Moment)
    assert (moment.worst, moment.start) == ("slips", 4)  # frames 4, 5, 6: the change to 6 is the first bad one
    assert clip.moment == 4
    assert list(moment.frames) == [IDENTITY, "steady", "slips"]
    assert [int(frame[0, 0, 0]) for frame in moment.frames["slips"]] == [140, 140, 200]
    assert len(moment.pairs) == 2


def test_style_is_asked_for_on_every_tenth_frame_and_averaged() -> None:
    asked: list[Frame] = []

    def judge(source: Frame, frames: Mapping[str, Frame]) -> dict[str, dict[str, float | None]]:
        asked.append(source)
        assert list(frames) == [IDENTITY, "copies", "copies (blur)", "copies (still)"]
        scores = {row: None if row == IDENTITY else 0.1 * len(asked) for row in frames}
        return {row: {"score": score, "content": 0.5, "stroke": None, "colour": score} for row, score in scores.items()}

    source = GivenClip(gray(range(60, 81)))
    absent = {"stroke": "VGG-16's weights are needed", "shift": "nothing moves"}
    clip, _ = measure_clip(source, {"copies": lambda frame: frame}, judge=judge, absent=absent)
    assert [int(frame[0, 0, 0]) for frame in asked] == [60, 70, 80]
    style = rows_of(clip)["copies"].style
    assert style is not None
    assert style.score == pytest.approx(0.2)
    assert (style.content, style.frames) == (0.5, 3)
    assert style.stroke is None and style.colour == pytest.approx(0.2)
    assert rows_of(clip)["copies"].absent["stroke"] == "VGG-16's weights are needed"
    assert rows_of(clip)["copies"].absent["shift"] == "nothing moves"
    identity = rows_of(clip)[IDENTITY]
    assert identity.style is not None and identity.style.score is None
    assert "--style" in identity.absent["score"]


def test_the_shift_error_is_that_of_the_first_frame_at_the_size_that_is_needed() -> None:
    sizes: list[tuple[int, int]] = []

    def repeats(frame: Frame) -> Frame:
        sizes.append(frame.shape[:2])
        return np.repeat(frame[:, ::4], 4, 1)[:, : frame.shape[1]]

    ramp = np.broadcast_to(np.arange(120, dtype=np.uint8)[None, :, None], (80, 120, 3))
    source = GivenClip([ramp.copy(), np.zeros_like(ramp)])
    methods = {"inverts": lambda frame: 255 - frame, "repeats": repeats, "not asked": lambda frame: frame}
    clip, _ = measure_clip(source, methods, fixed_sizes={"inverts": None, "repeats": (60, 40)})
    rows = rows_of(clip)
    assert rows["inverts"].shift == [0, 0, 0, 0]
    assert sizes == [(80, 120), *[(40, 60)] * 5, (80, 120)]
    # Twice the slope at half the size: the roots of 3, 4, 3 and 0, twice (see tests/video/test_temporal.py).
    wanted = 2 * np.sqrt([3, 4, 3, 0]) / 255
    assert rows["repeats"].shift == pytest.approx(wanted, rel=0.05)
    assert rows[IDENTITY].shift is None and rows["repeats (blur)"].shift is None
    tiny, _ = measure_clip(GivenClip(gray([90, 90])), methods, fixed_sizes=dict.fromkeys(methods))
    assert rows_of(tiny)["inverts"].shift is None and "less than 16 px" in rows_of(tiny)["inverts"].absent["shift"]


def test_drift_is_that_of_a_method_that_darkens_with_time() -> None:
    numbers = count()

    def darkens(frame: Frame) -> Frame:
        return frame - np.uint8(next(numbers))

    found = measure_drift(np.full((40, 60, 3), 120, np.uint8), {"copies": lambda frame: frame, "darkens": darkens})
    assert found["darkens"] == pytest.approx(np.mean(range(1, 25)) / 255, rel=0.02)
    # The camera's noise averages out over the frame: 2/255 over the root of 2400 pixels, twice.
    assert 0 < found[IDENTITY] < 0.001
    assert found["copies"] == found[IDENTITY]
