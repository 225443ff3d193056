"""Planning against the worst table near a nominal one, chosen anew for every state and action.

Three kinds of neighbourhood of a row p of P, each with a radius:

- ``"l1"``: distributions q with sum abs(q - p) <= radius, from 0 to 2;
- ``"tv"``: total variation, half of that sum, <= radius, from 0 to 1;
- ``"contamination"``: mixtures (1 - radius) p + radius q with any distribution q, radius from 0 to 1.

In the first two the worst case takes mass from the best next states and puts it on the worst one: one sort of V serves
all rows. All are monotone and commute with constants, so that the bounds of :mod:`lib.rl.planning` hold.

Sources: G. N. Iyengar, Mathematics of Operations Research 30 (2005) 257; A. Nilim and L. El Ghaoui, Operations Research
53 (2005) 780; the sorted solution: M. Petrik and D. Subramanian, NIPS (2014).
"""

from __future__ import annotations

import torch
from torch import Tensor

from lib import checks
from lib.rl import _tables, planning
from lib.rl.planning import Solution

__all__ = [
    "robust_bellman_operator",
    "robust_policy_value",
    "robust_value_iteration",
    "tv_robust_expectation",
    "tv_worst_distribution",
    "worst_of_tables",
]

KINDS = {"l1": 2.0, "tv": 1.0, "contamination": 1.0}  # each with its largest radius


def tv_robust_expectation(mu, values, radius, floor=None) -> Tensor:
    """Smallest expectation over all distributions within a total variation of mu.

    Parameters
    ----------
    mu : array_like, (..., n)
        Nominal distribution.
    values : array_like, (..., n)
    radius : array_like, (...)
        Total variation, in [0, 1]: the mass that may be moved.
    floor : array_like, (...), optional
        Value of a further outcome to which mass may be moved, such as a state of failure of chance 0.

    Returns
    -------
    Tensor, (...)

    Raises
    ------
    ValueError
        If mu is no distribution, shapes do not fit or a radius lies outside [0, 1].

    Examples
    --------
    >>> round(float(tv_robust_expectation([0.2, 0.5, 0.3], [0.0, 1.0, 3.0], 0.25)), 9)
    0.65
    """
    optional = {} if floor is None else {"floor": floor}
    mu, values, radius, *lowest = _read_expectation(mu, values, radius, **optional)
    worst = values.amin(dim=-1)
    worst = torch.minimum(worst, lowest[0]) if lowest else worst
    order = values.argsort(dim=-1, descending=True)
    return _moved(mu, values, order, radius, worst)


def tv_worst_distribution(mu, values, radius) -> Tensor:
    """Distribution within a total variation of mu that has the smallest expectation.

    Parameters
    ----------
    mu, values, radius
        As in :func:`tv_robust_expectation`.

    Returns
    -------
    Tensor, (..., n)

    Raises
    ------
    ValueError
        As :func:`tv_robust_expectation`.

    Examples
    --------
    >>> worst = tv_worst_distribution([0.2, 0.5, 0.3], [0.0, 1.0, 3.0], 0.25)
    >>> [round(chance, 9) for chance in worst.tolist()]
    [0.45, 0.5, 0.05]
    """
    mu, values, radius = _read_expectation(mu, values, radius)
    batch = torch.broadcast_shapes(mu.shape[:-1], values.shape[:-1], radius.shape)
    mu, values = mu.expand(*batch, mu.shape[-1]), values.expand(*batch, mu.shape[-1])
    order = values.argsort(dim=-1, descending=True)
    sorted_mu = mu.gather(-1, order)
    taken = _taken(sorted_mu, radius)
    moved = taken.sum(dim=-1, keepdim=True)
    # The last one in falling order is the worst: what is taken from all, itself included, goes there.
    remaining = torch.cat([(sorted_mu - taken)[..., :-1], (sorted_mu - taken)[..., -1:] + moved], dim=-1)
    return torch.zeros_like(mu).scatter(-1, order, remaining)


