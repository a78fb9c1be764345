"""The command line: parse, call, print.

Each command imports what it needs in its own body, so that `steadystyle --help` is quick and a machine with one engine
runs what it can. Results go to stdout (a table, or JSON with `--json`); progress, notes and errors go to stderr.
"""

import contextlib
import dataclasses
import importlib.util
import json
import math
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer
import typer.core

from . import __version__
from .terminal import EXTRA_OF, complain, explain, note, print_json, print_table, progress
from .video.files import InputError, check_not_input

if TYPE_CHECKING:
    from .benchmarks.floors import Floor
    from .benchmarks.report import Report
    from .benchmarks.ssh import Word

    Completed = Callable[[Report], Report]

app = typer.Typer(
    name="steadystyle",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Threads = Annotated[int | None, typer.Option(min=1, help="Threads of the engine; without it the engine chooses.")]
Provider = Annotated[
    str | None,
    typer.Option(help="Engine, or what it computes on: cpu, cuda, tensorrt, openvino, litert, ... (see `doctor`)."),
]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder for the report.")]
MaxFrames = Annotated[int | None, typer.Option(min=1, help="Take only so many frames of a video.")]
Every = Annotated[int, typer.Option(min=1, help="Measure temporal error on every so many-th frame only.")]
Styles = Annotated[
    list[str] | None,
    typer.Option(
        "--style", metavar="[NAME=]IMAGE", help="Style image, of all or of one method or style; may be repeated."
    ),
]
FailIf = Annotated[
    list[str] | None,
    typer.Option(
        metavar="EXPRESSION",
        help="Exit with 1 where it holds: [METHOD:]FIGURE>LIMIT, the limit a number or [FACTOR*]REPORT.json, for "
        "example e_temporal>1.1*old/report.json; may be repeated.",
    ),
]
LossNetworkFile = Annotated[
    Path | None, typer.Option("--loss-network", help="VGG-19 weights (.safetensors, or torchvision's .pth).")
]
LossNetworkFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--loss-network",
        metavar="FILE",
        help="VGG weights (.safetensors, or torchvision's .pth): VGG-19 for style and content score, VGG-16 for the "
        "stroke score; once for each.",
    ),
]
Model = Annotated[
    str,
    typer.Option("--model", "-m", help="A name from `steadystyle models`, or a file (.onnx, .tflite, .safetensors)."),
]


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and leave the process with its exit code.

    0 only on success; 2 for bad usage or input, in one sentence on stderr; 130 after Ctrl-C; 1 for a defect of ours.

    Args:
        arguments: the words after the program's name; None takes the process's own.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    signal.signal(signal.SIGTERM, _leave)  # so that temporary files are removed as on Ctrl-C
    warnings.showwarning = _show_warning
    try:
        result = app(arguments, prog_name="steadystyle", standalone_mode=False, obj=arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of our output (`| head`) has what it wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes it once more when it leaves
        sys.exit(1)
    except Exception as error:
        if "--debug" in arguments:
            traceback.print_exc()
        code, sentence = explain(error, arguments)
        if sentence:  # a bare `steadystyle` has printed its help
            complain(sentence)
        sys.exit(code)
    sys.exit(result if isinstance(result, int) else 0)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: object = None,
    line: str | None = None,
) -> None:
    """What concerns a user is one sentence, like all else that is said; other warnings are as ever."""
    if category.__name__ == "RenamedModelWarning":  # by name: the engines' room is imported by commands that need it
        return note(str(message))
    print(warnings.formatwarning(message, category, filename, lineno, line), end="", file=sys.stderr)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


@app.callback()
def steadystyle(
    version: Annotated[bool, typer.Option("--version", help="Print the version.", callback=_print_version)] = False,
) -> None:
    """Turn a painting into a fast video filter that stays steady from frame to frame."""


class DemoGroup(typer.core.TyperGroup):
    """`demo` with its subcommands; words that begin with none of them are those of `demo file`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put `file` before the words (list of str) where no subcommand is named; the rest is typer's."""
        if not args or (args[0] not in self.commands and args[0] != "--help"):
            args = ["file", *args]
        return super().parse_args(ctx, args)


demo = typer.Typer(
    cls=DemoGroup,
    help="See it work: the bundled scene or a file of yours (`file`, what a bare `demo` does), and live.",
    rich_markup_mode="markdown",
)
app.add_typer(demo, name="demo")


