"""Compiled planners of :mod:`lib.rl.planning` for many small problems: float64, C-contiguous, one core.

What reads a whole table works on one problem at a time, which then lies in the cache; while it is worked on, the next
one is fetched. Policies are evaluated for many problems together, one in each lane, so that the inner loops of the
elimination run over lanes; a lane whose problem is solved takes the next one. Nothing is pivoted: I - gamma P is
diagonally dominant by rows, for which that is stable.
"""

import math

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

__all__ = ["LANES", "modified_policy_iteration", "policy_iteration"]

# Products may be fused with sums, and sums taken in any order; nothing else about floating point is relaxed. Without
# it the inner products could not use vectors; all results are bound by the rounding of sums in either order.
OPTIONS = {"cache": True, "fastmath": {"contract", "reassoc"}, "error_model": "numpy", "nogil": True}
LANES = 32  # long enough for the inner loops; 32 problems of 20 states and 4 actions stay in the cache
LINE = 8  # numbers in a line of the cache
FETCHED = 1 << 16  # numbers fetched before they are used: a quarter of a second level of 2 MiB


@intrinsic
def _fetch(typing, array, at):
    """Ask for the line of the cache in which entry ``at`` of the flattened array lies; nobody waits for it."""

    def code(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        place = builder.bitcast(builder.gep(data, [arguments[1]]), ir.IntType(8).as_pointer())
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [place.type, number, number, number])
        prefetch = builder.module.declare_intrinsic("llvm.prefetch", [place.type], kind)
        builder.call(prefetch, [place, number(0), number(2), number(1)])  # to be read; into the second level; data
        return context.get_dummy_value()

    return types.void(array, types.intp), code


@njit(**OPTIONS)
def _announce(P, problem, s, states):
    """Fetch what the table of a problem says of some states from s on, if there is such a problem.

    The hardware sees what comes next too late: it stops at the end of every page of memory.
    """
    if problem < P.shape[0]:
        size = P.shape[2] * P.shape[3]
        start = (problem * P.shape[1] + s) * size
        for at in range(start, start + states * size, LINE):
            _fetch(P, at)


@njit(**OPTIONS)
def _sound(rows, bits, reward, discount, slack, V, Q):
    """Values of all actions into Q, and whether the tables may be what they should be.

    That is if no entry is below 0, no row is off 1 by more than ``slack``, rewards are finite and the discount lies in
    [0, 1). ``bits`` are the same entries as integers, flat: together they are negative if any entry has a sign.
    """
    off = 0
    for at in range(Q.size):
        total = ahead = 0.0
        for j in range(V.size):
            total += rows[at, j]
            ahead += rows[at, j] * V[j]
        off += not abs(total - 1) <= slack  # a total that is no number is off
        Q[at] = reward[at] + discount * ahead
    signs = np.int64(0)
    for entry in range(bits.size):
        signs |= bits[entry]
    negative = signs < 0 and (rows < 0).any()  # -0 is right
    return off == 0 and not negative and np.isfinite(reward.sum()) and discount >= 0 and discount < 1


@njit(**OPTIONS)
def _look_ahead(rows, reward, discount, V, Q):
    """Values of all actions."""
    for at in range(Q.size):
        ahead = 0.0
        for j in range(V.size):
            ahead += rows[at, j] * V[j]
        Q[at] = reward[at] + discount * ahead


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
def _equations(P, R, gamma, policy, problem, i, row, coming):
    """Row i of the equations (I - gamma P) V = R of the policy of the problem of every lane, (S + 1, lanes).

    Fetches as much of the problems from ``coming`` on, which are to be read when these are solved.
    """
    states = row.shape[0] - 1
    fetched = FETCHED // P[0].size
    for lane in range(problem.size):
        n = problem[lane]
        if lane < fetched:
            _announce(P, coming + lane, i, 1)
        a = policy[n, i]
        discount, chances = -gamma[n], P[n, i, a]
        for j in range(states):
            row[j, lane] = discount * chances[j]
        row[i, lane] += 1
        row[states, lane] = R[n, i, a]


