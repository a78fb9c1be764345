"""The loss network: VGG-16 or VGG-19 trained on ImageNet (Simonyan and Zisserman 2015), frozen, read by layer.

Weights come from a file: torchvision's, or any prefix of the convolutions as ``.safetensors`` under torchvision's names
(``features.0.weight`` ...). Both input conventions in use are converted exactly to RGB in [0, 1]:

* ``caffe`` (the Oxford weights): RGB in 0..255 minus (123.68, 116.779, 103.939);
* ``torchvision``: (RGB in [0, 1] minus mean) / standard deviation.

The mean is subtracted from the frame, so that zero padding pads with it, as in training on ImageNet. Scales are folded
into the first convolution.
"""

import os
import time
import urllib.request
from collections.abc import Collection, Iterable
from http.client import HTTPException
from pathlib import Path
from typing import Literal, Self

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from ...common.files import InputError, atomic_path, sha256_of
from ..tensors import lay_channels_last

Convention = Literal["caffe", "torchvision"]

CAFFE_MEAN = (123.68, 116.779, 103.939)
TORCHVISION_MEAN = (0.485, 0.456, 0.406)
TORCHVISION_STD = (0.229, 0.224, 0.225)

TORCHVISION_URL = "https://download.pytorch.org/models/vgg16-397923af.pth"
TORCHVISION_SHA256 = "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0"
_PATIENCE = 60.0  # seconds that the server may be silent
_LONGEST = 6 * 3600.0  # seconds in all
_MOST_BYTES = 600_000_000
ENVIRONMENT_VARIABLE = "STEADYSTYLE_LOSS_NETWORK"

CONVOLUTIONS = {"VGG-16": (2, 2, 3, 3, 3), "VGG-19": (2, 2, 4, 4, 4)}
"""Convolutions of each block, by network; the blocks have 64, 128, 256, 512 and 512 channels."""

_CHANNELS = (64, 128, 256, 512, 512)


def layers_of(architecture: str) -> list[tuple[str, int, int, int, bool]]:
    """(name of the ReLU, torchvision's index, inputs, outputs, whether pooled before) by layer, shallow to deep."""
    layers, index, inputs = [], 0, 3
    for block, (width, count) in enumerate(zip(_CHANNELS, CONVOLUTIONS[architecture], strict=True), start=1):
        for position in range(1, count + 1):
            layers.append((f"relu{block}_{position}", index, inputs, width, block > 1 and position == 1))
            inputs, index = width, index + 2
        index += 1  # the pooling layer
    return layers


class LossNetwork(nn.Module):
    """VGG-16's or VGG-19's convolutions up to the deepest one for which weights were given.

    ``weights`` are any prefix of the network, named as torchvision does: ``features.N.weight``, ``features.N.bias``.
    ``names`` lists the layers, shallow to deep. InputError for a missing, misshapen or non-finite tensor.
    """

    mean: Tensor

    def __init__(self, weights: dict[str, Tensor], convention: Convention) -> None:
        super().__init__()
        # VGG-19 has a convolution at index 16, where VGG-16 pools; up to relu3_3 both are alike.
        pools = "features.17.weight" in weights and "features.16.weight" not in weights
        self.architecture = "VGG-16" if pools else "VGG-19"
        self.names: list[str] = []
        self.pooled: list[bool] = []
        self.convolutions = nn.ModuleList()
        for name, index, inputs, outputs, pooled in layers_of(self.architecture):
            weight, bias = weights.get(f"features.{index}.weight"), weights.get(f"features.{index}.bias")
            if weight is None or bias is None:
                break
            if tuple(weight.shape) != (outputs, inputs, 3, 3) or tuple(bias.shape) != (outputs,):
                raise InputError(f"the loss network's layer {name} has shape {tuple(weight.shape)}, not VGG's")
            if not (torch.isfinite(weight).all() and torch.isfinite(bias).all()):
                raise InputError(f"the loss network's layer {name} holds values that are not finite: fetch it again")
            convolution = nn.Conv2d(inputs, outputs, 3, padding=1)
            convolution.load_state_dict({"weight": weight, "bias": bias})
            self.convolutions.append(convolution)
            self.names.append(name)
            self.pooled.append(pooled)
        if not self.names:
            raise InputError("the loss network's file holds no VGG layers (features.0.weight and so on)")
        if convention == "caffe":
            mean, scale = torch.tensor(CAFFE_MEAN) / 255.0, torch.full((3,), 255.0)
        else:
            mean, scale = torch.tensor(TORCHVISION_MEAN), 1.0 / torch.tensor(TORCHVISION_STD)
        with torch.no_grad():
            next(self.convolutions.parameters()).mul_(scale.view(1, 3, 1, 1))
        self.register_buffer("mean", mean.view(1, 3, 1, 1))
        self.requires_grad_(False)
        self.eval()

    def require(self, layers: Iterable[str]) -> None:
        """Raise InputError when one of ``layers`` is not available."""
        first = min((layer for layer in layers if layer not in self.names), default=None)
        if first is None:
            return
        if first not in {name for name, *_ in layers_of(self.architecture)}:
            other = next((key for key in CONVOLUTIONS if first in {name for name, *_ in layers_of(key)}), None)
            hint = f"give --loss-network a {other} file" if other else f"it has {', '.join(self.names)}"
            raise InputError(f"the loss network is {self.architecture}, which has no layer {first}: {hint}")
        raise InputError(
            f"the loss network ({self.architecture}) ends at {self.names[-1]}: {first} needs a file with more layers"
        )

    def compact(self) -> Self:
        """Hold weights and compute in bfloat16, channels last: a quarter of the time on a CPU with BF16."""
        lay_channels_last(self.convolutions, torch.bfloat16)
        return self

    def forward(self, x: Tensor, layers: Collection[str]) -> dict[str, Tensor]:
        """Features after the ReLU by layer, (B, C, H / 2^k, W / 2^k), in the type and layout of the weights.

        ``x`` is (B, 3, H, W) RGB in [0, 1]; computation stops at the deepest layer. InputError for a missing one.
        """
        self.require(layers)
        features: dict[str, Tensor] = {}
        if not layers:
            return features
        x = x - self.mean
        if next(self.convolutions.parameters()).dtype == torch.bfloat16:
            x = x.to(torch.bfloat16, memory_format=torch.channels_last)
        for name, pooled, convolution in zip(self.names, self.pooled, self.convolutions, strict=True):
            if pooled:
                x = functional.max_pool2d(x, 2)
            x = functional.relu(convolution(x))
            if name in layers:
                features[name] = x
                if len(features) == len(set(layers)):
                    break
        return features


