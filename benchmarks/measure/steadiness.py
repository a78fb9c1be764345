"""Steadiness of methods on a clip, in one pass: all rows share the source's flow.

Only the last few frames of each row are kept, so memory does not grow with the clip's length.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from ...common.arrays import Image, Size, resized
from ...common.files import InputError
from ...common.progress import Progress, no_progress
from ...video.flow import FlowPair
from ...video.temporal import SHIFTS, box_blur, drift, extended, is_cut, pair_error, shift_errors
from ..record import JUDGED, Clip, Method, Row, Style, Temporal
from .clips import ClipSource

Stylize = Callable[[Image], Image]
Judge = Callable[[Image, Mapping[str, Image]], Mapping[str, Mapping[str, float | None]]]
"""Maps a source frame and each row's frame to each row's figures, by their names in `JUDGED`."""

IDENTITY = "identity"
SHORT, LONG = 1, 5
_STYLE_EVERY = 10
_MOMENT_FRAMES = 3
_STILL_FRAMES = 25
_STILL_NOISE = 2 / 255
_NO_STYLE = "no style image for this method (--style), or the source has the style already"
_LEAST_SIDE = 16
"""Smallest frame side for a shift error, px."""


@dataclass(frozen=True)
class Moment:
    """The three consecutive frames, from index `start`, at which a method is least steady, for the pictures.

    The error of `worst` exceeds the source's most there. `frames` are (H, W, 3) uint8 RGB, of identity and the methods
    without controls; `pairs` are the two motions between them.
    """

    start: int
    worst: str
    frames: dict[str, list[Image]]
    pairs: list[FlowPair]


def controls_of(method: str) -> list[Method]:
    """The control rows made from a method's video: blur and still."""
    return [
        Method(f"{method} (blur)", "control", control="blur", of=method),
        Method(f"{method} (still)", "control", control="still", of=method),
    ]


def measure_clip(
    clip: ClipSource,
    methods: Mapping[str, Stylize],
    *,
    judge: Judge | None = None,
    absent: Mapping[str, str] = {},
    fixed_sizes: Mapping[str, Size | None] = {},
    every: int = 1,
    device: str = "local",
    progress: Progress = no_progress,
) -> tuple[Clip, Moment | None]:
    """Measure temporal error, style and shift error of methods and their controls on a clip.

    Each method is called once per frame, in order. `judge` computes the figures of `JUDGED`; `absent` has reasons for
    missing ones, and for shift error. `fixed_sizes` are the methods to measure the shift error of, with the size to
    resize the first frame to (None: as is). Only every `every`-th frame is the earlier one of a pair. Returns the
    clip's figures, and its moment for the pictures, None without three frames between cuts. ValueError if a method
    changes the frame size; InputError if the clip has no frames, or a method refuses one.
    """
    measured = _Pass(clip, methods, every)
    for source in clip:
        current = measured.take(source)
        measured.measure_pairs()
        if measured.count == 1:
            measured.measure_shifts(source, fixed_sizes)
        if judge is not None and (measured.count - 1) % _STYLE_EVERY == 0:
            measured.note_style(judge(source, current))
        progress(f"steadiness and style on {clip.name}", measured.count, clip.expected_frames)
    if measured.count == 0:
        raise InputError(f"'{clip.name}' has no frames: give another clip")
    result = Clip(
        name=clip.name,
        width=clip.size[0],
        height=clip.size[1],
        frames=measured.count,
        frame_rate=clip.frame_rate,
        flow_source=clip.flow_source,
        cuts=measured.shots[-1],
        rows=[measured.row(name, absent, device) for name in measured.tracks],
        notes=list(clip.notes),
        moment=measured.moment.start if measured.moment else None,
    )
    return result, measured.moment


@dataclass
class _Track:
    """Last frames and figures of one row."""

    last: deque[Image] = field(default_factory=lambda: deque(maxlen=LONG + 1))
    errors: dict[int, list[float]] = field(default_factory=lambda: {SHORT: [], LONG: []})
    figures: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in JUDGED})
    judged: int = 0
    shift: list[float] | None = None


