"""Contractions in the sup norm: their constant, their fixed point, and the bound they obey.

A map with ``max_i |F(x) - F(y)|_i <= c max_i |x - y|_i`` and c < 1 has one fixed point, and asynchronous iteration
without delays is within ``c**k`` of the initial error after k epochs, in whatever order sites update. For a linear map
``A x + b``, every schedule with bounded delays converges if and only if the spectral radius of ``|A|`` is below 1; that
of A itself only decides synchronous updates (:func:`lib.stale_reads.stale_read_adversary` shows the difference).

Sources: D. Chazan and W. Miranker, Linear Algebra Appl. 2 (1969) 199; G. Baudet, J. ACM 25 (1978) 226; D. Bertsekas and
J. Tsitsiklis, Parallel and Distributed Computation (1989), chapter 6; T. Noda, Numer. Math. 17 (1971) 382, for the
spectral radius of a graph.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from lib import checks, graphs
from lib.graphs import Graph
from lib.live import tracing
from lib.projection import growth_factor
from lib.stale_reads import checked_map

__all__ = [
    "affine_fixed_point",
    "contraction_bound",
    "contraction_constant",
    "synchronous_fixed_point",
]

# A few scalings find the spectral radius of a graph; its bounds have to agree to this share.
_SAME_SUMS = 1e-9
_SCALINGS = 100
# I - A counts as singular where its condition number leaves no digit of the solution.
_NO_DIGIT = 0.1
_SINGULAR = "A must not have the eigenvalue 1: I - A is singular"


def contraction_constant(A, norm: str = "inf", weights=None) -> Tensor:
    """Factor by which a linear map shrinks differences.

    Parameters
    ----------
    A : array_like, (..., n, n), or Graph
        The spectral radius of a graph is found on the CPU and without gradient.
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
        A graph is solved by scipy's sparse factorisation, on the CPU and without gradient.
    b : array_like, (..., n)

    Returns
    -------
    Tensor, (..., n)

    Raises
    ------
    ValueError
        If the shapes do not fit, or I - A is singular to rounding: then there is no fixed point, or more than one.

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
    system = torch.eye(size, dtype=A.dtype, device=A.device) - A
    if not tracing.active():
        condition = torch.linalg.cond(system.detach(), p=1)
        checks.require(condition * torch.finfo(A.dtype).eps < _NO_DIGIT, _SINGULAR)
    system, _ = torch.broadcast_tensors(system, b[..., None])
    return torch.linalg.solve(system, b[..., None])[..., 0]


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


def _weights(weights, like: Tensor) -> Tensor:
    (weights,) = checks.tensors(weights=weights)
    weights = weights.to(like)
    checks.require(weights > 0, "weights must be above 0", weights)
    return weights


def _sparse_abs_radius(graph: Graph) -> Tensor:
    """Spectral radius of |A|: the largest over the strongly connected components, each of which is irreducible."""
    from scipy.sparse.csgraph import connected_components

    A = abs(graphs.sparse(graph)).astype(float)
    A.eliminate_zeros()
    _, component = connected_components(A, connection="strong")
    largest = float(A.diagonal().max())  # a component of one site has its own weight alone
    ends = np.cumsum(np.bincount(component))
    for sites in np.split(np.argsort(component, kind="stable"), ends[:-1]):
        if len(sites) > 1:
            largest = max(largest, _perron_root(A[sites][:, sites]))
    return graph.weight.new_tensor(largest)


def _perron_root(A) -> float:
    """Spectral radius of an irreducible matrix with entries of at least 0, sparse, by Noda's iteration.

    The row sums bound it from both sides. Scaling by the solution of ``(highest row sum - A) x = 1`` brings the bounds
    together, in the end quadratically, also where eigenvalues crowd at the radius.
    """
    from scipy.sparse import diags_array, eye_array
    from scipy.sparse.linalg import splu

    highest, lowest = _row_sums(A)
    if highest == lowest:  # a regular graph
        return highest
    A = _evened(A)
    highest, lowest = _row_sums(A)
    for _ in range(_SCALINGS):
        try:
            x = splu((highest * eye_array(A.shape[0]) - A).tocsc()).solve(np.ones(A.shape[0]))
        except RuntimeError:  # singular: the highest sum is the radius
            break
        if not (x > 0).all():
            break
        scaled = diags_array(1 / x) @ A @ diags_array(x)
        before = highest
        highest, lowest = _row_sums(scaled)
        if highest >= before:  # they fall until rounding stops them
            highest = before
            break
        A = scaled
    bounds = f"between {lowest:g} and {highest:g}"
    checks.require(highest - lowest <= _SAME_SUMS * highest, f"A has weights too far apart: its radius is {bounds}")
    return highest


def _evened(A):
    """The matrix scaled, D^-1 A D, so that the logarithms of its entries have the least squares.

    Weights that differ between the two directions of an edge give eigenvectors over many orders of magnitude, which the
    iteration would take hundreds of steps to find; for a path or a ring this finds them at once.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.linalg import splu

    A = A.tocoo()
    edge, one = np.arange(A.nnz), np.ones(A.nnz)
    difference = csr_array((np.r_[one, -one], (np.r_[edge, edge], np.r_[A.col, A.row])), shape=(A.nnz, A.shape[0]))
    logarithm = np.log(A.data)
    right = difference.T @ (logarithm.mean() - logarithm)
    held = csr_array(([1.0], ([0], [0])), shape=A.shape)  # only differences count: the first site stays
    exponent = splu((difference.T @ difference + held).tocsc()).solve(right)
    return csr_array((A.data * np.exp(difference @ exponent), (A.row, A.col)), shape=A.shape)


def _row_sums(A) -> tuple[float, float]:
    sums = np.asarray(A.sum(axis=1)).ravel()
    return float(sums.max()), float(sums.min())


def _sparse_fixed_point(graph: Graph, b) -> Tensor:
    from scipy.sparse import eye_array
    from scipy.sparse.linalg import LinearOperator, norm, onenormest, splu

    (b,) = checks.tensors(b=b)
    checks.shape("b", b, graph.size)
    right = b.detach().cpu().to(torch.float64).reshape(-1, graph.size)
    system = (eye_array(graph.size) - graphs.sparse(graph).astype(float)).tocsc()
    try:
        factors = splu(system)
    except RuntimeError as problem:
        raise ValueError(_SINGULAR) from problem
    inverse = LinearOperator(
        system.shape, matvec=factors.solve, rmatvec=lambda y: factors.solve(y, trans="T"), dtype=np.float64
    )
    condition = norm(system, 1) * onenormest(inverse, t=1)  # more columns than one would be drawn at random
    checks.require(bool(condition * np.finfo(np.float64).eps < _NO_DIGIT), _SINGULAR)
    solved = torch.from_numpy(factors.solve(right.numpy().T).T.copy())
    return solved.reshape(b.shape).to(b)
