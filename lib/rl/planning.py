"""Planning with a discount: value iteration, policy iteration, and what lies between.

Every planner returns a :class:`Solution` with a proven bound on its error, from the spread of the last change: if T is
a Bellman operator and d = T V - V, the optimal values lie between T V + gamma / (1 - gamma) min d and the same with max
d. The middle is returned. The spread falls long before the change itself does, which is why nothing here waits for the
change to become small.

Sources: M. L. Puterman, *Markov decision processes* (1994), chapter 6 (proposition 6.6.5 is the bound); R. A. Howard,
*Dynamic programming and Markov processes* (1960); M. L. Puterman and M. C. Shin, Management Science 24 (1978) 1127.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from lib import checks
from lib.rl import _many_problems, _tables, bellman

__all__ = ["Solution", "modified_policy_iteration", "policy_iteration", "soft_value_iteration", "value_iteration"]

FIRST_SWEEPS = 2  # sweeps before policies are evaluated
ROUNDING = 32  # spacings of floating point numbers that count as no improvement
SETTLED = 4  # spacings that count as no change


@dataclass(frozen=True, eq=False)
class Solution:
    """What a planner found. Unpacks as ``V, Q = value_iteration(...)``.

    Attributes
    ----------
    V : Tensor, (..., S)
        Optimal values.
    Q : Tensor, (..., S, A)
        Optimal values of the actions.
    policy : Tensor
        An action for each state, (..., S) int64; where the optimum is soft or against an adversary, see the planner.
    error : Tensor, (...)
        Bound on the largest error of V and of Q, rounding aside.
    sweeps : int
        Times that the whole table P was read.
    """

    V: Tensor
    Q: Tensor
    policy: Tensor
    error: Tensor
    sweeps: int

    def __iter__(self) -> Iterator[Tensor]:
        yield self.V
        yield self.Q


def value_iteration(P, R, gamma, tol: float = 1e-8, *, V0=None, validate: bool = True) -> Solution:
    """Optimal values by sweeps, until the spread of the last change proves them.

    Parameters
    ----------
    P : array_like, (..., S, A, S)
        Chances of the next state; rows sum to 1.
    R : array_like, (..., S, A)
        Expected rewards.
    gamma : array_like, (...)
        Discount factors in [0, 1).
    tol : float
        Largest error allowed, above 0, in units of the reward. Below the rounding of the values it is not reached;
        ``error`` then says what was.
    V0 : array_like, (..., S), optional
        Where to start: close to the solution it takes fewer sweeps.
    validate : bool
        Off, nothing is checked: for tables that are known to be right, such as those of a
        :class:`lib.rl.mdp.TabularMDP`, when P is so large that reading it once more matters.

    Returns
    -------
    Solution
        Its greedy policy loses at most twice the error.

    Notes
    -----
    Many small problems in float64 on a CPU are solved in compiled loops where numba is installed.

    Raises
    ------
    ValueError
        If shapes do not fit, a row of P does not sum to 1, gamma lies outside [0, 1), or tol is not above 0.

    Examples
    --------
    >>> P = [[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]]  # stay or switch
    >>> V, Q = value_iteration(P, [[0.0, 0.0], [1.0, 1.0]], 0.9)
    >>> [round(value, 6) for value in V.tolist()]
    [9.0, 10.0]
    """
    given = _many_small_or_read(P, R, gamma, tol, 0, V0, validate)
    if isinstance(given, Solution):
        return given
    P, R, gamma, V, tol = given

    def backup(V: Tensor) -> tuple[Tensor, Tensor]:
        Q = bellman.q_values(P, R, gamma, V)
        return Q.amax(dim=-1), Q

    return solved(backup, V, gamma, tol)


def soft_value_iteration(
    P, R, gamma, temperature, reference=None, tol: float = 1e-8, *, V0=None, validate: bool = True
) -> Solution:
    """Optimal values where leaving a reference policy costs temperature times the divergence, in every step.

    Parameters
    ----------
    P, R, gamma, tol, V0, validate
        As in :func:`value_iteration`.
    temperature : array_like, (...)
        At least 0, in units of the reward; at 0 this is :func:`value_iteration`.
    reference : array_like, (..., S, A), optional
        Policy to stay close to; without one the entropy of the policy is rewarded.

    Returns
    -------
    Solution
        ``policy`` holds the optimal chances of the actions, (..., S, A).

    Raises
    ------
    ValueError
        As :func:`value_iteration`, if a temperature is negative or the reference no policy.

    Examples
    --------
    >>> P = [[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]]
    >>> found = soft_value_iteration(P, [[0.0, 0.0], [1.0, 1.0]], 0.9, temperature=0.1)
    >>> [round(chance, 4) for chance in found.policy[0].tolist()]
    [0.0001, 0.9999]
    """
    P, R, gamma, V, tol = read(P, R, gamma, tol, V0, validate)
    optional = {} if reference is None else {"reference": reference}
    temperature, *chances = checks.tensors(temperature=temperature, **optional, P=P[..., :0])[:-1]
    checks.require(temperature >= 0, "temperature must be at least 0", temperature)
    given = _tables.actions_or_chances("reference", chances[0], P) if chances else None
    leading = {} if given is None else {"reference": given.shape[:-2]}
    batch = checks.batch(P=V.shape[:-1], temperature=temperature.shape, **leading)
    V = V.expand(*batch, V.shape[-1])
    given = torch.ones_like(R[..., :1]) if given is None else given
    temperature = bellman.for_states(temperature)

    def backup(V: Tensor) -> tuple[Tensor, Tensor]:
        Q = bellman.q_values(P, R, gamma, V)
        return bellman.soften(Q, temperature, given)[0], Q

    found = solved(backup, V, gamma, tol)
    weights = bellman.soften(found.Q, temperature, given)[1]
    chances = weights / weights.sum(dim=-1, keepdim=True)
    return Solution(found.V, found.Q, chances, found.error, found.sweeps)


def modified_policy_iteration(
    P, R, gamma, tol: float = 1e-8, *, inner_sweeps: int = 20, V0=None, validate: bool = True
) -> Solution:
    """Optimal values by few sweeps over all actions, with cheap sweeps of the greedy policy in between.

    The fastest planner for large tables: a sweep of one policy reads 1 / A of P.

    Parameters
    ----------
    P, R, gamma, tol, V0, validate
        As in :func:`value_iteration`.
    inner_sweeps : int
        At most so many sweeps of each policy, at least 0 (value iteration); fewer when its values are known well
        enough.

    Returns
    -------
    Solution

    Notes
    -----
    Many small problems run in compiled loops, as those of :func:`value_iteration`.

    Raises
    ------
    ValueError
        As :func:`value_iteration`, or if inner_sweeps is negative.

    Examples
    --------
    >>> P = [[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]]
    >>> found = modified_policy_iteration(P, [[0.0, 0.0], [1.0, 1.0]], 0.9)
    >>> found.policy.tolist(), found.sweeps
    ([1, 0], 3)
    """
    inner_sweeps = checks.integer("inner_sweeps", inner_sweeps, lowest=0)
    given = _many_small_or_read(P, R, gamma, tol, inner_sweeps, V0, validate)
    if isinstance(given, Solution):
        return given
    P, R, gamma, V, tol = given
    # A policy is known well enough when its own change is half as uneven as the optimum's may be.
    target = tol * (1 - gamma) / gamma.clamp(min=torch.finfo(gamma.dtype).tiny)
    limit = math.inf
    sweeps = 0
    while True:
        # Where nothing follows the values of the actions are their rewards: the table need not be read for that.
        nothing = V0 is None and sweeps == 0
        Q = R.expand(*V.shape[:-1], *R.shape[-2:]) if nothing else bellman.q_values(P, R, gamma, V)
        best, actions = Q.max(dim=-1)
        sweeps += 1
        change = best - V
        limit = min(limit, sweeps + sweeps_needed(change, gamma, tol))
        done = close_enough(change, best, gamma, tol)
        if sweeps >= limit or bool(done.all()):
            return finished(best, Q, actions, change, gamma, sweeps)
        improved = best
        chain, reward = _tables.chain(P, actions), _tables.pick(R, actions)
        settled = done
        for _ in range(inner_sweeps):
            after = reward + gamma[..., None] * _tables.times(chain, improved)
            settled, improved = settled | (spread(after - improved) <= target), kept(settled, improved, after)
            if bool(settled.all()):
                break
        V = kept(done, V, improved - improved.amin(dim=-1, keepdim=True))


def _many_small_or_read(P, R, gamma, tol, inner_sweeps: int, V0, validate) -> Solution | tuple:
    """What compiled loops found for many small problems; for others the arguments, read."""
    tol = checks.real_number("tol", tol, lowest=0, open_below=True)
    checks.flag("validate", validate)
    compiled = _many_problems.modified_policy_iteration
    # Tables that need no conversion go straight on; if there is something wrong with them, what follows says what.
    found = compiled(P, R, gamma, None, None, tol, inner_sweeps, SETTLED, validate) if V0 is None else None
    if found is None:
        given = read(P, R, gamma, tol, V0, validate)
        V = given[3]
        found = compiled(*given[:3], V, V.shape[:-1], tol, inner_sweeps, SETTLED, False)
    return given if found is None else Solution(*found)


def policy_iteration(P, R, gamma, *, policy=None, validate: bool = True) -> Solution:
    """Optimal values by evaluating policies exactly and improving them until nothing is better.

    Each policy is evaluated by a linear solve. An action is only replaced by one that is better beyond rounding, so
    that ties do not keep it going; it ends after finitely many policies, usually fewer than ten.

    Parameters
    ----------
    P, R, gamma, validate
        As in :func:`value_iteration`.
    policy : array_like, (..., S), integers, optional
        Where to start, by default with the greedy policy after two sweeps of value iteration, which cost less than
        the policies they save.

    Returns
    -------
    Solution
        V is the exact value of ``policy``; ``sweeps`` counts the policies that were evaluated.

    Notes
    -----
    Many small problems in float64 on a CPU are solved in compiled loops where numba is installed.

    Raises
    ------
    ValueError
        If shapes do not fit, a row of P does not sum to 1, gamma lies outside [0, 1), or policy is no policy.

    Examples
    --------
    >>> P = [[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]]
    >>> V, Q = policy_iteration(P, [[0.0, 0.0], [1.0, 1.0]], 0.9)
    >>> [round(value, 9) for value in V.tolist()]
    [9.0, 10.0]
    """
    checks.flag("validate", validate)
    if policy is None:
        # Tables that need no conversion go straight on; if there is something wrong with them, what follows says what.
        found = _many_problems.policy_iteration(P, R, gamma, None, None, FIRST_SWEEPS, ROUNDING, validate)
        if found is not None:
            return Solution(*found)
    P, R, gamma = _tables.model(P=P, R=R, gamma=gamma, validate=validate, rows=False)
    batch = torch.broadcast_shapes(P.shape[:-3], R.shape[:-2], gamma.shape)
    if policy is not None:
        policy = _tables.actions_or_chances("policy", policy, P)
        if policy.is_floating_point():
            raise ValueError(f"policy must be integers of shape (..., {P.shape[-1]}), got real numbers")
        batch = checks.batch(P=batch, policy=policy.shape[:-1])
    found = _many_problems.policy_iteration(P, R, gamma, policy, batch, FIRST_SWEEPS, ROUNDING, validate)
    if found is not None:
        return Solution(*found)
    if validate:
        _tables.check_chances("P", P)
    if policy is None:
        V = R.amax(dim=-1)
        for _ in range(FIRST_SWEEPS):
            Q = bellman.q_values(P, R, gamma, V)
            V, policy = Q.max(dim=-1)
    actions = policy.expand(*batch, P.shape[-1])
    identity = torch.eye(P.shape[-1], dtype=P.dtype, device=P.device)
    total = P.new_full(batch, -math.inf)
    sweeps = 0
    while True:
        system = identity - gamma[..., None, None] * _tables.chain(P, actions)
        V = torch.linalg.solve(system, _tables.pick(R, actions)[..., None])[..., 0]
        Q = bellman.q_values(P, R, gamma, V)
        sweeps += 1
        best, wanted = Q.max(dim=-1)
        slack = ROUNDING * torch.finfo(P.dtype).eps * Q.abs().amax(dim=(-2, -1))
        better = best - _tables.pick(Q, actions) > slack[..., None]
        # In exact arithmetic an improved policy has a larger sum of values: one that has not is equal up to rounding.
        better = better & (V.sum(dim=-1) > total)[..., None]
        if not bool(better.any()):
            error = (best - V).abs().amax(dim=-1) / (1 - gamma)
            return Solution(V, Q, actions, error, sweeps)
        total = V.sum(dim=-1)
        actions = torch.where(better, wanted, actions)


def solved(backup: Callable, V: Tensor, gamma: Tensor, tol: float) -> Solution:
    """Repeat V -> (T V, Q) for a monotone T with T(V + c) = T V + gamma c until the spread of the change is small.

    Members of a batch that are done stay as they are, so that each ends where it would end alone.
    """
    limit = math.inf
    sweeps = 0
    while True:
        best, Q = backup(V)
        sweeps += 1
        change = best - V
        limit = min(limit, sweeps + sweeps_needed(change, gamma, tol))
        done = close_enough(change, best, gamma, tol)
        if sweeps >= limit or bool(done.all()):
            return finished(best, Q, Q.argmax(dim=-1), change, gamma, sweeps)
        # Constants do not matter to the spread; without them the values lose fewer digits to rounding.
        V = kept(done, V, best - best.amin(dim=-1, keepdim=True))


def finished(best: Tensor, Q: Tensor, policy: Tensor, change: Tensor, gamma: Tensor, sweeps: int) -> Solution:
    """The middle between the bounds, and half their distance."""
    ahead = gamma / (1 - gamma)
    middle = ahead * (change.amax(dim=-1) + change.amin(dim=-1)) / 2
    error = ahead * spread(change) / 2
    return Solution(best + middle[..., None], Q + middle[..., None, None], policy, error, sweeps)


def spread(change: Tensor) -> Tensor:
    """Largest less smallest entry, (...)."""
    return change.amax(dim=-1) - change.amin(dim=-1)


def close_enough(change: Tensor, best: Tensor, gamma: Tensor, tol: float) -> Tensor:
    """Whether the bound is below ``tol``, or the change no more than rounding."""
    uneven = spread(change)
    rounding = SETTLED * torch.finfo(best.dtype).eps * best.abs().amax(dim=-1)
    return (uneven * gamma / (1 - gamma) / 2 <= tol) | (uneven <= rounding)


def kept(done: Tensor, old: Tensor, new: Tensor) -> Tensor:
    """The old values of the members that are done, the new ones of the others."""
    return torch.where(done[..., None], old, new) if done.dim() else new


def sweeps_needed(change: Tensor, gamma: Tensor, tol: float) -> int:
    """Sweeps after which the bound is below ``tol`` in exact arithmetic, whatever the table.

    The values are within spread / (1 - gamma) of the optimum, up to a constant; a sweep multiplies that by gamma.
    """
    if not change.numel():
        return 1
    farthest, slowest = float(spread(change.detach()).amax()), float(gamma.detach().amax())
    if slowest == 0 or farthest == 0:
        return 1
    # Logarithms one by one: the quotient may be too small or too large for a float.
    wanted = math.log(tol) + 2 * math.log1p(-slowest) - math.log(slowest) - math.log(farthest)
    return max(1, math.ceil(wanted / math.log(slowest)) + 1)


def read(P, R, gamma, tol, V0, validate) -> tuple[Tensor, Tensor, Tensor, Tensor, float]:
    tol = checks.real_number("tol", tol, lowest=0, open_below=True)
    P, R, gamma = _tables.model(P=P, R=R, gamma=gamma, validate=validate)
    V = P.new_zeros(P.shape[-1]) if V0 is None else _tables.state_values("V0", V0, P)
    batch = checks.batch(P=P.shape[:-3], R=R.shape[:-2], gamma=gamma.shape, V0=V.shape[:-1])
    return P.contiguous(), R, gamma, V.expand(*batch, V.shape[-1]), tol
