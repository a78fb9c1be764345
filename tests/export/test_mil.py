"""The interpreter of MIL programs, operator by operator against torch, on programs that coremltools wrote."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from steadystyle.common.files import InputError
from steadystyle.export.mil import OPERATORS, MilProgram
from steadystyle.runtimes.coreml import quiet

with quiet():
    import coremltools
    from coremltools.converters.mil import Builder
    from coremltools.converters.mil.mil.ops.defs.iOS16 import constexpr_affine_dequantize
    from coremltools.optimize.coreml import OpLinearQuantizerConfig, OptimizationConfig, linear_quantize_weights

SHAPE = (1, 4, 11, 14)


class Apply(nn.Module):
    """A function as a module."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.function(x)
        return result


def norm() -> nn.Module:
    layer = nn.InstanceNorm2d(4, eps=0.5, affine=True)
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    return layer


MODULES: dict[str, Callable[[], nn.Module]] = {
    "conv": lambda: nn.Conv2d(4, 6, 3, padding=1),
    "conv-stride-no-bias": lambda: nn.Conv2d(4, 6, (3, 5), stride=(2, 3), bias=False),
    "conv-sides": lambda: nn.Sequential(nn.ZeroPad2d((0, 1, 2, 3)), nn.Conv2d(4, 6, 3, padding=(1, 2))),
    "conv-dilated-groups": lambda: nn.Conv2d(4, 8, 3, dilation=2, groups=2),
    "instance-norm": norm,
    "instance-norm-plain": lambda: nn.InstanceNorm2d(4),
    "pad-replicate": lambda: nn.ReplicationPad2d((1, 2, 3, 4)),
    "pad-reflect": lambda: nn.ReflectionPad2d((1, 2, 3, 4)),
    "pad-constant": lambda: nn.ConstantPad2d((1, 2, 3, 4), 0.25),
    "upsample": lambda: nn.Upsample(scale_factor=(2, 3)),
    "upsample-bilinear": lambda: nn.Upsample(scale_factor=(2, 3), mode="bilinear"),
    "upsample-bilinear-corners": lambda: nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
    "relu": lambda: nn.ReLU(),
    "tanh": lambda: nn.Tanh(),
    "clip-round": lambda: Apply(lambda x: (x * 3).clamp(-2, 2.5).round()),
    "arithmetic": lambda: Apply(lambda x: x * 1.5 + x * x + 7),
    "slice": lambda: Apply(lambda x: x[:, :, 2:9, 1:12:3]),
    "slice-from-the-end": lambda: Apply(lambda x: x[:, 1:, :-2, -5:]),
    "residual": lambda: Apply(lambda x: x + functional.relu(x) * 0.5),
}


def program(module: nn.Module, path: Path, *, half: bool = False, bits: int | None = None) -> MilProgram:
    """Let coremltools write the module, and load what it wrote."""
    kind = coremltools.precision.FLOAT16 if half else coremltools.precision.FLOAT32
    trace: Any = torch.jit.trace
    with quiet():
        model: Any = coremltools.convert(
            trace(module.eval(), torch.zeros(SHAPE), check_trace=False),
            inputs=[coremltools.TensorType(name="x", shape=SHAPE)],
            convert_to="mlprogram",
            minimum_deployment_target=coremltools.target.iOS16,
            compute_precision=kind,
            skip_model_load=True,
        )
        if bits:
            symmetric = OpLinearQuantizerConfig(mode="linear_symmetric", weight_threshold=0)
            model = linear_quantize_weights(model, OptimizationConfig(symmetric))
        model.save(str(path))
    return MilProgram(path)


def random_input() -> Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", MODULES)
def test_an_operator_is_computed_as_torch_does(tmp_path: Path, name: str) -> None:
    torch.manual_seed(1)
    module, x = MODULES[name](), random_input()
    ours = program(module, tmp_path / "a.mlpackage")
    assert not ours.half
    with torch.inference_mode():
        torch.testing.assert_close(ours(x), module(x), rtol=1e-5, atol=1e-5)


def test_every_result_of_a_half_program_is_rounded(tmp_path: Path) -> None:
    ours = program(Apply(lambda x: (x + 1000) * 3 + -3000), tmp_path / "a.mlpackage", half=True)
    assert ours.half
    x = random_input()
    rounded = (((x.half().float() + 1000).half().float() * 3).half().float() - 3000).half().float()
    assert torch.equal(ours(x), rounded)
    assert (rounded - 3 * x).abs().max() > 0.5, "the rounding shows"


def test_a_half_program_overflows_where_float16_ends(tmp_path: Path) -> None:
    ours = program(Apply(lambda x: x * 60000 * 2), tmp_path / "a.mlpackage", half=True)
    assert torch.isinf(ours(torch.ones(SHAPE))).all()