@demo.command("file", epilog="Example: steadystyle demo file holiday.mp4    (then look into steadystyle-demo/)")
def demo_file(
    source: Annotated[
        str | None,
        typer.Argument(metavar="SOURCE", help="Video, image folder or camera; without it the bundled scene."),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the videos and pictures.")] = Path(
        "steadystyle-demo"
    ),
    model: Model = "great-wave",
    frames: Annotated[int, typer.Option(min=1, help="Number of frames to take at most.")] = 96,
    height: Annotated[int, typer.Option(min=16, help="A taller source is made this high, in pixels.")] = 360,
    threads: Threads = None,
    provider: Provider = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """See it work: a bundled style on the bundled scene, a file, or a camera.

    Writes the source, the stylized video, both side by side, and a contact sheet of consecutive frames; prints how fast
    and how steady it was, beside three controls that show what the steadiness figure is worth.
    """
    from .demo.local import run_demo

    with progress() as update:
        result = run_demo(
            source, model, output, frames=frames, height=height, threads=threads, provider=provider, progress=update
        )
    for sentence in result.notes:
        note(sentence)
    if as_json:
        return print_json(result)
    intervals = sorted(result.mask_share)
    size = f"{result.width}x{result.height}"
    print(
        f"{result.model} on {result.source}: {result.frames} frames of {size}, {result.engine}\n"
        f"{result.fps_alone:.1f} frames/s alone, {result.fps_end_to_end:.1f} with decoding and encoding\n"
    )
    if intervals:
        print_table(
            ["video", *(f"e_temporal({i})" for i in intervals)],
            [[row.name, *(f"{row.errors[i]:.4f}" for i in intervals)] for row in result.rows],
        )
        shares = ", ".join(f"{result.mask_share[i]:.0%} at {i}" for i in intervals)
        print(
            f"Temporal error: RGB in [0, 1], flow: {result.flow_source}, share of pixels that count {shares}.\n"
            "Controls: identity is the source itself, blur the stylized video blurred, still its first frame.\n"
            "A low figure alone proves nothing: look at the contact sheet."
        )
    print("\n".join(["", *(str(path) for path in result.files)]))


@demo.command("jetson", epilog="Example: steadystyle demo jetson --source usb:/dev/video0 --sink rtp:192.168.1.5:5000")
def demo_jetson(
    source: Annotated[
        str | None,
        typer.Option(
            "--source",
            "-s",
            help="csi:0, usb:/dev/video0, file:PATH, rtsp://..., test or live-test; without it the board's camera, or "
            "test where it has none.",
        ),
    ] = None,
    sink: Annotated[
        str | None,
        typer.Option(
            "--sink", help="display, file:PATH.mp4, rtp:HOST:PORT or null; without it display, or null if --headless."
        ),
    ] = None,
    model: Model = "the-scream",
    board: Annotated[
        str | None,
        typer.Option(help="jetson, orin-nano, software, or one of --config; without it what this machine is."),
    ] = None,
    headless: Annotated[bool, typer.Option("--headless", help="There is no display.")] = False,
    size: Annotated[
        str | None, typer.Option(help="WIDTHxHEIGHT of the frames; without it a file's own, or 640x360.")
    ] = None,
    fps: Annotated[
        float | None, typer.Option(min=1, max=1000, help="Frames a second; without it a file's own, or 30.")
    ] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="Stop after so many frames of the source.")] = None,
    source_elements: Annotated[
        str | None, typer.Option(help="Your own source, in the language of gst-launch-1.0, in place of the board's.")
    ] = None,
    live: Annotated[
        bool, typer.Option("--live", help="--source-elements is a camera: drop frames rather than fall behind.")
    ] = False,
    sink_elements: Annotated[
        str | None, typer.Option(help="Your own sink for raw RGB frames, in place of the board's.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A .toml file of profiles, read over the bundled one.")
    ] = None,
    restarts: Annotated[
        int, typer.Option(min=1, help="End when so many starts of the source in a row gave no frame.")
    ] = 20,
    engine_cache: Annotated[Path, typer.Option(help="Folder for the engines that TensorRT builds.")] = Path(
        "steadystyle-engines"
    ),
    threads: Threads = None,
    provider: Annotated[
        str | None, typer.Option(help="tensorrt, cuda, cpu, ...; without it the first of these that starts.")
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Stylize a camera, a file or a stream into a display, a file or a stream, with GStreamer.

    Runs until the source ends, or Ctrl-C, which finishes the file. A source that dies is started again. Made for a
    Jetson; with the board `software` it runs on any Linux machine.
    """
    from fractions import Fraction

    from .demo.jetson.live import run_live

    if headless and sink is not None and sink.startswith("display"):
        raise InputError("--headless and --sink display exclude each other: leave one out")
    with progress() as update:
        report = run_live(
            source,
            sink or ("elements" if sink_elements is not None else "null" if headless else "display"),
            model,
            board=board,
            config=config,
            source_elements=source_elements,
            sink_elements=sink_elements,
            live=live,
            size=_parse_size(size) if size is not None else None,
            fps=Fraction(fps).limit_denominator(1001) if fps is not None else None,
            frames=frames,
            patience=restarts,
            provider=provider,
            threads=threads,
            engine_cache=engine_cache,
            say=note,
            progress=lambda done, total: update("live", done, total),
        )
    for sentence in report.notes:
        note(sentence)
    if as_json:
        print_json(report)
    else:
        print(
            f"{report.source} -> {report.model} -> {report.sink}: {report.width}x{report.height}, {report.engine}\n"
            f"{report.frames_in} frames in, {report.frames_out} out, {report.dropped} dropped, {report.repeated} "
            f"repeated, {report.restarts} restarts of the source\n"
            f"{report.fps:.1f} frames/s over {report.seconds:.1f} s, peak memory {report.peak_memory_mib:.0f} MiB"
        )
        if report.latency_ms:
            print(
                f"latency {report.latency_ms['median']:.1f} ms (p99 {report.latency_ms['p99']:.1f}), of which the "
                f"network {report.stylize_ms['median']:.1f} ms (p99 {report.stylize_ms['p99']:.1f})"
            )
    if not report.complete:
        raise typer.Exit(130 if report.interrupted else 1)


@demo.command(
    "camera", epilog="Example: steadystyle demo camera 0    (keys: 1-9 style, S view, R record, H help, Q quit)"
)
def demo_camera(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="Camera (0, 1, ..., /dev/video0), or a video file in place of one.")
    ] = "0",
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model", "-m", help="Bundled name or file to begin with; may be repeated. The other bundled ones follow."
        ),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for recordings and pictures.")] = Path(
        "steadystyle-camera"
    ),
    height: Annotated[int, typer.Option(min=16, help="A taller source is made this high, in pixels.")] = 360,
    loop: Annotated[bool, typer.Option("--loop", help="Play a file again and again, as if it were a camera.")] = False,
    seconds: Annotated[float | None, typer.Option(min=0.1, help="Leave after so many seconds.")] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="Leave after so many frames.")] = None,
    threads: Threads = None,
    provider: Provider = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """See a camera in the manner of a painting, live in a window.

    Half source, half stylized; keys switch the style, move on to another view, record, and save a picture. Frames that
    the machine is too slow for are dropped, so that the picture stays live. A camera that is pulled out is waited for.
    The latency shown is that of the model alone, as in `steadystyle benchmark`.
    """
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")  # its greeting goes to stdout, where our JSON goes
    from .demo.camera import run_camera

    result = run_camera(
        source,
        output,
        models=model or [],
        height=height,
        loop=loop,
        threads=threads,
        provider=provider,
        seconds=seconds,
        frames=frames,
    )
    for sentence in result.notes:
        note(sentence)
    if as_json:
        return print_json(result)
    print(
        f"{result.source}: {result.received} frames, {result.shown} shown ({result.fps:.1f} frames/s), "
        f"{result.dropped} dropped, {result.paused} during pauses; opened again {result.reopened} times\n"
    )
    if result.models:
        print_table(
            ["model", "frames", "median ms", "p90 ms", "engine"],
            [[m.model, m.frames, _figure(m.median_ms), _figure(m.p90_ms), m.engine] for m in result.models],
        )
    print("\n".join(str(path) for path in result.files))


def _figure(value: float | None) -> str | None:
    return None if value is None else f"{value:.1f}"


@demo.command("web", epilog="Example: steadystyle demo web --host 0.0.0.0    (then scan the code with a phone)")
def demo_web(
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 lets phones in the local network reach it, by https.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8600,
    models: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", metavar="FILE.onnx", help="Offer this artifact too; may be repeated."),
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """See it work on the camera, in the browser of this machine or of a phone.

    The network runs in the browser; no picture reaches this server. Other machines need the token in the address that
    is printed, and their browser warns of a certificate that was made for this run. Ctrl-C ends it.
    """
    from .demo.web.server import Address, serve

    def ready(address: Address) -> None:
        if as_json:
            print_json(address)
        elif address.secure:
            print(f"{address.qr_code()}\n{address.url}")
            note("the certificate was made for this run: the phone's browser warns once, and goes on if you tell it to")
        else:
            print(address.url)
        sys.stdout.flush()

    with contextlib.suppress(KeyboardInterrupt):  # a server has no other end
        serve(host, port, models=models or [], ready=ready)


@app.command(epilog="Example: steadystyle stylize holiday.mp4 -o holiday-wave.mp4 --model great-wave")
def stylize(
    source: Annotated[str, typer.Argument(metavar="IN", help="Video, image, folder of images, or camera (0, 1, ...).")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Video, image or folder; without it stylized/IN-MODEL.mp4 (.png for an image)."
        ),
    ] = None,
    model: Model = "great-wave",
    threads: Threads = None,
    provider: Provider = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Stylize a video, an image, a folder of images or a camera.

    A video keeps its size, frame times and audio. A camera runs until Ctrl-C, and what was taken until then is kept.
    """
    from .runtimes.pipeline import RunReport, run
    from .runtimes.registry import open_stylizer
    from .video.frames import open_sink, open_source

    with open_source(source) as clip, open_stylizer(model, threads=threads, provider=provider) as stylizer:
        info, engine = clip.info, stylizer.engine
        target = output or _default_output(source, info.kind, stylizer.metadata.name)
        check_not_input(target, source, model)
        report = RunReport()
        began = time.monotonic()
        with open_sink(target, clip) as sink, progress() as update:

            def on_progress(done: int, total: int | None) -> None:
                report.frames = done
                update(f"{info.width}x{info.height}", done, total)

            try:
                report = run(clip, stylizer, sink, progress=on_progress)
            except KeyboardInterrupt:
                if info.kind != "camera":
                    raise
                # A camera has no other end. What was taken is kept.
                report.seconds = time.monotonic() - began
                report.fps = report.frames / report.seconds
    for sentence in report.notes:
        note(sentence)
    if as_json:
        return print_json(
            {"output": target, "engine": engine, "width": info.width, "height": info.height, **vars(report)}
        )
    print(f"{target}: {report.frames} frames in {report.seconds:.1f} s, {report.fps:.1f} frames/s, {engine}")


def _default_output(source: str, kind: str, model: str) -> Path:
    ending = {"video": ".mp4", "camera": ".mp4", "image": ".png", "folder": ""}[kind]
    stem = source.replace(":", "-") if kind == "camera" else Path(source).resolve().stem
    return Path("stylized") / f"{stem}-{model}{ending}"


@app.command(epilog="Example: steadystyle train --style wave.jpg --clips clips/ --photos photos/ -o runs/wave")
def train(
    style: Annotated[Path, typer.Option(help="The painting: an image file.")],
    clips: Annotated[Path | None, typer.Option(help="Folder of video clips to train on.")] = None,
    photos: Annotated[Path | None, typer.Option(help="Folder of photographs to train on.")] = None,
    recipe: Annotated[
        str, typer.Option(help="A recipe's name (paint, huang2017, johnson2016, edge), or a .yaml file.")
    ] = "paint",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The run's folder; without it runs/ and the style's name.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="The model's name; without it the folder's.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps in all, in place of the recipe's.")] = None,
    stroke: Annotated[float | None, typer.Option(help="Size of the strokes, 0.75 to 2; 1 is the recipe's.")] = None,
    values: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Another recipe value; may be repeated.")
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
    from .runtimes.registry import bundled_models, find_checkpoint
    from .train.loss_network import download_loss_network as download
    from .train.loss_network import load_loss_network
    from .train.nearest import nearest_style
    from .train.recipes import load_recipe
    from .train.trainer import StepReport
    from .train.trainer import train as run_training
    from .video.images import read_image

    overrides = dict(_key_and_value(item) for item in values or [])
    if steps is not None:
        overrides["steps"] = str(steps)
    if stroke is not None:
        overrides["stroke"] = str(stroke)
    chosen = load_recipe(recipe, overrides)
    weights = download(download_loss_network) if download_loss_network is not None else loss_network
    judge = load_loss_network(weights, loss_network_input)
    if start_from is None and chosen.starts_from_a_style and not resume:
        painting = read_image(style)
        start_from, distance = nearest_style(painting, judge, [model.name for model in bundled_models()])
        note(f"starting from {start_from}, the nearest bundled style (Gram distance {distance:.2f}); --from overrides")
    start = find_checkpoint(start_from) if start_from is not None else None

    with progress() as update:

        def report(state: StepReport) -> None:
            losses = " ".join(f"{key} {value:.4g}" for key, value in state.losses.items())
            update("training", state.step, state.steps, losses)

        result = run_training(
            style=style,
            out=output or Path("runs") / style.stem,
            recipe=chosen,
            loss_network=judge,
            clips=clips,
            photos=photos,
            name=name,
            resume=resume,
            start_from=start,
            minutes=minutes,
            teacher=find_checkpoint(teacher) if teacher is not None else None,
            device=device,
            cache=cache,
            report=report,
            preparing=lambda done, total: update("flow of the clips", done, total),
            message=note,
        )
    if as_json:
        print_json(result)
    else:
        losses = ", ".join(f"{key} {value:.4g}" for key, value in result.losses.items())
        print(f"{result.checkpoint}: {result.steps} steps, {result.seconds:.0f} s now, {losses}")
    if not result.finished:
        whole = f"of {chosen.steps}" if minutes is None else f"within its {minutes:g} minutes"
        note(f"stopped at step {result.steps} {whole}: the same command with --resume goes on from there")
        raise typer.Exit(130)


