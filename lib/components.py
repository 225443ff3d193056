"""Connected components of many occupied/empty grids at once, in plain torch on any device.

A row of touching occupied pixels is a run and surely one cluster, so the runs are the nodes and the places where runs
of neighbouring rows touch are the edges. Roots of touching trees then hook onto the smaller one, and every node jumps
to its root (min-label propagation with pointer jumping). With full jumping between two hookings this needs at most
O(log² n) rounds on any shape, spirals included (S. C. Liu and R. E. Tarjan, "Simple concurrent labeling algorithms for
connected components", 2019). On a CPU ``scipy.ndimage.label`` is faster and :mod:`lib.percolation` calls it there.

:func:`propagated_labels` does a fixed number of sweeps instead, so that a live figure can record it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lib import checks

__all__ = ["connected_components", "propagated_labels"]


def read_mask(name: str, value) -> Tensor:
    """Read true/false pixels, with two dimensions or more and at least one pixel an image."""
    try:
        value = torch.as_tensor(checks.for_torch(value))
    except (TypeError, ValueError, RuntimeError) as problem:
        got = checks.describe(value)
        raise ValueError(f"{name} must be a rectangular array of True and False, got {got}") from problem
    if value.dtype != torch.bool or value.dim() < 2 or 0 in value.shape[-2:]:
        raise ValueError(f"{name} must be True or False in shape (..., H, W), got {checks.describe(value)}")
    return value


def connected_components(mask, neighbours: int = 4) -> tuple[Tensor, Tensor]:
    """Number the clusters of occupied pixels, each image of a batch on its own.

    Parameters
    ----------
    mask : Tensor or array_like of bool, (..., H, W)
        Occupied pixels. The work is done on the mask's device.
    neighbours : {4, 8}
        Whether pixels that touch only at a corner belong together.

    Returns
    -------
    labels : Tensor of int32, (..., H, W)
        0 where empty; clusters are 1, 2, ... in the order of their first pixel, row by row, in every image.
    count : Tensor of int64, (...)
        Clusters of each image.

    Raises
    ------
    ValueError
        If the mask is not a boolean array with two dimensions or more, or ``neighbours`` is not 4 or 8.

    Notes
    -----
    At the threshold of random sites the peak is 15 to 30 bytes a pixel, of which the labels are 4 (CPU, measured by
    ``benchmarks/percolation.py``).

    Examples
    --------
    >>> labels, count = connected_components([[True, False, True], [True, False, False], [False, True, True]])
    >>> labels.tolist(), int(count)
    ([[1, 0, 2], [1, 0, 0], [0, 3, 3]], 3)
    """
    mask = read_mask("mask", mask)
    checks.choice("neighbours", neighbours, (4, 8))
    labels, count = numbered(mask.reshape(-1, *mask.shape[-2:]), neighbours)
    first = count.cumsum(0) - count
    labels = torch.where(labels > 0, labels - first.to(labels.dtype)[:, None, None], labels)
    return labels.view(mask.shape), count.view(mask.shape[:-2])


def numbered(mask: Tensor, neighbours: int) -> tuple[Tensor, Tensor]:
    """Labels of a stack of images that count on from one image to the next, and how many each image has."""
    starts = mask.clone()
    starts[..., 1:] &= ~mask[..., :-1]
    # Counting the starts of runs numbers the runs; empty pixels get the run before them and are masked at the end.
    run = starts.flatten().cumsum(0, dtype=torch.int32).sub_(1).view(mask.shape)
    parent = _roots(int(starts.sum()), *_touching(mask, run, neighbours))
    is_root = parent == torch.arange(len(parent), device=mask.device)
    number = is_root.cumsum(0, dtype=torch.int32)
    image = starts.flatten(1).sum(dim=1).cumsum(0)
    count = torch.cat([number.new_zeros(1), number])[image].long()
    if not len(parent):
        return torch.zeros_like(run), count
    labels = number[parent].index_select(0, run.flatten().clamp_(min=0)).view(mask.shape)
    return labels.mul_(mask), count.diff(prepend=count.new_zeros(1))


def _touching(mask: Tensor, run: Tensor, neighbours: int) -> tuple[Tensor, Tensor]:
    """Pairs of runs of neighbouring rows that touch."""
    above, below = mask[..., :-1, :], mask[..., 1:, :]
    straight = above & below
    first = straight.clone()
    first[..., 1:] &= ~straight[..., :-1]  # the next pixels along the same two runs say nothing new
    pairs = [(run[..., :-1, :][first], run[..., 1:, :][first])]
    if neighbours == 8:
        # A diagonal is news only where neither of the two pixels beside it already ties its ends together.
        falling = above[..., :-1] & below[..., 1:] & ~above[..., 1:] & ~below[..., :-1]
        rising = above[..., 1:] & below[..., :-1] & ~above[..., :-1] & ~below[..., 1:]
        pairs.append((run[..., :-1, :-1][falling], run[..., 1:, 1:][falling]))
        pairs.append((run[..., :-1, 1:][rising], run[..., 1:, :-1][rising]))
    upper, lower = (torch.cat(side).long() for side in zip(*pairs, strict=True))
    return upper, lower


def _roots(nodes: int, upper: Tensor, lower: Tensor) -> Tensor:
    """Smallest node of each node's component."""
    parent = torch.arange(nodes, device=upper.device)
    while len(upper):
        small, large = torch.minimum(upper, lower), torch.maximum(upper, lower)
        parent.scatter_reduce_(0, large, small, "amin")
        while True:
            further = parent[parent]
            if torch.equal(further, parent):
                break
            parent = further
        upper, lower = parent[upper], parent[lower]
        apart = upper != lower
        upper, lower = upper[apart], lower[apart]
    return parent


