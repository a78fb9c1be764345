"""OpenVINO: runs ``.onnx`` artifacts on Intel and AMD processors. The only file that imports openvino."""

from pathlib import Path
from typing import Any

import numpy as np
import openvino

from ..common.arrays import Image
from ..common.files import InputError
from .artifact import ArrayType, check_ends
from .onnx_file import check_artifact
from .stylizer import Stylizer, as_frame, laid_out


class OpenVinoStylizer(Stylizer):
    """An ``.onnx`` artifact compiled by OpenVINO for the processor; it computes QDQ form in integers.

    Float artifacts run in float32, for equal results everywhere; OpenVINO would choose bfloat16 where there is one.
    `threads` None: OpenVINO's choice. Raises InputError for a damaged file, or missing or unfitting metadata.
    """

    def __init__(self, path: Path, *, threads: int | None = None) -> None:
        self.metadata = check_artifact(path)
        core = openvino.Core()
        options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        if threads is not None:
            options["INFERENCE_NUM_THREADS"] = str(threads)
        try:
            model = core.read_model(path)
            inputs, outputs = ([_array_type(end) for end in ends] for ends in (model.inputs, model.outputs))
            check_ends(path, self.metadata, inputs, outputs, ("u8", "f32"))
            self._request: Any = core.compile_model(model, "CPU", options).create_infer_request()
        except RuntimeError as error:
            reason = str(error).strip().split("\n")[0]
            raise InputError(f"'{path}' is damaged or not an ONNX file: copy or export it again ({reason})") from error
        count = f"{threads} thread{'s' if threads != 1 else ''}" if threads else "default threads"
        self.engine = f"openvino {openvino.__version__.split('-')[0]} CPU, {count}"

    def _stylize(self, frame: Image) -> Image:
        # Shared: the engine reads the frame in place; its result is its own memory and is copied once.
        layout = self.metadata.layout
        results = self._request.infer([laid_out(frame, layout)], share_inputs=True, share_outputs=True)
        return as_frame(np.array(results[0]), layout)

    def close(self) -> None:
        """Release the compiled network."""
        self._request = None


def _array_type(end: Any) -> ArrayType:
    sides = tuple(side.get_length() if side.is_static else None for side in end.partial_shape)
    return sides, end.element_type.get_type_name()
