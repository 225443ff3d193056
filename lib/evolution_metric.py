"""The asynchronous evolution metric: a distance of states that forgives phase offsets.

``D(x, y) = max over sites i of inf over s of |s| + d(flow_i(s, x_i), y_i)``: the cheapest mix of letting a site's own
clock run, forward or back, and of displacing it.

Source: our concrete reading of F. Alpay, arXiv:2505.09898, whose definition was not available.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from lib import checks

__all__ = ["evolution_distance", "phase_offset_distance", "phase_offset_matrix"]


def phase_offset_distance(theta1, theta2, omega) -> Tensor:
    """Asynchronous evolution distance of two phases that rotate at speed omega: gap / max(1, omega).

    The cheapest mix of waiting and moving, ``inf over s of |s| + gap(theta1 + omega s, theta2)``: a fast clock makes up
    for an offset by waiting, a slow one by moving. A metric: zero only for equal phases, symmetric, and with the
    triangle inequality.

    Parameters
    ----------
    theta1, theta2 : array_like, (...)
        Phases (radians); only their difference around the circle counts.
    omega : array_like, (...)
        Speed of rotation (radians per unit of time), at least 0.

    Returns
    -------
    Tensor, (...)
        In the broadcast shape of the arguments; from 0 to pi. For states of many sites take the largest entry.

    Raises
    ------
    ValueError
        If a speed is negative or the shapes do not broadcast.

    Examples
    --------
    >>> phase_offset_distance([0.0, 0.0], [1.5, 1.5], [0.3, 3.0])
    tensor([1.5000, 0.5000], dtype=torch.float64)
    """
    theta1, theta2, omega = checks.tensors(theta1=theta1, theta2=theta2, omega=omega)
    checks.batch(theta1=theta1.shape, theta2=theta2.shape, omega=omega.shape)
    checks.require(omega >= 0, "omega must be at least 0", omega)
    return _circular_gap(theta1, theta2) / omega.clamp(min=1)


def phase_offset_matrix(theta, omega) -> Tensor:
    """Distances :func:`phase_offset_distance` between all pairs of sites.

    Parameters
    ----------
    theta : array_like, (..., n)
        Phases (radians).
    omega : array_like, (..., n)
        Speed of each site (radians per unit of time), at least 0.

    Returns
    -------
    Tensor, (..., n, n)
        In row i the clock of site i runs to meet the phase of site j; symmetric where the speeds are equal.

    Raises
    ------
    ValueError
        If the lengths differ or a speed is negative.

    Examples
    --------
    >>> phase_offset_matrix([0.0, 1.0], [1.0, 2.0])
    tensor([[0.0000, 1.0000],
            [0.5000, 0.0000]], dtype=torch.float64)
    """
    theta, omega = checks.tensors(theta=theta, omega=omega)
    checks.shape("theta", theta, None)
    checks.shape("omega", omega, theta.shape[-1])
    checks.batch(theta=theta.shape[:-1], omega=omega.shape[:-1])
    return phase_offset_distance(theta[..., :, None], theta[..., None, :], omega[..., :, None])


def evolution_distance(
    flow: Callable[[Tensor, Tensor], Tensor],
    x,
    y,
    distance: Callable[[Tensor, Tensor], Tensor] | None = None,
    *,
    invertible: bool = True,
    points: int = 1025,
) -> Tensor:
    """Asynchronous evolution distance of two states under any flow, by a search over the time shift.

    ``D(x, y) = max over sites i of inf over s of |s| + d(flow_i(s, x_i), y_i)``. Shifts beyond d(x_i, y_i) cannot pay,
    which bounds the search; it looks at ``points`` shifts and then closer around the best one.

    Parameters
    ----------
    flow : callable
        ``flow(s, x)``: the states after time s, elementwise; s comes as (points, ..., n) and x as (..., n).
    x, y : array_like, (..., n)
        States, one number for each site.
    distance : callable, optional
        d(a, b), elementwise and at least 0; by default the absolute value of the difference.
    invertible : bool
        Whether the shift may be negative, too.
    points : int
        Shifts of the first look, at least 3.

    Returns
    -------
    Tensor, (...)
        Never below the infimum, since it is attained by a shift; above it by at most the distance of two neighbouring
        shifts times one plus the speed of the flow, where there are many minima.

    Raises
    ------
    ValueError
        If the shapes do not fit, or flow or distance do not keep them.

    Notes
    -----
    For continuous flows D(x, y) = 0 only if x = y. If every flow_i(s, .) keeps distances, as rotations do, D is a
    metric. Other flows can lose symmetry and the triangle inequality.

    Examples
    --------
    >>> rate = torch.tensor([0.3, 3.0], dtype=torch.float64)
    >>> round(float(evolution_distance(lambda s, x: x + rate * s, [0.0, 0.0], [0.2, 1.5])), 6)
    0.5
    """
    x, y = checks.tensors(x=x, y=y)
    checks.shape("x", x, None)
    checks.shape("y", y, x.shape[-1])
    checks.batch(x=x.shape[:-1], y=y.shape[:-1])
    checks.flag("invertible", invertible)
    points = checks.integer("points", points, lowest=3)
    distance = _check_distance(flow, distance, x, y)
    x, y = torch.broadcast_tensors(x, y)
    farthest = distance(x, y)
    low = -farthest if invertible else torch.zeros_like(farthest)
    high = farthest
    best = farthest
    steps = torch.linspace(0, 1, points, dtype=x.dtype, device=x.device).reshape(-1, *(1,) * x.dim())
    for _ in range(8):
        shift = low + (high - low) * steps
        apart = distance(flow(shift, x), y)
        # A flow may leave the numbers on the way, as 0 * exp(s) does: no shift to choose.
        cost = shift.abs() + torch.where(apart.isnan(), torch.inf, apart)
        least = cost.min(dim=0)
        best = torch.minimum(best, least.values)
        centre = shift.gather(0, least.indices[None])[0]
        cell = (high - low) / (points - 1)
        low, high = torch.maximum(centre - cell, low), torch.minimum(centre + cell, high)
    return best.amax(dim=-1)


def _circular_gap(theta1: Tensor, theta2: Tensor) -> Tensor:
    """Distance around the circle, in [0, pi]."""
    turns = (theta1 - theta2) / (2 * math.pi)
    return 2 * math.pi * (turns - torch.round(turns)).abs()


def _check_distance(flow, distance, x: Tensor, y: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    if not callable(flow):
        raise ValueError(f"flow must be a function of time and states, got {checks.describe(flow)}")
    if distance is None:
        distance = _gap
    if not callable(distance):
        raise ValueError(f"distance must be a function of two states or None, got {checks.describe(distance)}")
    for name, after in (("flow", flow(torch.zeros_like(x), x)), ("distance", distance(x, y))):
        wanted = x.shape if name == "flow" else torch.broadcast_shapes(x.shape, y.shape)
        if not isinstance(after, Tensor) or after.shape != wanted:
            raise ValueError(f"{name} must keep the shape {tuple(wanted)}, but it returned {checks.describe(after)}")
    return distance


def _gap(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).abs()
