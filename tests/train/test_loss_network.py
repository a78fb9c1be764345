from pathlib import Path
from typing import get_args

import pytest
import torch
from safetensors.torch import save_file
from torch.nn.functional import conv2d, max_pool2d, relu

from steadystyle.train.loss_network import (
    CAFFE_MEAN,
    TORCHVISION_MEAN,
    TORCHVISION_STD,
    Convention,
    LossNetwork,
    load_loss_network,
)
from steadystyle.video.files import InputError

SUPPLIED = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "loss_network" / "vgg19_relu3_4.safetensors"
Weights = dict[str, torch.Tensor]


def reference(weights: Weights, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """VGG-19 to relu2_2 written out, on input as the weights want it."""
    features = {}
    for name, index in (("relu1_1", 0), ("relu1_2", 2), ("relu2_1", 5), ("relu2_2", 7)):
        if name == "relu2_1":
            x = max_pool2d(x, 2)
        x = relu(conv2d(x, weights[f"features.{index}.weight"], weights[f"features.{index}.bias"], padding=1))
        features[name] = x
    return features


@pytest.mark.parametrize("convention", get_args(Convention))
def test_both_input_conventions_are_converted_exactly(convention: Convention, loss_weights: Weights) -> None:
    frame = torch.rand(2, 3, 20, 28)
    if convention == "caffe":
        wanted = reference(loss_weights, frame * 255 - torch.tensor(CAFFE_MEAN).view(1, 3, 1, 1))
    else:
        mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (TORCHVISION_MEAN, TORCHVISION_STD))
        wanted = reference(loss_weights, (frame - mean) / std)
    found = LossNetwork(loss_weights, convention)(frame, ("relu1_1", "relu1_2", "relu2_2"))
    assert list(found) == ["relu1_1", "relu1_2", "relu2_2"]
    for name, value in found.items():  # borders too: zero padding means the mean in both
        torch.testing.assert_close(value, wanted[name], rtol=1e-4, atol=1e-4 * float(wanted[name].max()))


def test_any_prefix_loads_and_a_deeper_layer_is_refused(loss_weights: Weights) -> None:
    prefix = {key: value for key, value in loss_weights.items() if key.split(".")[1] in ("0", "2")}
    network = LossNetwork(prefix, "caffe")
    assert network.available_layers() == ("relu1_1", "relu1_2")
    with pytest.raises(InputError, match="ends at relu1_2: relu3_2 needs"):
        network(torch.rand(1, 3, 8, 8), ("relu3_2",))


def test_convention_is_read_off_the_file_or_asked_for(tmp_path: Path, loss_weights: Weights) -> None:
    frame = torch.rand(1, 3, 16, 16)
    save_file(loss_weights, tmp_path / "a.safetensors", {"input": "RGB, 0..255 float, minus mean"})
    save_file(loss_weights, tmp_path / "b.safetensors")
    torch.save(loss_weights, tmp_path / "c.pth")
    expected = {kind: LossNetwork(loss_weights, kind)(frame, ("relu2_2",)) for kind in ("caffe", "torchvision")}
    read = load_loss_network(tmp_path / "a.safetensors")(frame, ("relu2_2",))
    torch.testing.assert_close(read, expected["caffe"])
    torch.testing.assert_close(load_loss_network(tmp_path / "c.pth")(frame, ("relu2_2",)), expected["torchvision"])
    with pytest.raises(InputError, match="does not say which input"):
        load_loss_network(tmp_path / "b.safetensors")
    asked = load_loss_network(tmp_path / "b.safetensors", "caffe")(frame, ("relu2_2",))
    torch.testing.assert_close(asked, expected["caffe"])


def test_what_is_no_loss_network_is_refused(
    tmp_path: Path, loss_weights: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "text.safetensors").write_text("not weights")
    (tmp_path / "text.pth").write_text("not weights")
    for name in ("text.safetensors", "text.pth", "absent.safetensors"):
        with pytest.raises(InputError):
            load_loss_network(tmp_path / name)
    with pytest.raises(InputError, match="not finite"):
        LossNetwork({**loss_weights, "features.2.bias": torch.full((64,), float("nan"))}, "caffe")
    with pytest.raises(InputError, match="no VGG-19 layers"):
        LossNetwork({"weight": torch.zeros(1)}, "caffe")
    monkeypatch.delenv("STEADYSTYLE_LOSS_NETWORK", raising=False)
    with pytest.raises(InputError, match="--loss-network FILE"):
        load_loss_network(None)
    save_file(loss_weights, tmp_path / "named.safetensors", {"input": "caffe"})
    monkeypatch.setenv("STEADYSTYLE_LOSS_NETWORK", str(tmp_path / "named.safetensors"))
    assert load_loss_network(None).available_layers()[-1] == "relu2_2"


if SUPPLIED.is_file():

    def test_published_weights_tell_a_picture_from_its_noise() -> None:
        network = load_loss_network(SUPPLIED)
        assert network.available_layers()[-1] == "relu3_4"
        plane = torch.linspace(0, 1, 64).view(1, 1, 1, 64).expand(1, 3, 64, 64)
        deep = network(torch.cat([plane, torch.rand(1, 3, 64, 64)]), ("relu3_4",))["relu3_4"]
        assert deep.shape == (2, 256, 16, 16) and torch.isfinite(deep).all()
        assert deep[1].std() > 1.5 * deep[0].std()
