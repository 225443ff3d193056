"""Compiled steps and rollouts of :mod:`lib.rl.envs.cart_pole`: float32, C-contiguous (4, environments), one core.

The dynamics, the time limit and the list of the episodes that ended are one pass over the environments each, without
branches, so that they vectorise. Operations stand in the order of the plain step, and no rule of floating point is
relaxed: an environment moves alike wherever in a batch it stands, and from plain torch differ only the sine and the
cosine. These are polynomials on a quarter turn (the classical ones of Cephes, S. L. Moshier, sinf.c), off by less than
1.2e-7 for angles of at most ``FARTHEST``; beyond, plain torch has to take the step.

A rollout of few environments by a small network is mostly calls: here decisions and steps are one function. The
hyperbolic tangent of its layers is a ratio of polynomials (that of Eigen, Eigen/src/Core/MathFunctionsImpl.h), off by
less than 4e-7.
"""

import math

import numpy as np
from numba import njit

__all__ = ["FARTHEST", "NARROW", "advance", "collect", "decide", "exchange", "sines_and_cosines", "tangents"]

OPTIONS = {"cache": True, "error_model": "numpy", "nogil": True}
# Sums may be taken in another order, and products fused with sums; infinities and NaN keep their meaning.
RELAXED = OPTIONS | {"fastmath": {"contract", "nsz", "reassoc"}}

f, whole = np.float32, np.int32
TILE = 4096  # environments taken together: what one loop writes is in the cache for the next
FARTHEST = 8192.0  # rad: up to here the turns times the first two parts of pi / 2 are exact
LIMIT = f(FARTHEST)
ZERO, A_QUARTER, HALF, ONE, TWO, THREE, FOUR, FOUR_THIRDS = f(0), f(0.25), f(0.5), f(1), f(2), f(3), f(4), f(4 / 3)
PER_QUARTER = f(2 / np.pi)
QUARTER_1, QUARTER_2, QUARTER_3 = f(1.5703125), f(4.837512969970703125e-4), f(7.54978995489188216e-8)
S1, S2, S3 = f(-1.6666654611e-1), f(8.3321608736e-3), f(-1.9515295891e-4)
C1, C2, C3 = f(4.166664568298827e-2), f(-1.388731625493765e-3), f(2.443315711809948e-5)
SATURATED = f(7.90531110763549805)  # beyond, the tangent is 1 to within rounding
A1, A3, A5 = f(4.89352455891786e-03), f(6.37261928875436e-04), f(1.48572235717979e-05)
A7, A9 = f(5.12229709037114e-08), f(-8.60467152213735e-11)
A11, A13 = f(2.00018790482477e-13), f(-2.76076847742355e-16)
B0, B2, B4, B6 = f(4.89352518554385e-03), f(2.26843463243900e-03), f(1.18534705686654e-04), f(1.19825839466702e-06)
NARROW = 8
"""Outputs that a layer may have to be taken row by row."""


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


@njit(**RELAXED)
def tangents(h):
    """Hyperbolic tangents (n,), in place."""
    for i in range(h.size):
        x = h[i]
        # NaN is kept: comparisons with it are false.
        x = SATURATED if x > SATURATED else x
        x = -SATURATED if x < -SATURATED else x
        s = x * x
        above = x * ((((((A13 * s + A11) * s + A9) * s + A7) * s + A5) * s + A3) * s + A1)
        h[i] = above / (((B6 * s + B4) * s + B2) * s + B0)


@njit(**RELAXED)
def _positive_parts(h):
    for i in range(h.size):
        h[i] = ZERO if h[i] < ZERO else h[i]


@njit(**RELAXED)
def _add(h, bias):
    for i in range(h.shape[0]):
        row = h[i]
        for j in range(bias.size):
            row[j] += bias[j]


@njit(**RELAXED)
def _few_outputs(x, weight, bias, out):
    """A layer (out, in) with few outputs, row by row: a product of matrices costs several times as much."""
    for i in range(x.shape[0]):
        row = x[i]
        for j in range(bias.size):
            total, w = ZERO, weight[j]
            for k in range(w.size):
                total += row[k] * w[k]
            out[i, j] = total + bias[j]


