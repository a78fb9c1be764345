"""Several processes that train one network: gradients are averaged over all of them, and the first one writes.

Each is started by ``torchrun``, which tells it its place by environment variables; without those there is one process
and nothing here costs anything.
"""

import atexit
import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed.nn  # before any group: its functions' defaults hold the group of their import for good
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from ..common.files import InputError

T = TypeVar("T")


@dataclass(frozen=True)
class Workers:
    """This process among the others.

    Attributes:
        rank: its number among all, from 0.
        count: how many there are on all machines.
        device: where this one computes.
    """

    rank: int
    count: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this is the one that writes files and speaks."""
        return self.rank == 0

    def wrap_ddp(self, network: nn.Module) -> nn.Module:
        """The network as `DistributedDataParallel`: its gradients are averaged over all processes in ``backward``."""
        if self.count == 1:
            return network
        ids = [self.device.index] if self.device.type == "cuda" else None
        return DistributedDataParallel(network, device_ids=ids)

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process: the same answer in all of them."""
        if self.count == 1:
            return flag
        value = torch.tensor(int(flag), device=self.device)
        distributed.all_reduce(value, distributed.ReduceOp.MAX)
        return bool(value.item())

    def broadcast(self, value: T) -> T:
        """The first process's value, in all of them; also a barrier."""
        if self.count == 1:
            return value
        values = [value]
        distributed.broadcast_object_list(values, device=self.device)
        return values[0]


def choose_device(wanted: str) -> torch.device:
    """``cpu``, ``cuda``, or ``auto`` for CUDA where there is one.

    Raises:
        InputError: another word, or no CUDA.
    """
    if wanted not in ("auto", "cpu", "cuda"):
        raise InputError(f"unknown device '{wanted}': choose auto, cpu or cuda")
    if wanted == "cuda" and not torch.cuda.is_available():
        raise InputError("there is no CUDA device that this torch can use: choose --device cpu")
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


@contextmanager
def join_workers(device: torch.device) -> Iterator[Workers]:
    """Take one's place among the processes that ``torchrun`` started.

    Args:
        device: the kind to compute on; of several GPUs each process of a machine takes its own.

    Raises:
        InputError: more processes on this machine than it has GPUs.
    """
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
    # The group's threads end with the last reference to it. One that lets a tensor go while the interpreter shuts down
    # is an abort; what refers to the group goes before.
    atexit.register(gc.collect)
    try:
        yield Workers(distributed.get_rank(), count, device)
        distributed.barrier()  # one that leaves while others still send has been seen to end in an abort
    finally:
        distributed.destroy_process_group()
