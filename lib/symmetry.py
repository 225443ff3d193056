"""Symmetry of graphs and what is weaker and enough: equitable partitions, quotients, orbits.

A partition of the sites is *equitable* (balanced) if all sites of a cell read the same total weight from every cell.
Its synchrony subspace is then invariant under every map that treats sites alike (:mod:`lib.admissible`), whether or not
a symmetry of the graph stands behind it. Orbits of automorphisms are always equitable; the converse fails.

Partitions are tensors of labels, one integer for each site, cells numbered from 0 in the order of their first site.
Sites are numbered as in the graph, for a networkx graph in the order of ``list(G)``. A graph may be a
:class:`lib.graphs.Graph`, a networkx graph, a dense adjacency matrix, or one of scipy.sparse, everywhere.

Sources: M. Golubitsky and I. Stewart, Bull. Amer. Math. Soc. 43 (2006) 305; I. Stewart, M. Golubitsky, M. Pivato, SIAM
J. Appl. Dyn. Syst. 2 (2003) 609 (balanced colourings).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lib import _graph_forms, _partition, _refinement, graphs
from lib.automorphisms import automorphisms, orbit_partition, orbits

__all__ = [
    "automorphisms",
    "equitable_partition",
    "indicator_matrix",
    "is_equitable",
    "orbit_partition",
    "orbits",
    "quotient_matrix",
]


def equitable_partition(G, colors=None, *, weight: str | None = None) -> Tensor:
    """Coarsest equitable partition, by colour refinement.

    Parameters
    ----------
    G : Graph, networkx.Graph, array_like, or scipy.sparse array, (n, n)
        Who reads whom; row i of a matrix holds what site i reads.
    colors : sequence or dict, optional
        What the sites are told apart by at the start, such as the rate of each one's clock: n numbers or texts, equal
        for sites of one class (for a networkx graph also a dict by node). All alike by default.
    weight : str, optional
        The attribute that holds the weights of a networkx graph's edges; all count 1 by default.

    Returns
    -------
    Tensor, int64, (n,)
        Labels.

    Raises
    ------
    ValueError
        If G is no graph of these kinds, or there is not one colour for each site.

    Notes
    -----
    Every equitable partition that respects the colours is at least as fine as this one. Takes about a second for a
    graph of 10^5 edges.

    Examples
    --------
    >>> import networkx
    >>> equitable_partition(networkx.path_graph(5)).tolist()
    [0, 1, 2, 1, 0]
    >>> equitable_partition(networkx.path_graph(5), colors=[1, 2, 1.5, 2, 1.2]).tolist()
    [0, 1, 2, 3, 4]
    """
    graph, nodes = _graph_forms.read_graph("G", G, weight)
    labels = _graph_forms.read_colors(colors, nodes)
    return _partition.canonical(_refinement.refine(graph, labels, _graph_forms.tolerance(graph)))


def indicator_matrix(labels) -> Tensor:
    """Matrix S of a partition: S[i, c] = 1 where site i is in cell c.

    Parameters
    ----------
    labels : array_like, int, (n,)
        Partition.

    Returns
    -------
    Tensor, float64, (n, cells)

    Raises
    ------
    ValueError
        If the labels are not integers of at least 0.

    Examples
    --------
    >>> indicator_matrix([0, 1, 0])
    tensor([[1., 0.],
            [0., 1.],
            [1., 0.]], dtype=torch.float64)
    """
    labels = _read_labels(labels)
    return torch.nn.functional.one_hot(labels).to(torch.float64)


def quotient_matrix(A, labels, *, weight: str | None = None) -> Tensor:
    """Quotient of a graph by a partition: what a site of one cell reads from another cell, on average over the first.

    Parameters
    ----------
    A : Graph, networkx.Graph, array_like, or scipy.sparse array, (n, n)
        As for :func:`equitable_partition`.
    labels : array_like, int, (n,)
        Partition.
    weight : str, optional
        As for :func:`equitable_partition`.

    Returns
    -------
    Tensor, float64, (cells, cells)
        Q. If the partition is equitable, A S = S Q with the matrix S of :func:`indicator_matrix`, and every eigenvalue
        of Q is one of A.

    Raises
    ------
    ValueError
        If A is no square matrix or graph, or the labels do not fit it.

    Examples
    --------
    >>> quotient_matrix([[0, 1, 0], [1, 0, 1], [0, 1, 0]], [0, 1, 0])
    tensor([[0., 1.],
            [2., 0.]], dtype=torch.float64)
    """
    graph, _ = _graph_forms.read_graph("A", A, weight)
    labels = _read_labels(labels, graph.size)
    cells, sums = _cell_sums(graph, labels)
    size = np.asarray(cells.sum(axis=0)).reshape(-1, 1)
    return torch.from_numpy((cells.T @ sums).toarray() / size).to(graph.weight.device)


def is_equitable(A, labels, *, weight: str | None = None) -> bool:
    """Whether all sites of a cell read the same from every cell.

    Parameters
    ----------
    A, labels, weight
        As for :func:`quotient_matrix`.

    Returns
    -------
    bool
        Sums are compared to within 1e-9 of the largest weight (1e-5 for float32).

    Raises
    ------
    ValueError
        As :func:`quotient_matrix`.

    Examples
    --------
    >>> path = [[0, 1, 0], [1, 0, 1], [0, 1, 0]]
    >>> is_equitable(path, [0, 1, 0]), is_equitable(path, [0, 0, 1])
    (True, False)
    """
    graph, _ = _graph_forms.read_graph("A", A, weight)
    labels = _read_labels(labels, graph.size)
    _, sums = _cell_sums(graph, labels)
    first = np.unique(labels.numpy(), return_index=True)[1]  # one site of each cell, to compare the others with
    differences = sums - sums[first[labels.numpy()]]
    return differences.nnz == 0 or float(abs(differences).max()) <= _graph_forms.tolerance(graph)


def _cell_sums(graph: graphs.Graph, labels: Tensor):
    """Indicator of the cells and what each site reads from each of them, (n, cells), both sparse."""
    from scipy.sparse import csr_array

    site = np.arange(graph.size)
    shape = (graph.size, int(labels.max()) + 1)
    cells = csr_array((np.ones(graph.size), (site, labels.numpy())), shape=shape)
    return cells, (graphs.sparse(graph) @ cells).tocsr()


def _read_labels(labels, size: int | None = None) -> Tensor:
    """Labels of one partition without gaps, in the order of the numbers given."""
    return torch.unique(_partition.read_partition(labels, size).cpu(), return_inverse=True)[1]
