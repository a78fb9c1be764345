"""The formats that `studies.fuzz` mutates: a small corpus of each, how to mutate it, and who reads it."""

import json
import shutil
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from .mutations import mutate_bytes, mutate_text, mutate_text_file, place

if TYPE_CHECKING:
    import torch
    from torch import nn

    from steadystyle.train.recipe import Recipe

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "runtimes" / "models"
SMALLEST = "the-scream"


@dataclass(frozen=True)
class Format:
    """A format.

    Attributes:
        corpus: writes small whole files into a folder and returns them, sorted.
        read: reads a file as a command does.
        mutate: new bytes from a seed's bytes.
        place: writes a case's bytes as the file, or the folder, that `read` gets.
    """

    name: str
    corpus: Callable[[Path], Sequence[Path]]
    read: Callable[[Path], None]
    mutate: Callable[[bytes, Random], bytes] = mutate_bytes
    place: Callable[[Path, bytes], Path] = place


# Pictures and videos.


def _image_corpus(folder: Path) -> Sequence[Path]:
    import cv2
    import numpy as np

    pixels = np.random.default_rng(1).integers(0, 255, (12, 16, 4), np.uint8)
    for suffix in (".png", ".jpg", ".webp", ".bmp", ".tif"):
        cv2.imwrite(str(folder / f"colour{suffix}"), pixels[..., :3])
    cv2.imwrite(str(folder / "alpha.png"), pixels)
    cv2.imwrite(str(folder / "deep.png"), pixels[..., :3].astype(np.uint16) * 257)
    return sorted(folder.iterdir())


def _read_image(path: Path) -> None:
    from steadystyle.video.images import read_image

    read_image(path)


def _video_corpus(folder: Path) -> Sequence[Path]:
    import numpy as np

    from steadystyle.tests.video.material import BT2020, HLG, make_clip, make_hdr, make_rich
    from steadystyle.video.frames import Encoding, Frame, open_sink

    make_clip(folder / "silent.mp4", 6, size=(32, 48))
    make_clip(folder / "sound.mov", 6, size=(32, 48), audio="aac")
    make_clip(folder / "sound.mkv", 6, size=(32, 48), audio="libopus")
    make_clip(folder / "turned.mp4", 4, size=(32, 48), matrix=(0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30))
    make_hdr(folder / "hdr.mp4", np.full((64, 64, 3), 0.5), HLG, BT2020)
    make_rich(folder / "rich.mkv", "subrip")
    for name, codec in (("alpha.webm", "vp9"), ("alpha.mov", "prores")):
        with open_sink(folder / name, None, encoding=Encoding(codec)) as sink:
            for index in range(3):
                sink.write(Frame(np.full((24, 32, 3), 99, np.uint8), index / 25, np.eye(24, 32, dtype=np.uint8) * 200))
    return sorted(folder.iterdir())


def _read_video(path: Path) -> None:
    from steadystyle.runtimes.pipeline import run
    from steadystyle.video.frames import open_sink, open_source

    target = path.with_name("written.mp4")
    with open_source(path) as source, open_sink(target, source) as sink:
        run(source, lambda frame: frame, sink)
    target.unlink(missing_ok=True)


# Artifacts: bytes are mutated as they are, or the metadata is, and the file gets the hash that fits it.


def _metadata() -> str:
    from steadystyle.runtimes.artifact import NO_HASH
    from steadystyle.runtimes.registry import read_metadata

    return replace(read_metadata(SMALLEST), width=32, height=24, content_sha256=NO_HASH).to_json()


def _message(number: int, content: bytes | int) -> bytes:
    """A field of a protocol buffer."""
    if isinstance(content, int):
        return _varint(number << 3) + _varint(content)
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    digits = []
    while True:
        value, digit = value >> 7, value & 0x7F
        digits.append(digit | (0x80 if value else 0))
        if not value:
            return bytes(digits)


def _mutate_metadata(data: bytes, random: Random) -> bytes:
    """Seeds of artifacts are the metadata, a line end, and the model; see the `place` of each."""
    text, _, model = data.partition(b"\n")
    if random.random() < 0.5:
        return text + b"\n" + mutate_bytes(model, random)
    changed = mutate_text(text.decode(), random).replace("\n", " ")
    return changed.encode("utf-8", "surrogatepass") + b"\n" + model


def _signed(build: Callable[[bytes], bytes], text: bytes) -> bytes:
    from steadystyle.runtimes.artifact import NO_HASH, content_sha256

    content = build(text)
    return build(text.replace(NO_HASH.encode(), content_sha256(content).encode()))


def _onnx_corpus(folder: Path) -> Sequence[Path]:
    from steadystyle.common.protobuf import fields
    from steadystyle.runtimes.artifact import METADATA_KEY

    content = (MODELS / f"{SMALLEST}-any-fp32.onnx").read_bytes()
    kept = b"".join(  # all but the metadata, which is field 14
        _message(number, value if isinstance(value, int) else bytes(value))
        for number, value in fields(content)
        if number != 14 or METADATA_KEY.encode() not in bytes(value if isinstance(value, memoryview) else b"")
    )
    text = _metadata().replace('"height": 24', '"height": null').replace('"width": 32', '"width": null')
    return [place(folder / "model.onnx", text.encode() + b"\n" + kept)]


