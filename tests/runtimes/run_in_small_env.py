"""What an edge device does with artifacts, run by `test_tflite_small_envs.py` in an environment with one engine.

Arguments: artifacts; beside each lies what is expected of it, NAME.npz with ``frame`` and ``stylized``.
"""

import sys
from pathlib import Path

import numpy as np

from steadystyle.runtimes.tflite import TfliteStylizer, read_metadata

for name in sys.argv[1:]:
    path = Path(name)
    with np.load(path.with_suffix(".npz")) as arrays:
        frame, expected = arrays["frame"], arrays["stylized"]
    with TfliteStylizer(path, threads=1) as stylizer:
        difference = np.abs(stylizer(frame).astype(int) - expected)
        print(f"{read_metadata(path).precision}|{stylizer.engine}|{difference.max()}|{difference.mean()}")
heavy = {"torch", "tensorflow", "onnxruntime", "onnx", "ai_edge_quantizer"} & set(sys.modules)
assert not heavy, heavy
