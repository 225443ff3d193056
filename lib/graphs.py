"""Graphs of sites: rings, tori, complete graphs, and any other from its edges, its matrix or networkx.

The graph itself and sums over neighbours come from :mod:`lib.neighbours`. Site ``target`` of an edge reads site
``source``; an undirected graph holds each edge in both directions. Sites of a lattice are numbered in C order (the last
side runs fastest).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lib import checks
from lib.neighbours import (
    Graph,
    degrees,
    dense,
    neighbour_mean,
    neighbour_sum,
    row_stochastic,
    sparse,
)

__all__ = [
    "Graph",
    "complete",
    "degrees",
    "dense",
    "from_adjacency",
    "from_edges",
    "from_networkx",
    "neighbour_mean",
    "neighbour_sum",
    "ring",
    "row_stochastic",
    "sparse",
    "torus",
]


def ring(size: int, reach: int = 1) -> Graph:
    """Ring on which every site reads its ``reach`` nearest sites on either side.

    Parameters
    ----------
    size : int
        Number of sites, at least ``2 * reach + 1``.
    reach : int
        At least 1.

    Raises
    ------
    ValueError
        If an argument is no integer or too small.

    Examples
    --------
    >>> dense(ring(4))
    tensor([[0., 1., 0., 1.],
            [1., 0., 1., 0.],
            [0., 1., 0., 1.],
            [1., 0., 1., 0.]], dtype=torch.float64)
    """
    reach = checks.integer("reach", reach, lowest=1)
    size = checks.integer("size", size, lowest=2 * reach + 1)
    site = torch.arange(size)
    shifts = [shift for distance in range(1, reach + 1) for shift in (-distance, distance)]
    return _lattice(size, site, [(site + shift) % size for shift in shifts])


def torus(*sides: int) -> Graph:
    """Periodic lattice in one, two or three dimensions: every site reads its two nearest sites along each side.

    Parameters
    ----------
    *sides : int
        One to three numbers of sites, each at least 3 (on a shorter side the two neighbours would be the same site).

    Raises
    ------
    ValueError
        If there are no or more than three sides, or one is no integer of at least 3.

    Examples
    --------
    >>> lattice = torus(4, 5)
    >>> lattice.size, lattice.source.shape
    (20, torch.Size([80]))
    """
    if not 1 <= len(sides) <= 3:
        raise ValueError(f"sides must be one to three integers, got {sides!r}")
    sides = tuple(checks.integer("sides", side, lowest=3) for side in sides)
    site = torch.arange(int(np.prod(sides))).reshape(sides)
    rolls = [site.roll(shift, axis) for axis in range(len(sides)) for shift in (1, -1)]
    return _lattice(site.numel(), site, rolls)


def complete(size: int) -> Graph:
    """Graph on which every site reads every other one.

    Parameters
    ----------
    size : int
        Number of sites, at least 2. The graph holds ``size * (size - 1)`` edges: a mean over all sites is cheaper as
        ``x.mean(dim=-1)``.

    Raises
    ------
    ValueError
        If ``size`` is no integer of at least 2.

    Examples
    --------
    >>> degrees(complete(4))
    tensor([3., 3., 3., 3.], dtype=torch.float64)
    """
    size = checks.integer("size", size, lowest=2)
    target, source = (~torch.eye(size, dtype=torch.bool)).nonzero(as_tuple=True)
    return Graph(size, source, target, torch.ones(source.shape[0], dtype=torch.float64))


def from_edges(edges, size: int, directed: bool = False) -> Graph:
    """Graph of a list of pairs.

    Parameters
    ----------
    edges : array_like, int, (edges, 2)
        Pairs of sites from 0 to ``size - 1``; may be empty.
    size : int
        Number of sites, at least 1.
    directed : bool
        Whether a pair (a, b) only lets b read a. Otherwise each reads the other.

    Raises
    ------
    ValueError
        If the edges are no pairs of integers, name a site that does not exist, or repeat.

    Examples
    --------
    >>> path = from_edges([(0, 1), (1, 2)], size=3)
    >>> neighbour_sum(path, [1.0, 10.0, 100.0])
    tensor([ 10., 101.,  10.], dtype=torch.float64)
    """
    size = checks.integer("size", size, lowest=1)
    directed = checks.flag("directed", directed)
    pairs = _pairs(edges)
    checks.require((pairs >= 0) & (pairs < size), f"edges must hold sites from 0 to {size - 1}", pairs)
    source, target = pairs.unbind(dim=-1)
    if not directed:
        loop = source == target
        source, target = torch.cat([source, target[~loop]]), torch.cat([target, source[~loop]])
    if torch.unique(target * size + source).shape[0] < source.shape[0]:
        raise ValueError("edges must not repeat; without directed, (a, b) and (b, a) are the same edge")
    return Graph(size, source, target, torch.ones(source.shape[0], dtype=torch.float64, device=source.device))


def from_adjacency(A) -> Graph:
    """Graph of an adjacency matrix: site i reads site j where A[i, j] is not 0.

    Parameters
    ----------
    A : array_like or scipy.sparse array, (n, n)
        Weights. A dense tensor keeps its type and device, a sparse array becomes float64 on the CPU.

    Raises
    ------
    ValueError
        If A is not one square matrix of finite real numbers.

    Examples
    --------
    >>> from_adjacency([[0.0, 0.5], [1.0, 0.0]]).weight
    tensor([0.5000, 1.0000], dtype=torch.float64)
    """
    if hasattr(A, "tocoo"):
        return _from_sparse(A)
    (A,) = checks.tensors(A=A)
    size = checks.square("A", A)
    if A.dim() != 2:
        raise ValueError(f"A must be a single matrix, got shape {tuple(A.shape)}")
    target, source = A.nonzero(as_tuple=True)
    return Graph(size, source, target, A[target, source])


def from_networkx(G) -> Graph:
    """Graph of a networkx graph, its nodes numbered in the order of ``list(G)``.

    Parameters
    ----------
    G : networkx.Graph or networkx.DiGraph
        The edge attribute ``weight`` is used where there is one, 1 elsewhere. In a directed graph an edge u -> v lets v
        read u.

    Raises
    ------
    ValueError
        If G is no networkx graph, or has no node.

    Examples
    --------
    >>> import networkx
    >>> degrees(from_networkx(networkx.path_graph(3)))
    tensor([1., 2., 1.], dtype=torch.float64)
    """
    import networkx

    if not isinstance(G, networkx.Graph) or len(G) == 0:
        raise ValueError(f"G must be a networkx graph with at least one node, got {checks.describe(G)}")
    return from_adjacency(networkx.to_scipy_sparse_array(G, weight="weight", dtype=float).T)


def _lattice(size: int, site: Tensor, read: list[Tensor]) -> Graph:
    source = torch.stack(read).reshape(-1)
    target = site.reshape(-1).repeat(len(read))
    return Graph(size, source, target, torch.ones(source.shape[0], dtype=torch.float64))


def _pairs(edges) -> Tensor:
    """Read pairs of integers as an int64 tensor of shape (edges, 2)."""
    try:
        pairs = edges if isinstance(edges, Tensor) else torch.as_tensor(np.array(edges))
    except (TypeError, ValueError, RuntimeError):
        pairs = torch.empty(0)
    if pairs.numel() == 0 and isinstance(edges, (list, tuple)) and len(edges) == 0:
        return torch.empty(0, 2, dtype=torch.int64)
    whole = pairs.dtype in (torch.int64, torch.int32, torch.int16, torch.uint8, torch.int8)
    if not whole or pairs.dim() != 2 or pairs.shape[-1] != 2:
        raise ValueError(f"edges must be pairs of integers, got {checks.describe(edges)}")
    return pairs.to(torch.int64)


def _from_sparse(A) -> Graph:
    if A.ndim != 2 or A.shape[0] != A.shape[1] or A.shape[0] == 0:
        raise ValueError(f"A must be a square matrix, got shape {tuple(A.shape)}")
    if A.dtype.kind not in "iuf":
        raise ValueError(f"A must be real numbers, got {A.dtype}")
    A = A.tocsr().astype(float)
    A.sum_duplicates()
    A.eliminate_zeros()
    A = A.tocoo()
    row, column = (torch.from_numpy(index.astype(np.int64)) for index in (A.row, A.col))
    weight = torch.from_numpy(A.data)
    checks.require(weight.isfinite(), "A must be finite, but holds NaN or infinity")
    return Graph(A.shape[0], column, row, weight)
