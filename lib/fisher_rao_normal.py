"""Fisher-Rao distance and geodesics of normal distributions on the line.

With the Fisher information as metric, mean / sqrt(2) and standard deviation are the coordinates of a half-plane of
Bolyai and Lobachevsky with lengths sqrt(2) times as large (C. Atkinson and A. F. S. Mitchell, Sankhya A 43 (1981)
345). Points are the last dimension, mean and standard deviation; everything else is batched. Distances are in nats to
the power 1/2, as in :mod:`lib.fisher_rao`, and have the gradient 0 where the points are equal.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lib import checks
from lib.fisher_rao import in_blocks, norm, read_positions, shape_per_pair

__all__ = ["normal_distance", "normal_geodesic", "normal_metric"]


def normal_distance(p, q) -> Tensor:
    """Fisher-Rao distance of two normal distributions on the line.

    Parameters
    ----------
    p, q : array_like, (..., 2)
        Mean and standard deviation (above 0), in the same unit; the distance has none.

    Returns
    -------
    Tensor, (...)
        2 sqrt(2) arsinh(sqrt(((m - m')^2 / 2 + (s - s')^2) / (4 s s'))): sqrt(2) times the distance of (m / sqrt(2), s)
        and (m' / sqrt(2), s') in the hyperbolic half-plane.

    Raises
    ------
    ValueError
        If the last dimension is not 2 or a standard deviation is not above 0.

    Examples
    --------
    A change of scale by e is sqrt(2) long, wherever the mean is.

    >>> round(float(normal_distance([0.0, 1.0], [0.0, math.e])), 10)
    1.4142135624
    """
    p, q = _normals(p=p, q=q)
    return math.sqrt(2) * in_blocks(_half_plane_distance, p, q)


def normal_geodesic(p, q, t) -> Tensor:
    """Shortest path between two normal distributions on the line: half an ellipse in mean and standard deviation.

    Parameters
    ----------
    p, q : array_like, (..., 2)
        Mean and standard deviation (above 0).
    t : array_like, () or (times,)
        Positions along the path from p (0) to q (1), in [0, 1].

    Returns
    -------
    Tensor, (..., 2) or (..., times, 2)
        Normal distributions, passed at constant Fisher-Rao speed.

    Raises
    ------
    ValueError
        If the last dimension of p or q is not 2, a standard deviation is not above 0, or t lies outside [0, 1] or has
        more than one dimension.

    Notes
    -----
    On the hyperboloid u w - v^2 = 1 with u = 1 / s, v = x / s, w = (x^2 + s^2) / s and x = m / sqrt(2) the path is
    a combination of its ends with weights sinh((1 - t) d) and sinh(t d). The mean is therefore a weighted average of
    the two means.

    Examples
    --------
    Between equal spreads the way leads over wider distributions.

    >>> normal_geodesic([-1.0, 1.0], [1.0, 1.0], 0.5)
    tensor([0.0000, 1.2247], dtype=torch.float64)
    """
    p, q, t = checks.tensors(p=p, q=q, t=t)
    p, q = _normals(p=p, q=q)
    read_positions(t)
    length = _half_plane_distance(p, q).reshape(shape_per_pair(p, q, t))
    apart = length > 0
    whole = torch.where(apart, length, torch.ones_like(length))
    # sinh(a d) / sinh(d) with the common factor exp(d) taken out, so that far ends do not overflow.
    weight_p = torch.where(apart, (-t * length).exp() * _sinh_ratio(1 - t, whole), 1 - t)
    weight_q = torch.where(apart, ((t - 1) * length).exp() * _sinh_ratio(t, whole), t)
    p, q = (tensor.unsqueeze(-2) if t.dim() else tensor for tensor in (p, q))
    pull_p, pull_q = weight_p / p[..., 1], weight_q / q[..., 1]
    deviation = 1 / (pull_p + pull_q)
    mean = deviation * (pull_p * p[..., 0] + pull_q * q[..., 0])
    return torch.stack([mean, deviation], dim=-1)


def normal_metric(p) -> Tensor:
    """Fisher information of a normal distribution in its mean and standard deviation.

    Parameters
    ----------
    p : array_like, (..., 2)
        Mean and standard deviation (above 0).

    Returns
    -------
    Tensor, (..., 2, 2)
        The diagonal matrix of 1 / s^2 and 2 / s^2.

    Raises
    ------
    ValueError
        If the last dimension is not 2 or a standard deviation is not above 0.

    Examples
    --------
    >>> normal_metric([3.0, 0.5]).tolist()
    [[4.0, 0.0], [0.0, 8.0]]
    """
    (p,) = _normals(p=p)
    precision = p[..., 1] ** -2
    return torch.diag_embed(torch.stack([precision, 2 * precision], dim=-1))


def _half_plane_distance(p: Tensor, q: Tensor) -> Tensor:
    """Hyperbolic distance of (mean / sqrt(2), deviation), 2 arsinh(s)."""
    # Divided before it is squared: in a small unit the product of two deviations would leave the range of the numbers.
    unit = 2 * p[..., 1].sqrt() * q[..., 1].sqrt()
    difference = ((p - q) / unit[..., None]).square()
    squares = difference[..., 0] / 2 + difference[..., 1]
    # arsinh(s) = ln(1 + s + s^2 / (1 + sqrt(1 + s^2))): as exact as asinh, and torch has a fast log1p.
    return 2 * torch.log1p(norm(squares) + squares / (1 + (1 + squares).sqrt()))


def _sinh_ratio(t: Tensor, length: Tensor) -> Tensor:
    return torch.expm1(-2 * t * length) / torch.expm1(-2 * length)


def _normals(**named) -> list[Tensor]:
    read = checks.tensors(**named)
    for name, tensor in zip(named, read):
        checks.shape(name, tensor, 2)
        deviation = tensor[..., 1]
        checks.require(deviation > 0, f"{name} must have a standard deviation above 0", deviation)
    checks.batch(**{name: tensor.shape[:-1] for name, tensor in zip(named, read)})
    return read
