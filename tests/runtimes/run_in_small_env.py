"""What an edge device does with artifacts, run by `test_small_envs.py` in an environment with one engine.

Arguments: artifacts; beside each lies what is expected of it, FILE.npz with ``frame`` and ``stylized``.
"""

import sys

import numpy as np

from steadystyle.runtimes.registry import open_stylizer

for name in sys.argv[1:]:
    with np.load(f"{name}.npz") as arrays:
        frame, expected = arrays["frame"], arrays["stylized"]
    with open_stylizer(name, threads=1) as stylizer:
        difference = np.abs(stylizer(frame).astype(int) - expected)
        print(f"{stylizer.metadata.precision}|{stylizer.engine}|{difference.max()}|{difference.mean()}")
heavy = {"torch", "tensorflow", "onnx", "ai_edge_quantizer"} & set(sys.modules)
assert not heavy, heavy
