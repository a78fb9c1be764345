import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import get_args

import pytest
import torch
from safetensors.torch import save_file
from torch.nn.functional import conv2d, max_pool2d, relu

from steadystyle.common.files import InputError
from steadystyle.train.loss import network as network_module
from steadystyle.train.loss.network import (
    CAFFE_MEAN,
    TORCHVISION_MEAN,
    TORCHVISION_STD,
    Convention,
    LossNetwork,
    download_loss_network,
    layers_of,
    load_loss_network,
)

SUPPLIED = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "loss_network"
Weights = dict[str, torch.Tensor]
DEEP = ("relu4_1", "relu4_2", "relu4_3")


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
    assert network.names == ["relu1_1", "relu1_2"]
    with pytest.raises(InputError, match=r"\(VGG-19\) ends at relu1_2: relu3_2 needs"):
        network(torch.rand(1, 3, 8, 8), ("relu3_2",))


def vgg16(upto: str = "relu4_3") -> Weights:
    """VGG-16 with small random weights, as far as a layer."""
    weights: Weights = {}
    for name, index, inputs, outputs, _ in layers_of("VGG-16"):
        weights[f"features.{index}.weight"] = torch.randn(outputs, inputs, 3, 3) * 0.03
        weights[f"features.{index}.bias"] = torch.zeros(outputs)
        if name == upto:
            break
    return weights


def test_a_vgg16_is_told_from_a_vgg19_by_its_tensors() -> None:
    network = LossNetwork(vgg16(), "caffe")
    assert network.architecture == "VGG-16" and network.names[-4:] == ["relu3_3", *DEEP]
    features = network(torch.rand(1, 3, 32, 48), ("relu3_3", "relu4_3"))
    assert features["relu3_3"].shape == (1, 256, 8, 12) and features["relu4_3"].shape == (1, 512, 4, 6)
    with pytest.raises(InputError, match=r"is VGG-16, which has no layer relu3_4: give --loss-network a VGG-19 file"):
        network.require(("relu1_2", "relu3_4"))
    with pytest.raises(InputError, match=r"\(VGG-16\) ends at relu4_3: relu5_1 needs a file with more layers"):
        network.require(("relu5_1",))
    with pytest.raises(InputError, match="no layer relu9_9: it has relu1_1, "):
        network.require(("relu9_9",))
    assert [index for _, index, *_ in layers_of("VGG-16")] == [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
    assert [index for _, index, *_ in layers_of("VGG-19")][:9] == [0, 2, 5, 7, 10, 12, 14, 16, 19]


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    save_file(vgg16("relu2_1"), tmp_path / "whole.safetensors", {"input": "caffe"})
    data = (tmp_path / "whole.safetensors").read_bytes()
    (tmp_path / "half.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"half\.safetensors is not a \.safetensors file"):
        load_loss_network(tmp_path / "half.safetensors")
    torch.save(vgg16("relu2_1"), tmp_path / "whole.pth")
    data = (tmp_path / "whole.pth").read_bytes()
    (tmp_path / "half.pth").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"half\.pth cannot be read as torchvision's VGG weights"):
        load_loss_network(tmp_path / "half.pth")


def test_in_bfloat16_it_sees_nearly_the_same_and_channels_last(loss_weights: Weights) -> None:
    frame = torch.rand(2, 3, 20, 28)
    plain = LossNetwork(loss_weights, "torchvision")(frame, ("relu1_2", "relu2_2"))
    compact = LossNetwork(loss_weights, "torchvision").compact()(frame, ("relu1_2", "relu2_2"))
    for name, value in compact.items():
        assert value.dtype == torch.bfloat16 and value.is_contiguous(memory_format=torch.channels_last)
        error = (value.float() - plain[name]).square().mean().sqrt() / plain[name].square().mean().sqrt()
        assert error < 0.02, name


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
    with pytest.raises(InputError, match="no VGG layers"):
        LossNetwork({"weight": torch.zeros(1)}, "caffe")
    monkeypatch.delenv("STEADYSTYLE_LOSS_NETWORK", raising=False)
    with pytest.raises(InputError, match="--loss-network FILE"):
        load_loss_network(None)
    save_file(loss_weights, tmp_path / "named.safetensors", {"input": "caffe"})
    monkeypatch.setenv("STEADYSTYLE_LOSS_NETWORK", str(tmp_path / "named.safetensors"))
    assert load_loss_network(None).names[-1] == "relu2_2"


TRICKLE = b"HTTP/1.0 200 OK\r\n\r\n"  # and then a byte every 0.1 s


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (b"", "could not be downloaded from .*timed out"),  # it accepts and is silent
        (b"HTTP/1.0 200 OK\r\nContent-Length: 9000\r\n\r\nhalf", "could not be downloaded from .*timed out"),
        (b"HTTP/1.0 200 OK\r\n\r\n" + bytes(9000), "does not have the published SHA-256"),  # over the limit
        (TRICKLE, "could not be downloaded from .*too slow"),
        (b"HTTP/1.0 404 Not Found\r\n\r\n", "could not be downloaded from .*404"),
        (b"\x00 nonsense\r\n\r\n", "could not be downloaded from"),
    ],
)
def test_a_server_that_stalls_or_sends_too_much_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes, sentence: str
) -> None:
    stop = threading.Event()

    def serve() -> None:
        connection, _ = server.accept()
        with connection, suppress(OSError):
            connection.sendall(answer)
            while answer == TRICKLE and not stop.wait(0.1):
                connection.sendall(b"x")
            stop.wait(10)

    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(network_module, "TORCHVISION_URL", f"http://127.0.0.1:{server.getsockname()[1]}/a.pth")
        monkeypatch.setattr(network_module, "_PATIENCE", 0.5)
        monkeypatch.setattr(network_module, "_LONGEST", 1.0)
        monkeypatch.setattr(network_module, "_MOST_BYTES", 5000)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        thread = threading.Thread(target=serve)
        thread.start()
        began = time.monotonic()
        try:
            with pytest.raises(InputError, match=sentence):
                download_loss_network(tmp_path / "new")
        finally:
            stop.set()
            thread.join()
    assert time.monotonic() - began < 5
    assert list(tmp_path.iterdir()) == []


if SUPPLIED.is_dir():

    @pytest.mark.parametrize(("name", "deepest"), [("vgg19_relu3_4", "relu3_4"), ("vgg16_relu4_3", "relu4_3")])
    def test_published_weights_tell_a_picture_from_its_noise(name: str, deepest: str) -> None:
        network = load_loss_network(SUPPLIED / f"{name}.safetensors")
        assert network.names[-1] == deepest
        plane = torch.linspace(0, 1, 64).view(1, 1, 1, 64).expand(1, 3, 64, 64)
        deep = network(torch.cat([plane, torch.rand(1, 3, 64, 64)]), ("relu3_3",))["relu3_3"]
        assert deep.shape[1] == 256 and torch.isfinite(deep).all()
        assert deep[1].std() > 1.5 * deep[0].std()
