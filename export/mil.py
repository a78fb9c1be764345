"""Runs the MIL program of an ``.mlpackage`` on any machine, without Core ML.

Operators are computed in float32 with torch, and rounded where the program says float16. This proves graph, weights
and attributes, not Apple's kernels.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..common.arrays import Image
from ..common.files import InputError
from ..runtimes.coreml import model_file, quiet, read_metadata
from ..runtimes.stylizer import Stylizer
from ..train.tensors import frame_to_tensor

with quiet():
    import coremltools
    from coremltools.converters.mil.frontend.milproto.load import load as load_program
    from coremltools.converters.mil.mil import types
    from coremltools.proto import Model_pb2

Arguments = Mapping[str, Any]
"""Name of an operator's input -> a float32 tensor, or the constant as the file has it; absent inputs are missing."""


class MilStylizer(Stylizer):
    """An ``.mlpackage`` artifact, interpreted; raises InputError if it is unusable or has an unknown operator."""

    real_time = False

    def __init__(self, path: Path) -> None:
        self.metadata = read_metadata(path)
        self._program = MilProgram(path)
        rounding = "float16 rounding" if self._program.half else "float32"
        self.engine = f"MIL interpreted by steadystyle (coremltools {coremltools.__version__}), {rounding}"

    def _stylize(self, frame: Image) -> Image:
        result = self._program(frame_to_tensor(frame).float())[0].permute(1, 2, 0).clamp(0.0, 255.0)
        # Core ML may round or truncate. Truncation shows whether the graph rounds by itself.
        return np.ascontiguousarray(result.to(torch.uint8).numpy())


@dataclass
class _Step:
    name: str
    compute: Callable[[Arguments], Tensor]
    constants: Arguments
    inputs: Mapping[str, str]
    half: bool
    finished: set[str] = field(default_factory=set)  # inputs that no later step needs


class MilProgram:
    """The program of a package with its weights; raises InputError if it is damaged or has an unknown operator."""

    def __init__(self, path: Path) -> None:
        file = model_file(path)
        spec: Any = Model_pb2.Model()
        with quiet():
            try:
                spec.ParseFromString(file.read_bytes())
                program: Any = load_program(
                    spec, specification_version=spec.specificationVersion, file_weights_dir=str(file.parent / "weights")
                )
            # The protocol buffer library, the weight reader and the loader raise different errors.
            except Exception as error:
                raise InputError(f"the program in '{path}' is damaged: export it again") from error
        main = program.functions["main"]
        ((self._input, given),) = main.inputs.items()
        (output,) = main.outputs
        self._half_input: bool = given.dtype == types.fp16
        self._output: str = output.name
        self._steps = _steps(list(main.operations), self._output)
        self.half = any(step.half for step in self._steps)  # whether any result is rounded to float16

    def __call__(self, image: Tensor) -> Tensor:
        """Compute the one output of the program from its one input, both float32 tensors."""
        values = {self._input: _half(image) if self._half_input else image}
        with torch.inference_mode():
            for step in self._steps:
                result = step.compute({**step.constants, **{key: values[var] for key, var in step.inputs.items()}})
                values[step.name] = _half(result) if step.half else result
                for name in step.finished:
                    del values[name]
        return values[self._output]


def _half(values: Tensor) -> Tensor:
    """Round to float16."""
    return values.half().float()


def _steps(operations: list[Any], output: str) -> list[_Step]:
    constants: dict[str, Any] = {}
    steps: list[_Step] = []
    for op in operations:
        if op.op_type == "const":
            constants[op.outputs[0].name] = _constant(op.outputs[0].val)
            continue
        compute = OPERATORS.get(op.op_type)
        if compute is None:
            raise _unknown(f"the operator '{op.op_type}'", ": add it to export/mil.py")
        given = {key: value.name for key, value in op.inputs.items() if value is not None}
        (result,) = op.outputs
        half = result.dtype == types.fp16
        fixed = {key: constants[name] for key, name in given.items() if name in constants}
        inputs = {key: name for key, name in given.items() if name not in constants}
        if op.op_type.startswith("constexpr_"):  # weights, decoded once
            values = compute(fixed)
            constants[result.name] = _half(values) if half else values
            continue
        steps.append(_Step(result.name, compute, fixed, inputs, half))
    needed = {output}
    for step in reversed(steps):
        step.finished = set(step.inputs.values()) - needed
        needed |= step.finished
    return steps


def _unknown(what: str, advice: str = "") -> InputError:
    return InputError(f"{what} is not known to the interpreter of MIL programs{advice}")


def _constant(value: Any) -> Any:
    # Only weights become tensors.
    if isinstance(value, np.ndarray) and value.ndim and value.dtype in (np.float16, np.float32):
        return torch.from_numpy(value.astype(np.float32))
    if isinstance(value, np.ndarray | np.generic):
        return value if value.ndim > 1 or value.dtype == np.int8 or value.dtype == np.uint8 else value.tolist()
    return value


