"""Planning as a linear program: an independent route to values and to occupancies, for small problems.

The optimal values are the smallest V with V >= R_a + gamma P_a V for every action; the dual variables are the
discounted occupancy of an optimal policy. Solved by HiGHS through scipy.

Source: M. L. Puterman, *Markov decision processes* (1994), section 6.9.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lib import checks
from lib.rl import _tables

__all__ = ["LinearProgram", "linear_program"]


class LinearProgram(NamedTuple):
    """Primal and dual solution.

    Attributes
    ----------
    V : Tensor, (..., S)
        Optimal values.
    occupancy : Tensor, (..., S, A)
        Share of the discounted time that an optimal policy spends in each state and action, as
        :func:`lib.rl.policy_evaluation.discounted_occupancy`.
    """

    V: Tensor
    occupancy: Tensor


def linear_program(P, R, gamma, start=None) -> LinearProgram:
    """Optimal values and an optimal occupancy by linear programming.

    Parameters
    ----------
    P : array_like, (..., S, A, S)
        Chances of the next state; rows sum to 1.
    R : array_like, (..., S, A)
        Expected rewards.
    gamma : array_like, (...)
        Discount factors in [0, 1).
    start : int or array_like, (..., S), optional
        First state or its distribution; uniform by default. The values are only proven right in states that can be
        reached from it.

    Returns
    -------
    LinearProgram
        In float64 on the CPU. A batch is solved one by one.

    Raises
    ------
    ValueError
        If shapes do not fit, a row of P does not sum to 1, gamma lies outside [0, 1) or start is no distribution.
    RuntimeError
        If the solver gives up.

    Examples
    --------
    >>> P = [[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]]  # stay or switch
    >>> V, occupancy = linear_program(P, [[0.0, 0.0], [1.0, 1.0]], 0.9)
    >>> [round(value, 6) for value in V.tolist()]
    [9.0, 10.0]
    """
    P, R, gamma = _tables.model(P=P, R=R, gamma=gamma)
    law = _tables.start_law(start, P)
    leading = {"P": P.shape[:-3], "R": R.shape[:-2], "gamma": gamma.shape, "start": law.shape[:-1]}
    batch = checks.batch(**leading)
    tables = (P, R, gamma, law)
    spread = [table.expand((*batch, *table.shape[len(leading[name]) :])) for table, name in zip(tables, leading)]
    flat = [table.reshape(-1, *table.shape[len(batch) :]).detach().cpu().double().numpy() for table in spread]
    V, occupancy = np.empty(flat[3].shape), np.empty(flat[1].shape)
    for problem, tables in enumerate(zip(*flat, strict=True)):
        V[problem], occupancy[problem] = _solved(*tables)
    V, occupancy = torch.from_numpy(V), torch.from_numpy(occupancy)
    return LinearProgram(V.reshape(*batch, *V.shape[1:]), occupancy.reshape(*batch, *occupancy.shape[1:]))


def _solved(P, R, gamma, start) -> tuple[np.ndarray, np.ndarray]:
    from scipy.optimize import linprog

    states, actions = R.shape
    here = np.repeat(np.eye(states), actions, axis=0)
    ahead = gamma * P.reshape(states * actions, states)
    answer = linprog(start, A_ub=ahead - here, b_ub=-R.reshape(-1), bounds=(None, None), method="highs")
    if answer.status != 0:
        raise RuntimeError(f"the linear program was not solved: {answer.message}")
    visits = -answer.ineqlin.marginals.reshape(states, actions)
    return answer.x, (1 - gamma) * visits
