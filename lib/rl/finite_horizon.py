"""Episodes of a fixed number of steps: planning backwards, values of policies, and where they go.

A policy may differ from step to step: integers (..., H, S), an action for each step and state, or chances of the
actions (..., H, S, A). Steps are counted from 0 to H - 1; values have H + 1 entries, the last one for the end. Tables
are P (..., S, A, S) and R (..., S, A), the same in every step, or with a dimension H before the first S and
``by_step=True``.

Source: M. L. Puterman, *Markov decision processes* (1994), chapter 4.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lib import checks
from lib.rl import _tables, bellman

__all__ = ["FinitePlan", "backward_induction", "finite_policy_value", "occupancy"]


class FinitePlan(NamedTuple):
    """Optimal values and actions, step by step.

    Attributes
    ----------
    V : Tensor, (..., H + 1, S)
        Value of what is left of the episode.
    Q : Tensor, (..., H, S, A)
    policy : Tensor, (..., H, S), int64
        Of several equally good actions the first.
    """

    V: Tensor
    Q: Tensor
    policy: Tensor


def backward_induction(P, R, horizon: int, gamma=1.0, *, final=None, by_step: bool = False) -> FinitePlan:
    """Best policy for a fixed number of steps, from the last step to the first.

    Parameters
    ----------
    P : array_like, (..., S, A, S) or (..., H, S, A, S)
        Chances of the next state; rows sum to 1.
    R : array_like, (..., S, A) or (..., H, S, A)
        Expected rewards.
    horizon : int
        Steps H of an episode, at least 1.
    gamma : array_like, (...)
        Discount factors in [0, 1], by default none.
    final : array_like, (..., S), optional
        Value of the state after the last step, by default 0.
    by_step : bool
        Whether P and R have a dimension for the step.

    Returns
    -------
    FinitePlan

    Raises
    ------
    ValueError
        If shapes do not fit, a row of P does not sum to 1, or gamma lies outside [0, 1].

    Examples
    --------
    >>> P = [[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]]  # stay or switch
    >>> plan = backward_induction(P, [[0.0, 0.0], [1.0, 1.0]], 3)
    >>> plan.V[0].tolist(), plan.policy.tolist()
    ([2.0, 3.0], [[1, 0], [1, 0], [0, 0]])
    """
    P, R, gamma, V = _read(P, R, horizon, gamma, final, by_step)
    values, tables = [V], []
    for step in reversed(range(horizon)):
        Q = bellman.q_values(P[step], R[step], gamma, values[-1])
        tables.append(Q)
        values.append(Q.amax(dim=-1))
    Q = torch.stack(tables[::-1], dim=-3)
    return FinitePlan(torch.stack(values[::-1], dim=-2), Q, Q.argmax(dim=-1))


def finite_policy_value(P, R, horizon: int, policy, gamma=1.0, *, final=None, by_step: bool = False) -> Tensor:
    """Value of a policy in episodes of a fixed number of steps.

    Parameters
    ----------
    P, R, horizon, gamma, final, by_step
        As in :func:`backward_induction`.
    policy : array_like
        Integers (..., H, S) or chances of the actions (..., H, S, A).

    Returns
    -------
    Tensor, (..., H + 1, S)

    Raises
    ------
    ValueError
        As :func:`backward_induction`, or if policy is none for so many steps.

    Examples
    --------
    >>> P = [[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]]
    >>> finite_policy_value(P, [[0.0, 0.0], [1.0, 1.0]], 2, [[1, 0], [0, 0]])[0].tolist()
    [1.0, 2.0]
    """
    tables, rewards, gamma, V = _read(P, R, horizon, gamma, final, by_step)
    policy = _tables.actions_or_chances("policy", policy, tables[0], steps=horizon)
    tail = 3 if policy.is_floating_point() else 2
    batch = checks.batch(P=V.shape[:-1], policy=policy.shape[:-tail])
    values = [V.expand(*batch, V.shape[-1])]
    for step in reversed(range(horizon)):
        Q = bellman.q_values(tables[step], rewards[step], gamma, values[-1])
        values.append(_tables.of_policy(Q, policy.select(-tail, step)))
    return torch.stack(values[::-1], dim=-2)


def occupancy(P, policy, start=None, *, by_step: bool = False) -> Tensor:
    """Chance to be in each state and take each action, step by step.

    Parameters
    ----------
    P, by_step
        As in :func:`backward_induction`.
    policy : array_like
        Integers (..., H, S) or chances of the actions (..., H, S, A); its steps are those of the result.
    start : int or array_like, (..., S), optional
        First state or its distribution; uniform by default.

    Returns
    -------
    Tensor, (..., H, S, A)
        Each step sums to 1. The value from the start is the sum of its product with R over everything.

    Raises
    ------
    ValueError
        If shapes do not fit, a row of P does not sum to 1, policy is no policy or start no distribution.

    Examples
    --------
    >>> P = [[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]]
    >>> occupancy(P, [[1, 0], [0, 0]], start=0).tolist()
    [[[0.0, 1.0], [0.0, 0.0]], [[0.0, 0.0], [1.0, 0.0]]]
    """
    (P,) = _tables.model(P=P)
    horizon = P.shape[-4] if _stepwise(by_step, P) else None
    policy = _tables.actions_or_chances("policy", policy, P, steps=horizon, any_steps=True)
    tail = 3 if policy.is_floating_point() else 2
    law = _tables.start_law(start, P)
    horizon = policy.shape[-tail]
    tables = _steps(P, horizon, 4, by_step)
    batch = checks.batch(P=tables[0].shape[:-3], policy=policy.shape[:-tail], start=law.shape[:-1])
    law = law.expand(*batch, P.shape[-1])
    visits = []
    for step in range(horizon):
        visits.append(_tables.spread_over_actions(law, policy.select(-tail, step), P.shape[-2]))
        law = _tables.carried(tables[step], visits[-1])
    return torch.stack(visits, dim=-3)


def _read(P, R, horizon, gamma, final, by_step) -> tuple[list[Tensor], list[Tensor], Tensor, Tensor]:
    """Tables of each step, the discount, and values of the end in the shape of the whole batch."""
    horizon = checks.integer("horizon", horizon, lowest=1)
    optional = {} if final is None else {"final": final}
    P, R, gamma = checks.tensors(P=P, R=R, gamma=gamma, **optional)[:3]
    _tables.transitions("P", P)
    checks.shape("R", R, *P.shape[-3:-1])
    _tables.check_discount(gamma, ends=True)
    for name, tensor, depth in (("P", P, 4), ("R", R, 3)):
        if _stepwise(by_step, P) and (tensor.dim() < depth or tensor.shape[-depth] != horizon):
            shape = tuple(tensor.shape)
            raise ValueError(f"{name} must have a dimension for the {horizon} steps before the states, got {shape}")
    tables, rewards = _steps(P, horizon, 4, by_step), _steps(R, horizon, 3, by_step)
    V = P.new_zeros(P.shape[-1]) if final is None else _tables.state_values("final", final, P)
    batch = checks.batch(P=tables[0].shape[:-3], R=rewards[0].shape[:-2], gamma=gamma.shape, final=V.shape[:-1])
    return tables, rewards, gamma, V.expand(*batch, V.shape[-1])


def _stepwise(by_step, P: Tensor) -> bool:
    if checks.flag("by_step", by_step) and P.dim() < 4:
        raise ValueError(f"P must have shape (..., H, S, A, S) with by_step, got {tuple(P.shape)}")
    return by_step


def _steps(table: Tensor, horizon: int, depth: int, by_step: bool) -> list[Tensor]:
    return list(table.unbind(dim=-depth)) if by_step else [table] * horizon
