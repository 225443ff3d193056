"""Compiled loops of :mod:`lib.field_steps`: float32, C-contiguous (replicas, rows, columns), one core.

Each step reads one field and writes another (Jacobi). A row of work space holds one entry more at either end, so that
the inner loops run over plain neighbours and vectorise. Sums of four sines use the addition theorem,

    sum_j sin(t_j - t) = cos t * sum_j sin t_j - sin t * sum_j cos t_j,

so each site needs its sine and cosine once, whatever the number of neighbours.
"""

import numpy as np
from numba import njit

__all__ = ["asynchronous_kuramoto", "diffuse", "kuramoto"]

# Products may be fused with sums; nothing else about floating point is relaxed.
OPTIONS = {"cache": True, "fastmath": {"contract"}, "error_model": "numpy", "nogil": True}

f = np.float32
ONE = f(1)
TWO = f(2)
HALF = f(0.5)
TURN = f(2 * np.pi)
PER_TURN = f(1 / (2 * np.pi))
# sin x / x and cos x as polynomials in x^2, least squares on |x| <= pi / 2; errors below 1e-9 before rounding.
S1, S2, S3, S4 = f(-1.66666666e-1), f(8.3333304202e-3), f(-1.9840796485e-4), f(2.7522303359e-6)
C1, C2, C3, C4 = f(-4.9999999535e-1), f(4.1666640258e-2), f(-1.3888398351e-3), f(2.4761655690e-5)
S5, C5 = f(-2.3841987654e-8), f(-2.6073480081e-7)


@njit(**OPTIONS)
def _sine_and_cosine(theta, sines, cosines):
    """Of one row of phases, with the row's last entry before its first and its first after its last."""
    columns = theta.size
    for j in range(columns):
        phase = theta[j]
        half = HALF * (phase - TURN * np.rint(phase * PER_TURN))
        square = half * half
        s = half * (ONE + square * (S1 + square * (S2 + square * (S3 + square * (S4 + square * S5)))))
        c = ONE + square * (C1 + square * (C2 + square * (C3 + square * (C4 + square * C5))))
        sines[j + 1] = TWO * s * c
        cosines[j + 1] = ONE - TWO * s * s
    sines[0], sines[columns + 1] = sines[columns], sines[1]
    cosines[0], cosines[columns + 1] = cosines[columns], cosines[1]


@njit(inline="always")
def _moved(theta, drive, pull):
    """A phase after its step, back in [-pi, pi]."""
    after = theta + (drive + pull)
    return after - TURN * np.rint(after * PER_TURN)


@njit(**OPTIONS)
def _kuramoto_row(theta, omega, after, s0, s1, s2, c0, c1, c2, strength, dt):
    for j in range(theta.size):
        s = (s0[j + 1] + s2[j + 1]) + (s1[j] + s1[j + 2])
        c = (c0[j + 1] + c2[j + 1]) + (c1[j] + c1[j + 2])
        after[j] = _moved(theta[j], dt * omega[j], strength * (c1[j + 1] * s - s1[j + 1] * c))


@njit(**OPTIONS)
def _first_rows(field, sines, cosines):
    """Fill the work space for row 0: row i of the lattice lies in row i % 3 of it, the last row in row 2."""
    _sine_and_cosine(field[field.shape[0] - 1], sines[2], cosines[2])
    _sine_and_cosine(field[0], sines[0], cosines[0])


@njit(**OPTIONS)
def _row_of_field(field, i, omega, out, sines, cosines, strength, dt):
    """Step row i of a field; its own row and the one above stand in the work space already."""
    above, here, below = (i + 2) % 3, i % 3, (i + 1) % 3
    _sine_and_cosine(field[(i + 1) % field.shape[0]], sines[below], cosines[below])
    _kuramoto_row(
        field[i],
        omega,
        out,
        sines[above],
        sines[here],
        sines[below],
        cosines[above],
        cosines[here],
        cosines[below],
        strength,
        dt,
    )


@njit(**OPTIONS)
def kuramoto(theta, omega, out, strength, dt):
    """out = theta + dt omega + strength * (sum of sines over four neighbours), wrapped."""
    replicas, rows, columns = theta.shape
    sines = np.empty((3, columns + 2), np.float32)
    cosines = np.empty((3, columns + 2), np.float32)
    for replica in range(replicas):
        field = theta[replica]
        _first_rows(field, sines, cosines)
        for i in range(rows):
            _row_of_field(field, i, omega[replica, i], out[replica, i], sines, cosines, strength, dt)


@njit(inline="always")
def _scramble(x):
    """PCG's permutation of 32-bit integers."""
    state = np.uint32(x * np.uint32(747796405) + np.uint32(2891336453))
    shift = np.uint32(np.uint32(state >> np.uint32(28)) + np.uint32(4))
    word = np.uint32(np.uint32(np.uint32(state >> shift) ^ state) * np.uint32(277803737))
    return np.uint32(np.uint32(word >> np.uint32(22)) ^ word)


@njit(**OPTIONS)
def _draw_row(first, key, draws):
    """The draws of a row of sites, highest bit flipped."""
    for j in range(draws.size):
        drawn = _scramble(np.uint32(_scramble(np.uint32(first + np.uint32(j))) ^ key))
        draws[j] = np.int32(drawn ^ np.uint32(0x80000000))


@njit(**OPTIONS)
def _select_row(draws, limit, theta, after, counts):
    """Give sites whose clock does not tick their old phase back; count the ticks of the others."""
    for j in range(theta.size):
        ticks = draws[j] <= limit[j]
        old, new = theta[j], after[j]
        after[j] = new if ticks else old
        counts[j] = counts[j] + (np.int32(1) if ticks else np.int32(0))


@njit(**OPTIONS)
def asynchronous_kuramoto(theta, omega, out, strength, dt, limit, keys, counts):
    """As :func:`kuramoto` for the sites whose hash of (key, site) is at most their limit; the others stay."""
    replicas, rows, columns = theta.shape
    sines = np.empty((3, columns + 2), np.float32)
    cosines = np.empty((3, columns + 2), np.float32)
    draws = np.empty(columns, np.int32)
    for replica in range(replicas):
        field = theta[replica]
        limits = limit[replica if limit.shape[0] > 1 else 0]
        _first_rows(field, sines, cosines)
        for i in range(rows):
            _row_of_field(field, i, omega[replica, i], out[replica, i], sines, cosines, strength, dt)
            _draw_row(np.uint32(i * columns), keys[replica], draws)
            _select_row(
                draws,
                limits[i if limits.shape[0] > 1 else 0],
                field[i],
                out[replica, i],
                counts[replica, i],
            )


@njit(**OPTIONS)
def diffuse(x, out, keep, share):
    """out = keep * x + share * (sum of four neighbours)."""
    replicas, rows, columns = x.shape
    for replica in range(replicas):
        for i in range(rows):
            above, here, below = x[replica, i - 1], x[replica, i], x[replica, (i + 1) % rows]
            after = out[replica, i]
            last = columns - 1
            after[0] = keep * here[0] + share * ((above[0] + below[0]) + (here[last] + here[1 % columns]))
            for j in range(1, last):
                after[j] = keep * here[j] + share * ((above[j] + below[j]) + (here[j - 1] + here[j + 1]))
            after[last] = keep * here[last] + share * ((above[last] + below[last]) + (here[last - 1] + here[0]))
