"""Stylizes the files of an archive, several at a time; one that fails does not stop the others."""

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing.connection import wait as wait_for
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Literal

from ...common.progress import Progress
from ...video.codecs import AS_EVER
from ...video.images import IMAGE_SUFFIXES
from ..stylizer import Stylizer
from .journal import Journal, key_of
from .settings import Settings
from .tasks import Task

MOST_JOBS = 64
_LOOK_UP_S = 0.2

Explain = Callable[[Exception], str]
"""The sentence for a user that explains an error; a function of a module, for it goes to other processes."""

Show = Callable[[Task, float], None]
"""Called with a task and the share of it that is done."""


@dataclass(frozen=True)
class Outcome:
    """What became of a file; `said` are its notes, or the sentence on why it failed."""

    source: Path
    target: Path
    state: Literal["done", "skipped", "failed"]
    frames: int = 0
    said: tuple[str, ...] = ()


def stylize_all(
    tasks: Sequence[Task],
    out: Path,
    settings: Settings,
    *,
    jobs: int,
    keep_existing: bool,
    explain: Explain,
    progress: Progress,
) -> list[Outcome]:
    """Stylize the files that are not done, `jobs` at a time, and note each in the journal of `out`.

    Each job is a process with its own engine, whose threads are its share of the processors unless the settings say
    more; a single job is this process. `keep_existing` skips what has an output, whatever made it. `progress` counts
    megabytes of the sources.

    Raises:
        InputError: the model cannot be opened.
        KeyboardInterrupt: the user stopped it. Complete outputs stay and count as done.
    """
    journal = Journal(out)
    with settings.stylizer() as stylizer:
        metadata = stylizer.metadata
    keys = {task: key_of(task.source, settings.key(metadata)) for task in tasks}
    todo = [
        task for task in tasks if not (journal.is_done(task, keys[task]) or (keep_existing and task.target.is_file()))
    ]
    outcomes = {task: Outcome(task.source, task.target, "skipped") for task in set(tasks).difference(todo)}
    if todo:
        journal.begin((task, keys[task]) for task in todo)
    jobs = min(jobs, len(todo))
    if jobs > 1 and settings.threads is None:
        settings = replace(settings, threads=max(1, (os.cpu_count() or 1) // jobs))
    megabytes = {task: task.source.stat().st_size / 1e6 for task in todo}
    shares = dict.fromkeys(todo, 0.0)

    def show(task: Task, share: float) -> None:
        shares[task] = share
        done = sum(megabytes[task] * share for task, share in shares.items())
        progress(f"{sum(share == 1 for share in shares.values())} of {len(todo)} files", round(done), total)

    total = max(1, round(sum(megabytes.values())))
    work = _in_turn(todo, settings, explain, show) if jobs < 2 else _side_by_side(todo, settings, explain, show, jobs)
    for task, outcome in work:
        outcomes[task] = outcome
        if outcome.state == "done":
            journal.end(task, keys[task])
        show(task, 1.0)
    return [outcomes[task] for task in tasks]


def _stylized(task: Task, stylizer: Stylizer, settings: Settings, explain: Explain, show: Show) -> Outcome:
    def progress(done: int, of: int | None) -> None:
        show(task, min(done / of, 0.99) if of else 0.0)

    if task.source.suffix.lower() in IMAGE_SUFFIXES:  # codec and part are meant for the videos among the files
        settings = replace(settings, encoding=AS_EVER, start_s=0.0, duration_s=None)
    try:
        with settings.source(task.source) as source:
            report = settings.stylize(source, task.target, stylizer, progress)
    except Exception as error:
        return Outcome(task.source, task.target, "failed", said=(explain(error),))
    return Outcome(task.source, task.target, "done", report.frames, tuple(report.notes))


def _in_turn(tasks: Sequence[Task], settings: Settings, explain: Explain, show: Show) -> Iterator[tuple[Task, Outcome]]:
    if tasks:
        with settings.stylizer() as stylizer:
            for task in tasks:
                yield task, _stylized(task, stylizer, settings, explain, show)


# Several processes.


class _Job:
    """What a worker process holds, made by its first call."""

    def __init__(
        self, settings: Settings, explain: Explain, shares: "SimpleQueue[tuple[Task, float]]", stop: Event
    ) -> None:
        self.settings, self.explain, self._shares, self._stop = settings, explain, shares, stop
        self.stylizer = settings.stylizer()
        self._shown = 0.0

    def show(self, task: Task, share: float) -> None:
        if self._stop.is_set():
            raise KeyboardInterrupt
        if time.monotonic() - self._shown > _LOOK_UP_S:
            self._shown = time.monotonic()
            self._shares.put((task, share))


_job: _Job | None = None


def _begin(settings: Settings, explain: Explain, shares: "SimpleQueue[tuple[Task, float]]", stop: Event) -> None:
    global _job
    for stopping in (signal.SIGINT, signal.SIGTERM):  # the first process is told, and tells the others
        signal.signal(stopping, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _job = _Job(settings, explain, shares, stop)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for([parent.sentinel])
        os._exit(1)  # what it was writing is hidden, and goes when the next run begins


def _work(task: Task) -> Outcome:
    assert _job is not None
    return _stylized(task, _job.stylizer, _job.settings, _job.explain, _job.show)


def _side_by_side(
    tasks: Sequence[Task], settings: Settings, explain: Explain, show: Show, jobs: int
) -> Iterator[tuple[Task, Outcome]]:
    left = deque(tasks)
    while left:
        for task in (yield from _in_a_pool(left, settings, explain, show, jobs)):
            # A process died while these were under way: whichever kills one alone, too, is to blame.
            if (yield from _in_a_pool(deque([task]), settings, explain, show, 1)):
                said = "the process that stylized it died, perhaps for lack of memory: give it to a larger machine"
                yield task, Outcome(task.source, task.target, "failed", said=(said,))


def _in_a_pool(
    left: deque[Task], settings: Settings, explain: Explain, show: Show, jobs: int
) -> Generator[tuple[Task, Outcome], None, list[Task]]:
    """Take tasks from `left` until none is left or a process dies; returns those that were under way then."""
    context = multiprocessing.get_context("spawn")
    shares, stop = context.SimpleQueue(), context.Event()
    pool = ProcessPoolExecutor(jobs, context, _begin, (settings, explain, shares, stop))
    running: dict[Future[Outcome], Task] = {}
    broken = False
    try:
        while (left or running) and not broken:
            while left and len(running) < jobs and not broken:
                try:
                    running[pool.submit(_work, left[0])] = left[0]
                    left.popleft()
                except BrokenProcessPool:
                    broken = True
            done, _ = wait(running, timeout=None if broken else _LOOK_UP_S, return_when=FIRST_COMPLETED)
            broken |= any(isinstance(future.exception(), BrokenProcessPool) for future in done)
            if broken:
                done, _ = wait(running)  # the pool ends all of them
            while not shares.empty():
                show(*shares.get())
            for future in done:
                if not isinstance(future.exception(), BrokenProcessPool):
                    yield running.pop(future), future.result()
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)
    return list(running.values())
