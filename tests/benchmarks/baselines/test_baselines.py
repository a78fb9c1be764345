"""The iterative methods: what they are known for shows, on a small video and a small loss network."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from steadystyle.benchmarks.baselines import ruder2016
from steadystyle.benchmarks.baselines.iterative import Finished, Painter, Settings
from steadystyle.benchmarks.baselines.run import BaselineReport, run_baseline
from steadystyle.common.files import InputError
from steadystyle.train.loss.network import LossNetwork, load_loss_network
from steadystyle.train.loss.terms import gram, style_loss
from steadystyle.train.tensors import to_tensor
from steadystyle.video.flow import FlowPair
from steadystyle.video.frames import read_frames, write_video
from steadystyle.video.images import read_image, write_image
from steadystyle.video.temporal import flow_pairs, temporal_error

Texture = Callable[[int, int, int], NDArray[np.uint8]]

SHIFT = 2
"""Pixels that the small video moves in a frame."""


@pytest.fixture(scope="module")
def loss_network(loss_file: Path) -> LossNetwork:
    torch.set_num_threads(1)
    return load_loss_network(loss_file)


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory, texture: Texture) -> Path:
    folder = tmp_path_factory.mktemp("material")
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::8], stripes[:, 1::8] = (250, 40, 40), (240, 200, 40)
    write_image(folder / "style.png", stripes)
    wide = texture(32, 64, 3)
    write_video(folder / "slide.mp4", [wide[:, SHIFT * t : SHIFT * t + 48] for t in range(4)], 25, quality=90)
    return folder


def run(method: str, material: Path, out: Path, network: LossNetwork, **values: Any) -> BaselineReport:
    settings = Settings(**{"iterations": 15, "style_size": 64, **values})
    return run_baseline(
        method, material / "slide.mp4", out, style=material / "style.png", loss_network=network, settings=settings
    )


def flicker(material: Path, video: Path) -> float:
    return temporal_error(read_frames(video), flow_pairs(read_frames(material / "slide.mp4"), 1), 1).value


def test_ruder_is_steadier_than_gatys(material: Path, loss_network: LossNetwork, tmp_path: Path) -> None:
    results = {}
    for name, method, passes in (("gatys", "gatys2016", 1), ("ruder", "ruder2016", 1), ("passes", "ruder2016", 2)):
        report = run(method, material, tmp_path / f"{name}.mp4", loss_network, passes=passes)
        assert report.frames == 4 and report.painted == 4 * passes
        assert report.seconds_per_frame == pytest.approx(report.seconds / 4)
        assert not list(tmp_path.glob("*.frames")), "the frames are kept although the video is there"
        results[name] = flicker(material, tmp_path / f"{name}.mp4")
    assert results["ruder"] < 0.6 * results["gatys"]
    assert results["passes"] < 0.8 * results["gatys"]


def test_a_painted_image_has_the_style_and_keeps_the_content(
    material: Path, loss_network: LossNetwork, texture: Texture
) -> None:
    style, frame = read_image(material / "style.png"), texture(48, 64, 3)
    layers = ("relu1_1", "relu2_1", "relu3_1")

    def distance(image: NDArray[np.uint8]) -> float:
        with torch.no_grad():
            grams = {key: gram(value) for key, value in loss_network(to_tensor(style[None], cpu), layers).items()}
            return float(style_loss(loss_network(to_tensor(image[None], cpu), layers), grams))

    cpu = torch.device("cpu")
    painter = Painter(loss_network, style, Settings(iterations=40, style_size=64))
    painted = painter.paint(frame, painter.noise(frame, 0))
    assert distance(painted) < 0.3 * distance(frame)
    faithful = Painter(loss_network, style, Settings(iterations=40, style_size=64, style_weight=0.0))
    copied = faithful.paint(frame, faithful.noise(frame, 0))
    alike = [np.corrcoef(image.ravel(), frame.ravel())[0, 1] for image in (painted, copied)]
    assert alike[1] > 0.4 and alike[1] > alike[0], alike


def test_a_run_that_was_cut_off_goes_on(
    material: Path, loss_network: LossNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run("ruder2016", material, tmp_path / "whole.mp4", loss_network, iterations=3)
    paint, done = Painter.paint, 0

    def fail(painter: Painter, *arguments: Any) -> NDArray[np.uint8]:
        nonlocal done
        done += 1
        if done == 3:
            raise KeyboardInterrupt
        return paint(painter, *arguments)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Painter, "paint", fail)
        run("ruder2016", material, tmp_path / "cut.mp4", loss_network, iterations=3)
    assert not (tmp_path / "cut.mp4").exists()
    with pytest.raises(InputError, match="iterations=3, not 4"):
        run("ruder2016", material, tmp_path / "cut.mp4", loss_network, iterations=4)
    rest = run("ruder2016", material, tmp_path / "cut.mp4", loss_network, iterations=3)
    assert (whole.painted, rest.painted) == (4, 2)
    for ours, theirs in zip(read_frames(tmp_path / "cut.mp4"), read_frames(tmp_path / "whole.mp4"), strict=True):
        assert np.array_equal(ours, theirs)


def test_a_frame_is_held_to_the_nearest_that_shows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, texture: Texture
) -> None:
    frames = [texture(16, 16, 7)] * 6
    finished = Finished(tmp_path / "frames", Settings(), {})
    for index in range(5):
        finished.write(np.full((16, 16, 3), 10 * index, np.uint8), index)
    shown = {1: np.s_[:, :8], 2: np.s_[:, :12], 4: np.s_[:, :]}  # how far back -> what of the frame it shows
    back = iter(shown)

    def pair(earlier: object, later: object) -> FlowPair:
        valid = np.zeros((16, 16), bool)
        valid[shown[next(back)]] = True
        return FlowPair(np.zeros((16, 16, 2), np.float32), valid)

    monkeypatch.setattr(ruder2016, "flow_pair", pair)
    assert ruder2016._back_to_cut(frames, 5) == [4, 3, 1] and ruder2016._back_to_cut(frames, 1) == [0]
    start, term = ruder2016._held_to_past(frames, 5, [4, 3, 1], finished, 1.0)
    assert start is not None and term is not None
    assert float(start.mean()) * 255 == pytest.approx(40)
    # Left half from one back (40), a quarter from two back (30), the last quarter from four back (10).
    wanted = torch.cat([torch.full((1, 3, 16, width), value / 255) for width, value in ((8, 40), (4, 30), (4, 10))], 3)
    assert float(term(wanted)) < 1e-12
    assert float(term(wanted + 0.1)) == pytest.approx(0.01, rel=1e-4)


def test_nothing_is_held_over_a_cut() -> None:
    frames = [np.full((16, 16, 3), 20, np.uint8), np.full((16, 16, 3), 230, np.uint8)]
    assert ruder2016._back_to_cut(frames, 1) == []


@pytest.mark.parametrize(
    ("method", "out", "source", "sentence"),
    [
        ("huang2017", "out.mp4", "slide.mp4", "unknown baseline"),
        ("gatys2016", "out.gif", "slide.mp4", r"\.mp4"),
        ("gatys2016", "out.mp4", "no.mp4", r"no\.mp4"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(
    material: Path, loss_network: LossNetwork, tmp_path: Path, method: str, out: str, source: str, sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        run_baseline(
            method, material / source, tmp_path / out, style=material / "style.png", loss_network=loss_network,
            settings=Settings(),
        )  # fmt: skip
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match="iterations"):
        Settings(iterations=0)


def test_the_source_is_not_written_over(material: Path, loss_network: LossNetwork, tmp_path: Path) -> None:
    video = tmp_path / "slide.mp4"
    video.write_bytes((material / "slide.mp4").read_bytes())
    before = video.read_bytes()
    with pytest.raises(InputError, match="is the input: choose another -o"):
        run_baseline(
            "gatys2016", video, video, style=material / "style.png", loss_network=loss_network, settings=Settings()
        )
    assert video.read_bytes() == before
    assert list(tmp_path.iterdir()) == [video]


def test_settings_are_on_record(tmp_path: Path) -> None:
    Finished(tmp_path / "frames", Settings(seed=4), {"method": "gatys2016"})
    record = json.loads((tmp_path / "frames" / "settings.json").read_text())
    assert record["seed"] == 4 and record["method"] == "gatys2016"
    with pytest.raises(InputError, match="method=gatys2016, not ruder2016"):
        Finished(tmp_path / "frames", Settings(seed=4), {"method": "ruder2016"})
