"""Contractions in the sup norm: their constant, their fixed point, the bound they obey, and how stale reads break it.

A map with ``max_i |F(x) - F(y)|_i <= c max_i |x - y|_i`` and c < 1 has one fixed point, and asynchronous iteration
without delays is within ``c**k`` of the initial error after k epochs, in whatever order sites update. For a linear map
``A x + b``, every schedule with bounded delays converges if and only if the spectral radius of ``|A|`` is below 1; that
of A itself only decides synchronous updates.

Sources: D. Chazan and W. Miranker, Linear Algebra Appl. 2 (1969) 199; G. Baudet, J. ACM 25 (1978) 226; D. Bertsekas and
J. Tsitsiklis, Parallel and Distributed Computation (1989), chapter 6.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lib import checks, graphs
from lib.graphs import Graph
from lib.projection import growth_factor
from lib.stale_reads import checked_map

__all__ = [
    "affine_fixed_point",
    "contraction_bound",
    "contraction_constant",
    "stale_read_adversary",
    "synchronous_fixed_point",
]

# Graphs up to this size are handed to the dense eigenvalue solver.
_DENSE = 256


def contraction_constant(A, norm: str = "inf", weights=None) -> Tensor:
    """Factor by which a linear map shrinks differences.

    Parameters
    ----------
    A : array_like, (..., n, n), or Graph
    norm : {"inf", "abs_radius"}
        ``"inf"``: the constant in the sup norm ``max |x_i| / w_i``: ``max_i sum_j |A_ij| w_j / w_i``.
        ``"abs_radius"``: the spectral radius of ``|A|``, the least constant that any weights can give; every schedule
        with bounded delays converges if and only if it is below 1.
    weights : array_like, (..., n), optional
        Weights w of the sup norm, above 0; 1 by default. Only with ``"inf"``.

    Returns
    -------
    Tensor, (...)

    Raises
    ------
    ValueError
        If A is not square or not finite, the norm is unknown, or the weights do not fit, are not above 0, or are given
        with ``"abs_radius"``.

    Examples
    --------
    >>> A = [[0.6, -0.6], [0.6, 0.6]]
    >>> float(contraction_constant(A)), round(float(contraction_constant(A, "abs_radius")), 12)
    (1.2, 1.2)
    >>> float(contraction_constant([[0.0, 4.0], [0.01, 0.0]], weights=[20.0, 1.0]))
    0.2
    """
    checks.choice("norm", norm, ("inf", "abs_radius"))
    if norm == "abs_radius" and weights is not None:
        raise ValueError(f"weights must be None with norm='abs_radius', got {checks.describe(weights)}")
    if isinstance(A, Graph):
        if norm == "abs_radius":
            return _sparse_abs_radius(A)
        magnitude = Graph(A.size, A.source, A.target, A.weight.abs())
        w = A.weight.new_ones(A.size) if weights is None else _weights(weights, A.weight)
        checks.shape("weights", w, A.size)
        return (graphs.neighbour_sum(magnitude, w) / w).amax(dim=-1)
    (A,) = checks.tensors(A=A)
    size = checks.square("A", A)
    if norm == "abs_radius":
        return growth_factor(A.abs())
    if weights is None:
        return A.abs().sum(dim=-1).amax(dim=-1)
    w = _weights(weights, A)
    checks.shape("weights", w, size)
    checks.batch(A=A.shape[:-2], weights=w.shape[:-1])
    return ((A.abs() * w[..., None, :]).sum(dim=-1) / w).amax(dim=-1)


def contraction_bound(c, epochs, initial) -> Tensor:
    """Largest error that a contraction leaves after a number of epochs, c**epochs * initial.

    Parameters
    ----------
    c : array_like
        Contraction constant, from 0 to below 1.
    epochs : array_like, int
        Completed epochs, at least 0.
    initial : array_like
        Error at the start, at least 0, in the norm of c. The three are broadcast.

    Returns
    -------
    Tensor
        In the type of ``initial``.

    Raises
    ------
    ValueError
        If a number is out of range or the shapes do not broadcast.

    Examples
    --------
    >>> contraction_bound(0.5, torch.tensor([0, 1, 1, 2]), 8.0)
    tensor([8., 4., 4., 2.], dtype=torch.float64)
    """
    c, epochs, initial = checks.tensors(c=c, epochs=epochs, initial=initial)
    checks.require((c >= 0) & (c < 1), "c must be from 0 to below 1", c)
    checks.require(epochs >= 0, "epochs must be at least 0", epochs)
    checks.require(initial >= 0, "initial must be at least 0", initial)
    checks.batch(c=c.shape, epochs=epochs.shape, initial=initial.shape)
    return c**epochs * initial


def affine_fixed_point(A, b) -> Tensor:
    """Fixed point of x -> A x + b.

    Parameters
    ----------
    A : array_like, (..., n, n), or Graph
        A graph is solved by scipy's sparse factorisation, on the CPU.
    b : array_like, (..., n)

    Returns
    -------
    Tensor, (..., n)

    Raises
    ------
    ValueError
        If the shapes do not fit, or I - A is singular: then there is no fixed point, or more than one.

    Examples
    --------
    >>> affine_fixed_point([[0.0, 0.5], [0.5, 0.0]], [1.0, 1.0])
    tensor([2., 2.], dtype=torch.float64)
    """
    if isinstance(A, Graph):
        return _sparse_fixed_point(A, b)
    A, b = checks.tensors(A=A, b=b)
    size = checks.square("A", A)
    checks.shape("b", b, size)
    checks.batch(A=A.shape[:-2], b=b.shape[:-1])
    identity = torch.eye(size, dtype=A.dtype, device=A.device)
    A, _ = torch.broadcast_tensors(A, b[..., None])
    try:
        return torch.linalg.solve(identity - A, b[..., None])[..., 0]
    except torch.linalg.LinAlgError as problem:
        raise ValueError("A must not have the eigenvalue 1: I - A is singular") from problem


def synchronous_fixed_point(F: Callable[[Tensor], Tensor], x0, sweeps: int = 1000) -> Tensor | None:
    """Fixed point that synchronous updates of all sites reach, by repeating x -> F(x).

    Parameters
    ----------
    F : callable
        Batched map of a tensor (..., n) to one of the same shape.
    x0 : array_like, (..., n)
        Where to start.
    sweeps : int
        At most so many applications of F, at least 1.

    Returns
    -------
    Tensor, (..., n), or None
        None if some replica still moves by more than a few rounding errors after the last sweep.

    Raises
    ------
    ValueError
        If an argument is of the wrong type, or F changes the shape or type of its argument, or writes into it.

    Examples
    --------
    >>> synchronous_fixed_point(torch.cos, [1.0])
    tensor([0.7391], dtype=torch.float64)
    >>> synchronous_fixed_point(torch.neg, [1.0]) is None
    True
    """
    (x,) = checks.tensors(x0=x0)
    checks.shape("x0", x, None)
    sweeps = checks.integer("sweeps", sweeps, lowest=1)
    F = checked_map(F)
    tolerance = 8 * torch.finfo(x.dtype).eps
    for _ in range(sweeps):
        after = F(x)
        still = (after - x).abs().amax(dim=-1) <= tolerance * (1 + after.abs().amax(dim=-1))
        x = after
        if bool(still.all()):
            return x
    return None


def stale_read_adversary(A, bound, updates: int, x0=None, *, longest: int | None = None) -> Tensor:
    """Path of x -> A x, one site after the other, under the stale reads that push each value furthest from 0.

    Sites update in turn. Each term A_ij x_j is read at whichever of the last ``bound + 1`` ticks makes the sum largest,
    or smallest; of the two sums the larger in magnitude is kept.

    Parameters
    ----------
    A : array_like, (..., n, n)
    bound : int, or array_like, (...)
        Largest age of a read in ticks, at least 0; 0 is the exact single-site order, without delay.
    updates : int
        Number of single-site updates, at least 0.
    x0 : array_like, (..., n), optional
        State at the start, and before it; 1 at every site by default.
    longest : int, optional
        How many ticks to remember, at least 0; bounds beyond it act as this. It has to be given where ``bound`` is not
        an integer.

    Returns
    -------
    Tensor, (..., updates + 1, n)

    Raises
    ------
    ValueError
        If A is not square, the shapes do not fit, or a number is out of range.

    Examples
    --------
    >>> A = [[0.6, -0.6], [0.6, 0.6]]
    >>> path = stale_read_adversary(A, [0, 2, 4], updates=400, longest=4)
    >>> for size in path[:, -1].abs().amax(dim=-1):
    ...     print(f"{float(size):.2g}")
    5.6e-45
    0.45
    4.7e+05
    """
    if longest is None:
        longest = bound = checks.integer("bound", bound, lowest=0)
    longest = checks.integer("longest", longest, lowest=0)
    updates = checks.integer("updates", updates, lowest=0)
    A, x, bound = checks.tensors(A=A, x0=[1.0] if x0 is None else x0, bound=bound)
    size = checks.square("A", A)
    checks.require(bound >= 0, "bound must be at least 0", bound)
    x = x.expand(size) if x0 is None else x
    checks.shape("x0", x, size)
    batch = checks.batch(A=A.shape[:-2], x0=x.shape[:-1], bound=bound.shape)
    x = x.expand(*batch, size)
    sites = torch.arange(size, device=x.device)
    too_old = torch.arange(longest + 1, device=x.device) > bound[..., None]
    stored = x[..., None, :].expand(*batch, longest + 1, size)  # newest first
    path = [x]
    for update in range(updates):
        site = update % size
        terms = A[..., site, None, :] * stored
        terms = torch.where(too_old[..., None], terms[..., :1, :], terms)
        highest = terms.amax(dim=-2).sum(dim=-1, keepdim=True)
        lowest = terms.amin(dim=-2).sum(dim=-1, keepdim=True)
        furthest = torch.where(highest.abs() > lowest.abs(), highest, lowest)
        x = torch.where(sites == site, furthest, x)
        stored = torch.cat([x[..., None, :], stored[..., :-1, :]], dim=-2)
        path.append(x)
    return torch.stack(path, dim=-2)


def _weights(weights, like: Tensor) -> Tensor:
    (weights,) = checks.tensors(weights=weights)
    weights = weights.to(like)
    checks.require(weights > 0, "weights must be above 0", weights)
    return weights


def _sparse_abs_radius(graph: Graph) -> Tensor:
    if graph.size <= _DENSE:
        return growth_factor(graphs.dense(graph).abs())
    from scipy.sparse import eye_array
    from scipy.sparse.linalg import eigs

    A = abs(graphs.sparse(graph)).astype(float)
    shift = float(A.sum(axis=1).max())  # makes the Perron root the only eigenvalue of largest modulus
    start = torch.ones(graph.size, dtype=torch.float64).numpy()
    leading = eigs(A + shift * eye_array(graph.size), k=1, which="LM", v0=start, return_eigenvectors=False)
    return graph.weight.new_tensor(float(leading[0].real) - shift)


def _sparse_fixed_point(graph: Graph, b) -> Tensor:
    from scipy.sparse import eye_array
    from scipy.sparse.linalg import splu

    (b,) = checks.tensors(b=b)
    checks.shape("b", b, graph.size)
    right = b.detach().cpu().to(torch.float64).reshape(-1, graph.size)
    try:
        factors = splu((eye_array(graph.size) - graphs.sparse(graph)).tocsc())
    except RuntimeError as problem:
        raise ValueError("A must not have the eigenvalue 1: I - A is singular") from problem
    solved = torch.from_numpy(factors.solve(right.numpy().T).T.copy())
    return solved.reshape(b.shape).to(b)
