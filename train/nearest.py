r"""Which bundled style a painting is nearest to: a run that starts from it needs the fewest steps.

    python -m steadystyle.train.nearest CHECKPOINT... --styles DIR --loss-network VGG16.safetensors \
        --loss-network VGG19.safetensors

writes `grams.safetensors`, which holds a Gram matrix of each checkpoint's painting, so that no painting is needed to
compare with. It is run again when a bundled style joins.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save
from torch import Tensor

from ..common.files import InputError, atomic_path
from ..video.images import read_image
from .checkpoint import read_tensors
from .loss.network import LossNetwork, load_loss_network
from .loss.terms import gram
from .tensors import to_tensor

GRAMS = Path(__file__).with_name("grams.safetensors")
_LAYER = "relu2_2"
_SIDE = 384


def signature(image: NDArray[np.uint8], loss_network: LossNetwork) -> Tensor:
    """A painting's Gram matrix at relu2_2, its upper half, of length 1: what can be compared without the painting.

    Args:
        image: (H, W, 3) uint8 RGB, brought to a shorter side of 384 px.
        loss_network: of either kind, in float32.

    Returns:
        (8256,) float32.
    """
    scale = _SIDE / min(image.shape[:2])
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    sized = np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=method), np.uint8)
    device = next(loss_network.parameters()).device
    with torch.inference_mode():
        matrix = gram(loss_network(to_tensor(sized[None], device), (_LAYER,))[_LAYER])[0].cpu()
    upper = matrix[tuple(torch.triu_indices(*matrix.shape))]
    unit: Tensor = upper / upper.norm().clamp_min(1e-12)
    return unit


def nearest_style(
    image: NDArray[np.uint8], loss_network: LossNetwork, among: Sequence[str], path: Path = GRAMS
) -> tuple[str, float]:
    """The bundled style whose painting's Gram matrix is nearest.

    Args:
        image: (H, W, 3) uint8 RGB.
        loss_network: of either kind, in float32.
        among: names of the styles to choose from.
        path: what this module's command wrote.

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


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the Gram matrices of the paintings of checkpoints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("checkpoints", type=Path, nargs="+", help="whose paintings to describe")
    parser.add_argument("--styles", type=Path, required=True, help="folder of the paintings")
    parser.add_argument("--loss-network", type=Path, action="append", required=True, help="one of each kind")
    parser.add_argument("-o", "--output", type=Path, default=GRAMS)
    options = parser.parse_args(arguments)
    found = {}
    for file in options.loss_network:
        network = load_loss_network(file)
        for path in options.checkpoints:
            image = read_image(options.styles / read_tensors(path)[1]["style"])
            found[f"{network.architecture}/{path.stem}"] = signature(image, network).half()
    with atomic_path(options.output) as partial:
        partial.write_bytes(save(found))


if __name__ == "__main__":
    main()
