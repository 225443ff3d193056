"""Strata of a lattice and the distance that forgives phase offsets.

A partition of the sites stands for the set of states that are equal within each cell, its *synchrony subspace* (or
diagonal, or stratum). A partition is a tensor of labels, one integer for each site; cells are numbered from 0 in the
order of their first site. Coarser partitions have smaller subspaces: the coarsest is full synchrony.

Sources: strata and the asynchronous evolution metric are our concrete reading of F. Alpay, arXiv:2505.09898, whose
definitions were not available; synchrony subspaces follow M. Golubitsky and I. Stewart, Bull. Amer. Math. Soc. 43
(2006) 305.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from lib import _partition, checks

__all__ = [
    "all_partitions",
    "cell_masks",
    "evolution_distance",
    "number_of_cells",
    "number_of_strata",
    "phase_offset_distance",
    "phase_offset_matrix",
    "refines",
    "stratum",
    "synchrony_projection",
]


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
        cost = shift.abs() + distance(flow(shift, x), y)
        least = cost.min(dim=0)
        best = torch.minimum(best, least.values)
        centre = shift.gather(0, least.indices[None])[0]
        cell = (high - low) / (points - 1)
        low, high = torch.maximum(centre - cell, low), torch.minimum(centre + cell, high)
    return best.amax(dim=-1)


def stratum(x, tol=0.0, period: float | None = None) -> Tensor:
    """Partition of the sites by equal states.

    Sites belong together if a chain of sites leads from one to the other in steps of at most ``tol``, so that the
    result is a partition for any tolerance.

    Parameters
    ----------
    x : array_like, (..., n)
        States, one number for each site.
    tol : float
        What counts as equal, at least 0.
    period : float, optional
        States are compared around a circle of this length (2 pi for phases in radians).

    Returns
    -------
    Tensor, int64, (..., n)
        Labels, numbered from 0 in the order of the first site of each cell.

    Raises
    ------
    ValueError
        If ``tol`` is negative or ``period`` is not above 0.

    Examples
    --------
    >>> stratum([0.3, -0.2, 0.9, -0.2, 0.3]).tolist()
    [0, 1, 2, 1, 0]
    >>> stratum([0.05, 3.0, 6.25], tol=0.1, period=2 * math.pi).tolist()
    [0, 1, 0]
    """
    (x,) = checks.tensors(x=x)
    checks.shape("x", x, None)
    tol = checks.real_number("tol", tol, lowest=0)
    if period is not None:
        period = checks.real_number("period", period, lowest=0, open_below=True)
        x = x - period * torch.floor(x / period)
    ordered, site = x.sort(dim=-1, stable=True)
    gap = (ordered.diff(dim=-1) > tol).to(torch.int64)
    number = torch.cat([torch.zeros_like(site[..., :1]), gap], dim=-1).cumsum(dim=-1)
    if period is not None:
        around = ordered[..., :1] + period - ordered[..., -1:] <= tol
        number = torch.where(around & (number == number[..., -1:]), 0, number)
    return _partition.canonical(torch.zeros_like(site).scatter(-1, site, number))


def synchrony_projection(x, labels) -> Tensor:
    """Nearest state (in the Euclidean sense) that is constant on each cell: cells are replaced by their mean.

    Parameters
    ----------
    x : array_like, (..., n)
        States.
    labels : array_like, int, (..., n)
        Partition: sites with the same integer form a cell.

    Returns
    -------
    Tensor, (..., n)
        Exactly constant on every cell.

    Raises
    ------
    ValueError
        If the labels are not integers of at least 0, one for each site.

    Examples
    --------
    >>> synchrony_projection([1.0, 3.0, 5.0], [0, 0, 1]).tolist()
    [2.0, 2.0, 5.0]
    """
    (x,) = checks.tensors(x=x)
    checks.shape("x", x, None)
    labels = _partition.read_labels(labels, x.shape[-1]).to(x.device)
    batch = checks.batch(x=x.shape[:-1], labels=labels.shape[:-1])
    labels = _partition.canonical(labels).expand(*batch, -1)
    x = x.expand(*batch, -1)
    size = torch.zeros_like(x).scatter_add(-1, labels, torch.ones_like(x))
    total = torch.zeros_like(x).scatter_add(-1, labels, x)
    return (total / size.clamp(min=1)).gather(-1, labels)


def number_of_cells(labels) -> Tensor:
    """How many cells a partition has: the dimension of its synchrony subspace, for states of one number a site.

    Parameters
    ----------
    labels : array_like, int, (..., n)

    Returns
    -------
    Tensor, int64, (...)

    Raises
    ------
    ValueError
        If the labels are not integers of at least 0.

    Examples
    --------
    >>> int(number_of_cells([0, 1, 2, 1, 0]))
    3
    """
    return _partition.canonical(_partition.read_labels(labels)).amax(dim=-1) + 1


def refines(fine, coarse) -> Tensor:
    """Whether every cell of one partition lies inside a cell of another.

    Parameters
    ----------
    fine, coarse : array_like, int, (..., n)

    Returns
    -------
    Tensor, bool, (...)
        True also for equal partitions.

    Raises
    ------
    ValueError
        If the labels are not integers of at least 0, or differ in length.

    Examples
    --------
    >>> bool(refines([0, 1, 2, 1], [0, 1, 0, 1])), bool(refines([0, 1, 0, 1], [0, 1, 2, 1]))
    (True, False)
    """
    fine = _partition.canonical(_partition.read_labels(fine, name="fine"))
    coarse = _partition.canonical(_partition.read_labels(coarse, fine.shape[-1], name="coarse"))
    checks.batch(fine=fine.shape[:-1], coarse=coarse.shape[:-1])
    # Splitting the fine cells by the coarse ones must not make more of them.
    both = _partition.canonical(fine * coarse.shape[-1] + coarse.to(fine.device))
    return (both == fine).all(dim=-1)


def number_of_strata(n: int) -> int:
    """Number of partitions of n sites, the Bell number: 1, 2, 5, 15, 52, ...

    Parameters
    ----------
    n : int
        Number of sites, at least 1.

    Raises
    ------
    ValueError
        If n is no integer of at least 1.

    Examples
    --------
    >>> number_of_strata(4)
    15
    """
    from sympy import bell

    return int(bell(checks.integer("n", n, lowest=1)))


def all_partitions(n: int) -> Tensor:
    """Every partition of a few sites.

    Parameters
    ----------
    n : int
        Number of sites, from 1 to 10 (115975 partitions).

    Returns
    -------
    Tensor, int64, (number_of_strata(n), n)
        Labels, in the order of a dictionary.

    Raises
    ------
    ValueError
        If n is no integer from 1 to 10.

    Examples
    --------
    >>> all_partitions(3).tolist()
    [[0, 0, 0], [0, 0, 1], [0, 1, 0], [0, 1, 1], [0, 1, 2]]
    """
    n = checks.integer("n", n, lowest=1, highest=10)
    found = torch.zeros(1, 1, dtype=torch.int64)
    for _ in range(n - 1):
        # The next site joins one of the cells so far or opens a new one.
        choices = found.amax(dim=-1) + 2
        last = torch.cat([torch.arange(int(count)) for count in choices])
        found = torch.cat([found.repeat_interleave(choices, dim=0), last[:, None]], dim=-1)
    return found


def cell_masks(labels, update_prob, steps: int, generator: torch.Generator) -> Tensor:
    """Random updates that treat all sites of a cell alike: the schedules that keep a synchrony subspace.

    Parameters
    ----------
    labels : array_like, int, (n,)
        Partition.
    update_prob : float
        Probability that a cell updates at a step, in (0, 1].
    steps : int
        At least 0.
    generator : torch.Generator

    Returns
    -------
    Tensor, bool, (steps, n)
        True where a site updates.

    Raises
    ------
    ValueError
        If the labels are no partition, the probability lies outside (0, 1], or there is no generator.

    Examples
    --------
    >>> masks = cell_masks([0, 1, 0], 0.5, 100, torch.Generator().manual_seed(0))
    >>> bool((masks[:, 0] == masks[:, 2]).all()), bool((masks[:, 0] == masks[:, 1]).all())
    (True, False)
    """
    labels = _partition.read_labels(labels)
    if labels.dim() != 1:
        raise ValueError(f"labels must be one partition of shape (n,), got shape {tuple(labels.shape)}")
    labels = _partition.canonical(labels)
    update_prob = checks.real_number("update_prob", update_prob, lowest=0, highest=1, open_below=True)
    steps = checks.integer("steps", steps, lowest=0)
    generator = checks.generator("generator", generator)
    cells = int(labels.max()) + 1
    draws = torch.rand(steps, cells, generator=generator, dtype=torch.float64, device=generator.device)
    return (draws < update_prob)[:, labels.to(draws.device)]


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
