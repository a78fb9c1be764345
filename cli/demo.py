"""`demo`: the bundled scene or a file, a camera, a Jetson, the browser."""

import contextlib
import os
import sys
from typing import Annotated, Any

import typer
import typer.core

from ..common.files import keep_inputs
from ..demo.requests import FIRST_DEVICE, CameraRequest, FileRequest, JetsonRequest
from .asked import asks_for
from .options import Debug, Json, Provider, Threads
from .terminal import note, print_json, print_result, print_table, progress, say


class DemoGroup(typer.core.TyperGroup):
    """`demo` with its subcommands; without one, the words go to `demo file`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put `file` before the words where no subcommand is named, and `auto` after --virtual without a device."""
        if not args or (args[0] not in self.commands and args[0] != "--help"):
            args = ["file", *args]
        if "--virtual" in args and not "".join(args[args.index("--virtual") + 1 :][:1]).startswith("/"):
            args.insert(args.index("--virtual") + 1, FIRST_DEVICE)
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=DemoGroup,
    help="Try it: on the bundled scene or a file of yours (`file`, the default), or live.",
    rich_markup_mode="markdown",
)


@app.command("file", epilog="Example: steadystyle demo file holiday.mp4    (then look into steadystyle-demo/)")
@asks_for(FileRequest)
def demo_file(
    request: FileRequest,
    threads: Threads = None,
    provider: Provider = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Stylize the bundled scene, a file or a camera, and measure speed and steadiness.

    Writes the source, the stylized video, both side by side, a contact sheet of consecutive frames, and a frame in all
    fast styles and looks. Prints frames per second, and the temporal error of the stylized video and of three controls.
    """
    from ..demo.local import run_demo

    keep_inputs(request.source, request.model)
    with progress() as update:
        result = run_demo(request, threads=threads, provider=provider, progress=update)
    if print_result(result, as_json):
        return
    say("\n".join(str(path) for path in result.files))
    say(
        f"\n{result.model} on {result.source}: {result.frames} frames of {result.width}x{result.height}, "
        f"{result.engine}\n"
        f"{result.fps_alone:.1f} frames/s alone, {result.fps_end_to_end:.1f} frames/s with decoding and encoding\n"
    )
    intervals = sorted(result.mask_share)
    if intervals:
        print_table(
            ["video", *(f"e_temporal({i})" for i in intervals)],
            [[row.name, *(f"{row.errors[i]:.4f}" for i in intervals)] for row in result.rows],
        )
        shares = ", ".join(f"{result.mask_share[i]:.0%} at {i}" for i in intervals)
        say(
            "Temporal error e_temporal(k): RMS difference of frames k apart, warped along the source's motion; RGB in "
            "[0, 1].\n"
            f"Flow: {result.flow_source}; valid pixels: {shares}.\n"
            "Controls: identity = the source, blur = stylized and blurred (5x5), still = the first stylized frame.\n"
            "A blurred video scores low too: judge by the contact sheet as well."
        )


@app.command("jetson", epilog="Example: steadystyle demo jetson --source usb:/dev/video0 --sink rtp:192.168.1.5:5000")
@asks_for(JetsonRequest)
def demo_jetson(
    request: JetsonRequest,
    threads: Threads = None,
    provider: Annotated[
        str | None, typer.Option(help="tensorrt, cuda, cpu, ... Default: the first of these that starts.")
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Stylize a camera, file or stream into a display, file or stream, with GStreamer.

    Runs until the source ends or Ctrl-C, which completes the file. A source that fails is restarted. Made for Jetson
    boards; with `--board software` it runs on any Linux machine.
    """
    from ..demo.jetson.run import run_live

    keep_inputs((request.source or "").removeprefix("file:"), request.model, request.config)
    with progress() as update:
        report = run_live(request, threads=threads, provider=provider, notify=note, progress=update)
    if not print_result(report, as_json):
        say(
            f"{report.source} -> {report.model} -> {report.sink}: {report.width}x{report.height}, {report.engine}\n"
            f"{report.frames_in} frames in, {report.frames_out} out, {report.dropped} dropped, {report.repeated} "
            f"repeated, {report.restarts} source restarts\n"
            f"{report.fps:.1f} frames/s over {report.seconds:.1f} s, peak memory {report.peak_memory_mib:.0f} MiB"
        )
        if report.latency_ms:
            say(
                f"latency: median {report.latency_ms['median']:.1f} ms, p99 {report.latency_ms['p99']:.1f} ms; network "
                f"alone: median {report.stylize_ms['median']:.1f} ms, p99 {report.stylize_ms['p99']:.1f} ms"
            )
    if not report.complete:
        raise typer.Exit(130 if report.interrupted else 1)


@app.command(
    "camera",
    epilog="Example: steadystyle demo camera 0    (keys: 1-9 style, C colours, T stroke, R record, H help, Q quit)",
)
@asks_for(CameraRequest)
def demo_camera(
    request: CameraRequest,
    threads: Threads = None,
    provider: Provider = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Stylize a camera live, in a window.

    Keys switch the style and the view, change the look, record, and save a picture. Frames that the machine is too slow
    for are dropped, so that the picture stays live. A camera that is unplugged is waited for. The latency shown is the
    model's alone, with its look, as in `steadystyle benchmark`.
    """
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")  # its greeting would go to stdout, as our JSON does
    from ..demo.camera.session import run_camera

    keep_inputs(request.source, *request.models)
    result = run_camera(request, threads=threads, provider=provider)
    if print_result(result, as_json):
        return
    say(
        f"{result.source}: {result.received} frames in, {result.shown} shown ({result.fps:.1f} frames/s), "
        f"{result.dropped} dropped, {result.paused} while paused, {result.reopened} reconnects\n"
    )
    if result.models:
        print_table(
            ["model", "frames", "median ms", "p90 ms", "engine"],
            [[m.model, m.frames, _figure(m.median_ms), _figure(m.p90_ms), m.engine] for m in result.models],
        )
    say("\n".join(str(path) for path in result.files))


def _figure(value: float | None) -> str | None:
    return None if value is None else f"{value:.1f}"


@app.command("web", epilog="Example: steadystyle demo web --host 0.0.0.0    (then scan the code with a phone)")
def demo_web(
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 serves the local network, by https.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8600,
    models: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", metavar="FILE.onnx", help="Offer this artifact too, first; repeatable."),
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Stylize the camera in a browser, on this machine or a phone.

    The network runs in the browser: no picture reaches this server. Other machines need the token in the printed
    address; their browser warns once about the certificate, made for this run. Ctrl-C stops the server.
    """
    from ..demo.web.server import Address, serve

    def ready(address: Address) -> None:
        if as_json:
            print_json(address)
        elif address.secure:
            say(f"{address.qr_code()}\n{address.url}")
            note("the certificate is self-signed for this run: accept the phone browser's warning once")
        else:
            say(address.url)
        sys.stdout.flush()

    with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C is how a server ends
        serve(host, port, models=models or [], ready=ready)