def _convention_of(metadata: dict[str, str] | None, path: Path) -> Convention:
    text = " ".join((metadata or {}).values()).lower()
    if "caffe" in text or "0..255" in text:
        return "caffe"
    if "torchvision" in text or "std" in text:
        return "torchvision"
    raise InputError(
        f"{path} does not say which input its weights want: add --loss-network-input caffe (RGB 0..255 minus mean) "
        "or torchvision (mean and standard deviation)"
    )


def named_loss_networks() -> list[Path]:
    """Files in ``STEADYSTYLE_LOSS_NETWORK``, split at colons (Windows: semicolons); InputError for none."""
    named = [Path(name) for name in os.environ.get(ENVIRONMENT_VARIABLE, "").split(os.pathsep) if name]
    if not named:
        raise InputError(
            "the losses need VGG weights: give --loss-network FILE (.safetensors, or torchvision's vgg16 or "
            f"vgg19 .pth), set {ENVIRONMENT_VARIABLE}, or let `train` fetch them with --download-loss-network DIR"
        )
    return named


def load_loss_network(path: Path | None = None, convention: Convention | None = None) -> LossNetwork:
    """Load the loss network from ``.safetensors`` (any prefix) or torchvision's ``.pth``.

    Without ``path``, the first file of ``STEADYSTYLE_LOSS_NETWORK`` is loaded. Without ``convention``, the file must
    state it (a ``.pth`` is torchvision's). InputError for a missing or unreadable file, or an unknown convention.
    """
    if path is None:
        path = named_loss_networks()[0]
    if not path.is_file():
        raise InputError(f"there is no loss network at {path}: give a VGG-16 or VGG-19 weights file")
    if path.suffix == ".pth":
        try:
            weights = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch.load documents no narrower set
            raise InputError(f"{path} cannot be read as torchvision's VGG weights: {error}") from error
        convention = convention or "torchvision"
    else:
        try:
            with safe_open(path, framework="pt") as file:
                convention = convention or _convention_of(file.metadata(), path)
            weights = load_file(path)
        except SafetensorError as error:
            raise InputError(f"{path} is not a .safetensors file: {error}") from error
    return LossNetwork({key: value.float() for key, value in weights.items()}, convention)


def download_loss_network(folder: Path) -> Path:
    """Fetch torchvision's VGG-16 weights (528 MB) unless there.

    InputError if this or the SHA-256 check fails, if the server is silent for 60 s, or sends over 600 MB or 6 hours.
    """
    target = folder / TORCHVISION_URL.rsplit("/", 1)[-1]
    if target.is_file() and sha256_of(target) == TORCHVISION_SHA256:
        return target
    end = time.monotonic() + _LONGEST
    with atomic_path(target) as partial:
        try:
            with urllib.request.urlopen(TORCHVISION_URL, timeout=_PATIENCE) as answer, partial.open("wb") as file:
                while file.tell() <= _MOST_BYTES and (chunk := answer.read1(1 << 20)):
                    file.write(chunk)
                    if time.monotonic() > end:
                        raise TimeoutError("the server is too slow")
        except (OSError, HTTPException) as error:
            raise InputError(f"the loss network could not be downloaded from {TORCHVISION_URL}: {error}") from error
        if sha256_of(partial) != TORCHVISION_SHA256:
            raise InputError("the downloaded loss network does not have the published SHA-256: try again")
    return target
