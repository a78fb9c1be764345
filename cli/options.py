"""Options that several commands share, and their parsing."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from ..common.files import InputError

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Threads = Annotated[int | None, typer.Option(min=1, help="Threads of the engine; without it the engine chooses.")]
Provider = Annotated[
    str | None,
    typer.Option(help="Engine, or what it computes on: cpu, cuda, tensorrt, openvino, litert, ... (see `doctor`)."),
]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder for the report.", metavar="DIR")]
MaxFrames = Annotated[int | None, typer.Option(min=1, metavar="N", help="Read at most N frames of a video.")]
Every = Annotated[int, typer.Option(min=1, metavar="N", help="Measure every Nth frame.")]
Styles = Annotated[
    list[str] | None,
    typer.Option(
        "--style", metavar="[NAME=]IMAGE", help="Style image, of all or of one method or style; may be repeated."
    ),
]
FailIf = Annotated[
    list[str] | None,
    typer.Option(metavar="EXPRESSION", help="Exit 1 if it holds, e.g. e_temporal>1.1*old/report.json."),
]
LossNetworkFile = Annotated[
    Path | None, typer.Option("--loss-network", help="VGG-19 weights (.safetensors, or torchvision's .pth).")
]
LossNetworkFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--loss-network",
        metavar="FILE",
        help="VGG weights (.safetensors, or torchvision's .pth): VGG-19 for style and content score, VGG-16 for the "
        "stroke score; once for each.",
    ),
]


def parse_size(text: str) -> tuple[int, int] | None:
    """`640x360` as (width, height), `any` as None."""
    if text == "any":
        return None
    width, _, height = text.partition("x")
    digits = width.isdecimal() and height.isdecimal() and len(text) < 12
    if not (digits and int(width) > 0 and int(height) > 0):
        raise InputError(f"size '{text}' is not understood: give WIDTHxHEIGHT, for example 640x360, or any")
    return int(width), int(height)


def parse_sizes(text: str) -> tuple[tuple[int, int], ...]:
    """`320x180,640x360` as pairs of (width, height)."""
    sizes = [parse_size(one.strip()) for one in text.split(",")]
    if None in sizes:
        raise InputError(f"sizes '{text}' are not understood: give WIDTHxHEIGHT,WIDTHxHEIGHT, each with its numbers")
    return tuple(size for size in sizes if size is not None)


def parse_counts(text: str) -> tuple[int, ...]:
    """`1,2,4` as numbers."""
    words = text.split(",")
    if not all(word.strip().isdecimal() for word in words):
        raise InputError(f"thread counts must be numbers such as 1,2,4, but are '{text}'")
    return tuple(int(word) for word in words)


def parse_styles(options: Sequence[str]) -> dict[str, str]:
    """`IMAGE` and `NAME=IMAGE` as images by name of a method or style; "" is all others."""
    images: dict[str, str] = {}
    for option in options:
        # An existing file may have "=" in its name.
        name, equals, path = ("", "", "") if Path(option).exists() else option.partition("=")
        key, value = (name, path) if equals else ("", option)
        if key in images:
            raise InputError(
                f"there are two style images for {key or 'all methods'}: give one, or NAME=IMAGE for each method"
            )
        images[key] = value
    return images


def key_and_value(text: str) -> tuple[str, str]:
    """`KEY=VALUE` as a pair."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise InputError(f"--set {text} is not understood: write KEY=VALUE, for example --set loss.temporal=100")
    return key, value
