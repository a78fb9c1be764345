"""The scores on a loss network with random weights: the arithmetic is the same, and it tells textures apart too."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from steadystyle.common.files import InputError
from steadystyle.train.loss.network import ENVIRONMENT_VARIABLE, layers_of, load_loss_network
from steadystyle.train.loss.style_score import StyleJudge
from steadystyle.train.loss.terms import gram
from steadystyle.video.images import read_image

Frame = NDArray[np.uint8]
SUPPLIED = Path(__file__).resolve().parents[2] / ".." / "shared" / "data"


def write_weights(path: Path, last: int, architecture: str = "VGG-19") -> Path:
    generator = torch.Generator().manual_seed(1)
    weights = {}
    for _, number, inputs, outputs, _ in layers_of(architecture):
        if number <= last:
            scale = (2 / (9 * inputs)) ** 0.5
            weights[f"features.{number}.weight"] = torch.randn(outputs, inputs, 3, 3, generator=generator) * scale
            weights[f"features.{number}.bias"] = torch.zeros(outputs)
    save_file(weights, path, {"input": "torchvision"})
    return path


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("weights") / "to-relu3_2.safetensors", last=12)


@pytest.fixture(scope="module")
def deep_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """VGG-16 up to relu4_3."""
    return write_weights(tmp_path_factory.mktemp("weights") / "vgg16.safetensors", last=21, architecture="VGG-16")


def stripes(width: int, height: int) -> Frame:
    """Blue and yellow stripes: a strong style."""
    image = np.full((height, width, 3), (20, 40, 160), np.uint8)
    image[(np.arange(height) // 3) % 2 == 0] = (240, 220, 60)
    return image


def scene(width: int, height: int) -> Frame:
    """Something with forms on the left and none on the right, so that its mirror image is another."""
    image = np.full((height, width, 3), (120, 130, 120), np.uint8)
    cv2.circle(image, (width // 4, height // 2), height // 4, (200, 80, 60), -1)
    cv2.rectangle(image, (4, height - 14), (width // 2, height - 5), (40, 90, 40), -1)
    return image


def blend(a: Frame, b: Frame, share: float) -> Frame:
    return cv2.addWeighted(a, 1 - share, b, share, 0).astype(np.uint8)


def test_the_scores_of_source_style_and_what_lies_between(weights: Path) -> None:
    source, style = scene(80, 64), stripes(80, 64)
    rows = {"identity": source, "half": blend(source, style, 0.5), "most": blend(source, style, 0.8), "style": style}
    # Given at twice the size, the style image is brought to that of the frames.
    large = np.repeat(np.repeat(style, 2, axis=0), 2, axis=1)
    judge = StyleJudge([weights], dict.fromkeys(rows, large), style_side=64)
    scores = judge(source, rows)
    style_scores = {row: figures["score"] for row, figures in scores.items()}
    content_scores = {row: figures["content"] for row, figures in scores.items()}
    assert style_scores["identity"] == pytest.approx(1)
    assert content_scores["identity"] == 0
    numbers = [score for score in style_scores.values() if score is not None]
    assert numbers == sorted(numbers, reverse=True) and len(set(numbers)) == 4
    assert style_scores["style"] == pytest.approx(0, abs=1e-6)
    contents = [content for content in content_scores.values() if content is not None]
    assert contents == sorted(contents) and len(set(contents)) == 4


def test_the_formulas_by_hand(weights: Path) -> None:
    source, stylized, style = scene(64, 48), blend(scene(64, 48), stripes(64, 48), 0.5), stripes(80, 64)
    judge = StyleJudge([weights], {"stylized": style}, style_side=64)
    (figures,) = judge(source, {"stylized": stylized}).values()

    layers = ("relu1_2", "relu2_2", "relu3_2")
    network = load_loss_network(weights)

    def features(image: Frame) -> dict[str, torch.Tensor]:
        return network.forward(torch.from_numpy(image.copy()).permute(2, 0, 1)[None] / 255, layers)

    def distance(image: Frame) -> float:
        own, wanted = features(image), features(style)
        parts = []
        for layer in layers:
            target = gram(wanted[layer])
            parts.append(float(((gram(own[layer]) - target) ** 2).mean() / (target**2).mean()))
        return sum(parts) / 3

    def apart(a: Frame, b: Frame) -> float:
        return float(((features(a)["relu3_2"] - features(b)["relu3_2"]) ** 2).mean())

    assert figures["score"] == pytest.approx(distance(stylized) / distance(source), rel=1e-4)
    assert figures["content"] == pytest.approx(apart(stylized, source) / apart(source, source[:, ::-1]), rel=1e-4)


def test_rows_without_a_style_image_have_a_content_score_only(weights: Path) -> None:
    source = scene(64, 48)
    figures = StyleJudge([weights], {})(source, {"other": stripes(64, 48)})["other"]
    content = figures.pop("content")
    assert content is not None and content > 0
    assert figures == dict.fromkeys(("score", "own_score", "stroke", "colour"))


def test_a_frame_that_is_its_own_mirror_image_has_no_content_score(weights: Path) -> None:
    forms = scene(64, 48)
    judge = StyleJudge([weights], {"other": forms}, style_side=48)
    figures = judge(stripes(64, 48), {"other": forms})["other"]
    assert figures["score"] is not None
    assert figures["content"] is None


def test_a_still_picture_gets_a_new_content_score_with_each_source_frame(weights: Path) -> None:
    first, second = scene(64, 48), scene(64, 48)[::-1].copy()
    judge = StyleJudge([weights], {})
    assert judge(first, {"still": first})["still"]["content"] == 0
    later = judge(second, {"still": first})["still"]["content"]
    assert later is not None and later > 0.1


def test_weights_that_end_too_early_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="ends at relu2_2: the style score needs relu3_2"):
        StyleJudge([write_weights(tmp_path / "short.safetensors", last=7)], {})
    with pytest.raises(InputError, match="ends at relu4_2: the stroke score needs relu4_3"):
        StyleJudge([write_weights(tmp_path / "short.safetensors", last=19, architecture="VGG-16")], {})


def test_the_judge_says_what_it_judges_by(weights: Path, deep_weights: Path) -> None:
    judge = StyleJudge([deep_weights, weights], {})
    assert judge.loss_networks["VGG-19"].startswith("to-relu3_2.safetensors, SHA-256 ")
    assert judge.loss_networks["VGG-16"].startswith("vgg16.safetensors, SHA-256 ")
    assert (judge.style_layers, judge.content_layer) == (("relu1_2", "relu2_2", "relu3_2"), "relu3_2")
    assert judge.stroke_layers == ("relu3_3", "relu4_3")
    with pytest.raises(InputError, match="two of the loss networks are VGG-16"):
        StyleJudge([deep_weights, weights, deep_weights], {})


def test_the_environment_may_name_both(weights: Path, deep_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, f"{deep_weights}{os.pathsep}{weights}")
    assert list(StyleJudge(None, {}).loss_networks) == ["VGG-16", "VGG-19"]
    assert load_loss_network().architecture == "VGG-16"  # where one is needed, it is the first


def judged(judge: StyleJudge, source: Frame, frame: Frame, row: str = "row") -> dict[str, float]:
    """The figures of one frame that are there."""
    return {key: value for key, value in judge(source, {row: frame})[row].items() if value is not None}


def fine_grain(image: Frame, step: int = 20) -> Frame:
    """Every other pixel lighter, the others darker: it vanishes where two by two pixels are averaged."""
    sign = 1 - 2 * (np.indices(image.shape[:2]).sum(0) % 2)
    return np.asarray(image + step * sign[..., None], np.uint8)


def test_each_network_gives_its_own_figures(weights: Path, deep_weights: Path) -> None:
    source, frame, style = scene(64, 48), blend(scene(64, 48), stripes(64, 48), 0.5), {"row": stripes(64, 64)}
    both = judged(StyleJudge([weights, deep_weights], style, 64, stroke_side=64), source, frame)
    assert set(both) == {"score", "own_score", "content", "stroke", "colour"}
    for files, names in (
        ([weights], ("score", "own_score", "content", "colour")),
        ([deep_weights], ("stroke", "colour")),
        ([], ("colour",)),
    ):
        found = judged(StyleJudge(files, style, 64, stroke_side=64), source, frame)
        assert found == pytest.approx({name: both[name] for name in names})


def test_the_stroke_score_by_hand(deep_weights: Path) -> None:
    source, stylized, style = scene(64, 48), blend(scene(64, 48), stripes(64, 48), 0.5), stripes(80, 64)
    found = judged(StyleJudge([deep_weights], {"row": style}, 64, stroke_side=64), source, stylized)
    network = load_loss_network(deep_weights)

    def distance(image: Frame) -> float:
        halves = [cv2.resize(one.astype(np.float32) / 255, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
                  for one in (image, style)]  # fmt: skip
        own, wanted = (
            network(torch.from_numpy(half).permute(2, 0, 1)[None], ("relu3_3", "relu4_3")) for half in halves
        )
        parts = []
        for layer in ("relu3_3", "relu4_3"):
            target = gram(wanted[layer])
            parts.append(float(((gram(own[layer]) - target) ** 2).mean() / (target**2).mean()))
        return sum(parts) / 2

    assert found["stroke"] == pytest.approx(distance(stylized) / distance(source), rel=1e-4)


def test_the_stroke_score_sees_what_is_left_at_half_the_size(weights: Path, deep_weights: Path) -> None:
    source, style = scene(96, 64), blend(stripes(96, 64), np.full((64, 96, 3), 128, np.uint8), 0.3)
    judge = StyleJudge([weights, deep_weights], {"row": style}, 64, stroke_side=64)
    assert judged(judge, source, source)["stroke"] == pytest.approx(1)
    assert judged(judge, source, style)["stroke"] == pytest.approx(0, abs=1e-6)
    grained = judged(judge, source, fine_grain(style))
    assert grained["stroke"] == pytest.approx(0, abs=1e-6) and grained["score"] > 0.1
    # The style image is halved too.
    of_grain = judged(
        StyleJudge([weights, deep_weights], {"row": fine_grain(style)}, 64, stroke_side=64), source, style
    )
    assert of_grain["stroke"] == pytest.approx(0, abs=1e-6) and of_grain["score"] > 0.1


def test_ornament_of_another_size_is_held_against_the_style_image_of_that_size(
    weights: Path, deep_weights: Path
) -> None:
    style, source = stripes(80, 64), scene(160, 128)
    larger = cv2.resize(style, (160, 128), interpolation=cv2.INTER_CUBIC).astype(np.uint8)
    judge = StyleJudge(
        [weights, deep_weights], {"row": style, "of 64": style}, 64, own_sides={"row": 128}, stroke_side=64
    )
    found = judged(judge, source, larger)
    assert found["own_score"] == pytest.approx(0, abs=1e-6)
    assert found["score"] > 0.05 and found["stroke"] > 0.05
    same = judged(judge, source, larger, "of 64")
    assert same["own_score"] == same["score"] == found["score"]
    # One size larger costs less than two.
    half_larger = cv2.resize(style, (120, 96), interpolation=cv2.INTER_CUBIC).astype(np.uint8)
    assert judged(judge, scene(120, 96), half_larger)["stroke"] < found["stroke"]


def gray_blocks(low: int, high: int) -> Frame:
    """Blocks of 8 by 8 pixels, half of them of one level: their deviation is half of the difference."""
    blocks = np.where(np.indices((8, 8)).sum(0) % 2, low, high).astype(np.uint8)
    return np.repeat(np.repeat(blocks, 8, 0), 8, 1)[..., None].repeat(3, 2)


def test_the_colour_distance_by_hand() -> None:
    painting, source = gray_blocks(100, 140), scene(64, 64)
    judge = StyleJudge([], {"row": painting}, style_side=64)
    assert judged(judge, source, painting)["colour"] == pytest.approx(0, abs=1e-9)
    # Lighter by the painting's own deviation: one of three channels is off by 1.
    assert judged(judge, source, gray_blocks(120, 160))["colour"] == pytest.approx(1 / 3, rel=1e-4)
    # Twice the deviation: of nine covariances one is 4 in place of 1.
    assert judged(judge, source, gray_blocks(80, 160))["colour"] == pytest.approx(3**2 / 9, rel=1e-4)
    # What a quarter of the size does not show does not count.
    assert judged(judge, source, fine_grain(painting))["colour"] == pytest.approx(0, abs=1e-9)
    # Orange for gray, as light: half of blue - red is off by 35, half of red - green by 24.5 of 255, in units of 0.02.
    plain = np.full((64, 64, 3), 120, np.uint8)
    tinted = (plain + np.array([40, -9, -30])).astype(np.uint8)
    lightness, blue, red = (0.2126 * 40 - 0.7152 * 9 - 0.0722 * 30) / 255, -35 / 255, 24.5 / 255
    found = judged(StyleJudge([], {"row": plain}, style_side=64), source, tinted)["colour"]
    assert abs(lightness) < 0.01 * 0.1 and found == pytest.approx((blue**2 + red**2) / 0.02**2 / 3, rel=1e-3)
    assert found > 20


def test_a_swapped_hue_is_far_and_the_same_colours_elsewhere_are_near() -> None:
    painting = blend(gray_blocks(100, 140), np.full((64, 64, 3), (20, 60, 160), np.uint8), 0.5)
    judge = StyleJudge([], {"row": painting}, style_side=64)
    swapped = painting[..., ::-1].copy()
    swapped[..., 1] = np.clip(swapped[..., 1] - 29, 0, 255)  # as light as before
    assert judged(judge, scene(64, 64), swapped)["colour"] > 20
    assert judged(judge, scene(64, 64), np.ascontiguousarray(painting[::-1]))["colour"] == pytest.approx(0, abs=1e-6)


if SUPPLIED.is_dir():

    def test_paintings_are_told_apart_by_the_supplied_networks() -> None:
        files = [SUPPLIED / "loss_network" / f"{name}.safetensors" for name in ("vgg19_relu3_4", "vgg16_relu4_3")]
        images = [SUPPLIED / "styles" / f"{name}.jpg" for name in ("great_wave_hokusai", "starry_night_vangogh")]
        images.append(sorted((SUPPLIED / "photos").iterdir())[0])
        wave, night, photo = (cv2.resize(read_image(file), (320, 320)).astype(np.uint8) for file in images)
        judge = StyleJudge(files, dict.fromkeys(("wave", "night"), wave), 320, stroke_side=320)
        scores = judge(photo, {"wave": wave, "night": night})
        for figure in ("score", "own_score", "stroke", "colour"):
            own, other = scores["wave"][figure], scores["night"][figure]
            assert own is not None and other is not None and own < 0.01 < 0.05 < other, figure
