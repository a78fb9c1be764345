"""The window of the live demo: draws frames and panel, reads keys and mouse. Only this file imports pygame."""

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import pygame

from ...common.arrays import Image, resized
from ...common.files import InputError

HELP: tuple[tuple[str, str, dict[int, str]], ...] = (
    ("1–9, LEFT, RIGHT", "style", {pygame.K_RIGHT: "next style", pygame.K_LEFT: "previous style"}),
    ("UP, DOWN", "strength", {pygame.K_UP: "stronger", pygame.K_DOWN: "weaker"}),
    ("C", "keep the colours", {pygame.K_c: "colours"}),
    ("T", "size of the strokes", {pygame.K_t: "stroke"}),
    ("O", "only the person, only the background", {pygame.K_o: "only"}),
    ("S", "split, full, side by side", {pygame.K_s: "view"}),
    ("mouse", "moves the divider", {}),
    ("R", "record, stop", {pygame.K_r: "record"}),
    ("P", "save a picture", {pygame.K_p: "picture"}),
    ("SPACE", "pause", {pygame.K_SPACE: "pause"}),
    ("M", "mirror", {pygame.K_m: "mirror"}),
    ("F", "full screen", {}),
    ("H", "this help", {pygame.K_h: "help"}),
    ("Q", "quit", {pygame.K_q: "quit", pygame.K_ESCAPE: "quit"}),
)
"""What the help shows of a key, and the commands of its key codes; digits and F are no simple commands."""
KEYS = {key: command for _, _, commands in HELP for key, command in commands.items()}
WHITE, GREY, RED, SHADE = (255, 255, 255), (190, 190, 190), (235, 64, 52), (16, 16, 20, 175)
LARGEST = (1280, 800)  # initial window in pixels; the user may enlarge it


@dataclass
class Panel:
    """Text drawn over the picture."""

    lines: Sequence[str]
    left: str  # label of the picture's left part; empty if there is only one part
    right: str  # label of the right part, or of the whole picture
    divider: float  # boundary of the parts, as a share of the picture's width
    recording_s: float | None  # length of the running recording
    message: str  # one centred sentence, or empty
    styles: Sequence[str]  # names of all models, for the help
    style: int
    help: bool


