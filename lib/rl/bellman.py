"""Bellman operators: one sweep of planning, exact or softened by a temperature.

Tables are P (..., S, A, S), the chances of the next state, and R (..., S, A), the expected reward of a state and
action; rewards are discounted by gamma in [0, 1) per step. Everything is batched over leading dimensions. The operators
are monotone, contract by gamma, and commute with constants: T(V + c) = T V + gamma c.

Sources: R. Bellman, *Dynamic programming* (1957); with entropy, B. D. Ziebart, PhD thesis, Carnegie Mellon (2010), and
M. Geist, B. Scherrer and O. Pietquin, ICML (2019).
"""

from __future__ import annotations

import torch
from torch import Tensor

from lib import checks
from lib.rl import _tables

__all__ = [
    "action_values",
    "bellman_operator",
    "expected_rewards",
    "greedy",
    "policy_operator",
    "soft_bellman_operator",
    "soft_policy",
    "soft_value",
    "value_sweeps",
]


def expected_rewards(P, rewards) -> Tensor:
    """Expected reward of a state and action where rewards depend on the next state as well.

    Parameters
    ----------
    P : array_like, (..., S, A, S)
        Chances of the next state.
    rewards : array_like, (..., S, A, S)

    Returns
    -------
    Tensor, (..., S, A)

    Raises
    ------
    ValueError
        If the shapes differ or rows of P do not sum to 1.

    Examples
    --------
    >>> expected_rewards([[[0.25, 0.75]], [[1.0, 0.0]]], [[[0.0, 4.0]], [[1.0, 9.0]]]).tolist()
    [[3.0], [1.0]]
    """
    P, rewards = _tables.model(P=P, rewards=rewards)
    checks.shape("rewards", rewards, *P.shape[-3:])
    checks.batch(P=P.shape[:-3], rewards=rewards.shape[:-3])
    return (P * rewards).sum(dim=-1)


def action_values(P, R, gamma, V) -> Tensor:
    """Value of each action now, if V is what follows: Q = R + gamma E[V].

    Parameters
    ----------
    P : array_like, (..., S, A, S)
        Chances of the next state; rows sum to 1.
    R : array_like, (..., S, A)
        Expected rewards.
    gamma : array_like, (...)
        Discount factors in [0, 1).
    V : array_like, (..., S)
        Values of the next state.

    Returns
    -------
    Tensor, (..., S, A)

    Raises
    ------
    ValueError
        If shapes do not fit, a row of P does not sum to 1 or gamma lies outside [0, 1).

    Examples
    --------
    >>> P = [[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]]  # stay or switch
    >>> action_values(P, [[0.0, 0.0], [1.0, 1.0]], 0.5, [0.0, 2.0]).tolist()
    [[0.0, 1.0], [2.0, 1.0]]
    """
    return q_values(*_read(P, R, gamma, V))


def q_values(P: Tensor, R: Tensor, gamma: Tensor, V: Tensor) -> Tensor:
    return R + gamma[..., None, None] * _tables.expected(P, V)


def bellman_operator(P, R, gamma, V) -> Tensor:
    """One sweep of value iteration: the value of the best action now, if V is what follows.

    Parameters
    ----------
    P, R, gamma, V
        As in :func:`action_values`.

    Returns
    -------
    Tensor, (..., S)

    Raises
    ------
    ValueError
        As :func:`action_values`.

    Examples
    --------
    >>> P = [[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]]
    >>> bellman_operator(P, [[0.0, 0.0], [1.0, 1.0]], 0.9, [9.0, 10.0]).tolist()
    [9.0, 10.0]
    """
    return q_values(*_read(P, R, gamma, V)).amax(dim=-1)


