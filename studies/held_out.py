r"""What checkpoints would be worth, on clips that are neither trained on nor reported on: to choose which one to ship.

    python -m studies.held_out CHECKPOINT... --style IMAGE --clips DIR \
        --loss-network VGG19.safetensors --loss-network VGG16.safetensors --peer PEER.onnx

Networks are measured in float. With a peer, excess temporal error (mean over the clips) is a share of the peer's.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from steadystyle.benchmarks.judging import Judging, open_judging, read_style_images
from steadystyle.benchmarks.measure.clips import ClipSource, FileClip
from steadystyle.benchmarks.measure.peer import open_peer
from steadystyle.benchmarks.measure.steadiness import IDENTITY, Stylize, controls_of, measure_clip, measure_drift
from steadystyle.benchmarks.record import Drift, Method, Summary, summarize
from steadystyle.benchmarks.report.table import figure
from steadystyle.common.arrays import Image
from steadystyle.common.files import InputError
from steadystyle.train.checkpoint import load_checkpoint
from steadystyle.train.tensors import to_frame, to_tensor

from . import run_study

_PLAIN = ((245, 245, 245), (120, 160, 220), (60, 60, 60))  # white, blue, dark
_NEEDED = ("excess_short", "excess_long", "score", "content", "drift", "own_score", "colour")  # in every row


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("checkpoints", nargs="+", type=Path, metavar="CHECKPOINT")
    parser.add_argument("--style", type=Path, required=True, help="style image of all of them")
    parser.add_argument("--clips", type=Path, required=True, help="folder of clips to measure on")
    parser.add_argument(
        "--loss-network", type=Path, action="append", required=True,
        help="VGG-19 weights; once more for VGG-16, for the stroke score",
    )  # fmt: skip
    parser.add_argument("--peer", type=Path, help="ONNX model to be held against")
    parser.add_argument("--frames", type=int, default=12, help="of each clip")
    options = parser.parse_args(arguments)
    clips = [FileClip(clip, max_frames=options.frames) for clip in sorted(options.clips.iterdir())]
    if not clips:
        raise InputError(f"there are no clips in {options.clips}: name a folder that holds some")
    scenes = [next(iter(clip)) for clip in clips]
    stylizers: dict[str, Stylize] = {}
    style_sizes: dict[str, int] = {}
    for path in options.checkpoints:
        checkpoint = load_checkpoint(path)
        stylizers[str(path)] = stylizer(checkpoint.network)
        style_sizes[str(path)] = checkpoint.header.style_size
    own = list(stylizers)
    if options.peer is not None:
        stylizers[options.peer.name] = open_peer(options.peer)
    judging = open_held_out_judging(options.style, list(stylizers), options.loss_network, style_sizes)
    found = measure(stylizers, clips, judging)
    peer = found[options.peer.name] if options.peer is not None else None
    of_peer = "" if peer is None else "share of the peer's "
    print(
        f"| | {of_peer}excess e(1) | e(5) | drift | style | own size | strokes | colour | content "
        "| shift error, 1, 2, 3, 4 px | border: white, blue, dark |"
    )
    print(f"| --- |{' ---: |' * 10}")
    for name in own:
        one = found[name]
        cells = [
            figure(getattr(one, key), 4) if peer is None else f"{getattr(one, key) / getattr(peer, key):.3f}"
            for key in ("excess_short", "excess_long", "drift")
        ]
        cells += [figure(one.score, 3), f"{figure(one.own_score, 3)} ({style_sizes[name]})", figure(one.stroke, 3)]
        cells += [figure(one.colour, 3), figure(one.content, 2), " ".join(f"{error:.4f}" for error in one.shift or [])]
        cells.append(" ".join(f"{border_line(stylizers[name], scenes, colour):.1f}" for colour in _PLAIN))
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def open_held_out_judging(
    style: Path, names: Sequence[str], loss_networks: Sequence[Path], style_sizes: Mapping[str, int] | None = None
) -> Judging:
    """The judge of stylizers that share one style image; InputError for an unusable file or without VGG-19.

    ``style_sizes`` are the shorter sides, px, that they were trained for; VGG-16 weights add the stroke score.
    """
    methods = [Method(IDENTITY, "control")]
    for name in names:
        methods += [Method(name, "artifact"), *controls_of(name)]
    judging = open_judging(methods, read_style_images({"": style}), loss_networks, {}, style_sizes or {})
    if "score" in judging.absent:
        raise InputError(judging.absent["score"])
    return judging


def measure(stylizers: Mapping[str, Stylize], clips: Sequence[ClipSource], judging: Judging) -> dict[str, Summary]:
    """Figures by stylizer, mean over the clips (drift: the first one's first frame); InputError for too short clips."""
    results = [
        measure_clip(clip, stylizers, judge=judging.judge, fixed_sizes=dict.fromkeys(stylizers))[0] for clip in clips
    ]
    drifts = [Drift(name, "local", value) for name, value in measure_drift(next(iter(clips[0])), stylizers).items()]
    found = {row.method: row for row in summarize(results, drifts) if row.method in stylizers}
    if any(getattr(row, key) is None for row in found.values() for key in _NEEDED):
        raise InputError("the clips are too short to be measured: give clips of six frames or more, without cuts")
    return found


def stylizer(network: nn.Module) -> Stylize:
    """A network, in float on the CPU, as a function of (H, W, 3) uint8 RGB frames."""

    def stylize(frame: Image) -> Image:
        with torch.inference_mode():
            return to_frame(network(to_tensor(frame[None], torch.device("cpu")))[0])

    return stylize


def border_line(stylize: Stylize, scenes: Sequence[Image], colour: tuple[int, int, int]) -> float:
    """How much a plain area differs along the frame's upper border from further in, of 255.

    Upper and left parts of each (H, W, 3) uint8 RGB scene are filled with the colour, RGB of 255. The result is the
    root mean square difference of the outermost ninth of the height from the mean of an inner strip, mean over scenes.
    """
    found = []
    for scene in scenes:
        height, width = scene.shape[:2]
        plain = scene.copy()
        plain[: height * 4 // 9] = colour
        plain[:, : width // 4] = colour
        middle = stylize(plain)[:, width * 3 // 8 : width * 7 // 8].astype(np.float64)
        strip, further = height // 9, height * 8 // 45
        inside = middle[further : further + strip].mean((0, 1))
        found.append(float(np.sqrt(np.mean((middle[:strip] - inside) ** 2))))
    return float(np.mean(found))


if __name__ == "__main__":
    run_study(main)