@njit(**RELAXED)
def _draw(z, uniform):
    """Action by inversion of the distribution function, and its log-probability; logits (k,) are written over."""
    if z.size == 2:
        gap = z[1] - z[0]
        small = math.exp(-abs(gap))
        upper = ONE / (ONE + small)
        chosen = uniform < (upper if gap >= ZERO else small * upper)
        gap = gap if chosen else -gap
        return np.int64(chosen), min(gap, ZERO) - math.log1p(small)
    top = z[0]
    for j in range(1, z.size):
        top = max(top, z[j])
    total = ZERO
    for j in range(z.size):
        z[j] -= top
        total += math.exp(z[j])
    # The product may round up to the total.
    place, height, chosen = uniform * total, ZERO, 0
    for j in range(z.size - 1):
        height += math.exp(z[j])
        chosen += height <= place
    return np.int64(chosen), z[chosen] - math.log(total)


@njit(**RELAXED)
def decide(parameters, sizes, tangent, obs, room, uniform, action, logp):
    """Draw an action for every row, and give its log-probability.

    parameters (all,): the weights of all layers, (out, in), then all biases; sizes (layers + 1,) of integers; tangent:
    whether the layers end in the hyperbolic tangent, or in the positive part; obs (n, sizes[0]); room (2, n times the
    widest layer); uniform, logp (n,); action (n,) int64.
    """
    rows, layers = obs.shape[0], sizes.size - 1
    of_weight, of_bias = 0, 0
    for layer in range(layers):
        of_bias += sizes[layer] * sizes[layer + 1]
    x = obs
    for layer in range(layers):
        width, out = sizes[layer], sizes[layer + 1]
        weight = parameters[of_weight : of_weight + width * out].reshape(out, width)
        bias = parameters[of_bias : of_bias + out]
        of_weight, of_bias = of_weight + width * out, of_bias + out
        flat = room[layer % 2, : rows * out]
        y = flat.reshape(rows, out)
        if out <= NARROW:
            _few_outputs(x, weight, bias, y)
        else:
            np.dot(x, weight.T, y)
            _add(y, bias)
        if layer < layers - 1:
            if tangent:
                tangents(flat)
            else:
                _positive_parts(flat)
        x = y
    for i in range(rows):
        action[i], logp[i] = _draw(x[i], uniform[i])


@njit(**OPTIONS)
def collect(t, policy, columns, uniform, states, elapsed, ended, numbers, last):
    """Steps from the t-th on, up to the first in which episodes end: which is next, and how many episodes ended.

    policy is (parameters (members, all), sizes, tangent, room), see ``decide``. The columns of the rollout are filled
    in: observation (T, n, 4), action, logp, reward, terminated, truncated (T, n), with members side by side in n.
    uniform (T, n). States (2, 4, n) and elapsed (2, n) before the t-th step are those of place t % 2. What remains is
    as for ``advance``; the number is -1 if an angle is too far for this code, before the step that is next.
    """
    parameters, sizes, tangent, room = policy
    observation, action, logp, reward, terminated, truncated = columns
    share = uniform.shape[1] // parameters.shape[0]
    while t < uniform.shape[0]:
        here, there = t % 2, 1 - t % 2
        state, seen = states[here], observation[t]
        for i in range(seen.shape[0]):
            for component in range(4):
                seen[i, component] = state[component, i]
        for member in range(parameters.shape[0]):
            own = slice(member * share, (member + 1) * share)
            rows = seen[own], room, uniform[t, own], action[t, own], logp[t, own]
            decide(parameters[member], sizes, tangent, *rows)
        made = states[there], reward[t], terminated[t], truncated[t], elapsed[there]
        finished = advance(state, action[t], elapsed[here], *made, ended, numbers, last)
        if finished < 0:
            return t, finished
        t += 1
        if finished:
            return t, finished
    return t, 0
