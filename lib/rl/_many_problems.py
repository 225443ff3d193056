"""Many small decision problems at once: compiled loops where they are faster than torch and can be used."""

from __future__ import annotations

import warnings
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.autograd import forward_ad

from lib.live import tracing
from lib.rl import _tables

__all__ = ["policy_iteration"]

PROBLEMS = 64  # as many problems are worth compiled loops, which need at least a block of them
STATES = 32  # with more, torch's elimination is about as fast


@lru_cache(maxsize=1)
def _kernels():
    """The compiled loops, or None and one warning where numba is missing."""
    try:
        from lib.rl import _planning_numba
    except ImportError as problem:
        warnings.warn(
            f"numba cannot be used ({problem}): many small decision problems run in plain torch, several times slower; "
            "pip install numba",
            RuntimeWarning,
            stacklevel=2,
        )
        return None
    return _planning_numba


def _usable(P: Tensor, R: Tensor, gamma: Tensor, batch: torch.Size):
    """The compiled loops if these problems are to run in them, else None."""
    many = batch.numel() >= PROBLEMS and P.shape[-1] <= STATES
    if not many or tracing.active() or P.device.type != "cpu" or P.dtype != torch.float64:
        return None
    for table in (P, R, gamma):
        differentiated = torch.is_grad_enabled() and table.requires_grad
        if differentiated or forward_ad.unpack_dual(table).tangent is not None:
            return None
    return _kernels()


def policy_iteration(P, R, gamma, policy, batch, first_sweeps: int, rounding: int, validate: bool) -> tuple | None:
    """V, Q, policy, error and sweeps of :func:`lib.rl.planning.policy_iteration`, or None where torch is to find them.

    Checks the entries of P on the way if asked to.
    """
    kernels = _usable(P, R, gamma, batch)
    if kernels is None:
        return None
    states, actions = R.shape[-2:]

    def stacked(table: Tensor, *sizes: int) -> np.ndarray:
        return table.detach().expand(*batch, *sizes).reshape(-1, *sizes).contiguous().numpy()

    tables, rewards, discounts = stacked(P, states, actions, states), stacked(R, states, actions), stacked(gamma)
    given = torch.zeros((), dtype=torch.int64) if policy is None else policy
    chosen = stacked(given, states).copy()
    V, Q, error = np.empty(rewards.shape[:-1]), np.empty(rewards.shape), np.empty(rewards.shape[0])
    first = first_sweeps if policy is None else 0
    spacing = rounding * torch.finfo(P.dtype).eps
    slack = _tables.slack(P) if validate else -1.0
    sweeps = kernels.policy_iteration(tables, rewards, discounts, chosen, first, spacing, slack, V, Q, error)
    if sweeps < 0:
        _tables.check_chances("P", P)
    return *(torch.from_numpy(part).reshape(*batch, *part.shape[1:]) for part in (V, Q, chosen, error)), sweeps
