"""Compiled loops of :mod:`lib.ssm.mamba1`: what one token meets between the linear maps, or with them.

All arrays are C-contiguous and share float32 or float64. The halves of xz (b, 2 d) are the projected token and its
gate, those of xy (b, 2 d) the activated input of the scan and the gated output.
"""

import numpy as np
from numba import njit

from lib.ssm._selective_numba import OPTIONS, _dot, _exp, step

__all__ = ["convolve", "read", "token"]

# Beyond, a rate exp(A_log) or its inverse is no number in single precision.
LARGEST = 87
# Torch's softplus is the identity from here on.
LINEAR = 20


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
