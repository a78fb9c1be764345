"""Several processes, started by ``torchrun``, train one network: gradients are averaged, the first one writes.

One run has one trainer, which holds the lock of the run's folder.
"""

import atexit
import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed.nn  # before any group: its functions' defaults hold the group of their import for good
from filelock import FileLock, Timeout
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from ..common.files import InputError, check_folder_writable, made_folder, remove_abandoned

T = TypeVar("T")

LOCK_NAME = ".lock"


@dataclass(frozen=True)
class Workers:
    """This process among ``count`` on all machines; ``rank`` counts from 0, ``device`` is its own."""

    rank: int
    count: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process writes files and messages."""
        return self.rank == 0

    def wrap_ddp(self, network: nn.Module) -> nn.Module:
        """The network as `DistributedDataParallel`, which averages gradients over all processes in ``backward``."""
        if self.count == 1:
            return network
        ids = [self.device.index] if self.device.type == "cuda" else None
        return DistributedDataParallel(network, device_ids=ids)

    def any(self, flag: bool) -> bool:
        """Whether any process sets the flag; the answer is the same in all."""
        if self.count == 1:
            return flag
        value = torch.tensor(int(flag), device=self.device)
        distributed.all_reduce(value, distributed.ReduceOp.MAX)
        return bool(value.item())

    def broadcast(self, value: T) -> T:
        """The first process's value, in all processes; also a barrier."""
        if self.count == 1:
            return value
        values = [value]
        distributed.broadcast_object_list(values, device=self.device)
        return values[0]


def choose_device(wanted: str) -> torch.device:
    """``cpu``, ``cuda``, or ``auto`` for CUDA where there is one; InputError for another word or no CUDA."""
    if wanted not in ("auto", "cpu", "cuda"):
        raise InputError(f"unknown device '{wanted}': choose auto, cpu or cuda")
    if wanted == "cuda" and not torch.cuda.is_available():
        raise InputError("there is no CUDA device that this torch can use: choose --device cpu")
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


@contextmanager
def join_workers(device: torch.device) -> Iterator[Workers]:
    """Join ``torchrun``'s processes, each with its own GPU; InputError for more of them than GPUs on this machine."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Workers(0, 1, device)
        return
    if device.type == "cuda":
        local = int(os.environ["LOCAL_RANK"])
        if local >= torch.cuda.device_count():
            raise InputError(f"process {local} has no GPU: start at most {torch.cuda.device_count()} on this machine")
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    # A thread of the group that frees a tensor at interpreter shutdown aborts: drop all references to the group before.
    atexit.register(gc.collect)
    try:
        yield Workers(distributed.get_rank(), count, device)
        distributed.barrier()  # a process that leaves while others still send may abort
    finally:
        distributed.destroy_process_group()


@contextmanager
def hold_folder(folder: Path, workers: Workers) -> Iterator[None]:
    """Hold a run's folder for the block, created if missing; the first of the workers holds it for all.

    The system frees the lock of a process that dies. InputError, in all workers, if another process trains there: it
    names the process. InputError or OSError if the folder cannot be written into.
    """
    if not workers.first:
        _refuse(workers.broadcast(""))
        yield
        return
    check_folder_writable(folder)
    with made_folder(folder):
        path = folder / LOCK_NAME
        lock = FileLock(path, timeout=0, on_acquired=_sign)
        refusal = ""
        try:
            lock.acquire()
        except Timeout:
            refusal = f"{_owner(path)} trains in {folder}: wait for its end, or choose another folder"
        _refuse(workers.broadcast(refusal))
        for inner in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
            remove_abandoned(inner)  # of a trainer that was killed: this one may write into few of them
        try:
            yield
        finally:
            path.unlink(missing_ok=True)  # while held: who waits for this file sees that it is gone
            lock.release()


def _sign(descriptor: int) -> None:
    os.truncate(descriptor, 0)
    os.write(descriptor, str(os.getpid()).encode())


def _owner(path: Path) -> str:
    with suppress(OSError, ValueError):  # it may have ended just now
        return f"process {int(path.read_bytes()[:20])}"
    return "another process"


def _refuse(refusal: str) -> None:
    if refusal:
        raise InputError(refusal)
