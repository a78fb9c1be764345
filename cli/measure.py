"""`benchmark`, `compare`, `merge` and `baseline`."""

import shlex
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..common.files import InputError
from .options import (
    Debug,
    Every,
    FailIf,
    Json,
    LossNetworkFile,
    LossNetworkFiles,
    MaxFrames,
    Output,
    Styles,
    parse_counts,
    parse_size,
    parse_sizes,
)
from .terminal import complain, note, print_json, print_table, progress

if TYPE_CHECKING:
    from ..benchmarks.record import Report
    from ..benchmarks.remote.ssh import Word
    from ..benchmarks.report.limits import Floor

    Completed = Callable[[Report], Report]

app = typer.Typer()


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
    from ..benchmarks.judging import parse_style_options
    from ..benchmarks.remote.adb import benchmark_over_adb
    from ..benchmarks.remote.devices import CUDA, LOCAL, benchmark_on, on_cuda, parse_devices
    from ..benchmarks.remote.ssh import Remote, benchmark_over_ssh
    from ..benchmarks.report.limits import parse_floor
    from ..benchmarks.run import benchmark as run_benchmark

    floors = [parse_floor(text) for text in fail_if or []]
    latency_size = parse_size(size)
    if latency_size is None:
        raise InputError("latency needs a size: give --size WIDTHxHEIGHT, for example 640x360")
    growth_sizes = parse_sizes(sizes) if sizes else []
    counts = parse_counts(thread_counts) if thread_counts else []
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


def _words_elsewhere(context: typer.Context) -> "list[Word]":
    """What was asked for on the command line, for the same command on another machine."""
    from ..benchmarks.remote.ssh import Word, word_of

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
    from ..benchmarks.compare import compare as run_compare
    from ..benchmarks.judging import parse_style_options
    from ..benchmarks.report.limits import parse_floor

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
    from ..benchmarks.report.limits import parse_floor
    from ..benchmarks.report.merge import merge as merge_files

    floors = [parse_floor(text) for text in fail_if or []]
    report = merge_files(reports, out_dir=output, command=shlex.join(["steadystyle", *context.obj]))
    _print_report(report, output, floors, as_json)


def _print_report(report: "Report", folder: Path, floors: "Sequence[Floor]", as_json: bool) -> None:
    """Print a report; leaves with 1 where something could not be measured or a floor is broken."""
    from ..benchmarks.report.limits import broken_floors
    from ..benchmarks.report.tables import tables

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
    from ..benchmarks.baselines.iterative import Settings
    from ..benchmarks.baselines.run import run_baseline
    from ..train.loss.network import load_loss_network

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
            progress=update,
        )
    if as_json:
        return print_json(result)
    each = f", {result.seconds_per_frame:.1f} s a frame" if result.seconds_per_frame is not None else ""
    print(f"{result.output}: {result.frames} frames{each}")
