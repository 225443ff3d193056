"""Reads that are out of date: the last states of a lattice, what each site sees of them, and the worst it could see.

Source of the worst case: D. Chazan and W. Miranker, Linear Algebra Appl. 2 (1969) 199.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lib import checks
from lib.neighbours import Graph, edge_sum

__all__ = ["GraphMap", "stale_read_adversary"]


@dataclass(frozen=True, eq=False)
class GraphMap:
    """Map in which a site sees its neighbours only through their weighted sum: x_i -> update(sum_j A_ij x_j, x_i).

    It is used like any other map; where reads are stale it costs one read per edge instead of one per pair of sites.

    Parameters
    ----------
    graph : Graph
    update : callable
        Maps two tensors (..., n), the sums and the sites' own values, to the new values, site by site.

    Raises
    ------
    ValueError
        If ``graph`` is no Graph or ``update`` cannot be called.

    Examples
    --------
    >>> from lib import graphs
    >>> average = GraphMap(graphs.ring(4), lambda total, own: 0.4 * total + 0.2 * own)
    >>> average(torch.tensor([0.0, 0.0, 10.0, 0.0]))
    tensor([0., 4., 2., 4.])
    """

    graph: Graph
    update: Callable[[Tensor, Tensor], Tensor]

    def __post_init__(self):
        if not isinstance(self.graph, Graph):
            raise ValueError(f"graph must be a Graph of lib.graphs, got {checks.describe(self.graph)}")
        if not callable(self.update):
            raise ValueError(f"update must be a function of two tensors, got {checks.describe(self.update)}")

    def __call__(self, x: Tensor) -> Tensor:
        return self.update(edge_sum(self.graph, x), x)


def stale_read_adversary(A, bound, updates: int, x0=None, *, longest: int | None = None) -> Tensor:
    """Path of x -> A x, one site after the other, under the stale reads that push each value furthest from 0.

    Sites update in turn. Each term A_ij x_j is read at whichever of the last ``bound + 1`` ticks makes the sum largest,
    or smallest; of the two sums the larger in magnitude is kept.

    Parameters
    ----------
    A : array_like, (..., n, n)
    bound : int, or array_like, (...)
        Largest age of a read in ticks, at least 0; 0 is the exact single-site order, without delay.
    updates : int
        Number of single-site updates, at least 0.
    x0 : array_like, (..., n), optional
        State at the start, and before it; 1 at every site by default.
    longest : int, optional
        How many ticks to remember, at least 0; bounds beyond it act as this. It has to be given where ``bound`` is not
        an integer.

    Returns
    -------
    Tensor, (..., updates + 1, n)

    Raises
    ------
    ValueError
        If A is not square, the shapes do not fit, or a number is out of range.

    Examples
    --------
    >>> A = [[0.6, -0.6], [0.6, 0.6]]
    >>> path = stale_read_adversary(A, [0, 2, 4], updates=400, longest=4)
    >>> for size in path[:, -1].abs().amax(dim=-1):
    ...     print(f"{float(size):.2g}")
    5.6e-45
    0.45
    4.7e+05
    """
    if longest is None:
        longest = bound = checks.integer("bound", bound, lowest=0)
    longest = checks.integer("longest", longest, lowest=0)
    updates = checks.integer("updates", updates, lowest=0)
    A, x, bound = checks.tensors(A=A, x0=[1.0] if x0 is None else x0, bound=bound)
    size = checks.square("A", A)
    checks.require(bound >= 0, "bound must be at least 0", bound)
    x = x.expand(size) if x0 is None else x
    checks.shape("x0", x, size)
    batch = checks.batch(A=A.shape[:-2], x0=x.shape[:-1], bound=bound.shape)
    x = x.expand(*batch, size)
    sites = torch.arange(size, device=x.device)
    too_old = torch.arange(longest + 1, device=x.device) > bound[..., None]
    stored = x[..., None, :].expand(*batch, longest + 1, size)  # newest first
    path = [x]
    for update in range(updates):
        site = update % size
        terms = A[..., site, None, :] * stored
        terms = torch.where(too_old[..., None], terms[..., :1, :], terms)
        highest = terms.amax(dim=-2).sum(dim=-1, keepdim=True)
        lowest = terms.amin(dim=-2).sum(dim=-1, keepdim=True)
        furthest = torch.where(highest.abs() > lowest.abs(), highest, lowest)
        x = torch.where(sites == site, furthest, x)
        stored = torch.cat([x[..., None, :], stored[..., :-1, :]], dim=-2)
        path.append(x)
    return torch.stack(path, dim=-2)


def checked_map(F) -> Callable[[Tensor], Tensor]:
    """F with a check of what it returns, and that it leaves its argument alone."""
    if not callable(F):
        raise ValueError(f"F must be a function of a tensor, got {checks.describe(F)}")

    def checked(x: Tensor) -> Tensor:
        version = _version(x)
        after = F(x)
        if not isinstance(after, Tensor) or after.shape != x.shape or after.dtype != x.dtype:
            wanted = f"a {x.dtype} tensor of shape {tuple(x.shape)}"
            raise ValueError(f"F must return {wanted} for one, got {checks.describe(after)}")
        if _version(x) != version:
            raise ValueError("F must not write into its argument: sites would read values of the same tick")
        return after

    return checked


def _version(x: Tensor) -> int | None:
    """How often a tensor has been written to; tensors of torch's inference mode do not count."""
    return None if x.is_inference() else x._version


