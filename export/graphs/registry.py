"""Which graphs a network has. A new network is a line in the table."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from ...common.arrays import Size
from ...train.networks import EncoderDecoder, PatchNetwork, SmoothPatchNetwork
from .base import DeployableGraph, ImageGraph
from .edge import PatchGraph, PatchImageGraph, SmoothPatchGraph, SmoothPatchImageGraph
from .encoder_decoder import EncoderDecoderGraph, EncoderDecoderImageGraph

GRAPHS: Mapping[type[nn.Module], tuple[Callable[[Any], DeployableGraph], Callable[[Any, Size], ImageGraph]]] = {
    EncoderDecoder: (EncoderDecoderGraph, EncoderDecoderImageGraph),
    PatchNetwork: (PatchGraph, PatchImageGraph),
    SmoothPatchNetwork: (SmoothPatchGraph, SmoothPatchImageGraph),
}
"""Class of a network -> its graph for uint8 frames, and its graph for images."""


def deployable_graph(network: nn.Module) -> DeployableGraph:
    """Rewrite a network for uint8 frames.

    Args:
        network: as a checkpoint holds it; it is copied, not changed.

    Raises:
        TypeError: a network for which none is written.
    """
    return _graphs(network)[0](network)


def image_graph(network: nn.Module, size: Size) -> ImageGraph:
    """Rewrite a network for engines that take and give images themselves.

    Args:
        network: as a checkpoint holds it; it is copied, not changed.
        size: width and height of the frames, in pixels.

    Raises:
        TypeError: a network for which none is written.
    """
    return _graphs(network)[1](network, size)


def _graphs(network: nn.Module) -> tuple[Callable[[Any], DeployableGraph], Callable[[Any, Size], ImageGraph]]:
    if type(network) not in GRAPHS:
        raise TypeError(f"no graph is written for {type(network).__name__}: add one to export/graphs/registry.py")
    return GRAPHS[type(network)]
