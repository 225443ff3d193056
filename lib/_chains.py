"""What the modules about Markov chains have in common: the checks of a matrix, its paths, and systems to solve."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lib import checks
from lib.live import tracing

__all__ = ["inverse", "probabilities", "reached", "solve"]


def probabilities(P) -> Tensor:
    """Read an argument P as transition matrices: entries of at least 0, rows that sum to 1."""
    (P,) = checks.tensors(P=P)
    checks.square("P", P)
    if P.numel() and not tracing.active():
        lowest = P.detach().amin()
        checks.require(lowest >= 0, "P must have entries of at least 0", lowest)
        slack = math.sqrt(torch.finfo(P.dtype).eps)
        for extreme in (P.detach() @ P.new_ones(P.shape[-1])).aminmax():
            checks.require((extreme - 1).abs() <= slack, "P must have rows that sum to 1", extreme)
    return P


def reached(P: Tensor) -> Tensor:
    """Which states can be reached from which, in any number of steps; a state reaches itself."""
    n = P.shape[-1]
    link = ((P > 0) | torch.eye(n, dtype=torch.bool, device=P.device)).to(P.dtype)
    for _ in range(max(n - 1, 1).bit_length()):
        link = (link @ link > 0).to(P.dtype)
    return link > 0


def solve(system: Tensor, right: Tensor) -> Tensor:
    """Solve; NaN for a system without a solution, to be refused by who knows what it means."""
    if tracing.active():
        return torch.linalg.solve(system, right)
    return _marked(*torch.linalg.solve_ex(system, right))


def inverse(system: Tensor) -> Tensor:
    """Invert; NaN for a singular matrix."""
    if tracing.active():
        return torch.linalg.inv(system)
    return _marked(*torch.linalg.inv_ex(system))


def _marked(found: Tensor, failed: Tensor) -> Tensor:
    if not bool(failed.any()):
        return found
    return torch.where(failed[..., None, None] == 0, found, math.nan)
