"""A camera for calls: frames go to a device of the Linux module v4l2loopback, which other programs open as a camera."""

from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import av.error
from av.video.frame import VideoFrame

from ...common.arrays import Image, Size, resized
from ...common.files import InputError

_DEVICES = Path("/sys/devices/virtual/video4linux")  # those that stand for no hardware
_FORMAT = "v4l2"
_REMEDY = "run `sudo apt install v4l2loopback-dkms` and `sudo modprobe v4l2loopback exclusive_caps=1`, then try again"


def find_device() -> Path:
    """The first virtual camera of this machine; raises InputError if there is none."""
    numbers = sorted(int(path.name.removeprefix("video")) for path in _DEVICES.glob("video*"))
    if not numbers:
        raise InputError(f"there is no virtual camera on this machine (Linux alone has them): {_REMEDY}")
    return Path(f"/dev/video{numbers[0]}")


class VirtualCamera:
    """Writes frames to a device: `with VirtualCamera(device, (640, 360), 30) as camera: camera.write(image)`.

    Programs see YUV 4:2:2, BT.601, limited range, which is what they expect of a camera.
    """

    def __init__(self, device: Path, size: Size, frame_rate: Fraction | None) -> None:
        """Open a device for frames of this size, (width, height) in even numbers; rate in frames/s, 30 if None.

        Raises InputError if it is missing or takes no frames.
        """
        self._size = size
        container = None
        try:
            self._container = container = av.open(str(device), "w", format=_FORMAT)
            self._stream = self._container.add_stream("rawvideo", rate=frame_rate or 30)
            self._stream.width, self._stream.height, self._stream.pix_fmt = *size, "yuyv422"
            self._container.start_encoding()
        except (av.error.FFmpegError, OSError, ValueError) as error:  # ValueError: FFmpeg was built without v4l2
            if container is not None:
                with suppress(av.error.FFmpegError):
                    container.close()
            reason = getattr(error, "strerror", None) or error
            raise InputError(f"the virtual camera '{device}' cannot be opened ({reason}): {_REMEDY}") from error
        self._count = 0

    def write(self, image: Image) -> None:
        """Show (H, W, 3) uint8 RGB, resized where it has another size; raises OSError if the device is gone."""
        picture = VideoFrame.from_ndarray(resized(image, self._size), "rgb24")
        picture = picture.reformat(format="yuyv422", dst_colorspace="ITU601", dst_color_range="MPEG")
        picture.pts = self._count
        self._count += 1
        try:
            self._container.mux(self._stream.encode(picture))
        except av.error.FFmpegError as error:  # not all of them are OSError
            raise OSError(error.errno, error.strerror) from error

    def close(self) -> None:
        """Release the device."""
        with suppress(av.error.FFmpegError):  # it may be gone
            self._container.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
