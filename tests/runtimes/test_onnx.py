"""The ONNX Runtime runtime, on small graphs that are written here node by node."""

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from steadystyle.common.files import InputError
from steadystyle.runtimes.artifact import METADATA_KEY, NO_HASH, content_sha256
from steadystyle.runtimes.onnx import PROVIDERS, OnnxStylizer, tensorrt_options
from steadystyle.tests.runtimes.material import METADATA

ANY: list[int | str] = ["height", "width", 3]


def write(
    path: Path,
    text: str | None,
    shape: list[int | str] | None = None,
    element: TensorProto.DataType = TensorProto.UINT8,
    inputs: int = 1,
) -> Path:
    """Write a graph that turns a picture into its negative (bitwise not), with this text as metadata."""
    ends = [helper.make_tensor_value_info(f"in{i}", element, shape or ANY) for i in range(inputs)]
    out = helper.make_tensor_value_info("out", element, shape or ANY)
    node = helper.make_node("BitwiseNot" if element == TensorProto.UINT8 else "Identity", ["in0"], ["out"])
    opset = [helper.make_opsetid("", 18)]
    model = helper.make_model(helper.make_graph([node], "g", ends, [out]), opset_imports=opset, ir_version=10)
    for sha256 in (NO_HASH, None):
        if text is not None:
            stated = text.replace('"content_sha256": ""', f'"content_sha256": "{sha256 or hash_of(path)}"')
            helper.set_model_props(model, {METADATA_KEY: stated})
        onnx.save_model(model, path)
    return path


def hash_of(path: Path) -> str:
    return content_sha256(path.read_bytes())


def sized(width: int, height: int) -> str:
    return dataclasses.replace(METADATA, width=width, height=height).to_json()


@pytest.fixture
def any_size(tmp_path: Path) -> Path:
    return write(tmp_path / "any.onnx", METADATA.to_json())


