"""Writes ONNX. The only file that imports onnx."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
import torch

from ..runtimes.artifact import METADATA_KEY, ArtifactMetadata
from ..video.files import InputError
from .graph import DeployableGraph
from .pipeline import Size, check_offer, export_one
from .verify import FLOORS_DB

OPSET = 18


class OnnxWriter:
    """The target ``onnx``; see `pipeline.Writer`."""

    ending = ".onnx"
    precisions: tuple[str, ...] = ("fp32",)
    any_size = True

    def write(self, graph: DeployableGraph, path: Path, size: Size | None, precision: str) -> str:
        """Write the graph with input ``frame`` and output ``stylized``, each (height, width, 3) uint8."""
        width, height = size or (64, 48)
        example = torch.zeros((height, width, 3), dtype=torch.uint8)
        sides = None if size else {"frame": {0: torch.export.Dim("height"), 1: torch.export.Dim("width")}}
        with _quiet():
            program = torch.onnx.export(
                graph,
                (example,),
                dynamo=True,
                external_data=False,
                opset_version=OPSET,
                input_names=["frame"],
                output_names=["stylized"],
                dynamic_shapes=sides,
                verbose=False,
            )
        if program is None:
            raise RuntimeError("torch.onnx.export returned no program")
        model: Any = program.model_proto
        opset = next(entry.version for entry in model.opset_import if entry.domain == "")
        if opset != OPSET:  # asked for one that it cannot write, the exporter silently takes another
            raise RuntimeError(f"torch.onnx.export wrote opset {opset} where {OPSET} was asked for")
        _strip(model)
        if size is None:
            # The exporter derives the output's sides as expressions; they are those of the input.
            for end in (model.graph.input[0], model.graph.output[0]):
                end.type.tensor_type.shape.dim[0].dim_param = "height"
                end.type.tensor_type.shape.dim[1].dim_param = "width"
        onnx.checker.check_model(model, full_check=True)
        onnx.save_model(model, path)
        return f"torch {torch.__version__}, onnx {onnx.__version__}, opset {OPSET}"

    def embed(self, path: Path, metadata: ArtifactMetadata) -> None:
        """Put the metadata among the model's own properties."""
        model = onnx.load_model(path)
        onnx.helper.set_model_props(model, {METADATA_KEY: metadata.to_json()})
        onnx.save_model(model, path)


def export_onnx(checkpoint: Path, target: Path, *, size: Size | None, precision: str = "fp32") -> ArtifactMetadata:
    """Write one ONNX artifact, proven on the bundled scene.

    Args:
        checkpoint: a ``.safetensors`` file.
        target: the file to write, ending in ``.onnx``.
        size: width and height of the frames; None for any.
        precision: ``fp32``.

    Returns:
        The metadata as embedded, with the verification figures.

    Raises:
        InputError: a damaged checkpoint, no place to write to, or an artifact that differs too much from its
            checkpoint.
    """
    writer = OnnxWriter()
    check_offer("onnx", writer, precision, size)
    if target.suffix != writer.ending:
        raise InputError(f"'{target}' cannot hold an ONNX artifact: end its name in {writer.ending}")
    result = export_one(
        checkpoint, target.parent, writer, target="onnx", size=size, precision=precision, file_name=target.name
    )
    if result.verdict == "degraded":
        found = float(result.metadata.verification["psnr_db"])
        raise InputError(
            f"the artifact differs too much from '{checkpoint}' (PSNR {found:.1f} dB where {FLOORS_DB[precision]:.0f} "
            "are needed): nothing was kept, report this"
        )
    return result.metadata


def _strip(model: Any) -> None:
    # The exporter notes for every node where in the source it came from, with this machine's paths, and the shapes that
    # it saw. Neither belongs into what ships, and the file is the same for the same checkpoint without them.
    del model.metadata_props[:], model.graph.metadata_props[:], model.graph.value_info[:]
    model.doc_string = model.graph.doc_string = ""
    for entry in (*model.graph.node, *model.graph.initializer, *model.graph.input, *model.graph.output):
        del entry.metadata_props[:]
        entry.doc_string = ""


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's advice to developers off stderr."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
