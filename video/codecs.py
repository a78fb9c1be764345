"""Codec, quality and preset of a video to be written, checked before anything is; and the alpha of VP9."""

import os
import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import av.error
import numpy as np
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from ..common.arrays import Image, Size
from ..common.files import InputError
from .limits import most_pixels

_H264_PRESETS = (
    *("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"),
    "placebo",
)
_MOST_WAITING = 64  # frames; a decoder with threads gives a frame a few packets later
_PROFILES = ("proxy", "lt", "standard", "hq")


@dataclass(frozen=True)
class Encoding:
    """How a video is to be encoded.

    `quality` is one scale for all codecs, from 0 to 100. Between the ends it is linear, rounded to whole numbers:

    | codec | encoder, its own scale | 0 | 65 | 100 |
    | --- | --- | --- | --- | --- |
    | h264 | libx264, crf | 51 | 18 | 0, lossless |
    | hevc | libx265, crf | 51 | 20 | 4 |
    | av1 | libsvtav1, crf | 63 | 25 | 5 |
    | vp9 | libvpx-vp9, crf | 63 | 25 | 4 |
    | prores | prores_ks, profile: steps at 25, 50, 75 | proxy | standard | hq |
    | ..._nvenc, ..._qsv, ..._amf, ..._vaapi | cq, global_quality, qp | 51 | 18 | 1 |
    | ..._videotoolbox | global_quality / 118 | 1 | 65 | 100 |
    | ..._v4l2m2m, and others | bits a pixel | 0.01 | 0.13 | 0.2 |

    ProRes with alpha is always of the profile 4444.

    Attributes:
        codec: one of `CODECS`, or FFmpeg's name of a hardware encoder; None: VP9 for .webm, else H.264.
        preset: the encoder's own name; None: the quickest that is good enough for live video, `CODECS` has them.
    """

    codec: str | None = None
    quality: int = 65
    preset: str | None = None


AS_EVER = Encoding()


@dataclass(frozen=True)
class _Codec:
    encoder: str
    endings: tuple[str, ...]
    crf: tuple[int, int] = (51, 1)  # at quality 0 and 100
    presets: tuple[str, ...] = ()  # the first one is the default
    preset_option: str = "preset"
    options: tuple[tuple[str, str], ...] = ()
    pixels: str = "yuv420p"
    alpha_pixels: str = ""
    alpha_endings: tuple[str, ...] = ()
    least_side: int = 1


CODECS = {
    "h264": _Codec("libx264", (".mp4", ".mov", ".mkv"), (51, 0), _H264_PRESETS),
    "hevc": _Codec(
        "libx265",
        (".mp4", ".mov", ".mkv"),
        (51, 4),
        _H264_PRESETS,
        options=(("x265-params", "log-level=error"),),
        least_side=64,  # libx265 4.1 writes outside its memory for narrower frames
    ),
    "av1": _Codec(
        "libsvtav1",
        (".mp4", ".mkv", ".webm"),
        (63, 5),
        ("10", *(str(number) for number in range(14) if number != 10)),
        least_side=4,
    ),
    "vp9": _Codec(
        "libvpx-vp9",
        (".webm", ".mkv", ".mp4"),
        (63, 4),
        ("realtime", "good", "best"),
        preset_option="deadline",
        options=(("b", "0"), ("cpu-used", "8"), ("row-mt", "1"), ("auto-alt-ref", "0")),
        alpha_pixels="yuva420p",
        alpha_endings=(".webm", ".mkv"),
    ),
    "prores": _Codec(
        "prores_ks",
        (".mov", ".mkv"),
        pixels="yuv422p10le",
        alpha_pixels="yuva444p10le",
        alpha_endings=(".mov", ".mkv"),
    ),
}

VIDEO_SUFFIXES = frozenset(ending for codec in CODECS.values() for ending in codec.endings)
"""Endings that are written; whatever FFmpeg decodes is read."""


def ending_for(ending: str, asked: Encoding) -> str:
    """The ending if a video of this encoding may have it, else one that it may; InputError for an unknown codec."""
    endings = VIDEO_SUFFIXES if asked.codec is None else (CODECS.get(asked.codec) or _hardware(asked.codec)).endings
    return ending if ending in endings else next(one for one in (".mp4", ".mov") if one in endings)


