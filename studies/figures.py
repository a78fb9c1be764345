r"""Which figures the README, the model cards and docs/results.md show: those of the reports in `results/`.

    python -m studies.figures                      # write the pages anew: `make figures`
    python -m studies.figures --add REPORT.json --id 2026-11-27-bundled --claim "..." --verdict "..."

`--add` keeps a report of `steadystyle benchmark` without raw samples as `results/ID/report.json`, with an entry in
`results/index.toml`. A test fails where a page differs from what this writes.
"""

import argparse
import json
import re
import textwrap
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from steadystyle.benchmarks.record import Report, load_report
from steadystyle.benchmarks.report.table import figure
from steadystyle.benchmarks.report.tables import tables
from steadystyle.common.files import InputError, atomic_path
from steadystyle.runtimes.checkpoint import read_checkpoint_facts

from . import run_study

ROOT = Path(__file__).resolve().parents[1]
RAW_SAMPLES = {"rounds_ms", "per_pair", "starts", "pictures"}  # report lists that a kept result leaves empty
_FOLDER = re.compile(r"(?<![\w./:-])(?:/[\w.-]+)+/")
_BEGIN = "<!-- figures: written by `make figures` from results/ -->"
_END = "<!-- end of figures -->"
_PAGES = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


@dataclass(frozen=True)
class Result:
    """One entry of `results/index.toml`; the report is `results/ID/report.json`."""

    id: str
    claim: str
    command: str
    machine: str
    date: str
    verdict: str


@dataclass(frozen=True)
class Index:
    """`results/index.toml`: id of the ``shown`` result, README's ``rows`` (method -> label), results newest first."""

    shown: str
    rows: Mapping[str, str]
    results: Sequence[Result]


def read_index(folder: Path) -> Index:
    """Read `index.toml` of a folder; InputError when it is missing, broken, or `shown` is no result."""
    path = folder / "index.toml"
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        results = [Result(**entry) for entry in values.pop("result")]
        index = Index(results=sorted(results, key=lambda result: result.date, reverse=True), **values)
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise InputError(f"'{path}' cannot be read ({error}): write it as CONTRIBUTING.md describes") from error
    if index.shown not in {result.id for result in index.results}:
        raise InputError(f"'{path}' shows '{index.shown}', which is no result: name one of its entries")
    return index


def without_samples(value: Any) -> Any:
    """A report's JSON values without raw samples and without the folders of absolute paths."""
    if isinstance(value, dict):
        return {name: [] if name in RAW_SAMPLES else without_samples(item) for name, item in value.items()}
    if isinstance(value, list):
        return [without_samples(item) for item in value]
    return _FOLDER.sub("", value) if isinstance(value, str) else value


def add(report: Path, name: str, claim: str, verdict: str, folder: Path = ROOT / "results") -> None:
    """Keep a report as a result; InputError for an unreadable report or an id that exists."""
    found = load_report(report)
    kept = folder / name / "report.json"
    if kept.exists():
        raise InputError(f"there is a result '{name}' already: choose another --id")
    record = without_samples(json.loads(report.read_text(encoding="utf-8")))
    with atomic_path(kept) as partial:
        partial.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    memory = found.device.memory_gib
    words = f"{found.device.processor}, {found.device.cores} cores" + (f", {memory:.0f} GiB" if memory else "")
    entry = Result(name, claim, record["command"], words, found.date[:10], verdict)
    lines = [f"{item.name} = {json.dumps(getattr(entry, item.name), ensure_ascii=False)}" for item in fields(entry)]
    index = folder / "index.toml"
    text = index.read_text(encoding="utf-8")
    with atomic_path(index) as partial:
        partial.write_text("\n".join([text.rstrip(), "", "[[result]]", *lines]) + "\n", encoding="utf-8")


def pages(root: Path = ROOT) -> dict[Path, str]:
    """Content of every page that shows figures; InputError for a bad index or report, or a missing method."""
    index = read_index(root / "results")
    reports = {result.id: load_report(root / "results" / result.id / "report.json") for result in index.results}
    shown = next(result for result in index.results if result.id == index.shown)
    report = reports[shown.id]
    results = _PAGES.get_template("results.md.jinja").render(results=index.results, reports=reports, tables=tables)
    readme = root / "README.md"
    written = {
        root / "docs" / "results.md": results,
        readme: between_markers(readme.read_text(encoding="utf-8"), readme_table(index.rows, shown, report)),
    }
    for path in sorted((root / "runtimes" / "models").glob("*.json")):
        facts = json.loads(path.read_text(encoding="utf-8"))
        own = [
            method.name
            for method in report.methods
            if method.kind == "artifact" and (method.metadata or {}).get("name") == facts["name"]
        ]
        facts["figures"] = {
            "result": shown.id,
            "methods": {
                name: {label: value for label, value, _ in _figures_of(name, report) if value is not None}
                for name in own
            },
        }
        written[path] = json.dumps(facts, indent=2, ensure_ascii=False) + "\n"
        written[path.with_suffix(".md")] = _card(facts, own, path.with_suffix(".safetensors"), shown, report)
    return written


