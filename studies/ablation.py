r"""What each term of training is worth: the same run with one thing changed at a time, measured on held-out clips.

    python -m studies.ablation --from CHECKPOINT --style IMAGE --clips DIR --photos DIR \
        --held-out DIR --loss-network VGG16.safetensors --judge VGG19.safetensors -o FOLDER

Each row is a run of equal steps from the same weights; finished runs are kept. Networks are measured in float.
"""

import argparse
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from steadystyle.benchmarks.measure.clips import FileClip
from steadystyle.benchmarks.report.table import figure
from steadystyle.common.files import InputError
from steadystyle.train.checkpoint import load_checkpoint
from steadystyle.train.loss.network import load_loss_network
from steadystyle.train.recipes import load_recipe
from steadystyle.train.state import STATE_NAME, steps_done
from steadystyle.train.trainer import TrainingJob, train

from . import run_study
from .held_out import measure, open_held_out_judging, stylizer

BASE = "the recipe"
VARIANTS: Mapping[str, dict[str, str]] = {
    BASE: {},
    "no shifted pictures": {"shift_share": "0"},
    "no large strokes: style at full size alone": {"style_half_weight": "0", "style_quarter_weight": "0"},
    "no colour term": {"colour_weight": "0"},
    "no tone term": {"tone_weight": "0"},
    "content at full size": {"content_scale": "1"},
    "style image at 384": {"style_size": "384"},
    "style image at 512": {"style_size": "512"},
    "the network edge": {"architecture": "edge"},
    "VGG-19 to relu3_4": {
        "content_layers": "[relu3_2]",
        "style_layers": "[relu1_2, relu2_2, relu3_2]",
        "style_half_layers": "[relu2_2, relu3_2, relu3_4]",
        "style_quarter_layers": "[relu2_2, relu3_2, relu3_4]",
    },
    "no temporal loss": {"temporal_weight": "0", "shift_share": "0"},
    "no clips, photos alone": {"clip_share": "0"},
    "no photos, clips alone": {"clip_share": "1"},
}
"""Row -> changed recipe values."""

OTHER_NETWORK = "VGG-19 to relu3_4"  # the row that trains with the other loss network


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table as Markdown, each row once it is measured."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--from", dest="start", type=Path, required=True, help="checkpoint that every run starts from")
    parser.add_argument("--recipe", default="paint")
    parser.add_argument("--style", type=Path, required=True)
    parser.add_argument("--clips", type=Path, required=True)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--held-out", type=Path, required=True, help="folder of clips to measure on")
    parser.add_argument("--loss-network", type=Path, required=True, help="VGG-16, to train with")
    parser.add_argument("--judge", type=Path, required=True, help="VGG-19, to measure with, and to train one row with")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--frames", type=int, default=16, help="of each held-out clip")
    parser.add_argument("--only", action="append", metavar="ROW", help="a part of the rows, by name")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the runs")
    options = parser.parse_args(arguments)
    unknown = next((row for row in options.only or () if row not in VARIANTS), None)
    if unknown is not None:
        raise InputError(f"there is no row '{unknown}': choose from {', '.join(VARIANTS)}")
    clips = [FileClip(clip, max_frames=options.frames) for clip in sorted(options.held_out.iterdir())]
    print("| | excess e(1) | excess e(5) | style | strokes | colour | content | shift 1, 2, 3, 4 px | drift |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- | ---: |", flush=True)
    for row in options.only or VARIANTS:
        stylize = {row: stylizer(load_checkpoint(_trained(row, options)).network)}
        judging = open_held_out_judging(options.style, [row], [options.judge, options.loss_network])
        found = measure(stylize, clips, judging)[row]
        cells = [figure(value, 4) for value in (found.excess_short, found.excess_long)]
        cells += [figure(value, 3) for value in (found.own_score, found.stroke, found.colour)]
        cells += [figure(found.content, 2), " ".join(f"{error:.4f}" for error in found.shift or ())]
        cells.append(figure(found.drift, 4))
        print(f"| {row} | {' | '.join(cells)} |", flush=True)


def _trained(row: str, options: argparse.Namespace) -> Path:
    """The checkpoint of a row's run, which is trained or resumed when unfinished."""
    out = Path(options.output) / re.sub(r"[^A-Za-z0-9.]+", "-", row)
    steps = str(options.steps)
    recipe = load_recipe(options.recipe, {"steps": steps, "checkpoint_every": steps, **VARIANTS[row]})
    job = TrainingJob(
        options.style, out, recipe, clips=options.clips, photos=options.photos, resume=out.exists(),
        start_from=None if out.exists() else options.start, cache=Path(options.output) / "pairs",
    )  # fmt: skip
    if steps_done(out / STATE_NAME) < options.steps:
        loss_network = load_loss_network(options.judge if row == OTHER_NETWORK else options.loss_network)
        if not train(job, loss_network).finished:
            raise SystemExit(130)  # stopped by a signal: the same command goes on
    return job.checkpoint


if __name__ == "__main__":
    run_study(main)
