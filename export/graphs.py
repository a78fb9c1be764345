"""Which deployable graph a network has. A new network is a line in each function."""

from torch import nn

from ..train.networks import PatchNetwork
from .graph import DeployableGraph, ImageGraph
from .patch_graph import PatchGraph, PatchImageGraph


def deployable_graph(network: nn.Module) -> DeployableGraph | PatchGraph:
    """Rewrite a network for uint8 frames.

    Args:
        network: as a checkpoint holds it; it is copied, not changed.

    Raises:
        TypeError: a network for which none is written.
    """
    return PatchGraph(network) if isinstance(network, PatchNetwork) else DeployableGraph(network)


def image_graph(network: nn.Module, size: tuple[int, int]) -> ImageGraph | PatchImageGraph:
    """Rewrite a network for engines that take and give images themselves.

    Args:
        network: as a checkpoint holds it; it is copied, not changed.
        size: width and height of the frames, in pixels.

    Raises:
        TypeError: a network for which none is written.
    """
    return PatchImageGraph(network, size) if isinstance(network, PatchNetwork) else ImageGraph(network, size)
