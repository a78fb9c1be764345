"""HLG, PQ, 10 bits and both ranges as BT.709, against ITU-R BT.2100, BT.2390 and BT.1886 written again here."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from steadystyle.tests.video.material import BT709, BT2020, FULL, HLG, LIMITED, PQ, SDR, Doubles, make_hdr
from steadystyle.video.frames import open_source, read_frames


def pq_of(nits: float) -> float:
    power = (nits / 10000) ** (2610 / 16384)
    return math.pow((3424 / 4096 + 2413 / 128 * power) / (1 + 2392 / 128 * power), 2523 / 32)


def pq_of_each(nits: Sequence[float]) -> list[float]:
    return [pq_of(value) for value in nits]


def nits_of_pq(signal: float) -> float:
    power = signal ** (32 / 2523)
    return 10000 * math.pow(max(power - 3424 / 4096, 0) / (2413 / 128 - 2392 / 128 * power), 16384 / 2610)


def hlg_of(nits: Sequence[float]) -> list[float]:
    """BT.2100's inverse OOTF for 1000 cd/m², then its OETF."""
    red, green, blue = (value / 1000 for value in nits)
    luminance = 0.2627 * red + 0.6780 * green + 0.0593 * blue
    scene = [value * luminance ** (1 / 1.2 - 1) if luminance else 0 for value in (red, green, blue)]
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return [math.sqrt(3 * e) if e <= 1 / 12 else a * math.log(12 * e - b) + c for e in scene]


def shown(nits: Sequence[float]) -> list[float]:
    """BT.709 signal in [0, 1] of light in cd/m² with BT.2020 primaries."""
    # The matrix of ITU-R BT.2407-0, 2.2.
    rows = ((1.6605, -0.5876, -0.0728), (-0.1246, 1.1329, -0.0083), (-0.0182, -0.1006, 1.1187))
    light = [max(0, sum(m * value for m, value in zip(row, nits, strict=True))) for row in rows]
    greatest = max(light)
    if greatest == 0:
        return [0, 0, 0]
    top, most = pq_of(1000), pq_of(203) / pq_of(1000)
    knee = 1.5 * most - 0.5
    e1 = min(pq_of(greatest) / top, 1)
    if e1 >= knee:
        t = (e1 - knee) / (1 - knee)
        e1 = (
            (2 * t**3 - 3 * t**2 + 1) * knee
            + (t**3 - 2 * t**2 + t) * (1 - knee)
            + (-2 * t**3 + 3 * t**2) * pq_of(203) / pq_of(1000)
        )
    scale = nits_of_pq(e1 * top) / greatest / 203
    return [min(1.0, value * scale) ** (1 / 2.4) for value in light]


PATCH = 16
BARS: list[tuple[float, ...]] = [
    (1, 1, 1),
    (1, 0, 0),
    (0, 1, 0),
    (0, 0, 1),
    (1, 1, 0),
    (1, 0, 1),
    (0, 1, 1),
    (0.9, 0.6, 0.45),
]
PATTERN: list[
    list[tuple[float, ...]]
] = [  # rows of patches of light, cd/m²: a grey ramp from 0 to 1000, and colour bars of 100, 203 and 600
    [(float(nits),) * 3 for nits in (0, 1, 5, 10, 26, 50, 94, 150)],
    [(float(nits),) * 3 for nits in (203, 250, 300, 400, 500, 650, 800, 1000)],
    *[[tuple(float(part * nits) for part in bar) for bar in BARS] for nits in (100, 203, 600)],
]


def picture_of(encode: Callable[[Sequence[float]], Sequence[float]]) -> Doubles:
    patches = np.array([[encode(nits) for nits in row] for row in PATTERN], np.float64)
    return patches.repeat(PATCH, axis=0).repeat(PATCH, axis=1)


@pytest.mark.parametrize("value_range", [LIMITED, FULL])
@pytest.mark.parametrize("transfer", [HLG, PQ])
def test_a_ramp_and_bars_come_out_as_the_standards_say(tmp_path: Path, transfer: int, value_range: int) -> None:
    signal = picture_of(hlg_of if transfer == HLG else pq_of_each)
    path = make_hdr(tmp_path / "hdr.mp4", np.minimum(signal, 1), transfer, BT2020, value_range=value_range)
    (frame,) = read_frames(path)
    centres = frame[PATCH // 2 :: PATCH, PATCH // 2 :: PATCH] / 255
    expected = np.array([[shown(nits) for nits in row] for row in PATTERN])
    in_range = signal[::PATCH, ::PATCH].max(axis=2) <= 1.001  # HLG cannot hold saturated blue of 600 cd/m²
    assert in_range.sum() >= 36
    assert np.abs(centres - expected)[in_range].max() < 0.03
    grey = centres[:2].reshape(16, 3)
    steps = np.diff(grey.mean(axis=1))
    assert (steps[:12] > 0).all() and (steps >= 0).all()  # the spline is flat near 1000 cd/m²
    assert np.ptp(grey, axis=1).max() < 0.01


@pytest.mark.parametrize("transfer", [HLG, PQ])
def test_a_phones_upright_video_looks_like_its_twin(tmp_path: Path, transfer: int) -> None:
    rows, columns = np.mgrid[0:64, 0:96]
    twin = np.stack([40 + columns, 30 + rows * 2, 170 - columns / 2 - rows], axis=2) / 255  # below the knee
    to_bt2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
    light = 203 * twin**2.4 @ to_bt2020.T
    encode = hlg_of if transfer == HLG else pq_of_each
    signal = np.array([[encode(nits) for nits in row] for row in light.tolist()])
    quarter_turn = [0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30]
    with open_source(make_hdr(tmp_path / "phone.mp4", signal, transfer, BT2020, matrix=quarter_turn)) as source:
        assert (source.info.width, source.info.height) == (64, 96)
        frame = next(iter(source)).image
    assert np.abs(frame / 255 - np.rot90(twin, -1)).mean() < 0.012  # chroma has half the size


@pytest.mark.parametrize("value_range", [LIMITED, FULL])
def test_10_bits_without_hdr_keep_their_colours(tmp_path: Path, value_range: int) -> None:
    signal = picture_of(lambda nits: [value / 1000 for value in nits])
    (frame,) = read_frames(make_hdr(tmp_path / "sdr.mp4", signal, SDR, BT709, value_range=value_range))
    centres = slice(PATCH // 2, None, PATCH)
    assert np.abs(frame[centres, centres] / 255 - signal[centres, centres]).max() < 0.016
