"""Each codec writes what came, or says in a sentence why it cannot."""

import re
from pathlib import Path

import av
import numpy as np
import pytest

from steadystyle.common.files import InputError
from steadystyle.tests.video.material import Image, make_clip, picture
from steadystyle.video.codecs import CODECS
from steadystyle.video.frames import Encoding, Frame, open_sink, open_source, read_frames, write_image

PAIRS = [(name, ending) for name, codec in CODECS.items() for ending in codec.endings]


def write(target: Path, frames: list[Frame], encoding: Encoding) -> list[str]:
    with open_sink(target, None, encoding=encoding) as sink:
        for frame in frames:
            sink.write(frame)
    return sink.notes


@pytest.mark.parametrize(("codec", "ending"), PAIRS)
def test_odd_sizes_and_a_variable_rate_in_every_codec(tmp_path: Path, codec: str, ending: str) -> None:
    times = [0, 0.017, 0.05, 0.4, 0.401]
    image = np.full((67, 71, 3), (180, 90, 40), np.uint8)
    image[:40] = (30, 60, 200)
    write(tmp_path / f"out{ending}", [Frame(image, moment) for moment in times], Encoding(codec))
    with open_source(tmp_path / f"out{ending}") as source:
        frames = list(source)
    assert [frame.time_s for frame in frames] == pytest.approx(times, abs=1.1e-3)
    for frame in frames:
        assert frame.image.shape == (68, 72, 3)
        assert np.abs(frame.image[48:67, :71].astype(int) - (180, 90, 40)).max() <= 6
        assert np.abs(frame.image[:32, :71].astype(int) - (30, 60, 200)).max() <= 6
    with av.open(str(tmp_path / f"out{ending}")) as container:
        video = container.streams.video[0].codec_context
        assert {"libdav1d": "av1"}.get(video.name, video.name) == codec
        assert (video.colorspace, video.color_range) == (1, 1)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("codec", CODECS)
def test_one_frame_and_two_in_every_codec(tmp_path: Path, codec: str, count: int) -> None:
    ending = CODECS[codec].endings[0]
    shown = [Frame(picture(60 * index, 64, 64), index / 25) for index in range(count)]
    write(tmp_path / f"few{ending}", shown, Encoding(codec))
    with open_source(tmp_path / f"few{ending}") as source:
        for before, after in zip(shown, source, strict=True):
            assert after.time_s == pytest.approx(before.time_s)
            assert np.abs(after.image.astype(int) - before.image).mean() < 4


@pytest.mark.parametrize("codec", CODECS)
def test_more_quality_is_closer_and_larger(tmp_path: Path, codec: str) -> None:
    ending = CODECS[codec].endings[0]
    noise = np.random.default_rng(0).integers(0, 256, (12, 12, 3)).astype(np.uint8)
    image = noise.repeat(8, axis=0).repeat(8, axis=1)
    image[:, :48] = np.random.default_rng(1).integers(90, 160, (96, 48, 3))
    errors, sizes = [], []
    for quality in (0, 65, 100):
        path = tmp_path / f"{quality}{ending}"
        write(path, [Frame(image, 0)], Encoding(codec, quality))
        errors.append(np.abs(read_frames(path)[0].astype(int) - image).mean())
        sizes.append(path.stat().st_size)
    assert errors[0] > errors[1] > errors[2]
    assert sizes[0] < sizes[1] < sizes[2]


def test_the_default_is_h264_as_it_was(tmp_path: Path) -> None:
    frames = [Frame(picture(index), index / 25) for index in range(10)]
    write(tmp_path / "a.mp4", frames, Encoding())
    write(tmp_path / "b.mp4", frames, Encoding("h264", 65, "ultrafast"))
    content = (tmp_path / "a.mp4").read_bytes()
    assert content == (tmp_path / "b.mp4").read_bytes()
    settings = re.search(rb"crf=([\d.]+)", content)
    assert settings is not None and settings[1] == b"18.0"
    assert b"cabac=0" in content and b"subme=0" in content  # two marks of ultrafast
    write(tmp_path / "c.mp4", frames, Encoding("h264", 65, "veryslow"))
    assert b"cabac=1" in (tmp_path / "c.mp4").read_bytes()


