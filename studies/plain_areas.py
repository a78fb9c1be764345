r"""Take the grid of 4 px out of plain areas of a trained edge network, by a change of its last convolution.

    python -m studies.plain_areas CHECKPOINT -o CHECKPOINT PICTURE...

What a patch's 4x4 pixels have beside a plane is regressed on the mean of its features over 3x3 patches, least where
most is painted; what is predicted is the same in every patch, so a grid, and is subtracted. The pictures are training
data: photographs, or frames of clips.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from steadystyle.common.files import InputError
from steadystyle.train.checkpoint import load_checkpoint, read_tensors, write_tensors
from steadystyle.train.networks import PatchNetwork
from steadystyle.train.tensors import to_tensor
from steadystyle.video.images import read_image

from . import run_study

_NOISE = 2e-5  # mean square beside the plane that counts as plain: a little over one step of 8 bits
_RIDGE = 1e-6


def beside_plane(patches: Tensor) -> Tensor:
    """What (N, 48) patches, colours last, have beside the plane through each colour."""
    side = torch.arange(4, dtype=patches.dtype) - 1.5
    plane = torch.stack((torch.ones(16).to(patches), side.repeat(4), side.repeat_interleave(4)), 1)
    rest = torch.eye(16).to(patches) - plane @ torch.linalg.pinv(plane)
    return torch.einsum("pq,nqc->npc", rest, patches.reshape(-1, 16, 3)).flatten(1)


def even(network: PatchNetwork, pictures: Sequence[Tensor]) -> float:
    """Change the head of a network; return the share of the weighted energy that was grid.

    ``pictures``: (1, 3, H, W) in [0, 1].
    """
    width = network.head.in_channels
    seen: list[tuple[Tensor, Tensor]] = []

    def watch(_: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        padding = (output.shape[2] - inputs[0].shape[2] + 2) // 2
        mean = functional.avg_pool2d(inputs[0], 3, 1, padding)
        seen.append((mean[0].flatten(1).T.double(), output[0].flatten(1).T.double()))

    normal, found, energy = _RIDGE * torch.eye(width + 1).double(), torch.zeros(width + 1, 48).double(), 0.0
    watching = network.head.register_forward_hook(watch)
    with torch.no_grad():
        for picture in pictures:
            network(picture)
            features, patches = seen.pop()
            inputs, wanted = functional.pad(features, (0, 1), value=1.0), beside_plane(patches)
            weights = 1 / (1 + wanted.square().mean(1, keepdim=True) / _NOISE) / len(wanted)
            normal += inputs.T @ (weights * inputs)
            found += inputs.T @ (weights * wanted)
            energy += float((weights * wanted.square()).sum())
        watching.remove()
        grid = torch.linalg.solve(normal, found)
        network.head.weight -= (grid[:width].T / 9)[:, :, None, None].to(network.head.weight)
        network.head.get_parameter("bias").sub_(grid[width].to(network.head.weight))
    return float((grid * found).sum()) / energy


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the changed checkpoint."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("pictures", type=Path, nargs="+", metavar="PICTURE")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args(arguments)
    network = load_checkpoint(options.checkpoint).network
    if not isinstance(network, PatchNetwork):
        raise InputError(f"{options.checkpoint} paints no patches: name an `edge` or `edge-lp` checkpoint")
    frames = (np.asarray(read_image(path))[None] for path in options.pictures)
    share = even(network, [to_tensor(frame, torch.device("cpu")) for frame in frames])
    write_tensors(options.output, network.state_dict(), read_tensors(options.checkpoint)[1])
    print(f"{options.output}: {share:.0%} of what plain areas had beside planes was the same in every patch")


if __name__ == "__main__":
    run_study(main)
