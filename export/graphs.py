"""Which deployable graphs a network has. A new network is a line in the table."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from ..train.networks import PatchNetwork, SmoothPatchNetwork
from .graph import DeployableGraph, ImageGraph
from .patch_graph import PatchGraph, PatchImageGraph, SmoothPatchGraph, SmoothPatchImageGraph

GRAPHS: Mapping[type[nn.Module], tuple[Callable[..., Any], Callable[..., Any]]] = {
    PatchNetwork: (PatchGraph, PatchImageGraph),
    SmoothPatchNetwork: (SmoothPatchGraph, SmoothPatchImageGraph),
}
"""Class of a network -> its graph for uint8 frames, and its graph for images. All others have those of `graph.py`."""


def deployable_graph(network: nn.Module) -> DeployableGraph | PatchGraph:
    """Rewrite a network for uint8 frames.

    Args:
        network: as a checkpoint holds it; it is copied, not changed.

    Raises:
        TypeError: a network for which none is written.
    """
    graph: DeployableGraph | PatchGraph = GRAPHS.get(type(network), (DeployableGraph, ImageGraph))[0](network)
    return graph


def image_graph(network: nn.Module, size: tuple[int, int]) -> ImageGraph | PatchImageGraph:
    """Rewrite a network for engines that take and give images themselves.

    Args:
        network: as a checkpoint holds it; it is copied, not changed.
        size: width and height of the frames, in pixels.

    Raises:
        TypeError: a network for which none is written.
    """
    graph: ImageGraph | PatchImageGraph = GRAPHS.get(type(network), (DeployableGraph, ImageGraph))[1](network, size)
    return graph