def random_frame(width: int, height: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize(("width", "height"), [(32, 24), (1, 1), (33, 17), (2, 100)])
def test_any_size(any_size: Path, width: int, height: int) -> None:
    with OnnxStylizer(any_size, threads=1) as stylizer:
        frame = random_frame(width, height)
        assert np.array_equal(stylizer(frame), 255 - frame)


def test_a_fixed_size_and_others(tmp_path: Path) -> None:
    path = write(tmp_path / "fixed.onnx", sized(32, 24), [24, 32, 3])
    with OnnxStylizer(path, threads=1) as stylizer:
        frame = random_frame(32, 24)
        assert np.array_equal(stylizer(frame), 255 - frame)
        assert stylizer(random_frame(50, 40)).shape == (40, 50, 3)


def test_the_caller_owns_what_it_gets(any_size: Path) -> None:
    with OnnxStylizer(any_size, threads=1) as stylizer:
        frame = random_frame(32, 24)
        before = frame.copy()
        first = stylizer(frame)
        kept = first.copy()
        second = stylizer(255 - frame)
        assert np.array_equal(first, kept), "a later call wrote into an earlier result"
        assert not np.shares_memory(first, second)
        first[:] = 0
        assert np.array_equal(frame, before)
    assert np.array_equal(second, before), "the result must outlive the stylizer"


def test_a_view_with_gaps(any_size: Path) -> None:
    with OnnxStylizer(any_size, threads=1) as stylizer:
        frame = random_frame(64, 48)[1::2, ::-2]
        assert np.array_equal(stylizer(frame), 255 - frame)


def test_the_engine_says_what_it_is(any_size: Path) -> None:
    version = f"onnxruntime {onnxruntime.__version__} CPUExecutionProvider"
    for threads, text in ((1, "1 thread"), (2, "2 threads"), (None, "default threads")):
        with OnnxStylizer(any_size, threads=threads) as stylizer:
            assert stylizer.engine == f"{version}, {text}"
            assert dataclasses.replace(stylizer.metadata, content_sha256="") == METADATA


def test_closing_twice_is_harmless(any_size: Path) -> None:
    stylizer = OnnxStylizer(any_size, threads=1)
    stylizer.close()
    stylizer.close()


@pytest.mark.parametrize("provider", ["cpu", "CPU"])
def test_the_cpu_is_always_there(any_size: Path, provider: str) -> None:
    with OnnxStylizer(any_size, threads=1, provider=provider) as stylizer:
        assert "CPUExecutionProvider" in stylizer.engine


def test_an_unknown_provider_is_refused(any_size: Path) -> None:
    with pytest.raises(InputError, match=r"unknown provider 'gpu': choose one of .*cpu"):
        OnnxStylizer(any_size, provider="gpu")


def test_a_provider_that_this_build_lacks_is_refused(any_size: Path) -> None:
    lacking = [short for short, name in PROVIDERS.items() if name not in onnxruntime.get_available_providers()]
    assert lacking, "no build has them all: CoreML and DirectML belong to different systems"
    for short in lacking:
        with pytest.raises(InputError, match=f"has no provider '{short}': choose one of cpu"):
            OnnxStylizer(any_size, provider=short)


def test_a_provider_that_does_not_start_is_refused(any_size: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # ONNX Runtime then takes the CPU and only logs it: a build with CUDA on a machine without a GPU does that.
    monkeypatch.setitem(PROVIDERS, "cuda", "AzureExecutionProvider")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["AzureExecutionProvider"])
    with monkeypatch.context() as patch:
        patch.setattr(onnxruntime.InferenceSession, "get_providers", lambda session: ["CPUExecutionProvider"])
        with pytest.raises(InputError, match="'cuda' does not start on this machine"):
            OnnxStylizer(any_size, provider="cuda")


@pytest.mark.parametrize("damage", ["cut", "noise", "empty", "text"])
def test_a_damaged_file_is_refused(any_size: Path, damage: str) -> None:
    whole = any_size.read_bytes()
    noise = np.random.default_rng(0).bytes(4000)
    wreck = {"cut": whole[: len(whole) // 2], "noise": noise, "empty": b"", "text": b"Hi"}
    any_size.write_bytes(wreck[damage])
    with pytest.raises(InputError, match=r"any\.onnx' is damaged or not an ONNX file") as refusal:
        OnnxStylizer(any_size)
    assert "\n" not in str(refusal.value)


def test_a_file_without_our_metadata_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"foreign\.onnx' has no steadystyle metadata"):
        OnnxStylizer(write(tmp_path / "foreign.onnx", None))


def test_metadata_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'.*odd\.onnx' cannot be used because its metadata is not JSON"):
        OnnxStylizer(write(tmp_path / "odd.onnx", "{"))


@pytest.mark.parametrize(
    ("text", "shape", "element", "inputs", "complaint"),
    [
        (sized(32, 24), [32, 24, 3], TensorProto.UINT8, 1, "takes 32x24x3 .* says 24x32x3"),
        (sized(32, 24), ANY, TensorProto.UINT8, 1, "takes anyxanyx3 .* says 24x32x3"),
        (METADATA.to_json(), [24, 32, 3], TensorProto.UINT8, 1, "takes 24x32x3 .* says anyxanyx3"),
        (METADATA.to_json(), [3, "height", "width"], TensorProto.UINT8, 1, "takes 3xanyxany"),
        (METADATA.to_json(), ANY, TensorProto.FLOAT, 1, r"takes .*tensor\(float\)"),
        (METADATA.to_json(), ANY, TensorProto.UINT8, 2, "takes .*, anyxanyx3"),
    ],
)
def test_metadata_that_does_not_fit_the_graph_is_refused(
    tmp_path: Path,
    text: str,
    shape: list[int | str],
    element: TensorProto.DataType,
    inputs: int,
    complaint: str,
) -> None:
    with pytest.raises(InputError, match=complaint):
        OnnxStylizer(write(tmp_path / "lies.onnx", text, shape, element, inputs))


@pytest.mark.parametrize("change", [(b"BitwiseNot", b"BitwiseNoT"), (b'"steps": 0', b'"steps": 9')])
def test_an_edited_file_is_refused(tmp_path: Path, change: tuple[bytes, bytes]) -> None:
    path = write(tmp_path / "edited.onnx", METADATA.to_json())
    data = path.read_bytes()
    assert change[0] in data
    path.write_bytes(data.replace(*change))
    with pytest.raises(InputError, match=r"edited\.onnx' is damaged"):
        OnnxStylizer(path)


def test_a_model_that_points_to_data_outside_is_refused(tmp_path: Path) -> None:
    """ONNX may keep weights in other files; ours never do, and such a path may lead anywhere."""
    (tmp_path / "secret.bin").write_bytes(bytes(64))
    (tmp_path / "models").mkdir()
    weights = helper.make_tensor("w", TensorProto.FLOAT, [16], np.zeros(16, np.float32))
    weights.ClearField("float_data")
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="../secret.bin")
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [16]) for name in ("in0", "out")]
    graph = helper.make_graph([helper.make_node("Add", ["in0", "w"], ["out"])], "g", ends[:1], ends[1:], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(model, {METADATA_KEY: METADATA.to_json()})
    path = tmp_path / "models" / "outside.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match=r"outside\.onnx'"):
        OnnxStylizer(path)


def test_tensorrt_keeps_the_engines_of_each_file_and_version_apart(tmp_path: Path, any_size_artifact: Path) -> None:
    cache, edited = tmp_path / "engines", tmp_path / any_size_artifact.name
    edited.write_bytes(any_size_artifact.read_bytes() + b" ")
    first, again, other = (tensorrt_options(path, cache) for path in (any_size_artifact, any_size_artifact, edited))
    assert first == again
    folders = {Path(options["trt_engine_cache_path"]) for options in (first, other)}
    assert len(folders) == 2
    assert all(folder.is_dir() and folder.parent == cache for folder in folders)
    assert all(f"ort-{onnxruntime.__version__}-tensorrt-" in folder.name for folder in folders)
    assert first["trt_engine_cache_enable"] == "True"


def test_no_folder_for_engines_is_made_where_there_is_no_tensorrt(tmp_path: Path, any_size_artifact: Path) -> None:
    OnnxStylizer(any_size_artifact, engine_cache=tmp_path / "engines").close()
    assert not (tmp_path / "engines").exists()
