"""Partitions of sites, written as a label for each site: reading them and giving each the same name everywhere."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lib import checks

__all__ = ["canonical", "read_labels", "read_partition"]


def read_labels(labels, size: int | None = None, name: str = "labels") -> Tensor:
    """Labels as an int64 tensor (..., n) of integers of at least 0."""
    try:
        read = labels if isinstance(labels, Tensor) else torch.as_tensor(np.array(labels))
    except (TypeError, ValueError, RuntimeError):
        read = torch.empty(0)
    whole = not read.dtype.is_floating_point and not read.is_complex() and read.dtype != torch.bool
    if not whole or read.dim() == 0 or read.shape[-1] == 0:
        raise ValueError(f"{name} must be integers of shape (..., n), one for each site, got {checks.describe(labels)}")
    if size is not None and read.shape[-1] != size:
        raise ValueError(f"{name} must have one entry for each of the {size} sites, got shape {tuple(read.shape)}")
    checks.require(read >= 0, f"{name} must be at least 0", read)
    return read.to(torch.int64)


def read_partition(labels, size: int | None = None) -> Tensor:
    """Labels of one partition as an int64 tensor (n,)."""
    read = read_labels(labels, size)
    if read.dim() != 1:
        raise ValueError(f"labels must be one partition of shape (n,), got shape {tuple(read.shape)}")
    return read


def canonical(labels: Tensor) -> Tensor:
    """The same partition with cells numbered from 0 in the order of their first site."""
    by_label = labels.argsort(dim=-1, stable=True)
    ordered = labels.gather(-1, by_label)
    changes = (ordered[..., 1:] != ordered[..., :-1]).to(torch.int64)
    starts = torch.cat([torch.ones_like(ordered[..., :1]), changes], dim=-1)
    place = torch.arange(labels.shape[-1], device=labels.device)
    run = torch.cummax(starts * place, dim=-1).values
    leader = by_label.gather(-1, run)  # the first site of each cell, because the sort was stable
    number = torch.zeros_like(labels).scatter(-1, by_label, starts).cumsum(dim=-1) - 1
    return torch.zeros_like(labels).scatter(-1, by_label, number.gather(-1, leader))
