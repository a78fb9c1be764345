"""`train`, `recipes` and `export`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from ..common.files import keep_inputs
from ..runtimes.look import Look
from ..runtimes.registry import DEFAULT_MODEL
from .asked import asks_for
from .options import Debug, Json, LossNetworkFile, key_and_value, parse_size
from .terminal import note, print_json, print_table, progress, say

app = typer.Typer()


@app.command(epilog="Example: steadystyle train --style wave.jpg --clips clips/ --photos photos/ -o runs/wave")
def train(
    style: Annotated[Path, typer.Option(help="The painting: an image file.")],
    clips: Annotated[Path | None, typer.Option(help="Folder of video clips to train on.")] = None,
    photos: Annotated[Path | None, typer.Option(help="Folder of photographs to train on.")] = None,
    recipe: Annotated[str, typer.Option(help="A name from `steadystyle recipes`, or a .yaml file.")] = "paint",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The run's folder; without it runs/ and the style's name.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="The model's name; without it the folder's.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps in all, in place of the recipe's.")] = None,
    stroke: Annotated[float | None, typer.Option(help="Size of the strokes, 0.75 to 2; 1 is the recipe's.")] = None,
    values: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Change a recipe value, for example loss.temporal=100; repeatable."
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run that the folder holds.")] = False,
    start_from: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="MODEL",
            help="Start from these weights: a bundled name or .safetensors; without it the nearest bundled style.",
        ),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0.1, help="Time to train, in place of steps; the schedule is stretched over it.")
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Learn from this network (recipe edge): a bundled name or .safetensors."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto (CUDA when there is one), cpu or cuda.")] = "auto",
    loss_network: LossNetworkFile = None,
    loss_network_input: Annotated[
        Literal["caffe", "torchvision"] | None,
        typer.Option(help="What the weights want, when their file does not say."),
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder that keeps the clips' optical flow; without it the run's folder.")
    ] = None,
    download_loss_network: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Fetch torchvision's VGG-16 (528 MB) into this folder, once.")
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Train a stylizing network from one painting.

    Needs clips, photos or both, and VGG weights for the losses (recipe paint: VGG-16 to relu4_3 or deeper). Ctrl-C
    saves and leaves; --resume goes on from there, on the CPU bit for bit. TensorBoard reads the run's folder; its
    previews/ shows how the style comes.
    """
    from ..train.recipes import load_recipe

    overrides = dict(key_and_value(item) for item in values or [])
    if steps is not None:
        overrides["schedule.steps"] = str(steps)
    if stroke is not None:
        overrides["loss.stroke"] = str(stroke)
    chosen = load_recipe(recipe, overrides)  # before torch loads, which takes seconds

    from ..runtimes.registry import bundled_models, find_checkpoint
    from ..train.loss.nearest import nearest_style
    from ..train.loss.network import download_loss_network as download
    from ..train.loss.network import load_loss_network
    from ..train.reporting import StepReport
    from ..train.trainer import TrainingJob
    from ..train.trainer import train as run_training
    from ..video.images import read_image

    weights = download(download_loss_network) if download_loss_network is not None else loss_network
    judge = load_loss_network(weights, loss_network_input)
    if start_from is None and chosen.starts_from_a_style and not resume:
        painting = read_image(style)
        start_from, distance = nearest_style(painting, judge, [model.name for model in bundled_models()])
        note(f"starting from {start_from}, the nearest bundled style (Gram distance {distance:.2f}); --from overrides")
    start = find_checkpoint(start_from) if start_from is not None else None

    with progress() as update:

        def on_step(state: StepReport) -> None:
            losses = " ".join(f"{key} {value:.4g}" for key, value in state.losses.items())
            update("training", state.step, state.steps, losses)

        job = TrainingJob(
            style=style,
            out=output or Path("runs") / style.stem,
            recipe=chosen,
            clips=clips,
            photos=photos,
            name=name or "",
            resume=resume,
            start_from=start,
            teacher=find_checkpoint(teacher) if teacher is not None else None,
            minutes=minutes,
            device=device,
            cache=cache,
        )
        keep_inputs(style, recipe, job.start_from, job.teacher, weights, clips, photos)
        result = run_training(job, judge, progress=update, on_step=on_step, notify=note)
    if as_json:
        print_json(result)
    else:
        losses = ", ".join(f"{key} {value:.4g}" for key, value in result.losses.items())
        say(f"{result.checkpoint}: {result.steps} steps, {result.seconds:.0f} s now, {losses}")
    if not result.finished:
        whole = f"of {chosen.schedule.steps}" if minutes is None else f"within its {minutes:g} minutes"
        note(f"stopped at step {result.steps} {whole}: the same command with --resume goes on from there")
        raise typer.Exit(130)


recipes = typer.Typer(invoke_without_command=True, help="List the training recipes, or copy one to edit.")
app.add_typer(recipes, name="recipes")


