"""What the tests of the rooms below made for themselves, and the studies are tested with."""

from steadystyle.tests.benchmarks.conftest import loss_file, peer_file, stroke_file, texture, write_peer
from steadystyle.tests.train.conftest import loss_file as small_loss_file
from steadystyle.tests.train.conftest import loss_weights, material, recipe

__all__ = [
    "loss_file",
    "loss_weights",
    "material",
    "peer_file",
    "recipe",
    "small_loss_file",
    "stroke_file",
    "texture",
    "write_peer",
]
