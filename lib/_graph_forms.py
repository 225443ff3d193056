"""Graphs in the forms that the functions on symmetry take, and what sites are told apart by at the start."""

from __future__ import annotations

from numbers import Real

import numpy as np
import torch
from torch import Tensor

from lib import checks, graphs

__all__ = ["read_colors", "read_graph", "tolerance"]

# Sums of weights that differ by less than this share of the largest weight count as equal.
SAME_WEIGHT = {torch.float32: 1e-5, torch.float64: 1e-9}


def tolerance(graph: graphs.Graph) -> float:
    """Difference of sums of weights that counts as rounding."""
    if graph.weight.numel() == 0:
        return 0.0
    return SAME_WEIGHT.get(graph.weight.dtype, 1e-5) * float(graph.weight.abs().max())


def read_graph(name: str, G, weight: str | None) -> tuple[graphs.Graph, list]:
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


def read_colors(colors, nodes: list) -> Tensor:
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
        if not isinstance(colour, (Real, str)) or colour != colour:  # NaN differs from itself
            raise ValueError(f"colors must be numbers or texts, got {checks.describe(colour)} among them")
    number = {}
    return torch.tensor([number.setdefault(colour, len(number)) for colour in colors])
