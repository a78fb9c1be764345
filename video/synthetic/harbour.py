"""The bundled synthetic scene. Sizes, places and speeds are in units: a frame is 360 units high."""

import math
from dataclasses import dataclass

import numpy as np

from .scene import UNITS, Layer, Matrix, Motion, Plane, Scene, turned
from .texture import Sheet, clouds, colour, ramp, smooth_step

_HORIZON = 196
_SEED = 1831  # the year in which Hokusai's Great Wave was printed


@dataclass(frozen=True)
class _Camera:
    """A camera that sways, bobs and zooms, with parallax."""

    width: int
    height: int

    @property
    def unit(self) -> float:
        """Pixels per unit."""
        return self.height / UNITS

    @property
    def span(self) -> float:
        """Width of the frame in units."""
        return self.width / self.unit

    def place(self, depth: float, left: float, top: float, motion: Motion | None = None) -> Motion:
        """Texture-to-frame motion at a depth (0 = infinitely far, 1 = near); `left` and `top` at rest, in units."""
        unit = self.unit
        centre_x, centre_y = self.width / 2, _HORIZON * unit

        def matrix(time_s: float) -> Matrix:
            zoom = 1 + 0.05 * depth * (1 - math.cos(2 * math.pi * time_s / 9))
            sway = 46 * unit * depth * math.sin(2 * math.pi * time_s / 8)
            bob = 5 * unit * depth * math.sin(2 * math.pi * time_s / 3.7)
            camera = np.array(
                [[zoom, 0, centre_x * (1 - zoom) - sway], [0, zoom, centre_y * (1 - zoom) + bob], [0, 0, 1]]
            )
            shift = np.array([[1, 0, left * unit], [0, 1, top * unit], [0, 0, 1]])
            own = np.eye(3)
            if motion is not None:
                own[:2] = motion(time_s)
            return np.asarray((camera @ shift @ own)[:2])

        return matrix


def harbour(
    width: int = 640, height: int = 360, frames: int = 96, frame_rate: float = 25, noise: float = 2 / 255
) -> Scene:
    """A harbour at sunset: sky, mountains, a town, five swells, boats that rock, and gulls.

    Everything has texture at several scales. The camera sways and zooms with parallax, the swells drift and roll, the
    boats and a buoy turn, the gulls beat their wings. `noise` is the sensor's standard deviation, RGB in [0, 1].
    """
    camera = _Camera(width, height)
    rng = np.random.default_rng(_SEED)
    layers = [_sky(camera, rng), _mountains(camera, rng), _town(camera, rng)]
    for index in range(5):
        layers.append(_swell(camera, rng, index))
        if index == 1:
            layers.append(_boat(camera, rng, depth=0.36, x=0.24, y=151, size=0.42, sail="#b5472f"))
        if index == 2:
            layers.append(_boat(camera, rng, depth=0.58, x=0.46, y=97, size=1.0, sail="#f3e6c8"))
        if index == 3:
            layers.append(_buoy(camera, rng, depth=0.85, x=0.83, y=254))
    layers += [_gull(camera, *where) for where in _GULLS]
    return Scene("harbour", width, height, frames, frame_rate, layers, noise)


def _sky(camera: _Camera, rng: np.random.Generator) -> Layer:
    margin = 60
    sheet = Sheet(_HORIZON + margin + 40, camera.span + 2 * margin, camera.unit)
    y, x = sheet.grid()
    haze = sheet.noise(rng, (60, 30, 15, 8, 4), stretch=5)
    heights = (y - margin) / _HORIZON + 0.025 * haze
    tones = [(-0.3, "#27517f"), (0.15, "#4f86a8"), (0.5, "#a9c3b4"), (0.78, "#f3d79b"), (1.0, "#f0a561")]
    stops = [(position, colour(code)) for position, code in tones]
    sheet.put(np.ones_like(y), ramp(heights, stops))
    sun_x, sun_y = margin + 0.72 * camera.span, margin + 128
    distance = np.hypot(x - sun_x, y - sun_y)
    sheet.put(0.75 * np.exp(-distance / 60), colour("#ffdf9e"))
    sheet.put(0.9 * smooth_step(-distance, -34, -22), colour("#fff3cf"))
    billows = sheet.noise(rng, (44, 22, 11, 5.5, 2.8), stretch=3.2)
    mask = smooth_step(billows + 0.5 - 0.5 * np.abs(heights - 0.35), 0.35, 1.2)
    lit = 0.5 + 0.22 * sheet.noise(rng, (20, 10, 5, 2.5), stretch=2.4) + 0.3 * (billows - 1)
    cloud = ramp(lit, [(0, colour("#8c7f9c")), (0.5, colour("#e9c9b4")), (1, colour("#fff6e2"))])
    sheet.put(0.92 * mask, cloud)
    return Layer(sheet.texture(), camera.place(0.04, -margin, -margin))


