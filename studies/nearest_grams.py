r"""Describe the paintings of the bundled styles, so that a training can start from the nearest one.

    python -m studies.nearest_grams CHECKPOINT... --styles DIR --loss-network VGG16.safetensors \
        --loss-network VGG19.safetensors

writes `train/loss/grams.safetensors`: a Gram matrix of each painting. Run it again when a bundled style joins.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from steadystyle.train.checkpoint import read_tensors
from steadystyle.train.loss.nearest import GRAMS, save_signatures, signature
from steadystyle.train.loss.network import load_loss_network
from steadystyle.video.images import read_image

from . import run_study


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the Gram matrices of the checkpoints' paintings."""
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
            found[f"{network.architecture}/{path.stem}"] = signature(image, network)
    save_signatures(found, options.output)


if __name__ == "__main__":
    run_study(main)