@njit(**OPTIONS)
def _evaluate(P, R, gamma, policy, problem, coming, columns, rows):
    """Values of the policy of the problem of every lane, in the last of the ``columns`` (S + 1, S, lanes).

    Two rows of the equations at a time are written into ``rows`` (2, S + 1, lanes), freed of the states before them and
    divided by their diagonal entries; in the end the states after them are put in.
    """
    states, lanes = columns.shape[1:]
    upper, lower = rows[0], rows[1]
    inverse = np.empty(lanes)
    for i in range(0, states, 2):
        two = i + 1 < states  # else the lower row is left over from before, and nothing is made of it
        _equations(P, R, gamma, policy, problem, i, upper, coming)
        if two:
            _equations(P, R, gamma, policy, problem, i + 1, lower, coming)
        for j in range(1, states + 1):
            column, first, second = columns[j], upper[j], lower[j]
            steps = min(i, j)
            for k in range(steps % 4):
                for lane in range(lanes):
                    first[lane] -= upper[k, lane] * column[k, lane]
                    second[lane] -= lower[k, lane] * column[k, lane]
            for k in range(steps % 4, steps, 4):
                for lane in range(lanes):
                    u, v, w, x = column[k, lane], column[k + 1, lane], column[k + 2, lane], column[k + 3, lane]
                    early, late = upper[k, lane] * u + upper[k + 1, lane] * v, upper[k + 2, lane] * w
                    first[lane] -= early + (late + upper[k + 3, lane] * x)
                    early, late = lower[k, lane] * u + lower[k + 1, lane] * v, lower[k + 2, lane] * w
                    second[lane] -= early + (late + lower[k + 3, lane] * x)
        for lane in range(lanes):
            inverse[lane] = 1 / upper[i, lane]
        for j in range(i + 1, states + 1):
            for lane in range(lanes):
                columns[j, i, lane] = upper[j, lane] * inverse[lane]
                lower[j, lane] -= lower[i, lane] * columns[j, i, lane]
        if two:
            for lane in range(lanes):
                inverse[lane] = 1 / lower[i + 1, lane]
            for j in range(i + 2, states + 1):
                for lane in range(lanes):
                    columns[j, i + 1, lane] = lower[j, lane] * inverse[lane]
    V = columns[states]
    for i in range(states - 2, -1, -1):
        for j in range(i + 1, states):
            for lane in range(lanes):
                V[i, lane] -= columns[j, i, lane] * V[j, lane]


@njit(**OPTIONS)
def _ends(new, old):
    """Smallest and largest entry of the change, and the largest size of a new one."""
    low = high = new[0] - old[0]
    size = abs(new[0])
    for s in range(1, new.size):
        change = new[s] - old[s]
        low = change if change < low else low
        high = change if change > high else high
        size = abs(new[s]) if abs(new[s]) > size else size
    return low, high, size


@njit(**OPTIONS)
def _largest(numbers):
    """Largest size of any; numpy's way needs new memory."""
    largest = abs(numbers[0])
    for at in range(1, numbers.size):
        largest = abs(numbers[at]) if abs(numbers[at]) > largest else largest
    return largest