def policy_operator(P, R, gamma, V, pi) -> Tensor:
    """Value of following a policy for one step, if V is what follows.

    Parameters
    ----------
    P, R, gamma, V
        As in :func:`action_values`.
    pi : array_like
        Integers (..., S), an action for each state, or chances of the actions (..., S, A).

    Returns
    -------
    Tensor, (..., S)

    Raises
    ------
    ValueError
        As :func:`action_values`, or if pi is no policy.

    Examples
    --------
    >>> P = [[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]]
    >>> policy_operator(P, [[0.0, 0.0], [1.0, 1.0]], 0.9, [0.0, 0.0], [1, 0]).tolist()
    [0.0, 1.0]
    """
    P, R, gamma, V = _read(P, R, gamma, V)
    pi = _tables.actions_or_chances("pi", pi, P)
    return _tables.of_policy(q_values(P, R, gamma, V), pi)


def greedy(Q) -> Tensor:
    """Best action in each state; of several equally good ones the first.

    Parameters
    ----------
    Q : array_like, (..., S, A)
        Values of the actions.

    Returns
    -------
    Tensor, (..., S), int64

    Raises
    ------
    ValueError
        If Q is not a table of finite numbers.

    Examples
    --------
    >>> greedy([[0.0, 1.0], [2.0, 2.0]]).tolist()
    [1, 0]
    """
    (Q,) = checks.tensors(Q=Q)
    checks.shape("Q", Q, None, None)
    return Q.argmax(dim=-1)


def soft_value(Q, temperature, reference=None) -> Tensor:
    """Largest expected value of an action less temperature times its divergence from a reference.

    V = temperature log sum_a reference(a) exp(Q(a) / temperature): the maximum of Q at temperature 0, its average under
    the reference as the temperature grows. Without a reference the entropy itself is rewarded, which adds temperature
    log A to the value with a uniform one.

    Parameters
    ----------
    Q : array_like, (..., A)
        Values of the actions.
    temperature : array_like, (...)
        At least 0, in units of the reward; has the leading dimensions of Q, without its states.
    reference : array_like, (..., A), optional
        Chances of the actions.

    Returns
    -------
    Tensor, (...)

    Raises
    ------
    ValueError
        If a temperature is negative or the reference no distribution.

    Examples
    --------
    >>> [round(value, 6) for value in soft_value([[0.0, 1.0]], 0.5).tolist()]
    [1.063464]
    >>> soft_value([[0.0, 1.0]], 0.0).tolist()
    [1.0]
    """
    return soften(*_read_soft(Q, temperature, reference))[0]


def soft_policy(Q, temperature, reference=None) -> Tensor:
    """Chances of the actions that attain :func:`soft_value`: reference times exp(Q / temperature), normalised.

    Parameters
    ----------
    Q, temperature, reference
        As in :func:`soft_value`.

    Returns
    -------
    Tensor, (..., A)
        At temperature 0 the best actions share evenly, or in proportion to the reference.

    Raises
    ------
    ValueError
        As :func:`soft_value`.

    Examples
    --------
    >>> soft_policy([[0.0, 1.0]], 1.0).tolist()
    [[0.2689414213699951, 0.7310585786300049]]
    """
    weights = soften(*_read_soft(Q, temperature, reference))[1]
    return weights / weights.sum(dim=-1, keepdim=True)


def _read_soft(Q, temperature, reference) -> tuple[Tensor, Tensor, Tensor]:
    optional = {} if reference is None else {"reference": reference}
    Q, temperature, *chances = checks.tensors(Q=Q, temperature=temperature, **optional)
    checks.shape("Q", Q, None)
    checks.require(temperature >= 0, "temperature must be at least 0", temperature)
    if chances:
        checks.shape("reference", chances[0], Q.shape[-1])
        _tables.check_chances("reference", chances[0])
    return Q, for_states(temperature), (chances[0] if chances else torch.ones_like(Q[..., :1]))


def for_states(temperature: Tensor) -> Tensor:
    """Temperatures of a batch with a dimension for the states; a single one broadcasts as it is."""
    return temperature[..., None] if temperature.dim() else temperature