def _mountains(camera: _Camera, rng: np.random.Generator) -> Layer:
    margin = 70
    sheet = Sheet(130, camera.span + 2 * margin, camera.unit)
    y, x = sheet.grid()
    centre = margin + 0.36 * camera.span
    rough = _profile(sheet, rng, (70, 30, 13, 6))
    far = 92 - 16 * rough - 6 * np.sin(x / 37)
    grain = sheet.noise(rng, (26, 12, 6, 3), stretch=0.6)
    haze = ramp(0.5 + 0.2 * grain, [(0, colour("#7d86ad")), (1, colour("#a9a5bd"))])
    sheet.put(smooth_step(y - far, -0.7, 0.7), haze)
    peak = 14 + 0.62 * np.abs(x - centre) ** 0.98 - 3 * rough
    slopes = sheet.noise(rng, (30, 14, 7, 3.5), stretch=0.5)
    light = 0.5 + 0.2 * slopes - 0.25 * np.tanh((x - centre) / 30)
    stone = ramp(light, [(0, colour("#3f4f82")), (0.5, colour("#6174a0")), (1, colour("#93a0bd"))])
    snow_line = 30 + 9 * slopes + 0.08 * np.abs(x - centre)
    snow = smooth_step(snow_line - (y - 14) + 6, -2, 2)[..., None]
    stone = stone * (1 - snow) + ramp(light, [(0, colour("#c9cbe0")), (1, colour("#fffaf0"))]) * snow
    sheet.put(smooth_step(y - peak, -0.7, 0.7), stone)
    return Layer(sheet.texture(), camera.place(0.1, -margin, _HORIZON - 104))


def _town(camera: _Camera, rng: np.random.Generator) -> Layer:
    margin = 80
    span = camera.span + 2 * margin
    sheet = Sheet(110, span, camera.unit)
    y, x = sheet.grid()
    rough = _profile(sheet, rng, (40, 18, 8, 4))
    # Two headlands, with the mountain visible between them.
    left = 34 * smooth_step(-x, -(margin + 0.30 * camera.span), -(margin - 40))
    right = 62 * smooth_step(x, margin + 0.60 * camera.span, margin + 1.02 * camera.span)
    ridge = 92 - left - right - 4 * rough * np.minimum(1, (left + right) / 12)
    trees = sheet.noise(rng, (14, 7, 3.5, 2))
    green = ramp(0.5 + 0.22 * trees, [(0, colour("#20402f")), (0.5, colour("#4c6b35")), (1, colour("#a39a4c"))])
    sheet.put(smooth_step(y - ridge, -0.8, 0.8) * smooth_step(left + right, 1, 3), green)
    walls = ["#f4ead6", "#e8c9a0", "#d98e62", "#f1ddc0", "#c9d3cf", "#e6b0a0"]
    roofs = ["#a5402c", "#8d3526", "#b9573a", "#6c4538"]
    for row, (base, scale) in enumerate(((72, 0.8), (84, 0.95), (97, 1.1))):
        at = 0.0
        while at < span - 30:
            wide, tall = scale * rng.uniform(11, 19), scale * rng.uniform(10, 17)
            column = min(x.shape[1] - 1, round((at + wide / 2) * camera.unit))
            if ridge[0, column] < base - tall - 4 - 2 * (2 - row):
                _house(sheet, rng, at, base, wide, tall, str(rng.choice(walls)), str(rng.choice(roofs)))
            at += wide * rng.uniform(1.0, 1.7)
    _lighthouse(sheet, margin + 0.90 * camera.span, 96 - 62 + 4)
    sheet.picture *= 1 + 0.05 * sheet.noise(rng, (8, 4, 2))[..., None]
    return Layer(sheet.texture(), camera.place(0.2, -margin, _HORIZON - 96))


