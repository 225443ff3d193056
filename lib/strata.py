"""Strata of a lattice: the sets of states in which some sites agree.

A partition of the sites stands for the set of states that are equal within each cell, its *synchrony subspace* (or
diagonal, or stratum). A partition is a tensor of labels, one integer for each site; cells are numbered from 0 in the
order of their first site. Coarser partitions have smaller subspaces: the coarsest is full synchrony.

The distance of the same paper that forgives phase offsets stands in :mod:`lib.evolution_metric`, which this module
passes on.

Sources: strata are our concrete reading of F. Alpay, arXiv:2505.09898, whose definitions were not available; synchrony
subspaces follow M. Golubitsky and I. Stewart, Bull. Amer. Math. Soc. 43 (2006) 305.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lib import _partition, checks
from lib.evolution_metric import evolution_distance, phase_offset_distance, phase_offset_matrix

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
    >>> stratum([0.05, 3.0, 6.25], tol=0.1, period=6.2832).tolist()
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
    labels = _partition.canonical(_partition.read_partition(labels))
    update_prob = checks.real_number("update_prob", update_prob, lowest=0, highest=1, open_below=True)
    steps = checks.integer("steps", steps, lowest=0)
    generator = checks.generator("generator", generator)
    cells = int(labels.max()) + 1
    draws = torch.rand(steps, cells, generator=generator, dtype=torch.float64, device=generator.device)
    return (draws < update_prob)[:, labels.to(draws.device)]
