"""Shares of a whole over time: projection to a simplex, speed along the way, entropies, and a test for a trend.

A series of distributions P (times, classes) is a walk on the simplex. Its speed is the Fisher-Rao distance of
successive points per unit of time; see :mod:`lib.fisher_rao` for the distance.

Sources: the measures follow Herho et al., arXiv:2603.13715; the trend test H. B. Mann, Econometrica 13 (1945) 245 and
M. G. Kendall, *Rank correlation methods* (1975).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lib import checks
from lib.fisher_rao import distributions, fisher_rao_distance, kullback_leibler

__all__ = [
    "MannKendall",
    "mann_kendall",
    "renyi_entropy",
    "shannon_entropy",
    "step_divergence",
    "ternary_coordinates",
    "to_simplex",
    "trajectory_speed",
]


def to_simplex(
    fractions,
    classes: Sequence[Hashable],
    grouping: Mapping[Hashable, str],
    corners: Sequence[str] | None = None,
) -> Tensor:
    """Sum the shares of classes into groups and rescale what is left to 1.

    Parameters
    ----------
    fractions : array_like, (..., classes)
        Shares or counts of the classes, at least 0.
    classes : sequence
        Labels of the last dimension, such as codes or names.
    grouping : mapping
        Label to corner. A class that is not mentioned is left out.
    corners : sequence of str, optional
        Order of the corners; None: the order in which ``grouping`` first names them.

    Returns
    -------
    Tensor, (..., corners)
        Distributions.

    Raises
    ------
    ValueError
        If a share is negative, labels and shares differ in number, the grouping names an unknown class or a corner
        beyond ``corners``, or nothing is left.

    Examples
    --------
    Water is left out; trees and grass are one corner.

    >>> grouping = {"trees": "green", "grass": "green", "built": "grey"}
    >>> to_simplex([0.6, 0.1, 0.1, 0.2], ["water", "trees", "grass", "built"], grouping).tolist()
    [0.5, 0.5]
    """
    (fractions,) = checks.tensors(fractions=fractions)
    classes = _labels("classes", classes)
    checks.shape("fractions", fractions, len(classes))
    checks.require(fractions >= 0, "fractions must be at least 0", fractions)
    if not isinstance(grouping, Mapping) or not grouping:
        raise ValueError(f"grouping must map classes to corners, got {checks.describe(grouping)}")
    unknown = [label for label in grouping if label not in classes]
    if unknown:
        raise ValueError(f"grouping must name classes among {classes}, got {unknown[0]!r}")
    order = _labels("corners", _distinct(grouping.values()) if corners is None else corners)
    beyond = [corner for corner in grouping.values() if corner not in order]
    if beyond:
        raise ValueError(f"grouping must name corners among {order}, got {beyond[0]!r}")
    member = fractions.new_zeros(len(classes), len(order))
    for label, corner in grouping.items():
        member[classes.index(label), order.index(corner)] = 1
    grouped = fractions @ member
    total = grouped.sum(dim=-1, keepdim=True)
    checks.require(total > 0, "fractions must leave a share above 0 in the classes of the grouping", total)
    checks.require(total.isfinite(), "fractions must have a sum within the range of their type", total)
    return grouped / total


def trajectory_speed(P, years) -> dict[str, Tensor]:
    """Fisher-Rao speed of a series of distributions, and what it adds up to.

    Parameters
    ----------
    P : array_like, (..., times, n)
        Distributions, at least two.
    years : array_like, (times,)
        When, strictly rising; any unit of time.

    Returns
    -------
    dict of Tensor
        ``speed`` (..., times - 1), radians per unit of time; ``steps`` (..., times - 1), radians; ``arc`` (...), their
        sum; ``displacement`` (...), the distance of the last point from the first; ``sinuosity`` (...), arc over
        displacement, at least 1 (1 where nothing moves, infinite for a round trip); ``threshold`` (...), mean speed
        plus one standard deviation (ddof 1); ``pulses`` (..., times - 1), true where the speed exceeds it (an excess
        within rounding is none).

    Raises
    ------
    ValueError
        If P is not a series of distributions, or years do not rise or differ from it in length.

    Examples
    --------
    >>> walk = trajectory_speed([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]], [2017, 2018, 2020])
    >>> walk["speed"]
    tensor([1.5708, 0.7854], dtype=torch.float64)
    >>> round(float(walk["sinuosity"]), 9)
    1.0
    """
    (P,) = _series(P)
    (years,) = checks.tensors(years=years)
    if years.shape != P.shape[-2:-1]:
        raise ValueError(f"years must have shape ({P.shape[-2]},), one for each time of P, got {tuple(years.shape)}")
    duration = years.diff()
    checks.require(duration > 0, "years must rise from one entry to the next, but a step", duration)
    duration = duration.to(dtype=P.dtype, device=P.device)
    steps = fisher_rao_distance(P[..., 1:, :], P[..., :-1, :])
    speed = steps / duration
    arc = steps.sum(dim=-1)
    displacement = fisher_rao_distance(P[..., -1, :], P[..., 0, :])
    moved = torch.where(displacement > 0, displacement, torch.ones_like(displacement))
    ratio = torch.where(arc > 0, torch.full_like(arc, math.inf), torch.ones_like(arc))
    mean = speed.mean(dim=-1)
    count = speed.shape[-1]
    variance = (speed - mean[..., None]).square().sum(dim=-1) / max(count - 1, 1)
    threshold = mean + variance.sqrt()
    # A walk at constant speed deviates from its mean by rounding alone, some of it by more than the rest.
    rounding = 64 * torch.finfo(P.dtype).eps / duration
    return {
        "speed": speed,
        "steps": steps,
        "arc": arc,
        "displacement": displacement,
        "sinuosity": torch.where(displacement > 0, arc / moved, ratio),
        "threshold": threshold,
        "pulses": (speed > threshold[..., None]) & (speed > mean[..., None] + rounding),
    }


def ternary_coordinates(P) -> Tensor:
    """Place distributions over three classes in an equilateral triangle with sides of 1.

    Parameters
    ----------
    P : array_like, (..., 3)
        Distributions; the corners lie at (0, 0), (1, 0) and (1/2, sqrt(3)/2).

    Returns
    -------
    Tensor, (..., 2)
        Horizontal and vertical position.

    Raises
    ------
    ValueError
        If P is no distribution over three classes.

    Examples
    --------
    >>> ternary_coordinates([0.0, 0.5, 0.5])
    tensor([0.7500, 0.4330], dtype=torch.float64)
    """
    (P,) = distributions(P=P)
    checks.shape("P", P, 3)
    return torch.stack([P[..., 1] + P[..., 2] / 2, P[..., 2] * (math.sqrt(3) / 2)], dim=-1)


def shannon_entropy(p) -> Tensor:
    """Shannon entropy, minus the sum of p ln p.

    Parameters
    ----------
    p : array_like, (..., n)
        Distributions.

    Returns
    -------
    Tensor, (...)
        In nats, from 0 (one class) to ln n (all alike).

    Raises
    ------
    ValueError
        If p is no distribution.

    Examples
    --------
    >>> round(float(shannon_entropy([0.5, 0.5, 0.0])), 6)
    0.693147
    """
    (p,) = distributions(p=p)
    present = torch.where(p > 0, p, 1.0)  # 1 ln 1 = 0; xlogy has the gradient NaN at 0
    return 0 - (present * present.log()).sum(dim=-1)  # 0, not -0, for a single class


def renyi_entropy(p, alpha) -> Tensor:
    """Renyi entropy of order alpha, ln(sum of p^alpha) / (1 - alpha).

    Parameters
    ----------
    p : array_like, (..., n)
        Distributions.
    alpha : array_like, () or (orders,)
        At least 0. Order 0 counts the classes present, order 1 is Shannon's entropy, high orders see the largest class.

    Returns
    -------
    Tensor, (...) or (..., orders)
        In nats; falls with alpha.

    Raises
    ------
    ValueError
        If p is no distribution, or alpha is negative or has more than one dimension.

    Examples
    --------
    >>> renyi_entropy([0.5, 0.25, 0.25, 0.0], [0, 1, 2])
    tensor([1.0986, 1.0397, 0.9808], dtype=torch.float64)
    """
    p, alpha = checks.tensors(p=p, alpha=alpha)
    (p,) = distributions(p=p)
    if alpha.dim() > 1 or alpha.numel() == 0:
        raise ValueError(f"alpha must be a number or have shape (orders,), got {tuple(alpha.shape)}")
    checks.require(alpha >= 0, "alpha must be at least 0", alpha)
    orders = alpha[..., None]
    if alpha.dim():
        p = p.unsqueeze(-2)
    present = p > 0
    log_p = torch.where(present, p, torch.ones_like(p)).log()
    excess = orders - 1
    # Near order 1 the sum is 1 and its logarithm all rounding: there the small difference from 1 is summed instead.
    nearby = excess.abs()[..., 0] < 0.5
    difference = (p * torch.expm1(torch.where(excess.abs() < 0.5, excess, 0.0) * log_p)).sum(dim=-1)
    power = torch.where(present, orders * log_p, torch.full_like(log_p, -math.inf))
    log_sum = torch.where(nearby, torch.log1p(difference), power.logsumexp(dim=-1))
    excess = excess[..., 0]
    shannon = -(p * log_p).sum(dim=-1)
    return torch.where(excess == 0, shannon, -log_sum / torch.where(excess == 0, torch.ones_like(excess), excess))


def step_divergence(P) -> Tensor:
    """Kullback-Leibler divergence of every distribution of a series from the one before it.

    Parameters
    ----------
    P : array_like, (..., times, n)
        Distributions, at least two.

    Returns
    -------
    Tensor, (..., times - 1)
        The sum of p(t + 1) ln(p(t + 1) / p(t)), in nats; infinite where a new class appears.

    Raises
    ------
    ValueError
        If P is not a series of distributions.

    Examples
    --------
    >>> step_divergence([[0.5, 0.5], [0.5, 0.5], [1.0, 0.0]])
    tensor([0.0000, 0.6931], dtype=torch.float64)
    """
    (P,) = _series(P)
    return kullback_leibler(P[..., 1:, :], P[..., :-1, :])


class MannKendall(NamedTuple):
    """Result of :func:`mann_kendall`, each of shape (...).

    Attributes
    ----------
    s : Tensor
        Pairs that rise minus pairs that fall.
    tau : Tensor
        Kendall's tau-b of the values with time, in [-1, 1]; 0 when all values are equal.
    z : Tensor
        Standardised s, with the continuity correction.
    p : Tensor
        Probability, without a trend, of an s at least as far from 0.
    """

    s: Tensor
    tau: Tensor
    z: Tensor
    p: Tensor


def mann_kendall(x, exact: bool = False) -> MannKendall:
    """Test a series for a monotone trend (two-sided).

    Parameters
    ----------
    x : array_like, (..., times)
        Values in the order of time, at least three.
    exact : bool
        Count the orders of the values instead of using the normal approximation; only without equal values. For fewer
        than about ten values the approximation is rough.

    Returns
    -------
    MannKendall

    Raises
    ------
    ValueError
        If x has fewer than three values in a series, or ``exact`` is asked for with equal values.

    Examples
    --------
    >>> trend = mann_kendall([1.0, 2.0, 4.0, 3.0, 5.0])
    >>> float(trend.s), float(trend.tau)
    (8.0, 0.8)
    >>> round(float(mann_kendall([1.0, 2.0, 3.0, 4.0], exact=True).p), 6)
    0.083333
    """
    (x,) = checks.tensors(x=x)
    exact = checks.flag("exact", exact)
    if x.dim() == 0 or x.shape[-1] < 3:
        raise ValueError(f"x must hold at least 3 values in its last dimension, got shape {tuple(x.shape)}")
    times = x.shape[-1]
    sign = (x[..., None, :] - x[..., :, None]).sign()
    s = sign.triu(diagonal=1).sum(dim=(-2, -1))
    pairs = times * (times - 1) / 2
    # Every member of a tie of k values sees k values like itself; the sum over the tie of (k - 1)(2 k + 5) is
    # Kendall's k (k - 1)(2 k + 5).
    alike = (sign == 0).to(x.dtype).sum(dim=-1)
    variance = (times * (times - 1) * (2 * times + 5) - ((alike - 1) * (2 * alike + 5)).sum(dim=-1)) / 18
    untied = pairs - (alike - 1).sum(dim=-1) / 2
    varies = variance > 0
    z = (s - s.sign()) / torch.where(varies, variance, torch.ones_like(variance)).sqrt()
    tau = s / (pairs * torch.where(varies, untied, torch.full_like(untied, pairs))).sqrt()
    p = torch.erfc(z.abs() / math.sqrt(2))
    if exact:
        checks.require((alike == 1).all(dim=-1), "exact must be False for an x with equal values; it is True here")
        p = _tail(times).to(dtype=x.dtype, device=x.device)[s.abs().long()]
    return MannKendall(s, tau, z, p)


def _tail(times: int) -> Tensor:
    """Probability that s of a random order is at least so far from 0, for each distance from 0 to the largest."""
    # The number of orders with k inversions: one more value can be put in front of 0 to `size` of the others.
    ways = [1]
    for size in range(1, times):
        up_to = [0] * (size + 1) + list(itertools.accumulate(ways + [0] * size))
        ways = [above - below for above, below in zip(up_to[size + 1 :], up_to)]
    pairs = times * (times - 1) // 2
    at = [0] * (pairs + 1)
    for inversions, count in enumerate(ways):
        at[abs(pairs - 2 * inversions)] += count
    beyond = list(itertools.accumulate(reversed(at)))[::-1]
    total = math.factorial(times)
    return torch.tensor([count / total for count in beyond], dtype=torch.float64)


def _distinct(corners) -> list:
    """Corners in the order in which they are first named."""
    try:
        return list(dict.fromkeys(corners))
    except TypeError as problem:  # a corner without a hash
        raise ValueError(f"grouping must map classes to names of corners, got {list(corners)}") from problem


def _labels(name: str, labels) -> list:
    """Read labels that are all different."""
    if isinstance(labels, str) or not isinstance(labels, Sequence) or len(labels) == 0:
        raise ValueError(f"{name} must be a list of labels, got {checks.describe(labels)}")
    try:
        different = len(set(labels)) == len(labels)
    except TypeError:  # a label without a hash
        different = False
    if not different:
        raise ValueError(f"{name} must be a list of different labels, got {checks.describe(labels)}")
    return list(labels)


def _series(P) -> list[Tensor]:
    P = distributions(P=P)
    if P[0].dim() < 2 or P[0].shape[-2] < 2:
        raise ValueError(f"P must hold at least two distributions, shape (..., times, n), got {tuple(P[0].shape)}")
    return P
