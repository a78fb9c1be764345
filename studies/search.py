"""Which network is quick where: candidates with random weights, on each engine, before any is trained.

    python -m studies.search --peer PEER.onnx -o FOLDER

Candidates are exported as they would ship and timed beside the peer as in the benchmark (`latency.py`).
docs/decisions/005 has the result for `edge`.
"""

import argparse
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from steadystyle.benchmarks.measure.latency import Subject, measure_latency
from steadystyle.export.pipeline import Proof, export
from steadystyle.train.checkpoint import CheckpointHeader, save_checkpoint
from steadystyle.train.networks import build_network, multiplications, resolve_sizes
from steadystyle.video.synthetic.harbour import harbour

from . import run_study

SIZE = (640, 360)
CANDIDATES: Mapping[str, tuple[str, dict[str, int]]] = {
    "huang2017": ("huang2017", {}),
    **{
        f"edge {quarter}/{eighth}, {blocks} blocks, {strokes} strokes": (
            "edge",
            {"quarter": quarter, "eighth": eighth, "blocks": blocks, "strokes": strokes},
        )
        for quarter, eighth, blocks, strokes in (
            (24, 48, 4, 0),
            (32, 64, 4, 0),
            (32, 64, 3, 0),
            (32, 64, 3, 1),
            (32, 64, 3, 2),
            (32, 64, 2, 2),
            (48, 64, 3, 0),
            (48, 64, 2, 2),
            (48, 64, 3, 2),
            (64, 64, 2, 1),
        )
    },
    "edge, no margin": ("edge", {"margin": 0}),
}
"""Row -> architecture, and sizes that differ from its defaults."""

ENGINES = (
    *itertools.product(("onnx",), ("fp32", "int8"), ("cpu", "openvino")),
    *itertools.product(("tflite",), ("fp32", "int8"), ("litert",)),
)
"""Target, precision and provider of each column."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table as Markdown, and write the figures to ``FOLDER/search.json``."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--peer", type=Path, required=True, help="ONNX network of another project, the reference")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for artifacts and figures")
    parser.add_argument("--seconds", type=float, default=3, help="of inference for each artifact")
    options = parser.parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    scene = harbour(*SIZE, 8)
    frames = [scene.frame(t) for t in range(8)]
    rows = {}
    titles = [f"{target} {precision} {provider}" for target, precision, provider in ENGINES]
    print(f"| network | MMAC | parameters | {' | '.join(titles)} |\n|{' --- |' * (len(titles) + 3)}", flush=True)
    for name, (architecture, sizes) in CANDIDATES.items():
        checkpoint = options.output / f"{name.replace('/', '-').replace(', ', '-').replace(' ', '-')}.safetensors"
        network = build_network(architecture, sizes)
        header = CheckpointHeader(
            checkpoint.stem, "none", architecture, resolve_sizes(architecture, sizes), "search", 0
        )
        save_checkpoint(checkpoint, network, header)
        subjects = [Subject("peer", "peer", str(options.peer))]
        for title, (target, precision, provider) in zip(titles, ENGINES, strict=True):
            file = _exported(checkpoint, target, precision)
            subjects.append(Subject(title, "artifact", f"{file}@{provider}"))
        found = measure_latency(
            subjects, frames, options.output, reference="peer", seconds=options.seconds, at_least=30
        )
        rows[name] = {
            "mmac": multiplications(network, SIZE) / 1e6,
            "parameters": sum(value.numel() for value in network.parameters()),
            "latency": {
                entry.method: {"ms": entry.median_ms, "ratio": entry.ratio, "peak_mib": entry.peak_memory_mib}
                for entry in found
            },
        }
        cells = [
            f"{entry.median_ms:.1f} ms, 1/{1 / entry.ratio:.0f}, {entry.peak_memory_mib:.0f} MiB" for entry in found
        ]
        print(
            f"| {name} | {rows[name]['mmac']:.0f} | {rows[name]['parameters']} | {' | '.join(cells[1:])} |", flush=True
        )
        (options.output / "search.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")


def _exported(checkpoint: Path, target: str, precision: str) -> Path:
    """The candidate as an artifact; an existing file is reused."""
    size = "x".join(map(str, SIZE))
    file = checkpoint.with_name(f"{checkpoint.stem}-{size}-{precision}.{target}")
    if not file.exists():
        export(checkpoint, target, precision, SIZE, checkpoint.parent, proof=Proof(allow_degraded=True))
    return file


if __name__ == "__main__":
    run_study(main)
