"""Colour refinement by a list of cells still to be compared with: O(edges * log(sites)), as Hopcroft's algorithm.

Rounds over the whole graph would need as many rounds as a path is long. Here a cell is split by how much its sites read
of another one, and of the pieces all but the largest are compared in turn: what the largest would separate follows from
the cell before and the other pieces.

Sources: R. Paige and R. E. Tarjan, SIAM J. Comput. 16 (1987) 973; C. Berkholz, P. Bonsma, M. Grohe, Theory Comput.
Syst. 60 (2017) 581.
"""

from __future__ import annotations

from collections import deque
from itertools import pairwise

import torch
from torch import Tensor

from lib.graphs import Graph

__all__ = ["refine"]


def refine(graph: Graph, labels: Tensor, tolerance: float) -> Tensor:
    """Coarsest equitable partition that is at least as fine as the labels (0 ... cells - 1); cells in no order."""
    readers, weights, start = _by_source(graph)
    cell_of = labels.tolist()
    members = [set() for _ in range(max(cell_of) + 1)]
    for site, cell in enumerate(cell_of):
        members[cell].add(site)
    queue = deque(range(len(members)))
    waiting = set(queue)
    while queue:
        splitter = queue.popleft()
        waiting.discard(splitter)
        total = {}
        for site in members[splitter]:
            for edge in range(start[site], start[site + 1]):
                reader = readers[edge]
                total[reader] = total.get(reader, 0.0) + weights[edge]
        touched = {}
        for reader in total:
            touched.setdefault(cell_of[reader], []).append(reader)
        for cell, sites in touched.items():
            pieces = _pieces(sites, total, len(members[cell]) > len(sites), tolerance)
            new = _split(members, cell_of, cell, pieces)
            if not new:
                continue
            if cell not in waiting:
                new = _all_but_the_largest(members, [cell, *new])
            queue.extend(new)
            waiting.update(new)
    return torch.tensor(cell_of, dtype=torch.int64)


def _by_source(graph: Graph) -> tuple[list, list, list]:
    """Readers of each site one after the other, the weights of these edges, and where each site's begin."""
    order = graph.source.argsort(stable=True)
    count = torch.bincount(graph.source, minlength=graph.size)
    start = [0, *count.cumsum(dim=0).tolist()]
    return graph.target[order].tolist(), graph.weight[order].double().tolist(), start


def _pieces(sites: list, total: dict, untouched: bool, tolerance: float) -> list[list]:
    """Sites grouped by what they read, sums within the tolerance as one; without those that stay in the cell."""
    if len(sites) == 1:
        return [sites] if untouched and abs(total[sites[0]]) > tolerance else []
    sites.sort(key=total.__getitem__)
    groups = [[sites[0]]]
    for before, site in pairwise(sites):
        if total[site] - total[before] > tolerance:
            groups.append([])
        groups[-1].append(site)
    if untouched:  # they read nothing of the splitter; so may some of these, where weights cancel
        return [group for group in groups if abs(total[group[0]]) > tolerance]
    groups.pop(max(range(len(groups)), key=lambda number: len(groups[number])))
    return groups


def _split(members: list, cell_of: list, cell: int, pieces: list[list]) -> list[int]:
    """Move the pieces of a cell into cells of their own; the rest stays."""
    new = []
    for piece in pieces:
        number = len(members)
        members[cell].difference_update(piece)
        members.append(set(piece))
        for site in piece:
            cell_of[site] = number
        new.append(number)
    return new


def _all_but_the_largest(members: list, cells: list[int]) -> list[int]:
    largest = max(cells, key=lambda cell: len(members[cell]))
    return [cell for cell in cells if cell != largest]