@pytest.mark.parametrize(
    ("name", "encoding", "reason"),
    [
        ("out.mp4", Encoding("xvid"), "there is no codec 'xvid'"),
        ("out.mp4", Encoding("h264_none"), "this FFmpeg has no encoder h264_none"),
        ("out.mp4", Encoding("h264_v4l2m2m"), "cannot be opened here"),
        ("out.mp4", Encoding("prores"), "prores does not fit into 'out.mp4'"),
        ("out.webm", Encoding("h264"), "h264 does not fit"),
        ("out.mov", Encoding("vp9"), "vp9 does not fit"),
        ("out.mp4", Encoding("h264", 65, "silly"), "h264 has no preset 'silly': give ultrafast"),
        ("out.mov", Encoding("prores", 65, "hq"), "prores has no preset 'hq'"),
        ("out.mp4", Encoding("av1", 65, "99"), "av1 has no preset '99'"),
        ("out.mp4", Encoding(None, 101), "the quality is 101"),
        ("out.mp4", Encoding("hevc"), "hevc needs frames of 64x64 and more"),
        ("out", Encoding("h264"), "codec, quality and preset are a video's"),
    ],
)
def test_what_cannot_be_encoded_is_refused_before_anything_is_written(
    tmp_path: Path, name: str, encoding: Encoding, reason: str
) -> None:
    if Path("/dev/video11").exists() and encoding.codec == "h264_v4l2m2m":
        pytest.skip("this machine may have that encoder")
    clip = make_clip(tmp_path / "clip.mp4", 2)
    with open_source(clip) as source, pytest.raises(InputError, match=reason):
        open_sink(tmp_path / name, source, encoding=encoding)
    assert list(tmp_path.iterdir()) == [clip]


def logo(index: int) -> tuple[Image, Image]:
    """An orange square that moves over nothing, with an edge of half alpha."""
    image, alpha = np.zeros((48, 66, 3), np.uint8), np.zeros((48, 66), np.uint8)
    square = (slice(10, 30), slice(index, index + 24))
    image[square], alpha[square] = (200, 80, 20), 255
    alpha[10:30, index + 16 : index + 24] = 128
    return image, alpha


def logos(count: int = 12) -> list[Frame]:
    return [Frame(image, index / 25, alpha) for index, (image, alpha) in enumerate(map(logo, range(count)))]


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mov", "prores"), ("a.mkv", "prores"), ("a.webm", None), ("a.webm", "vp9"), ("a.mkv", "vp9")]
)
def test_alpha_is_kept_in_a_video_and_from_it(tmp_path: Path, name: str, codec: str | None) -> None:
    assert write(tmp_path / name, logos(), Encoding(codec)) == []
    with open_source(tmp_path / name) as source, open_sink(tmp_path / f"2{name}", source) as sink:
        assert source.info.has_alpha
        for index, frame in enumerate(source):
            image, alpha = logo(index)
            assert frame.alpha is not None
            assert np.abs(frame.alpha.astype(int) - alpha).mean() < 1
            assert np.abs(frame.image[12:28, index + 2 : index + 14].astype(int) - image[12, index]).mean() < 8
            sink.write(frame)
    assert len(read_frames(tmp_path / f"2{name}")) == 12