def robust_bellman_operator(P, R, gamma, V, radius, kind: str = "l1") -> Tensor:
    """One sweep of value iteration against the worst table near P.

    Parameters
    ----------
    P : array_like, (..., S, A, S)
        Nominal chances of the next state; rows sum to 1.
    R : array_like, (..., S, A)
        Expected rewards.
    gamma : array_like, (...)
        Discount factors in [0, 1).
    V : array_like, (..., S)
        Values of the next state.
    radius : array_like, () or (..., S, A)
        Size of the neighbourhood: one for all states and actions or one for each.
    kind : {"l1", "tv", "contamination"}

    Returns
    -------
    Tensor, (..., S)

    Raises
    ------
    ValueError
        If shapes do not fit, a row of P does not sum to 1, gamma lies outside [0, 1), a radius is too small or too
        large, or the kind is unknown.

    Examples
    --------
    >>> P = [[[0.5, 0.5]], [[0.0, 1.0]]]
    >>> robust_bellman_operator(P, [[1.0], [0.0]], 0.5, [0.0, 4.0], 0.5).tolist()
    [1.5, 1.5]
    """
    P, R, gamma, radius = _read(P, R, gamma, radius, kind)
    V = _tables.state_values("V", V, P)
    leading = {"P": P.shape[:-3], "R": R.shape[:-2], "gamma": gamma.shape, "V": V.shape[:-1]}
    checks.batch(**leading, radius=radius.shape[:-2])
    return (R + gamma[..., None, None] * _worst(P, V, radius, kind)).amax(dim=-1)


def robust_value_iteration(
    P, R, gamma, radius, kind: str = "l1", tol: float = 1e-8, *, V0=None, validate: bool = True
) -> Solution:
    """Optimal values against the worst table near P in every step.

    Parameters
    ----------
    P, R, gamma, radius, kind
        As in :func:`robust_bellman_operator`.
    tol, V0, validate
        As in :func:`lib.rl.planning.value_iteration`.

    Returns
    -------
    Solution
        ``policy`` holds the actions of the most robust policy, which may be taken as deterministic.

    Raises
    ------
    ValueError
        As :func:`robust_bellman_operator`, or if tol is not above 0.

    Examples
    --------
    >>> P = [[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]]  # stay or switch
    >>> V, Q = robust_value_iteration(P, [[0.0, 0.0], [1.0, 1.0]], 0.9, 0.2)
    >>> [round(value, 6) for value in V.tolist()]
    [8.1, 9.1]
    """
    P, R, gamma, radius, V, tol = _read_iteration(P, R, gamma, radius, kind, tol, V0, validate)

    def backup(V: Tensor) -> tuple[Tensor, Tensor]:
        Q = R + gamma[..., None, None] * _worst(P, V, radius, kind)
        return Q.amax(dim=-1), Q

    return planning.solved(backup, V, gamma, tol)


def robust_policy_value(
    P, R, gamma, pi, radius, kind: str = "l1", tol: float = 1e-8, *, V0=None, validate: bool = True
) -> Tensor:
    """Value of a policy against the worst table near P in every step.

    Parameters
    ----------
    P, R, gamma, radius, kind
        As in :func:`robust_bellman_operator`.
    pi : array_like
        Integers (..., S), an action for each state, or chances of the actions (..., S, A).
    tol, V0, validate
        As in :func:`lib.rl.planning.value_iteration`.

    Returns
    -------
    Tensor, (..., S)

    Raises
    ------
    ValueError
        As :func:`robust_value_iteration`, or if pi is no policy.

    Examples
    --------
    >>> P = [[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]]
    >>> V = robust_policy_value(P, [[0.0, 0.0], [1.0, 1.0]], 0.9, [1, 0], 2.0)
    >>> [round(value, 6) for value in V.tolist()]
    [0.0, 1.0]
    """
    P, R, gamma, radius, V, tol = _read_iteration(P, R, gamma, radius, kind, tol, V0, validate)
    pi = _tables.actions_or_chances("pi", pi, P)
    tail = 2 if pi.is_floating_point() else 1
    batch = checks.batch(P=V.shape[:-1], pi=pi.shape[:-tail])

    def backup(V: Tensor) -> tuple[Tensor, Tensor]:
        Q = R + gamma[..., None, None] * _worst(P, V, radius, kind)
        return _tables.of_policy(Q, pi), Q

    return planning.solved(backup, V.expand(*batch, V.shape[-1]), gamma, tol).V


