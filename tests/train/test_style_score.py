"""The scores on a loss network with random weights: the arithmetic is the same, and it tells textures apart too."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from steadystyle.train.loss_network import load_loss_network
from steadystyle.train.losses import gram
from steadystyle.train.style_score import StyleJudge
from steadystyle.video.files import InputError

Frame = NDArray[np.uint8]
CONVOLUTIONS = {0: (3, 64), 2: (64, 64), 5: (64, 128), 7: (128, 128), 10: (128, 256), 12: (256, 256)}


def write_weights(path: Path, last: int) -> Path:
    generator = torch.Generator().manual_seed(1)
    weights = {}
    for number, (inputs, outputs) in CONVOLUTIONS.items():
        if number <= last:
            scale = (2 / (9 * inputs)) ** 0.5
            weights[f"features.{number}.weight"] = torch.randn(outputs, inputs, 3, 3, generator=generator) * scale
            weights[f"features.{number}.bias"] = torch.zeros(outputs)
    save_file(weights, path, {"input": "torchvision"})
    return path


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("weights") / "to-relu3_2.safetensors", last=12)


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
    judge = StyleJudge(weights, dict.fromkeys(rows, large), style_side=64)
    scores = judge(source, rows)
    style_scores = {row: score for row, (score, _) in scores.items()}
    content_scores = {row: content for row, (_, content) in scores.items()}
    assert style_scores["identity"] == pytest.approx(1)
    assert content_scores["identity"] == 0
    numbers = [score for score in style_scores.values() if score is not None]
    assert numbers == sorted(numbers, reverse=True) and len(set(numbers)) == 4
    assert style_scores["style"] == pytest.approx(0, abs=1e-6)
    contents = [content for content in content_scores.values() if content is not None]
    assert contents == sorted(contents) and len(set(contents)) == 4


def test_the_formulas_by_hand(weights: Path) -> None:
    source, stylized, style = scene(64, 48), blend(scene(64, 48), stripes(64, 48), 0.5), stripes(80, 64)
    judge = StyleJudge(weights, {"stylized": style}, style_side=64)
    ((score, content),) = judge(source, {"stylized": stylized}).values()

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

    assert score == pytest.approx(distance(stylized) / distance(source), rel=1e-4)
    assert content == pytest.approx(apart(stylized, source) / apart(source, source[:, ::-1]), rel=1e-4)


def test_rows_without_a_style_image_have_a_content_score_only(weights: Path) -> None:
    source = scene(64, 48)
    score, content = StyleJudge(weights, {})(source, {"other": stripes(64, 48)})["other"]
    assert score is None
    assert content is not None and content > 0


def test_a_frame_that_is_its_own_mirror_image_has_no_content_score(weights: Path) -> None:
    forms = scene(64, 48)
    score, content = StyleJudge(weights, {"other": forms}, style_side=48)(stripes(64, 48), {"other": forms})["other"]
    assert score is not None
    assert content is None


def test_a_still_picture_gets_a_new_content_score_with_each_source_frame(weights: Path) -> None:
    first, second = scene(64, 48), scene(64, 48)[::-1].copy()
    judge = StyleJudge(weights, {})
    assert judge(first, {"still": first})["still"][1] == 0
    later = judge(second, {"still": first})["still"][1]
    assert later is not None and later > 0.1


def test_weights_that_end_too_early_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="ends at relu2_2"):
        StyleJudge(write_weights(tmp_path / "short.safetensors", last=7), {})


def test_the_judge_says_what_it_judges_by(weights: Path) -> None:
    judge = StyleJudge(weights, {})
    assert judge.loss_network.startswith("to-relu3_2.safetensors, SHA-256 ")
    assert (judge.style_layers, judge.content_layer) == (("relu1_2", "relu2_2", "relu3_2"), "relu3_2")