@njit(**OPTIONS)
def _improve(Q, best, wanted, rounding, policy):
    """Take the actions that are better beyond rounding; whether there were any."""
    other = 0
    for s in range(Q.shape[0]):
        other += wanted[s] != policy[s]
    if other == 0:
        return False
    slack = rounding * _largest(Q.reshape(-1))
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
    are greedy after so many sweeps of value iteration. There has to be a problem. Tables that look unsound with this
    slack end it with -1; a negative slack asks for no check.
    """
    problems, states, actions = R.shape
    # Not LANES itself: loops of a length that is known are unrolled whole and then no longer vectorised.
    lanes = min(LANES, problems)
    rows = P.reshape((problems, states * actions, states))
    bits = P.reshape((problems, -1)).view(np.int64)
    rewards, values = R.reshape((problems, -1)), Q.reshape((problems, -1))
    columns = np.empty((states + 1, states, lanes))
    pair = np.zeros((2, states + 1, lanes))
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
                _choose(R[n], best, wanted)
                sound = _sound(rows[n], bits[n], rewards[n], gamma[n], slack, best, values[n])
                if slack >= 0 and not sound:
                    return -1
                for _ in range(1, first_sweeps):
                    _choose(Q[n], best, wanted)
                    _look_ahead(rows[n], rewards[n], gamma[n], best, values[n])
                if first_sweeps > 0:
                    _choose(Q[n], best, policy[n])
                before[lane] = -np.inf
                rounds[lane] = 1
        if not rounds.any():
            return slowest
        _evaluate(P, R, gamma, policy, problem, started, columns, pair)
        for lane in range(lanes):
            if rounds[lane] > 0:
                n = problem[lane]
                total = 0.0
                for s in range(states):
                    V[n, s] = columns[states, s, lane]
                    total += V[n, s]
                _look_ahead(rows[n], rewards[n], gamma[n], V[n], values[n])
                _choose(Q[n], best, wanted)
                low, high, _ = _ends(best, V[n])
                error[n] = max(-low, high) / (1 - gamma[n])
                slowest = max(slowest, rounds[lane])
                # In exact arithmetic an improved policy has a larger sum of values.
                better = total > before[lane] and _improve(Q[n], best, wanted, rounding, policy[n])
                before[lane] = total
                rounds[lane] = rounds[lane] + 1 if better else 0


@njit(**OPTIONS)
def _sweeps_needed(farthest, discount, tol):
    """As :func:`lib.rl.planning.sweeps_needed`, for one problem."""
    if discount == 0 or farthest == 0:
        return 1.0
    wanted = math.log(tol) + 2 * math.log1p(-discount) - math.log(discount) - math.log(farthest)
    return max(1.0, np.ceil(wanted / math.log(discount)) + 1)


@njit(**OPTIONS)
def _follow(P, R, discount, policy, sweeps, target, V, after):
    """At most so many sweeps of one policy from V on, fewer once the spread of the change is at most ``target``."""
    states = V.size
    for _ in range(sweeps):
        for s in range(states):
            a = policy[s]
            ahead = 0.0
            for j in range(states):
                ahead += P[s, a, j] * V[j]
            after[s] = R[s, a] + discount * ahead
        low, high, _ = _ends(after, V)
        V[:] = after
        if high - low <= target:
            break


@njit(**OPTIONS)
def modified_policy_iteration(P, R, gamma, first, tol, inner_sweeps, rounding, slack, V, Q, policy, error):
    """Sweeps over all actions, with sweeps of the greedy policy in between; returns the sweeps of the slowest problem.

    ``first`` (problems, S) holds the values to start from. Tables that look unsound with this slack end it with -1; a
    negative slack asks for no check.
    """
    problems, states, actions = R.shape
    rows = P.reshape((problems, states * actions, states))
    bits = P.reshape((problems, -1)).view(np.int64)
    rewards, values = R.reshape((problems, -1)), Q.reshape((problems, -1))
    best, after, now = np.empty(states), np.empty(states), np.empty(states)
    slowest = 0
    for n in range(problems):
        discount = gamma[n]
        now[:] = first[n]
        sound = _sound(rows[n], bits[n], rewards[n], discount, slack, now, values[n])
        if slack >= 0 and not sound:
            return -1
        ratio = discount / (1 - discount)
        limit = np.inf
        sweeps = 0
        while True:
            if sweeps < 2:  # half of the next problem with each
                _announce(P, n + 1, sweeps * (states // 2), states - states // 2)
            _choose(Q[n], best, policy[n])
            sweeps += 1
            low, high, size = _ends(best, now)
            uneven = high - low
            limit = min(limit, sweeps + _sweeps_needed(uneven, discount, tol))
            # What is no number compares false with everything: it has to end the loop, not to keep it going.
            apart = uneven * ratio / 2 > tol and uneven > rounding * size
            if not (apart and sweeps < limit):
                break
            _follow(P[n], R[n], discount, policy[n], inner_sweeps, tol / ratio, best, after)
            # Constants do not matter to the spread; without them the values lose fewer digits to rounding.
            now[:] = best - best.min()
            _look_ahead(rows[n], rewards[n], discount, now, values[n])
        middle = ratio * (high + low) / 2
        V[n] = best + middle
        Q[n] += middle
        error[n] = ratio * uneven / 2
        slowest = max(slowest, sweeps)
    return slowest
