"""PyTorch: runs checkpoints. The only file here that imports torch, and `train` for the network's code."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..common.arrays import Image
from ..common.files import InputError, sha256_of
from ..train.checkpoint import load_checkpoint
from ..train.tensors import frame_to_tensor
from .artifact import ArtifactMetadata
from .stylizer import Stylizer

DEVICES = ("cpu", "cuda")


class PytorchStylizer(Stylizer):
    """A checkpoint, run by PyTorch; raises InputError if it is damaged, or the device unknown or missing.

    On CUDA: float16, channels last, and one CUDA graph per frame size, so that a frame costs one launch. On a CPU:
    float32, the reference for artifacts.

    Args:
        threads: of PyTorch in this process, on a CPU; None: unchanged.
        provider: ``cpu`` or ``cuda``; None: CUDA if there is one.
    """

    def __init__(self, path: Path, *, threads: int | None = None, provider: str | None = None) -> None:
        device = provider or ("cuda" if torch.cuda.is_available() else "cpu")
        if device not in DEVICES:
            raise InputError(f"PyTorch has no provider '{provider}': choose one of {', '.join(DEVICES)}")
        if device == "cuda" and not torch.cuda.is_available():
            raise InputError("the installed torch finds no CUDA device: choose --provider cpu, or install a CUDA build")
        checkpoint = load_checkpoint(path)
        header = checkpoint.header
        self._device = torch.device(device)
        self._type = torch.float16 if device == "cuda" else torch.float32
        if threads is not None and device == "cpu":
            torch.set_num_threads(threads)
        self._network = checkpoint.network.to(self._device, self._type)
        self._graphs: dict[tuple[int, ...], tuple[torch.cuda.CUDAGraph, Tensor, Tensor]] = {}
        self.metadata = ArtifactMetadata(
            name=header.name,
            style=header.style,
            architecture=header.architecture,
            sizes=dict(header.sizes),
            precision="fp16" if device == "cuda" else "fp32",
            width=None,
            height=None,
            checkpoint_sha256=sha256_of(path),
            calibration_sha256=None,
            steps=header.steps,
            style_size=header.style_size,
            producer=f"checkpoint, torch {header.versions.get('torch', 'unknown')}",
        )
        what = torch.cuda.get_device_name() if device == "cuda" else f"CPU, {torch.get_num_threads()} threads"
        self.engine = f"torch {torch.__version__} {what}"

    def _stylize(self, frame: Image) -> Image:
        with torch.inference_mode():
            if self._device.type == "cpu":
                return np.asarray(self._compute(torch.from_numpy(frame)).numpy(), np.uint8)
            if frame.shape not in self._graphs:
                self._graphs[frame.shape] = self._record(frame.shape)
            graph, taken, given = self._graphs[frame.shape]
            taken.copy_(torch.from_numpy(frame))
            graph.replay()
            return np.asarray(given.cpu().numpy(), np.uint8)

    def _compute(self, frame: Tensor) -> Tensor:
        x = frame_to_tensor(frame).to(self._type) / 255.0
        if self._device.type == "cuda":
            x = x.contiguous(memory_format=torch.channels_last)
        y: Tensor = self._network(x)[0].permute(1, 2, 0).float()
        return (y * 255.0).round().clamp(0.0, 255.0).to(torch.uint8).contiguous()

    def _record(self, shape: tuple[int, ...]) -> tuple[torch.cuda.CUDAGraph, Tensor, Tensor]:
        """A CUDA graph for one frame size, its input buffer and its output buffer."""
        cuda: Any = torch.cuda  # partly without annotations
        taken = torch.zeros(shape, dtype=torch.uint8, device=self._device)
        aside = cuda.Stream()
        aside.wait_stream(cuda.current_stream())
        with cuda.stream(aside):  # the first runs choose kernels and allocate, which a graph cannot record
            for _ in range(3):
                self._compute(taken)
        cuda.current_stream().wait_stream(aside)
        graph = cuda.CUDAGraph()
        with cuda.graph(graph):
            given = self._compute(taken)
        return graph, taken, given

    def close(self) -> None:
        """Release the graphs and their memory."""
        self._graphs.clear()
