"""Several processes that train one policy: each steps its part of the environments, and sums go to all of them.

Rank r holds shard r of the environments (``VecEnv(n // size, shards=size, shard=r)``). What the ranks do together is
then what one process does that holds all shards (``VecEnv(n, shards=size)``), up to the order of summation.
"""

from __future__ import annotations

import os
from typing import Any

import torch
import torch.distributed
from torch import Tensor

from lib import checks

__all__ = ["Processes", "join", "leave"]


class Processes:
    """The processes that train together; by default this one alone.

    Parameters
    ----------
    size, rank : int
        Number of processes, and which of them this is.
    group : optional
        Group of torch.distributed; the default group if there are several processes.

    Examples
    --------
    >>> Processes().sum_(torch.ones(2)).tolist()
    [1.0, 1.0]
    """

    def __init__(self, size: int = 1, rank: int = 0, group: Any = None):
        self.size = checks.integer("size", size, lowest=1)
        self.rank = checks.integer("rank", rank, lowest=0, highest=size - 1)
        self.group = group

    def file(self, path: str | os.PathLike) -> str:
        """Name of this process's file: that of the run, with the rank added if there are several processes."""
        return os.fspath(path) if self.size == 1 else f"{os.fspath(path)}.rank{self.rank}"

    def sum_(self, tensor: Tensor) -> Tensor:
        """Replace a tensor by its sum over the processes, and return it."""
        if self.size > 1:
            torch.distributed.all_reduce(tensor, group=self.group)
        return tensor

    def moments(self, seen: Tensor, dims: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Variance (divided by the count) and mean over dimensions, and over equal parts held by the processes."""
        variance, mean = torch.var_mean(seen, dims, correction=0)
        if self.size == 1:
            return variance, mean
        joint = self.sum_(mean.clone()) / self.size
        return self.sum_(variance + (mean - joint).square()) / self.size, joint

    def require_equal(self, name: str, tensor: Tensor) -> None:
        """Raise a ValueError in every process unless all hold the same values."""
        if self.size > 1:
            highest, lowest = tensor.clone(), tensor.clone()
            torch.distributed.all_reduce(highest, torch.distributed.ReduceOp.MAX, group=self.group)
            torch.distributed.all_reduce(lowest, torch.distributed.ReduceOp.MIN, group=self.group)
            if not torch.equal(highest, lowest):
                raise ValueError(f"{name} must be equal in all processes, but they differ: use the same seed")


def join(rank: int, size: int, address: str, backend: str = "gloo") -> Processes:
    """Meet the other processes; every one of them has to call this.

    Parameters
    ----------
    rank, size : int
        Which process this is, from 0, and how many there are.
    address : str
        Where they meet, such as ``tcp://127.0.0.1:29500`` or ``file:///shared/folder/new-file``.
    backend : str
        ``gloo`` on CPUs, ``nccl`` on GPUs.

    Returns
    -------
    Processes

    Raises
    ------
    ValueError
        If an argument is of the wrong kind.
    """
    checks.integer("size", size, lowest=1)
    checks.integer("rank", rank, lowest=0, highest=size - 1)
    if not isinstance(address, str) or not address.startswith(("tcp://", "file://", "env://")):
        raise ValueError(f"address must start with tcp://, file:// or env://, got {checks.describe(address)}")
    checks.choice("backend", backend, ("gloo", "nccl"))
    torch.distributed.init_process_group(backend, init_method=address, rank=rank, world_size=size)
    return Processes(size, rank)


def leave() -> None:
    """Part from the other processes; nothing happens without them."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
