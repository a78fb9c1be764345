"""What the demos are asked for: one frozen record each. The command line imports this file: no numpy, no OpenCV."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated

from ..common.asked import Asked
from ..runtimes.look import PLAIN, Look
from ..runtimes.registry import DEFAULT_MODEL

MODEL = Asked("A name from `steadystyle models`, or a file (.onnx, .tflite, .safetensors).", short="m")

FIRST_DEVICE = "auto"
"""The first virtual camera of this machine."""

Height = Annotated[int, Asked("Scale taller sources down to this height, in pixels.", least=16)]


@dataclass(frozen=True, kw_only=True)
class FileRequest:
    """What `demo file` stylizes; the bundled scene is painted `height` pixels high."""

    source: Annotated[
        str | None, Asked("Video, image folder or camera. Default: the bundled scene.", None, "SOURCE")
    ] = None
    output: Annotated[Path, Asked("Folder for the videos and pictures.", short="o")] = Path("steadystyle-demo")
    model: Annotated[str, MODEL] = DEFAULT_MODEL
    frames: Annotated[int, Asked("Maximum number of frames.", least=1)] = 96
    height: Height = 360
    look: Look = PLAIN


@dataclass(frozen=True, kw_only=True)
class CameraRequest:
    """What `demo camera` shows; a file is played at its own pace, and `output` is created when first needed."""

    source: Annotated[str, Asked("Camera (0, 1, ..., /dev/video0) or video file.", None, "SOURCE")] = "0"
    models: Annotated[
        tuple[str, ...],
        Asked(
            "Bundled name or file to start with; repeatable. The other bundled models follow. "
            f"Default: {DEFAULT_MODEL}.",
            "model",
            short="m",
        ),
    ] = ()
    output: Annotated[Path, Asked("Folder for recordings and pictures.", short="o")] = Path("steadystyle-camera")
    height: Height = 360
    loop: Annotated[bool, Asked("Repeat a file endlessly, like a camera.")] = False
    virtual: Annotated[
        str | None,
        Asked("Be a camera for calls, too: a device of v4l2loopback, the first by default.", metavar="[/dev/videoN]"),
    ] = None
    seconds: Annotated[float | None, Asked("Quit after so many seconds.", least=0.1)] = None
    frames: Annotated[int | None, Asked("Quit after N frames.", metavar="N", least=1)] = None
    look: Look = PLAIN


@dataclass(frozen=True, kw_only=True)
class JetsonRequest:
    """What `demo jetson` connects; `size` is width and height in pixels, `sink` without a value depends on the rest."""

    source: Annotated[
        str | None,
        Asked(
            "csi:0, usb:/dev/video0, file:PATH, rtsp://..., test or live-test. Default: the board's camera, or test.",
            short="s",
        ),
    ] = None
    sink: Annotated[str | None, Asked("display, file:PATH.mp4, rtp:HOST:PORT or null. Default: display.")] = None
    model: Annotated[str, MODEL] = DEFAULT_MODEL
    board: Annotated[str | None, Asked("jetson, orin-nano, software, or one of --config. Default: this machine's.")] = (
        None
    )
    headless: Annotated[bool, Asked("Use no display: --sink defaults to null.")] = False
    size: Annotated[tuple[int, int] | None, Asked("Frame size, WIDTHxHEIGHT. Default: the file's, or 640x360.")] = None
    fps: Annotated[Fraction | None, Asked("Frames per second. Default: the file's, or 30.", least=1, most=1000)] = None
    frames: Annotated[int | None, Asked("Stop after N source frames.", metavar="N", least=1)] = None
    source_elements: Annotated[
        str | None, Asked("Your own source in gst-launch-1.0 syntax, in place of the board's.")
    ] = None
    live: Annotated[bool, Asked("--source-elements is a camera: drop frames rather than fall behind.")] = False
    sink_elements: Annotated[str | None, Asked("Your own sink for raw RGB frames, in place of the board's.")] = None
    config: Annotated[Path | None, Asked("TOML file of profiles, merged over the bundled ones.", metavar="FILE")] = None
    restarts: Annotated[int, Asked("Give up after N consecutive failed restarts.", metavar="N", least=1)] = 20
    engine_cache: Annotated[Path, Asked("Folder for the engines that TensorRT builds.")] = Path("steadystyle-engines")
    look: Look = PLAIN
