"""Merges reports from several devices or days."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ... import __version__
from ...common.files import InputError
from ..fields import DEVICE, METHOD, with_marked
from ..measure.steadiness import IDENTITY
from ..record import Clip, Report, free_name, load_report, now, summarize
from .write import check_folder, write_report

_SAME_CLIP = 0.05
"""Clips of one name are the same if the source's own errors differ by at most this share."""


def merge(files: Sequence[str | Path], *, out_dir: str | Path, command: str = "") -> Report:
    """Merge report.json files, or the folders that hold them, into `out_dir`; an unreadable one is a hole.

    InputError, and nothing is written, if none can be read; OSError if writing fails.
    """
    folder = check_folder(out_dir)
    reports, refusals = [], []
    for file in map(Path, files):
        try:
            reports.append(load_report(file / "report.json" if file.is_dir() else file))
        except InputError as error:
            refusals.append(error)
    if not reports:
        raise refusals[0] if refusals else InputError("there is nothing to merge: give at least one report.json")
    report = merge_reports(reports, holes=[str(error) for error in refusals], command=command)
    return write_report(report, [], folder)


def merge_reports(reports: Sequence[Report], *, holes: Sequence[str] = (), command: str) -> Report:
    """Merge at least one report by concatenating all lists in order; `holes` are added to the reports' own.

    Different methods, clips or devices of one name are renamed. Of a method's rows on one clip the first counts, and
    the others are kept in `Clip.again`.
    """
    merged, *others = _with_own_devices(reports)
    merged = dataclasses.replace(merged, command=command, date=now(), version=__version__)
    for report in others:
        merged = _merge_two(merged, _with_own_methods(report, merged))
    return dataclasses.replace(
        merged,
        summary=summarize(merged.clips, merged.drift, [method.name for method in merged.methods]),
        holes=[*merged.holes, *holes],
        pictures=[],  # they stay with their own reports
    )


def rename(report: Report, *, devices: Mapping[str, str] = {}, methods: Mapping[str, str] = {}) -> Report:
    """Rename devices and methods of a report, wherever they occur."""

    def device(name: str) -> str:
        return devices.get(name, name)

    return dataclasses.replace(
        with_marked(report, {DEVICE: device, METHOD: lambda name: methods.get(name, name)}),
        device=dataclasses.replace(report.device, name=device(report.device.name)),
        other_devices=[dataclasses.replace(other, name=device(other.name)) for other in report.other_devices],
    )


def _with_own_devices(reports: Sequence[Report]) -> list[Report]:
    names = [device.name for report in reports for device in report.devices]
    taken: set[str] = set()
    renamed = []
    for report in reports:
        own = {}
        for device in report.devices:
            alone = names.count(device.name) == 1
            own[device.name] = free_name(device.name if alone else f"{device.name} ({device.processor})", taken)
            taken.add(own[device.name])
        renamed.append(rename(report, devices=own))
    return renamed


def _with_own_methods(report: Report, merged: Report) -> Report:
    """Rename a method if the merged report has another file under its name."""
    files = {method.name: method.sha256 for method in merged.methods}
    taken, names = set(files), {}
    for method in report.methods:
        if method.control is None and files.get(method.name, method.sha256) != method.sha256:
            names[method.name] = free_name(f"{method.name}, {report.device.name}", taken)
        elif method.of in names:
            names[method.name] = method.name.replace(method.of, names[method.of], 1)
    return rename(report, methods=names)


def _merge_two(merged: Report, report: Report) -> Report:
    first = report.device.name
    known = {method.name for method in merged.methods}
    other_settings = {
        f"{first}: {name}": value
        for name, value in report.settings.items()
        if merged.settings.get(name, value) != value or name not in merged.settings
    }
    lists: dict[str, Any] = {
        field.name: [*mine, *getattr(report, field.name)]
        for field in dataclasses.fields(Report)
        if isinstance(mine := getattr(merged, field.name), list)
    }
    own: dict[str, Any] = {
        "kind": "benchmark" if "benchmark" in (merged.kind, report.kind) else "compare",
        "other_devices": [*merged.other_devices, *report.devices],
        "settings": merged.settings | other_settings,
        "methods": [*merged.methods, *(method for method in report.methods if method.name not in known)],
        "clips": _merge_clips(merged.clips, report.clips, first),
        # Only what is missing in both is missing in the whole report.
        "absent": {name: reason for name, reason in merged.absent.items() if name in report.absent},
        "notes": list(dict.fromkeys([*merged.notes, *report.notes])),
    }
    return dataclasses.replace(merged, **lists | own)


def _merge_clips(merged: Sequence[Clip], more: Sequence[Clip], device: str) -> list[Clip]:
    clips = list(merged)
    for clip in more:
        place = next((index for index, other in enumerate(clips) if _same(clip, other)), None)
        if place is None:
            taken = {other.name for other in clips}
            name = free_name(f"{clip.name}, {device}", taken) if clip.name in taken else clip.name
            # Its pictures stay with its own report.
            clips.append(dataclasses.replace(clip, name=name, moment=None))
        else:
            before = clips[place]
            known = {row.method for row in before.rows}
            clips[place] = dataclasses.replace(
                before,
                rows=[*before.rows, *(row for row in clip.rows if row.method not in known)],
                again=[*before.again, *(row for row in clip.rows if row.method in known), *clip.again],
                notes=list(dict.fromkeys([*before.notes, *clip.notes])),
            )
    return clips


def _same(one: Clip, other: Clip) -> bool:
    """Whether two clips have equal names, sizes, lengths and flow sources, and about equal errors of the source."""
    if any(getattr(one, key) != getattr(other, key) for key in ("name", "width", "height", "frames", "flow_source")):
        return False
    errors = [
        next((row.short.value for row in clip.rows if row.method == IDENTITY and row.short), 0.0)
        for clip in (one, other)
    ]
    return max(errors) - min(errors) <= _SAME_CLIP * max(errors)
