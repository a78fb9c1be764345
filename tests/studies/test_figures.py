"""What README, cards and docs/results.md show is what the reports under `results/` say."""

import json
import re
import shutil
from pathlib import Path

import pytest

from steadystyle.benchmarks.record import load_report
from steadystyle.common.files import InputError
from steadystyle.studies.figures import (
    RAW_SAMPLES,
    ROOT,
    add,
    between_markers,
    pages,
    read_index,
    readme_table,
    without_samples,
)

INDEX = read_index(ROOT / "results")
SHOWN = ROOT / "results" / INDEX.shown / "report.json"


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of everything that `make figures` reads and writes."""
    for folder in ("results", "docs", "runtimes/models"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    shutil.copy(ROOT / "README.md", tmp_path)
    return tmp_path


def test_every_page_is_as_make_figures_writes_it() -> None:
    for path, text in pages().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.relative_to(ROOT)} differs: run `make figures`"


@pytest.mark.parametrize("page", ["README.md", "docs/results.md", "runtimes/models/the-scream.md"])
def test_a_figure_changed_by_hand_is_found(copied: Path, page: str) -> None:
    path = copied / page
    before = path.read_text(encoding="utf-8")
    shown = re.findall(r"\b\d\.\d{4}\b", before)[-1]
    path.write_text(before.replace(shown, "0.1234"), encoding="utf-8")
    assert pages(copied)[path] == before


def test_a_result_keeps_no_raw_sample_and_no_folder() -> None:
    record = {
        "command": "steadystyle benchmark x --peer /data/peers/a.onnx --style x=/data/b.jpg -o /tmp/out",
        "latency": [{"median_ms": 3.0, "rounds_ms": [[3.0, 3.1], [2.9]], "width": 640}],
        "clips": [{"name": "1/2", "rows": [{"short": {"value": 0.1, "per_pair": [0.01], "starts": [0]}}]}],
        "pictures": ["a.png"],
    }
    assert without_samples(record) == {
        "command": "steadystyle benchmark x --peer a.onnx --style x=b.jpg -o out",
        "latency": [{"median_ms": 3.0, "rounds_ms": [], "width": 640}],
        "clips": [{"name": "1/2", "rows": [{"short": {"value": 0.1, "per_pair": [], "starts": []}}]}],
        "pictures": [],
    }


def test_every_result_is_a_report_without_samples_and_tells_the_same_as_its_entry() -> None:
    folders = {path.name for path in (ROOT / "results").iterdir() if path.is_dir()}
    assert folders == {result.id for result in INDEX.results}
    for result in INDEX.results:
        path = ROOT / "results" / result.id / "report.json"
        report = load_report(path)
        assert (report.command, report.date[:10]) == (result.command, result.date)
        values = json.loads(path.read_text(encoding="utf-8"))
        assert without_samples(values) == values
        assert not any(f'"{name}": [\n' in path.read_text(encoding="utf-8") for name in RAW_SAMPLES)


def test_an_added_result_can_be_shown(copied: Path) -> None:
    results = copied / "results"
    add(SHOWN, "2026-12-01-again", 'A claim with "quotes".', "It holds.", results)
    index = read_index(results)
    assert [result.id for result in index.results if result.claim == 'A claim with "quotes".'] == ["2026-12-01-again"]
    path = results / "index.toml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(f'shown = "{INDEX.shown}"', 'shown = "2026-12-01-again"'), encoding="utf-8")
    assert "Result `2026-12-01-again`" in " ".join(pages(copied)[copied / "README.md"].split())
    with pytest.raises(InputError, match="there is a result '2026-12-01-again' already"):
        add(SHOWN, "2026-12-01-again", "Claim.", "Verdict.", results)


def test_what_cannot_be_shown_is_said_in_a_sentence(copied: Path) -> None:
    with pytest.raises(InputError, match="README asks for 'nobody', which result"):
        readme_table({"nobody": "nobody"}, INDEX.results[0], load_report(SHOWN))
    with pytest.raises(InputError, match="the page lacks"):
        between_markers("# README\n", "figures")
    path = copied / "results" / "index.toml"
    text = path.read_text(encoding="utf-8")
    for broken, complaint in (
        (text.replace("claim =", "clam ="), "clam"),
        (text.replace(f'shown = "{INDEX.shown}"', 'shown = "none"'), "shows 'none', which is no result"),
        ("shown = ", "cannot be read"),
    ):
        path.write_text(broken, encoding="utf-8")
        with pytest.raises(InputError, match=complaint):
            read_index(copied / "results")
