"""`benchmark`, `compare`, `merge` and `baseline`."""

import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..benchmarks.request import BenchmarkRequest
from ..common.files import keep_inputs
from .asked import asks_for
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
    parse_styles,
)
from .terminal import complain, note, print_json, print_table, progress, say

if TYPE_CHECKING:
    from ..benchmarks.record import Report

app = typer.Typer()


@app.command(epilog="Example: steadystyle benchmark great-wave --clip in.mp4 --peer other.onnx -o reports/wave")
@asks_for(BenchmarkRequest, brief=True)
def benchmark(
    context: typer.Context,
    request: BenchmarkRequest,
    output: Output = Path("reports/benchmark"),
    device: Annotated[
        list[str] | None, typer.Option(metavar="DEVICE", help="ssh://user@host, adb, cuda, local or a name.")
    ] = None,
    devices: Annotated[Path | None, typer.Option(metavar="FILE", help="Names of devices (devices.toml).")] = None,
    fail_if: FailIf = None,
    pictures: Annotated[
        bool, typer.Option("--pictures/--no-pictures", help="Or report.json only.", show_default=False)
    ] = True,
    as_json: Json = False,
    debug: Debug = False,
    request_file: Annotated[Path | None, typer.Option("--request", hidden=True)] = None,
) -> None:
    """Measure latency, temporal error and style, in one report.

    Repeat an option to give several. Give an interrupted command again: it continues. A device that fails is left
    out and named in the report (exit code 1). A device is local, cuda, adb[:SERIAL] or ssh://[user@]host[:port], with
    what it needs as a query: ?python=PATH&install=EXTRA&options=KEY=VALUE (ssh), ?benchmark_model=FILE (adb). Or it is
    the name of an entry of devices.toml with these keys and address.
    """
    from ..benchmarks.remote.devices import benchmark_everywhere, parse_devices
    from ..benchmarks.request import read_request

    asked = read_request(request_file) if request_file else request
    keep_inputs(*asked.files(), devices)
    targets = parse_devices(device or [], devices)
    measure = partial(benchmark_everywhere, asked, targets, pictures=pictures)
    _report(measure, context, output, fail_if, as_json)


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

    keep_inputs(source, *stylized, *(loss_networks or []), *parse_styles(styles or []).values())
    measure = partial(
        run_compare,
        source,
        stylized,
        max_frames=max_frames,
        every=every,
        style_images=parse_styles(styles or []),
        loss_networks=loss_networks or [],
    )
    _report(measure, context, output, fail_if, as_json)


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
    from ..benchmarks.report.merge import merge as merge_files

    keep_inputs(*reports)
    _report(lambda progress, **more: merge_files(reports, **more), context, output, fail_if, as_json)


def _report(
    make: "Callable[..., Report]", context: typer.Context, folder: Path, fail_if: list[str] | None, as_json: bool
) -> None:
    """Make a report in a folder and print it; exit with 1 where a measurement is missing or a limit is broken."""
    from ..benchmarks.report.limits import broken_limits, parse_limit
    from ..benchmarks.report.tables import tables

    limits = [parse_limit(text) for text in fail_if or []]
    with progress() as update:
        report = make(out_dir=folder, command=shlex.join(["steadystyle", *context.obj]), progress=update)
    if as_json:
        print_json(report)
    else:
        for table in tables(report):
            print_table(table.columns, [cells for _, cells in table.rows], table.title)
            say(f"{table.caption}\n")
        for sentence in report.notes:
            note(sentence)
        say(folder / "report.html")
    failures = [*(f"not measured: {hole}" for hole in report.holes), *broken_limits(limits, report)]
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

    keep_inputs(source, style, loss_network)
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
    say(f"{result.output}: {result.frames} frames{each}")
