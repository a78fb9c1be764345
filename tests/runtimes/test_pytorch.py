"""PyTorch runs a checkpoint as it is, behind the same interface."""

from pathlib import Path

import numpy as np
import pytest
import torch

from steadystyle.common.files import InputError
from steadystyle.export.verify import reference
from steadystyle.runtimes.pytorch import PytorchStylizer
from steadystyle.runtimes.registry import open_stylizer
from steadystyle.train.checkpoint import load_checkpoint


def test_it_gives_what_the_checkpoint_gives(tiny_checkpoint: Path) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (37, 50, 3), np.uint8)
    with open_stylizer(tiny_checkpoint, provider="cpu") as stylizer:
        assert isinstance(stylizer, PytorchStylizer)
        result = stylizer(frame)
    assert np.array_equal(result, reference(load_checkpoint(tiny_checkpoint).network, frame))


def test_it_says_what_it_runs(tiny_checkpoint: Path) -> None:
    with open_stylizer(tiny_checkpoint, provider="cpu") as stylizer:
        assert (stylizer.metadata.name, stylizer.metadata.precision, stylizer.metadata.size_text) == (
            "tiny",
            "fp32",
            "any",
        )
        assert stylizer.engine.startswith(f"torch {torch.__version__} CPU")


def test_a_device_that_is_not_there(tiny_checkpoint: Path) -> None:
    with pytest.raises(InputError, match="no provider 'tpu': choose one of cpu, cuda"):
        open_stylizer(tiny_checkpoint, provider="tpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_cuda_without_a_device(tiny_checkpoint: Path) -> None:
    with pytest.raises(InputError, match="finds no CUDA device: choose --provider cpu"):
        open_stylizer(tiny_checkpoint, provider="cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
def test_on_cuda_each_size_has_its_graph(tiny_checkpoint: Path) -> None:
    frames = [np.random.default_rng(0).integers(0, 256, (height, 50, 3), np.uint8) for height in (37, 48)]
    with open_stylizer(tiny_checkpoint, provider="cpu") as slow, open_stylizer(tiny_checkpoint) as quick:
        for frame in (*frames, *frames):
            assert np.abs(quick(frame).astype(int) - slow(frame)).mean() < 0.5
