"""Compiled loops of :mod:`lib.ssm.selective`: float32 or float64, C-contiguous, one core.

Forward and backward go through time in chunks and, inside a chunk, channel by channel: the states of one channel over
one chunk stay in the nearest cache, and the loops over the state vectorise. The exponential is 2^k times a polynomial,
so that it vectorises, too (relative error 2e-7 in float32, 4e-16 in float64); its argument is at most 0 here.
"""

import numpy as np
from numba import njit, types
from numba.extending import overload

__all__ = ["backward", "forward", "step"]

# Sums may be taken in another order and products fused with sums; infinities and NaN keep their meaning.
OPTIONS = {"cache": True, "fastmath": {"contract", "nsz", "reassoc"}, "error_model": "numpy", "nogil": True}

f = np.float32
ONE, HALF = f(1), f(0.5)
LOG2_E = f(1.4426950408889634)
# log 2 in two parts, the first with few bits, so that k times it is exact.
LOG2_HIGH, LOG2_LOW = f(0.693359375), f(-2.12194440e-4)
LOWEST = f(-87)
P0, P1, P2 = f(1.9875691500e-4), f(1.3981999507e-3), f(8.3334519073e-3)
P3, P4, P5 = f(4.1665795894e-2), f(1.6666665459e-1), f(5.0000001201e-1)

D_LOG2_E = 1.4426950408889634
D_LOG2_HIGH, D_LOG2_LOW = 6.93145751953125e-1, 1.42860682030941723212e-6
D_LOWEST = -708.0
T2, T3, T4, T5, T6, T7 = 1 / 2, 1 / 6, 1 / 24, 1 / 120, 1 / 720, 1 / 5040
T8, T9, T10, T11, T12, T13 = (1 / 40320, 1 / 362880, 1 / 3628800, 1 / 39916800, 1 / 479001600, 1 / 6227020800)


def _exp(x):
    """Exponential of a number that is at most 0, for use inside compiled loops."""
    return np.exp(x)


def _exp32(x):
    x = max(x, LOWEST)
    k = np.floor(x * LOG2_E + HALF)
    r = x - k * LOG2_HIGH - k * LOG2_LOW
    p = ((((P0 * r + P1) * r + P2) * r + P3) * r + P4) * r + P5
    p = p * r * r + r + ONE
    return p * np.int32((np.int32(k) + np.int32(127)) << np.int32(23)).view(np.float32)


def _exp64(x):
    x = max(x, D_LOWEST)
    k = np.floor(x * D_LOG2_E + 0.5)
    r = x - k * D_LOG2_HIGH - k * D_LOG2_LOW
    p = (((((T13 * r + T12) * r + T11) * r + T10) * r + T9) * r + T8) * r + T7
    p = (((((p * r + T6) * r + T5) * r + T4) * r + T3) * r + T2) * r * r + r + 1.0
    return p * np.int64((np.int64(np.int32(k)) + np.int64(1023)) << np.int64(52)).view(np.float64)


# Compiled by itself: taken in another order, the sums of the reduction would lose what its two parts are for.
@overload(_exp, jit_options={"fastmath": {"contract"}, "error_model": "numpy"})
def _exp_of_type(x):
    return _exp32 if x == types.float32 else _exp64


@njit(**OPTIONS)
def _starts_anew(reset, i, t):
    return reset.shape[0] > 0 and reset[i, t]