def _house(
    sheet: Sheet, rng: np.random.Generator, x: float, base: float, wide: float, tall: float, wall: str, roof: str
) -> None:
    top = base - tall
    light = colour(wall)
    sheet.fill([(x, top), (x + wide, top), (x + wide, base + 6), (x, base + 6)], light)
    shade = (0.72 * light[0], 0.72 * light[1], 0.72 * light[2])
    sheet.fill([(x + 0.68 * wide, top), (x + wide, top), (x + wide, base + 6), (x + 0.68 * wide, base + 6)], shade)
    gable = 0.3 * wide
    corners = [(x - 1, top), (x + 0.2 * wide, top - gable), (x + 0.8 * wide, top - gable), (x + wide + 1, top)]
    sheet.fill(corners, colour(roof))
    sheet.fill([(x - 1, top), (x + wide + 1, top), (x + wide + 1, top + 1), (x - 1, top + 1)], colour("#5a2a20"))
    for window_x in np.arange(x + 2, x + wide - 3, 4.4):
        for window_y in np.arange(top + 3, base - 3, 5):
            glass = "#ffd27a" if rng.random() < 0.3 else "#3c4a5c"
            left, right = float(window_x), float(window_x) + 2
            upper, lower = float(window_y), float(window_y) + 2.7
            sheet.fill([(left, upper), (right, upper), (right, lower), (left, lower)], colour(glass))


def _lighthouse(sheet: Sheet, x: float, foot: float) -> None:
    top = foot - 34
    for stripe in range(6):
        upper, lower = foot - 34 * (stripe + 1) / 6, foot - 34 * stripe / 6
        half_low, half_up = 5.4 - 0.34 * stripe, 5.4 - 0.34 * (stripe + 1)
        paint = colour("#c2402f") if stripe % 2 else colour("#f6efe0")
        sheet.fill([(x - half_low, lower), (x - half_up, upper), (x + half_up, upper), (x + half_low, lower)], paint)
    sheet.fill([(x - 4.4, top), (x + 4.4, top), (x + 4.4, top - 1.6), (x - 4.4, top - 1.6)], colour("#3a3f4a"))
    sheet.fill([(x - 2.6, top - 1.6), (x + 2.6, top - 1.6), (x + 2.6, top - 7), (x - 2.6, top - 7)], colour("#ffe9a3"))
    sheet.fill([(x - 3.6, top - 7), (x, top - 12), (x + 3.6, top - 7)], colour("#a3362a"))


_SWELLS = (
    # depth, crest below the horizon, amplitude, wave length, drift, pace of the wave, light, middle and dark tone
    (0.28, -2, 1.6, 120, 5, 16, "#f2cf9a", "#8db3a6", "#4d8791"),
    (0.40, 18, 3.0, 170, -8, 22, "#dcd0a4", "#5f9c9c", "#2f6c84"),
    (0.55, 44, 4.5, 230, 12, 30, "#c2d6bd", "#3f8791", "#1f5877"),
    (0.74, 80, 6.5, 310, -16, 40, "#b5d8cd", "#2f7389", "#174a6d"),
    (1.00, 124, 9.0, 420, 24, 52, "#c9e6de", "#23607d", "#0f3557"),
)


def _swell(camera: _Camera, rng: np.random.Generator, index: int) -> Layer:
    depth, crest, amplitude, length, drift, pace, light, middle, dark = _SWELLS[index]
    unit = camera.unit
    # The wave must fit into the repeat a whole number of times.
    period = length * math.ceil((camera.span + 40) / length)
    sheet = Sheet(UNITS - _HORIZON - crest + 60 if index == 4 else 100, period, unit)
    y, _ = sheet.grid()
    chop = _profile(sheet, rng, (24, 11, 5), repeats=True) * (0.6 + 1.6 * depth)
    depth_below = y - 12 - chop
    stretch = 4.5 - 1.5 * depth
    fine = 0.45 + 0.55 * depth
    ripples = sheet.noise(rng, (13 * fine, 7 * fine, 3.6 * fine, 1.9), stretch=stretch, repeats=True)
    tone = np.clip(depth_below / 90, 0, 1) ** 0.6 - 0.17 * ripples
    stops = [(0.0, colour(light)), (0.28, colour(middle)), (1.0, colour(dark))]
    sheet.put(smooth_step(depth_below, -0.8, 0.8), ramp(tone, stops))
    flecks = sheet.noise(rng, (9 * fine, 4 * fine, 2), stretch=3.4, repeats=True)
    sheet.put(0.85 * smooth_step(flecks - 0.012 * depth_below, 1.45, 2.0), colour("#fbf4e4"), inside=True)
    lace = sheet.noise(rng, (7 * fine, 3.5 * fine, 2), stretch=1.8, repeats=True)
    foam = smooth_step(3.2 * fine + 2.6 * fine * lace - depth_below, -0.8, 1.4)
    sheet.put(0.95 * foam, colour("#fffaf0"), inside=True)

    def roll(columns: Plane, time_s: float) -> Plane:
        phase = (columns / unit - pace * time_s) * (2 * math.pi / length)
        return np.asarray(amplitude * unit * (np.sin(phase) + 0.25 * np.sin(2 * phase + 1)), np.float32)

    def moved(time_s: float) -> Matrix:
        return np.array([[1, 0, drift * unit * time_s], [0, 1, 0]])

    place = camera.place(depth, -20, _HORIZON + crest - 12, moved)
    return Layer(sheet.texture(repeats=True), place, roll, 1.25 * amplitude * unit, repeats=True)