def _key_and_value(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise InputError(f"--set {text} is not understood: write KEY=VALUE, for example --set temporal_weight=100")
    return key, value


def _parse_size(text: str) -> tuple[int, int] | None:
    """`640x360` as (width, height), `any` as None."""
    if text == "any":
        return None
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) > 0 and int(height) > 0):
        raise InputError(f"size '{text}' is not understood: give WIDTHxHEIGHT, for example 640x360, or any")
    return int(width), int(height)


def _parse_sizes(text: str) -> list[tuple[int, int]]:
    """`320x180,640x360` as pairs of (width, height)."""
    sizes = [_parse_size(one.strip()) for one in text.split(",")]
    if None in sizes:
        raise InputError(f"sizes '{text}' are not understood: give WIDTHxHEIGHT,WIDTHxHEIGHT, each with its numbers")
    return [size for size in sizes if size is not None]


@app.command(epilog="Example: steadystyle export --target all --precision all --size 640x360 -o exports/")
def export(
    model: Annotated[
        str, typer.Argument(help="A name from `steadystyle models`, or a .safetensors file.")
    ] = "great-wave",
    target: Annotated[str, typer.Option(help="onnx, tflite, coreml, or all.")] = "onnx",
    precision: Annotated[
        str | None,
        typer.Option(help="fp32, fp16, int8, or all; without it onnx fp32, tflite int8, coreml fp16."),
    ] = None,
    size: Annotated[str, typer.Option(help="WIDTHxHEIGHT of the frames, or any (onnx fp32 and fp16).")] = "640x360",
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
    1.05 times as much. In int8, the layers that bear 8 bits worst stay in float, as measured (`steadystyle info FILE`).
    """
    from .export.pipeline import Proof
    from .export.pipeline import export as run_export

    proof = Proof(clip, style, loss_network, allow_degraded)
    with progress() as update:
        results = run_export(
            model,
            target,
            precision,
            _parse_size(size),
            output,
            calibration_clips=calibrate or [],
            proof=proof,
            progress=update,
            note=note,
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
        if result.verdict == "degraded":
            note(f"{result.path} is {'kept, but' if allow_degraded else 'not kept:'} {', '.join(result.shortfalls)}")
    if not allow_degraded and any(result.verdict == "degraded" for result in results):
        raise typer.Exit(1)


@app.command(epilog="Example: steadystyle benchmark great-wave --clip in.mp4 --peer other.onnx -o reports/wave")
def benchmark(
    context: typer.Context,
    artifacts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="ARTIFACT", help="Names or files, FILE@openvino for another engine; without any, what is bundled."
        ),
    ] = None,
    clips: Annotated[
        list[str] | None,
        typer.Option("--clip", help="Video to measure on; may be repeated. Without clip and scene, the bundled scene."),
    ] = None,
    scenes: Annotated[
        list[str] | None,
        typer.Option("--scene", help="Synthetic scene with exact motion, or all; may be repeated."),
    ] = None,
    sintel: Annotated[
        list[str] | None,
        typer.Option("--sintel", metavar="DIR", help="MPI-Sintel as it unpacks: the scenes of papers, exact motion."),
    ] = None,
    peers: Annotated[
        list[str] | None,
        typer.Option("--peer", help="ONNX file with one NCHW float 0..255 image input; may be repeated."),
    ] = None,
    output: Output = Path("reports/benchmark"),
    size: Annotated[str, typer.Option(help="Size of the frames that latency is measured on.")] = "640x360",
    height: Annotated[int, typer.Option(min=16, help="Height of the frames for all other figures.")] = 360,
    threads: Annotated[int, typer.Option(min=1, help="Threads of each engine.")] = 2,
    max_frames: MaxFrames = None,
    every: Every = 1,
    seconds: Annotated[float, typer.Option(min=0, help="Least time of inference for each artifact.")] = 10,
    sizes: Annotated[
        str | None,
        typer.Option(
            metavar="WxH,WxH,...",
            help="How cost grows: latency and memory at each size, for example 320x180,640x360,1280x720; slow.",
        ),
    ] = None,
    minutes: Annotated[
        float, typer.Option(min=0, help="Sustained run: each method alone for so many minutes, second by second.")
    ] = 0,
    thread_counts: Annotated[
        str | None,
        typer.Option(metavar="N,N,...", help="What cores buy: latency with each number of threads, for example 1,2,4."),
    ] = None,
    styles: Styles = None,
    loss_networks: LossNetworkFiles = None,
    device: Annotated[
        list[str] | None,
        typer.Option(help="local, cuda, ssh://user@host[:port], adb[:SERIAL]; may be repeated, for one report of all."),
    ] = None,
    remote_python: Annotated[str, typer.Option(help="ssh: the Python there, with what the package needs.")] = "python3",
    install: Annotated[
        str | None,
        typer.Option(
            metavar="EXTRA", help="ssh: install the package with this extra there first, in a venv of its own."
        ),
    ] = None,
    ssh_option: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="ssh: an option as in ssh_config; may be repeated.")
    ] = None,
    benchmark_model: Annotated[
        Path | None, typer.Option(help="adb: LiteRT's benchmark_model for the phone, which times .tflite artifacts.")
    ] = None,
    fail_if: FailIf = None,
    pictures: Annotated[
        bool, typer.Option("--pictures/--no-pictures", help="Without them, report.json is all: needs no matplotlib.")
    ] = True,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure latency, temporal error and style of what ships, in one table.

    Writes report.html (tables, plots, error maps, zooms), report.json (every raw figure) and the pictures. With several
    devices, one that fails is left out and named in the report, and the exit code is 1. Interrupted, it keeps what is
    finished in the output folder; the same command goes on from there.
    """
    from .benchmarks.adb import benchmark_over_adb
    from .benchmarks.devices import CUDA, LOCAL, benchmark_on, on_cuda, parse_devices
    from .benchmarks.floors import parse_floor
    from .benchmarks.judging import parse_style_options
    from .benchmarks.run import benchmark as run_benchmark
    from .benchmarks.ssh import Remote, benchmark_over_ssh

    floors = [parse_floor(text) for text in fail_if or []]
    latency_size = _parse_size(size)
    if latency_size is None:
        raise InputError("latency needs a size: give --size WIDTHxHEIGHT, for example 640x360")
    growth_sizes = _parse_sizes(sizes) if sizes else []
    counts = _parse_counts(thread_counts) if thread_counts else []
    devices = parse_devices(device or [])
    own = LOCAL if LOCAL in devices else CUDA
    remote = Remote(remote_python, install, ssh_option or [])
    words = _words_elsewhere(context)
    command = shlex.join(["steadystyle", *context.obj])
    with progress() as update:

        def run_here(on: str, folder: Path, whole: bool, completed: "Completed | None" = None) -> "Report":
            return run_benchmark(
                on_cuda(artifacts or []) if on == CUDA else artifacts or [],
                peers=peers or [],
                clips=clips or [],
                scenes=scenes or [],
                sintel=sintel or [],
                out_dir=folder,
                size=latency_size,
                height=height,
                threads=threads,
                max_frames=max_frames,
                every=every,
                latency_seconds=seconds,
                sizes=growth_sizes,
                minutes=minutes,
                thread_counts=counts,
                style_images=parse_style_options(styles or []),
                loss_networks=loss_networks or [],
                device=on,
                pictures=whole,
                completed=completed,
                command=command,
                progress=update,
            )

        def run_cuda_too() -> "Report":
            with tempfile.TemporaryDirectory() as folder:
                return run_here(CUDA, Path(folder), whole=False)

        def run_far(far: str) -> "Report":
            def tell(what: str) -> None:
                update(what, 0, None)

            if far.startswith("ssh:"):
                return benchmark_over_ssh(far, words, remote, tell)
            return benchmark_over_adb(
                far, artifacts or [], benchmark_model, threads=threads, seconds=seconds, command=command, tell=tell
            )

        elsewhere: dict[str, Callable[[], Report]] = {
            far: partial(run_far, far) for far in devices if far not in (LOCAL, CUDA)
        }
        if LOCAL in devices:
            elsewhere[CUDA] = run_cuda_too
        report = benchmark_on(
            devices, partial(run_here, own, output, pictures), elsewhere, out_dir=output, command=command
        )
    _print_report(report, output, floors, as_json)


def _parse_counts(text: str) -> list[int]:
    words = text.split(",")
    if not all(word.strip().isdecimal() for word in words):
        raise InputError(f"thread counts must be numbers such as 1,2,4, but are '{text}'")
    return [int(word) for word in words]


def _words_elsewhere(context: typer.Context) -> "list[Word]":
    """What was asked for on the command line, for the same command on another machine."""
    from .benchmarks.ssh import Word, word_of

    stays = {
        "output",
        "device",
        "remote_python",
        "install",
        "ssh_option",
        "benchmark_model",
        "fail_if",
        "pictures",
        "as_json",
        "debug",
    }
    files = {"artifacts", "peers", "clips", "sintel", "styles", "loss_networks"}
    words = []
    for parameter in context.command.params:
        name = str(parameter.name)
        source = context.get_parameter_source(name)
        if name in stays or source is None or source.name != "COMMANDLINE":
            continue
        value = context.params[name]
        for one in value if isinstance(value, list | tuple) else [value]:
            if parameter.param_type_name == "option":
                words.append(Word(parameter.opts[0]))
            words.append(word_of(str(one)) if name in files else Word(str(one)))
    return words


@app.command(epilog="Example: steadystyle compare in.mp4 wave.mp4 other-app.mp4 --style wave.jpg -o reports/apps")
def compare(
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="The video that was stylized.")],
    stylized: Annotated[list[str], typer.Argument(metavar="STYLIZED", help="What came out, one video or more.")],
    output: Output = Path("reports/compare"),
    max_frames: MaxFrames = None,
    every: Every = 1,
    styles: Styles = None,
    loss_networks: LossNetworkFiles = None,
    fail_if: FailIf = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure any stylized video against its source: another app's output too.

    The same figures and pictures as `benchmark`, without latency. A video with a frame or two more or less at an end,
    or with one frame in two or three of the source's, is aligned; one that cannot be is left out, with exit code 1.
    """
    from .benchmarks.compare import compare as run_compare
    from .benchmarks.floors import parse_floor
    from .benchmarks.judging import parse_style_options

    floors = [parse_floor(text) for text in fail_if or []]
    with progress() as update:
        report = run_compare(
            source,
            stylized,
            out_dir=output,
            max_frames=max_frames,
            every=every,
            style_images=parse_style_options(styles or []),
            loss_networks=loss_networks or [],
            command=shlex.join(["steadystyle", *context.obj]),
            progress=update,
        )
    _print_report(report, output, floors, as_json)


@app.command(epilog="Example: steadystyle merge laptop/report.json jetson/report.json -o reports/both")
def merge(
    context: typer.Context,
    reports: Annotated[list[str], typer.Argument(metavar="REPORT", help="report.json files, or their folders.")],
    output: Output = Path("reports/merged"),
    fail_if: FailIf = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Merge reports of several devices or days into one.

    Latency keeps every row, with its device. A file that is no report is left out and named, with exit code 1.
    """
    from .benchmarks.floors import parse_floor
    from .benchmarks.merge import merge as merge_files

    floors = [parse_floor(text) for text in fail_if or []]
    report = merge_files(reports, out_dir=output, command=shlex.join(["steadystyle", *context.obj]))
    _print_report(report, output, floors, as_json)


