"""Fisher-Rao distances and geodesics between probability distributions, and the divergences beside them.

The Fisher information is a Riemannian metric on a family of distributions; up to scale it is the only one that does
not change when outcomes are renamed, split at random, or replaced by a sufficient statistic (N. N. Cencov, *Statistical
decision rules and optimal inference*, 1982; the distance: C. R. Rao, Bull. Calcutta Math. Soc. 37 (1945) 81). For
distributions on finitely many classes p -> 2 sqrt(p) maps it to the sphere of radius 2; for normal distributions it is
the half-plane of Bolyai and Lobachevsky.

Points are the last dimension (class probabilities, or mean and standard deviation); everything else is batched.
Distances are in radians of that sphere, or in nats to the power 1/2: for small steps d^2 = 2 KL. The forms used keep
full relative precision for close points, where the arc cosine of the textbooks returns noise, and have the gradient 0
where the points are equal (the distance has none there) and for classes of probability 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from lib import checks
from lib.live import tracing

__all__ = [
    "bernoulli_distance",
    "bhattacharyya_coefficient",
    "categorical_metric",
    "curve_length",
    "distributions",
    "fisher_rao_distance",
    "fisher_rao_geodesic",
    "kullback_leibler",
    "normal_distance",
    "normal_geodesic",
    "normal_metric",
]

BLOCK = 2**14  # pairs worked on together


def distributions(**named) -> list[Tensor]:
    """Read arguments as probability distributions over the same classes.

    Parameters
    ----------
    **named : array_like, (..., n)
        The arguments under the names that error messages should use.

    Returns
    -------
    list of Tensor
        In the order given. Nothing is rescaled.

    Raises
    ------
    ValueError
        If an argument has a negative entry, does not sum to 1 within the square root of the precision (1.5e-8 in
        float64), has another number of classes than the first, or a batch that does not fit.

    Examples
    --------
    >>> (p,) = distributions(p=[0.2, 0.5, 0.3])
    >>> p.shape
    torch.Size([3])
    """
    read = checks.tensors(**named)
    first, model = next(zip(named, read), (None, None))
    for name, tensor in zip(named, read):
        checks.shape(name, tensor, None)
        if tensor.shape[-1] != model.shape[-1]:
            raise ValueError(f"{name} must have shape (..., {model.shape[-1]}) like {first}, got {tuple(tensor.shape)}")
        if tensor.numel() and not tracing.active():
            _check_distribution(name, tensor.detach())
    checks.batch(**{name: tensor.shape[:-1] for name, tensor in zip(named, read)})
    return read


def _check_distribution(name: str, p: Tensor) -> None:
    """Look at extremes only: for a million distributions that is several times faster than at each."""
    lowest = p.amin()
    checks.require(lowest >= 0, f"{name} must have entries of at least 0", lowest)
    total = _sum(p)
    slack = math.sqrt(torch.finfo(p.dtype).eps)
    for extreme in total.aminmax():
        checks.require((extreme - 1).abs() <= slack, f"{name} must sum to 1 over its last dimension", extreme)


def kullback_leibler(p, q) -> Tensor:
    """Kullback-Leibler divergence of q from p, the sum of p ln(p / q).

    Parameters
    ----------
    p, q : array_like, (..., n)
        Distributions.

    Returns
    -------
    Tensor, (...)
        In nats; infinite where q excludes a class that p does not.

    Raises
    ------
    ValueError
        If p or q is no distribution (see :func:`distributions`).

    Examples
    --------
    >>> round(float(kullback_leibler([0.5, 0.5], [0.25, 0.75])), 6)
    0.143841
    """
    p, q = distributions(p=p, q=q)
    return (torch.xlogy(p, p) - torch.xlogy(p, q)).sum(dim=-1)


def bhattacharyya_coefficient(p, q) -> Tensor:
    """Overlap of two distributions, the sum of sqrt(p q): the cosine of half their Fisher-Rao distance.

    Parameters
    ----------
    p, q : array_like, (..., n)
        Distributions.

    Returns
    -------
    Tensor, (...)
        From 0 (no class in common) to 1 (equal). Its negative logarithm is Bhattacharyya's distance.

    Raises
    ------
    ValueError
        If p or q is no distribution (see :func:`distributions`).

    Examples
    --------
    >>> round(float(bhattacharyya_coefficient([0.5, 0.5], [1.0, 0.0])), 6)
    0.707107
    """
    p, q = distributions(p=p, q=q)
    return (_exact_root(p) * _exact_root(q)).sum(dim=-1)


def fisher_rao_distance(p, q) -> Tensor:
    """Fisher-Rao distance of two distributions over the same classes.

    The length of the shorter great arc between 2 sqrt(p) and 2 sqrt(q) on the sphere of radius 2,
    2 arccos(sum sqrt(p q)), computed from the chord as 4 arcsin(\\|sqrt(p) - sqrt(q)\\| / 2).

    Parameters
    ----------
    p, q : array_like, (..., n)
        Distributions over any number of classes.

    Returns
    -------
    Tensor, (...)
        From 0 to pi (no class in common), in radians.

    Raises
    ------
    ValueError
        If p or q is no distribution (see :func:`distributions`).

    Examples
    --------
    >>> round(float(fisher_rao_distance([0.2, 0.5, 0.3], [0.25, 0.4, 0.35])), 10)
    0.2029184183
    >>> float(fisher_rao_distance([0.5, 0.5], [0.5, 0.5]))
    0.0
    """
    p, q = distributions(p=p, q=q)
    return 2 * _in_blocks(_angle, p, q)


def fisher_rao_geodesic(p, q, t) -> Tensor:
    """Shortest path between two distributions over the same classes: the great arc of their square roots.

    Parameters
    ----------
    p, q : array_like, (..., n)
        Distributions.
    t : array_like, () or (times,)
        Positions along the path from p (0) to q (1), in [0, 1].

    Returns
    -------
    Tensor, (..., n) or (..., times, n)
        Distributions, passed at constant Fisher-Rao speed.

    Raises
    ------
    ValueError
        If p or q is no distribution (see :func:`distributions`), or t lies outside [0, 1] or has more than one
        dimension.

    Examples
    --------
    >>> fisher_rao_geodesic([1.0, 0.0], [0.0, 1.0], [0.0, 0.5, 1.0])
    tensor([[1.0000, 0.0000],
            [0.5000, 0.5000],
            [0.0000, 1.0000]], dtype=torch.float64)
    """
    checks.tensors(p=p, q=q, t=t)
    p, q = distributions(p=p, q=q)
    t = _positions(t, p)
    angle = _angle(p, q).reshape(_angle_shape(p, q, t))
    apart = angle > 0
    whole = torch.where(apart, angle, torch.ones_like(angle)).sin()
    weight_p = torch.where(apart, ((1 - t) * angle).sin() / whole, 1 - t)
    weight_q = torch.where(apart, (t * angle).sin() / whole, t)
    p, q = (tensor.unsqueeze(-2) if t.dim() else tensor for tensor in (p, q))
    return (weight_p[..., None] * _exact_root(p) + weight_q[..., None] * _exact_root(q)).square()


def bernoulli_distance(a, b) -> Tensor:
    """Fisher-Rao distance of two events with probabilities a and b, 2 \\|arcsin sqrt(a) - arcsin sqrt(b)\\|.

    Parameters
    ----------
    a, b : array_like, (...)
        Probabilities, in [0, 1].

    Returns
    -------
    Tensor, (...)
        From 0 to pi, in radians.

    Raises
    ------
    ValueError
        If a probability lies outside [0, 1].

    Examples
    --------
    >>> round(float(bernoulli_distance(0.3, 0.7)), 10)
    0.8230336921
    """
    a, b = checks.tensors(a=a, b=b)
    for name, probability in (("a", a), ("b", b)):
        checks.require((probability >= 0) & (probability <= 1), f"{name} must lie in [0, 1]", probability)
    checks.batch(a=a.shape, b=b.shape)
    ahead = _root(a) * _root(1 - b)
    behind = _root(b) * _root(1 - a)
    # The sine of the difference of the two angles is ahead - behind; as a quotient it loses nothing when a is near b.
    sine = (a - b) / (ahead + behind)
    cosine = _root(a) * _root(b) + _root(1 - a) * _root(1 - b)
    return 2 * torch.atan2(sine, cosine).abs()


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
    return math.sqrt(2) * _in_blocks(_half_plane_distance, p, q)


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
    checks.tensors(p=p, q=q, t=t)
    p, q = _normals(p=p, q=q)
    t = _positions(t, p)
    length = _half_plane_distance(p, q).reshape(_angle_shape(p, q, t))
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


def categorical_metric(p) -> Tensor:
    """Fisher metric on the simplex, the diagonal matrix of 1 / p: squared length of a change is the sum of dp^2 / p.

    Parameters
    ----------
    p : array_like, (..., n)
        Distribution with no class of probability 0.

    Returns
    -------
    Tensor, (..., n, n)
        To be used on changes that sum to 0.

    Raises
    ------
    ValueError
        If p is no distribution or has an entry of 0.

    Examples
    --------
    >>> categorical_metric([0.5, 0.25, 0.25]).diagonal().tolist()
    [2.0, 4.0, 4.0]
    """
    (p,) = distributions(p=p)
    checks.require(p > 0, "p must be above 0 everywhere", p)
    return torch.diag_embed(1 / p)


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


def curve_length(curve: Callable[[Tensor], Tensor], metric: Callable[[Tensor], Tensor], panels: int = 32) -> Tensor:
    """Length of a curve under a metric, by quadrature of its speed; not for live figures (it differentiates forward).

    Parameters
    ----------
    curve : callable
        Takes positions (times,) in (0, 1) and returns points (..., times, n); differentiable by torch.
    metric : callable
        Takes points (..., n) and returns the metric there, (..., n, n), such as :func:`categorical_metric`.
    panels : int
        Pieces of [0, 1], each with a Gauss-Legendre rule of 8 points.

    Returns
    -------
    Tensor, (...)

    Raises
    ------
    ValueError
        If curve or metric is not a function, their shapes do not fit, or panels is below 1.

    Examples
    --------
    The straight line between two distributions is longer than the geodesic.

    >>> p, q = torch.tensor([[0.2, 0.5, 0.3], [0.25, 0.4, 0.35]], dtype=torch.float64)
    >>> round(float(curve_length(lambda t: p + t[:, None] * (q - p), categorical_metric)), 7)
    0.2029239
    """
    for name, value in (("curve", curve), ("metric", metric)):
        if not callable(value):
            raise ValueError(f"{name} must be a function, got {checks.describe(value)}")
    panels = checks.integer("panels", panels, lowest=1)
    nodes, weights = (torch.from_numpy(values) for values in np.polynomial.legendre.leggauss(8))
    starts = torch.arange(panels, dtype=nodes.dtype)[:, None]
    t = ((starts + (nodes + 1) / 2) / panels).flatten()
    # A point depends on its own position alone, so one forward derivative gives every velocity.
    points, velocities = torch.func.jvp(curve, (t,), (torch.ones_like(t),))
    if points.dim() < 2 or points.shape[-2] != len(t):
        raise ValueError(f"curve must return points of shape (..., {len(t)}, n), got {tuple(points.shape)}")
    g = metric(points)
    if g.shape != (*points.shape, points.shape[-1]):
        raise ValueError(f"metric must return shape {(*points.shape, points.shape[-1])}, got {tuple(g.shape)}")
    speed = torch.einsum("...i,...ij,...j->...", velocities, g, velocities).sqrt()
    return (speed * weights.repeat(panels)).sum(dim=-1) / (2 * panels)


def _root(p: Tensor) -> Tensor:
    """Square root with a finite slope at 0; an entry of 0 becomes 1e-154 (float64), far below rounding."""
    return p.clamp(min=torch.finfo(p.dtype).tiny).sqrt()


def _exact_root(p: Tensor) -> Tensor:
    """Square root with the slope 0 at 0."""
    return torch.where(p > 0, _root(p), torch.zeros_like(p))


def _norm(squares: Tensor) -> Tensor:
    """Square root of a sum of squares: exactly 0 at 0, and with the gradient 0 there."""
    return squares * squares.clamp(min=torch.finfo(squares.dtype).tiny).rsqrt()


def _sum(values: Tensor) -> Tensor:
    """Sum over the last dimension: a product with ones is much faster than a sum over a few entries."""
    return values @ values.new_ones(values.shape[-1])


def _in_blocks(distance: Callable[[Tensor, Tensor], Tensor], p: Tensor, q: Tensor) -> Tensor:
    """Evaluate a distance; on a CPU many pairs in pieces whose temporaries stay in the cache."""
    if p.device.type != "cpu" or p.shape != q.shape or p.shape[:-1].numel() <= BLOCK:
        return distance(p, q)
    pieces = zip(p.flatten(end_dim=-2).split(BLOCK), q.flatten(end_dim=-2).split(BLOCK))
    return torch.cat([distance(*piece) for piece in pieces]).reshape(p.shape[:-1])


def _angle(p: Tensor, q: Tensor) -> Tensor:
    """Angle between sqrt(p) and sqrt(q), which are unit vectors."""
    # sqrt(p) - sqrt(q), without the cancellation.
    difference = (p - q) / (_root(p) + _root(q))
    return 2 * torch.asin(_norm(_sum(difference.square())) / 2)


def _half_plane_distance(p: Tensor, q: Tensor) -> Tensor:
    """Hyperbolic distance of (mean / sqrt(2), deviation), 2 arsinh(s)."""
    difference = (p - q).square()
    squares = (difference[..., 0] / 2 + difference[..., 1]) / (4 * p[..., 1] * q[..., 1])
    # arsinh(s) = ln(1 + s + s^2 / (1 + sqrt(1 + s^2))): as exact as asinh, and torch has a fast log1p.
    return 2 * torch.log1p(_norm(squares) + squares / (1 + (1 + squares).sqrt()))


def _sinh_ratio(t: Tensor, length: Tensor) -> Tensor:
    return torch.expm1(-2 * t * length) / torch.expm1(-2 * length)


def _positions(t, like: Tensor) -> Tensor:
    (t,) = checks.tensors(t=t)
    if t.dim() > 1 or t.numel() == 0:
        raise ValueError(f"t must be a number or have shape (times,), got {tuple(t.shape)}")
    checks.require((t >= 0) & (t <= 1), "t must lie in [0, 1]", t)
    return t.to(dtype=like.dtype, device=like.device)


def _angle_shape(p: Tensor, q: Tensor, t: Tensor) -> tuple[int, ...]:
    """Shape of one number per pair that broadcasts with the positions."""
    leading = torch.broadcast_shapes(p.shape[:-1], q.shape[:-1])
    return (*leading, 1) if t.dim() else tuple(leading)


def _normals(**named) -> list[Tensor]:
    read = checks.tensors(**named)
    for name, tensor in zip(named, read):
        checks.shape(name, tensor, 2)
        deviation = tensor[..., 1]
        checks.require(deviation > 0, f"{name} must have a standard deviation above 0", deviation)
    checks.batch(**{name: tensor.shape[:-1] for name, tensor in zip(named, read)})
    return read
