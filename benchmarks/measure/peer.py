"""Peers: other people's stylizing networks.

A peer is any ONNX file with one image input, float32 (1, 3, H, W) RGB in 0..255, and one output of the same layout, as
in most networks after Johnson et al. 2016.
"""

from pathlib import Path

import cv2
import numpy as np

from ...common.arrays import Image
from ...common.files import InputError
from ...runtimes.onnx_file import check_network

_MULTIPLE = 4
"""Networks with two stride-2 stages keep the size only if both sides are multiples of this."""


class Peer:
    """An opened peer; call it with a frame. `name` is the file's name without ending."""

    def __init__(self, path: Path, threads: int | None = None) -> None:
        """Open an .onnx file (`threads` None: engine's default); InputError if it is no ONNX model or no peer."""
        self.name = path.stem
        try:
            from ...runtimes.onnx import open_session
        except ModuleNotFoundError as error:
            raise InputError(
                "a peer needs onnxruntime, which is not installed: pip install 'steadystyle[onnx]'"
            ) from error
        check_network(path)
        self._session, self.engine = open_session(path, threads=threads)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1:
            raise InputError(
                f"'{path}' has {len(inputs)} inputs and {len(outputs)} outputs: "
                "a peer has one image input and one image output"
            )
        for role, tensor in (("input", inputs[0]), ("output", outputs[0])):
            if tensor.type != "tensor(float)":
                raise InputError(f"the {role} of '{path}' is {tensor.type}: a peer's is a float image, RGB in 0..255")
            known = [side if isinstance(side, int) else None for side in tensor.shape]  # others are names or free
            if len(known) != 4 or known[0] not in (None, 1) or known[1] not in (None, 3):
                raise InputError(
                    f"the {role} of '{path}' has the shape {tensor.shape}: a peer's is (1, 3, height, width)"
                )
        if any(isinstance(side, int) for side in inputs[0].shape[2:]):
            raise InputError(
                f"the input size of '{path}' is fixed ({inputs[0].shape}): export it with free height and width"
            )
        self._input = inputs[0].name

    def __call__(self, frame: Image) -> Image:
        """Stylize a frame, (H, W, 3) uint8 RGB of any size; InputError if the network changes the shape."""
        height, width = frame.shape[:2]
        below, right = -height % _MULTIPLE, -width % _MULTIPLE
        padded = cv2.copyMakeBorder(frame, 0, below, 0, right, cv2.BORDER_REPLICATE) if below or right else frame
        image = np.ascontiguousarray(padded.transpose(2, 0, 1)[None], np.float32)
        (stylized,) = self._session.run(None, {self._input: image})
        if stylized.shape != image.shape:
            raise InputError(
                f"the peer '{self.name}' gave back {stylized.shape} for {image.shape}: its sizes must agree"
            )
        rounded = np.clip(np.rint(stylized[0, :, :height, :width]), 0, 255)
        return np.ascontiguousarray(rounded.transpose(1, 2, 0), np.uint8)

    def note(self, width: int, height: int) -> str:
        """Nothing to remark about any frame size."""
        return ""

    def close(self) -> None:
        """Free the network."""
        self._session = None


def open_peer(path: str | Path, *, threads: int | None = None) -> Peer:
    """Open a peer, see `Peer`; InputError if the file is missing or no peer."""
    if not Path(path).is_file():
        raise InputError(f"the peer '{path}' does not exist: check the path")
    return Peer(Path(path), threads)