def between_markers(page: str, text: str) -> str:
    """Replace the text between a page's markers."""
    before, begin, rest = page.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not (begin and end):
        raise InputError(f"the page lacks '{_BEGIN}' or '{_END}': put both where the figures belong")
    return f"{before}{begin}\n\n{text}\n\n{end}{after}"


def readme_table(rows: Mapping[str, str], shown: Result, report: Report) -> str:
    """README's table: speed, steadiness and style of the index's `rows`."""
    summaries = {row.method: row for row in report.summary}
    if missing := [name for name in rows if name not in summaries]:
        raise InputError(f"README asks for '{missing[0]}', which result '{shown.id}' lacks: change `rows` of the index")
    times = {row.method: row.median_ms for row in reversed(report.latency)}
    cells = [(label, times.get(name), summaries[name]) for name, label in rows.items()]
    return _PAGES.get_template("readme.md.jinja").render(rows=cells, shown=shown, report=report).strip()


def _card(facts: Mapping[str, Any], own: Sequence[str], checkpoint: Path, shown: Result, report: Report) -> str:
    """A model card; its table has a row a figure, and columns for the source, the model's artifacts and the peers."""
    peers = [method.name for method in report.methods if method.kind == "peer"]
    methods = ["identity", *own, *peers] if own else []
    rows = zip(*(_figures_of(name, report) for name in methods), strict=True)
    return _PAGES.get_template("card.md.jinja").render(
        facts=facts,
        own=read_checkpoint_facts(checkpoint),
        checkpoint=checkpoint.name,
        methods=methods,
        rows={
            row[0][0]: [figure(value, digits) for _, value, digits in row]
            for row in rows
            if any(value is not None for _, value, _ in row)
        },
        shown=shown,
        report=report,
    )


def _figures_of(name: str, report: Report) -> list[tuple[str, float | None, int]]:
    """Label, value and digits of a method's figures."""
    row = next(row for row in report.summary if row.method == name)
    time = next((row for row in report.latency if row.method == name), None)
    reference = report.latency[0].reference if report.latency else ""
    shifts: Sequence[float | None] = row.shift or [None] * 4
    return [
        ("latency, ms a frame", time.median_ms if time else None, 1),
        ("99th percentile, ms", time.p99_ms if time else None, 1),
        (f"latency ratio to {reference}", time.ratio if time else None, 3),
        ("peak memory, MiB", time.peak_memory_mib if time else None, 0),
        ("temporal error e(1)", row.short, 4),
        ("temporal error e(5)", row.long, 4),
        ("excess e(1)", row.excess_short, 4),
        ("excess e(5)", row.excess_long, 4),
        ("drift", row.drift, 5),
        *((f"shift error, {shift} px", error, 4) for shift, error in enumerate(shifts, start=1)),
        ("style score", row.score, 3),
        ("style score at the trained size", row.own_score, 3),
        ("stroke score", row.stroke, 3),
        ("colour distance", row.colour, 3),
        ("content score", row.content, 2),
    ]


def _filled(text: str) -> str:
    return textwrap.fill(text, 120, subsequent_indent="  " if text.startswith("- ") else "", break_on_hyphens=False)


_PAGES.filters |= {"figure": figure, "filled": _filled}


def main(arguments: Sequence[str] | None = None) -> None:
    """Add a report if given, then write every page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--add", type=Path, metavar="REPORT.json", help="report of `steadystyle benchmark` to keep")
    parser.add_argument("--id", help="of the new result: its date and a name")
    parser.add_argument("--claim", help="what the result shows, one or two sentences")
    parser.add_argument("--verdict", help="whether the claim holds, and what follows")
    options = parser.parse_args(arguments)
    if options.add:
        if not (options.id and options.claim and options.verdict):
            parser.error("--add needs --id, --claim and --verdict")
        add(options.add, options.id, options.claim, options.verdict)
    for path, text in pages().items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            with atomic_path(path) as partial:
                partial.write_text(text, encoding="utf-8")
            print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    run_study(main)
