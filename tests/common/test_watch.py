"""An engine that does not return: the process ends all the same. Each test is a process of its own."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

_STUCK = """
import signal, sys
import numpy as np
import onnxruntime
from steadystyle.common import watch
watch.GRACE_SECONDS, watch.MOST_SECONDS = 0.5, {most}
watch.watch_engines(lambda sentence: print(sentence, file=sys.stderr, flush=True))
for number in (signal.SIGTERM, signal.SIGHUP):  # as the commands do; without a handler they end it by themselves
    signal.signal(number, lambda *_: None)
session = onnxruntime.InferenceSession({file!r})
print("ready", flush=True)
with watch.engine_call():
    session.run(None, {{"in": np.zeros(1, np.float32)}})
"""

_BETWEEN = """
import signal, sys, time
from steadystyle.common import watch
watch.GRACE_SECONDS = 0.2
watch.watch_engines(print)
signal.signal(signal.SIGTERM, lambda *_: None)
print("ready", flush=True)
until = time.monotonic() + 4
while time.monotonic() < until:
    with watch.engine_call():
        time.sleep(0.01)
print("done", flush=True)
"""


def start(program: str) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.fixture
def endless(tmp_path: Path) -> str:
    """A network that loops for ever."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("in", "out")]
    flags = [helper.make_tensor_value_info(name, TensorProto.BOOL, []) for name in ("go", "on")]
    count = helper.make_tensor_value_info("i", TensorProto.INT64, [])
    carried = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    nodes = [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Neg", ["x"], ["y"])]
    body = helper.make_graph(nodes, "body", [count, flags[0], carried[0]], [flags[1], carried[1]])
    start = helper.make_tensor("start", TensorProto.BOOL, [], [True])
    loop = helper.make_node("Loop", ["", "start", "in"], ["out"], body=body)
    graph = helper.make_graph([loop], "g", ends[:1], ends[1:], [start])
    file = tmp_path / "endless.onnx"
    onnx.save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), file)
    return str(file)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_call_that_does_not_return(endless: str, number: signal.Signals) -> None:
    process = start(_STUCK.format(most=600, file=endless))
    time.sleep(0.3)
    process.send_signal(number)
    assert process.wait(30) == 128 + number


def test_a_call_has_a_time_limit(endless: str) -> None:
    process = start(_STUCK.format(most=0.5, file=endless))
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "has not answered" in errors


def test_calls_that_return_are_left_alone() -> None:
    process = start(_BETWEEN)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert out == "done\n"