def worst_of_tables(P, R, gamma, tol: float = 1e-8, *, validate: bool = True) -> Solution:
    """Optimal values against the worst of finitely many tables, chosen anew for every state and action.

    Parameters
    ----------
    P : array_like, (..., K, S, A, S)
        The tables; rows sum to 1.
    R : array_like, (..., S, A)
        Expected rewards, the same in all of them.
    gamma : array_like, (...)
        Discount factors in [0, 1).
    tol, validate
        As in :func:`lib.rl.planning.value_iteration`.

    Returns
    -------
    Solution

    Raises
    ------
    ValueError
        If shapes do not fit, a row of P does not sum to 1, gamma lies outside [0, 1) or tol is not above 0.

    Examples
    --------
    >>> P = [[[[1.0, 0.0]], [[0.0, 1.0]]], [[[0.0, 1.0]], [[0.0, 1.0]]]]
    >>> worst_of_tables(P, [[1.0], [0.0]], 0.5).V.tolist()
    [1.0, 0.0]
    """
    tol = checks.real_number("tol", tol, lowest=0, open_below=True)
    if checks.flag("validate", validate):
        P, R, gamma = checks.tensors(P=P, R=R, gamma=gamma)
        checks.shape("P", P, None, None, None, None)
        _tables.transitions("P", P)
        checks.shape("R", R, *P.shape[-3:-1])
        _tables.check_discount(gamma, ends=False)
    else:
        P, R, gamma = _tables.model(P=P, R=R, gamma=gamma, validate=False)
    batch = checks.batch(P=P.shape[:-4], R=R.shape[:-2], gamma=gamma.shape)

    def backup(V: Tensor) -> tuple[Tensor, Tensor]:
        Q = R + gamma[..., None, None] * _tables.expected(P, V[..., None, :]).amin(dim=-3)
        return Q.amax(dim=-1), Q

    return planning.solved(backup, P.new_zeros(*batch, P.shape[-1]), gamma, tol)


def _worst(P: Tensor, V: Tensor, radius: Tensor, kind: str) -> Tensor:
    """Worst expectation of V for every state and action, (..., S, A)."""
    lowest = V.amin(dim=-1)[..., None, None]
    if kind == "contamination":
        return (1 - radius) * _tables.expected(P, V) + radius * lowest
    mass = radius / 2 if kind == "l1" else radius
    order = V.argsort(dim=-1, descending=True)
    return _moved(P, V[..., None, None, :], order[..., None, None, :], mass, lowest)


def _moved(p: Tensor, values: Tensor, order: Tensor, mass: Tensor, worst: Tensor) -> Tensor:
    """Expectation after mass has gone from the largest values, in falling order, to the worst one."""
    if order.numel() == order.shape[-1]:
        p, falling = p.index_select(-1, order.flatten()), values.index_select(-1, order.flatten())
    else:
        batch = torch.broadcast_shapes(p.shape, order.shape)
        p, falling = p.expand(batch).gather(-1, order.expand(batch)), values.gather(-1, order.expand(values.shape))
    lost = _taken(p, mass) * (falling - worst[..., None])
    return (p * falling).sum(dim=-1) - lost.sum(dim=-1)


def _taken(p: Tensor, mass: Tensor) -> Tensor:
    """What of each entry is taken when mass is taken from the first ones on."""
    before = p.cumsum(dim=-1) - p
    return torch.minimum((mass[..., None] - before).clamp(min=0), p)


def _read_expectation(mu, values, radius, **optional) -> list[Tensor]:
    mu, values, radius, *rest = checks.tensors(mu=mu, values=values, radius=radius, **optional)
    checks.shape("mu", mu, None)
    if values.dim() == 0 or values.shape[-1] != mu.shape[-1]:
        came = tuple(values.shape)
        raise ValueError(f"values must have shape (..., {mu.shape[-1]}), one for each entry of mu, got {came}")
    _tables.check_chances("mu", mu)
    _check_radius(radius, 1.0)
    leading = {name: tensor.shape for name, tensor in zip(optional, rest)}
    checks.batch(mu=mu.shape[:-1], values=values.shape[:-1], radius=radius.shape, **leading)
    return [mu, values, radius, *rest]


def _check_radius(radius: Tensor, largest: float) -> None:
    checks.require((radius >= 0) & (radius <= largest), f"radius must lie in [0, {largest:g}]", radius)


def _read(P, R, gamma, radius, kind) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    checks.choice("kind", kind, tuple(KINDS))
    P, R, gamma, radius = _tables.model(P=P, R=R, gamma=gamma, radius=radius)
    if radius.dim():
        checks.shape("radius", radius, *P.shape[-3:-1])
    _check_radius(radius, KINDS[kind])
    return P, R, gamma, radius


def _read_iteration(P, R, gamma, radius, kind, tol, V0, validate):
    """Tables, radius, first values in the shape of the whole batch, tolerance."""
    if checks.flag("validate", validate):
        P, R, gamma, radius = _read(P, R, gamma, radius, kind)
    P, R, gamma, V, tol = planning.read(P, R, gamma, tol, V0, validate=False)
    radius = torch.as_tensor(radius, dtype=P.dtype, device=P.device)
    batch = checks.batch(P=V.shape[:-1], radius=radius.shape[:-2])
    return P, R, gamma, radius, V.expand(*batch, V.shape[-1]), tol
