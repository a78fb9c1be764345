import sys
from pathlib import Path

import numpy as np
import pytest

from steadystyle.benchmarks.judging import open_judging, parse_style_options, read_style_images
from steadystyle.benchmarks.report import Method
from steadystyle.benchmarks.steadiness import controls_of
from steadystyle.train.loss_network import ENVIRONMENT_VARIABLE
from steadystyle.video.files import InputError
from steadystyle.video.frames import write_image

METHODS = [Method("identity", "control", "identity"), Method("wave", "artifact"), *controls_of("wave")]


@pytest.fixture
def style_file(tmp_path: Path) -> Path:
    write_image(tmp_path / "style.png", np.zeros((8, 8, 3), np.uint8))
    return tmp_path / "style.png"


def test_style_options_are_images_or_names_with_images(tmp_path: Path) -> None:
    odd = tmp_path / "a=b.png"
    odd.touch()
    assert parse_style_options(["all.png", "wave=wave.png"]) == {"": "all.png", "wave": "wave.png"}
    assert parse_style_options([str(odd)]) == {"": str(odd)}
    assert parse_style_options([]) == {}
    with pytest.raises(InputError, match="two style images for wave"):
        parse_style_options(["wave=a.png", "wave=b.png"])


def test_a_style_image_for_nobody_is_refused(style_file: Path) -> None:
    images = read_style_images({"udnie": style_file})
    with pytest.raises(InputError, match=r"no method or style 'udnie'.*wave"):
        open_judging(METHODS, images, None, {})


def test_an_image_may_be_named_by_the_style(style_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENVIRONMENT_VARIABLE, raising=False)
    judging = open_judging(METHODS, read_style_images({"hokusai": style_file}), None, {"wave": "hokusai"})
    assert judging.settings["style images"]["hokusai"].startswith("style.png, SHA-256 ")


def test_a_missing_style_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_style_images(tmp_path / "none.png")


def test_without_weights_style_is_absent_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENVIRONMENT_VARIABLE, raising=False)
    judging = open_judging(METHODS, {}, None, {})
    assert judging.judge is None
    assert set(judging.absent) == {"score", "content"}
    assert ENVIRONMENT_VARIABLE in judging.absent["score"]


def test_weights_that_were_asked_for_and_are_missing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.safetensors"):
        open_judging(METHODS, {}, tmp_path / "none.safetensors", {})


def test_without_torch_style_is_absent_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "steadystyle.train.style_score", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    judging = open_judging(METHODS, {}, None, {})
    assert judging.judge is None
    assert "torch is not installed (pip install" in judging.absent["content"]