class Past:
    """The last ``longest + 1`` states of a lattice, newest first."""

    def __init__(self, x: Tensor, longest: int):
        self.size = x.shape[-1]
        self.sites = torch.arange(self.size, device=x.device)
        self.stored = x[..., None, :].expand(*x.shape[:-1], longest + 1, -1)

    def write(self, x: Tensor) -> None:
        # Moving the states is cheap next to the reads, of which there are many more.
        self.stored = torch.cat([x[..., None, :], self.stored[..., :-1, :]], dim=-2)

    def read(self, ages: Tensor, sites: Tensor | None = None) -> Tensor:
        """Values of given ages, (..., k), at given sites, (k,); at all sites by default."""
        sites = self.sites if sites is None else sites
        flat = self.stored.flatten(start_dim=-2).expand(*ages.shape[:-1], -1)
        return flat.gather(-1, ages * self.size + sites)


@dataclass(frozen=True, eq=False)
class OneView:
    """All sites see the same view: right where only one of them updates. Ages are (..., n)."""

    ages: Tensor

    def update(self, F, past: Past) -> Tensor:
        return F(past.read(self.ages))


@dataclass(frozen=True, eq=False)
class ViewPerSite:
    """Every site has a view of its own; ages are (..., readers, n)."""

    ages: Tensor

    def update(self, F, past: Past) -> Tensor:
        # The readers come first, so that parameters of F that have the replicas' dimensions still fit.
        views = past.read(self.ages.movedim(-2, 0))
        return F(views).diagonal(dim1=0, dim2=-1)


@dataclass(frozen=True, eq=False)
class AlongEdges:
    """Sites of a graph map read their neighbours, (..., edges), and themselves, (..., n)."""

    graph_map: GraphMap
    of_neighbours: Tensor
    of_itself: Tensor

    def update(self, F, past: Past) -> Tensor:
        graph = self.graph_map.graph
        own = past.read(self.of_itself)
        read = past.read(self.of_neighbours, graph.source) * graph.weight.to(own.dtype)
        total = torch.zeros_like(own).index_add(-1, graph.target, read)
        return self.graph_map.update(total, own)


def given(F, ages: Tensor, single: bool) -> OneView | ViewPerSite | AlongEdges:
    """What sites read at one tick: ages (..., n) of a single reader, or (..., n, n) of all."""
    if single:
        return OneView(ages)
    if isinstance(F, GraphMap):
        return AlongEdges(F, ages[..., F.graph.target, F.graph.source], ages.diagonal(dim1=-2, dim2=-1))
    return ViewPerSite(ages)


class Ages:
    """Random ages of the reads of a tick, each uniform from 0 to its bound."""

    def __init__(self, F, bounds: Tensor | None, batch: torch.Size, generator: torch.Generator):
        self.F, self.bounds, self.batch, self.generator = F, bounds, batch, generator
        if bounds is not None and isinstance(F, GraphMap):
            self.along_edges = bounds[F.graph.target, F.graph.source]
            self.own = bounds.diagonal()

    def of_one(self, site: Tensor) -> OneView | None:
        """Ages for the one site that updates, (...)."""
        return None if self.bounds is None else OneView(self._draw(self.bounds[site]))

    def of_all(self) -> ViewPerSite | AlongEdges | None:
        """Ages for all sites."""
        if self.bounds is None:
            return None
        if isinstance(self.F, GraphMap):
            return AlongEdges(self.F, self._draw(self.along_edges, *self.batch), self._draw(self.own, *self.batch))
        return ViewPerSite(self._draw(self.bounds, *self.batch))

    def _draw(self, bounds: Tensor, *batch: int) -> Tensor:
        shape = (*batch, *bounds.shape)
        uniform = torch.rand(shape, generator=self.generator, dtype=torch.float64, device=bounds.device)
        return uniform.mul_(bounds + 1).to(torch.int64).minimum(bounds)
