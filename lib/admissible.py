"""Maps and flows that treat sites alike, and a test of whether a partition stays synchronised under one.

An *admissible* vector field lets every site read its own state and, in one and the same way, what comes in over its
edges: ``dx_i/dt = omega_i f(x_i) + strength * sum over j of A_ij h(x_j - x_i)``. The synchrony subspace of an equitable
partition whose cells have equal rates is invariant under all of them. Sites are numbers; times are in the unit of the
inverse rates.

Sources: M. Golubitsky and I. Stewart, Bull. Amer. Math. Soc. 43 (2006) 305.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lib import _partition, checks, graphs

__all__ = ["admissible_field", "integrate", "invariance_defect", "is_invariant"]

Field = Callable[[Tensor], Tensor]


def _euler(field: Field, x: Tensor, dt: Tensor) -> Tensor:
    return x + dt * field(x)


def _runge_kutta(field: Field, x: Tensor, dt: Tensor) -> Tensor:
    first = field(x)
    second = field(x + dt / 2 * first)
    third = field(x + dt / 2 * second)
    fourth = field(x + dt * third)
    return x + dt / 6 * (first + 2 * (second + third) + fourth)


METHODS = {"runge-kutta": _runge_kutta, "euler": _euler}


def admissible_field(graph: graphs.Graph, rates, internal: Field, coupling: Field, strength=1.0) -> Field:
    """Vector field omega_i f(x_i) + strength * sum over j of A_ij h(x_j - x_i).

    Parameters
    ----------
    graph : Graph
        Who reads whom.
    rates : array_like, (..., n)
        omega, the speed of each site's own clock.
    internal, coupling : callable
        f and h, elementwise.
    strength : array_like, (...)
        Of the coupling.

    Returns
    -------
    callable
        From states (..., n), in the type of the rates, to their rates of change (..., n).

    Raises
    ------
    ValueError
        If the rates do not fit the graph, or f or h is no function.

    Examples
    --------
    >>> pair = graphs.from_edges([(0, 1)], size=2)
    >>> field = admissible_field(pair, [1.0, 2.0], lambda x: -x, torch.tanh, strength=0.5)
    >>> field(torch.tensor([1.0, 1.0], dtype=torch.float64))
    tensor([-1., -2.], dtype=torch.float64)
    """
    if not isinstance(graph, graphs.Graph):
        raise ValueError(f"graph must be a Graph of lib.graphs, got {checks.describe(graph)}")
    rates, strength = checks.tensors(rates=rates, strength=strength)
    checks.shape("rates", rates, graph.size)
    checks.batch(rates=rates.shape[:-1], strength=strength.shape)
    for name, function in (("internal", internal), ("coupling", coupling)):
        if not callable(function):
            raise ValueError(f"{name} must be a function of a tensor, got {checks.describe(function)}")
    weight = graph.weight.to(rates.dtype)
    strength = strength[..., None]

    def field(x: Tensor) -> Tensor:
        if x.dtype != rates.dtype or x.shape[-1:] != (graph.size,):
            wanted = f"a {rates.dtype} tensor of shape (..., {graph.size})"
            raise ValueError(f"states of this field must be {wanted}, like its rates, got {checks.describe(x)}")
        pull = weight * coupling(x[..., graph.source] - x[..., graph.target])
        total = torch.zeros_like(x).index_add(-1, graph.target, pull)
        return rates * internal(x) + strength * total

    return field


def integrate(
    field: Field, x0, steps: int, dt, *, masks=None, method: str = "runge-kutta", keep: str = "path"
) -> Tensor:
    """Follow a vector field step by step, of all sites or of those that update at a step.

    Parameters
    ----------
    field : callable
        From states (..., n) to their rates of change.
    x0 : array_like, (..., n)
        States at time 0.
    steps : int
        At least 0.
    dt : array_like, (...)
        Length of a step, above 0.
    masks : Tensor of bool, (..., steps, n), optional
        Who updates at each step; the others keep their state and lose the time. All by default.
    method : {"runge-kutta", "euler"}
        The classical method of fourth order, or the plain step x + dt * field(x).
    keep : {"path", "last"}
        Return every step or the last one only.

    Returns
    -------
    Tensor, (..., steps + 1, n) or (..., n)

    Raises
    ------
    ValueError
        If the field does not keep the shape, dt is not above 0, ``steps`` is negative, or the masks do not fit.

    Examples
    --------
    >>> decay = integrate(lambda x: -x, [1.0], steps=10, dt=0.1, keep="last")
    >>> round(float(decay), 5)  # 1 / e
    0.36788
    """
    x, dt = checks.tensors(x0=x0, dt=dt)
    steps = checks.integer("steps", steps, lowest=0)
    checks.choice("keep", keep, ("path", "last"))
    checks.choice("method", method, tuple(METHODS))
    checks.shape("x0", x, None)
    batch = checks.batch(x0=x.shape[:-1], dt=dt.shape)
    checks.require(dt > 0, "dt must be above 0", dt)
    x = _check_field("field", field, x.expand(*batch, -1))
    dt = dt[..., None]
    masks = _read_masks(masks, x, steps)
    advance = METHODS[method]
    path = [x]
    for tick in range(steps):
        after = advance(field, x, dt)
        x = after if masks is None else torch.where(masks[..., tick, :], after, x)
        if keep == "path":
            path.append(x)
    return torch.stack(path, dim=-2) if keep == "path" else x


def invariance_defect(F: Field, labels, samples: int = 32, seed: int = 0) -> Tensor:
    """How far a map leads out of a synchrony subspace: the largest difference within a cell after one application.

    Parameters
    ----------
    F : callable
        A map or vector field, from states (..., n) to (..., n).
    labels : array_like, int, (n,)
        Partition.
    samples : int
        Random states that are constant on the cells (independent standard normal values), at least 1.
    seed : int
        Of these states, at least 0.

    Returns
    -------
    Tensor, 0-dimensional
        0, up to rounding, if the subspace is invariant.

    Raises
    ------
    ValueError
        If the labels are no partition or F does not keep the shape.

    Examples
    --------
    >>> float(invariance_defect(lambda x: x.flip(-1), [0, 1, 0]))
    0.0
    """
    labels = _partition.canonical(_partition.read_partition(labels)).cpu()
    samples = checks.integer("samples", samples, lowest=1)
    generator = torch.Generator().manual_seed(checks.integer("seed", seed, lowest=0, highest=2**63 - 1))
    values = torch.randn(samples, int(labels.max()) + 1, generator=generator, dtype=torch.float64)
    after = _apply("F", F, values[:, labels])
    # Differences from the first site of the cell, and from there between any two.
    cell = labels.expand(samples, -1)
    largest = torch.full_like(values, -torch.inf).scatter_reduce(-1, cell, after, "amax")
    smallest = torch.full_like(values, torch.inf).scatter_reduce(-1, cell, after, "amin")
    return (largest - smallest).max()


def is_invariant(F: Field, labels, tol: float = 1e-9, samples: int = 32, seed: int = 0) -> bool:
    """Whether a map keeps a synchrony subspace, on random states.

    Parameters
    ----------
    F, labels, samples, seed
        As for :func:`invariance_defect`.
    tol : float
        Largest difference within a cell that counts as rounding, at least 0.

    Returns
    -------
    bool
        A test on samples: False is certain, True is not a proof.

    Raises
    ------
    ValueError
        As :func:`invariance_defect`, and if ``tol`` is negative.

    Examples
    --------
    >>> is_invariant(lambda x: x.roll(1, -1), [0, 1, 0, 1]), is_invariant(lambda x: x.roll(1, -1), [0, 0, 1, 1])
    (True, False)
    """
    tol = checks.real_number("tol", tol, lowest=0)
    return float(invariance_defect(F, labels, samples, seed)) <= tol


def _apply(name: str, function: Field, x: Tensor) -> Tensor:
    if not callable(function):
        raise ValueError(f"{name} must be a function of a tensor, got {checks.describe(function)}")
    try:
        after = function(x)
    except (RuntimeError, IndexError, ValueError) as problem:
        raise ValueError(f"{name} must accept states of shape {tuple(x.shape)}, but: {problem}") from problem
    if not isinstance(after, Tensor) or after.shape != x.shape:
        raise ValueError(f"{name} must keep the shape {tuple(x.shape)}, but it returned {checks.describe(after)}")
    return after


def _check_field(name: str, field: Field, x: Tensor) -> Tensor:
    """The states in the shape of the field's batch."""
    if not callable(field):
        raise ValueError(f"{name} must be a function of a tensor, got {checks.describe(field)}")
    slope = field(x)
    if isinstance(slope, Tensor) and slope.shape[-1:] == x.shape[-1:]:
        # The field may bring a batch of its own, one of rates for instance.
        checks.batch(**{name: slope.shape[:-1], "x0": x.shape[:-1]})
        return x.expand(torch.broadcast_shapes(slope.shape, x.shape))
    came = checks.describe(slope)
    raise ValueError(f"{name} must keep the shape {tuple(x.shape)} of the states, but it returned {came}")


def _read_masks(masks, x: Tensor, steps: int) -> Tensor | None:
    if masks is None:
        return None
    if not isinstance(masks, Tensor) or masks.dtype != torch.bool:
        raise ValueError(f"masks must be a tensor of true and false, got {checks.describe(masks)}")
    wanted = (*x.shape[:-1], steps, x.shape[-1])
    try:
        return masks.to(x.device).expand(wanted)
    except RuntimeError as problem:
        raise ValueError(f"masks must have a shape that broadcasts to {wanted}, got {tuple(masks.shape)}") from problem
