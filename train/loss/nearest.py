"""The bundled style nearest to a painting, by the Gram matrices that `python -m studies.nearest_grams` writes."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from ...common.arrays import Image, scaled
from ...common.files import InputError, atomic_path
from ..tensors import to_tensor
from .network import LossNetwork
from .terms import gram

GRAMS = Path(__file__).with_name("grams.safetensors")
_LAYER = "relu2_2"
_SIDE = 384


def signature(image: Image, loss_network: LossNetwork) -> Tensor:
    """Upper half of a painting's Gram matrix at relu2_2, normalized to length 1: (8256,) float32.

    The (H, W, 3) uint8 RGB image is scaled to a shorter side of 384 px; the loss network is in float32.
    """
    sized = scaled(image, _SIDE / min(image.shape[:2]))
    device = next(loss_network.parameters()).device
    with torch.inference_mode():
        matrix = gram(loss_network(to_tensor(sized[None], device), (_LAYER,))[_LAYER])[0].cpu()
    upper = matrix[tuple(torch.triu_indices(*matrix.shape))]
    unit: Tensor = upper / upper.norm().clamp_min(1e-12)
    return unit


def nearest_style(
    image: Image, loss_network: LossNetwork, among: Sequence[str], path: Path = GRAMS
) -> tuple[str, float]:
    """Name of the style in ``among`` with the nearest Gram matrix, and the squared distance: 0 same, 2 orthogonal.

    ``image`` is (H, W, 3) uint8 RGB; the loss network is in float32. InputError when ``path`` holds no such style.
    """
    known = load_file(path) if path.is_file() else {}
    ours = signature(image, loss_network)
    distances = {
        name: float((ours - known[key].float()).square().sum())
        for name in among
        if (key := f"{loss_network.architecture}/{name}") in known
    }
    if not distances:
        raise InputError("no bundled style is known to start from: name one with --from")
    best = min(distances, key=lambda name: distances[name])
    return best, distances[best]


def save_signatures(signatures: Mapping[str, Tensor], path: Path = GRAMS) -> None:
    """Write signatures atomically, in float16, by ``ARCHITECTURE/NAME`` of loss network and style."""
    with atomic_path(path) as partial:
        partial.write_bytes(save({key: value.half() for key, value in signatures.items()}))