def test_weights_of_8_bits_are_decoded_from_the_file(tmp_path: Path) -> None:
    torch.manual_seed(2)
    conv, x = nn.Conv2d(4, 6, 3, bias=False), random_input().half().float()
    conv.requires_grad_(False).weight.mul_(torch.tensor([1, 10, 0.1, 2, 5, 0.01]).reshape(-1, 1, 1, 1))
    ours = program(conv, tmp_path / "a.mlpackage", half=True, bits=8)(x)
    largest = conv.weight.half().float().abs().amax((1, 2, 3), keepdim=True)
    scale = (largest / 127).half().float()
    decoded = ((conv.weight.half() / scale.half()).round().float() * scale).half().float()
    wanted = functional.conv2d(x, decoded)
    # A weight in the middle between two steps may go either way, by the rounding of the division before.
    torch.testing.assert_close(ours, wanted, rtol=2e-3, atol=2e-3 * float(wanted.abs().max()))
    error = (ours - functional.conv2d(x, conv.weight)).std((0, 2, 3)) / wanted.std((0, 2, 3))
    assert 1e-4 < error.min() < error.max() < 0.02, "8 bits show, in each channel by its own scale"


@pytest.mark.parametrize(
    ("scale", "zero_point"),
    [(np.array([0.5, 2, 3], np.float16), np.array([0, 1, -2], np.int8)), (np.float16(0.5), np.int8(4))],
)
def test_dequantizing_is_that_of_coremltools(scale: Any, zero_point: Any) -> None:
    stored = np.random.default_rng(0).integers(-128, 128, (3, 2, 2, 2), np.int8)
    ours = OPERATORS["constexpr_affine_dequantize"](
        {"quantized_data": stored, "scale": scale, "zero_point": zero_point, "axis": 0}
    )
    theirs = constexpr_affine_dequantize.decompress(stored, zero_point, scale, 0)
    assert np.array_equal(ours.numpy(), np.asarray(theirs, np.float32))


def test_an_operator_that_is_not_known(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the operator 'sigmoid' is not known"):
        program(nn.Sigmoid(), tmp_path / "a.mlpackage")


@pytest.mark.parametrize("name", ["upsample_nearest_neighbor", "upsample_bilinear"])
def test_an_enlargement_that_is_not_whole(name: str) -> None:
    with pytest.raises(InputError, match="is not known"):
        OPERATORS[name]({"x": torch.zeros(SHAPE), "scale_factor_height": 1.5})


@pytest.mark.parametrize("corners", [False, True])
def test_a_bilinear_enlargement_that_torch_does_not_have(corners: bool) -> None:
    with pytest.raises(InputError, match="is not known"):
        OPERATORS["upsample_bilinear"](
            {"x": torch.zeros(SHAPE), "align_corners": corners, "half_pixel_centers": corners}
        )


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"pad": [0, 0, 0, 0, 12, 0, 0, 0], "mode": "replicate"}, "too much for Core ML"),
        ({"pad": [0, 0, 1, 0, 1, 0, 1, 0], "mode": "replicate"}, "more than two axes"),
    ],
)
def test_what_core_ml_cannot_pad_is_refused(arguments: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        OPERATORS["pad"]({"x": torch.zeros(SHAPE), **arguments})


def test_other_things_that_are_not_known() -> None:
    x, weight = torch.zeros(SHAPE), torch.zeros(4, 4, 3, 3)
    with pytest.raises(InputError, match="padding 'same'"):
        OPERATORS["conv"]({"x": x, "weight": weight, "pad_type": "same"})
    begin, end = [0, 0, 0, 0], list(SHAPE)
    for odd in ({"squeeze_mask": [True, False, False, False]}, {"stride": [1, 1, 1, -1]}):
        with pytest.raises(InputError, match="drops an axis or runs backwards"):
            OPERATORS["slice_by_index"]({"x": x, "begin": begin, "end": end, **odd})


def test_a_damaged_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mlpackage"
    program(nn.Conv2d(4, 6, 3), path)
    weights = path / "Data/com.apple.CoreML/weights/weight.bin"
    content = weights.read_bytes()
    for broken in (b"", content[:100], content[: len(content) // 2]):
        weights.write_bytes(broken)
        with pytest.raises(InputError, match="is damaged: export it again"):
            MilProgram(path)


def test_values_are_let_go_of_after_their_last_use(tmp_path: Path) -> None:
    ours = program(nn.Sequential(*(nn.Conv2d(4, 4, 1) for _ in range(3))), tmp_path / "a.mlpackage")
    finished = [name for step in ours._steps for name in step.finished]
    assert len(finished) == len(set(finished)) == 3


def test_the_builder_is_there() -> None:
    # The interpreter knows names of inputs; these are those of the operators' definitions.
    assert all(hasattr(Builder, name) for name in OPERATORS)
