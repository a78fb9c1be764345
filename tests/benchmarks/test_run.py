"""The whole road on tiny frames: files in, a folder with the report out."""

import json
import re
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from steadystyle.benchmarks.record import Report, load_report
from steadystyle.benchmarks.request import BenchmarkRequest
from steadystyle.benchmarks.run import benchmark
from steadystyle.benchmarks.subjects import subjects_of
from steadystyle.common.files import InputError
from steadystyle.train.loss.network import ENVIRONMENT_VARIABLE
from steadystyle.video.frames import read_image, write_image

WritePeer = Callable[..., Path]
Ask = Callable[..., BenchmarkRequest]
QUICK: dict[str, Any] = {"size": (64, 48), "height": 48, "threads": 1, "latency_seconds": 0, "latency_frames": 10}


@pytest.fixture(scope="module")
def made(
    ask: Ask, tmp_path_factory: pytest.TempPathFactory, any_size_artifact: Path, fixed_size_artifact: Path, clip: Path
) -> tuple[Report, Path]:
    """One benchmark of two artifacts on one clip, without weights to judge style by."""
    out = tmp_path_factory.mktemp("benchmark") / "report"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(ENVIRONMENT_VARIABLE, raising=False)
        report = benchmark(
            ask(artifacts=[any_size_artifact, fixed_size_artifact], clips=[clip], **QUICK | {"height": 40}),
            out_dir=out,
            command="steadystyle benchmark <&>",
        )
    return report, out