def _print_report(report: "Report", folder: Path, floors: "Sequence[Floor]", as_json: bool) -> None:
    """Print a report; leaves with 1 where something could not be measured or a floor is broken."""
    from .benchmarks.floors import broken_floors
    from .benchmarks.tables import tables

    if as_json:
        print_json(report)
    else:
        for table in tables(report):
            print_table(table.columns, [cells for _, cells in table.rows], table.title)
            print(table.caption, end="\n\n")
        for sentence in report.notes:
            note(sentence)
        print(folder / "report.html")
    failures = [*(f"not measured: {hole}" for hole in report.holes), *broken_floors(floors, report)]
    for failure in failures:
        complain(failure)
    if failures:
        raise typer.Exit(1)


@app.command(epilog="Example: steadystyle baseline ruder2016 in.mp4 --style wave.jpg --height 180 --max-frames 20")
def baseline(
    method: Annotated[
        Literal["gatys2016", "ruder2016"], typer.Argument(metavar="METHOD", help="gatys2016, ruder2016.")
    ],
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Video, image or folder of images.")],
    style: Annotated[Path, typer.Option(help="The painting: an image file.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Video; without it baselines/SOURCE-METHOD.mp4.")
    ] = None,
    iterations: Annotated[int, typer.Option(min=1, help="Evaluations of the loss, for each frame and pass.")] = 100,
    passes: Annotated[
        int, typer.Option(min=1, help="ruder2016: passes in turning directions; 1 is one with long-term consistency.")
    ] = 1,
    style_weight: Annotated[float, typer.Option(min=0, help="Against a content weight of 1.")] = 60.0,
    height: Annotated[int | None, typer.Option(min=16, help="Scale frames to this height first.")] = None,
    max_frames: MaxFrames = None,
    loss_network: LossNetworkFile = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Stylize a video by an iterative method of the literature, to compare with.

    Each frame is optimized, which takes minutes on a CPU. A run that was cut off goes on when it is given again.
    """
    from .benchmarks.baselines.iterative import Settings
    from .benchmarks.baselines.run import run_baseline
    from .train.loss_network import load_loss_network

    with progress() as update:
        result = run_baseline(
            method,
            source,
            output or Path("baselines") / f"{Path(source).stem}-{method}.mp4",
            style=style,
            loss_network=load_loss_network(loss_network),
            settings=Settings(iterations=iterations, passes=passes, style_weight=style_weight),
            height=height,
            max_frames=max_frames,
            progress=lambda done, total: update("painting", done, total),
        )
    if as_json:
        return print_json(result)
    each = f", {result.seconds_per_frame:.1f} s a frame" if result.seconds_per_frame is not None else ""
    print(f"{result.output}: {result.frames} frames{each}")


@app.command(epilog="Example: steadystyle models --json")
def models(as_json: Json = False, debug: Debug = False) -> None:
    """List the bundled models, each with its card."""
    from .runtimes.registry import bundled_models

    found = bundled_models()
    cards = {model.name: json.loads(model.card_json.read_text(encoding="utf-8")) for model in found}
    if as_json:
        return print_json([{**vars(model), "facts": cards[model.name]} for model in found])
    print_table(
        ["name", "style", "artifact", "size", "card"],
        [[m.name, m.style, m.path.name, f"{m.path.stat().st_size / 1e6:.2f} MB", m.card] for m in found],
    )


@app.command(epilog="Example: steadystyle info exports/great-wave-640x360-fp32.onnx")
def info(
    file: Annotated[str, typer.Argument(help="An artifact, a checkpoint (.safetensors), or a bundled model's name.")],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show what an artifact or a checkpoint says of itself."""
    facts = _checkpoint_facts(Path(file)) if file.endswith(".safetensors") else _artifact_facts(file)
    if as_json:
        return print_json(facts)
    print_table(["", Path(file).name], [[key, _cell(value)] for key, value in facts.items()])


def _artifact_facts(file: str) -> dict[str, Any]:
    from .runtimes.registry import open_stylizer, read_metadata

    facts = vars(read_metadata(file))
    try:
        with open_stylizer(file) as stylizer:
            return {**facts, "opens with": stylizer.engine}
    except InputError as error:  # an artifact for another machine, or an engine that is not installed
        return {**facts, "does not open here": str(error)}


def _checkpoint_facts(path: Path) -> dict[str, Any]:
    """The header of a .safetensors file, read without torch: eight bytes of length, then JSON."""
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


def _cell(value: object) -> str:
    if isinstance(value, Mapping):
        return "\n".join(f"{key}: {item}" for key, item in value.items())
    return "-" if value is None else str(value)


@dataclasses.dataclass(frozen=True)
class Check:
    """One line of `doctor`: what was tried, whether it works, and what was found or how to get it."""

    what: str
    works: bool
    detail: str


@app.command(epilog="Example: steadystyle doctor")
def doctor(as_json: Json = False, debug: Debug = False) -> None:
    """Tell what this machine can train, export and run, and how to get the rest."""
    from .benchmarks.device import this_device

    machine = this_device()
    checks = [*_check_extras(), _check_video(), _check_engine(), _check_cuda(machine.versions.get("torch"))]
    if as_json:
        return print_json({"machine": machine, "checks": checks})
    memory = f", {machine.memory_gib} GiB of memory" if machine.memory_gib else ""
    print(f"{machine.system}, Python {machine.python}, {machine.processor}, {machine.cores} cores{memory}")
    rows = [[check.what, "yes" if check.works else "no", check.detail] for check in checks]
    print_table(["", "works", "what was found, or how to get it"], rows)


def _check_extras() -> list[Check]:
    purposes = {
        "onnx": "run .onnx artifacts",
        "openvino": "run them with OpenVINO",
        "tflite": "run .tflite artifacts",
        "train": "train",
        "export": "export",
        "report": "plot reports",
        "camera": "show a camera live",
        "web": "show it in a browser",
    }
    checks = []
    for extra, purpose in purposes.items():
        modules = [module for module, owner in EXTRA_OF.items() if owner == extra]
        missing = [module for module in modules if importlib.util.find_spec(module) is None]
        lacks = f"{', '.join(missing)} missing: pip install 'steadystyle[{extra}]'"
        checks.append(Check(f"{purpose} [{extra}]", not missing, lacks if missing else ", ".join(modules)))
    return checks


def _check_video() -> Check:
    """Really writes and reads a small file: which codecs PyAV was built with says less."""
    import numpy as np

    from .video.frames import read_frames, write_video

    with tempfile.TemporaryDirectory() as folder:
        try:
            write_video(Path(folder, "check.mp4"), [np.full((64, 64, 3), 128, np.uint8)] * 2)
            frames = len(read_frames(Path(folder, "check.mp4")))
        except (InputError, OSError) as error:
            return Check("video (H.264)", False, str(error))
    return Check("video (H.264)", frames == 2, f"{frames} of 2 frames written and read back")


def _check_engine() -> Check:
    """Really opens a bundled model, with each provider that ONNX Runtime may have."""
    from .runtimes.registry import bundled_models, open_stylizer

    what = "ONNX Runtime"
    if importlib.util.find_spec("onnxruntime") is None:
        return Check(what, False, "pip install 'steadystyle[onnx]'")
    from .runtimes.onnx import PROVIDERS

    models = bundled_models()
    if not models:
        return Check(what, False, "no model came with this installation: install it again")
    engines, failure = [], ""
    for provider in PROVIDERS:
        try:
            with open_stylizer(models[0].name, provider=provider) as stylizer:
                engines.append(f"--provider {provider}: {stylizer.engine}")
        except InputError as error:
            failure = str(error)
    return Check(what, bool(engines), "\n".join(engines) or failure)


def _check_cuda(torch_version: str | None) -> Check:
    tool = shutil.which("nvidia-smi")
    query = [tool or "nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    done = subprocess.run(query, capture_output=True, text=True, check=False) if tool else None
    if done is None or done.returncode != 0:
        return Check("CUDA", False, "no NVIDIA GPU with a working driver was found: training and export use the CPU")
    gpus = "; ".join(done.stdout.strip().splitlines())
    if torch_version is None or "+cpu" in torch_version:
        return Check("CUDA", False, f"{gpus}: install a CUDA build of torch to train on it")
    return Check("CUDA", True, f"{gpus}, torch {torch_version}")


if __name__ == "__main__":
    main()
