"""The look: known answers of strength, colours and stroke, around a bundled network and around painters of patterns."""

import dataclasses
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

import steadystyle
from steadystyle.common.arrays import Image
from steadystyle.common.files import InputError
from steadystyle.runtimes.look import Look
from steadystyle.runtimes.look.painted import in_colors_of, painted, with_look
from steadystyle.runtimes.registry import open_stylizer
from steadystyle.runtimes.stylizer import Stylizer
from steadystyle.tests.runtimes.material import METADATA
from steadystyle.video.synthetic.harbour import harbour
from steadystyle.video.temporal import temporal_error

LUMA = np.array([0.2126, 0.7152, 0.0722])  # ITU-R BT.709


class Painter(Stylizer):
    """Paints by a function."""

    def __init__(self, paint: Callable[[Image], Image], width: int | None = None) -> None:
        self.metadata = dataclasses.replace(METADATA, width=width, height=width)
        self.engine, self.paint, self.closed = "numpy", paint, False

    def _stylize(self, frame: Image) -> Image:
        return self.paint(frame)

    def close(self) -> None:
        self.closed = True


def grating(period: int) -> Callable[[Image], Image]:
    """Paints upright stripes of this period in pixels over whatever it sees."""

    def paint(frame: Image) -> Image:
        wave = 127.5 + 100 * np.sin(2 * np.pi * np.arange(frame.shape[1]) / period)
        return np.broadcast_to(np.rint(wave).astype(np.uint8)[None, :, None], frame.shape).copy()

    return paint


def noise(seed: int, shape: tuple[int, ...] = (48, 64, 3)) -> Image:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def chroma(image: Image) -> NDArray[np.float64]:
    """Cb and Cr of BT.709, (..., 2), in levels of 255."""
    coded = image.astype(np.float64)
    luma = coded @ LUMA
    return np.stack([(coded[..., 2] - luma) / 1.8556, (coded[..., 0] - luma) / 1.5748], axis=-1)


