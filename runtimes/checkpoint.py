"""Reads the header of a ``.safetensors`` checkpoint without torch."""

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..common.checkpoint import checkpoint_header, read_checkpoint_file
from ..common.files import InputError


def read_checkpoint_facts(path: Path) -> dict[str, Any]:
    """`train`'s header, with the numbers of ``tensors`` and ``parameters``; raises InputError if there is none."""
    if not path.is_file():
        raise InputError(f"there is no file {path}: check the path")
    _, values, shapes = read_checkpoint_file(path)
    parameters = sum(math.prod(shape) for shape in shapes.values())
    return {**asdict(checkpoint_header(values, path)), "tensors": len(shapes), "parameters": parameters}