def _boat(
    camera: _Camera, rng: np.random.Generator, *, depth: float, x: float, y: float, size: float, sail: str
) -> Layer:
    sheet = Sheet(170, 170, camera.unit * size)
    rows, columns = sheet.grid()
    cloth = np.array(colour(sail), np.float32)
    weave = sheet.noise(rng, (26, 12, 5, 2.5), stretch=0.7)
    folds = 1 + 0.06 * weave - 0.16 * smooth_step(columns, 84, 140) + 0.08 * np.sin(rows / 6.3)
    main = [(86, 12), (92, 40), (104, 72), (128, 108), (84, 112)]
    jib = [(79, 20), (76, 60), (66, 92), (34, 116), (77, 112)]
    sheet.fill(main, cloth * folds[..., None])
    sheet.fill(jib, 0.92 * cloth * (2 - folds)[..., None])
    stripe = np.array(colour("#b5472f" if sail != "#b5472f" else "#f3e6c8"), np.float32)
    sheet.fill([(84, 80), (108, 80), (114, 90), (84, 90)], stripe * folds[..., None], inside=True)
    sheet.fill([(80.5, 6), (83.5, 6), (84.5, 122), (79.5, 122)], colour("#5c3a21"))
    sheet.fill([(82, 112), (132, 108), (132, 110.5), (82, 115)], colour("#6e4527"))
    sheet.fill([(83, 6), (104, 10), (83, 15)], colour("#d9412e"))
    planks = 1 + 0.10 * np.sin(rows * 2.1) + 0.07 * sheet.noise(rng, (10, 5, 2.5), stretch=4)
    hull = [(22, 118), (60, 122), (104, 122), (150, 114), (138, 138), (120, 150), (52, 150), (36, 140)]
    sheet.fill(hull, np.array(colour("#8a3324"), np.float32) * planks[..., None])
    gunwale = [(22, 118), (60, 122), (104, 122), (150, 114), (148, 120), (104, 128), (60, 128), (25, 124)]
    sheet.fill(gunwale, colour("#f2e4c4"))
    sheet.fill([(40, 141), (132, 141), (120, 150), (52, 150)], colour("#2d3a4f"))
    for porthole in (58, 76, 94, 112):
        sheet.disc(porthole, 133.5, 2.6, colour("#f2d58a"))
    _wash(sheet, rng, middle=86, half=66, line=144)
    pivot = 85 * camera.unit * size, 138 * camera.unit * size
    reach = 26 * camera.unit

    def sail_about(time_s: float) -> Matrix:
        angle = math.radians(6.5) * math.sin(2 * math.pi * time_s / 3.1 + 7 * x)
        east = reach * math.sin(2 * math.pi * time_s / 13 + 3 * x)
        heave = 4 * camera.unit * size * math.sin(2 * math.pi * time_s / 2.6)
        return turned(angle, pivot, east, heave)

    return Layer(sheet.texture(), camera.place(depth, x * camera.span - 85 * size, y, sail_about))