def propagated_labels(mask: Tensor, rounds: int = 8) -> Tensor:
    """Label 4-neighbour clusters by a fixed number of sweeps: the form that a live figure can record.

    In each round the smallest label runs along every row and column of touching pixels, then every pixel takes the
    label of the pixel that its own label names. Landscapes of about 100 pixels a side settle in four rounds; random
    sites near the threshold need up to 50 at 128 pixels a side, and a spiral about as many as it has turns. One that
    is not finished shows one cluster as several.

    Parameters
    ----------
    mask : Tensor of bool, (..., H, W)
    rounds : int
        Sweeps, at least 1.

    Returns
    -------
    Tensor of int64, (..., H, W)
        Position (row times W plus column) of the cluster's first pixel; H times W where empty.

    Raises
    ------
    ValueError
        If the mask is not a boolean array with two dimensions or more, or ``rounds`` is below 1.

    Examples
    --------
    >>> propagated_labels(torch.tensor([[True, False, True], [True, False, True]])).tolist()
    [[0, 6, 2], [0, 6, 2]]
    """
    mask = read_mask("mask", mask)
    rounds = checks.integer("rounds", rounds, lowest=1)
    pixels = mask.shape[-2] * mask.shape[-1]
    position = torch.arange(pixels, device=mask.device).view(mask.shape[-2:])
    label = torch.where(mask, position, pixels)
    gaps_along_rows = (~mask).long().cumsum(-1)
    gaps_along_columns = (~mask).long().cumsum(-2)
    for _ in range(rounds):
        label = torch.where(mask, _smallest_of_stretch(label, gaps_along_rows, -1, pixels), pixels)
        label = torch.where(mask, _smallest_of_stretch(label, gaps_along_columns, -2, pixels), pixels)
        flat = label.flatten(-2)
        named = flat.gather(-1, flat.clamp(max=pixels - 1))
        label = torch.where(mask, named.view(label.shape), pixels)
    return label


def _smallest_of_stretch(label: Tensor, gaps: Tensor, dim: int, pixels: int) -> Tensor:
    """Smallest label of each stretch between two gaps: a running minimum that a lower level restarts after each gap."""
    level = gaps * (pixels + 1)
    forward = torch.cummin(label - level, dim=dim).values + level
    backward = torch.cummin((forward + level).flip(dim), dim=dim).values.flip(dim) - level
    return torch.minimum(forward, backward)
