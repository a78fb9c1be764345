"""Turn a painting into a video filter that runs in real time and does not flicker.

``steadystyle.load("great-wave")`` gives a stylizer; call it with a frame, (H, W, 3) uint8 RGB, to get one back.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from .runtimes.look import Look

if TYPE_CHECKING:
    from .runtimes.stylizer import Stylizer

__all__ = ["Look", "__version__", "load"]

__version__ = "0.1.0"


def load(path: str | Path, *, look: Look | None = None) -> "Stylizer":
    """Open an artifact.

    Args:
        path: an artifact file (``.onnx``, ``.tflite``; ``.mlpackage`` on a Mac), a checkpoint, or the name of a bundled
            model such as ``great-wave``; after an ``@`` the engine, as in ``great-wave@openvino``.
        look: strength, colours and stroke, such as ``Look(strength=0.5)``; None: the painting as it is.

    Returns:
        A stylizer: call it with a frame, (H, W, 3) uint8 RGB, to get the stylized frame of the same size.

    Raises:
        InputError: there is no such model, the file is no artifact or cannot have the look, or its engine is not
            installed.
    """
    # Here, so that `import steadystyle` stays instant.
    from .runtimes.registry import open_stylizer

    return open_stylizer(path, look=look)
