"""Compiled loops of :mod:`lib.ssm.selective` and :mod:`lib.ssm.mamba1`: float32 or float64, C-contiguous, one core.

The innermost loops run over channels, which lie side by side, so states and rates come as (state, channels). Each such
loop touches few arrays: with many the compiler would have to prove too much about overlaps to vectorise it. Channels
are taken in blocks, so that the states of one chunk of the backward stay in cache. The exponential is 2^k times a
polynomial, so that it vectorises, too (relative error 2e-7 in float32, 4e-16 in float64); its argument is at most 0.

The last three functions are what one token of Mamba-1 meets between the linear maps, or with them: the halves of xz
(b, 2 d) are the projected token and its gate, those of xy (b, 2 d) the activated input of the scan and the gated
output.
"""

import numpy as np
from numba import njit, types
from numba.extending import overload

__all__ = ["backward", "convolve", "forward", "read", "step", "token"]

# Sums may be taken in another order and products fused with sums; infinities and NaN keep their meaning.
OPTIONS = {"cache": True, "fastmath": {"contract", "nsz", "reassoc"}, "error_model": "numpy", "nogil": True}

BLOCK = 128
# Beyond, a rate exp(A_log) or its inverse is no number in single precision.
LARGEST = 87
# Torch's softplus is the identity from here on.
LINEAR = 20

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
def _blocks(channels):
    """How many channels to take together, in equal parts of at most BLOCK."""
    parts = -(-channels // BLOCK)
    return -(-channels // parts)


@njit(**OPTIONS)
def _starts_anew(reset, i, t):
    return reset.shape[0] > 0 and reset[i, t]


@njit(**OPTIONS)
def _read(states, dt, rates, drive, write, read, y):
    """One cell of every channel moves on and is read."""
    for j in range(states.size):
        value = _exp(dt[j] * rates[j]) * states[j] + drive[j] * write
        states[j] = value
        y[j] += value * read


@njit(**OPTIONS)
def forward(x, dt, rates, B, C, reset, y, h, edges, chunk):
    """Outputs into y, states before each chunk into edges (if it has room), the last state into h (the first at call).

    x, dt, y (b, t, d), y zero at call; rates (n, d); B, C (b, t, n); reset (b, t) or empty; h (b, n, d);
    edges (chunks or 0, b, n, d).
    """
    batch, tokens, channels = x.shape
    drive = np.empty(channels, x.dtype)
    for i in range(batch):
        for t in range(tokens):
            if _starts_anew(reset, i, t):
                h[i] = 0
            # A chunk that starts anew keeps 0: what was before it takes no part in its gradient.
            if edges.shape[0] > 0 and t % chunk == 0:
                edges[t // chunk, i] = h[i]
            for j in range(channels):
                drive[j] = dt[i, t, j] * x[i, t, j]
            for k in range(rates.shape[0]):
                _read(h[i, k], dt[i, t], rates[k], drive, B[i, t, k], C[i, t, k], y[i, t])


@njit(**OPTIONS)
def _recall(before, dt, rates, drive, write, decay, after):
    """One cell of every channel moves on; its decay is kept."""
    for j in range(before.size):
        a = _exp(dt[j] * rates[j])
        decay[j] = a
        after[j] = a * before[j] + drive[j] * write


@njit(**OPTIONS)
def _dot(left, right):
    total = left[0] - left[0]
    for j in range(left.size):
        total += left[j] * right[j]
    return total


@njit(**OPTIONS)
def _receive(G, dy, read, write, drive, of_drive):
    """Add what the output hands back to the gradient of the state; returns the gradient of the write vector."""
    of_write = read - read
    for j in range(G.size):
        here = G[j] + dy[j] * read
        G[j] = here
        of_drive[j] += here * write
        of_write += drive[j] * here
    return of_write


@njit(**OPTIONS)
def _pass_on(G, decay, before, rates, of_step):
    """Carry the gradient of the state to the token before."""
    for j in range(G.size):
        carried = decay[j] * G[j]
        G[j] = carried
        of_step[j] += carried * before[j] * rates[j]


@njit(**OPTIONS)
def _collect(G, before, dt, of_rates):
    for j in range(G.size):
        of_rates[j] += G[j] * before[j] * dt[j]


@njit(**OPTIONS)
def backward(x, dt, rates, B, C, reset, edges, dy, dx, ddt, drates, dB, dC, carry, chunk):
    """Gradients, with drates, dB and dC zero at call; carry (b, n, d) is that of the last state, then of the first."""
    batch, tokens, channels = x.shape
    size = rates.shape[0]
    block = _blocks(channels)
    states = np.empty((chunk + 1, size, block), x.dtype)
    decay = np.empty((chunk, size, block), x.dtype)
    drive = np.empty((chunk, block), x.dtype)
    of_rates = np.empty((size, block), x.dtype)
    of_drive = np.empty(block, x.dtype)
    of_step = np.empty(block, x.dtype)
    for i in range(batch):
        for low in range(0, channels, block):
            high = min(low + block, channels)
            width = high - low
            for number in range(edges.shape[0] - 1, -1, -1):
                start = number * chunk
                end = min(start + chunk, tokens)
                states[0, :, :width] = edges[number, i, :, low:high]
                for t in range(start, end):
                    q = t - start
                    push, steps = drive[q, :width], dt[i, t, low:high]
                    for j in range(width):
                        push[j] = steps[j] * x[i, t, low + j]
                    anew = _starts_anew(reset, i, t)
                    if anew:
                        states[q] = 0
                    for k in range(size):
                        after = states[q + 1, k, :width]
                        _recall(
                            states[q, k, :width],
                            steps,
                            rates[k, low:high],
                            push,
                            B[i, t, k],
                            decay[q, k, :width],
                            after,
                        )
                        dC[i, t, k] += _dot(dy[i, t, low:high], after)
                    if anew:
                        decay[q] = 0
                of_rates[:] = 0
                for t in range(end - 1, start - 1, -1):
                    q = t - start
                    push, steps, signal = drive[q, :width], dt[i, t, low:high], dy[i, t, low:high]
                    of_drive[:] = 0
                    of_step[:] = 0
                    for k in range(size):
                        G, before = carry[i, k, low:high], states[q, k, :width]
                        dB[i, t, k] += _receive(G, signal, C[i, t, k], B[i, t, k], push, of_drive)
                        _pass_on(G, decay[q, k, :width], before, rates[k, low:high], of_step)
                        _collect(G, before, steps, of_rates[k])
                    for j in range(width):
                        dx[i, t, low + j] = of_drive[j] * steps[j]
                        ddt[i, t, low + j] = of_step[j] + of_drive[j] * x[i, t, low + j]
                drates[:, low:high] += of_rates[:, :width]


@njit(**OPTIONS)
def step(x, dt, A, B, C, D, h, after, y):
    """One token: x, dt, y (b, d); A (d, n); B, C (b, n); D (d,) or empty; h, after (b, d, n).

    Returns whether all steps are positive, all rates at most 0 and everything finite; the results hold only then.
    """
    batch, channels = x.shape
    size = A.shape[1]
    fine = True
    decay = np.empty((channels, size), x.dtype)
    every = decay.reshape(-1)
    for i in range(batch):
        write, read = B[i], C[i]
        for j in range(channels):
            step_size, rates, exponents = dt[i, j], A[j], decay[j]
            for k in range(size):
                exponents[k] = step_size * rates[k]
        wrong = every[0] - every[0]
        for m in range(every.size):
            exponent = every[m]
            wrong += abs(exponent) + exponent  # 0 unless one is positive or not finite
            every[m] = _exp(exponent)
        fine = fine and wrong == 0
        for j in range(channels):
            before, state, a = h[i, j], after[i, j], decay[j]
            drive = dt[i, j] * x[i, j]
            total = drive - drive
            for k in range(size):
                value = a[k] * before[k] + drive * write[k]
                state[k] = value
                total += value * read[k]
            if D.size > 0:
                total += D[j] * x[i, j]
            y[i, j] = total
            # Whatever else is not finite has reached the sum.
            fine = fine and dt[i, j] > 0 and np.isfinite(total)
    return fine


@njit(**OPTIONS)
def _silu(v, one):
    """v / (1 + exp(-v)); the 1 comes in the type of v, which it would widen otherwise."""
    e = _exp(-abs(v))
    return v * (one if v >= 0 else e) / (one + e)


@njit(**OPTIONS)
def convolve(xz, window, weight, bias, after, xy):
    """Convolve the token with the window before it, activate it, and move the window on.

    window, after (b, width - 1, d); weight (d, width); bias (d,).
    """
    batch, past, channels = window.shape
    out, one = np.empty(channels, xz.dtype), xz.dtype.type(1)
    for i in range(batch):
        for j in range(channels):
            out[j] = bias[j] + weight[j, past] * xz[i, j]
        for lag in range(past):
            for j in range(channels):
                out[j] += weight[j, lag] * window[i, lag, j]
            after[i, lag] = window[i, lag + 1] if lag + 1 < past else xz[i, :channels]
        for j in range(channels):
            xy[i, j] = _silu(out[j], one)


@njit(**OPTIONS)
def read(shortest, xz, raw, dt_bias, A_log, B, C, D, h, after, xy):
    """Take one step of the scan from x and write the gated output.

    Steps are softplus(raw + dt_bias), at least the shortest; raw (b, d), dt_bias (d,). A = -exp(A_log). Other arrays,
    and what is returned, as in :func:`lib.ssm._selective_numba.step`.
    """
    batch, channels = raw.shape
    x, y, dt, A = np.empty_like(raw), np.empty_like(raw), np.empty_like(raw), np.empty_like(A_log)
    rates, exponents = A.reshape(-1), A_log.reshape(-1)
    one, most = xz.dtype.type(1), xz.dtype.type(LARGEST)
    wrong = one - one
    for k in range(rates.size):
        v = exponents[k]
        beyond = abs(v) - most
        wrong += abs(beyond) + beyond  # 0 unless one is too large or not finite
        e = _exp(-abs(v))
        rates[k] = -(one / e if v > 0 else e)
    for i in range(batch):
        for j in range(channels):
            x[i, j] = xy[i, j]
            v = raw[i, j] + dt_bias[j]
            length = v if v > LINEAR else (v if v > 0 else v - v) + np.log1p(_exp(-abs(v)))
            dt[i, j] = shortest if length < shortest else length
    fine = step(x, dt, A, B, C, D, h, after, y)
    for i in range(batch):
        for j in range(channels):
            xy[i, channels + j] = y[i, j] * _silu(xz[i, channels + j], one)
    return fine and wrong == 0


@njit(**OPTIONS)
def _multiply(matrix, vector, out):
    for j in range(out.size):
        out[j] = _dot(matrix[j], vector)


@njit(**OPTIONS)
def token(
    shortest, u, in_proj, window, weight, bias, down, up, dt_bias, A_log, S_B, S_C, D, h, out_proj, moved, after, out
):
    """One token u (1, d_model) through the whole block; what is returned as in :func:`read`.

    The matrices are those of the linear maps: S_Delta = up @ down. The window moves to ``moved``, the state h to
    ``after``, and out has shape (1, d_model).
    """
    kind, channels = u.dtype, D.size
    xz, xy = np.empty((1, 2 * channels), kind), np.empty((1, 2 * channels), kind)
    short, raw = np.empty(len(down), kind), np.empty((1, channels), kind)
    B, C = np.empty((1, len(S_B)), kind), np.empty((1, len(S_C)), kind)
    _multiply(in_proj, u[0], xz[0])
    convolve(xz, window, weight, bias, moved, xy)
    x = xy[0, :channels]
    _multiply(down, x, short)
    _multiply(up, short, raw[0])
    _multiply(S_B, x, B[0])
    _multiply(S_C, x, C[0])
    fine = read(shortest, xz, raw, dt_bias, A_log, B, C, D, h, after, xy)
    _multiply(out_proj, xy[0, channels:], out[0])
    return fine
