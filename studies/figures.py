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

from steadystyle.benchmarks.costs import Latency
from steadystyle.benchmarks.record import Method, Report, Summary, load_report
from steadystyle.benchmarks.report.tables import tables
from steadystyle.common.files import InputError, atomic_path
from steadystyle.runtimes.checkpoint import read_checkpoint_facts

from . import run_study

ROOT = Path(__file__).resolve().parents[1]
RAW_SAMPLES = {"rounds_ms", "per_pair", "starts", "pictures"}  # report lists that a kept result leaves empty
_FOLDER = re.compile(r"(?<![\w./:-])(?:/[\w.-]+)+/")
_BEGIN = "<!-- figures: written by `make figures` from results/ -->"
_END = "<!-- end of figures -->"
_NETWORKS = {
    "huang2017": "Huang et al. 2017, instance normalization",
    "edge": "`edge`: patches of 4×4 pixels in and out, most work at an eighth of the size",
    "edge-lp": "`edge-lp`: as `edge`, low-passed on the way down, bilinear on the way up",
}


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
    written = {root / "docs" / "results.md": results_page(index.results, reports)}
    readme = root / "README.md"
    table = readme_table(index.rows, shown, reports[shown.id])
    written[readme] = between_markers(readme.read_text(encoding="utf-8"), table)
    for path in sorted((root / "runtimes" / "models").glob("*.json")):
        facts = json.loads(path.read_text(encoding="utf-8"))
        facts["figures"] = card_figures(facts["name"], shown, reports[shown.id])
        written[path] = json.dumps(facts, indent=2, ensure_ascii=False) + "\n"
        written[path.with_suffix(".md")] = card(facts, path.with_suffix(".safetensors"), shown, reports[shown.id])
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
    times = {row.method: row for row in reversed(report.latency)}
    lines = ["| | ms a frame | excess e(1) | excess e(5) | style score | stroke score |", f"| --- |{' ---: |' * 5}"]
    for name, label in rows.items():
        own = summaries[name]
        cells = [
            _cell(times[name].median_ms if name in times else None, 1),
            _cell(own.excess_short, 4, "+"),
            _cell(own.excess_long, 4, "+"),
            _cell(own.score, 2),
            _cell(own.stroke, 2),
        ]
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", _filled(f"{_conditions(shown, report)} Result `{shown.id}`.")])


def results_page(results: Sequence[Result], reports: Mapping[str, Report]) -> str:
    """`docs/results.md`: each result's claim, verdict, command and tables."""
    parts = [
        "<!-- Written by `make figures` from results/: change those. -->\n# Results",
        _filled(
            "Each result is a report of `steadystyle benchmark` without its raw samples, in `results/ID/report.json`. "
            "[CONTRIBUTING](../CONTRIBUTING.md#figures) defines the figures. Compare within one table."
        ),
    ]
    for result in results:
        report = reports[result.id]
        parts += [
            f"## {result.id}",
            _filled(f"**Claim.** {result.claim}"),
            _filled(f"**Verdict.** {result.verdict}"),
            _filled(f"{result.date}, {result.machine}, commit {(report.device.commit or 'unknown')[:12]}."),
            textwrap.indent(result.command, "    "),
            *(_filled(note) for note in [*report.notes, *report.holes]),
            *(_markdown(table.to_markdown()) for table in tables(report)),
        ]
    return "\n\n".join(parts) + "\n"


def card_figures(model: str, shown: Result, report: Report) -> dict[str, Any]:
    """A result's figures of a bundled model and its artifacts, for the JSON card."""
    names = [method.name for method in report.methods if _made_from(method, model)]
    return {
        "result": shown.id,
        "methods": {
            name: {label: value for label, value, _ in _figures_of(name, report) if value is not None} for name in names
        },
    }