@pytest.fixture(scope="module")
def udnie() -> Stylizer:
    return open_stylizer("udnie", threads=1)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"strength": 1.2}, "strength of 1.2"),
        ({"strength": -0.1}, "strength of -0.1"),
        ({"strength": float("nan")}, "strength of nan"),
        ({"stroke": 0}, "stroke of 0"),
        ({"stroke": 3.5}, "stroke of 3.5"),
        ({"only": "dog"}, "person or background"),
    ],
)
def test_a_look_that_cannot_be_is_refused_in_a_sentence(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Look(**wrong)


def test_the_plain_look_is_the_stylizer_itself() -> None:
    stylizer = Painter(grating(8))
    assert with_look(stylizer, Look()) is stylizer


def test_strength_0_is_the_source_and_strength_1_the_networks_output_to_the_byte(udnie: Stylizer) -> None:
    frame = harbour(96, 54, 1).frame(0)
    nothing = with_look(udnie, Look(strength=0))(frame)
    assert np.array_equal(nothing, frame)
    assert not np.shares_memory(nothing, frame)
    assert np.array_equal(steadystyle.load("udnie", look=Look(strength=1))(frame), udnie(frame))


@pytest.mark.parametrize("strength", [0.25, 0.5, 0.9])
def test_strength_blends_with_the_source(strength: float) -> None:
    frame, painting = noise(0), noise(1)
    blended = with_look(Painter(lambda _: painting.copy()), Look(strength=strength))(frame)
    exact = strength * painting.astype(np.float64) + (1 - strength) * frame
    assert np.abs(blended - exact).max() <= 0.51


@pytest.mark.parametrize("strength", [0.3, 0.7])
def test_a_blend_flickers_at_most_as_the_blend_of_both(udnie: Stylizer, strength: float) -> None:
    scene = harbour(160, 90, 4)
    frames = [scene.frame(t) for t in range(4)]
    pairs = {t: scene.pair(t, 1) for t in range(3)}

    def error(look: Look) -> float:
        stylizer = with_look(udnie, look)
        return temporal_error([stylizer(frame) for frame in frames], pairs, 1).value

    rounding = 2**0.5 / 12**0.5 / 255
    most = strength * error(Look()) + (1 - strength) * error(Look(strength=0))
    assert error(Look(strength=strength)) <= most + rounding


def test_kept_colours_are_the_sources_chroma_and_the_paintings_luma() -> None:
    frame, painting = noise(2), noise(3)
    kept = in_colors_of(frame, painting)
    assert np.abs(chroma(kept) - chroma(frame)).max() < 1e-9
    inside = (kept.min(axis=2) > 0) & (kept.max(axis=2) < 255)
    assert inside.mean() > 0.5
    assert np.abs((kept @ LUMA) - (painting @ LUMA))[inside].max() <= 1.5, "two roundings of a luma, and one of the sum"
    grey = np.full_like(frame, 77)
    assert np.abs((in_colors_of(grey, painting) @ LUMA) - (painting @ LUMA)).max() <= 1.5, "grey has room for any luma"


def test_kept_colours_leave_a_chart_in_its_order(udnie: Stylizer) -> None:
    hues = np.arange(0, 180, 15, dtype=np.uint8)
    chart = cv2.cvtColor(np.stack([hues, np.full_like(hues, 160), np.full_like(hues, 190)], 1)[None], cv2.COLOR_HSV2RGB)
    frame = np.asarray(np.repeat(np.repeat(chart, 60, 0), 16, 1), np.uint8)
    kept = with_look(udnie, Look(keep_colors=True))(frame)
    fields = kept.reshape(60, len(hues), 16, 3).mean(axis=(0, 2))
    found = cv2.cvtColor(fields[None].astype(np.float32) / 255, cv2.COLOR_RGB2HSV)[0, :, 0]
    assert np.abs(chroma(kept).mean(axis=(0, 1)) - chroma(frame).mean(axis=(0, 1))).max() <= 2
    assert np.all(np.diff(found) > 0), found
    lost = cv2.cvtColor(udnie(frame).astype(np.float32) / 255, cv2.COLOR_RGB2HSV)[30, 8::16, 0]
    assert not np.all(np.diff(lost) > 0), "the painting alone keeps the order too: the chart shows nothing"


@pytest.mark.parametrize(("stroke", "period"), [(0.5, 8), (1.5, 12), (2, 16), (3, 24)])
def test_the_stroke_scales_the_wavelength(stroke: float, period: int) -> None:
    frame = noise(4, (24, 192, 3))
    row = with_look(Painter(grating(8 if stroke > 1 else 16)), Look(stroke=stroke))(frame)[12, :, 0].astype(np.float64)
    spectrum = np.abs(np.fft.rfft(row - row.mean())) ** 2
    peak = 192 // period
    assert int(spectrum.argmax()) == peak
    assert spectrum[peak - 1 : peak + 2].sum() > 0.9 * spectrum.sum()


def test_a_networks_energy_moves_to_twice_the_wavelength(udnie: Stylizer) -> None:
    frame = np.asarray(cv2.resize(noise(5, (192, 192, 3)), (384, 384)), np.uint8)

    def mean_wavelength(stroke: float) -> float:
        luma = with_look(udnie, Look(stroke=stroke))(frame) @ LUMA
        energy = np.abs(np.fft.fft2(luma - luma.mean())) ** 2
        y, x = np.meshgrid(np.fft.fftfreq(384), np.fft.fftfreq(384), indexing="ij")
        return float(energy.sum() / (energy * np.hypot(x, y)).sum())

    assert mean_wavelength(2) / mean_wavelength(1) == pytest.approx(2, rel=0.25)


@pytest.mark.parametrize("stroke", [0.5, 2, 2.7])
@pytest.mark.parametrize("size", [(1, 1), (7, 31), (64, 48)])
def test_any_frame_keeps_its_size(stroke: float, size: tuple[int, int]) -> None:
    seen: list[tuple[int, ...]] = []

    def paint(frame: Image) -> Image:
        seen.append(frame.shape)
        return frame.copy()

    frame = noise(6, (size[1], size[0], 3))
    look = Look(stroke=stroke, keep_colors=True, strength=0.5)
    assert with_look(Painter(paint), look)(frame).shape == frame.shape
    assert seen == [(*look.network_size(*size)[::-1], 3)]


def test_another_stroke_of_an_artifact_of_one_size_is_refused() -> None:
    with pytest.raises(InputError, match="--stroke 2"):
        with_look(Painter(grating(8), width=64), Look(stroke=2))
    assert with_look(Painter(grating(8), width=64), Look(strength=0.5))(noise(7)).shape == (48, 64, 3)


def test_what_is_no_frame_is_refused_and_closing_reaches_the_stylizer() -> None:
    inner = Painter(grating(8))
    with with_look(inner, Look(strength=0.5)) as stylizer:
        with pytest.raises(ValueError, match="uint8"):
            stylizer(np.zeros((4, 4), np.uint8))
        assert stylizer.metadata is inner.metadata
        assert stylizer.note(5, 5) == ""
    assert inner.closed


def test_nothing_is_painted_at_strength_0() -> None:
    def paint(frame: Image) -> Image:
        raise AssertionError("the network ran")

    assert np.array_equal(painted(noise(8), Look(strength=0), paint), noise(8))