def _place_onnx(path: Path, content: bytes) -> Path:
    from steadystyle.runtimes.artifact import METADATA_KEY

    text, _, model = content.partition(b"\n")
    key = _message(1, METADATA_KEY.encode())
    return place(path, _signed(lambda stated: model + _message(14, key + _message(2, stated)), text))


def _read_artifact(path: Path) -> None:
    from steadystyle.runtimes.registry import read_metadata

    read_metadata(path)


def _run_artifact(path: Path) -> None:
    import numpy as np

    from steadystyle.runtimes.registry import open_stylizer

    with open_stylizer(path, threads=1) as stylizer:
        stylizer(np.full((24, 32, 3), 90, np.uint8))


def _tflite_corpus(folder: Path) -> Sequence[Path]:
    return [place(folder / "model.tflite", _metadata().encode() + b"\n" + b"\x1c\0\0\0TFL3" + bytes(range(256)))]


def _place_tflite(path: Path, content: bytes) -> Path:
    from steadystyle.runtimes.tflite import METADATA_FILE

    text, _, model = content.partition(b"\n")
    file = BytesIO(model)
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED if len(text) % 2 else zipfile.ZIP_STORED) as archive:
        archive.writestr(METADATA_FILE, text)
    return place(path, file.getvalue())


def _read_tflite(path: Path) -> None:
    _read_artifact(path)
    path.write_bytes(mutate_bytes(path.read_bytes(), Random(path.stat().st_size)))  # the archive's own bytes, too
    _read_artifact(path)


def _coreml_corpus(folder: Path) -> Sequence[Path]:
    manifest = {"itemInfoEntries": {"1": {"path": "com.apple.CoreML/model.mlmodel"}}, "rootModelIdentifier": "1"}
    return [place(folder / "model.mlpackage", _metadata().encode() + b"\n" + json.dumps(manifest).encode())]


def _place_coreml(path: Path, content: bytes) -> Path:
    from steadystyle.runtimes.artifact import METADATA_KEY, NO_HASH
    from steadystyle.runtimes.coreml import INPUT, OUTPUT, package_sha256

    text, _, manifest = content.partition(b"\n")
    size = _message(1, 32) + _message(2, 24) + _message(3, 20)
    ends = [_message(1, name.encode()) + _message(3, _message(4, size)) for name in (INPUT, OUTPUT)]

    def model(stated: bytes) -> bytes:
        user = _message(100, _message(1, METADATA_KEY.encode()) + _message(2, stated))
        return _message(1, 7) + _message(2, _message(1, ends[0]) + _message(10, ends[1]) + _message(100, user))

    inside = path / "Data" / "com.apple.CoreML"
    inside.mkdir(parents=True)
    place(path / "Manifest.json", manifest)
    stated = package_sha256(place(inside / "model.mlmodel", model(text)).parents[2]).encode()
    whole = model(text.replace(NO_HASH.encode(), stated))
    place(inside / "model.mlmodel", mutate_bytes(whole, Random(content)) if manifest.startswith(b" ") else whole)
    return path


def _mutate_package(data: bytes, random: Random) -> bytes:
    """A space before the manifest asks `_place_coreml` to mutate the model."""
    if random.random() < 0.4:
        return data.replace(b"\n", b"\n" + b" " * random.randrange(1, 999), 1)
    return _mutate_metadata(data, random)


# Checkpoints and training states.


def _checkpoint_corpus(folder: Path) -> Sequence[Path]:
    shutil.copyfile(MODELS / f"{SMALLEST}.safetensors", folder / "model.safetensors")
    return [folder / "model.safetensors"]


def _mutate_safetensors(data: bytes, random: Random) -> bytes:
    """Mutated bytes, or a mutated header with the length that fits it."""
    if random.random() < 0.3:
        return mutate_bytes(data, random)
    length = int.from_bytes(data[:8], "little")
    header = data[8 : 8 + length].decode()
    own = json.loads(header)["__metadata__"]["steadystyle"]
    if random.random() < 0.7:  # the product's own text is a string in the header
        changed = json.dumps(mutate_text(own, random)).encode()
        text = header.encode().replace(json.dumps(own).encode(), changed)
    else:
        text = mutate_text(header, random).encode("utf-8", "surrogatepass")
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


def _read_checkpoint(path: Path) -> None:
    from steadystyle.runtimes.checkpoint import read_checkpoint_facts
    from steadystyle.train.checkpoint import load_checkpoint

    read_checkpoint_facts(path)
    load_checkpoint(path)


