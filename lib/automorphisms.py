"""Automorphisms of small graphs, listed and searched by networkx, and their orbits.

Partitions are tensors of labels, one integer for each site, cells numbered from 0 in the order of their first site.
Graphs are given as in :mod:`lib.symmetry`, which passes these functions on. Orbits are equitable partitions; there are
equitable partitions that are no orbits.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from lib import _graph_forms, _partition, _refinement, checks, graphs

__all__ = ["automorphisms", "orbit_partition", "orbits"]

# networkx looks for automorphisms one by one; beyond this it can take minutes.
LARGEST_MATCHED = 200


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
        As for :func:`lib.symmetry.equitable_partition`; at most 200 sites.
    limit : int
        Refuse groups of more elements.

    Returns
    -------
    Tensor, int64, (elements, n)
        Row by row the image of every site; the identity is among them.

    Raises
    ------
    ValueError
        As :func:`lib.symmetry.equitable_partition`, and if the graph or the group is too large.

    Examples
    --------
    >>> import networkx
    >>> automorphisms(networkx.petersen_graph()).shape
    torch.Size([120, 10])
    """
    graph, nodes = _read_small("G", G, weight)
    limit = checks.integer("limit", limit, lowest=1)
    labels = _refinement.refine(graph, _graph_forms.read_colors(colors, nodes), _graph_forms.tolerance(graph)).tolist()
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
        As for :func:`lib.symmetry.equitable_partition`; at most 200 sites.

    Returns
    -------
    Tensor, int64, (n,)
        Labels; an equitable partition, at least as fine as the coarsest one.

    Raises
    ------
    ValueError
        As :func:`lib.symmetry.equitable_partition`, and if the graph has more than 200 sites.

    Notes
    -----
    The group is not listed. For two sites that refinement does not tell apart networkx is asked for one automorphism
    that takes the first to the second, after refining again with the two marked.

    Examples
    --------
    >>> import networkx
    >>> from lib.symmetry import equitable_partition
    >>> int(orbits(networkx.frucht_graph()).max()) + 1, int(equitable_partition(networkx.frucht_graph()).max()) + 1
    (12, 1)
    """
    graph, nodes = _read_small("G", G, weight)
    labels = _refinement.refine(graph, _graph_forms.read_colors(colors, nodes), _graph_forms.tolerance(graph))
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
    refined = _refinement.refine(copies, _partition.canonical(start.reshape(-1)), _graph_forms.tolerance(graph))
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
    tolerance = _graph_forms.tolerance(graph)
    same_colour = isomorphism.categorical_node_match("colour", None)
    same_weight = isomorphism.numerical_edge_match("weight", 1.0, rtol=0, atol=tolerance)
    for mapping in matcher(*sides, node_match=same_colour, edge_match=same_weight).isomorphisms_iter():
        yield [mapping[site] for site in range(graph.size)]


def _read_small(name: str, G, weight: str | None) -> tuple[graphs.Graph, list]:
    graph, nodes = _graph_forms.read_graph(name, G, weight)
    if graph.size > LARGEST_MATCHED:
        raise ValueError(
            f"{name} must have at most {LARGEST_MATCHED} sites for its automorphisms, got {graph.size}; "
            "equitable_partition has no such limit"
        )
    return graph.to("cpu"), nodes
