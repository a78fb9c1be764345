"""`stylize`."""

import time
from pathlib import Path
from typing import Annotated

import typer

from ..common.files import InputError, check_not_input, keep_inputs
from ..demo.requests import MODEL
from ..runtimes.registry import DEFAULT_MODEL
from .options import Debug, Json, Provider, Threads
from .terminal import note, print_json, progress, say

app = typer.Typer()


@app.command(epilog="Example: steadystyle stylize holiday.mp4 -o holiday-painted.mp4")
def stylize(
    source: Annotated[str, typer.Argument(metavar="IN", help="Video, image, folder of images, or camera (0, 1, ...).")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Video (.mp4, .mov, .mkv, .webm), image, folder, or pattern of images such as out/%06d.png. A video "
            "becomes a file in a folder that exists. Default: stylized/IN-MODEL.mp4 (.png for an image).",
        ),
    ] = None,
    model: Annotated[str, typer.Option("--model", "-m", help=MODEL.help)] = DEFAULT_MODEL,
    no_clobber: Annotated[
        bool, typer.Option("--no-clobber", help="Refuse an output that exists. Without it, it is overwritten.")
    ] = False,
    codec: Annotated[
        str | None,
        typer.Option(
            help="h264, hevc, av1, vp9 or prores, or FFmpeg's name of a hardware encoder, such as h264_nvenc."
        ),
    ] = None,
    quality: Annotated[int, typer.Option(min=0, max=100, help="Of the video, on one scale for all codecs.")] = 65,
    preset: Annotated[
        str | None, typer.Option(help="The encoder's own name of a preset: ultrafast to placebo for h264 and hevc.")
    ] = None,
    threads: Threads = None,
    provider: Provider = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Stylize a video, an image, a folder of images or a camera.

    A video keeps its size, frame times, sound, subtitles, chapters and date. HDR (HLG, PQ) becomes BT.709.

    Transparency is kept by .png, .webp and .tif, by --codec prores (.mov, .mkv), and by .webm. Elsewhere it is left
    out, with a note; a --codec that cannot hold it is refused.

    A camera runs until Ctrl-C, which completes the file.

    A frame may have 64 megapixels (8192 x 8192); the environment variable STEADYSTYLE_MAX_MEGAPIXELS sets another
    limit, in all commands.
    """
    from ..runtimes.pipeline import RunReport, run
    from ..runtimes.registry import open_stylizer
    from ..video.frames import VIDEO_SUFFIXES, Encoding, open_sink, open_source

    with open_source(source) as clip, open_stylizer(model, threads=threads, provider=provider) as stylizer:
        info, engine = clip.info, stylizer.engine
        default = _default_output(source, info.kind, stylizer.metadata.name)
        target = output or default
        if target.is_dir() and target.suffix.lower() not in VIDEO_SUFFIXES and info.kind in ("video", "camera"):
            target = target / default.name
        if no_clobber and target.exists():
            raise InputError(f"the output '{target}' exists: choose another -o, or leave --no-clobber away")
        keep_inputs(source, model)
        check_not_input(target, source, model)
        for name in clip.file_names if target.suffix == "" else ():  # into a folder, by the names of the source
            check_not_input(target / Path(name).with_suffix(".png"), source)
        report = RunReport()
        began = time.monotonic()
        with open_sink(target, clip, encoding=Encoding(codec, quality, preset)) as sink, progress() as update:

            def on_progress(done: int, total: int | None) -> None:
                report.frames = done
                update(f"{info.width}x{info.height}", done, total)

            try:
                report = run(clip, stylizer, sink, progress=on_progress)
            except KeyboardInterrupt:
                if info.kind != "camera":
                    raise
                # Ctrl-C is how a camera ends, so the frames so far are kept.
                report.seconds = time.monotonic() - began
                report.fps = report.frames / report.seconds
    for sentence in report.notes:
        note(sentence)
    if as_json:
        return print_json(
            {"output": target, "engine": engine, "width": info.width, "height": info.height, **vars(report)}
        )
    say(f"{target}: {report.frames} frames in {report.seconds:.1f} s, {report.fps:.1f} frames/s, {engine}")


def _default_output(source: str, kind: str, model: str) -> Path:
    ending = {"video": ".mp4", "camera": ".mp4", "image": ".png", "folder": ""}[kind]
    stem = source.replace(":", "-") if kind == "camera" else Path(source).resolve().stem
    return Path("stylized") / f"{stem}-{model}{ending}"
