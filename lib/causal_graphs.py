"""Causal graphs: their classes up to isomorphism, a place for each event in a drawing, and sorting as an example.

A causal graph has one node per event, with the attribute ``generation``, and an arrow from the event that created
something to the event that consumed it.

Sources: S. Wolfram, "A class of models with the potential to represent fundamental physics" (2020); J. Gorard, "Some
relativistic and gravitational properties of the Wolfram model" (2020).
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterable

from lib import checks

__all__ = ["causal_classes", "causal_layout", "sort_causal_graph"]

# Above this many events two causal graphs count as one class when their Weisfeiler-Lehman hashes agree.
ISOMORPHISM_LIMIT = 400


def causal_classes(graphs: Iterable) -> int:
    """Count the causal graphs that differ.

    Graphs are compared by their numbers of events and arrows, by Weisfeiler-Lehman hashes with the generation as label,
    and up to 400 events by isomorphism.

    Parameters
    ----------
    graphs : iterable of networkx.DiGraph
        Each node with attribute ``generation``.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        If one is no directed graph whose nodes have generations that rise along the arrows.

    Examples
    --------
    >>> causal_classes(sort_causal_graph("BBABA", seed) for seed in range(5))
    1
    """
    import networkx

    if isinstance(graphs, str) or not isinstance(graphs, Iterable):
        raise ValueError(f"graphs must be a collection of networkx.DiGraph, got {checks.describe(graphs)}")
    same = networkx.algorithms.isomorphism.categorical_node_match("generation", None)
    found: dict[tuple, list] = {}
    for graph in graphs:
        _check_graph("graphs", graph)
        with warnings.catch_warnings():
            # Hashes of directed graphs differ between versions of networkx; these are compared with each other only.
            warnings.simplefilter("ignore", UserWarning)
            code = networkx.weisfeiler_lehman_graph_hash(graph, node_attr="generation", iterations=4)
        alike = found.setdefault((graph.number_of_nodes(), graph.number_of_edges(), code), [])
        if alike and graph.number_of_nodes() > ISOMORPHISM_LIMIT:
            continue
        if not any(networkx.is_isomorphic(graph, other, node_match=same) for other in alike):
            alike.append(graph)
    return sum(len(alike) for alike in found.values())


def sort_causal_graph(string: str, seed: int = 0):
    """Sort a string of A and B by BA -> AB in random order, and keep the causal graph.

    Parameters
    ----------
    string : str
        Of the letters A and B.
    seed : int
        Decides which of the pairs BA is swapped next.

    Returns
    -------
    networkx.DiGraph
        One node per swap with attribute ``generation``; ``graph.graph["result"]`` is the sorted string.

    Raises
    ------
    ValueError
        If another letter occurs, or the seed is no integer of at least 0.

    Examples
    --------
    >>> graph = sort_causal_graph("BBA", seed=0)
    >>> graph.graph["result"], list(graph.edges)
    ('ABB', [(0, 1)])
    """
    if not isinstance(string, str) or set(string) - {"A", "B"}:
        raise ValueError(f"string must consist of the letters A and B, got {checks.describe(string)}")
    order = random.Random(checks.integer("seed", seed, lowest=0, highest=2**63 - 1))
    letters = list(string)
    creator = [-1] * len(letters)
    swaps: list[tuple[int, tuple[int, ...]]] = []
    places = [at for at in range(len(letters) - 1) if letters[at] == "B" and letters[at + 1] == "A"]
    while places:
        at = places.pop(order.randrange(len(places)))
        parents = tuple(sorted({creator[at], creator[at + 1]} - {-1}))
        generation = 1 + max((swaps[parent][0] for parent in parents), default=0)
        letters[at], letters[at + 1] = "A", "B"
        creator[at] = creator[at + 1] = len(swaps)
        swaps.append((generation, parents))
        # Only the neighbours of a swap can have become a pair.
        places += [
            near
            for near in (at - 1, at + 1)
            if 0 <= near < len(letters) - 1 and letters[near] == "B" and letters[near + 1] == "A"
        ]
    graph = from_events(swaps)
    graph.graph["result"] = "".join(letters)
    return graph


def causal_layout(graph) -> dict:
    """Places for drawing a causal graph by generation: later events lower, each near the middle of its parents.

    Parameters
    ----------
    graph : networkx.DiGraph
        Each node with attribute ``generation``.

    Returns
    -------
    dict of node to (float, float)
        Across, centred on 0 with distance 1 at least between the events of a generation, and minus the generation.

    Raises
    ------
    ValueError
        If it is no directed graph whose nodes have generations that rise along the arrows.

    Examples
    --------
    >>> causal_layout(sort_causal_graph("BBAA", seed=0))
    {0: (0.0, -1.0), 1: (-0.5, -2.0), 2: (0.5, -2.0), 3: (0.0, -3.0)}
    """
    _check_graph("graph", graph)
    generation = {node: graph.nodes[node]["generation"] for node in graph.nodes}
    parents = {node: list(graph.predecessors(node)) for node in graph.nodes}
    rows: dict[int, list] = {}
    for node, row in generation.items():
        rows.setdefault(row, []).append(node)
    widest = max((len(row) for row in rows.values()), default=0)
    places: dict = {}
    for row in sorted(rows):
        above = {
            node: sum(places[parent][0] for parent in parents[node]) / len(parents[node]) if parents[node] else 0.0
            for node in rows[row]
        }
        ordered = sorted(rows[row], key=above.__getitem__)
        distance = widest / len(ordered)
        for place, node in enumerate(ordered):
            places[node] = (distance * (place - (len(ordered) - 1) / 2), -float(row))
    return {node: places[node] for node in graph.nodes}


def from_events(events: Iterable[tuple[int, tuple[int, ...]]]):
    """Causal graph from the generation and the parents of each event."""
    import networkx

    graph = networkx.DiGraph()
    for number, (generation, parents) in enumerate(events):
        graph.add_node(number, generation=generation)
        graph.add_edges_from((parent, number) for parent in parents)
    return graph


def _check_graph(name: str, graph) -> None:
    import networkx

    causal = isinstance(graph, networkx.DiGraph)
    if causal:
        generation = dict(graph.nodes(data="generation"))
        causal = all(isinstance(number, int) for number in generation.values())
        causal = causal and all(generation[parent] < generation[child] for parent, child in graph.edges())
    if not causal:
        raise ValueError(
            f"{name} must be a networkx.DiGraph whose nodes have a generation, an integer that rises along every "
            f"arrow, got {checks.describe(graph)}"
        )
