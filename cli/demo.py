"""`demo`: the bundled scene or a file, a camera, a Jetson, the browser."""

import contextlib
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.core

from ..common.files import InputError
from .options import Debug, Json, Model, Provider, Threads, parse_size
from .terminal import note, print_json, print_table, progress


class DemoGroup(typer.core.TyperGroup):
    """`demo` with its subcommands; words that begin with none of them are those of `demo file`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put `file` before the words (list of str) where no subcommand is named; the rest is typer's."""
        if not args or (args[0] not in self.commands and args[0] != "--help"):
            args = ["file", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=DemoGroup,
    help="See it work: the bundled scene or a file of yours (`file`, what a bare `demo` does), and live.",
    rich_markup_mode="markdown",
)


@app.command("file", epilog="Example: steadystyle demo file holiday.mp4    (then look into steadystyle-demo/)")
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
    from ..demo.local import run_demo

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


@app.command("jetson", epilog="Example: steadystyle demo jetson --source usb:/dev/video0 --sink rtp:192.168.1.5:5000")
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

    from ..demo.jetson.run import run_live

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
            size=parse_size(size) if size is not None else None,
            fps=Fraction(fps).limit_denominator(1001) if fps is not None else None,
            frames=frames,
            patience=restarts,
            provider=provider,
            threads=threads,
            engine_cache=engine_cache,
            notify=note,
            progress=update,
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


@app.command(
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
    from ..demo.camera.session import run_camera

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


@app.command("web", epilog="Example: steadystyle demo web --host 0.0.0.0    (then scan the code with a phone)")
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
    from ..demo.web.server import Address, serve

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