class Page(HTMLParser):
    """What a page consists of: tables' cells, images and outside addresses; fails on tags that do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.cells: list[str] = []
        self.images: list[str] = []
        self.addresses: list[str] = []
        self.tags: set[str] = set()
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in ("meta", "img"):
            self.open.append(tag)
        values = {name: value or "" for name, value in attrs}
        if tag == "img":
            assert values["alt"]
            self.images.append(values["src"])
        self.addresses += [values[name] for name in ("href", "src") if name in values]
        if tag == "td":
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "td":
            self.cells[-1] += data


def test_the_report_is_there_whole_and_valid(made: tuple[Report, Path]) -> None:
    report, out = made
    record = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert record == json.loads(report.to_json()) == json.loads(load_report(out / "report.json").to_json())
    assert record["command"] == "steadystyle benchmark <&>"
    assert [row["method"] for row in record["latency"]] == ["tiny-any-fp32", "tiny-64x48-fp32"]
    assert all(row["frames"] >= 10 for row in record["latency"])
    assert record["methods"][1]["metadata"]["architecture"] == "huang2017"
    assert set(record["pictures"]) | {"report.json", "report.html", "tables.md"} == {p.name for p in out.iterdir()}
    for name in record["pictures"]:
        assert read_image(out / name).std() > 5


def test_every_method_has_its_rows_and_figures(made: tuple[Report, Path]) -> None:
    report, _ = made
    names = ["identity"]
    for name in ("tiny-any-fp32", "tiny-64x48-fp32"):
        names += [name, f"{name} (blur)", f"{name} (still)"]
    (clip,) = report.clips
    assert [row.method for row in clip.rows] == [method.name for method in report.methods] == names
    assert clip.frames == 12 and clip.height == 40 and clip.width == 54
    for row in clip.rows:
        assert row.short is not None and row.long is not None
        assert row.short.pairs == 11 and row.long.pairs == 7
        assert row.short.flow_source == "DIS medium"
        assert 0 < row.short.mask_share <= 1
        assert row.style is None and ENVIRONMENT_VARIABLE in row.absent["score"]
        if "(" in row.method or row.method == "identity":
            assert row.shift is None
        else:
            assert row.shift is not None and len(row.shift) == 4 and all(0 < error < 1 for error in row.shift)
    for name in ("tiny-any-fp32", "tiny-64x48-fp32"):
        (shift,) = (row.shift for row in report.summary if row.method == name)
        assert shift == next(row.shift for row in clip.rows if row.method == name)
    assert {row.method for row in report.drift} == {"identity", "tiny-any-fp32", "tiny-64x48-fp32"}
    assert any("tiny-64x48-fp32" in note and "resized" in note for note in clip.notes)
    assert any("Resized from 64x48 to 54x40" in note for note in clip.notes)


def test_the_page_holds_all_rows_and_needs_nothing_from_outside(made: tuple[Report, Path]) -> None:
    report, out = made
    page = Page((out / "report.html").read_text(encoding="utf-8"))
    for method in report.methods:
        assert page.cells.count(method.name) >= 2  # in the first table and in the clip's
    # Trade-offs, timeline, latency, and twice three rows of pictures, of three and of four columns.
    assert len(page.images) == 3 + 3 * 3 + 3 * 4
    assert all(address.startswith(("data:image/", "#")) for address in page.addresses)
    assert "script" not in page.tags
    assert "@import" not in (out / "report.html").read_text(encoding="utf-8")


def test_the_tables_are_there_in_markdown(made: tuple[Report, Path]) -> None:
    report, out = made
    text = (out / "tables.md").read_text(encoding="utf-8")
    for method in report.methods:
        assert len(re.findall(rf"^\| \*?{re.escape(method.name)}\*? \|", text, re.MULTILINE)) >= 2
    assert "Style score, style score at its own size, stroke score and content score absent: the losses need" in text
    assert "Colour distance absent: no style image" in text and "shift error, 1, 2, 3, 4 px" in text


def test_a_peer_is_the_reference_and_style_is_judged(
    ask: Ask,
    any_size_artifact: Path,
    peer_file: Path,
    clip: Path,
    random_loss_network: Path,
    stroke_file: Path,
    tmp_path: Path,
) -> None:
    style = np.random.default_rng(0).integers(0, 256, (24, 24, 3)).astype(np.uint8)
    write_image(tmp_path / "style.png", cv2.GaussianBlur(style, (0, 0), 1.5).astype(np.uint8))
    told: list[tuple[str, int, int | None]] = []
    report = benchmark(
        ask(
            artifacts=[any_size_artifact],
            peers=[peer_file],
            clips=[clip],
            max_frames=3,
            style_images={"inverts": tmp_path / "style.png"},
            loss_networks=[random_loss_network, stroke_file],
            **QUICK,
        ),
        out_dir=tmp_path / "report",
        progress=lambda stage, done, total: told.append((stage, done, total)),
    )
    assert {row.reference for row in report.latency} == {"inverts"}
    rows = {row.method: row for row in report.clips[0].rows}
    identity, ours, peer = (rows[name].style for name in ("identity", "tiny-any-fp32", "inverts"))
    assert identity is not None and ours is not None and peer is not None
    assert identity.score == pytest.approx(1)
    assert identity.content == 0
    assert ours.score is None and "--style" in rows["tiny-any-fp32"].absent["score"]
    assert ours.content is not None and ours.content > 0
    assert peer.score is not None and peer.score > 0
    assert identity.own_score == pytest.approx(1) and identity.stroke == pytest.approx(1)
    assert peer.own_score == peer.score and peer.stroke is not None and peer.stroke > 0 and peer.colour is not None
    blurred = rows["inverts (blur)"].style
    assert blurred is not None and blurred.stroke is not None and blurred.colour is not None
    assert (ours.own_score, ours.stroke, ours.colour) == (None, None, None)
    assert "--style" in rows["tiny-any-fp32"].absent["stroke"]
    assert report.settings["content layer"] == "relu3_2"
    assert rows["inverts"].long is None and "3 frames" in rows["inverts"].absent["long"]
    assert ("steadiness and style on clip.mp4", 3, 3) in told


def test_without_clips_the_scene_with_its_exact_flow_is_taken(ask: Ask, peer_file: Path, tmp_path: Path) -> None:
    report = benchmark(ask(peers=[peer_file], max_frames=7, **QUICK), out_dir=tmp_path / "report")
    (clip,) = report.clips
    assert clip.flow_source == "ground truth"
    assert clip.frames == 7 and clip.height == 48
    rows = {row.method: row for row in clip.rows}
    identity, peer = rows["identity"].short, rows["inverts"].short
    # Inverting changes no difference between frames.
    assert identity is not None and peer is not None
    assert peer.value == pytest.approx(identity.value, rel=1e-6)


def test_two_files_of_one_name_are_told_apart(write_peer: WritePeer, clip: Path, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    peers = [write_peer(tmp_path / folder / "net.onnx") for folder in ("a", "b")]
    subjects = subjects_of([], list(map(str, peers)))
    assert [subject.name for subject in subjects] == ["net", "net #2"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"artifacts": ["nothing.onnx"]}, "nothing.onnx"),
        ({"peers": ["nothing.onnx"]}, "the peer 'nothing.onnx' does not exist"),
        ({"clips": ["nothing.mp4"]}, "nothing.mp4"),
        ({"style_images": {"": "nothing.png"}}, "nothing.png"),
        ({"max_frames": 0}, "max frames must be at least 1"),
        ({"every": 0}, "every must be at least 1"),
        ({"sizes": [(64, 48)]}, "needs two sizes or more"),
        ({"sizes": [(64, 48), (48, 64)]}, "needs two sizes or more"),
        ({"sizes": [(64, 48), (32, 24), (64, 48)]}, "given twice"),
        ({"minutes": float("nan")}, "minutes must be 0 or more"),
    ],
)
def test_bad_input_is_refused_and_nothing_is_written(
    ask: Ask, any_size_artifact: Path, clip: Path, tmp_path: Path, arguments: dict[str, Any], sentence: str
) -> None:
    given = {"artifacts": [any_size_artifact], "clips": [clip], **QUICK, **arguments}
    with pytest.raises(InputError, match=sentence) as refusal:
        benchmark(ask(**given), out_dir=tmp_path / "deep" / "report")
    assert "\n" not in str(refusal.value)
    assert list(tmp_path.iterdir()) == []


def test_a_failure_on_the_way_leaves_nothing(ask: Ask, write_peer: WritePeer, clip: Path, tmp_path: Path) -> None:
    peer = write_peer(tmp_path / "narrower.onnx", left_out=4)
    with pytest.raises(InputError, match="its sizes must agree"):
        benchmark(ask(peers=[peer], clips=[clip], **QUICK), out_dir=tmp_path / "deep" / "report")
    assert [path.name for path in tmp_path.iterdir()] == ["narrower.onnx"]


def test_an_output_that_is_a_file_is_refused(ask: Ask, peer_file: Path, tmp_path: Path) -> None:
    (tmp_path / "report").write_text("a file")
    with pytest.raises(InputError, match="is a file"):
        benchmark(ask(peers=[peer_file], **QUICK), out_dir=tmp_path / "report")


def test_without_matplotlib_the_way_to_get_it_is_told_first(
    ask: Ask, peer_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(InputError, match=r"steadystyle\[report\]"):
        benchmark(ask(peers=[peer_file], **QUICK), out_dir=tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_scenes_by_name(ask: Ask, tmp_path: Path, any_size_artifact: Path) -> None:
    report = benchmark(
        ask(artifacts=[any_size_artifact], scenes=["turn", "still"], **QUICK), out_dir=tmp_path / "report"
    )
    assert [clip.name for clip in report.clips] == ["turn (synthetic)", "still (synthetic)"]
    assert {clip.flow_source for clip in report.clips} == {"ground truth"}
    with pytest.raises(InputError, match="unknown scene 'sea': choose one of harbour, pan"):
        benchmark(ask(artifacts=[any_size_artifact], scenes=["sea"], **QUICK), out_dir=tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_an_interrupted_run_goes_on_and_gives_the_same(
    ask: Ask, peer_file: Path, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(ENVIRONMENT_VARIABLE, raising=False)
    told: list[str] = []

    def measure(interrupt: str | None = None) -> Report:
        def progress(stage: str, done: int, total: int | None) -> None:
            told.append(stage)
            if stage == interrupt:
                raise KeyboardInterrupt

        asked = ask(peers=[peer_file], clips=[clip], scenes=["pan"], sizes=[(32, 24), (64, 48)], max_frames=6, **QUICK)
        return benchmark(asked, out_dir=tmp_path / "report", progress=progress)

    with pytest.raises(KeyboardInterrupt):
        measure(interrupt="steadiness and style on pan (synthetic)")
    assert [path.name for path in (tmp_path / "report").iterdir()] == [".working"]
    records = [json.loads(path.read_text())["value"] for path in (tmp_path / "report").rglob("*.json")]
    (timed,) = (one for one in records if isinstance(one, list) and one[0]["method"] == "inverts")
    told.clear()

    resumed = measure()
    # What was finished is not measured again, to the last digit; the rest is.
    assert not [stage for stage in told if "latency" in stage or "growth" in stage or "clip.mp4" in stage]
    assert "steadiness and style on pan (synthetic)" in told and "drift" in told
    assert [row.rounds_ms for row in resumed.latency] == [row["rounds_ms"] for row in timed]
    (sentence,) = (note for note in resumed.notes if "interrupted" in note)
    assert "latency" in sentence and "clip 1, clip.mp4" in sentence and "pan" not in sentence
    assert {path.name for path in (tmp_path / "report").iterdir()} == {
        *resumed.pictures,
        "report.json",
        "report.html",
        "tables.md",
    }

    told.clear()
    whole = measure()
    assert "latency of inverts" in told  # a finished report leaves nothing to go on from
    assert (resumed.clips, resumed.drift, resumed.summary) == (whole.clips, whole.drift, whole.summary)
    assert not [note for note in whole.notes if "interrupted" in note]


def test_growth_and_sustained_run_are_on_the_page(
    ask: Ask, any_size_artifact: Path, fixed_size_artifact: Path, clip: Path, tmp_path: Path
) -> None:
    asked = ask(
        artifacts=[any_size_artifact, fixed_size_artifact],
        clips=[clip],
        max_frames=3,
        sizes=[(32, 24), (64, 48)],
        minutes=0.01,
        thread_counts=[2, 1],
        **QUICK,
    )
    report = benchmark(asked, out_dir=tmp_path)
    names = ["tiny-any-fp32", "tiny-64x48-fp32"]
    assert [row.method for row in report.growth] == [row.method for row in report.sustained] == names
    assert [(row.method, *(point.threads for point in row.points)) for row in report.threads] == [
        (name, 2, 1) for name in names
    ]
    assert all(
        point.median_ms == np.median(np.concatenate(point.rounds_ms)) > 0
        for row in report.threads
        for point in row.points
    )
    assert report.growth[0].latency_exponent is not None and report.growth[1].latency_exponent is None
    (peak,) = report.roofline
    assert [row.method for row in peak.rows] == names
    record = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert record == json.loads(report.to_json()) == json.loads(load_report(tmp_path / "report.json").to_json())
    assert {"growth.png", "sustained.png"} <= set(report.pictures)
    for text in (tmp_path / "tables.md", tmp_path / "report.html"):
        content = text.read_text(encoding="utf-8")
        for title in ("Roofline", "Threads", "Cost growth", "Sustained run", "it is made for 64x48 only", "GFLOP/s"):
            assert title in content, (text, title)
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert all(page.cells.count(name) == 7 for name in names)  # a row in each of the seven tables
    assert len(page.images) == 5 + 3 * 3 + 3 * 4  # trade-offs, timeline, latency, growth, sustained run, and grids
    assert all(address.startswith(("data:image/", "#")) for address in page.addresses)