@njit(**OPTIONS)
def forward(x, dt, A, B, C, reset, y, h, edges, chunk):
    """Outputs into y, states before each chunk into edges (if it has room), the last state into h (the first at call).

    x, dt, y (b, t, d); A (d, n); B, C (b, t, n); reset (b, t) or empty; h (b, d, n); edges (chunks or 0, b, d, n).
    """
    batch, tokens, channels = x.shape
    size = A.shape[1]
    for i in range(batch):
        for start in range(0, tokens, chunk):
            end = min(start + chunk, tokens)
            if edges.shape[0] > 0:
                edges[start // chunk, i] = h[i]
            for j in range(channels):
                state, rates = h[i, j], A[j]
                for t in range(start, end):
                    if _starts_anew(reset, i, t):
                        state[:] = 0
                    step_size = dt[i, t, j]
                    drive = step_size * x[i, t, j]
                    write, read = B[i, t], C[i, t]
                    total = drive - drive
                    for k in range(size):
                        value = _exp(step_size * rates[k]) * state[k] + drive * write[k]
                        state[k] = value
                        total += value * read[k]
                    y[i, t, j] = total


@njit(**OPTIONS)
def backward(x, dt, A, B, C, reset, edges, dy, dx, ddt, dA, dB, dC, carry, chunk):
    """Gradients; dA, dB and dC are zero at call, carry holds the gradient of the last state, then of the first."""
    batch, tokens, channels = x.shape
    size = A.shape[1]
    states = np.empty((chunk + 1, size), x.dtype)
    decay = np.empty((chunk, size), x.dtype)
    of_rates = np.empty(size, x.dtype)
    for i in range(batch):
        for number in range(edges.shape[0] - 1, -1, -1):
            start = number * chunk
            end = min(start + chunk, tokens)
            for j in range(channels):
                rates, G = A[j], carry[i, j]
                states[0] = edges[number, i, j]
                for t in range(start, end):
                    step_size, g = dt[i, t, j], dy[i, t, j]
                    drive = step_size * x[i, t, j]
                    write, dread = B[i, t], dC[i, t]
                    a, before, after = decay[t - start], states[t - start], states[t - start + 1]
                    for k in range(size):
                        a[k] = _exp(step_size * rates[k])
                        after[k] = a[k] * before[k] + drive * write[k]
                    if _starts_anew(reset, i, t):
                        for k in range(size):
                            a[k] = 0
                            after[k] = drive * write[k]
                    for k in range(size):
                        dread[k] += g * after[k]
                of_rates[:] = 0
                # Two short loops and not one long one: a loop over many arrays is not vectorised.
                for t in range(end - 1, start - 1, -1):
                    step_size, signal, g = dt[i, t, j], x[i, t, j], dy[i, t, j]
                    drive = step_size * signal
                    write, read, dwrite = B[i, t], C[i, t], dB[i, t]
                    of_drive = drive - drive
                    for k in range(size):
                        here = G[k] + g * read[k]
                        of_drive += here * write[k]
                        dwrite[k] += drive * here
                        G[k] = here
                    a, before = decay[t - start], states[t - start]
                    of_step = drive - drive
                    for k in range(size):
                        carried = a[k] * G[k]
                        G[k] = carried
                        of_log = carried * before[k]
                        of_step += of_log * rates[k]
                        of_rates[k] += of_log * step_size
                    dx[i, t, j] = of_drive * step_size
                    ddt[i, t, j] = of_step + of_drive * signal
                for k in range(size):
                    dA[j, k] += of_rates[k]


@njit(**OPTIONS)
def step(x, dt, A, B, C, D, h, after, y):
    """One token: x, dt, y (b, d); A (d, n); B, C (b, n); D (d,) or empty; h, after (b, d, n).

    Returns whether all steps are positive, all rates at most 0 and everything finite; the results hold only then.
    """
    batch, channels = x.shape
    size = A.shape[1]
    fine = True
    for j in range(channels):
        rates = A[j]
        wrong = rates[0] - rates[0]
        for k in range(size):
            wrong += abs(rates[k]) + rates[k]  # 0 unless the rate is positive or not finite
        fine = fine and wrong == 0
    for i in range(batch):
        write, read = B[i], C[i]
        for j in range(channels):
            before, state, rates = h[i, j], after[i, j], A[j]
            step_size = dt[i, j]
            drive = step_size * x[i, j]
            total = drive - drive
            for k in range(size):
                value = _exp(step_size * rates[k]) * before[k] + drive * write[k]
                state[k] = value
                total += value * read[k]
            if D.size > 0:
                total += D[j] * x[i, j]
            y[i, j] = total
            fine = fine and step_size > 0 and np.isfinite(total)
    return fine
