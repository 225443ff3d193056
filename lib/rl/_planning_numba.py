"""Compiled policy iteration of :mod:`lib.rl.planning` for many small problems: float64, C-contiguous, one core.

A block of problems is worked on together, the problem as the last index, so that every inner loop runs over neighbours
in memory and vectorises. Policies are evaluated by elimination without pivoting: I - gamma P is diagonally dominant by
rows, for which that is stable.
"""

import numpy as np
from numba import njit

__all__ = ["LANES", "policy_iteration"]

# Products may be fused with sums; nothing else about floating point is relaxed.
OPTIONS = {"cache": True, "fastmath": {"contract"}, "error_model": "numpy", "nogil": True}
LANES = 32  # problems of a block: long enough for the inner loops, and 20 states with 4 actions stay in the cache


@njit(inline="always")
def _evaluate(table, reward, discount, chosen, M, V):
    """Values of the chosen actions: eliminate downwards, substitute back."""
    states = V.shape[0]
    for s in range(states):
        for lane in range(LANES):
            V[s, lane] = reward[chosen[s, lane], lane]
        for j in range(states):
            for lane in range(LANES):
                M[s, j, lane] = -discount[lane] * table[chosen[s, lane], j, lane]
        for lane in range(LANES):
            M[s, s, lane] += 1
    for k in range(states):
        for lane in range(LANES):
            M[k, k, lane] = 1 / M[k, k, lane]
        for i in range(k + 1, states):
            for lane in range(LANES):
                M[i, k, lane] *= M[k, k, lane]
            for j in range(k + 1, states):
                for lane in range(LANES):
                    M[i, j, lane] -= M[i, k, lane] * M[k, j, lane]
            for lane in range(LANES):
                V[i, lane] -= M[i, k, lane] * V[k, lane]
    for k in range(states - 1, -1, -1):
        for j in range(k + 1, states):
            for lane in range(LANES):
                V[k, lane] -= M[k, j, lane] * V[j, lane]
        for lane in range(LANES):
            V[k, lane] *= M[k, k, lane]


@njit(inline="always")
def _look_ahead(table, reward, discount, V, Q, largest):
    """Values of all actions, and the largest size among them."""
    states = V.shape[0]
    largest[:] = 0
    for at in range(Q.shape[0]):
        # Two next states at a time: Q is written half as often.
        odd = states % 2
        Q[at] = 0
        if odd:
            for lane in range(LANES):
                Q[at, lane] = table[at, 0, lane] * V[0, lane]
        for j in range(odd, states, 2):
            for lane in range(LANES):
                Q[at, lane] += table[at, j, lane] * V[j, lane] + table[at, j + 1, lane] * V[j + 1, lane]
        for lane in range(LANES):
            Q[at, lane] = reward[at, lane] + discount[lane] * Q[at, lane]
            largest[lane] = max(largest[lane], abs(Q[at, lane]))


@njit(inline="always")
def _choose(Q, s, actions, best, wanted):
    """Largest value in a state and where it stands; the first of equals."""
    best[:] = Q[s * actions]
    wanted[:] = s * actions
    for at in range(s * actions + 1, (s + 1) * actions):
        for lane in range(LANES):
            improves = Q[at, lane] > best[lane]
            best[lane] = Q[at, lane] if improves else best[lane]
            wanted[lane] = at if improves else wanted[lane]


@njit(**OPTIONS)
def policy_iteration(P, R, gamma, policy, first_sweeps, rounding, slack, V_out, Q_out, error_out):
    """Improve policies until nothing is better; returns how many were evaluated for the slowest problem.

    ``policy`` (problems, S) holds the first ones and then the last ones; with ``first_sweeps`` above 0 the first ones
    are greedy after so many sweeps of value iteration. There have to be at least ``LANES`` problems. Entries below 0
    and rows that are off 1 by more than ``slack`` end it with -1; a negative slack asks for no check.
    """
    problems, states, actions = R.shape
    table = np.empty((states * actions, states, LANES))
    reward, Q = np.empty((2, states * actions, LANES))
    M = np.empty((states, states, LANES))
    V = np.empty((states, LANES))
    chosen = np.empty((states, LANES), np.int64)
    discount, total, before, largest, error, best, row, lowest = np.empty((8, LANES))
    wanted = np.empty(LANES, np.int64)
    slowest = 0
    for start in range(0, problems, LANES):
        # The last block reaches back so that it is full.
        first = min(start, problems - LANES)
        lowest[:] = 0
        uneven = 0.0
        for s in range(states):
            for a in range(actions):
                at = s * actions + a
                row[:] = 0
                for lane in range(LANES):
                    reward[at, lane] = R[first + lane, s, a]
                for j in range(states):
                    for lane in range(LANES):
                        chance = P[first + lane, s, a, j]
                        table[at, j, lane] = chance
                        row[lane] += chance
                        lowest[lane] = min(lowest[lane], chance)
                for lane in range(LANES):
                    # Written so that a row that is no number counts as uneven.
                    uneven = uneven if abs(row[lane] - 1) <= slack else np.inf
            for lane in range(LANES):
                chosen[s, lane] = s * actions + policy[first + lane, s]
        if slack >= 0 and (uneven > 0 or lowest.min() < 0):
            return -1
        discount[:] = gamma[first : first + LANES]
        V[:] = 0
        for sweep in range(first_sweeps + 1):
            if sweep == 0:
                Q[:] = reward
            else:
                _look_ahead(table, reward, discount, V, Q, largest)
            for s in range(states):
                _choose(Q, s, actions, best, wanted)
                V[s] = best
                if first_sweeps > 0:
                    chosen[s] = wanted
        before[:] = -np.inf
        rounds = 0
        better = True
        while better:
            better = False
            rounds += 1
            _evaluate(table, reward, discount, chosen, M, V)
            _look_ahead(table, reward, discount, V, Q, largest)
            total[:] = 0
            for s in range(states):
                for lane in range(LANES):
                    total[lane] += V[s, lane]
            error[:] = 0
            for s in range(states):
                _choose(Q, s, actions, best, wanted)
                for lane in range(LANES):
                    error[lane] = max(error[lane], abs(best[lane] - V[s, lane]))
                    gain = best[lane] - Q[chosen[s, lane], lane]
                    if gain > rounding * largest[lane] and total[lane] > before[lane]:
                        chosen[s, lane] = wanted[lane]
                        better = True
            before[:] = total
        slowest = max(slowest, rounds)
        for lane in range(LANES):
            error_out[first + lane] = error[lane] / (1 - discount[lane])
            for s in range(states):
                V_out[first + lane, s] = V[s, lane]
                policy[first + lane, s] = chosen[s, lane] - s * actions
                for a in range(actions):
                    Q_out[first + lane, s, a] = Q[s * actions + a, lane]
    return slowest
