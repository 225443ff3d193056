"""Sites and who reads whom: the graph itself, and sums over neighbours without a dense matrix.

A directed edge ``source -> target`` says that the target reads the source; the adjacency matrix has the weight of that
edge in row ``target`` and column ``source``, so that a sum over neighbours is the product A x. An undirected graph
holds each edge in both directions. A graph takes 24 bytes per directed edge. :mod:`lib.graphs` makes graphs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from lib import checks

__all__ = [
    "Graph",
    "degrees",
    "dense",
    "neighbour_mean",
    "neighbour_sum",
    "row_stochastic",
    "sparse",
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
        >>> from lib.graphs import ring
        >>> ring(3).to("cpu").source.device
        device(type='cpu')
        """
        where = checks.device("where", where)
        return Graph(self.size, self.source.to(where), self.target.to(where), self.weight.to(where))

    def __rmul__(self, factor: float) -> Graph:
        """The graph with every weight multiplied by a number, as of the matrix ``factor * A``.

        Raises
        ------
        ValueError
            If ``factor`` is no finite number.

        Examples
        --------
        >>> from lib.graphs import ring
        >>> (0.5 * ring(3)).weight.unique()
        tensor([0.5000], dtype=torch.float64)
        """
        factor = checks.real_number("factor", factor, lowest=-float("inf"))
        return Graph(self.size, self.source, self.target, factor * self.weight)

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
    >>> from lib.graphs import ring
    >>> neighbour_sum(ring(4), [1.0, 2.0, 3.0, 10.0])
    tensor([12.,  4., 12.,  4.], dtype=torch.float64)
    """
    (x,) = checks.tensors(x=x)
    check_graph(graph, x)
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
    >>> from lib.graphs import ring
    >>> neighbour_mean(ring(4), [1.0, 2.0, 3.0, 10.0])
    tensor([6., 2., 6., 2.], dtype=torch.float64)
    """
    (x,) = checks.tensors(x=x)
    check_graph(graph, x)
    return edge_sum(graph, x) / _divisors(graph).to(x.dtype)


def edge_sum(graph: Graph, x: Tensor) -> Tensor:
    """:func:`neighbour_sum` of arguments that have been checked; values may be NaN or infinite."""
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
    >>> from lib.graphs import from_edges
    >>> degrees(from_edges([(0, 1), (0, 2)], size=3))
    tensor([2., 1., 1.], dtype=torch.float64)
    """
    check_graph(graph)
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
    >>> from lib.graphs import from_edges
    >>> dense(from_edges([(0, 1)], size=2, directed=True))
    tensor([[0., 0.],
            [1., 0.]], dtype=torch.float64)
    """
    check_graph(graph)
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
    >>> from lib.graphs import ring
    >>> sparse(ring(5)).nnz
    10
    """
    from scipy.sparse import csr_array

    check_graph(graph)
    row, column, weight = (edge.detach().cpu().numpy() for edge in (graph.target, graph.source, graph.weight))
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
    >>> from lib.graphs import ring
    >>> row_stochastic(ring(5)).weight.unique()
    tensor([0.5000], dtype=torch.float64)
    """
    check_graph(graph)
    return Graph(graph.size, graph.source, graph.target, graph.weight / _divisors(graph)[graph.target])


def _divisors(graph: Graph) -> Tensor:
    checks.require(graph.total != 0, "graph must give every site neighbours whose weights do not add up to 0")
    return graph.total


def check_graph(graph, x: Tensor | None = None) -> None:
    """Check that a graph is one, and that values belong to its sites."""
    if not isinstance(graph, Graph):
        raise ValueError(f"graph must be a Graph of lib.graphs, got {checks.describe(graph)}")
    if x is not None:
        checks.shape("x", x, graph.size)
        if x.device != graph.weight.device:
            raise ValueError(f"x must be on the device of the graph, {graph.weight.device}, got {x.device}")