def soften(Q: Tensor, temperature: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """Soft value and the unnormalised chances of the actions."""
    allowed = reference > 0
    best = torch.where(allowed, Q, torch.finfo(Q.dtype).min).amax(dim=-1, keepdim=True)
    below = torch.where(allowed, Q - best, torch.zeros_like(Q))
    cold = temperature[..., None] <= 0
    scaled = below / torch.where(cold, torch.ones_like(temperature[..., None]), temperature[..., None])
    chosen = torch.where(cold, (below >= 0).to(Q.dtype), scaled.exp())
    weights = reference * chosen
    # Of actions that hardly differ at the temperature, exp(Q) rounds to 1: their average is what it lacks to 1.
    total = reference.expand(weights.shape).sum(dim=-1)
    lacking = (reference * torch.where(cold, chosen - 1, scaled.expm1())).sum(dim=-1) / total
    alike = lacking > -0.5
    logarithm = torch.where(
        alike,
        torch.where(alike, lacking, torch.zeros_like(lacking)).log1p(),
        (weights.sum(dim=-1) / total).log(),
    )
    # Chances sum to 1, and the actions without a reference to their number: what is off is rounding.
    return best[..., 0] + temperature * (logarithm + total.round().log()), weights


def soft_bellman_operator(P, R, gamma, V, temperature, reference=None) -> Tensor:
    """One sweep of value iteration where leaving a reference policy costs temperature times the divergence.

    Parameters
    ----------
    P, R, gamma, V
        As in :func:`action_values`.
    temperature : array_like, (...)
        At least 0, in units of the reward.
    reference : array_like, (..., S, A), optional
        Policy to stay close to; without one the entropy of the policy is rewarded.

    Returns
    -------
    Tensor, (..., S)

    Raises
    ------
    ValueError
        As :func:`action_values` and :func:`soft_value`.

    Examples
    --------
    >>> P = [[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]]
    >>> soft_bellman_operator(P, [[0.0, 0.0], [1.0, 1.0]], 0.9, [0.0, 0.0], 0.5).tolist()
    [0.34657359027997264, 1.3465735902799727]
    """
    Q = q_values(*_read(P, R, gamma, V))
    return soften(*_read_soft(Q, temperature, reference))[0]


def value_sweeps(P, R, gamma, sweeps: int, V0=None) -> Tensor:
    """Values after each of a fixed number of sweeps of value iteration, for pictures of how they spread.

    Parameters
    ----------
    P, R, gamma
        As in :func:`action_values`.
    sweeps : int
        At least 0.
    V0 : array_like, (..., S), optional
        Where to start, by default at 0.

    Returns
    -------
    Tensor, (..., sweeps + 1, S)

    Raises
    ------
    ValueError
        As :func:`action_values`, or if sweeps is negative.

    Examples
    --------
    >>> P = [[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]]
    >>> value_sweeps(P, [[0.0, 0.0], [1.0, 1.0]], 0.5, 2).tolist()
    [[0.0, 0.0], [0.0, 1.0], [0.5, 1.5]]
    """
    sweeps = checks.integer("sweeps", sweeps, lowest=0)
    P, R, gamma = _tables.model(P=P, R=R, gamma=gamma)
    V = P.new_zeros(P.shape[-1]) if V0 is None else _tables.state_values("V0", V0, P)
    batch = checks.batch(P=P.shape[:-3], R=R.shape[:-2], gamma=gamma.shape, V0=V.shape[:-1])
    path = [V.expand(*batch, V.shape[-1])]
    for _ in range(sweeps):
        path.append(q_values(P, R, gamma, path[-1]).amax(dim=-1))
    return torch.stack(path, dim=-2)


def _read(P, R, gamma, V) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    P, R, gamma = _tables.model(P=P, R=R, gamma=gamma)
    V = _tables.state_values("V", V, P)
    checks.batch(P=P.shape[:-3], R=R.shape[:-2], gamma=gamma.shape, V=V.shape[:-1])
    return P, R, gamma, V
