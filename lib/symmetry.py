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

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from lib import _partition, _refinement, checks, graphs

__all__ = [
    "automorphisms",
    "equitable_partition",
    "indicator_matrix",
    "is_equitable",
    "orbit_partition",
    "orbits",
    "quotient_matrix",
]

# Sums of weights that differ by less than this share of the largest weight count as equal.
SAME_WEIGHT = {torch.float32: 1e-5, torch.float64: 1e-9}

# networkx looks for automorphisms one by one; beyond this it can take minutes.
LARGEST_MATCHED = 200


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
    graph, nodes = _read_graph("G", G, weight)
    labels = _read_colors(colors, nodes)
    return _partition.canonical(_refinement.refine(graph, labels, _tolerance(graph)))


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
    graph, _ = _read_graph("A", A, weight)
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
    graph, _ = _read_graph("A", A, weight)
    labels = _read_labels(labels, graph.size)
    _, sums = _cell_sums(graph, labels)
    first = np.unique(labels.numpy(), return_index=True)[1]  # one site of each cell, to compare the others with
    differences = sums - sums[first[labels.numpy()]]
    return differences.nnz == 0 or float(abs(differences).max()) <= _tolerance(graph)


def orbit_partition(permutations) -> Tensor:
    """Orbits of the group that some permutations generate.

    Parameters
    ----------
    permutations : array_like, int, (k, n)
        Row by row the image of every site.

    Returns
    -------
    Tensor, int64, (n,)
        Labels. The states that are constant on them are the fixed-point space of the group.

    Raises
    ------
    ValueError
        If a row is not a permutation of 0 ... n - 1.

    Examples
    --------
    >>> orbit_partition([[4, 3, 2, 1, 0]]).tolist()  # the mirror image of a path of five
    [0, 1, 2, 1, 0]
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    read = _partition.read_labels(permutations, name="permutations")
    if read.dim() != 2:
        raise ValueError(f"permutations must have shape (k, n), got {tuple(read.shape)}")
    size = read.shape[-1]
    site = torch.arange(size, device=read.device)
    if not torch.equal(read.sort(dim=-1).values, site.expand_as(read)):
        raise ValueError(f"permutations must hold each of 0 ... {size - 1} once in every row")
    source, target = site.expand_as(read).reshape(-1).cpu().numpy(), read.reshape(-1).cpu().numpy()
    joined = coo_array((np.ones(len(source)), (source, target)), shape=(size, size))
    return _partition.canonical(torch.from_numpy(connected_components(joined, directed=False)[1]).to(torch.int64))


def automorphisms(G, colors=None, *, weight: str | None = None, limit: int = 10_000) -> Tensor:
    """All automorphisms of a small graph, listed by networkx.

    Parameters
    ----------
    G, colors, weight
        As for :func:`equitable_partition`; at most 200 sites.
    limit : int
        Refuse groups of more elements.

    Returns
    -------
    Tensor, int64, (elements, n)
        Row by row the image of every site; the identity is among them.

    Raises
    ------
    ValueError
        As :func:`equitable_partition`, and if the graph or the group is too large.

    Examples
    --------
    >>> import networkx
    >>> automorphisms(networkx.petersen_graph()).shape
    torch.Size([120, 10])
    """
    graph, nodes = _read_small("G", G, weight)
    limit = checks.integer("limit", limit, lowest=1)
    labels = _refinement.refine(graph, _read_colors(colors, nodes), _tolerance(graph)).tolist()
    found = []
    for image in _isomorphisms(graph, labels, labels):
        if len(found) == limit:
            raise ValueError(f"limit must be at least the number of automorphisms of G, which is above {limit}")
        found.append(image)
    return torch.tensor(sorted(found))


def orbits(G, colors=None, *, weight: str | None = None) -> Tensor:
    """Orbits of the automorphism group: sites that a symmetry of the graph can exchange.

    Parameters
    ----------
    G, colors, weight
        As for :func:`equitable_partition`; at most 200 sites.

    Returns
    -------
    Tensor, int64, (n,)
        Labels; an equitable partition, at least as fine as the coarsest one.

    Raises
    ------
    ValueError
        As :func:`equitable_partition`, and if the graph has more than 200 sites.

    Notes
    -----
    The group is not listed. For two sites that refinement does not tell apart networkx is asked for one automorphism
    that takes the first to the second, after refining again with the two marked.

    Examples
    --------
    >>> import networkx
    >>> int(orbits(networkx.frucht_graph()).max()) + 1, int(equitable_partition(networkx.frucht_graph()).max()) + 1
    (12, 1)
    """
    graph, nodes = _read_small("G", G, weight)
    labels = _refinement.refine(graph, _read_colors(colors, nodes), _tolerance(graph))
    A = graphs.dense(graph)
    marked = None
    leader = list(range(graph.size))  # of every site the first one known to be in its orbit
    for site in range(graph.size):
        for first in sorted(set(leader[:site])):
            if leader[site] != site:
                break
            if labels[first] != labels[site]:
                continue
            image = _swap(A, first, site)
            if image is None:
                marked = marked or _marked(graph, labels)
                image = _taking(graph, marked[first], marked[site])
            for here, there in enumerate(image or ()):
                low, high = sorted((leader[here], leader[there]))
                leader = [low if known == high else known for known in leader]
    return _partition.canonical(torch.tensor(leader))


def _swap(A: Tensor, first: int, second: int) -> list[int] | None:
    """The exchange of two sites and nothing else, if it keeps the graph: twins, such as the leaves of a star."""
    image = torch.arange(len(A))
    image[[first, second]] = image[[second, first]]
    return image.tolist() if torch.equal(A[image][:, image], A) else None


def _marked(graph: graphs.Graph, labels: Tensor) -> list[list[int]]:
    """For every site the labels of all, refined with this site marked; comparable, since refined side by side."""
    size = graph.size
    offset = size * torch.arange(size)[:, None]
    copies = graphs.Graph(
        size * size,
        (graph.source + offset).reshape(-1),
        (graph.target + offset).reshape(-1),
        graph.weight.repeat(size),
    )
    start = 2 * labels + torch.eye(size, dtype=torch.int64)
    refined = _refinement.refine(copies, _partition.canonical(start.reshape(-1)), _tolerance(graph))
    return refined.reshape(size, size).tolist()


def _taking(graph: graphs.Graph, labels: list, images: list) -> list[int] | None:
    """An automorphism that takes labels to images, or None."""
    if sorted(labels) != sorted(images):
        return None
    return next(_isomorphisms(graph, labels, images), None)


def _isomorphisms(graph: graphs.Graph, labels: list, images: list) -> Iterator[list[int]]:
    """Permutations that keep the graph and take labels to images, one by one, from networkx."""
    import networkx
    from networkx.algorithms import isomorphism

    backward = graphs.Graph(graph.size, graph.target, graph.source, graph.weight)
    undirected = torch.equal(backward.source, graph.source) and torch.equal(backward.weight, graph.weight)
    kind = networkx.Graph if undirected else networkx.DiGraph
    matcher = isomorphism.GraphMatcher if undirected else isomorphism.DiGraphMatcher
    edges = list(zip(graph.source.tolist(), graph.target.tolist(), graph.weight.tolist()))
    sides = []
    for colours in (labels, images):
        side = kind()
        side.add_nodes_from((site, {"colour": colour}) for site, colour in enumerate(colours))
        side.add_weighted_edges_from(edges)
        sides.append(side)
    tolerance = _tolerance(graph)
    same_colour = isomorphism.categorical_node_match("colour", None)
    same_weight = isomorphism.numerical_edge_match("weight", 1.0, rtol=0, atol=tolerance)
    for mapping in matcher(*sides, node_match=same_colour, edge_match=same_weight).isomorphisms_iter():
        yield [mapping[site] for site in range(graph.size)]


def _cell_sums(graph: graphs.Graph, labels: Tensor):
    """Indicator of the cells and what each site reads from each of them, (n, cells), both sparse."""
    from scipy.sparse import csr_array

    site = np.arange(graph.size)
    shape = (graph.size, int(labels.max()) + 1)
    cells = csr_array((np.ones(graph.size), (site, labels.numpy())), shape=shape)
    return cells, (graphs.sparse(graph) @ cells).tocsr()


def _tolerance(graph: graphs.Graph) -> float:
    if graph.weight.numel() == 0:
        return 0.0
    return SAME_WEIGHT.get(graph.weight.dtype, 1e-5) * float(graph.weight.abs().max())


def _read_graph(name: str, G, weight: str | None) -> tuple[graphs.Graph, list]:
    """A graph in any of its forms as a Graph, and its nodes in order."""
    if weight is not None and not isinstance(weight, str):
        raise ValueError(f"weight must be the name of an edge attribute or None, got {checks.describe(weight)}")
    if isinstance(G, graphs.Graph):
        return G, list(range(G.size))
    if hasattr(G, "adj") and hasattr(G, "nodes"):
        import networkx

        if len(G) == 0:
            raise ValueError(f"{name} must be a graph with at least one node, got none")
        matrix = networkx.to_scipy_sparse_array(G, weight=weight, dtype=float)
        return graphs.from_adjacency(matrix.T), list(G)
    if hasattr(G, "tocoo"):
        if G.ndim != 2 or G.shape[0] != G.shape[1] or G.shape[0] == 0:
            raise ValueError(f"{name} must be a square matrix, got shape {tuple(G.shape)}")
        if G.dtype.kind not in "iufb" or not np.isfinite(G.tocoo().data).all():
            raise ValueError(f"{name} must hold finite real numbers, got {G.dtype}")
        return graphs.from_adjacency(G.astype(float)), list(range(G.shape[0]))
    (matrix,) = checks.tensors(**{name: G})
    checks.square(name, matrix)
    if matrix.dim() != 2:
        raise ValueError(f"{name} must be a single square matrix, got shape {tuple(matrix.shape)}")
    return graphs.from_adjacency(matrix.detach().cpu()), list(range(matrix.shape[0]))


def _read_small(name: str, G, weight: str | None) -> tuple[graphs.Graph, list]:
    graph, nodes = _read_graph(name, G, weight)
    if graph.size > LARGEST_MATCHED:
        raise ValueError(
            f"{name} must have at most {LARGEST_MATCHED} sites for its automorphisms, got {graph.size}; "
            "equitable_partition has no such limit"
        )
    return graph.to("cpu"), nodes


def _read_labels(labels, size: int | None = None) -> Tensor:
    read = _partition.read_labels(labels, size)
    if read.dim() != 1:
        raise ValueError(f"labels must be one partition of shape (n,), got shape {tuple(read.shape)}")
    return torch.unique(read.cpu(), return_inverse=True)[1]


def _read_colors(colors, nodes: list) -> Tensor:
    """Number the classes of sites that the colours tell apart."""
    if colors is None:
        return torch.zeros(len(nodes), dtype=torch.int64)
    if isinstance(colors, dict) and all(node in colors for node in nodes):
        colors = [colors[node] for node in nodes]
    if isinstance(colors, (Tensor, np.ndarray)):
        colors = colors.tolist()
    if not isinstance(colors, (list, tuple)) or len(colors) != len(nodes):
        raise ValueError(
            f"colors must be {len(nodes)} numbers or texts, one for each site, got {checks.describe(colors)}"
        )
    for colour in colors:
        if not isinstance(colour, (int, float, str)) or (isinstance(colour, float) and math.isnan(colour)):
            raise ValueError(f"colors must be numbers or texts, got {checks.describe(colour)} among them")
    number = {}
    return torch.tensor([number.setdefault(colour, len(number)) for colour in colors])
