"""A hypergraph that is rewritten step by step while its edges die, and the boundary of an observer in it.

The rule is {x,y} -> {x,z},{z,y}. Births slow down as the graph fills up and deaths come in storms, so that its size
stays bounded and never settles. A fresh node takes the side, inside or outside the observer, of one of its two
neighbours, and sometimes the other one. :mod:`lib.running_observer` lets the observer learn to predict what happens at
its boundary.

Source: M. Zhuravlev, arXiv:2603.09067, section 2, for the setting; the experiment is ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lib import checks
from lib.causal_graphs import from_events

__all__ = ["RunningHypergraph", "run_hypergraph"]


@dataclass(frozen=True)
class RunningHypergraph:
    """What happened to a hypergraph and at the boundary of the observer in it.

    Attributes
    ----------
    crossing : Tensor, (steps,)
        Edges across the boundary before each step.
    events : Tensor, (steps,)
        Events at the boundary in each step.
    rate : Tensor, (steps,)
        Number of events to be expected by one who knows the storms.
    size, within : Tensor, (steps,)
        Edges before each step, all of them and those inside the observer.
    storm : Tensor, (steps,), bool
    edges : Tensor, (edges, 2), int64
        The hyperedges after the last step.
    inside : Tensor, (nodes,), bool
        Which nodes ever used belong to the observer.
    parent, step : Tensor, (births,), int64
        Of every rewriting, the one that created the edge it consumed (-1: from the start), and when it happened.
    at_boundary : Tensor, (births,), bool
        Whether the edge consumed crossed the boundary.
    """

    crossing: Tensor
    events: Tensor
    rate: Tensor
    size: Tensor
    within: Tensor
    storm: Tensor
    edges: Tensor
    inside: Tensor
    parent: Tensor
    step: Tensor
    at_boundary: Tensor

    def causal_graph(self, steps: int):
        """Causal graph of the rewritings of the first steps.

        Parameters
        ----------
        steps : int
            At least 0.

        Returns
        -------
        networkx.DiGraph
            A forest; nodes have the attributes ``generation`` and ``boundary`` (whether the edge consumed crossed it).

        Raises
        ------
        ValueError
            If steps is no integer of at least 0.

        Examples
        --------
        >>> run_hypergraph(steps=50, seed=0).causal_graph(0).number_of_nodes()
        0
        """
        count = int((self.step < checks.integer("steps", steps, lowest=0)).sum())
        generation: list[int] = []
        records = []
        for parent in self.parent[:count].tolist():
            generation.append(1 if parent < 0 else generation[parent] + 1)
            records.append((generation[-1], () if parent < 0 else (parent,)))
        graph = from_events(records)
        for event, boundary in enumerate(self.at_boundary[:count].tolist()):
            graph.nodes[event]["boundary"] = boundary
        return graph


def run_hypergraph(
    steps: int = 2000,
    seed: int = 0,
    *,
    start: int = 300,
    ceiling: int = 600,
    growth: float = 0.15,
    death: float = 0.02,
    storm_death: float = 0.14,
    mixing: float = 0.2,
    calm_length: float = 60.0,
    storm_length: float = 20.0,
) -> RunningHypergraph:
    """Rewrite a cycle, half of whose nodes form the observer, with births and deaths in balance.

    In each step an edge dies with probability ``death`` (``storm_death`` in storms), and is rewritten with probability
    ``growth`` (1 - size / ceiling). The run starts calm; a shorter run is the beginning of a longer one.

    Parameters
    ----------
    steps : int
        At least 1.
    seed : int
    start : int
        Edges of the cycle, from 3 to the ceiling.
    ceiling : int
        Size at which births stop; many births in one step may pass it by a few.
    growth, death, storm_death : float
        Probabilities per edge and step; each death together with ``growth`` at most 1.
    mixing : float
        Probability that a fresh node takes the side that its chosen neighbour is not on.
    calm_length, storm_length : float
        Mean lengths in steps, at least 1.

    Returns
    -------
    RunningHypergraph

    Raises
    ------
    ValueError
        If an argument is out of range.

    Examples
    --------
    >>> run = run_hypergraph(steps=300, seed=1)
    >>> bool((run.size <= 600).all()), bool(run.storm.any())
    (True, True)
    """
    steps = checks.integer("steps", steps, lowest=1)
    seed = checks.integer("seed", seed, lowest=0, highest=2**63 - 1)
    ceiling = checks.integer("ceiling", ceiling, lowest=3)
    start = checks.integer("start", start, lowest=3, highest=ceiling)
    growth = checks.real_number("growth", growth, lowest=0, highest=1)
    death = checks.real_number("death", death, lowest=0, highest=1)
    storm_death = checks.real_number("storm_death", storm_death, lowest=0, highest=1)
    for name, dying in (("death", death), ("storm_death", storm_death)):
        checks.require(growth + dying <= 1, f"{name} and growth = {growth} must be at most 1 together, got {dying}")
    mixing = checks.real_number("mixing", mixing, lowest=0, highest=1)
    calm_length = checks.real_number("calm_length", calm_length, lowest=1)
    storm_length = checks.real_number("storm_length", storm_length, lowest=1)

    generator = torch.Generator().manual_seed(seed)
    nodes = torch.arange(start)
    edges = torch.stack([nodes, (nodes + 1) % start], dim=1)
    inside = nodes < start // 2
    creator = torch.full((start,), -1)
    used, births = start, 0
    counts: list[tuple] = []
    parents, places, numbers = [], [], []
    stormy, storm = False, []
    for _ in range(steps):
        storm.append(stormy)
        first, second = inside[edges].unbind(dim=1)
        across = first != second
        dying = storm_death if stormy else death
        splitting = growth * max(0.0, 1 - len(edges) / ceiling)
        draw = torch.rand(len(edges), generator=generator, dtype=torch.float64)
        splits = (draw >= dying) & (draw < dying + splitting)
        stays = draw >= dying + splitting
        crossing = int(across.sum())
        events = int((across & ~stays).sum())
        counts.append((crossing, events, crossing * (dying + splitting), len(edges), int((first & second).sum())))

        split = edges[splits]
        fresh = torch.arange(used, used + len(split))
        number = torch.arange(births, births + len(split))
        side, other = torch.rand(2, len(split), generator=generator, dtype=torch.float64)
        chosen = torch.where(side < 0.5, first[splits], second[splits])
        inside = _grown(inside, used, chosen != (other < mixing))
        parents.append(creator[splits])
        places.append(across[splits])
        numbers.append(len(split))
        halves = torch.stack([split[:, 0], fresh, fresh, split[:, 1]], dim=1).view(-1, 2)
        edges = torch.cat([edges[stays], halves])
        creator = torch.cat([creator[stays], number.repeat_interleave(2)])
        used += len(split)
        births += len(split)
        ending = 1 / (storm_length if stormy else calm_length)
        stormy ^= bool(torch.rand((), generator=generator, dtype=torch.float64) < ending)

    table = torch.tensor(counts, dtype=torch.float64)
    when = torch.arange(steps).repeat_interleave(torch.tensor(numbers))
    history = torch.cat(parents), when, torch.cat(places)
    return RunningHypergraph(*table.unbind(dim=1), torch.tensor(storm), edges, inside[:used].clone(), *history)


def _grown(inside: Tensor, used: int, fresh: Tensor) -> Tensor:
    """The sides of the nodes with those of fresh ones written behind the used; room is doubled when it runs out."""
    if used + len(fresh) > len(inside):
        inside = torch.cat([inside, torch.zeros(len(inside) + len(fresh), dtype=torch.bool)])
    inside[used : used + len(fresh)] = fresh
    return inside
