"""Reads the header of a ``.safetensors`` checkpoint with the standard library alone."""

import math
from pathlib import Path
from typing import Any

from ..common.files import InputError
from ..common.untrusted import checked_name, parse_json, read_safetensors_header


def read_checkpoint_facts(path: Path) -> dict[str, Any]:
    """`train`'s header, with the numbers of ``tensors`` and ``parameters``; raises InputError if there is none."""
    if not path.is_file():
        raise InputError(f"there is no file {path}: check the path")
    try:
        metadata, shapes = read_safetensors_header(path)
        own = dict(parse_json(metadata["steadystyle"]))
    except (ValueError, LookupError, TypeError) as error:
        raise InputError(f"{path} is not a steadystyle checkpoint: give one that `train` wrote") from error
    if "name" in own:  # a training state has none
        checked_name(own["name"])
    return {**own, "tensors": len(shapes), "parameters": sum(map(math.prod, shapes.values()))}
