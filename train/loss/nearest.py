"""Which bundled style a painting is nearest to: a run that starts from it needs the fewest steps.

`grams.safetensors` holds a Gram matrix of each bundled style's painting, so that no painting is needed to compare with.
`python -m studies.nearest_grams` writes it, and is run again when a bundled style joins.
"""

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
    """A painting's Gram matrix at relu2_2, its upper half, of length 1: what can be compared without the painting.

    Args:
        image: (H, W, 3) uint8 RGB, brought to a shorter side of 384 px.
        loss_network: of either kind, in float32.

    Returns:
        (8256,) float32.
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
    """The bundled style whose painting's Gram matrix is nearest.

    Args:
        image: (H, W, 3) uint8 RGB.
        loss_network: of either kind, in float32.
        among: names of the styles to choose from.
        path: what `save_signatures` wrote.

    Returns:
        Name and distance: 0 for the same painting, 2 for nothing in common.

    Raises:
        InputError: no known style among them.
    """
    known = load_file(path) if path.is_file() else {}
    ours = signature(image, loss_network)
    distances = {}
    for name in among:
        key = f"{loss_network.architecture}/{name}"
        if key in known:
            distances[name] = float((ours - known[key].float()).square().sum())
    if not distances:
        raise InputError("no bundled style is known to start from: name one with --from")
    best = min(distances, key=lambda name: distances[name])
    return best, distances[best]


def save_signatures(signatures: Mapping[str, Tensor], path: Path = GRAMS) -> None:
    """Write signatures in half precision, by ``ARCHITECTURE/NAME`` of loss network and style, atomically."""
    with atomic_path(path) as partial:
        partial.write_bytes(save({key: value.half() for key, value in signatures.items()}))
