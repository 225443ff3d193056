"""Many small decision problems at once: compiled loops where they are faster than torch and can be used."""

from __future__ import annotations

from types import ModuleType
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd import forward_ad

from lib._compiled import loops
from lib.live import tracing
from lib.rl import _tables

__all__ = ["modified_policy_iteration", "policy_iteration"]

PROBLEMS = 64  # as many problems are worth compiled loops, which need at least a block of them
STATES = 32  # with more, torch's elimination is about as fast


class _Ready(NamedTuple):
    """What the compiled loops are given, with one dimension for all problems, and where they leave what they find."""

    kernels: ModuleType
    tables: tuple[np.ndarray, np.ndarray, np.ndarray]  # P, R, gamma
    found: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # V, Q, policy, error in the shapes of the user
    flat: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # the same memory


def _usable(P: Tensor, batch: torch.Size, *others) -> ModuleType | None:
    """The compiled loops if these problems are to run in them, else None."""
    many = batch.numel() >= PROBLEMS and P.shape[-1] <= STATES
    if not many or tracing.active() or P.device.type != "cpu" or P.dtype != torch.float64:
        return None
    for table in (P, *others):
        if isinstance(table, Tensor):
            differentiated = torch.is_grad_enabled() and table.requires_grad
            if differentiated or forward_ad.unpack_dual(table).tangent is not None:
                return None
    return loops("lib.rl._planning_numba", "many small decision problems")


def _fit(P, R, gamma) -> bool:
    """Whether what a user gave are tables of one batch, as they are: then only their entries can be wrong."""
    if not isinstance(P, Tensor) or not isinstance(R, Tensor) or P.dim() < 4:
        return False
    if isinstance(gamma, Tensor):
        alike = gamma.dtype == P.dtype and gamma.device == P.device and gamma.shape in ((), P.shape[:-3])
    else:
        alike = type(gamma) is float
    alike = alike and R.dtype == P.dtype and R.device == P.device
    return alike and R.shape == P.shape[:-1] and P.shape[-3] == P.shape[-1] and P.numel() > 0


def _stacked(table: Tensor, batch: torch.Size, *sizes: int) -> np.ndarray:
    whole = table if table.shape == (*batch, *sizes) else table.expand(*batch, *sizes)
    return np.ascontiguousarray(whole.detach().numpy()).reshape(-1, *sizes)


def _ready(P, R, gamma, batch: torch.Size | None, *others, copies: bool = True) -> _Ready | None:
    """Without a batch the arguments are a user's; without ``copies`` a table that problems share is left to torch.

    The others are only looked at: nothing may be differentiated with respect to them.
    """
    if batch is None:
        if not _fit(P, R, gamma):
            return None
        batch = P.shape[:-3]
    own = P.shape[:-3].numel() == batch.numel()
    kernels = _usable(P, batch, R, gamma, *others) if copies or own else None
    if kernels is None:
        return None
    states, actions = P.shape[-1], P.shape[-2]
    discounts = _stacked(gamma, batch) if isinstance(gamma, Tensor) else np.full(batch.numel(), gamma)
    tables = _stacked(P, batch, states, actions, states), _stacked(R, batch, states, actions), discounts
    # numpy's calls take a tenth of torch's, of which each costs as much as a few problems.
    V, Q = np.empty((*batch, states)), np.empty((*batch, states, actions))
    policy, error = np.empty((*batch, states), np.int64), np.empty(batch)
    flat = V.reshape(-1, states), Q.reshape(-1, states, actions), policy.reshape(-1, states), error.reshape(-1)
    return _Ready(kernels, tables, (V, Q, policy, error), flat)


def policy_iteration(
    P, R, gamma, policy: Tensor | None, batch: torch.Size | None, first_sweeps: int, rounding: int, validate: bool
) -> tuple | None:
    """V, Q, policy, error and sweeps of :func:`lib.rl.planning.policy_iteration`, or None where torch is to find them.

    Without a batch the tables are as a user gave them. If asked to, all entries are checked on the way; None may then
    also mean that one is wrong, and the caller has to look.
    """
    ready = _ready(P, R, gamma, batch)
    if ready is None:
        return None
    V, Q, chosen, error = ready.flat
    if policy is not None:
        ready.found[2][...] = policy.numpy()
    first = first_sweeps if policy is None else 0
    spacing, slack = rounding * torch.finfo(P.dtype).eps, _tables.slack(P) if validate else -1.0
    sweeps = ready.kernels.policy_iteration(*ready.tables, chosen, first, spacing, slack, V, Q, error)
    return None if sweeps < 0 else (*map(torch.from_numpy, ready.found), sweeps)


def modified_policy_iteration(
    P, R, gamma, V0: Tensor | None, batch: torch.Size | None, tol: float, inner: int, rounding: int, validate: bool
) -> tuple | None:
    """The same of :func:`lib.rl.planning.modified_policy_iteration`; from values of 0 without V0."""
    # One table for all problems is a single matrix product for torch.
    ready = _ready(P, R, gamma, batch, V0, copies=False)
    if ready is None:
        return None
    V, Q, chosen, error = ready.flat
    first = np.zeros_like(V) if V0 is None else _stacked(V0, V0.shape).reshape(V.shape)
    spacing, slack = rounding * torch.finfo(P.dtype).eps, _tables.slack(P) if validate else -1.0
    arguments = first, tol, inner, spacing, slack, V, Q, chosen, error
    sweeps = ready.kernels.modified_policy_iteration(*ready.tables, *arguments)
    return None if sweeps < 0 else (*map(torch.from_numpy, ready.found), sweeps)
