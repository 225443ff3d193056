"""Compiled policy iteration of :mod:`lib.rl.planning` for many small problems: float64, C-contiguous, one core.

What reads a whole table works on one problem at a time, on a copy that stays in the cache and has the states and
actions side by side. Policies are evaluated for many problems together, one in each lane, so that the inner loops of
the elimination run over lanes; a lane whose problem is solved takes the next one. Nothing is pivoted: I - gamma P is
diagonally dominant by rows, for which that is stable.
"""

import numpy as np
from numba import njit

__all__ = ["LANES", "policy_iteration"]

# Products may be fused with sums, and sums taken in any order; nothing else about floating point is relaxed.
OPTIONS = {"cache": True, "fastmath": {"contract", "reassoc"}, "error_model": "numpy", "nogil": True}
LANES = 32  # long enough for the inner loops; 32 problems of 20 states and 4 actions stay in the cache


@njit(**OPTIONS)
def _turned(rows, slack, table):
    """Copy rows (S A, S) to a table (S, S A); false if an entry is below 0 or a row off 1 by more than ``slack``."""
    right = True
    for at in range(rows.shape[0]):
        # Anew for each row: one minimum over all of them would be a chain that everything waits for.
        total = lowest = 0.0
        for j in range(rows.shape[1]):
            chance = rows[at, j]
            table[j, at] = chance
            total += chance
            lowest = min(lowest, chance)
        right &= abs(total - 1) <= slack and lowest >= 0  # a total that is no number is off
    return right


@njit(**OPTIONS)
def _look_ahead(table, reward, discount, V, Q):
    """Values of all actions."""
    states = V.size
    Q[:] = 0
    for j in range(states % 4):
        for at in range(Q.size):
            Q[at] += table[j, at] * V[j]
    # Four next states at a time: Q is written a quarter as often.
    for j in range(states % 4, states, 4):
        u, v, w, x = V[j], V[j + 1], V[j + 2], V[j + 3]
        for at in range(Q.size):
            Q[at] += table[j, at] * u + table[j + 1, at] * v + table[j + 2, at] * w + table[j + 3, at] * x
    for at in range(Q.size):
        Q[at] = reward[at] + discount * Q[at]


@njit(**OPTIONS)
def _choose(Q, best, wanted):
    """Largest values and the first actions that have them."""
    for s in range(Q.shape[0]):
        value, action = Q[s, 0], 0
        for a in range(1, Q.shape[1]):
            improves = Q[s, a] > value
            value = Q[s, a] if improves else value
            action = a if improves else action
        best[s], wanted[s] = value, action


@njit(**OPTIONS)
def _evaluate(P, R, gamma, policy, problem, columns):
    """Values of the policy of the problem of every lane, in the last of the ``columns`` (S + 1, S, lanes).

    Each row of the equations is written down, freed of the states before it and divided by its diagonal entry; in the
    end the states after it are put in.
    """
    states, lanes = columns.shape[1:]
    row = np.empty((states + 1, lanes))
    for i in range(states):
        for lane in range(lanes):
            n = problem[lane]
            a = policy[n, i]
            discount, chances = gamma[n], P[n, i, a]
            for j in range(states):
                row[j, lane] = -discount * chances[j]
            row[i, lane] += 1
            row[states, lane] = R[n, i, a]
        for j in range(1, states + 1):
            column, entry = columns[j], row[j]
            steps = min(i, j)
            for k in range(steps % 4):
                for lane in range(lanes):
                    entry[lane] -= row[k, lane] * column[k, lane]
            for k in range(steps % 4, steps, 4):
                for lane in range(lanes):
                    first = row[k, lane] * column[k, lane] + row[k + 1, lane] * column[k + 1, lane]
                    second = row[k + 2, lane] * column[k + 2, lane] + row[k + 3, lane] * column[k + 3, lane]
                    entry[lane] -= first + second
        for j in range(i + 1, states + 1):
            for lane in range(lanes):
                columns[j, i, lane] = row[j, lane] / row[i, lane]
    V = columns[states]
    for i in range(states - 2, -1, -1):
        for j in range(i + 1, states):
            for lane in range(lanes):
                V[i, lane] -= columns[j, i, lane] * V[j, lane]


@njit(**OPTIONS)
def _improve(Q, best, wanted, rounding, policy):
    """Take the actions that are better beyond rounding; whether there were any."""
    slack = rounding * np.abs(Q).max()
    better = False
    for s in range(Q.shape[0]):
        if best[s] - Q[s, policy[s]] > slack:
            policy[s] = wanted[s]
            better = True
    return better


@njit(**OPTIONS)
def policy_iteration(P, R, gamma, policy, first_sweeps, rounding, slack, V, Q, error):
    """Improve policies until nothing is better; returns how many were evaluated for the slowest problem.

    ``policy`` (problems, S) holds the first ones and then the last ones; with ``first_sweeps`` above 0 the first ones
    are greedy after so many sweeps of value iteration. There has to be a problem. Entries below 0 and rows that are off
    1 by more than ``slack`` end it with -1; a negative slack asks for no check.
    """
    problems, states, actions = R.shape
    # Not LANES itself: loops of a length that is known are unrolled whole and then no longer vectorised.
    lanes = min(LANES, problems)
    rows = P.reshape((problems, states * actions, states))
    rewards, values = R.reshape((problems, -1)), Q.reshape((problems, -1))
    tables = np.empty((lanes, states, states * actions))
    columns = np.empty((states + 1, states, lanes))
    best = np.empty(states)
    wanted = np.empty(states, np.int64)
    problem = np.zeros(lanes, np.int64)
    before = np.empty(lanes)
    rounds = np.zeros(lanes, np.int64)  # 0: the lane has nothing to do
    started = slowest = 0
    while True:
        for lane in range(lanes):
            if rounds[lane] == 0 and started < problems:
                n = problem[lane] = started
                started += 1
                if not _turned(rows[n], slack, tables[lane]) and slack >= 0:
                    return -1
                values[n] = rewards[n]
                for _ in range(first_sweeps):
                    _choose(Q[n], V[n], policy[n])
                    _look_ahead(tables[lane], rewards[n], gamma[n], V[n], values[n])
                if first_sweeps > 0:
                    _choose(Q[n], V[n], policy[n])
                before[lane] = -np.inf
                rounds[lane] = 1
        if not rounds.any():
            return slowest
        _evaluate(P, R, gamma, policy, problem, columns)
        for lane in range(lanes):
            if rounds[lane] > 0:
                n = problem[lane]
                V[n] = columns[states, :, lane]
                _look_ahead(tables[lane], rewards[n], gamma[n], V[n], values[n])
                _choose(Q[n], best, wanted)
                error[n] = np.abs(best - V[n]).max() / (1 - gamma[n])
                total = V[n].sum()
                slowest = max(slowest, rounds[lane])
                # In exact arithmetic an improved policy has a larger sum of values.
                better = total > before[lane] and _improve(Q[n], best, wanted, rounding, policy[n])
                before[lane] = total
                rounds[lane] = rounds[lane] + 1 if better else 0
