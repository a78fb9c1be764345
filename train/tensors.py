"""Frames to tensors and back."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..common.arrays import Image


def to_tensor(frames: NDArray[np.uint8], device: torch.device) -> Tensor:
    """(B, H, W, 3) uint8 RGB to (B, 3, H, W) float32 RGB in [0, 1] on ``device``."""
    tensor = torch.from_numpy(np.ascontiguousarray(frames)).to(device).permute(0, 3, 1, 2)
    # Tensor cores want channels last, and layers follow their input; on the CPU it is slower in float32.
    layout = torch.channels_last if device.type == "cuda" else torch.contiguous_format
    return tensor.to(torch.float32, memory_format=layout).div(255.0)


def frame_to_tensor(frame: Image | Tensor) -> Tensor:
    """One (H, W, 3) frame to (1, 3, H, W), as a view with the same type and values."""
    tensor = frame if isinstance(frame, Tensor) else torch.from_numpy(np.ascontiguousarray(frame))
    return tensor.permute(2, 0, 1).unsqueeze(0)


def to_frame(output: Tensor) -> Image:
    """(3, H, W) float RGB in [0, 1] to (H, W, 3) uint8 RGB, rounded."""
    scaled = (output.detach().float().clamp(0, 1) * 255.0).round().to(torch.uint8)
    return np.asarray(scaled.permute(1, 2, 0).contiguous().cpu().numpy(), np.uint8)


def lay_channels_last(module: nn.Module, dtype: torch.dtype | None = None) -> None:
    """Lay a module's kernels channels last in place, as bfloat16 convolutions want, and change their type."""
    for parameter in module.parameters():
        layout = torch.channels_last if parameter.dim() == 4 else torch.contiguous_format
        parameter.data = parameter.data.to(dtype or parameter.dtype, memory_format=layout)