class Window:
    """A window on the local display; the caller closes it."""

    def __init__(self, title: str, picture_size: tuple[int, int]) -> None:
        """Open a window scaled for pictures of (width, height) pixels; raises InputError without a display."""
        _choose_driver()
        try:
            pygame.display.init()
            desktop = pygame.display.get_desktop_sizes()[0]
            room = [min(largest, 0.9 * own) for largest, own in zip(LARGEST, desktop, strict=True)]
            scale = min(space / side for space, side in zip(room, picture_size, strict=True))
            size = tuple(max(160, int(side * scale)) for side in picture_size)
            self._screen = pygame.display.set_mode((size[0], size[1]), pygame.RESIZABLE)
        except pygame.error as error:
            pygame.display.quit()
            raise InputError(_no_display(str(error))) from error
        pygame.font.init()
        pygame.display.set_caption(title)
        self._title = title
        self._fonts: dict[int, pygame.font.Font] = {}
        self._area = pygame.Rect(0, 0, *size)
        self._small: tuple[int, int] | None = None  # size to restore after full screen

    def commands(self) -> Iterator[tuple[str, float]]:
        """User commands since the last call, each with a value.

        "style" has its index from 0, "divider" its position, 0 to 1; the commands of `KEYS` have 0.
        """
        for event in pygame.event.get():
            if event.type == pygame.QUIT:
                yield "quit", 0
            elif event.type == pygame.KEYDOWN and event.key in KEYS:
                yield KEYS[event.key], 0
            elif event.type == pygame.KEYDOWN and pygame.K_1 <= event.key <= pygame.K_9:
                yield "style", event.key - pygame.K_1
            elif event.type == pygame.KEYDOWN and event.key == pygame.K_f:
                self._toggle_full_screen()
            elif (event.type == pygame.MOUSEBUTTONDOWN and event.button == 1) or (
                event.type == pygame.MOUSEMOTION and event.buttons[0]
            ):
                yield "divider", min(1.0, max(0.0, (event.pos[0] - self._area.left) / self._area.width))

    def draw(self, picture: Image | None, panel: Panel, state: str) -> None:
        """Draw a picture ((H, W, 3) uint8 RGB, or None) and the panel; `state` is shown in the title bar."""
        self._screen = pygame.display.get_surface() or self._screen  # replaced when the window is resized
        self._screen.fill((0, 0, 0))
        width, height = self._screen.get_size()
        if picture is not None:
            scale = min(width / picture.shape[1], height / picture.shape[0])
            size = max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))
            fitting = np.ascontiguousarray(resized(picture, size, enlarge=cv2.INTER_LINEAR))
            self._area = pygame.Rect((width - size[0]) // 2, (height - size[1]) // 2, *size)
            self._screen.blit(pygame.image.frombuffer(fitting.data, size, "RGB"), self._area)
        self._draw_panel(panel)
        pygame.display.flip()
        pygame.display.set_caption(f"{self._title}: {state}")

    def _draw_panel(self, panel: Panel) -> None:
        area = self._area
        small, large = max(13, area.height // 36), max(15, area.height // 28)
        edge = small // 2 + 2
        self._box([(line, WHITE, small) for line in panel.lines], topleft=(area.left + edge, area.top + edge))
        if panel.recording_s is not None:
            minutes, seconds = divmod(int(panel.recording_s), 60)
            recording = [(f"REC {minutes}:{seconds:02}", RED, large)]
            self._box(recording, topright=(area.right - edge, area.top + edge))
        column = area.left + round(panel.divider * area.width)
        if panel.left and column - area.left > 8 * small:
            self._box([(panel.left, WHITE, small)], bottomright=(column - edge, area.bottom - edge))
        if not panel.left or area.right - column > 8 * small:
            start = column + edge if panel.left else area.left + edge
            self._box([(panel.right, WHITE, small)], bottomleft=(start, area.bottom - edge))
        if panel.help:
            self._draw_help(panel, small)
        elif panel.message:
            self._box([(panel.message, WHITE, large)], center=area.center)
        else:
            self._box([("H: keys", GREY, small)], bottomright=(area.right - edge, area.bottom - edge))

    def _draw_help(self, panel: Panel, size: int) -> None:
        keys = [(f"{key}:  {what}", WHITE, size) for key, what, _ in HELP]
        styles = [
            (f"{number}:  {name}", WHITE if number == panel.style + 1 else GREY, size)
            for number, name in enumerate(panel.styles, 1)
        ]
        self._box([*keys, ("", WHITE, size // 2), *styles], center=self._area.center)

    def _box(self, lines: Sequence[tuple[str, tuple[int, int, int], int]], **place: tuple[int, int]) -> None:
        """Draw lines (text, colour, size in pixels) on a dark box; `place` is that of `pygame.Rect`."""
        texts = [self._font(size).render(text, True, colour) for text, colour, size in lines]
        pad = lines[0][2] // 2
        width = max(text.get_width() for text in texts) + 2 * pad
        ground = pygame.Surface((width, sum(text.get_height() for text in texts) + 2 * pad), pygame.SRCALPHA)
        pygame.draw.rect(ground, SHADE, ground.get_rect(), border_radius=pad)
        top = pad
        for text in texts:
            ground.blit(text, (pad, top))
            top += text.get_height()
        self._screen.blit(ground, ground.get_rect(**place).clamp(self._screen.get_rect()))

    def _font(self, size: int) -> pygame.font.Font:
        if size not in self._fonts:
            self._fonts[size] = pygame.font.Font(None, round(size * 1.35))
        return self._fonts[size]

    def _toggle_full_screen(self) -> None:
        if self._small is None:
            self._small = self._screen.get_size()
            self._screen = pygame.display.set_mode((0, 0), pygame.FULLSCREEN)
        else:
            self._screen = pygame.display.set_mode(self._small, pygame.RESIZABLE)
            self._small = None

    def close(self) -> None:
        """Close the window."""
        pygame.font.quit()
        pygame.display.quit()


def _choose_driver() -> None:
    """Select SDL's driver on Linux, whose default may be invisible; raises InputError without a display."""
    if sys.platform != "linux" or "SDL_VIDEODRIVER" in os.environ:
        return
    if "DISPLAY" not in os.environ and "WAYLAND_DISPLAY" not in os.environ:
        raise InputError(_no_display("neither DISPLAY nor WAYLAND_DISPLAY is set"))
    os.environ["SDL_VIDEODRIVER"] = "x11" if "DISPLAY" in os.environ else "wayland"


def _no_display(reason: str) -> str:
    return f"no window can be opened ({reason}): run it on a desktop, or over `ssh -X`"