def _state_network() -> "tuple[nn.Module, torch.optim.Optimizer, Recipe]":
    import torch

    from steadystyle.train.networks import build_network
    from steadystyle.train.recipes import load_recipe

    recipe = load_recipe("paint", {"network.sizes": "{quarter: 8, eighth: 8, blocks: 0, strokes: 0}"})
    network = build_network(recipe.network.architecture, recipe.network.sizes)
    return network, torch.optim.Adam(network.parameters()), recipe


def _state_corpus(folder: Path) -> Sequence[Path]:
    from steadystyle.train.state import STATE_NAME, Standing, save_state

    network, optimizer, recipe = _state_network()
    save_state(folder / STATE_NAME, network, optimizer, recipe, Standing(0, "float32", step=1))
    return [folder / STATE_NAME]


def _read_state(path: Path) -> None:
    from steadystyle.train.state import load_state, steps_done

    steps_done(path)
    load_state(path, *_state_network())


# Text: reports, requests, recipes, boards, devices, queues.


def _copied(pattern: str, folder: Path) -> Sequence[Path]:
    for file in ROOT.glob(pattern):
        shutil.copyfile(file, folder / file.name)
    return sorted(folder.iterdir())


def _written(name: str, text: str, folder: Path) -> Sequence[Path]:
    return [place(folder / name, text.encode())]


def _report_corpus(folder: Path) -> Sequence[Path]:
    """The smallest part of a report that has every kind of row."""
    record = json.loads(next(ROOT.glob("results/*/report.json")).read_text(encoding="utf-8"))
    record["clips"] = [{**record["clips"][0], "rows": record["clips"][0]["rows"][:2]}]
    for name in ("latency", "summary", "drift"):
        record[name] = record[name][:2]
    return [place(folder / "report.json", json.dumps(record).encode())]


def _read_report(path: Path) -> None:
    """As `merge` does, but for the files of the plots, which take a second."""
    from steadystyle.benchmarks.record import load_report
    from steadystyle.benchmarks.report.merge import merge_reports
    from steadystyle.benchmarks.report.page import write_page
    from steadystyle.benchmarks.report.plots import OF_SECTION, plot_timeline
    from steadystyle.benchmarks.report.tables import sections

    report = merge_reports([load_report(path), load_report(path)], command="")
    for name, tables in sections(report).items():
        for table in tables:
            table.to_markdown()
        if name in OF_SECTION:
            OF_SECTION[name][1](report)
    for clip in report.clips:
        plot_timeline(clip, report.methods)
    write_page(report, path.with_suffix(".html"), {})
    path.with_suffix(".html").unlink()


def _read_request(path: Path) -> None:
    from steadystyle.benchmarks.request import read_request

    read_request(path).check()


def _read_recipe(path: Path) -> None:
    from steadystyle.train.recipes import load_recipe

    load_recipe(str(path))


def _read_boards(path: Path) -> None:
    from steadystyle.demo.jetson.launch import board_of, load_profiles, source_end

    profiles = load_profiles(path)
    for name in ("software", "jetson"):
        source_end(board_of(profiles, name), "test")


def _read_devices(path: Path) -> None:
    from steadystyle.benchmarks.remote.devices import parse_devices

    parse_devices(["pi"], path)


def _read_queue(path: Path) -> None:
    from ..train_all import read_queue

    read_queue(path, path.parent)


_DEVICES = '[pi]\naddress = "ssh://pi@raspberrypi:22"\npython = "python3"\ninstall = "onnx"\noptions = ["A=b"]\n'
_QUEUE = '[[run]]\nname = "a"\nstyle = "queue.toml"\nsteps = 10\nset = { network = { sizes = { blocks = 0 } } }\n'
_REQUEST = '{"artifacts": ["udnie"], "size": [640, 360], "height": 360, "threads": 2, "sizes": [[32, 24], [64, 48]]}'

FORMATS = {
    form.name: form
    for form in (
        Format("image", _image_corpus, _read_image),
        Format("video", _video_corpus, _read_video),
        Format("onnx", _onnx_corpus, _run_artifact, _mutate_metadata, _place_onnx),
        Format("tflite", _tflite_corpus, _read_tflite, _mutate_metadata, _place_tflite),
        Format("coreml", _coreml_corpus, _read_artifact, _mutate_package, _place_coreml),
        Format("checkpoint", _checkpoint_corpus, _read_checkpoint, _mutate_safetensors),
        Format("state", _state_corpus, _read_state, _mutate_safetensors),
        Format("report", _report_corpus, _read_report, mutate_text_file),
        Format("request", partial(_written, "request.json", _REQUEST), _read_request, mutate_text_file),
        Format("recipe", partial(_copied, "train/recipes/*.yaml"), _read_recipe, mutate_text_file),
        Format("boards", partial(_copied, "demo/jetson/profiles.toml"), _read_boards, mutate_text_file),
        Format("devices", partial(_written, "devices.toml", _DEVICES), _read_devices, mutate_text_file),
        Format("queue", partial(_written, "queue.toml", _QUEUE), _read_queue, mutate_text_file),
    )
}
