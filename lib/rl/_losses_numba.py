"""Compiled losses of a tile of transitions with their slopes: float32 or float64, C-contiguous, one core.

They are those of :mod:`lib.rl._slopes` and of :func:`lib.rl._categorical.score_vjp`, in one pass over the transitions.
"""

import math

import numpy as np
from numba import njit

__all__ = ["climb", "fit"]

OPTIONS = {"cache": True, "error_model": "numpy", "nogil": True}


@njit(**OPTIONS)
def climb(logits, action, logp_old, anchor, adv, numbers, slopes, sums):
    """Losses of a policy over k counted actions, and slopes in its logits.

    logits, slopes (members, k, n); action, logp_old, anchor, adv (members, n), where anchor is logp_old if there is
    none; numbers (3,) are the clip and the weights of a transition's clipped objective and of its entropy; sums
    (4, members) becomes those of policy losses, entropies, divergences from the behaviour and clipped ratios.
    """
    clip, weight, weight_of_entropy = numbers[0], numbers[1], numbers[2]
    zero, one = numbers.dtype.type(0), numbers.dtype.type(1)
    choices, count = logits.shape[1:]
    normalizer, entropy, of_logp = np.empty((3, count), numbers.dtype)
    for member in range(logits.shape[0]):
        z, slope = logits[member], slopes[member]
        _softmax(z, slope, normalizer, entropy)
        for i in range(count):
            chosen = action[member, i]
            logp, before, base = z[chosen, i] - normalizer[i], logp_old[member, i], anchor[member, i]
            change = math.expm1(logp - before)
            beyond = change if base == before else math.expm1(logp - base)
            gain = adv[member, i] if base == before else adv[member, i] * math.exp(base - before)
            held = min(max(one + beyond, one - clip), one + clip) * gain
            gain *= one + beyond
            of_logp[i] = zero if gain > held else -gain * weight
            sums[0, member] -= held if gain > held else gain
            sums[1, member] += entropy[i]
            sums[2, member] += change - (logp - before)
            sums[3, member] += abs(beyond) > clip
        # d log p_a / d z_j = [a = j] - p_j, and d H / d z_j = -p_j (log p_j + H).
        for j in range(choices):
            _turn(z[j], slope[j], normalizer, entropy, of_logp, weight_of_entropy)
        for i in range(count):
            slope[action[member, i], i] += of_logp[i]


@njit(**OPTIONS)
def _softmax(z, p, normalizer, entropy):
    """Probabilities of logits (k, n), logarithms of the sums of their exponentials, and entropies."""
    for i in range(z.shape[1]):
        top = z[0, i]
        for j in range(1, z.shape[0]):
            top = max(top, z[j, i])
        normalizer[i] = top
    entropy[:] = 0
    for j in range(z.shape[0]):
        for i in range(z.shape[1]):
            p[j, i] = math.exp(z[j, i] - normalizer[i])
            entropy[i] += p[j, i]
    for j in range(z.shape[0]):
        for i in range(z.shape[1]):
            p[j, i] /= entropy[i]
    for i in range(z.shape[1]):
        normalizer[i] += math.log(entropy[i])
    entropy[:] = 0
    for j in range(z.shape[0]):
        for i in range(z.shape[1]):
            entropy[i] -= p[j, i] * (z[j, i] - normalizer[i])


@njit(**OPTIONS)
def _turn(z, p, normalizer, entropy, of_logp, weight_of_entropy):
    for i in range(z.size):
        p[i] *= -(of_logp[i] + weight_of_entropy * (z[i] - normalizer[i] + entropy[i]))


@njit(**OPTIONS)
def fit(value, returns, value_old, slopes, numbers, sums):
    """Half the squared errors of values, and slopes in them.

    value, returns, value_old, slopes (members, n); numbers (2,) are the clip, infinite without one, and the weight of a
    transition; sums (members,) becomes those of the losses.
    """
    clip, weight = numbers[0], numbers[1]
    for member in range(value.shape[0]):
        for i in range(value.shape[1]):
            error = value[member, i] - returns[member, i]
            moved = value[member, i] - value_old[member, i]
            near = value_old[member, i] + min(max(moved, -clip), clip) - returns[member, i]
            flat = abs(moved) > clip and abs(near) > abs(error)
            slopes[member, i] = numbers.dtype.type(0) if flat else error * weight
            sums[member] += (near * near if flat else error * error) * 0.5
