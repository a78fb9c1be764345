"""The search among networks: each candidate is exported, timed beside a peer, and taken as it is the next time."""

import json
from pathlib import Path

import pytest

from steadystyle.studies import search
from steadystyle.train.networks import build_network, multiplications

SIZES = {"stem": 4, "half": 4, "quarter": 4, "blocks": 1}


def test_each_candidate_is_timed_on_each_engine(
    peer_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(search, "SIZE", (64, 48))
    monkeypatch.setattr(search, "CANDIDATES", {"tiny, one block": ("huang2017", SIZES)})
    monkeypatch.setattr(search, "ENGINES", (("onnx", "fp32", "cpu"),))
    arguments = ["--peer", str(peer_file), "-o", str(tmp_path / "found"), "--seconds", "0"]
    search.main(arguments)
    heading, _, row = capsys.readouterr().out.splitlines()
    assert heading == "| network | MMAC | parameters | onnx fp32 cpu |"
    network = build_network("huang2017", SIZES)
    macs, parameters = multiplications(network, (64, 48)), sum(value.numel() for value in network.parameters())
    assert row.startswith(f"| tiny, one block | {macs / 1e6:.0f} | {parameters} | ")
    record = json.loads((tmp_path / "found" / "search.json").read_text())["tiny, one block"]
    assert set(record["latency"]) == {"peer", "onnx fp32 cpu"}
    assert record["latency"]["peer"]["ratio"] == 1 and record["latency"]["onnx fp32 cpu"]["ms"] > 0
    artifact = tmp_path / "found" / "tiny-one-block-64x48-fp32.onnx"
    written = artifact.stat().st_mtime_ns
    search.main(arguments)
    assert artifact.stat().st_mtime_ns == written
