"""The graphs of each network class; a new class is one line in the table."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from ...common.arrays import Size
from ...train.networks import EncoderDecoder, PatchNetwork, SmoothPatchNetwork
from .base import DeployableGraph, ImageGraph
from .edge import PatchGraph, PatchImageGraph, SmoothPatchGraph
from .encoder_decoder import EncoderDecoderGraph, EncoderDecoderImageGraph

GRAPHS: Mapping[type[nn.Module], tuple[Callable[[Any], DeployableGraph], Callable[[Any, Size], ImageGraph]]] = {
    EncoderDecoder: (EncoderDecoderGraph, EncoderDecoderImageGraph),
    PatchNetwork: (PatchGraph, PatchImageGraph),
    SmoothPatchNetwork: (SmoothPatchGraph, PatchImageGraph),
}
"""Network class -> its graph for uint8 frames, and its graph for images."""


def deployable_graph(network: nn.Module) -> DeployableGraph:
    """A copy of a network, rewritten for uint8 frames; raises TypeError for a class without a graph."""
    return _graphs(network)[0](network)


def image_graph(network: nn.Module, size: Size) -> ImageGraph:
    """A copy of a network, rewritten for image engines at one size; raises TypeError for a class without a graph."""
    return _graphs(network)[1](network, size)


def _graphs(network: nn.Module) -> tuple[Callable[[Any], DeployableGraph], Callable[[Any, Size], ImageGraph]]:
    if type(network) not in GRAPHS:
        raise TypeError(f"no graph is written for {type(network).__name__}: add one to export/graphs/registry.py")
    return GRAPHS[type(network)]
