"""What a policy is worth with a discount, and where it spends its time.

Both are one linear system: (I - gamma P_pi) V = R_pi, and the same matrix transposed for the discounted visits.

Source: M. L. Puterman, *Markov decision processes* (1994), sections 6.1 and 6.9.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lib import checks
from lib.rl import _tables, bellman

__all__ = ["discounted_occupancy", "occupancy_policy", "policy_action_values", "policy_value"]


def policy_value(P, R, gamma, pi) -> Tensor:
    """Value of a policy, by a linear solve.

    Parameters
    ----------
    P : array_like, (..., S, A, S)
        Chances of the next state; rows sum to 1.
    R : array_like, (..., S, A)
        Expected rewards.
    gamma : array_like, (...)
        Discount factors in [0, 1).
    pi : array_like
        Integers (..., S), an action for each state, or chances of the actions (..., S, A).

    Returns
    -------
    Tensor, (..., S)

    Raises
    ------
    ValueError
        If shapes do not fit, a row of P does not sum to 1, gamma lies outside [0, 1), or pi is no policy.

    Examples
    --------
    >>> P = [[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]]  # stay or switch
    >>> R = [[0.0, 0.0], [1.0, 1.0]]
    >>> [round(value, 9) for value in policy_value(P, R, 0.9, [[0.5, 0.5], [0.5, 0.5]]).tolist()]
    [4.5, 5.5]
    """
    P, R, gamma, pi = _read(P, R, gamma, pi)
    return _solved(P, gamma, pi, _tables.of_policy(R, pi), transposed=False)


def policy_action_values(P, R, gamma, pi) -> Tensor:
    """Value of each action, if the policy is followed afterwards.

    Parameters
    ----------
    P, R, gamma, pi
        As in :func:`policy_value`.

    Returns
    -------
    Tensor, (..., S, A)

    Raises
    ------
    ValueError
        As :func:`policy_value`.

    Examples
    --------
    >>> P = [[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]]
    >>> Q = policy_action_values(P, [[0.0, 0.0], [1.0, 1.0]], 0.5, [1, 0])
    >>> [[round(value, 9) for value in row] for row in Q.tolist()]
    [[0.5, 1.0], [2.0, 1.5]]
    """
    P, R, gamma, pi = _read(P, R, gamma, pi)
    V = _solved(P, gamma, pi, _tables.of_policy(R, pi), transposed=False)
    return bellman.q_values(P, R, gamma, V)


def discounted_occupancy(P, gamma, pi, start=None) -> Tensor:
    """Share of the discounted time that a policy spends in each state and action.

    Parameters
    ----------
    P, gamma, pi
        As in :func:`policy_value`.
    start : int or array_like, (..., S), optional
        First state or its distribution; uniform by default.

    Returns
    -------
    Tensor, (..., S, A)
        d(s, a) = (1 - gamma) sum_t gamma^t Pr(s_t = s, a_t = a), which sums to 1; the value from the start is its
        product with R over 1 - gamma.

    Raises
    ------
    ValueError
        As :func:`policy_value`, or if start is no distribution.

    Examples
    --------
    >>> P = [[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]]
    >>> d = discounted_occupancy(P, 0.75, [1, 0], start=0)
    >>> [[round(share, 9) for share in row] for row in d.tolist()]
    [[0.0, 0.25], [0.75, 0.0]]
    """
    P, gamma = _tables.model(P=P, gamma=gamma)
    pi = _tables.actions_or_chances("pi", pi, P)
    start = _tables.start_law(start, P)
    tail = 2 if pi.is_floating_point() else 1
    checks.batch(P=P.shape[:-3], gamma=gamma.shape, pi=pi.shape[:-tail], start=start.shape[:-1])
    visits = _solved(P, gamma, pi, (1 - gamma)[..., None] * start, transposed=True)
    return _tables.spread_over_actions(visits, pi, P.shape[-2])


def occupancy_policy(occupancy) -> Tensor:
    """Policy that spends its time as an occupancy says; uniform in states that are never visited.

    Parameters
    ----------
    occupancy : array_like, (..., S, A)
        Shares of time, or visits, at least 0.

    Returns
    -------
    Tensor, (..., S, A)

    Raises
    ------
    ValueError
        If an entry is negative.

    Examples
    --------
    >>> occupancy_policy([[0.2, 0.6], [0.0, 0.0]]).tolist()
    [[0.25, 0.75], [0.5, 0.5]]
    """
    (occupancy,) = checks.tensors(occupancy=occupancy)
    checks.shape("occupancy", occupancy, None, None)
    checks.require(occupancy >= 0, "occupancy must have entries of at least 0", occupancy)
    total = occupancy.sum(dim=-1, keepdim=True)
    visited = total > 0
    shares = occupancy / torch.where(visited, total, torch.ones_like(total))
    return torch.where(visited, shares, torch.full_like(shares, 1 / occupancy.shape[-1]))


def _read(P, R, gamma, pi) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    P, R, gamma = _tables.model(P=P, R=R, gamma=gamma)
    pi = _tables.actions_or_chances("pi", pi, P)
    tail = 2 if pi.is_floating_point() else 1
    checks.batch(P=P.shape[:-3], R=R.shape[:-2], gamma=gamma.shape, pi=pi.shape[:-tail])
    return P, R, gamma, pi


def _solved(P: Tensor, gamma: Tensor, pi: Tensor, right: Tensor, *, transposed: bool) -> Tensor:
    identity = torch.eye(P.shape[-1], dtype=P.dtype, device=P.device)
    system = identity - gamma[..., None, None] * _tables.chain(P, pi)
    return torch.linalg.solve(system.mT if transposed else system, right[..., None])[..., 0]
