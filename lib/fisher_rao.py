"""Fisher-Rao distances and geodesics between distributions on finitely many classes, and the divergences beside them.

The Fisher information is a Riemannian metric on a family of distributions; up to scale it is the only one that does
not change when outcomes are renamed, split at random, or replaced by a sufficient statistic (N. N. Cencov, *Statistical
decision rules and optimal inference*, 1982; the distance: C. R. Rao, Bull. Calcutta Math. Soc. 37 (1945) 81). For
distributions on finitely many classes p -> 2 sqrt(p) maps it to the sphere of radius 2. Normal distributions are in
:mod:`lib.fisher_rao_normal`.

Points are the last dimension (class probabilities); everything else is batched. Distances are in radians of that
sphere, or in nats to the power 1/2: for small steps d^2 = 2 KL. The forms used keep full relative precision for close
points, where the arc cosine of the textbooks returns noise. Gradients are 0 where the points are equal (the distance
has none there) and finite for classes of probability 0, where the slope may be infinite.
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
        In nats, at least 0, with an absolute error of about 1e-16 (for nearly equal distributions half the squared
        :func:`fisher_rao_distance` is more exact); infinite where q excludes a class that p does not.

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
    # A class without probability adds nothing; xlogy would say the same, but has the gradient NaN there.
    present = p > 0
    p, q = torch.where(present, p, 1.0), torch.where(present, q, 1.0)
    # For nearly equal distributions the terms cancel, and what is left of them may be below 0.
    return (p * (p.log() - q.log())).sum(dim=-1).clamp(min=0)


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
    return 2 * in_blocks(_angle, p, q)


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
    p, q, t = checks.tensors(p=p, q=q, t=t)
    p, q = distributions(p=p, q=q)
    read_positions(t)
    angle = _angle(p, q).reshape(shape_per_pair(p, q, t))
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


def curve_length(
    curve: Callable[[Tensor], Tensor],
    metric: Callable[[Tensor], Tensor],
    panels: int = 32,
    *,
    like: Tensor | None = None,
) -> Tensor:
    """Length of a curve under a metric, by quadrature of its speed; not for live figures (it differentiates forward).

    Parameters
    ----------
    curve : callable
        Takes positions (times,) in (0, 1) and returns points (..., times, n); differentiable by torch.
    metric : callable
        Takes points (..., n) and returns the metric there, (..., n, n), such as :func:`categorical_metric`.
    panels : int
        Pieces of [0, 1], each with a Gauss-Legendre rule of 8 points.
    like : Tensor, optional
        A floating tensor whose type and device the positions get, such as an end of the curve. None: float64 on the
        CPU.

    Returns
    -------
    Tensor, (...)

    Raises
    ------
    ValueError
        If curve or metric is not a function, their shapes do not fit, panels is below 1, or like is no floating
        tensor.

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
    if like is not None and not (isinstance(like, Tensor) and like.dtype.is_floating_point):
        raise ValueError(f"like must be a floating tensor or None, got {checks.describe(like)}")
    nodes, weights = np.polynomial.legendre.leggauss(8)
    starts = np.arange(panels)[:, None]
    t = torch.from_numpy(((starts + (nodes + 1) / 2) / panels).ravel())
    weights = torch.from_numpy(np.tile(weights, panels))
    if like is not None:
        t, weights = (values.to(dtype=like.dtype, device=like.device) for values in (t, weights))
    # A point depends on its own position alone, so one forward derivative gives every velocity.
    points, velocities = torch.func.jvp(curve, (t,), (torch.ones_like(t),))
    if points.dim() < 2 or points.shape[-2] != len(t):
        raise ValueError(f"curve must return points of shape (..., {len(t)}, n), got {tuple(points.shape)}")
    g = metric(points)
    if g.shape != (*points.shape, points.shape[-1]):
        raise ValueError(f"metric must return shape {(*points.shape, points.shape[-1])}, got {tuple(g.shape)}")
    speed = torch.einsum("...i,...ij,...j->...", velocities, g, velocities).sqrt()
    return (speed * weights).sum(dim=-1) / (2 * panels)


def _root(p: Tensor) -> Tensor:
    """Square root with a finite slope at 0; an entry of 0 becomes 1e-154 (float64), far below rounding."""
    return p.clamp(min=torch.finfo(p.dtype).tiny).sqrt()


def _exact_root(p: Tensor) -> Tensor:
    """Square root with the slope 0 at 0."""
    return torch.where(p > 0, _root(p), torch.zeros_like(p))


def norm(squares: Tensor) -> Tensor:
    """Square root of a sum of squares: exactly 0 at 0, and with the gradient 0 there."""
    return squares * squares.clamp(min=torch.finfo(squares.dtype).tiny).rsqrt()


def _sum(values: Tensor) -> Tensor:
    """Sum over the last dimension: a product with ones is much faster than a sum over a few entries."""
    return values @ values.new_ones(values.shape[-1])


def in_blocks(distance: Callable[[Tensor, Tensor], Tensor], p: Tensor, q: Tensor) -> Tensor:
    """Evaluate a distance; on a CPU many pairs in pieces whose temporaries stay in the cache."""
    if p.device.type != "cpu" or p.shape != q.shape or p.shape[:-1].numel() <= BLOCK:
        return distance(p, q)
    pieces = zip(p.flatten(end_dim=-2).split(BLOCK), q.flatten(end_dim=-2).split(BLOCK))
    return torch.cat([distance(*piece) for piece in pieces]).reshape(p.shape[:-1])


def _angle(p: Tensor, q: Tensor) -> Tensor:
    """Angle between sqrt(p) and sqrt(q), which are unit vectors."""
    # sqrt(p) - sqrt(q), without the cancellation.
    difference = (p - q) / (_root(p) + _root(q))
    return 2 * torch.asin(norm(_sum(difference.square())) / 2)


def read_positions(t: Tensor) -> None:
    """Check positions along a path: one, or a list of them."""
    if t.dim() > 1 or t.numel() == 0:
        raise ValueError(f"t must be a number or have shape (times,), got {tuple(t.shape)}")
    checks.require((t >= 0) & (t <= 1), "t must lie in [0, 1]", t)


def shape_per_pair(p: Tensor, q: Tensor, t: Tensor) -> tuple[int, ...]:
    """Shape of one number per pair that broadcasts with the positions."""
    leading = torch.broadcast_shapes(p.shape[:-1], q.shape[:-1])
    return (*leading, 1) if t.dim() else tuple(leading)