@recipes.callback(epilog="Example: steadystyle recipes copy paint mine.yaml")
def list_recipes(context: typer.Context, as_json: Json = False, debug: Debug = False) -> None:
    """List the training recipes, or copy one to edit.

    `train --recipe NAME` runs one, `train --recipe FILE.yaml` your own.
    """
    if context.invoked_subcommand is not None:
        return
    from ..train.recipes import load_recipe, recipe_names

    found = [load_recipe(name) for name in recipe_names()]
    if as_json:
        return print_json([recipe.to_dict() for recipe in found])
    rows = [[one.name, one.about, one.schedule.steps, one.network.architecture] for one in found]
    print_table(["recipe", "trains", "steps", "network"], rows)


@recipes.command("copy", epilog="Example: steadystyle recipes copy paint mine.yaml")
def copy_recipe(
    name: Annotated[str, typer.Argument(help="A name from `steadystyle recipes`, or a .yaml file.")],
    file: Annotated[Path, typer.Argument(help="The .yaml file to write; it must not exist.")],
    debug: Debug = False,
) -> None:
    """Copy a recipe to a file of your own, to edit."""
    from ..train.recipes import copy_recipe as copy

    copy(name, file)
    say(f"{file}: steadystyle train --recipe {file} ...")


@app.command(epilog="Example: steadystyle export --target all --precision all --size 640x360 -o exports/")
@asks_for(Look, "look", but=("only",))
def export(
    model: Annotated[
        str, typer.Argument(help="A name from `steadystyle models`, or a .safetensors file.")
    ] = DEFAULT_MODEL,
    target: Annotated[str, typer.Option(help="onnx, tflite, coreml, or all.")] = "onnx",
    precision: Annotated[
        str | None, typer.Option(help="fp32, fp16, int8, or all; without it onnx fp32, tflite int8, coreml fp16.")
    ] = None,
    size: Annotated[str, typer.Option(help="WIDTHxHEIGHT of the frames, or any (onnx).")] = "640x360",
    io: Annotated[
        str,
        typer.Option(
            help="What it takes and gives: frame, (height, width, 3) uint8; nhwc or nchw, one float32 picture in 0..1 "
            "with that order of axes (onnx, tflite)."
        ),
    ] = "frame",
    *,
    look: Look,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the artifacts.")] = Path("exports"),
    calibrate: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CLIP", help="Video to calibrate 8-bit artifacts on; may be repeated. Without it the bundled scene."
        ),
    ] = None,
    clip: Annotated[
        str | None, typer.Option(help="Video to prove the artifacts on; without it the bundled scene.")
    ] = None,
    style: Annotated[
        Path | None, typer.Option(help="The style image: adds the change of the style score to the proof.")
    ] = None,
    loss_network: LossNetworkFile = None,
    allow_degraded: Annotated[
        bool, typer.Option(help="Keep artifacts that differ or flicker more than they should, and exit with 0.")
    ] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Turn a checkpoint into artifacts, and prove each by running the written file against the checkpoint.

    Each artifact must keep a PSNR of 60 dB (fp32), 45 dB (fp16) or 30 dB (int8) to the checkpoint, and flicker at most
    1.05 times as much. A look becomes part of the artifact (onnx, tflite). In int8, the layers that bear 8 bits worst
    stay in float, as measured (`steadystyle info FILE`).
    """
    from ..export.pipeline import Proof
    from ..export.pipeline import export as run_export

    keep_inputs(model, clip, style, loss_network, *(calibrate or []))
    proof = Proof(clip, style, loss_network, allow_degraded)
    with progress() as update:
        results = run_export(
            model,
            target,
            precision,
            parse_size(size),
            output,
            io=io,
            look=look,
            calibration_clips=calibrate or [],
            proof=proof,
            progress=update,
            notify=note,
        )
    if as_json:
        print_json(results)
    else:
        rows = []
        for result in results:
            figures = result.metadata.verification
            keys = ("psnr_db", "flicker_delta", "style_change") if style else ("psnr_db", "flicker_delta")
            numbers = [f"{figures[key]:.4g}" if key in figures else "-" for key in keys]
            speed = f"{result.median_ms:.1f}" if result.median_ms is not None else "-"
            size_text = f"{result.size_bytes / 1e6:.2f} MB" if result.size_bytes else "-"
            rows.append(
                [result.target, result.metadata.precision, result.path, size_text, *numbers, speed, result.verdict]
            )
        heads = ["PSNR dB", "flicker delta", *(["style change"] if style else [])]
        print_table(["target", "precision", "artifact", "size", *heads, "ms a frame", "verdict"], rows)
        for result in results:
            if result.remark:
                say(f"{result.path}: {result.remark}")
    for result in results:
        if result.verdict == "degraded":
            note(f"{result.path} is {'kept, but' if allow_degraded else 'not kept:'} {', '.join(result.shortfalls)}")
    if not allow_degraded and any(result.verdict == "degraded" for result in results):
        raise typer.Exit(1)
