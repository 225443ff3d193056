"""Hypergraphs rewritten by local rules: events, generations, causal graphs, and the test of causal invariance.

A hypergraph is a list of hyperedges, ordered tuples of nodes. A rule such as ``{x,y},{y,z} -> {x,z}`` consumes
hyperedges that fit its left side and creates those of its right side; a variable that stands only on the right becomes
a fresh node. Each such event has a generation, one more than the largest generation among the events that created what
it consumes, and the causal graph has an arrow from creator to consumer.

This is the engine of tuples, for up to some ten thousand edges and any rule; :mod:`lib.hypergraph_arrays` grows rules
with one edge on the left to millions.

Sources: S. Wolfram, "A class of models with the potential to represent fundamental physics" (2020); J. Gorard, "Some
relativistic and gravitational properties of the Wolfram model" (2020); M. Zhuravlev, arXiv:2603.09067, section 3.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from lib import checks
from lib.causal_graphs import causal_classes, causal_layout, from_events, sort_causal_graph
from lib.rewrite_rules import RewriteRule, bind, check_edges, read_rule

__all__ = [
    "Event",
    "HypergraphRewriter",
    "Match",
    "RewriteRule",
    "boundary",
    "causal_classes",
    "causal_layout",
    "is_causally_invariant",
    "sort_causal_graph",
]


@dataclass(frozen=True)
class Match:
    """One place where a rule applies.

    Attributes
    ----------
    edges : tuple of int
        Ids of the hyperedges, in the order of the rule's left side.
    binding : tuple of (str, int)
        Node of each variable, in alphabetical order.
    """

    edges: tuple[int, ...]
    binding: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Event:
    """A rewriting that happened.

    Attributes
    ----------
    consumed, created : tuple of int
        Ids of the hyperedges, in the order of the rule's sides.
    parents : tuple of int
        Numbers of the events that created what was consumed, rising; none for hyperedges of the start.
    generation : int
        One more than the largest generation among the parents, 1 without any.
    """

    consumed: tuple[int, ...]
    created: tuple[int, ...]
    parents: tuple[int, ...]
    generation: int


class HypergraphRewriter:
    """A hypergraph, a rule, and the record of what has happened.

    Parameters
    ----------
    edges : sequence of sequence of int
        Hyperedges of the start; nodes are integers of at least 0. The same hyperedge may stand several times.
    rule : RewriteRule or str
        As text for :meth:`RewriteRule.parse`.
    seed : int
        Decides the order in which :meth:`run` applies matches.

    Attributes
    ----------
    edges : dict of int to tuple of int
        The hyperedges alive, by id.
    generation : dict of int to int
        Generation of every hyperedge ever (0 for those of the start).
    birth : dict of int to int
        Event that created it; -1 for those of the start.
    events : list of Event

    Raises
    ------
    ValueError
        If an argument is not as described.

    Examples
    --------
    >>> engine = HypergraphRewriter([(0, 1)], "{x,y} -> {x,z},{z,y}", seed=0).run(max_generation=5)
    >>> len(engine.events), len(engine.edges)
    (31, 32)
    """

    def __init__(self, edges: Sequence[Sequence[int]], rule: RewriteRule | str, seed: int = 0):
        start = check_edges(edges)
        self.rule = read_rule(rule)
        self._random = random.Random(checks.integer("seed", seed, lowest=0, highest=2**63 - 1))
        self.edges: dict[int, tuple[int, ...]] = {}
        self.generation: dict[int, int] = {}
        self.birth: dict[int, int] = {}
        self.events: list[Event] = []
        self._next_node = 1 + max((node for edge in start for node in edge), default=-1)
        # Ids of the living hyperedges by length, and by length, position and node there: what a search may look up.
        # Dictionaries serve as sets that keep their order, so that equal seeds give equal runs.
        self._found: dict[tuple[int, ...], dict[int, None]] = {}
        for edge in start:
            self._add(edge, birth=-1, generation=0)

    def matches(self) -> list[Match]:
        """List every place where the rule applies: ordered tuples of distinct hyperedges.

        Returns
        -------
        list of Match

        Examples
        --------
        >>> engine = HypergraphRewriter([(0, 1), (1, 2), (2, 3)], "{x,y},{y,z} -> {x,z}")
        >>> [match.edges for match in engine.matches()]
        [(0, 1), (1, 2)]
        """
        return list(self._search(None))

    def apply(self, match: Match) -> int:
        """Let one event happen.

        Parameters
        ----------
        match : Match
            From :meth:`matches`, all its hyperedges still alive.

        Returns
        -------
        int
            Number of the event.

        Raises
        ------
        ValueError
            If a hyperedge of the match has been consumed, or it does not fit the rule.

        Examples
        --------
        >>> engine = HypergraphRewriter([(0, 1)], "{x,y} -> {x,z},{z,y}")
        >>> engine.apply(engine.matches()[0])
        0
        >>> engine.edges
        {1: (0, 2), 2: (2, 1)}
        """
        self._check_match(match)
        binding = dict(match.binding)
        for variable in self.rule.fresh:
            binding[variable] = self._next_node
            self._next_node += 1
        generation = self._generation_of(match.edges)
        parents = tuple(sorted({self.birth[edge] for edge in match.edges} - {-1}))
        for edge in match.edges:
            self._remove(edge)
        number = len(self.events)
        created = [
            self._add(tuple(binding[node] for node in edge), birth=number, generation=generation)
            for edge in self.rule.right
        ]
        self.events.append(Event(match.edges, tuple(created), parents, generation))
        return number

    def run(self, max_generation: int | None = None, max_events: int = 100_000) -> HypergraphRewriter:
        """Apply matches in random order until none is left.

        Each event is drawn uniformly among the matches alive. Stopping a growing system after a number of events would
        make causal graphs differ for that reason alone; with a largest generation the run ends when every event up to
        it has happened.

        Parameters
        ----------
        max_generation : int or None
            Events of larger generation do not happen.
        max_events : int
            A guard against rules that never end.

        Returns
        -------
        HypergraphRewriter
            Itself.

        Raises
        ------
        ValueError
            If an argument is out of range.
        RuntimeError
            If there are still matches after ``max_events`` events.

        Examples
        --------
        >>> path = [(node, node + 1) for node in range(8)]
        >>> list(HypergraphRewriter(path, "{x,y},{y,z} -> {x,z}", seed=3).run().edges.values())
        [(0, 8)]
        """
        if max_generation is not None:
            max_generation = checks.integer("max_generation", max_generation, lowest=0)
        checks.integer("max_events", max_events, lowest=1)

        def early_enough(match: Match) -> bool:
            return max_generation is None or self._generation_of(match.edges) <= max_generation

        pool = [match for match in self.matches() if early_enough(match)]
        happened = 0
        while pool:
            at = self._random.randrange(len(pool))
            pool[at], pool[-1] = pool[-1], pool[at]
            match = pool.pop()
            # A match whose hyperedges are gone is passed over; drawing again keeps the draw uniform among the others.
            if not all(edge in self.edges for edge in match.edges):
                continue
            if happened == max_events:
                raise RuntimeError(f"no end after {max_events} events: give max_generation, or allow more events")
            event = self.events[self.apply(match)]
            happened += 1
            pool.extend(match for match in self._search(event.created) if early_enough(match))
        return self

    def causal_graph(self):
        """Events with arrows from creator to consumer.

        Returns
        -------
        networkx.DiGraph
            Nodes are event numbers with attribute ``generation``.

        Examples
        --------
        >>> engine = HypergraphRewriter([(0, 1)], "{x,y} -> {x,z},{z,y}").run(max_generation=2)
        >>> sorted(engine.causal_graph().edges)
        [(0, 1), (0, 2)]
        """
        return from_events((event.generation, event.parents) for event in self.events)

    def _generation_of(self, edges: Iterable[int]) -> int:
        return 1 + max(self.generation[edge] for edge in edges)

    def _add(self, edge: tuple[int, ...], birth: int, generation: int) -> int:
        number = len(self.birth)
        self.edges[number] = edge
        self.birth[number] = birth
        self.generation[number] = generation
        for key in _keys(edge):
            self._found.setdefault(key, {})[number] = None
        return number

    def _remove(self, number: int) -> None:
        for key in _keys(self.edges.pop(number)):
            alive = self._found[key]
            del alive[number]
            if not alive:
                del self._found[key]

    def _search(self, fresh: tuple[int, ...] | None) -> Iterator[Match]:
        """Matches that use at least one of the fresh hyperedges; all matches if it is None.

        To find each once, the first fresh hyperedge of a match is put at every position in turn, and the positions
        before it take older ones.
        """
        if fresh is None:
            yield from self._extend(0, {}, {}, None, frozenset())
            return
        new = frozenset(fresh)
        for position, pattern in enumerate(self.rule.left):
            for edge in fresh:
                binding = bind(pattern, self.edges[edge], {})
                if binding is not None:
                    yield from self._extend(0, {position: edge}, binding, position, new)

    def _extend(
        self, position: int, chosen: dict, binding: dict, pinned: int | None, new: frozenset
    ) -> Iterator[Match]:
        if position == len(self.rule.left):
            edges = tuple(chosen[at] for at in range(position))
            yield Match(edges, tuple(sorted(binding.items())))
            return
        if position == pinned:
            yield from self._extend(position + 1, chosen, binding, pinned, new)
            return
        pattern = self.rule.left[position]
        used = set(chosen.values())
        for edge in self._candidates(pattern, binding):
            if edge in used or (pinned is not None and position < pinned and edge in new):
                continue
            bound = bind(pattern, self.edges[edge], binding)
            if bound is not None:
                yield from self._extend(position + 1, {**chosen, position: edge}, bound, pinned, new)

    def _candidates(self, pattern: tuple[str, ...], binding: dict) -> list[int]:
        """Hyperedges that may fit a pattern: the shortest list among those its bound variables allow."""
        keys = [(len(pattern),)]
        for position, variable in enumerate(pattern):
            if variable in binding:
                keys.append((len(pattern), position, binding[variable]))
        return list(min((self._found.get(key, {}) for key in keys), key=len))

    def _check_match(self, match: Match) -> None:
        if not isinstance(match, Match):
            raise ValueError(f"match must be a Match from matches(), got {checks.describe(match)}")
        if len(match.edges) != len(self.rule.left) or len(set(match.edges)) != len(match.edges):
            raise ValueError(f"match must hold {len(self.rule.left)} distinct hyperedges, got {match.edges}")
        gone = [edge for edge in match.edges if edge not in self.edges]
        if gone:
            raise ValueError(f"match must hold hyperedges that are alive, but {gone[0]} is not")
        binding: dict[str, int] | None = {}
        for pattern, edge in zip(self.rule.left, match.edges, strict=True):
            binding = None if binding is None else bind(pattern, self.edges[edge], binding)
        if binding != dict(match.binding):
            raise ValueError(f"match must fit the rule {self.rule}, got {match}")


def is_causally_invariant(
    edges: Sequence[Sequence[int]],
    rule: RewriteRule | str,
    orders: int = 20,
    max_generation: int | None = None,
    seed: int = 0,
) -> tuple[bool, int]:
    """Compare the causal graphs of random update orders.

    One class over many orders is evidence, not proof; two classes (see :func:`causal_classes`) are proof that the rule
    is not causally invariant.

    Parameters
    ----------
    edges, rule
        As for :class:`HypergraphRewriter`.
    orders : int
        Number of random orders.
    max_generation : int or None
        Needed for rules that grow without end.
    seed : int
        Order number i runs with seed ``seed + i``.

    Returns
    -------
    invariant : bool
        Whether one class was found.
    classes : int

    Raises
    ------
    ValueError
        If an argument is not as described.
    RuntimeError
        If the rule does not come to an end.

    Examples
    --------
    >>> is_causally_invariant([(0, 1)], "{x,y} -> {x,z},{z,y}", max_generation=4)
    (True, 1)
    """
    start = check_edges(edges)
    rule = read_rule(rule)
    orders = checks.integer("orders", orders, lowest=1)
    seed = checks.integer("seed", seed, lowest=0, highest=2**63 - 1 - orders)
    if max_generation is not None:
        checks.integer("max_generation", max_generation, lowest=0)
    classes = causal_classes(
        HypergraphRewriter(start, rule, seed + order).run(max_generation).causal_graph() for order in range(orders)
    )
    return classes == 1, classes


def boundary(edges: Iterable[Sequence], interior: Iterable) -> list[tuple]:
    """Hyperedges that cross the boundary of an observer: some of their nodes inside, some outside.

    Parameters
    ----------
    edges : iterable of sequences of nodes
    interior : iterable of nodes
        The nodes of the observer.

    Returns
    -------
    list of tuple
        In the order given.

    Raises
    ------
    ValueError
        If an edge is not a sequence of nodes, or a node cannot be looked up.

    Examples
    --------
    >>> boundary([(0, 1), (1, 2), (2, 3), (3, 0)], interior={0, 1})
    [(1, 2), (3, 0)]
    """
    try:
        inside = set(interior)
    except TypeError as problem:
        raise ValueError(f"interior must be a set of nodes, got {checks.describe(interior)}") from problem
    if isinstance(interior, str) or isinstance(edges, str):
        name = "interior" if isinstance(interior, str) else "edges"
        raise ValueError(f"{name} must be a collection, got a text")
    crossing = []
    try:
        for edge in edges:
            nodes = tuple(edge)
            within = sum(node in inside for node in nodes)
            if 0 < within < len(nodes):
                crossing.append(nodes)
    except TypeError as problem:
        raise ValueError(f"edges must be tuples of nodes, got {checks.describe(edges)}") from problem
    return crossing


def _keys(edge: tuple[int, ...]) -> list[tuple[int, ...]]:
    return [(len(edge),), *((len(edge), position, node) for position, node in enumerate(edge))]
