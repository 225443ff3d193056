"""Growth of hypergraphs to millions of edges: rules with one hyperedge on the left, a generation at a time.

With one hyperedge on the left no two events compete, so every order of updates gives the same causal graph and all
events of a generation can happen at once, as array operations on any device. The small engine of
:mod:`lib.hypergraph` is the reference of the tests.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lib import checks
from lib.rewrite_rules import RewriteRule, check_edges, read_rule

__all__ = ["Growth", "grow"]

# Nodes are int64; the upper half is left for fresh ones.
LARGEST_NODE = 2**62


@dataclass(frozen=True)
class Growth:
    """A grown hypergraph and the causal graph of its growth.

    Attributes
    ----------
    edges : dict of int to Tensor, (edges, length), int64
        The hyperedges alive, by length.
    parent : Tensor, (events,), int64
        Event that created what each event consumed; -1 for the start. The causal graph is a forest.
    generation : Tensor, (events,), int64
        Rising from 1.
    nodes : int
        Nodes ever used, fresh ones included.
    """

    edges: dict[int, Tensor]
    parent: Tensor
    generation: Tensor
    nodes: int

    @property
    def size(self) -> int:
        """Number of hyperedges alive."""
        return sum(len(block) for block in self.edges.values())


def grow(edges, rule: RewriteRule | str, generations: int, device="cpu", max_edges: int = 20_000_000) -> Growth:
    """Apply a rule with one hyperedge on its left to everything it fits, a number of times.

    Parameters
    ----------
    edges : sequence of sequence of int
        Hyperedges of the start; nodes are integers from 0 to 2^62 - 1.
    rule : RewriteRule or str
        With exactly one hyperedge on the left.
    generations : int
        At least 0.
    device : str or torch.device
        Where the arrays live.
    max_edges : int
        The next generation is refused when it could leave more hyperedges than this.

    Returns
    -------
    Growth
        Memory: 8 bytes per node of a hyperedge and 16 per event, 34 MB for a million edges of two nodes; while the last
        generation is made, three to four times as much.

    Raises
    ------
    ValueError
        If the rule has more than one hyperedge on the left, an argument is out of range, or the growth would pass
        ``max_edges``.

    Examples
    --------
    >>> grown = grow([(0, 1)], "{x,y} -> {x,z},{z,y}", generations=16)
    >>> grown.size, len(grown.parent), grown.nodes
    (65536, 65535, 65537)
    """
    start = check_edges(edges)
    rule = read_rule(rule)
    if len(rule.left) != 1:
        raise ValueError(f"rule must have one hyperedge on the left, got {rule}; HypergraphRewriter takes any rule")
    generations = checks.integer("generations", generations, lowest=0)
    device = checks.device("device", device)
    max_edges = checks.integer("max_edges", max_edges, lowest=1)

    nodes = 1 + max((node for edge in start for node in edge), default=-1)
    if nodes > LARGEST_NODE:
        raise ValueError(f"edges must have nodes below {LARGEST_NODE}, got {nodes - 1} among them")
    length = len(rule.left[0])
    finished: dict[int, list[Tensor]] = {}
    for size in sorted({len(edge) for edge in start}):
        block = [edge for edge in start if len(edge) == size]
        finished.setdefault(size, []).append(torch.tensor(block, dtype=torch.int64, device=device))
    waiting = finished.pop(length, [torch.zeros(0, length, dtype=torch.int64, device=device)])[0]
    creator = torch.full((len(waiting),), -1, dtype=torch.int64, device=device)
    parents, levels, events = [creator[:0]], [creator[:0]], 0

    for generation in range(1, generations + 1):
        fits = _fits(rule.left[0], waiting)
        finished.setdefault(length, []).append(waiting[~fits])
        consumed, parent = waiting[fits], creator[fits]
        count = len(consumed)
        alive = sum(len(block) for blocks in finished.values() for block in blocks) + len(rule.right) * count
        if alive > max_edges:
            raise ValueError(
                f"generations must leave at most {max_edges} hyperedges (max_edges), but generation {generation} "
                f"of {generations} would have {alive}"
            )
        number = torch.arange(events, events + count, device=device)
        node = {variable: consumed[:, position] for position, variable in enumerate(rule.left[0])}
        for place, variable in enumerate(rule.fresh):
            node[variable] = nodes + len(rule.fresh) * (number - events) + place
        made = [torch.stack([node[variable] for variable in edge], dim=1) for edge in rule.right]
        parents.append(parent)
        levels.append(torch.full_like(parent, generation))
        nodes += len(rule.fresh) * count
        events += count
        # Hyperedges of another length never fit again: they are done.
        again = [block for block in made if block.shape[1] == length]
        for block in made:
            if block.shape[1] != length:
                finished.setdefault(block.shape[1], []).append(block)
        waiting = torch.stack(again, dim=1).flatten(0, 1) if again else waiting[:0]
        creator = number.repeat_interleave(len(again))
        if count == 0:
            break
    finished.setdefault(length, []).append(waiting)
    blocks = {size: torch.cat(parts) for size, parts in sorted(finished.items())}
    alive = {size: block for size, block in blocks.items() if len(block)}
    return Growth(alive, torch.cat(parents), torch.cat(levels), nodes)


def _fits(pattern: tuple[str, ...], edges: Tensor) -> Tensor:
    """Which hyperedges have equal nodes where the pattern has equal variables."""
    fits = torch.ones(len(edges), dtype=torch.bool, device=edges.device)
    for position, variable in enumerate(pattern):
        fits &= edges[:, position] == edges[:, pattern.index(variable)]
    return fits