def card(facts: Mapping[str, Any], checkpoint: Path, shown: Result, report: Report) -> str:
    """A model card: facts, figures and training of the model."""
    own = read_checkpoint_facts(checkpoint)
    model, training = facts["name"], facts["training"]
    about = {
        "painting": facts["painting"],
        "network": f"{_NETWORKS[own['architecture']]}; {own['parameters']:,} parameters",
        "files": f"`{checkpoint.name}` (checkpoint), `{model}-any-fp32.onnx` (any size, uint8 RGB in and out)",
        "training": f"{own['steps']:,} steps, with those of the networks it started from",
        "licence": facts["licence"],
    }
    stages = [
        f"| {number} | {stage['steps']:,} | {stage['learning_rate']} | {_stage_note(stage)} |"
        for number, stage in enumerate(training["stages"], start=1)
    ]
    data = "\n".join(_filled(f"- {entry['what']}: {entry['licence']}") for entry in training["data"])
    parts = [
        f"<!-- Written by `make figures` from {model}.json, {checkpoint.name} and results/: change those. -->\n"
        f"# {model}",
        _filled(facts["introduction"]),
        "\n".join(["| | |", "| --- | --- |", *(f"| {name} | {words} |" for name, words in about.items())]),
        "## Figures",
        _card_table(model, shown, report),
        *(_filled(remark) for remark in facts.get("remarks", [])),
        "## Training",
        _filled(training["summary"]),
        "\n".join(["| stage | steps | learning rate | note |", "| --- | ---: | ---: | --- |", *stages]),
        "Style a + b + c: weights at full, half and quarter size. λ: weight of the temporal loss.",
        f"Data, not in this repository:\n\n{data}",
        "## Known failures",
        "\n".join(_filled(f"- {failure}") for failure in facts["known_failures"]),
    ]
    return "\n\n".join(parts) + "\n"


def _card_table(model: str, shown: Result, report: Report) -> str:
    """Table with a row a figure; columns are the source, the model's artifacts and the peers."""
    own = [method.name for method in report.methods if _made_from(method, model)]
    if not own:
        return f"Result `{shown.id}` did not measure this model."
    others = [method.name for method in report.methods if method.kind == "peer"]
    names = ["identity", *own, *others]
    columns = [_figures_of(name, report) for name in names]
    lines = [f"| | {' | '.join(names)} |", f"| --- |{' ---: |' * len(names)}"]
    for row in zip(*columns, strict=True):
        if any(value is not None for _, value, _ in row):
            cells = (_cell(value, digits) for _, value, digits in row)
            lines.append(f"| {row[0][0]} | {' | '.join(cells)} |")
    where = f"[Result `{shown.id}`](../../docs/results.md#{shown.id}) has the figures of each clip."
    return "\n".join([*lines, "", _filled(f"{_conditions(shown, report)} {where}")])


def _figures_of(name: str, report: Report) -> list[tuple[str, float | None, int]]:
    """Label, value and digits of a method's figures."""
    row: Summary = next(row for row in report.summary if row.method == name)
    time: Latency | None = next((row for row in report.latency if row.method == name), None)
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


def _made_from(method: Method, model: str) -> bool:
    return method.kind == "artifact" and (method.metadata or {}).get("name") == model


def _stage_note(stage: Mapping[str, Any]) -> str:
    """A stage's settings that have fields of their own, then its note."""
    settings = [
        f"{stage['batch']} × {stage['crop']} px" if "crop" in stage else "",
        f"content {stage['content_weight']}" if "content_weight" in stage else "",
        f"style {stage['style_weight']} + {stage['style_half_weight']}" if "style_weight" in stage else "",
        f"λ {stage['temporal_weight']:,}" if "temporal_weight" in stage else "",
    ]
    return "; ".join(filter(None, [", ".join(filter(None, settings)), stage["note"]]))


def _conditions(shown: Result, report: Report) -> str:
    """Clips, flow and machine of the figures, in one or two sentences."""
    clips, count = report.clips, len(report.clips)
    frames = sum(clip.frames for clip in clips)
    flows = " and ".join(sorted({clip.flow_source for clip in clips}))
    words = f"Means over {count} clip{'s' if count > 1 else ''}, {frames} frames, flow: {flows}."
    if report.latency:
        first = report.latency[0]
        words += f" Latency at {first.width}×{first.height}, {first.threads} threads, {shown.machine}."
    return words


def _markdown(table: str) -> str:
    """A report's table one heading lower, with its caption wrapped."""
    rows, _, caption = f"#{table}".strip().rpartition("\n\n")
    return f"{rows}\n\n{_filled(caption)}"


def _cell(value: float | None, digits: int, sign: str = "") -> str:
    return "—" if value is None else f"{value:{sign}.{digits}f}"


def _filled(text: str) -> str:
    return textwrap.fill(text, 120, subsequent_indent="  " if text.startswith("- ") else "", break_on_hyphens=False)


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
