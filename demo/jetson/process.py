"""A ``gst-launch-1.0`` process with a pipe of raw frames to or from it."""

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import FileIO
from typing import IO

from .launch import LAUNCH, masked


@contextmanager
def piped(words: Sequence[str], log: IO[bytes], *, reads: bool) -> Iterator[tuple[subprocess.Popen[bytes], FileIO]]:
    """Run gst-launch with a pipe to it (`reads`) or from it; the end of the block ends the process.

    The pipe is not stdout, because some elements print there. The child has its own session: Ctrl-C reaches only the
    parent, which ends the child in order.
    """
    reading, writing = os.pipe()
    theirs, ours = (reading, writing) if reads else (writing, reading)
    command = [LAUNCH, "-q", *(["-e"] if reads else []), *(word.replace("{fd}", str(theirs)) for word in words)]
    with FileIO(ours, "w" if reads else "r") as pipe:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[theirs], start_new_session=True
            )
        finally:
            os.close(theirs)
        try:
            yield process, pipe
        finally:
            end_process(process)


def end_process(process: subprocess.Popen[bytes]) -> int:
    """End a process, which may have ended already; returns its exit code."""
    process.terminate()
    try:
        return process.wait(2)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def first_error(log: IO[bytes]) -> str:
    """First error or warning of GStreamer in the log, without passwords; empty without one."""
    log.seek(0)
    for line in log.read(2**16).decode(errors="replace").splitlines():
        found = re.match(r"(?:ERROR|WARNING): (?:from element \S*?(\w+): |erroneous pipeline: )?(.+)", line)
        if found:
            return masked(f"{found[1]}: {found[2]}" if found[1] else found[2])
    return ""
