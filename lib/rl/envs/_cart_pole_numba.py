"""Compiled step of :mod:`lib.rl.envs.cart_pole`: float32, C-contiguous (4, environments), one core.

The dynamics, the time limit and the list of the episodes that ended are one pass over the environments each, without
branches, so that they vectorise. Operations stand in the order of the plain step, and no rule of floating point is
relaxed: an environment moves alike wherever in a batch it stands, and from plain torch differ only the sine and the
cosine. These are polynomials on a quarter turn (the classical ones of Cephes, S. L. Moshier, sinf.c), off by less than
1.2e-7 for angles of at most ``FARTHEST``; beyond, plain torch has to take the step.
"""

import numpy as np
from numba import njit

__all__ = ["FARTHEST", "advance", "exchange", "sines_and_cosines"]

OPTIONS = {"cache": True, "error_model": "numpy", "nogil": True}

f, whole = np.float32, np.int32
TILE = 4096  # environments taken together: what one loop writes is in the cache for the next
FARTHEST = 8192.0  # rad: up to here the turns times the first two parts of pi / 2 are exact
LIMIT = f(FARTHEST)
A_QUARTER, HALF, ONE, TWO, THREE, FOUR, FOUR_THIRDS = f(0.25), f(0.5), f(1), f(2), f(3), f(4), f(4 / 3)
PER_QUARTER = f(2 / np.pi)
QUARTER_1, QUARTER_2, QUARTER_3 = f(1.5703125), f(4.837512969970703125e-4), f(7.54978995489188216e-8)
S1, S2, S3 = f(-1.6666654611e-1), f(8.3321608736e-3), f(-1.9515295891e-4)
C1, C2, C3 = f(4.166664568298827e-2), f(-1.388731625493765e-3), f(2.443315711809948e-5)


@njit(inline="always")
def _sine_and_cosine(angle):
    quarters = np.rint(angle * PER_QUARTER)
    rest = angle - quarters * QUARTER_1 - quarters * QUARTER_2 - quarters * QUARTER_3
    square = rest * rest
    sine = rest + rest * square * (S1 + square * (S2 + square * S3))
    cosine = ONE - HALF * square + square * square * (C1 + square * (C2 + square * C3))
    # Quarters modulo 4 in floating point: whole numbers of 64 bits, which numba would make, halve the speed.
    quadrant = quarters - FOUR * np.floor(quarters * A_QUARTER)
    odd = (quadrant == ONE) | (quadrant == THREE)
    first, second = (cosine, sine) if odd else (sine, cosine)
    first = -first if quadrant >= TWO else first
    second = -second if (quadrant == ONE) | (quadrant == TWO) else second
    return first, second


@njit(**OPTIONS)
def sines_and_cosines(angles, sines, cosines):
    """Of all angles, as a step computes them."""
    for i in range(angles.size):
        sines[i], cosines[i] = _sine_and_cosine(angles[i])


@njit(**OPTIONS)
def _move(x, v, angle, spin, side, elapsed, nx, nv, nangle, nspin, terminated, truncated, nelapsed, numbers, last):
    gravity, mass, pole_mass, half_length = numbers[0], numbers[1], numbers[2], numbers[3]
    moment, force, tau, widest, steepest = numbers[4], numbers[5], numbers[6], numbers[7], numbers[8]
    far = False
    for i in range(x.size):
        sine, cosine = _sine_and_cosine(angle[i])
        far |= not (abs(angle[i]) <= LIMIT)
        push = (side[i] * (TWO * force) - force + moment * (spin[i] * spin[i]) * sine) / mass
        turning = (gravity * sine - cosine * push) / (
            half_length * (FOUR_THIRDS - pole_mass * (cosine * cosine) / mass)
        )
        pulling = push - moment * turning * cosine / mass
        there, tilted = x[i] + tau * v[i], angle[i] + tau * spin[i]
        nx[i] = there
        nv[i] = v[i] + tau * pulling
        nangle[i] = tilted
        nspin[i] = spin[i] + tau * turning
        fell = (abs(there) > widest) | (abs(tilted) > steepest)
        steps = whole(elapsed[i] + 1)
        late = (steps >= last) & (not fell)
        terminated[i] = fell
        truncated[i] = late
        nelapsed[i] = whole(0) if fell | late else steps
    return far


@njit(**OPTIONS)
def _narrow(action, side):
    """Actions as float32: beside numbers of 64 bits the loop of the dynamics would take half as many at once."""
    for i in range(action.size):
        side[i] = f(whole(action[i]))


@njit(**OPTIONS)
def advance(before, action, elapsed, arrived, reward, terminated, truncated, nelapsed, ended, numbers, last):
    """One step of all environments: how many episodes ended, or -1 if an angle is too far for this code.

    before, arrived (4, n); action (n,) of integers; reward (n,), or (0,) where none is wanted; elapsed, nelapsed (n,)
    int32, the latter 0 where an episode ended; terminated, truncated (n,) bool; ended (n,) int64, which starts with the
    indices of the episodes that ended; numbers (9,), see ``_move``; last, the time limit, below 2**31.
    """
    count = 0
    limit = whole(last)
    sides = np.empty(TILE, np.float32)
    for start in range(0, action.size, TILE):
        part = slice(start, min(start + TILE, action.size))
        side = sides[: part.stop - part.start]
        _narrow(action[part], side)
        over, cut = terminated[part], truncated[part]
        far = _move(
            *(before[0, part], before[1, part], before[2, part], before[3, part], side, elapsed[part]),
            *(arrived[0, part], arrived[1, part], arrived[2, part], arrived[3, part], over, cut, nelapsed[part]),
            *(numbers, limit),
        )
        if far:
            return -1
        for i in range(over.size):
            # Written without asking, and overwritten unless the episode ended.
            ended[count] = start + i
            count += np.intp(over[i] | cut[i])
    reward[:] = ONE
    return count


@njit(**OPTIONS)
def exchange(state, rows, fresh, left):
    """Write first states (4, count) where episodes start anew in (4, n), and what stood there to ``left``."""
    for i in range(rows.size):
        row = rows[i]
        for component in range(4):
            left[component, i] = state[component, row]
            state[component, row] = fresh[component, i]
