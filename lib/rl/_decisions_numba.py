"""Compiled decisions of a policy over counted actions, for few environments: float32, C-contiguous, one core.

A network and a draw for a few dozen rows are more calls than arithmetic in torch. Here they are one function, which
compiled loops of an environment call in turn. The hyperbolic tangent is a ratio of polynomials (that of Eigen,
Eigen/src/Core/MathFunctionsImpl.h), so that it vectorises: off by less than 4e-7.
"""

import math

import numpy as np
from numba import njit

__all__ = ["decide", "tangents"]

# Sums may be taken in another order, and products fused with sums; infinities and NaN keep their meaning.
OPTIONS = {"cache": True, "fastmath": {"contract", "nsz", "reassoc"}, "error_model": "numpy", "nogil": True}

NARROW = 8
"""Outputs that a layer may have to be taken row by row."""

f = np.float32
ZERO, ONE = f(0), f(1)
FARTHEST = f(7.90531110763549805)  # beyond, the tangent is 1 to within rounding
A1, A3, A5 = f(4.89352455891786e-03), f(6.37261928875436e-04), f(1.48572235717979e-05)
A7, A9 = f(5.12229709037114e-08), f(-8.60467152213735e-11)
A11, A13 = f(2.00018790482477e-13), f(-2.76076847742355e-16)
B0, B2, B4, B6 = f(4.89352518554385e-03), f(2.26843463243900e-03), f(1.18534705686654e-04), f(1.19825839466702e-06)


@njit(**OPTIONS)
def tangents(h):
    """Hyperbolic tangents (n,), in place."""
    for i in range(h.size):
        x = h[i]
        # NaN is kept: comparisons with it are false.
        x = FARTHEST if x > FARTHEST else x
        x = -FARTHEST if x < -FARTHEST else x
        s = x * x
        above = x * ((((((A13 * s + A11) * s + A9) * s + A7) * s + A5) * s + A3) * s + A1)
        h[i] = above / (((B6 * s + B4) * s + B2) * s + B0)


@njit(**OPTIONS)
def _positive_parts(h):
    for i in range(h.size):
        h[i] = ZERO if h[i] < ZERO else h[i]


@njit(**OPTIONS)
def _add(h, bias):
    for i in range(h.shape[0]):
        row = h[i]
        for j in range(bias.size):
            row[j] += bias[j]


@njit(**OPTIONS)
def _narrow(x, weight, bias, out):
    """A layer (out, in) with few outputs, row by row: a product of matrices costs several times as much."""
    for i in range(x.shape[0]):
        row = x[i]
        for j in range(bias.size):
            total, w = ZERO, weight[j]
            for k in range(w.size):
                total += row[k] * w[k]
            out[i, j] = total + bias[j]


@njit(**OPTIONS)
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


@njit(**OPTIONS)
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
            _narrow(x, weight, bias, y)
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