def _pad(arguments: Arguments) -> Tensor:
    x, mode = arguments["x"], arguments["mode"]
    # MIL counts the pairs (before, after) from an axis to the last, torch from the last axis backwards.
    pairs = [tuple(arguments["pad"][i : i + 2]) for i in range(0, len(arguments["pad"]), 2)][::-1]
    while pairs and pairs[-1] == (0, 0):
        pairs.pop()
    sides = [side for pair in pairs for side in pair]
    if mode == "constant":
        return functional.pad(x, sides, value=float(arguments.get("constant_val", 0.0)))
    # Core ML's own limits, which torch does not have.
    if len(pairs) > 2:
        raise InputError(f"a padding of more than two axes cannot be of mode '{mode}' in Core ML")
    if mode == "replicate" and any(max(pair) > x.shape[-1 - i] for i, pair in enumerate(pairs)):
        raise InputError(
            f"a padding of {max(sides)} is wider than its picture of {tuple(x.shape)}, too much for Core ML"
        )
    return functional.pad(x, sides, mode=mode)


def _conv(arguments: Arguments) -> Tensor:
    x, weight = arguments["x"], arguments["weight"]
    kind = arguments.get("pad_type", "valid")
    if kind not in ("valid", "custom"):
        raise _unknown(f"a convolution with the padding '{kind}'")
    if kind == "custom":
        top, bottom, left, right = arguments["pad"]
        x = functional.pad(x, (left, right, top, bottom))
    return functional.conv2d(
        x,
        weight,
        arguments.get("bias"),
        stride=arguments.get("strides", [1, 1]),
        dilation=arguments.get("dilations", [1, 1]),
        groups=arguments.get("groups", 1),
    )


def _instance_norm(arguments: Arguments) -> Tensor:
    x = arguments["x"]
    variance, mean = torch.var_mean(x, dim=(2, 3), keepdim=True, correction=0)
    scale = torch.rsqrt(variance + arguments["epsilon"])
    if "gamma" in arguments:
        scale = scale * arguments["gamma"].reshape(1, -1, 1, 1)
    result: Tensor = (x - mean) * scale
    return result + arguments["beta"].reshape(1, -1, 1, 1) if "beta" in arguments else result


def _factors(arguments: Arguments) -> tuple[float, float]:
    """Enlargement factors of height and width."""
    height, width = (arguments.get(f"scale_factor_{side}", 1) for side in ("height", "width"))
    if height != int(height) or width != int(width):
        raise _unknown(f"an enlargement by {[height, width]}")
    return float(height), float(width)


def _upsample_bilinear(arguments: Arguments) -> Tensor:
    corners = bool(arguments.get("align_corners", True))
    if arguments.get("half_pixel_centers", not corners) == corners:  # torch knows the other two combinations alone
        raise _unknown("a bilinear enlargement from the pixels' edges")
    x, factors = arguments["x"], _factors(arguments)
    return functional.interpolate(x, scale_factor=factors, mode="bilinear", align_corners=corners)


def _slice(arguments: Arguments) -> Tensor:
    x: Tensor = arguments["x"]
    no, ones = [False] * x.ndim, [1] * x.ndim
    steps = arguments.get("stride", ones)
    if any(arguments.get("squeeze_mask", no)) or min(steps) < 1:
        raise _unknown("a slice that drops an axis or runs backwards")
    begin, end = (
        [None if masked else bound for bound, masked in zip(arguments[name], arguments.get(mask, no), strict=True)]
        for name, mask in (("begin", "begin_mask"), ("end", "end_mask"))
    )
    return x[tuple(map(slice, begin, end, steps))]


def _affine_dequantize(arguments: Arguments) -> Tensor:
    stored = torch.from_numpy(arguments["quantized_data"].astype(np.float32))
    axis = [1] * stored.ndim
    axis[arguments["axis"]] = -1
    scale, zero = (torch.as_tensor(np.asarray(arguments[key], np.float32)) for key in ("scale", "zero_point"))
    return (stored - zero.reshape(axis if zero.ndim else ())) * scale.reshape(axis if scale.ndim else ())


OPERATORS: Mapping[str, Callable[[Arguments], Tensor]] = {
    "add": lambda a: a["x"] + a["y"],
    "cast": lambda a: a["x"],  # `MilProgram` rounds the results
    "clip": lambda a: a["x"].clamp(a["alpha"], a["beta"]),
    "constexpr_affine_dequantize": _affine_dequantize,
    "conv": _conv,
    "instance_norm": _instance_norm,
    "mul": lambda a: a["x"] * a["y"],
    "pad": _pad,
    "pixel_shuffle": lambda a: functional.pixel_shuffle(a["x"], int(a["upscale_factor"])),
    "pixel_unshuffle": lambda a: functional.pixel_unshuffle(a["x"], int(a["downscale_factor"])),
    "relu": lambda a: functional.relu(a["x"]),
    "round": lambda a: a["x"].round(),
    "slice_by_index": _slice,
    "tanh": lambda a: torch.tanh(a["x"]),
    "upsample_bilinear": _upsample_bilinear,
    "upsample_nearest_neighbor": lambda a: functional.interpolate(a["x"], scale_factor=_factors(a), mode="nearest"),
}
"""Name of a MIL operator (iOS 16) -> what computes it."""
