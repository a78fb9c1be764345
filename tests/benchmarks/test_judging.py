import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from steadystyle.benchmarks.judging import open_judging, read_style_images
from steadystyle.benchmarks.measure.steadiness import controls_of
from steadystyle.benchmarks.record import JUDGED, Method
from steadystyle.cli.options import parse_styles
from steadystyle.common.files import InputError
from steadystyle.train.loss.network import ENVIRONMENT_VARIABLE
from steadystyle.video.frames import write_image

METHODS = [Method("identity", "control", "identity"), Method("wave", "artifact"), *controls_of("wave")]


@pytest.fixture
def style_file(tmp_path: Path) -> Path:
    write_image(tmp_path / "style.png", np.zeros((8, 8, 3), np.uint8))
    return tmp_path / "style.png"


def test_style_options_are_images_or_names_with_images(tmp_path: Path) -> None:
    odd = tmp_path / "a=b.png"
    odd.touch()
    assert parse_styles(["all.png", "wave=wave.png"]) == {"": "all.png", "wave": "wave.png"}
    assert parse_styles([str(odd)]) == {"": str(odd)}
    assert parse_styles([]) == {}
    with pytest.raises(InputError, match="two style images for wave"):
        parse_styles(["wave=a.png", "wave=b.png"])


def test_a_style_image_for_nobody_is_refused(style_file: Path) -> None:
    images = read_style_images({"udnie": style_file})
    with pytest.raises(InputError, match=r"no method or style 'udnie'.*wave"):
        open_judging(METHODS, images, [], {})


def test_an_image_may_be_named_by_the_style(style_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENVIRONMENT_VARIABLE, raising=False)
    judging = open_judging(METHODS, read_style_images({"hokusai": style_file}), [], {"wave": "hokusai"})
    assert judging.settings["style images"]["hokusai"].startswith("style.png, SHA-256 ")


def test_a_missing_style_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_style_images({"": tmp_path / "none.png"})


def test_without_weights_style_is_absent_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENVIRONMENT_VARIABLE, raising=False)
    judging = open_judging(METHODS, {}, [], {})
    assert judging.judge is None
    assert set(judging.absent) == set(JUDGED)
    assert ENVIRONMENT_VARIABLE in judging.absent["score"] and "--style" in judging.absent["colour"]


def test_colour_needs_the_style_image_alone(style_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENVIRONMENT_VARIABLE, raising=False)
    judging = open_judging(METHODS, read_style_images({"": style_file}), [], {})
    assert judging.judge is not None and set(judging.absent) == {*JUDGED} - {"colour"}
    frame = np.full((32, 32, 3), 90, np.uint8)
    figures = judging.judge(frame, {"wave": frame})["wave"]
    assert {key for key, value in figures.items() if value is not None} == {"colour"}


def test_each_network_that_is_not_there_has_its_reason(style_file: Path, loss_file: Path, stroke_file: Path) -> None:
    images = read_style_images({"": style_file})
    judging = open_judging(METHODS, images, [loss_file], {})
    assert list(judging.absent) == ["stroke"] and "VGG-16" in judging.absent["stroke"]
    judging = open_judging(METHODS, images, [stroke_file], {})
    assert set(judging.absent) == {"score", "own_score", "content"} and "VGG-19" in judging.absent["score"]
    judging = open_judging(METHODS, images, [stroke_file, loss_file], {})
    assert judging.absent == {} and set(judging.settings["loss networks"]) == {"VGG-16", "VGG-19"}
    assert set(open_judging(METHODS, {}, [stroke_file, loss_file], {}).absent) == {*JUDGED} - {"content"}
    with pytest.raises(InputError, match="two of the loss networks are VGG-19"):
        open_judging(METHODS, images, [loss_file, loss_file], {})


def test_a_control_is_judged_by_the_size_of_its_method(
    tmp_path: Path, loss_file: Path, texture: Callable[[int, int, int], NDArray[np.uint8]]
) -> None:
    write_image(tmp_path / "style.png", texture(96, 96, 1))
    judging = open_judging(METHODS, read_style_images({"": tmp_path / "style.png"}), [loss_file], {}, {"wave": 96})
    assert judging.judge is not None
    rows = dict.fromkeys(("identity", "wave", "wave (blur)"), texture(96, 96, 1))
    figures = judging.judge(texture(96, 96, 2), rows)
    assert figures["wave"]["own_score"] == figures["wave (blur)"]["own_score"] == pytest.approx(0, abs=1e-6)
    assert figures["identity"]["own_score"] == figures["identity"]["score"]


def test_weights_that_were_asked_for_and_are_missing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.safetensors"):
        open_judging(METHODS, {}, [tmp_path / "none.safetensors"], {})


def test_without_torch_style_is_absent_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "steadystyle.train.loss.style_score", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    judging = open_judging(METHODS, {}, [], {})
    assert judging.judge is None
    assert "torch is not installed (pip install" in judging.absent["content"]