class _Pass:
    """One pass over a clip: take frames and measure the pairs that they complete, then read the rows."""

    def __init__(self, clip: ClipSource, methods: Mapping[str, Stylize], every: int) -> None:
        self._clip = clip
        self._methods = methods
        self._every = every
        names = [row for name in methods for row in (name, *(control.name for control in controls_of(name)))]
        self.tracks = {row: _Track() for row in (IDENTITY, *names)}
        # Of each interval's pairs, the same for every row, the first frame and the share of valid pixels.
        self._pairs: dict[int, list[tuple[int, float]]] = {SHORT: [], LONG: []}
        self._first: dict[str, Image] = {}
        self.moment: Moment | None = None
        self._excess = -np.inf
        self.count = 0
        # Shot number of each of the last frames; a cut starts a new shot.
        self.shots: deque[int] = deque(maxlen=LONG + 1)

    def take(self, source: Image) -> dict[str, Image]:
        """Stylize the next frame; returns each row's frame."""
        current = {IDENTITY: source}
        for name, stylize in self._methods.items():
            stylized = stylize(source)
            if stylized.shape != source.shape:
                raise ValueError(f"'{name}' gave back {stylized.shape} for a frame of {source.shape}")
            blur, still = (control.name for control in controls_of(name))
            current |= {name: stylized, blur: box_blur(stylized), still: self._first.setdefault(name, stylized)}
        before = self.tracks[IDENTITY].last
        self.shots.append(self.shots[-1] + is_cut(before[-1], source) if before else 0)
        for row, frame in current.items():
            self.tracks[row].last.append(frame)
        self.count += 1
        return current

    def measure_pairs(self) -> None:
        """Measure every row on the pairs that end at the last frame."""
        sources = self.tracks[IDENTITY].last
        for interval, pairs in self._pairs.items():
            start = self.count - 1 - interval
            if start < 0 or start % self._every or self.shots[-1 - interval] != self.shots[-1]:
                continue
            pair = self._clip.pair(start, interval, sources[-1 - interval], sources[-1])
            if not pair.valid.any():
                continue
            pairs.append((start, float(pair.valid.mean())))
            for track in self.tracks.values():
                track.errors[interval].append(pair_error(track.last[-1 - interval], track.last[-1], pair))
            if interval == SHORT:
                self._consider_moment(pair)

    def _consider_moment(self, pair: FlowPair) -> None:
        """Keep the last three frames if a method's error exceeds the source's by more than ever before."""
        if self.count < _MOMENT_FRAMES or self.shots[-_MOMENT_FRAMES] != self.shots[-1]:
            return
        latest = {name: self.tracks[name].errors[SHORT][-1] for name in (IDENTITY, *self._methods)}
        worst = max(latest, key=lambda name: latest[name] if name != IDENTITY else -1.0)
        excess = latest[worst] - latest[IDENTITY]
        if excess > self._excess:
            start = self.count - _MOMENT_FRAMES
            frames = {name: list(self.tracks[name].last)[-_MOMENT_FRAMES:] for name in latest}
            before = self._clip.pair(start, SHORT, *frames[IDENTITY][:2])
            self._excess, self.moment = excess, Moment(start, worst, frames, [before, pair])

    def measure_shifts(self, source: Image, sizes: Mapping[str, Size | None]) -> None:
        """Measure shift errors on one frame, resized to each method's size (None: the clip's)."""
        for name, size in sizes.items():
            frame = resized(source, size or self._clip.size)
            height, width = frame.shape[:2]
            if min(height, width) >= _LEAST_SIDE:
                self.tracks[name].shift = shift_errors(self._methods[name], extended(frame), SHIFTS, (width, height))

    def note_style(self, scores: Mapping[str, Mapping[str, float | None]]) -> None:
        for row, figures in scores.items():
            track = self.tracks[row]
            track.judged += 1
            for name, value in figures.items():
                track.figures[name] += [] if value is None else [value]

    def row(self, name: str, known: Mapping[str, str], device: str) -> Row:
        """A row's figures; `known` has reasons for those that are missing."""
        track = self.tracks[name]
        short, long = self._temporal(track, SHORT), self._temporal(track, LONG)
        absent = {
            key: f"no two frames {interval} apart without a cut between them ({self.count} frames)"
            for key, interval, found in (("short", SHORT, short), ("long", LONG, long))
            if found is None
        }
        means = {figure: _mean(values) for figure, values in track.figures.items()}
        for figure in (figure for figure, mean in means.items() if mean is None):
            by_itself = "the frames are their own mirror image" if figure == "content" else _NO_STYLE
            absent[figure] = known.get(figure, by_itself)
        if name in self._methods and track.shift is None:
            absent["shift"] = known.get("shift", f"the frames have a side of less than {_LEAST_SIDE} px")
        style = Style(frames=track.judged, **means) if track.judged else None
        return Row(name, device, short, long, style, absent, track.shift)

    def _temporal(self, track: _Track, interval: int) -> Temporal | None:
        errors = track.errors[interval]
        if not errors:
            return None
        starts, shares = zip(*self._pairs[interval], strict=True)
        value, own = (float(np.sqrt(np.mean(e))) for e in (errors, self.tracks[IDENTITY].errors[interval]))
        return Temporal(
            interval=interval,
            value=value,
            excess=value - own,
            pairs=len(errors),
            mask_share=float(np.mean(shares)),
            flow_source=self._clip.flow_source,
            starts=list(starts),
            per_pair=errors,
        )


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None


def measure_drift(frame: Image, methods: Mapping[str, Stylize]) -> dict[str, float]:
    """Drift of identity and each method on a static clip of a frame, (H, W, 3) uint8 RGB.

    The clip is the frame 25 times with seeded Gaussian noise, standard deviation 2/255, as of a camera. Without noise a
    method without memory would have no drift.
    """
    noise = np.random.default_rng(0)
    still = [
        np.clip(np.rint(frame + noise.normal(0, 255 * _STILL_NOISE, frame.shape)), 0, 255).astype(np.uint8)
        for _ in range(_STILL_FRAMES)
    ]
    return {IDENTITY: drift(still)} | {
        name: drift([stylize(one) for one in still]) for name, stylize in methods.items()
    }
