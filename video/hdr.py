"""High dynamic range to BT.709: hybrid log-gamma (HLG) and perceptual quantizer (PQ) as ITU-R BT.2100 defines them.

The signal becomes light in cd/m², BT.2020 primaries become BT.709 ones, and what is bright is compressed. All of it is
computed once at 33³ points, between which FFmpeg's `lut3d` interpolates for each frame.
"""

import tempfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av.filter
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

PEAK_NITS = 1000.0
"""The brightest light that is told apart, cd/m²: the peak of BT.2100's reference display for HLG."""

WHITE_NITS = 203.0
"""Diffuse white, cd/m², which BT.709 shows at its peak (ITU-R BT.2408-7, table 1)."""

_POINTS = 33
_FULL_RANGE = 2  # FFmpeg's number

_LUMA = np.array([0.2627, 0.6780, 0.0593])  # BT.2100, table 5: weights of R, G and B in luminance
# ITU-R BT.2087-0, the inverse of its matrix M2: BT.2020 primaries to BT.709 primaries, linear light.
_TO_BT709 = np.linalg.inv(
    [[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]],
)
_M1, _M2 = 2610 / 16384, 2523 / 4096 * 128
_C1, _C2, _C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32


def pq_light(signal: Doubles) -> Doubles:
    """Light in cd/m², 0 to 10000, of a PQ signal in [0, 1]: the EOTF of BT.2100, table 4."""
    power = signal ** (1 / _M2)
    return np.asarray(10000 * (np.maximum(power - _C1, 0) / (_C2 - _C3 * power)) ** (1 / _M1))


def _pq_signal(light: Doubles) -> Doubles:
    power = (light / 10000) ** _M1
    return np.asarray(((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2)


def hlg_light(signal: Doubles) -> Doubles:
    """Light in cd/m², 0 to 1000, of an HLG signal (..., 3) in [0, 1], RGB.

    The inverse OETF and the OOTF of a display of 1000 cd/m², gamma 1.2 (BT.2100, table 5).
    """
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    return np.asarray(PEAK_NITS * scene * ((scene @ _LUMA) ** 0.2)[..., None])


TRANSFERS: dict[int, Callable[[Doubles], Doubles]] = {16: pq_light, 18: hlg_light}
"""FFmpeg's number of a transfer function (`color_trc`, as in ITU-T H.273) -> light of a signal."""


def compressed(light: Doubles) -> Doubles:
    """Light of a display of 1000 cd/m² brought to one of 203 cd/m², both in cd/m².

    The EETF of ITU-R BT.2390-11, 5.4.1: a Hermite spline on the PQ signal, which leaves light under 94 cd/m² as it is.
    """
    peak = _pq_signal(np.array(PEAK_NITS))
    most = _pq_signal(np.array(WHITE_NITS)) / peak
    knee = 1.5 * most - 0.5
    signal = np.minimum(_pq_signal(light) / peak, 1)
    t = (signal - knee) / (1 - knee)
    spline = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (3 * t**2 - 2 * t**3) * most
    return pq_light(np.where(signal < knee, signal, spline) * peak)


def to_bt709(light: Doubles) -> Doubles:
    """The BT.709 signal (..., 3) in [0, 1] of light (..., 3) in cd/m² with BT.2020 primaries, both RGB.

    The greatest channel is compressed and the others with it, so that hues stay. The signal is light to the power of
    1 / 2.4, since light of a display goes to a display (ITU-R BT.1886 with black at 0).
    """
    light = np.maximum(light @ _TO_BT709.T, 0)
    greatest = np.maximum(light.max(axis=-1, keepdims=True), 1e-6)
    return np.asarray(np.clip(light * (compressed(greatest) / greatest) / WHITE_NITS, 0, 1) ** (1 / 2.4))


def cube(transfer: int) -> str:
    """The conversion of one of `TRANSFERS` as the text of a .cube file (Adobe Cube LUT 1.0): red changes fastest."""
    steps = np.linspace(0, 1, _POINTS)
    blue, green, red = np.meshgrid(steps, steps, steps, indexing="ij")
    signal = to_bt709(TRANSFERS[transfer](np.stack([red, green, blue], axis=-1))).reshape(-1, 3)
    return f"LUT_3D_SIZE {_POINTS}\n" + "".join(f"{r:.6f} {g:.6f} {b:.6f}\n" for r, g, b in signal)


class ToneMapper:
    """Converts the frames of a stream in HLG or PQ to 8-bit RGB with BT.709 colours."""

    def __init__(self) -> None:
        self._kind: tuple[object, ...] = ()
        self._graph = av.filter.Graph()

    def __call__(self, frame: VideoFrame) -> VideoFrame:
        """`frame`, whose `color_trc` is in `TRANSFERS`, as rgb24 of the same size, without time stamps."""
        full = frame.format.is_rgb or frame.color_range == _FULL_RANGE
        kind = (frame.format.name, frame.width, frame.height, frame.color_trc, full)
        if kind != self._kind:  # a stream may change on the way
            self._kind, self._graph = kind, _graph(frame, "pc" if full else "tv")
        self._graph.push(frame)
        mapped = self._graph.pull()
        assert isinstance(mapped, VideoFrame)
        return mapped


def _graph(frame: VideoFrame, in_range: str) -> av.filter.Graph:
    graph = av.filter.Graph()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "hdr.cube")
        path.write_text(cube(frame.color_trc), encoding="ascii")
        nodes = [
            graph.add_buffer(
                width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, av.time_base)
            ),
            graph.add("scale", in_color_matrix="bt2020", in_range=in_range, out_range="pc", flags="accurate_rnd"),
            graph.add("format", "gbrp10le"),
            graph.add("lut3d", file=str(path), interp="tetrahedral"),
            graph.add("format", "rgb24"),
            graph.add("buffersink"),
        ]
        graph.link_nodes(*nodes).configure()  # which reads the cube
    return graph
