r"""What each term of training is worth: the same run with one thing changed at a time, measured on held-out clips.

    python -m steadystyle.benchmarks.ablation --from CHECKPOINT --style IMAGE --clips DIR --photos DIR \
        --held-out DIR --loss-network VGG19.safetensors -o FOLDER

Each row is a run of the same number of steps from the same weights, by the command line; a finished one is not done
again. The network is measured as it was trained, in float, not as an artifact.
"""

import argparse
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..train.checkpoint import load_checkpoint
from ..video.files import InputError
from ..video.motions import SCENES
from .clips import FileClip, SceneClip
from .held_out import measure, open_held_out_judging, row_of, stylizer
from .steadiness import measure_clip

BASE = "the recipe"
VARIANTS: Mapping[str, dict[str, str]] = {
    BASE: {},
    "no temporal loss": {"temporal_weight": "0"},
    "no clips, photos alone": {"clip_share": "0"},
    "no photos, clips alone": {"clip_share": "1"},
    "no pairs five frames apart": {"clip_intervals": "[1]"},
    "no grid loss": {"grid_weight": "0"},
    "no total variation": {"variation_weight": "0"},
    "style at full size alone": {"style_half_weight": "0"},
    "spatial losses of both frames": {"both_frames": "true"},
    "luminance in the temporal loss, light changes": {"luminance": "true", "brightness": "0.1"},
    "light changes without it": {"brightness": "0.1"},
    "temporal loss of features": {"temporal_feature_weight": "2"},
    "a third of the photos still": {"still_share": "0.33"},
    "no loss for the border": {"border_weight": "0"},
    "losses up to the border": {"border": "0", "border_weight": "0"},
}
"""Row -> what is set differently."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the table to standard output as Markdown, a row as soon as it is measured."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--from", dest="start", type=Path, required=True, help="checkpoint that every run starts from")
    parser.add_argument("--recipe", default="edge-finetune")
    parser.add_argument("--style", type=Path, required=True)
    parser.add_argument("--clips", type=Path, required=True)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--held-out", type=Path, required=True, help="folder of clips to measure on")
    parser.add_argument("--loss-network", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--frames", type=int, default=16, help="of each held-out clip")
    parser.add_argument("--only", action="append", metavar="ROW", help="a part of the rows, by name")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the runs")
    options = parser.parse_args(arguments)
    unknown = next((row for row in options.only or () if row not in VARIANTS), None)
    if unknown is not None:
        raise InputError(f"there is no row '{unknown}': choose from {', '.join(VARIANTS)}")
    clips = [FileClip(clip, max_frames=options.frames) for clip in sorted(options.held_out.iterdir())]
    light = SceneClip(SCENES["light"](width=640, height=360), options.frames)
    print("| | excess e(1) | excess e(5) | style | content | drift when still | excess e(1), changing light |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |", flush=True)
    for row in options.only or VARIANTS:
        checkpoint = _trained(row, options)
        stylize = {row: stylizer(load_checkpoint(checkpoint).network.eval())}
        found = measure(stylize, clips, open_held_out_judging(options.style, [row], [options.loss_network]))[row]
        lit = row_of(row, measure_clip(light, stylize)[0].rows).short
        cells = [f"{value:.4f}" for value in (found.short, found.long)]
        cells += [
            f"{found.style:.3f}",
            f"{found.content:.3f}",
            f"{found.drift:.4f}",
            f"{lit.excess:.4f}" if lit else "n/a",
        ]
        print(f"| {row} | {' | '.join(cells)} |", flush=True)


def _trained(row: str, options: argparse.Namespace) -> Path:
    """The checkpoint of a row's run, trained or gone on with where it is not whole."""
    out = Path(options.output) / row.replace(", ", "-").replace(" ", "-")
    checkpoint = out / f"{out.name}.safetensors"
    done = out / "done"
    if not done.exists():
        changes = {"checkpoint_every": str(options.steps), **VARIANTS[row]}
        command = [sys.executable, "-m", "steadystyle.cli", "train", "--recipe", options.recipe]
        command += ["--steps", str(options.steps), "--cache", str(Path(options.output) / "pairs")]
        for key in ("style", "clips", "photos", "loss_network"):
            command += [f"--{key.replace('_', '-')}", str(getattr(options, key))]
        for key, value in changes.items():
            command += ["--set", f"{key}={value}"]
        command += ["--resume"] if out.exists() else ["--from", str(options.start)]
        result = subprocess.run([*command, "-o", str(out)], capture_output=True, text=True, check=False)
        if result.returncode:
            raise InputError(f"the run '{row}' failed: {result.stderr.strip()}")
        done.touch()
    return checkpoint


if __name__ == "__main__":
    main()