class Encoder:
    """An encoder of this FFmpeg with all its options, checked; InputError where it does not fit.

    Attributes:
        name: FFmpeg's.
        pixels: FFmpeg's name of the pixel format that it takes.
        has_alpha: whether these pixels have alpha.
    """

    def __init__(self, asked: Encoding, target: Path, size: Size, rate: Fraction, *, alpha: bool) -> None:
        """Check what is asked for against `target`, `size` (width and height, px) and whether there is alpha."""
        ending = target.suffix.lower()
        known = asked.codec or ("vp9" if ending == ".webm" else "h264")
        codec = CODECS.get(known) or _hardware(known)
        if ending not in codec.endings:
            fitting = [name for name, other in CODECS.items() if ending in other.endings]
            raise InputError(
                f"{known} does not fit into '{target.name}': end the output in {' or '.join(codec.endings)}, "
                f"or give --codec {' or '.join(fitting)}"
            )
        if not 0 <= asked.quality <= 100:
            raise InputError(f"the quality is {asked.quality}: give a number from 0 to 100")
        self.has_alpha = alpha and ending in codec.alpha_endings
        if alpha and asked.codec and not self.has_alpha:
            raise InputError(
                f"{known} in {ending} cannot hold the transparency of the input: give --codec prores and .mov, "
                "or --codec vp9 and .webm, or leave --codec away to write it without"
            )
        if min(size) < codec.least_side:
            raise InputError(
                f"{known} needs frames of {codec.least_side}x{codec.least_side} and more, but they are "
                f"{size[0]}x{size[1]}: give --codec {'vp9' if ending == '.webm' else 'h264'}"
            )
        self.name = codec.encoder
        self.pixels = codec.alpha_pixels if self.has_alpha else codec.pixels
        if known == "av1":
            os.environ.setdefault("SVT_LOG", "1")  # errors only; else it prints on stderr
        try:
            encoder = av.Codec(self.name, "w")
        except (av.error.FFmpegError, ValueError) as error:
            raise InputError(
                f"this FFmpeg has no encoder {self.name}: give --codec {', '.join(CODECS)}, or one of its own names"
            ) from error
        offered = [one.name for one in encoder.video_formats or ()]
        if self.pixels not in offered and "nv12" in offered:
            self.pixels = "nv12"
        self.options = _options(known, codec, asked, size, rate, self.has_alpha)
        if known not in CODECS:  # hardware may be missing, or busy
            self._check_opens(size, rate, asked)

    def _check_opens(self, size: Size, rate: Fraction, asked: Encoding) -> None:
        context = VideoCodecContext.create(self.name, "w")
        assert isinstance(context, VideoCodecContext)
        try:
            context.width, context.height = (side + side % 2 for side in size)
            context.pix_fmt, context.time_base, context.framerate = self.pixels, 1 / rate, rate
            context.options = self.options
            context.open()
        except (av.error.FFmpegError, ValueError) as error:
            preset = f" with --preset {asked.preset}" if asked.preset else ""
            raise InputError(
                f"the encoder {self.name} cannot be opened here{preset}: check its device, or give another --codec"
            ) from error


def _hardware(name: str) -> _Codec:
    """FFmpeg's own name of an encoder for hardware, such as h264_nvenc."""
    match = re.fullmatch(r"(h264|hevc|av1|vp9)_[a-z0-9]+", name)
    if match is None:
        raise InputError(
            f"there is no codec '{name}': give {', '.join(CODECS)}, or a hardware encoder of FFmpeg, such as h264_nvenc"
        )
    return _Codec(name, CODECS[match[1]].endings)


def _options(known: str, codec: _Codec, asked: Encoding, size: Size, rate: Fraction, has_alpha: bool) -> dict[str, str]:
    worst, best = codec.crf
    crf = str(round(worst + (best - worst) * asked.quality / 100))
    own = known in CODECS
    if asked.preset is not None and own and asked.preset not in codec.presets:
        names = ", ".join(codec.presets) if codec.presets else ""
        raise InputError(
            f"{known} has no preset '{asked.preset}': "
            + (f"give {names}" if names else "leave --preset away, for --quality chooses its profile")
        )
    if known == "prores":
        profile = "4444" if has_alpha else _PROFILES[min(asked.quality // 25, 3)]
        return {"profile": profile, **({"alpha_bits": "16"} if has_alpha else {})}
    preset = asked.preset or (codec.presets[0] if own else None)
    options = {codec.preset_option: preset} if preset else {}
    family = known.partition("_")[2]
    if own:
        return {"crf": crf, **options, **dict(codec.options)}
    if family == "nvenc":
        return {"rc": "vbr", "cq": crf, "b": "0", **options}
    if family == "qsv":
        return {"global_quality": crf, **options}
    if family == "amf":
        return {"rc": "cqp", "qp_i": crf, "qp_p": crf, **options}
    if family == "vaapi":
        return {"rc_mode": "CQP", "qp": crf, **options}
    if family == "videotoolbox":
        return {"flags": "+qscale", "global_quality": str(118 * max(1, asked.quality)), **options}
    return {"b": str(round(size[0] * size[1] * rate * max(5, asked.quality)) // 500), **options}


class Vp9Alpha:
    """Decodes the alpha of VP9, which FFmpeg's decoder leaves out without a word.

    WebM and Matroska carry it beside each packet: a VP9 stream of its own, whose luma is alpha (WebM Container
    Guidelines, "Alpha channel": BlockAdditional number 1).
    """

    def __init__(self) -> None:
        self._decoder = VideoCodecContext.create("vp9", "r")
        self._decoder.options = {"max_pixels": str(most_pixels())}
        self._decoder.thread_count = 1  # so that a frame comes at once
        self._waiting: dict[int | None, Image] = {}

    def add(self, packet: "Packet[VideoStream]") -> None:
        """Decode what is beside a packet; av.error.FFmpegError if it is broken."""
        if not packet.has_sidedata("matroska_block_additional"):
            return
        content = bytes(packet.get_sidedata("matroska_block_additional"))
        number, coded = int.from_bytes(content[:8], "big"), content[8:]
        if number != 1 or not coded:
            return
        for frame in self._decoder.decode(Packet(coded)):
            plane = frame.planes[0]
            rows = np.frombuffer(bytes(plane), np.uint8).reshape(-1, plane.line_size)
            self._waiting[packet.pts] = rows[: frame.height, : frame.width]
        if len(self._waiting) > _MOST_WAITING:
            del self._waiting[next(iter(self._waiting))]

    def of(self, pts: int | None) -> Image | None:
        """Alpha of the frame with this time stamp, (H, W) uint8, 0 transparent; None if there is none.

        Frames are asked for in their order; those before are forgotten.
        """
        while pts in self._waiting and next(iter(self._waiting)) != pts:
            del self._waiting[next(iter(self._waiting))]
        return self._waiting.get(pts)
