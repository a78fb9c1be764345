"""What a video or an image may not do: open other files and addresses, and take memory for absurd sizes."""

import os
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from av.video.stream import VideoStream

from steadystyle.common.files import InputError
from steadystyle.tests.video.material import make_clip, picture
from steadystyle.video.frames import open_source, read_frames, read_image
from steadystyle.video.heads import image_size
from steadystyle.video.limits import MAX_MEGAPIXELS

PLAYLISTS = {
    "hls.mp4": "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{other}\n#EXT-X-ENDLIST\n",
    "hls.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{other}\n#EXT-X-ENDLIST\n",
    "concat.mp4": "ffconcat version 1.0\nfile '{other}'\n",
    "concat.ffconcat": "ffconcat version 1.0\nfile '{other}'\n",
    "dash.mpd": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'mediaPresentationDuration="PT5S"><Period><AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1">'
    "<BaseURL>{other}</BaseURL></Representation></AdaptationSet></Period></MPD>",
    "session.mp4": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {port} RTP/AVP 96\n"
    "a=rtpmap:96 H264/90000\n",
}


def refused(path: Path) -> str:
    began = time.monotonic()
    with pytest.raises(InputError) as refusal:
        open_source(path)
    assert time.monotonic() - began < 2
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


@pytest.mark.parametrize("name", PLAYLISTS)
def test_a_playlist_reaches_no_address(tmp_path: Path, name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        callers = list[tuple[str, int]]()

        def answer() -> None:
            connection, caller = server.accept()
            callers.append(caller)
            connection.close()

        answering = threading.Thread(target=answer)
        answering.start()
        (tmp_path / name).write_text(PLAYLISTS[name].format(other=f"http://127.0.0.1:{port}/a.ts", port=port))
        try:
            assert "is not a video that can be read" in refused(tmp_path / name)
        finally:
            with socket.create_connection(("127.0.0.1", port)) as own:
                answering.join()
                first = own.getsockname()
        assert callers == [first]


@pytest.mark.skipif(os.name != "posix", reason="pipes with a name are a matter of POSIX")
@pytest.mark.parametrize("name", ["hls.m3u8", "concat.mp4", "concat.ffconcat"])
def test_a_playlist_opens_no_other_file(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "second.ts")
    (tmp_path / name).write_text(PLAYLISTS[name].format(other="second.ts"))
    # Opening a pipe for writing waits until somebody opens it for reading.
    waiting = threading.Thread(target=lambda: os.close(os.open(tmp_path / "second.ts", os.O_WRONLY)))
    waiting.start()
    try:
        assert "is not a video that can be read" in refused(tmp_path / name)
        assert waiting.is_alive()
    finally:
        reader = os.open(tmp_path / "second.ts", os.O_RDONLY | os.O_NONBLOCK)
        waiting.join()
        os.close(reader)


@pytest.mark.parametrize(
    ("ending", "codec"),
    [
        *(("mp4", "libx264"), ("mov", "mpeg4"), ("3gp", "mpeg4"), ("m4v", "mpeg4"), ("mkv", "libx264")),
        *(("webm", "libvpx"), ("avi", "mpeg4"), ("ts", "libx264"), ("mpg", "mpeg2video"), ("flv", "libx264")),
        *(("wmv", "wmv2"), ("ogv", "libtheora"), ("gif", "gif"), ("apng", "apng"), ("nut", "mpeg4")),
        *(("mxf", "mpeg2video"), ("ivf", "libvpx"), ("y4m", "wrapped_avframe"), ("h264", "libx264")),
        *(("hevc", "libx265"), ("mjpeg", "mjpeg"), ("m2v", "mpeg2video"), ("dv", "dvvideo")),
    ],
)
def test_what_phones_cameras_and_the_web_use_is_read(tmp_path: Path, ending: str, codec: str) -> None:
    if codec not in av.codecs_available:
        pytest.skip(f"this FFmpeg has no {codec}")
    height, width = (576, 720) if ending == "dv" else (96, 128)
    pixels = {"gif": "rgb8", "apng": "rgb24", "mjpeg": "yuvj420p"}.get(ending, "yuv420p")
    with av.open(str(tmp_path / f"clip.{ending}"), "w") as container:
        stream = container.add_stream(codec, rate=25, width=width, height=height)
        assert isinstance(stream, VideoStream)
        stream.pix_fmt = pixels
        for index in range(30):
            shown = av.VideoFrame.from_ndarray(picture(index, height, width), "rgb24").reformat(format=pixels)
            shown.pts = index
            container.mux(stream.encode(shown))
        container.mux(stream.encode(None))
    frames = read_frames(tmp_path / f"clip.{ending}")
    assert frames[0].shape == (height, width, 3)
    assert frames[0][: height // 2, : width // 2, 0].mean() > 150  # red, as it was


def test_a_video_of_too_many_pixels_is_refused_and_the_limit_can_be_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = make_clip(tmp_path / "clip.mp4", 2, size=(1024, 1026))
    monkeypatch.setenv(MAX_MEGAPIXELS, "1")
    assert refused(clip) == (
        f"'{clip}' has a frame of 1026x1024, which is more than 1 megapixels: make it smaller, or set "
        "STEADYSTYLE_MAX_MEGAPIXELS=2 if the memory suffices"
    )
    monkeypatch.setenv(MAX_MEGAPIXELS, "2")
    assert len(read_frames(clip)) == 2
    for text in ("", "0", "-1", "1e3", "12 ", "many", "9999999"):
        monkeypatch.setenv(MAX_MEGAPIXELS, text)
        assert f"STEADYSTYLE_MAX_MEGAPIXELS is '{text}'" in refused(clip)


def test_a_video_that_grows_on_the_way_has_the_limit_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small, large = make_clip(tmp_path / "a.h264", 3), make_clip(tmp_path / "b.h264", 2, size=(1024, 1026))
    path = tmp_path / "grows.h264"
    path.write_bytes(small.read_bytes() + large.read_bytes())
    assert len(read_frames(path)) == 5
    monkeypatch.setenv(MAX_MEGAPIXELS, "1")
    with pytest.raises(InputError, match="has a frame of 1026x1024, which is more than 1 megapixels"):
        read_frames(path)


def png(width: int, height: int, *, idat_length: int | None = None) -> bytes:
    """A gray PNG whose pixels are missing for the most part."""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n"
    for kind, data in ((b"IHDR", head), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")):
        length = idat_length if kind == b"IDAT" and idat_length is not None else len(data)
        content += struct.pack(">I", length) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return content


def gif(width: int, height: int) -> bytes:
    """A GIF of one frame, of which most is missing."""
    head = struct.pack("<6sHHBBB", b"GIF89a", width, height, 0xF0, 0, 0) + bytes([0, 0, 0, 255, 255, 255])
    return head + struct.pack("<BHHHHB", 0x2C, 0, 0, width, height, 0) + b"\x02\x02\x44\x01\x00;"


PEAK = """
import resource, sys
from pathlib import Path
from steadystyle.video.frames import open_source
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (2**20 if sys.platform == "darwin" else 2**10)
before = peak()
try:
    open_source(Path(sys.argv[1]))
except ValueError as error:
    print(error)
print(peak() - before)
"""


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("large.png", png(32768, 32768), "has a frame of 32768x32768, which is more than 64 megapixels"),
        ("large.gif", gif(20000, 20001), "no picture in '{path}' that can be decoded, of up to 64 megapixels"),
        ("false.png", png(64, 48, idat_length=0x7FFFFFF0), "is not an image that can be read"),
        ("half.png", png(64, 48, idat_length=1 << 30), "is not an image that can be read"),
    ],
    ids=lambda value: value if isinstance(value, str) and "." in value else "",
)
def test_a_picture_is_refused_before_it_takes_memory(tmp_path: Path, name: str, content: bytes, sentence: str) -> None:
    pytest.importorskip("resource", reason="peak memory is read as on POSIX")
    path = tmp_path / name
    path.write_bytes(content)
    child = subprocess.run(
        [sys.executable, "-c", PEAK, str(path)], capture_output=True, text=True, check=True, timeout=60
    )
    said, mebibytes = child.stdout.splitlines()
    assert sentence.format(path=path) in said
    assert int(mebibytes) < 100


def _encoded(ending: str, *options: int, channels: int = 3) -> bytes:
    image = np.random.default_rng(0).integers(0, 256, (37, 61, channels), np.uint8)
    return cv2.imencode(ending, image, options)[1].tobytes()


def _bigtiff() -> bytes:
    tags = ((256, 4, 61), (257, 3, 37), (322, 3, 16), (323, 3, 16))
    entries = b"".join(struct.pack(">HHQ", tag, kind, 1) + _left(kind, value) for tag, kind, value in tags)
    return b"MM" + struct.pack(">HHHQQ", 43, 8, 0, 16, len(tags)) + entries


def _left(kind: int, value: int) -> bytes:
    return struct.pack(">I" if kind == 4 else ">H", value).ljust(8, b"\0")


HEADS = {
    "png": _encoded(".png"),
    "jpeg": _encoded(".jpg"),
    "progressive jpeg": _encoded(".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    "jpeg with filling": _encoded(".jpg").replace(b"\xff\xc0", b"\xff\xff\xff\xc0"),
    "webp": _encoded(".webp", cv2.IMWRITE_WEBP_QUALITY, 80),
    "lossless webp": _encoded(".webp", cv2.IMWRITE_WEBP_QUALITY, 101),
    "webp with alpha": _encoded(".webp", cv2.IMWRITE_WEBP_QUALITY, 80, channels=4),
    "bmp": _encoded(".bmp"),
    "old bmp": b"BM" + struct.pack("<IIIIHHHH", 26, 0, 26, 12, 61, 37, 1, 24),
    "bmp from the top": b"BM" + struct.pack("<IIIIiiHH", 54, 0, 54, 40, 61, -37, 1, 24),
    "tiff": _encoded(".tiff"),
    "big-endian BigTIFF": _bigtiff(),
}


@pytest.mark.parametrize("name", HEADS)
def test_the_size_is_read_from_the_head(name: str) -> None:
    content = HEADS[name]
    assert image_size(content) == (61, 37)
    # Broken off anywhere, it is either known or not, and nothing else happens.
    assert {image_size(content[:length]) for length in range(len(content))} <= {None, (61, 37)}


def test_large_tiles_count_for_a_tiff() -> None:
    entries = b"".join(
        struct.pack("<HHII", tag, 4, 1, value) for tag, value in ((256, 8), (257, 8), (322, 1 << 20), (323, 1 << 10))
    )
    assert image_size(b"II*\0" + struct.pack("<IH", 8, 4) + entries) == (1 << 20, 1 << 10)


@pytest.mark.parametrize("ending", [".png", ".jpg", ".webp", ".bmp", ".tiff"])
def test_each_kind_of_image_has_the_limit(tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / f"large{ending}"
    path.write_bytes(cv2.imencode(ending, np.full((1024, 1025, 3), 90, np.uint8))[1].tobytes())
    monkeypatch.setenv(MAX_MEGAPIXELS, "1")
    with pytest.raises(InputError, match="has a frame of 1025x1024, which is more than 1 megapixels"):
        read_image(path)
    monkeypatch.delenv(MAX_MEGAPIXELS)
    assert read_image(path).shape == (1024, 1025, 3)
    (tmp_path / "gif.png").write_bytes(b"GIF89a" + bytes(99))  # what OpenCV might read, too
    with pytest.raises(InputError, match="give a whole PNG, JPEG, WebP, BMP or TIFF file"):
        read_image(tmp_path / "gif.png")
