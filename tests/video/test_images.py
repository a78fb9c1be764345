"""Whatever is in an image file, a frame of 8-bit RGB comes out."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from steadystyle.common.files import InputError
from steadystyle.video.frames import read_image, write_image


def _pattern() -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    rows, columns = np.mgrid[0:9, 0:14]
    return np.stack([rows * 25, columns * 15, 255 - rows * 20], axis=2).astype(np.uint8)


@pytest.mark.parametrize("ending", [".png", ".bmp", ".tiff", ".PNG"])
def test_lossless_formats_come_back_as_they_were(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"image{ending}"
    write_image(path, _pattern())
    assert np.array_equal(read_image(path), _pattern())
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("ending", [".jpg", ".webp"])
def test_lossy_formats_come_back_nearly(tmp_path: Path, ending: str) -> None:
    flat = np.full((40, 40, 3), (200, 60, 20), np.uint8)
    path = tmp_path / f"image{ending}"
    write_image(path, flat)
    assert np.abs(read_image(path).astype(int) - flat).max() <= 4


def test_grayscale_is_spread_to_three_channels(tmp_path: Path) -> None:
    gray = np.arange(48, dtype=np.uint8).reshape(6, 8)
    path = tmp_path / "gray.png"
    write_image(path, gray)
    assert np.array_equal(read_image(path), np.dstack([gray] * 3))


def test_16_bits_are_scaled_to_8(tmp_path: Path) -> None:
    values = np.array([[0, 128, 129, 257, 32896, 65535]], np.uint16)
    cv2.imwrite(str(tmp_path / "gray.png"), values)
    assert read_image(tmp_path / "gray.png")[0, :, 0].tolist() == [0, 0, 1, 1, 128, 255]
    blue, green, red = np.uint16(0), np.uint16(30000), np.uint16(60000)
    cv2.imwrite(str(tmp_path / "colour.tiff"), np.full((2, 2, 3), (blue, green, red), np.uint16))
    assert read_image(tmp_path / "colour.tiff")[0, 0].tolist() == [233, 117, 0]


@pytest.mark.parametrize("name", ["alpha.png", "alpha.tiff"])
@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_alpha_lies_on_white(tmp_path: Path, depth: type[np.uint8] | type[np.uint16], name: str) -> None:
    full = np.iinfo(depth).max
    pixels = np.zeros((1, 3, 4), depth)  # blue, green, red, alpha
    pixels[0, :, 2] = full
    pixels[0, :, 3] = [full, 0, full // 2]
    cv2.imwrite(str(tmp_path / name), pixels)
    assert read_image(tmp_path / name)[0].tolist() == [[255, 0, 0], [255, 255, 255], [255, 128, 128]]


def test_the_orientation_noted_by_a_camera_is_applied(tmp_path: Path) -> None:
    stored = np.zeros((16, 32, 3), np.uint8)
    stored[:, :16] = (0, 0, 255)  # red on the left, as OpenCV orders it
    _, content = cv2.imencode(".jpg", stored)
    # The smallest EXIF block that says orientation 6: turn clockwise by a quarter to see it upright.
    tiff = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    exif = b"Exif\0\0" + tiff
    block = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    path = tmp_path / "turned.jpg"
    path.write_bytes(content.tobytes()[:2] + block + content.tobytes()[2:])
    image = read_image(path)
    assert image.shape == (32, 16, 3)
    assert image[:12, :, 0].min() > 200  # red is on top now
    assert image[20:].max() < 50


@pytest.mark.parametrize("content", [b"", b"this is text", b"\x89PNG\r\n\x1a\n and then nothing"])
def test_what_is_not_an_image_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "style.png"
    path.write_bytes(content)
    with pytest.raises(InputError, match="is not an image that can be read"):
        read_image(path)


def test_a_missing_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_image(tmp_path / "none.png")


def test_an_unknown_ending_is_refused_and_nothing_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="end its name in"):
        write_image(tmp_path / "image.xyz", _pattern())
    assert list(tmp_path.iterdir()) == []
