"""What may be opened: local files in known containers, and frames of so many pixels."""

import math
import os
import re
from pathlib import Path

import av
from av.container import InputContainer

from ..common.files import InputError

MAX_MEGAPIXELS = "STEADYSTYLE_MAX_MEGAPIXELS"
"""Environment variable: how many megapixels, of 1024 x 1024, a frame may have; 64 without it, which is 8192 x 8192."""

# FFmpeg's names of those that phones, cameras and the web use, all of one file. Playlists (hls, dash, concat, sdp) are
# not among them: they make FFmpeg open other files and addresses.
_CONTAINERS = (
    *("mov", "matroska", "avi", "mpegts", "mpeg", "mpegvideo", "ogg", "flv", "asf", "gif", "apng", "h264", "hevc"),
    *("av1", "obu", "m4v", "mjpeg", "ivf", "mxf", "nut", "yuv4mpegpipe", "dv"),
    *("mp3", "wav"),  # refused in better words: they hold no video
)


def most_pixels() -> int:
    """Pixels that a frame may have; InputError if the environment variable is not a whole number."""
    text = os.environ.get(MAX_MEGAPIXELS, "64")
    if not re.fullmatch(r"[1-9][0-9]{0,5}", text):
        raise InputError(f"{MAX_MEGAPIXELS} is '{text}': give it a whole number of megapixels, or unset it")
    return int(text) << 20


def check_size(path: Path, width: int, height: int) -> None:
    """Raise InputError if a frame of `path`, width and height in pixels, has more than `most_pixels`."""
    if width * height > (most := most_pixels()):
        raise InputError(
            f"'{path}' has a frame of {width}x{height}, which is more than {most >> 20} megapixels: make it smaller, "
            f"or set {MAX_MEGAPIXELS}={math.ceil(width * height / 2**20)} if the memory suffices"
        )


def open_container(path: Path) -> InputContainer:
    """Open a video file, and nothing else; av.error.FFmpegError unless it is one of the containers above.

    Decoders that FFmpeg starts meanwhile refuse frames of more than `most_pixels`, whose errors are raised too.
    """
    # "file:" keeps a colon in a name from being read as a protocol.
    return av.open(
        f"file:{path}",
        metadata_errors="replace",
        container_options={"protocol_whitelist": "file", "format_whitelist": ",".join(_CONTAINERS)},
        options={"max_pixels": str(most_pixels())},
    )
