"""ONNX Runtime: runs ``.onnx`` artifacts. The only file that imports onnxruntime."""

import ctypes
import ctypes.util
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as pybind11_state

from ..common.arrays import Image
from ..common.files import InputError, sha256_of
from .artifact import check_ends
from .onnx_file import check_artifact
from .stylizer import Stylizer, as_frame, laid_out

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "dml": "DmlExecutionProvider",
    "xnnpack": "XnnpackExecutionProvider",
}
"""Short name -> ONNX Runtime's own name."""

# The engine's errors have no common base class.
_ENGINE_ERRORS: tuple[type[Exception], ...] = (
    UnicodeDecodeError,  # the engine quotes the file's own bytes
    *(kind for kind in vars(pybind11_state).values() if isinstance(kind, type) and issubclass(kind, Exception)),
)


class OnnxStylizer(Stylizer):
    """An ``.onnx`` artifact opened with ONNX Runtime; arguments as of `open_session`.

    Raises InputError as `open_session`, and if the metadata is missing or does not fit the graph.
    """

    def __init__(
        self, path: Path, *, threads: int | None = None, provider: str | None = None, engine_cache: Path | None = None
    ) -> None:
        self.metadata = check_artifact(path)
        self._session, self.engine = open_session(path, threads=threads, provider=provider, engine_cache=engine_cache)
        taken, given = self._session.get_inputs(), self._session.get_outputs()
        # A side of any length is a name or None.
        inputs, outputs = (
            [(tuple(side if isinstance(side, int) else None for side in end.shape), end.type) for end in ends]
            for ends in (taken, given)
        )
        check_ends(path, self.metadata, inputs, outputs, ("tensor(uint8)", "tensor(float)"))
        self._input, self._output = taken[0].name, given[0].name

    def _stylize(self, frame: Image) -> Image:
        layout = self.metadata.layout
        if layout != "HWC":
            return as_frame(self._session.run([self._output], {self._input: laid_out(frame, layout)})[0], layout)
        # Bound: the engine reads the frame in place and writes into the caller's array.
        stylized = np.empty_like(frame)
        binding = self._session.io_binding()
        binding.bind_input(self._input, "cpu", 0, np.uint8, frame.shape, frame.ctypes.data)
        binding.bind_output(self._output, "cpu", 0, np.uint8, stylized.shape, stylized.ctypes.data)
        self._session.run_with_iobinding(binding)
        return stylized

    def close(self) -> None:
        """Release the session and its threads."""
        self._session = None


def open_session(
    path: Path, *, threads: int | None = None, provider: str | None = None, engine_cache: Path | None = None
) -> tuple[Any, str]:
    """Open any ONNX file; return the `onnxruntime.InferenceSession` and a description of the engine.

    Args:
        threads: per operator; None: ONNX Runtime's choice, one per core.
        provider: a key of `PROVIDERS`, in any case; None: the CPU.
        engine_cache: folder for TensorRT's engines (see `tensorrt_options`); None: they are not kept.

    Raises:
        InputError: damaged file, or the installed onnxruntime has no such provider.
    """
    name = _provider(provider)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.log_severity_level = 4  # errors come as exceptions
    # Spinning threads take cores from decoding and encoding. Without spinning, a video on two cores is 8 to 15 % faster
    # end to end, and the network alone is at most 5 % slower.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers: list[Any] = [name]
    if name == PROVIDERS["tensorrt"]:
        if engine_cache is not None:
            providers = [(name, tensorrt_options(path, engine_cache))]
        if PROVIDERS["cuda"] in onnxruntime.get_available_providers():
            providers.append(PROVIDERS["cuda"])  # computes what TensorRT cannot
    try:
        session: Any = onnxruntime.InferenceSession(path, options, providers=providers)
    except _ENGINE_ERRORS as error:
        reason = str(error).strip().split("\n")[0]
        raise InputError(f"'{path}' is damaged or not an ONNX file: copy or export it again ({reason})") from error
    # ONNX Runtime silently replaces a provider that fails to start by the CPU.
    used = session.get_providers()[0]
    if used != name:
        raise InputError(f"the provider '{provider}' does not start on this machine: choose another, for example cpu")
    count = f"{threads} thread{'s' if threads != 1 else ''}" if threads else "default threads"
    return session, f"onnxruntime {onnxruntime.__version__} {used}, {count}"


def tensorrt_options(path: Path, engine_cache: Path) -> dict[str, str]:
    """Options of the TensorRT provider to keep its engines, which take minutes to build, in `engine_cache`.

    Each file, ONNX Runtime version and TensorRT version has its own folder, created if missing. ONNX Runtime puts the
    GPU's architecture and the graph's sizes into file names. An any-size engine is rebuilt for each new size.
    """
    parts = (sha256_of(path)[:16], f"ort-{onnxruntime.__version__}", f"tensorrt-{_tensorrt_version()}")
    folder = engine_cache / "-".join((path.stem, *parts))
    folder.mkdir(parents=True, exist_ok=True)
    return {
        "trt_engine_cache_enable": "True",
        "trt_engine_cache_path": str(folder),
        "trt_timing_cache_enable": "True",
        "trt_timing_cache_path": str(folder),
    }


def _tensorrt_version() -> str:
    """Version of the library that the loader finds, as a number (100300 is 10.3.0), or ``none``."""
    name = ctypes.util.find_library("nvinfer")
    try:
        return str(ctypes.CDLL(name).getInferLibVersion()) if name else "none"
    except (OSError, AttributeError):
        return "none"


def _provider(short: str | None) -> str:
    name = PROVIDERS.get((short or "cpu").lower())
    available = onnxruntime.get_available_providers()
    usable = [key for key, value in PROVIDERS.items() if value in available]
    if name is None:
        raise InputError(f"unknown provider '{short}': choose one of {', '.join(usable)}")
    if name not in available:
        raise InputError(
            f"the installed onnxruntime {onnxruntime.__version__} has no provider '{short}': choose one of "
            f"{', '.join(usable)}, or install a build of onnxruntime that has it"
        )
    return name