@pytest.mark.parametrize("ending", [".png", ".webp", ".tiff"])
def test_alpha_of_pictures_is_kept(tmp_path: Path, ending: str) -> None:
    image, alpha = logo(5)
    write_image(tmp_path / f"in{ending}", image, alpha)
    with open_source(tmp_path / f"in{ending}") as source, open_sink(tmp_path / f"out{ending}", source) as sink:
        for frame in source:
            assert frame.alpha is not None and np.array_equal(frame.alpha, alpha)
            assert (frame.image[alpha == 0] == 255).all()  # the network sees white where nothing is
            assert np.array_equal(frame.image[alpha > 0], image[alpha > 0])  # and no white in soft edges
            sink.write(frame)
    with open_source(tmp_path / f"out{ending}") as source:
        (frame,) = source
    assert frame.alpha is not None and np.array_equal(frame.alpha, alpha)
    assert np.array_equal(frame.image[alpha > 0], image[alpha > 0])


@pytest.mark.parametrize("name", ["out.mp4", "out.png.jpg", "out/%02d.bmp"])
def test_what_is_transparent_is_white_where_alpha_cannot_be_held(tmp_path: Path, name: str) -> None:
    image, alpha = np.full((64, 64, 3), (200, 40, 40), np.uint8), np.zeros((64, 64), np.uint8)
    alpha[:, 16:32], alpha[:, 32:] = 128, 255
    (note,) = write(tmp_path / name, [Frame(image, 0, alpha)], Encoding())
    assert "became white" in note and "cannot hold it" in note
    written = tmp_path / (name % 1 if "%" in name else name)
    with open_source(written) as source:
        (frame,) = source
    for column, colour in ((8, (255, 255, 255)), (24, (227, 147, 147)), (48, (200, 40, 40))):
        assert np.abs(frame.image[32, column].astype(int) - colour).max() <= 4


def test_transparency_that_begins_later_is_said(tmp_path: Path) -> None:
    opaque, (image, alpha) = np.zeros((48, 66, 3), np.uint8), logo(0)
    (note,) = write(tmp_path / "out.webm", [Frame(opaque, 0), Frame(image, 1, alpha)], Encoding())
    assert "its first frame is opaque" in note


def test_an_opaque_alpha_is_none(tmp_path: Path) -> None:
    write_image(tmp_path / "in.png", picture(0), np.full((48, 64), 255, np.uint8))
    with open_source(tmp_path / "in.png") as source:
        assert not source.info.has_alpha
        assert next(iter(source)).alpha is None


def test_alpha_that_cannot_be_held_is_said_or_refused(tmp_path: Path) -> None:
    (note,) = write(tmp_path / "out.mp4", logos(), Encoding())
    assert note.startswith("what is transparent became white")
    image, alpha = logo(0)
    assert len(write(tmp_path / "out.jpg", [Frame(image, 0, alpha)], Encoding())) == 1
    write(tmp_path / "clip.mov", logos(), Encoding("prores"))
    before = sorted(tmp_path.iterdir())
    for name, codec in (("new.mp4", "h264"), ("new.mkv", "hevc"), ("new.webm", "av1"), ("new.mp4", "vp9")):
        with (
            open_source(tmp_path / "clip.mov") as source,
            pytest.raises(InputError, match="cannot hold the transparency"),
        ):
            open_sink(tmp_path / name, source, encoding=Encoding(codec))
    assert sorted(tmp_path.iterdir()) == before


def test_a_flat_picture_stays_flat(tmp_path: Path) -> None:
    flat = np.full((480, 854, 3), (180, 90, 40), np.uint8)
    for turn in range(12):  # libswscale with threads spoils one picture in five
        path = tmp_path / f"{turn}.mov"
        write(path, [Frame(flat, 0)], Encoding("prores"))
        assert np.abs(read_frames(path)[0].astype(int) - flat).max() <= 4


def test_a_pattern_names_the_pictures(tmp_path: Path) -> None:
    write(tmp_path / "new" / "shot-%03d.png", [Frame(picture(index), index / 25) for index in range(3)], Encoding())
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [f"shot-00{n}.png" for n in (1, 2, 3)]
    assert np.array_equal(read_frames(tmp_path / "new")[2], picture(2))
    for name in ("%d-%d.png", "%d%%.png", "%020d.png", "a%s%d.png"):
        with pytest.raises(InputError, match="is not understood"):
            open_sink(tmp_path / name, None)
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
