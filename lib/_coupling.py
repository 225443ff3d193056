"""Averages over neighbours: what couples the sites of coupled maps and of oscillators, in each form it may be given.

Sums are written as additions in a fixed order, not as reductions: the same bits whatever the batch, and on the page of
a live figure, so that chaotic runs can be compared and shown.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lib import checks, graphs
from lib.neighbours import edge_sum

__all__ = ["Average", "average", "check_strength", "site_dimensions", "stochastic_matrix", "tree_mean"]

Average = Callable[[Tensor], Tensor]
NAMED = ("mean", "ring", "torus")


def site_dimensions(coupling) -> int:
    """Number of trailing dimensions that hold the sites: two for a torus given by name, else one."""
    return 2 if isinstance(coupling, str) and coupling == "torus" else 1


def average(name: str, coupling, states: str, x: Tensor) -> tuple[Average, torch.Size]:
    """Check a coupling against states; return the average over the neighbours of each site, and its batch.

    Parameters
    ----------
    name : str
        The argument's name in error messages.
    coupling : {"mean", "ring", "torus"}, Graph, or Tensor, (..., n, n)
        Everyone with everyone (itself included), rolls over the last dimension or over the last two, the neighbours
        in a graph by weight, or a row-stochastic matrix.
    states : str
        The name of the states in error messages.
    x : Tensor
        States, (..., n), for ``"torus"`` (..., rows, columns).
    """
    if isinstance(coupling, str):
        checks.choice(name, coupling, NAMED)
        named = {"mean": tree_mean, "ring": _ring_mean, "torus": _torus_mean}
        return named[coupling], torch.Size()
    if isinstance(coupling, graphs.Graph):
        return _graph_mean(name, coupling, states, x), torch.Size()
    return _matrix_mean(name, coupling, states, x)


def check_strength(eps: Tensor) -> None:
    """Check the strength of a diffusive coupling, the share that comes from the neighbours."""
    checks.require((eps >= 0) & (eps <= 1), "eps must lie in [0, 1]", eps)


def tree_mean(x: Tensor) -> Tensor:
    """Mean over the last dimension, kept: neighbours are added in pairs, then pairs of pairs."""
    total = x
    while total.shape[-1] > 1:
        half = total.shape[-1] // 2
        pairs = total[..., :half] + total[..., half : 2 * half]
        total = torch.cat([pairs, total[..., 2 * half :]], dim=-1) if total.shape[-1] % 2 else pairs
    return total / x.shape[-1]


def _ring_mean(x: Tensor) -> Tensor:
    return (x.roll(1, dims=-1) + x.roll(-1, dims=-1)) / 2


def _torus_mean(x: Tensor) -> Tensor:
    along_columns = x.roll(1, dims=-1) + x.roll(-1, dims=-1)
    along_rows = x.roll(1, dims=-2) + x.roll(-1, dims=-2)
    return (along_columns + along_rows) / 4


def _graph_mean(name: str, graph, states: str, x: Tensor) -> Average:
    _check_sites(name, graph.size, states, x)
    if x.device != graph.weight.device:
        raise ValueError(f"{name} must be on the device of {states}, {x.device}, got {graph.weight.device}")
    checks.require(graph.weight >= 0, f"{name} must have weights of at least 0", graph.weight)
    checks.require(graph.total > 0, f"{name} must give every site a neighbour")
    total = graph.total.to(x.dtype)
    return lambda values: edge_sum(graph, values) / total


def _matrix_mean(name: str, matrix, states: str, x: Tensor) -> tuple[Average, torch.Size]:
    W = stochastic_matrix(name, matrix, **{states: x})
    _check_sites(name, W.shape[-1], states, x)
    checks.batch(**{name: W.shape[:-2], states: x.shape[:-1]})
    if W.dim() == 2:
        return lambda values: values @ W.mT, torch.Size()
    return lambda values: (W @ values[..., None])[..., 0], W.shape[:-2]


def _check_sites(name: str, size: int, states: str, x: Tensor) -> None:
    if x.shape[-1:] != (size,):
        raise ValueError(
            f"{states} must have shape (..., {size}), one entry for each site of {name}, got {tuple(x.shape)}"
        )


def stochastic_matrix(name: str, matrix, **beside) -> Tensor:
    """Read a row-stochastic matrix, in the type of the tensors beside it."""
    if matrix is None or isinstance(matrix, (bool, int, float, complex)):
        allowed = ", ".join(repr(option) for option in NAMED)
        came = checks.describe(matrix)
        raise ValueError(f"{name} must be {allowed}, a Graph or a row-stochastic matrix, got {came}")
    W = checks.tensors(**{name: matrix}, **beside)[0]
    checks.square(name, W)
    checks.require(W >= 0, f"{name} must have entries of at least 0", W)
    sums = W.sum(dim=-1)
    tolerance = 1e-5 if W.dtype == torch.float32 else 1e-9
    checks.require((sums - 1).abs() <= tolerance, f"{name} must have rows that sum to 1", sums)
    return W
