"""Which mutated file makes a reader end otherwise than by success or by one sentence?

    python -m studies.fuzz [FORMAT ...] [--cases 2000] [--seed 1] [--jobs 2] [-o FINDINGS]

Each case is a file of a small corpus with a few mutations, drawn from the seed, the format and the case's number. A
case fails if the reader raises what the commands call a defect (exit code 1), dies by a signal, takes over 20 s or
1 GB, or leaves a file behind. A failing file is kept in FINDINGS. CI runs 2,000 cases a format, a release 100,000.
"""

import argparse
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from steadystyle.common.machine import peak_memory_mib

from . import run_study
from .fuzzing.formats import FORMATS, Format

MOST_SECONDS, MOST_MIB = 20.0, 1024
_STARTING_SECONDS = 120.0  # until the first case: imports and the corpus
_ADDRESS_SPACE = 16 << 30  # so that an allocation without limit fails, and does not take the machine with it


@dataclass(frozen=True)
class Finding:
    """A case that failed: `what` is an exception, a signal, or the limit that it broke."""

    format: str
    case: int
    what: str

    def __str__(self) -> str:
        return f"{self.format} {self.case}: {self.what}"


def mutated(form: Format, seeds: Sequence[Path], seed: int, case: int) -> tuple[Path, bytes]:
    """The seed file of a case, and the case's bytes."""
    random = Random(f"{seed}/{form.name}/{case}")
    chosen = random.choice(seeds)
    return chosen, form.mutate(chosen.read_bytes(), random)


def _work(form: Format, seed: int, cases: range, where: Path, answers: "Connection[object, object]") -> None:
    """Run cases in this process: send each number before its case and the complaint, or None, after it."""
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE, _ADDRESS_SPACE))
    corpus, room = where / "corpus", where / "room"
    corpus.mkdir()
    seeds = form.corpus(corpus)
    for case in cases:
        origin, content = mutated(form, seeds, seed, case)
        room.mkdir()
        path = form.place(room / origin.name, content)
        before = {file for file in room.rglob("*") if file.is_file()}
        answers.send(case)
        answers.send(complaint(form.read, path) or _left(room, before))
        _clear(room)
    answers.send("done")


def complaint(read: Callable[[Path], None], path: Path) -> str | None:
    """What a command would call a defect, or None."""
    from steadystyle.cli.terminal import explain

    try:
        read(path)
    except Exception as error:
        code, sentence = explain(error, [])
        if code != 2 or not sentence:
            return f"{type(error).__name__}: {str(error)[:200]!a}"
    return None


def _left(room: Path, before: set[Path]) -> str | None:
    left = sorted(file.name for file in set(room.rglob("*")) - before if file.is_file())
    peak = peak_memory_mib()
    if left:
        return f"left {left[0]!a} behind"
    return f"took {peak:.0f} MiB" if peak > MOST_MIB else None


def _clear(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()


def fuzz(form: Format, cases: range, seed: int, out: Path | None = None) -> list[Finding]:
    """Run cases of a format, each process until one fails by signal, time or memory; write failing files to `out`."""
    findings: list[Finding] = []
    first = cases.start
    while first < cases.stop:
        with TemporaryDirectory() as folder:
            first, found = _run_until_broken(form, range(first, cases.stop), seed, Path(folder))
            findings += found
            for finding in found if out is not None else []:
                origin, content = mutated(form, sorted((Path(folder) / "corpus").iterdir()), seed, finding.case)
                (out or Path()).mkdir(parents=True, exist_ok=True)
                ((out or Path()) / f"{form.name}-{seed}-{finding.case}{origin.suffix}").write_bytes(content)
    return findings


def _run_until_broken(form: Format, cases: range, seed: int, where: Path) -> tuple[int, list[Finding]]:
    """The number of the next case to run, and what was found."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    worker = context.Process(target=_work, args=(form, seed, cases, where, theirs))
    worker.start()
    theirs.close()
    findings: list[Finding] = []
    case, running, patience = cases.start, False, _STARTING_SECONDS
    try:
        while ours.poll(patience):
            answer = ours.recv()
            if answer == "done":
                return cases.stop, findings
            patience = MOST_SECONDS
            if running and answer is not None:
                findings.append(Finding(form.name, case, str(answer)))
                if str(answer).startswith("took"):  # the peak never falls again in that process
                    return case + 1, findings
            case, running = (case, False) if running else (int(str(answer)), True)
        findings.append(Finding(form.name, case, f"over {patience:.0f} s"))
    except EOFError:
        worker.join()
        findings.append(Finding(form.name, case, f"ended with {worker.exitcode}"))
    finally:
        worker.kill()
        worker.join()
        ours.close()
    if not running and case == cases.start:
        raise RuntimeError(f"the corpus of {form.name} cannot be made or read")
    return case + 1, findings


def main() -> None:
    """Fuzz the asked formats and exit with 1 if anything was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("formats", nargs="*", metavar="FORMAT", help=f"any of {', '.join(FORMATS)}; all by default")
    parser.add_argument("--cases", type=int, default=2000, help="cases a format")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2, help="formats at the same time")
    parser.add_argument("-o", "--output", type=Path, default=None, help="folder that keeps failing files")
    options = parser.parse_args()
    unknown = sorted(set(options.formats) - set(FORMATS))
    if unknown:
        parser.error(f"unknown format {unknown[0]!r}: choose from {', '.join(FORMATS)}")

    def one(name: str) -> list[Finding]:
        began = time.monotonic()
        found = fuzz(FORMATS[name], range(options.cases), options.seed, options.output)
        print(f"{name}: {options.cases} cases in {time.monotonic() - began:.0f} s, {len(found)} failed", flush=True)
        return found

    with ThreadPoolExecutor(options.jobs) as pool:
        findings = [finding for found in pool.map(one, options.formats or FORMATS) for finding in found]
    for finding in findings:
        print(finding, file=sys.stderr)
    raise SystemExit(1 if findings else 0)


if __name__ == "__main__":
    run_study(main)
