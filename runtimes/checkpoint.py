"""Reads the header of a ``.safetensors`` checkpoint with the standard library alone."""

import json
import math
from pathlib import Path
from typing import Any

from ..common.files import InputError


def read_checkpoint_facts(path: Path) -> dict[str, Any]:
    """`train`'s header, with the numbers of ``tensors`` and ``parameters``; raises InputError if there is none.

    The file starts with eight bytes, the little-endian length of the JSON text after them; then come the values.
    """
    if not path.is_file():
        raise InputError(f"there is no file {path}: check the path")
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= path.stat().st_size - 8:
                raise ValueError("its header does not fit into the file")
            tensors = json.loads(file.read(length))
        own = json.loads(tensors.pop("__metadata__", {})["steadystyle"])
        parameters = sum(math.prod(tensor["shape"]) for tensor in tensors.values())
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is not a steadystyle checkpoint: give one that `train` wrote") from error
    return {**own, "tensors": len(tensors), "parameters": parameters}
