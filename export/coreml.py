"""Writes Core ML's ``.mlpackage``. The graph rounds, because Core ML may round or truncate its output.

``int8``: 8-bit weights, one scale per output channel, in a float16 program. 8-bit activations need predictions, which
coremltools makes on a Mac only, or through private interfaces.
"""

import json
import platform
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..common.arrays import Size
from ..common.files import InputError
from ..runtimes.artifact import METADATA_KEY, NO_HASH, ArtifactMetadata
from ..runtimes.coreml import INPUT, OUTPUT, CoremlStylizer, model_file, package_sha256, quiet
from ..runtimes.look import PLAIN, Look
from ..runtimes.stylizer import Stylizer
from .graphs.registry import image_graph
from .mil import MilStylizer
from .quantization import Quantization
from .target import Writer

with quiet():
    import coremltools
    from coremltools.optimize.coreml import OpLinearQuantizerConfig, OptimizationConfig, linear_quantize_weights
    from coremltools.proto import Model_pb2


class CoremlWriter(Writer):
    """The target ``coreml`` for iOS 16, macOS 13 and later; see `target.Writer`."""

    ending = ".mlpackage"
    default_precision = "fp16"
    any_size = False  # a flexible size would lose the neural engine

    def write(
        self,
        network: nn.Module,
        path: Path,
        size: Size | None,
        precision: str,
        quantization: Quantization | None,
        look: Look = PLAIN,
        layout: str = "HWC",
    ) -> str:
        """Write a model from RGB image ``frame`` to RGB image ``stylized``; InputError if the size is too small."""
        if size is None:
            raise ValueError("a Core ML artifact has a fixed size")
        graph = image_graph(network, size)
        if min(size) < graph.padding:  # Core ML cannot pad an image by more than its own side
            raise InputError(
                f"size {size[0]}x{size[1]} is too small for the target coreml: "
                f"both sides must be at least {graph.padding}"
            )
        shape = (1, 3, size[1], size[0])
        colours = coremltools.colorlayout.RGB
        float_kind = coremltools.precision.FLOAT32 if precision == "fp32" else coremltools.precision.FLOAT16
        trace: Any = torch.jit.trace
        with quiet():
            traced = trace(graph, torch.zeros(shape), check_trace=False)
            model: Any = coremltools.convert(
                traced,
                inputs=[coremltools.ImageType(name=INPUT, shape=shape, color_layout=colours)],
                outputs=[coremltools.ImageType(name=OUTPUT, color_layout=colours)],
                convert_to="mlprogram",
                minimum_deployment_target=coremltools.target.iOS16,
                compute_precision=float_kind,
                skip_model_load=True,
            )
            if precision == "int8":
                symmetric = OpLinearQuantizerConfig(mode="linear_symmetric", weight_threshold=0)
                model = linear_quantize_weights(model, OptimizationConfig(symmetric))
            model.save(str(path))
        _name_items(path)
        return f"torch {torch.__version__}, coremltools {coremltools.__version__}, iOS 16"

    def embed(self, path: Path, metadata: ArtifactMetadata) -> ArtifactMetadata:
        """Put the metadata into the model's description; return it with the hash of the package."""
        file = model_file(path)
        model: Any = Model_pb2.Model()
        model.ParseFromString(file.read_bytes())
        shown = model.description.metadata  # by Xcode
        shown.shortDescription = f"Paints a picture in the style '{metadata.name}', steadily through a video"
        shown.author = metadata.producer
        shown.license = "The licence of the weights stands in the card of the model"
        model.description.input[0].shortDescription = f"The picture, {metadata.size_text} pixels"
        model.description.output[0].shortDescription = "The painted picture, of the same size"
        # The date would change the bytes of the same artifact every day.
        shown.userDefined.pop("com.github.apple.coremltools.conversion_date", None)
        file.unlink()  # coremltools wrote it for its owner alone to read
        for sha256 in (NO_HASH, None):
            metadata = replace(metadata, content_sha256=sha256 or package_sha256(path))
            shown.userDefined[METADATA_KEY] = metadata.to_json()
            file.write_bytes(model.SerializeToString(deterministic=True))
        return metadata

    def run(self, path: Path) -> Stylizer:
        """Open with Core ML on a Mac, and interpret the program elsewhere."""
        return CoremlStylizer(path) if platform.system() == "Darwin" else MilStylizer(path)


def _name_items(path: Path) -> None:
    """Replace the random identifiers of a manifest's items by fixed ones."""
    file = path / "Manifest.json"
    text = file.read_text(encoding="utf-8")
    manifest = json.loads(text)
    items = {uuid.uuid5(uuid.NAMESPACE_URL, item["path"]): name for name, item in manifest["itemInfoEntries"].items()}
    for fixed, random in items.items():
        text = text.replace(random, str(fixed))
    file.write_text(json.dumps(json.loads(text), indent=4, sort_keys=True) + "\n", encoding="utf-8")
