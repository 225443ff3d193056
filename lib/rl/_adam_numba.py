"""Compiled step of :class:`lib.rl.optimizer.Adam`: float32 or float64, one core."""

import math

from numba import njit

__all__ = ["step"]

# The sum of squares may be taken in another order, and products fused with sums; NaN keeps its meaning.
OPTIONS = {"cache": True, "fastmath": {"contract", "nsz", "reassoc"}, "error_model": "numpy", "nogil": True}


@njit(**OPTIONS)
def step(data, grad, first, second, count, rates, active, max_norm, eps, beta_1, beta_2, norms):
    """One step of every member whose ``active`` is not 0.

    data, grad, first, second (members, parameters); count, rates, active, norms (members,); max_norm may be infinite.
    The gradient is not changed.
    """
    one = data.dtype.type(1)
    for member in range(data.shape[0]):
        here, slope, mean, square = data[member], grad[member], first[member], second[member]
        total = 0.0
        for i in range(slope.size):
            total += slope[i] * slope[i]
        norm = math.sqrt(total)
        norms[member] = norm
        if active[member] == 0:
            continue
        count[member] += one
        # 1 - beta ** count, without the cancellation of early steps.
        seen = -math.expm1(count[member] * math.log(beta_1))
        seen_squares = -math.expm1(count[member] * math.log(beta_2))
        ratio = max_norm / (norm + 1e-6)
        # Without a largest norm nothing is scaled, not even where the sum of squares is infinite.
        scale = data.dtype.type(one if ratio > 1 or math.isinf(max_norm) else ratio)
        keep, keep_squares = data.dtype.type(1 - beta_1), data.dtype.type(1 - beta_2)
        pace = data.dtype.type(rates[member] / seen)
        inverse, floor = data.dtype.type(1 / seen_squares), data.dtype.type(eps)
        for i in range(slope.size):
            g = slope[i] * scale
            mean[i] += keep * (g - mean[i])
            square[i] += keep_squares * (g * g - square[i])
            here[i] -= pace * mean[i] / (math.sqrt(square[i] * inverse) + floor)
