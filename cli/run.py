"""`stylize`."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..common.files import InputError, check_not_input, keep_inputs
from ..demo.requests import MODEL
from ..runtimes.look import Look
from ..runtimes.registry import DEFAULT_MODEL
from .asked import asks_for
from .options import Debug, Json, Provider, Threads
from .terminal import complain, explain, note, print_json, progress, say

if TYPE_CHECKING:  # these import numpy and OpenCV, which would double the start of every command
    from ..runtimes.archive.settings import Settings

app = typer.Typer()


@app.command(epilog="Example: steadystyle stylize holiday.mp4 -o holiday-painted.mp4")
@asks_for(Look, "look")
def stylize(
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="IN...", help="Videos, images, folders of them, or one camera (0, 1, ...)."),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Video (.mp4, .mov, .mkv, .webm), image, folder, or pattern of images such as out/%06d.png. A video "
            "becomes a file in a folder that exists. Default: stylized/IN-MODEL.mp4 (.png for an image); of many "
            "files, the folder stylized/MODEL.",
        ),
    ] = None,
    model: Annotated[str, typer.Option("--model", "-m", help=MODEL.help)] = DEFAULT_MODEL,
    start: Annotated[str, typer.Option(metavar="TIME", help="Begin there: seconds, or 1:02:03.5.")] = "0",
    duration: Annotated[str | None, typer.Option(metavar="TIME", help="Stylize so much of it.")] = None,
    preview: Annotated[
        bool, typer.Option("--preview", help="Write a contact sheet, a frame a second, as a picture instead.")
    ] = False,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, max=64, help="Files at a time, of many.")] = 1,
    no_clobber: Annotated[
        bool,
        typer.Option(
            "--no-clobber", help="Refuse an output that exists; of many files, leave it. Else it is replaced."
        ),
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
    *,
    look: Look,
    threads: Threads = None,
    provider: Provider = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Stylize videos, images, folders of them, or a camera.

    A video keeps its size, frame times, sound, subtitles, chapters and date. HDR (HLG, PQ) becomes BT.709.

    Transparency is kept by .png, .webp and .tif, by --codec prores (.mov, .mkv), and by .webm. Elsewhere it becomes
    white, with a note; a --codec that cannot hold it is refused.

    A camera runs until Ctrl-C, which completes the file.

    Several inputs, and folders with more in them than pictures, go into the folder -o, with the names and folders that
    they have. What is done already, from the same file with the same settings, is skipped: the same command goes on
    after a stop. A file that fails is named, the others go on, and the exit code is 1.

    A frame may have 64 megapixels (8192 x 8192); the environment variable STEADYSTYLE_MAX_MEGAPIXELS sets another
    limit, in all commands.
    """
    from ..runtimes.archive.settings import Settings
    from ..runtimes.archive.tasks import is_archive, names_a_file
    from ..video.codecs import Encoding

    settings = Settings(
        model=model,
        threads=threads,
        provider=provider,
        look=look,
        encoding=Encoding(codec, quality, preset),
        start_s=_seconds("--start", start),
        duration_s=None if duration is None else _seconds("--duration", duration, least=0.001),
        preview=preview,
    )
    settings.check()
    keep_inputs(*inputs, model)
    if is_archive(inputs) and not (len(inputs) == 1 and output is not None and names_a_file(output)):
        _many(inputs, output or Path("stylized", Path(model).stem), settings, jobs, no_clobber, as_json)
    else:
        _one(inputs[0], output, settings, no_clobber, as_json)


def _one(source: str, output: Path | None, settings: "Settings", no_clobber: bool, as_json: bool) -> None:
    from ..video.frames import VIDEO_SUFFIXES
    from ..video.images import IMAGE_SUFFIXES

    with settings.source(source) as clip, settings.stylizer() as stylizer, progress() as update:
        info = clip.info
        target = output or Path("stylized")
        named = target.suffix.lower() in VIDEO_SUFFIXES | IMAGE_SUFFIXES  # as a file, though a folder may have the name
        if output is None or (target.is_dir() and not named and info.kind in ("video", "camera")):
            video = settings.ending(Path("any.mp4"))
            ending = {"video": video, "camera": video, "image": ".png", "folder": ""}[info.kind]
            ending = ".jpg" if settings.preview else ending
            stem = source.replace(":", "-") if info.kind == "camera" else Path(source).resolve().stem
            target /= f"{stem}-{stylizer.metadata.name}{'-preview' * settings.preview}{ending}"
        numbered = re.compile(re.sub(r"%\d*d", r"\\d+", re.escape(target.name)))
        beside = target.parent.iterdir() if no_clobber and target.parent.is_dir() else []
        if no_clobber and (target.exists() or any(numbered.fullmatch(path.name) for path in beside)):
            raise InputError(f"the output '{target}' exists: choose another -o, or leave --no-clobber away")
        check_not_input(target, source, settings.model)
        if info.kind == "folder" and "%" in target.name and target.parent.resolve() == Path(source).resolve():
            raise InputError(f"the output '{target}' lies in the input '{source}': choose another -o")
        for name in clip.file_names if not named else ():  # into a folder, by the names of the source
            check_not_input(target / Path(name).with_suffix(".png"), source)

        def on_progress(done: int, total: int | None) -> None:
            update(f"{info.width}x{info.height}", done, total)

        report = settings.stylize(clip, target, stylizer, on_progress)
        engine = stylizer.engine
    for sentence in report.notes:
        note(sentence)
    if as_json:
        return print_json(
            {"output": target, "engine": engine, "width": info.width, "height": info.height, **vars(report)}
        )
    say(f"{target}: {report.frames} frames in {report.seconds:.1f} s, {report.fps:.1f} frames/s, {engine}")


def _many(inputs: list[str], out: Path, settings: "Settings", jobs: int, no_clobber: bool, as_json: bool) -> None:
    from ..runtimes.archive.tasks import find_tasks
    from ..runtimes.archive.work import stylize_all

    tasks = find_tasks(inputs, out, settings)
    with progress() as update:
        outcomes = stylize_all(
            tasks, out, settings, jobs=jobs, keep_existing=no_clobber, explain=_sentence, progress=update
        )
    failed = [outcome for outcome in outcomes if outcome.state == "failed"]
    for outcome in outcomes:
        for sentence in outcome.said if outcome.state == "done" else ():
            note(f"{outcome.source}: {sentence}")
    for outcome in failed:
        (sentence,) = outcome.said
        complain(sentence if str(outcome.source) in sentence else f"{outcome.source}: {sentence}")
    if as_json:
        print_json({"output": out, "files": outcomes})
    else:
        counts = {state: sum(outcome.state == state for outcome in outcomes) for state in ("done", "skipped", "failed")}
        say(f"{out}: " + ", ".join(f"{count} {state}" for state, count in counts.items() if count))
    if failed:
        raise typer.Exit(1)


def _sentence(error: Exception) -> str:
    return explain(error, [])[1]


def _seconds(option: str, text: str, least: float = 0.0) -> float:
    """Seconds of `90`, `1:30` and `1:02:03.5`."""
    found = re.fullmatch(r"(?:(?:(\d{1,5}):)?(\d{1,5}):)?(\d{1,9}(?:\.\d{1,9})?)", text)
    seconds = int(found[1] or 0) * 3600 + int(found[2] or 0) * 60 + float(found[3]) if found else -1.0
    if seconds < least:
        raise InputError(f"{option} is '{text}': give seconds, such as 90 or 1:30, of at least {least:g}")
    return seconds
