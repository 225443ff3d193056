"""Graphs of sites: who reads whom, with what weight, and sums over neighbours without a dense matrix.

A directed edge ``source -> target`` says that the target reads the source; the adjacency matrix has the weight of that
edge in row ``target`` and column ``source``, so that a sum over neighbours is the product A x. An undirected graph
holds each edge in both directions. Sites of a lattice are numbered in C order (the last side runs fastest).

A graph takes 24 bytes per directed edge.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from lib import checks

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

# Up to this many neighbours, equal at every site, are added one after the other instead of being scattered: faster, and
# the same rounding everywhere.
_FEW = 12


@dataclass(frozen=True, eq=False)
class Graph:
    """Sites and weighted directed edges, sorted by target and then by source.

    Parameters
    ----------
    size : int
        Number of sites, at least 1.
    source, target : Tensor, int64, (edges,)
        Who is read, and who reads; from 0 to ``size - 1``. They are sorted on the way in.
    weight : Tensor, floating, (edges,)
        Weight of each edge.

    Raises
    ------
    ValueError
        If the shapes, types or devices of the three differ, a site does not exist, a weight is not finite, or an edge
        is given twice.

    Examples
    --------
    >>> one_way = Graph(2, torch.tensor([0]), torch.tensor([1]), torch.tensor([0.5]))
    >>> neighbour_sum(one_way, torch.tensor([4.0, 0.0]))
    tensor([0., 2.])
    """

    size: int
    source: Tensor
    target: Tensor
    weight: Tensor

    def __post_init__(self):
        size = checks.integer("size", self.size, lowest=1)
        for name in ("source", "target"):
            sites = getattr(self, name)
            if not isinstance(sites, Tensor) or sites.dtype != torch.int64 or sites.dim() != 1:
                raise ValueError(f"{name} must be an int64 tensor of shape (edges,), got {checks.describe(sites)}")
            checks.require((sites >= 0) & (sites < size), f"{name} must hold sites from 0 to {size - 1}", sites)
        if not isinstance(self.weight, Tensor) or not self.weight.dtype.is_floating_point:
            raise ValueError(f"weight must be a floating tensor, got {checks.describe(self.weight)}")
        for name in ("target", "weight"):
            other = getattr(self, name)
            if other.shape != self.source.shape:
                raise ValueError(
                    f"{name} must have the shape of source, {tuple(self.source.shape)}, got {tuple(other.shape)}"
                )
            if other.device != self.source.device:
                raise ValueError(f"{name} must be on the device of source, {self.source.device}, got {other.device}")
        checks.require(self.weight.isfinite(), "weight must be finite")
        key, order = (self.target * size + self.source).sort()
        again = key[1:] == key[:-1]
        if bool(again.any()):
            twice = int(key[1:][again][0])
            raise ValueError(f"source and target must not name an edge twice, got {twice % size} -> {twice // size}")
        object.__setattr__(self, "size", size)
        for name in ("source", "target", "weight"):
            object.__setattr__(self, name, getattr(self, name)[order])

    def to(self, where: torch.device | str) -> Graph:
        """The same graph on another device.

        Raises
        ------
        ValueError
            If ``where`` is no device.

        Examples
        --------
        >>> ring(3).to("cpu").source.device
        device(type='cpu')
        """
        where = checks.device("where", where)
        return Graph(self.size, self.source.to(where), self.target.to(where), self.weight.to(where))

    @cached_property
    def unweighted(self) -> bool:
        """Whether every edge has weight 1."""
        return bool((self.weight == 1).all())

    @cached_property
    def total(self) -> Tensor:
        """Sum of the weights with which each site reads others, (size,)."""
        return self.weight.new_zeros(self.size).index_add(0, self.target, self.weight)

    @cached_property
    def neighbours(self) -> Tensor | None:
        """Who each site reads, (k, size), where every site reads the same small number k of others; else None."""
        count = torch.bincount(self.target, minlength=self.size)
        few = int(count[0])
        if not 1 <= few <= _FEW or bool((count != few).any()):
            return None
        return self.source.reshape(self.size, few).T.contiguous()


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


def neighbour_sum(graph: Graph, x) -> Tensor:
    """Weighted sum over the sites that each site reads, A x.

    Parameters
    ----------
    graph : Graph
    x : array_like, (..., n)
        Value at each site; a tensor has to be on the device of the graph. Weights are taken in its type.

    Returns
    -------
    Tensor, (..., n)
        0 at a site that reads nobody.

    Raises
    ------
    ValueError
        If x does not have one finite value per site, or is on another device.

    Examples
    --------
    >>> neighbour_sum(ring(4), [1.0, 2.0, 3.0, 10.0])
    tensor([12.,  4., 12.,  4.], dtype=torch.float64)
    """
    (x,) = checks.tensors(x=x)
    _check_graph(graph, x)
    return edge_sum(graph, x)


def neighbour_mean(graph: Graph, x) -> Tensor:
    """Weighted mean over the sites that each site reads.

    Parameters
    ----------
    graph, x
        As in :func:`neighbour_sum`; the weights that a site gives must not add up to 0.

    Returns
    -------
    Tensor, (..., n)

    Raises
    ------
    ValueError
        As :func:`neighbour_sum`, and if the weights of a site add up to 0, as where it reads nobody.

    Examples
    --------
    >>> neighbour_mean(ring(4), [1.0, 2.0, 3.0, 10.0])
    tensor([6., 2., 6., 2.], dtype=torch.float64)
    """
    (x,) = checks.tensors(x=x)
    _check_graph(graph, x)
    return edge_sum(graph, x) / _divisors(graph).to(x.dtype)


def edge_sum(graph: Graph, x: Tensor) -> Tensor:
    if graph.neighbours is None:
        read = x[..., graph.source]
        read = read if graph.unweighted else read * graph.weight.to(x.dtype)
        return torch.zeros_like(x).index_add(-1, graph.target, read)
    weights = None if graph.unweighted else graph.weight.to(x.dtype).reshape(graph.size, -1).T
    total = None
    for k, neighbour in enumerate(graph.neighbours):
        read = x[..., neighbour] if weights is None else x[..., neighbour] * weights[k]
        total = read if total is None else total + read
    return total


def degrees(graph: Graph) -> Tensor:
    """Sum of the weights with which each site reads others: their number where all weights are 1.

    Parameters
    ----------
    graph : Graph

    Returns
    -------
    Tensor, (n,)

    Raises
    ------
    ValueError
        If ``graph`` is no Graph.

    Examples
    --------
    >>> degrees(from_edges([(0, 1), (0, 2)], size=3))
    tensor([2., 1., 1.], dtype=torch.float64)
    """
    _check_graph(graph)
    return graph.total.clone()


def dense(graph: Graph) -> Tensor:
    """Adjacency matrix, weight of ``source -> target`` in row ``target``.

    Parameters
    ----------
    graph : Graph

    Returns
    -------
    Tensor, (n, n)

    Raises
    ------
    ValueError
        If ``graph`` is no Graph.

    Examples
    --------
    >>> dense(from_edges([(0, 1)], size=2, directed=True))
    tensor([[0., 0.],
            [1., 0.]], dtype=torch.float64)
    """
    _check_graph(graph)
    A = graph.weight.new_zeros(graph.size, graph.size)
    A[graph.target, graph.source] = graph.weight
    return A


def sparse(graph: Graph):
    """Adjacency matrix for scipy.

    Parameters
    ----------
    graph : Graph

    Returns
    -------
    scipy.sparse.csr_array, (n, n)

    Raises
    ------
    ValueError
        If ``graph`` is no Graph.

    Examples
    --------
    >>> sparse(ring(5)).nnz
    10
    """
    from scipy.sparse import csr_array

    _check_graph(graph)
    row, column, weight = (edge.cpu().numpy() for edge in (graph.target, graph.source, graph.weight))
    return csr_array((weight, (row, column)), shape=(graph.size, graph.size))


def row_stochastic(graph: Graph) -> Graph:
    """The graph with weights divided by their sum at each site: every row of its matrix adds up to 1.

    Parameters
    ----------
    graph : Graph
        The weights that a site gives must not add up to 0.

    Raises
    ------
    ValueError
        If ``graph`` is no Graph, or the weights of a site add up to 0.

    Examples
    --------
    >>> row_stochastic(ring(5)).weight.unique()
    tensor([0.5000], dtype=torch.float64)
    """
    _check_graph(graph)
    return Graph(graph.size, graph.source, graph.target, graph.weight / _divisors(graph)[graph.target])


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
    A = A.tocsr().astype(float)  # adds up entries given twice
    A.eliminate_zeros()
    A = A.tocoo()
    row, column = (torch.from_numpy(index.astype(np.int64)) for index in (A.row, A.col))
    weight = torch.from_numpy(A.data)
    checks.require(weight.isfinite(), "A must be finite, but holds NaN or infinity")
    return Graph(A.shape[0], column, row, weight)


def _divisors(graph: Graph) -> Tensor:
    checks.require(graph.total != 0, "graph must give every site neighbours whose weights do not add up to 0")
    return graph.total


def _check_graph(graph, x: Tensor | None = None) -> None:
    if not isinstance(graph, Graph):
        raise ValueError(f"graph must be a Graph of lib.graphs, got {checks.describe(graph)}")
    if x is not None:
        checks.shape("x", x, graph.size)
        if x.device != graph.weight.device:
            raise ValueError(f"x must be on the device of the graph, {graph.weight.device}, got {x.device}")