def _buoy(camera: _Camera, rng: np.random.Generator, *, depth: float, x: float, y: float) -> Layer:
    sheet = Sheet(70, 50, camera.unit)
    _, columns = sheet.grid()
    light = 1.1 - 0.5 * smooth_step(columns, 14, 38) + 0.08 * sheet.noise(rng, (8, 4, 2))
    sheet.fill([(24, 6), (26, 6), (27, 26), (23, 26)], colour("#3a3f4a"))
    sheet.disc(25, 7, 3.2, colour("#ffe08a"))
    red, white, brown = (np.multiply.outer(light, colour(code)) for code in ("#cf3b2b", "#f6efe0", "#7d2a22"))
    sheet.fill([(17, 24), (33, 24), (40, 52), (10, 52)], red)
    sheet.fill([(14, 33), (36, 33), (38, 41), (12, 41)], white, inside=True)
    sheet.fill([(7, 50), (43, 50), (38, 62), (12, 62)], brown)
    _wash(sheet, rng, middle=25, half=24, line=58)
    pivot = 25 * camera.unit, 60 * camera.unit

    def nod(time_s: float) -> Matrix:
        angle = math.radians(15) * math.sin(2 * math.pi * time_s / 2.3)
        return turned(angle, pivot, 0, 5 * camera.unit * math.sin(2 * math.pi * time_s / 3.3))

    return Layer(sheet.texture(), camera.place(depth, x * camera.span - 25, y, nod))


def _wash(sheet: Sheet, rng: np.random.Generator, *, middle: float, half: float, line: float) -> None:
    # Foam hides where the hull enters the water.
    rows, columns = sheet.grid()
    lace = sheet.noise(rng, (6, 3, 1.8), stretch=2.2)
    taper = np.maximum(0, 1 - ((columns - middle) / half) ** 2)
    offset = np.abs(rows - line - 3) - 5 * taper - 1.3 * lace * np.sqrt(taper)
    foam = smooth_step(-offset, -0.6, 0.6) * (taper > 0)
    sheet.put(foam, ramp(0.5 + 0.3 * lace, [(0, colour("#8fc0bd")), (0.5, colour("#dcebe0")), (1, colour("#fffaf0"))]))


_GULLS = (
    # depth, x, y, size, beats a second, phase
    (0.5, 0.40, 60, 0.7, 1.1, 0.0),
    (0.6, 0.52, 38, 0.9, 0.9, 1.7),
    (0.8, 0.62, 74, 1.25, 0.8, 3.1),
)


def _gull(camera: _Camera, depth: float, x: float, y: float, size: float, beats: float, phase: float) -> Layer:
    sheet = Sheet(60, 90, camera.unit * size)
    wing, tip = colour("#dfe3ea"), colour("#39404d")
    for side in (-1, 1):
        outline = [(45, 26), (45 + 14 * side, 21), (45 + 28 * side, 23), (45 + 42 * side, 31)]
        outline += [(45 + 26 * side, 29), (45 + 12 * side, 31), (45, 33)]
        sheet.fill(outline, wing)
        sheet.fill([(45 + 31 * side, 22), (45 + 44 * side, 31), (45 + 33 * side, 32)], tip, inside=True)
    sheet.fill([(40, 24), (45, 20), (50, 24), (51, 34), (45, 44), (39, 34)], colour("#f7f5f0"))
    sheet.disc(45, 21, 4, colour("#f7f5f0"))
    sheet.fill([(43.6, 17.5), (46.4, 17.5), (45, 13)], colour("#e8a13a"))
    unit = camera.unit * size

    def flap(columns: Plane, time_s: float) -> Plane:
        beat = 0.55 * math.sin(2 * math.pi * beats * time_s + phase) - 0.1
        out = columns - 45 * unit
        return np.asarray(beat * (np.sqrt(out * out + (4 * unit) ** 2) - 4 * unit), np.float32)

    def glide(time_s: float) -> Matrix:
        east = 60 * camera.unit * math.sin(2 * math.pi * time_s / 7 + phase)
        north = 12 * camera.unit * math.sin(2 * math.pi * time_s / 4.1 + 2 * phase)
        bank = math.radians(14) * math.cos(2 * math.pi * time_s / 7 + phase)
        return turned(bank, (45 * unit, 28 * unit), east, north)

    return Layer(sheet.texture(), camera.place(depth, x * camera.span, y, glide), flap, 26 * unit)


def _profile(sheet: Sheet, rng: np.random.Generator, sizes: tuple[float, ...], *, repeats: bool = False) -> Plane:
    # (1, width) noise along x, for the height of a skyline.
    width = sheet.picture.shape[1]
    return clouds(rng, 1, width, [(1, size * sheet.unit) for size in sizes], repeats=repeats)
