"""Box counting: how many boxes of each size a shape touches, and the dimension read off their growth.

The slope depends on the sizes, the holes and the resolution (Notes of :func:`box_dimension`), so two values can be
compared only if they were counted alike.

Source of the recipe for sizes and boundary: the public code of S. H. S. Herho et al., "Measuring Primitive
Accumulation", arXiv:2603.13715.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lib import checks
from lib.components import read_mask
from lib.live import tracing

__all__ = ["boundary", "box_counts", "box_dimension", "box_sizes", "power_sizes", "sierpinski_carpet"]


def boundary(mask) -> Tensor:
    """Occupied pixels with an empty pixel among their eight neighbours: the mask minus its 3 x 3 erosion.

    Rims of inner holes belong to it, and so do occupied pixels at the edge of the image.

    Parameters
    ----------
    mask : Tensor or array_like of bool, (..., H, W)

    Returns
    -------
    Tensor of bool, (..., H, W)

    Raises
    ------
    ValueError
        If the mask is not a boolean array with two dimensions or more.

    Examples
    --------
    >>> boundary(torch.ones(4, 5, dtype=torch.bool)).long().tolist()
    [[1, 1, 1, 1, 1], [1, 0, 0, 0, 1], [1, 0, 0, 0, 1], [1, 1, 1, 1, 1]]
    """
    mask = read_mask("mask", mask)
    if min(mask.shape[-2:]) < 3:
        return mask.clone()
    rows = mask[..., :-2, :] & mask[..., 1:-1, :] & mask[..., 2:, :]
    inner = rows[..., :-2] & rows[..., 1:-1] & rows[..., 2:]
    return mask & ~torch.nn.functional.pad(inner, (1, 1, 1, 1))


def box_sizes(shape) -> list[int]:
    """Box sides of the authors' recipe: whole numbers of 20 geometric steps from 2 to a quarter of the longer side.

    Parameters
    ----------
    shape : sequence of int, (2,)
        Rows and columns of the image; the longer of them at least 12.

    Returns
    -------
    list of int
        Pixels, rising, without repetition.

    Raises
    ------
    ValueError
        If the shape is not two positive integers or too small.

    Examples
    --------
    >>> box_sizes((100, 80))
    [2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 14, 16, 19, 21, 25]
    """
    largest = max(read_shape(shape)) // 4
    if largest < 3:
        raise ValueError(f"shape must have a side of at least 12, got {tuple(shape)}")
    return np.unique(np.geomspace(2, largest, 20).astype(int)).tolist()


def power_sizes(shape) -> list[int]:
    """Powers of two from 1 to a quarter of the longer side: the sizes that are counted fastest.

    Parameters
    ----------
    shape : sequence of int, (2,)
        Rows and columns of the image; the longer of them at least 8.

    Returns
    -------
    list of int
        Pixels, rising.

    Raises
    ------
    ValueError
        If the shape is not two positive integers or too small.

    Examples
    --------
    >>> power_sizes((100, 80))
    [1, 2, 4, 8, 16]
    """
    largest = max(read_shape(shape)) // 4
    if largest < 2:
        raise ValueError(f"shape must have a side of at least 8, got {tuple(shape)}")
    return [2**power for power in range(largest.bit_length())]


def box_counts(mask, sizes) -> Tensor:
    """How many boxes of each size hold an occupied pixel.

    Parameters
    ----------
    mask : Tensor or array_like of bool, (..., H, W)
    sizes : sequence of int
        Sides of the square boxes in pixels, at least 1. The grid starts at the first pixel; boxes at the far edges
        may hang over.

    Returns
    -------
    Tensor of int64, (..., sizes)

    Raises
    ------
    ValueError
        If the mask is not a boolean array with two dimensions or more, or a size is not a positive integer.

    Notes
    -----
    A grid is thinned out from the coarsest finished one that divides it, so powers of two cost little more than one
    reading of the image (measured in ``benchmarks/percolation.py``).

    Examples
    --------
    >>> box_counts(torch.eye(8, dtype=torch.bool), [1, 2, 4, 8]).tolist()
    [8, 4, 2, 1]
    """
    mask = read_mask("mask", mask)
    # A larger box holds the whole image, too; it is not drawn out, for a grid padded to its side need not fit anywhere.
    whole = 1 << (max(mask.shape[-2:]) - 1).bit_length()
    sizes = [min(size, whole) for size in read_sizes(sizes)]
    if not tracing.active() and all(size & (size - 1) == 0 for size in sizes):
        counts = _counts_of_powers(mask, max(sizes))
    else:
        counts = _counts_of_any(mask, sizes)
    return torch.stack([counts[size] for size in sizes], dim=-1)


def _counts_of_any(mask: Tensor, sizes: list[int]) -> dict[int, Tensor]:
    grids, counts = {1: mask}, {}
    for size in sorted(set(sizes)):
        finer = max(done for done in grids if size % done == 0)
        grids[size] = _thinned(grids[finer], size // finer)
        counts[size] = _ones(grids[size])
    return counts


def _thinned(grid: Tensor, factor: int) -> Tensor:
    """Whether any pixel of each box is occupied."""
    if factor == 1:
        return grid
    grid = torch.nn.functional.pad(grid, (0, -grid.shape[-1] % factor, 0, -grid.shape[-2] % factor))
    rows = grid.unflatten(-2, (-1, factor)).any(dim=-2)
    return rows.unflatten(-1, (-1, factor)).any(dim=-1)


def _counts_of_powers(mask: Tensor, largest: int) -> dict[int, Tensor]:
    """Halve rows and columns again and again; neighbours along a row are joined as one 16-bit word."""
    height, width = (-(-side // largest) * largest for side in mask.shape[-2:])
    grid = torch.nn.functional.pad(mask, (0, width - mask.shape[-1], 0, height - mask.shape[-2]))
    counts, size = {1: _ones(grid)}, 1
    while size < largest:
        size *= 2
        grid = grid[..., 0::2, :] | grid[..., 1::2, :]
        grid = grid.contiguous().view(torch.int16) != 0
        counts[size] = _ones(grid)
    return counts


def _ones(grid: Tensor) -> Tensor:
    """Occupied pixels of each image. On a CPU numpy counts ten times faster than torch, and without a copy."""
    if tracing.active() or grid.device.type != "cpu":
        return grid.sum(dim=(-2, -1))
    images = grid.reshape(-1, *grid.shape[-2:]).numpy()
    return torch.tensor([np.count_nonzero(image) for image in images], dtype=torch.int64).view(grid.shape[:-2])


def box_dimension(mask, sizes=None) -> tuple[Tensor, Tensor]:
    """Box dimension: slope of the logarithm of the box count against the logarithm of one over the size.

    Parameters
    ----------
    mask : Tensor or array_like of bool, (..., H, W)
        Every image with an occupied pixel.
    sizes : sequence of int, optional
        Sides of the boxes in pixels, two different ones at least. Default: :func:`box_sizes`.

    Returns
    -------
    dimension : Tensor of float64, (...)
        Least-squares slope.
    r2 : Tensor of float64, (...)
        Share of the variance of the logarithms that the line explains (1 if all counts are equal).

    Raises
    ------
    ValueError
        If the mask is not a boolean array with two dimensions or more, an image is empty, or the sizes are not two
        different positive integers.

    Notes
    -----
    Sizes that do not fit the shape bias the slope: the Sierpinski carpet of side 729 gives ln 8 / ln 3 = 1.8928
    exactly with powers of 3, and 1.8176, 4 % less, with the default sizes.

    Examples
    --------
    >>> dimension, r2 = box_dimension(sierpinski_carpet(6), [1, 3, 9, 27, 81, 243])
    >>> round(float(dimension), 10)
    1.8927892607
    """
    mask = read_mask("mask", mask)
    sizes = box_sizes(mask.shape[-2:]) if sizes is None else read_sizes(sizes)
    if len(set(sizes)) < 2:
        raise ValueError(f"sizes must hold two different box sides at least, got {sizes}")
    counts = box_counts(mask, sizes)
    checks.require(counts[..., 0] > 0, "mask must have an occupied pixel in every image, but one is empty")
    x = -torch.tensor(sizes, dtype=torch.float64, device=mask.device).log()
    y = counts.double().log()
    x = x - x.mean()
    y = y - y.mean(dim=-1, keepdim=True)
    slope = (x * y).sum(dim=-1) / (x * x).sum()
    spread = (y * y).sum(dim=-1)
    residual = ((y - slope[..., None] * x) ** 2).sum(dim=-1)
    return slope, 1 - residual / torch.where(spread > 0, spread, 1.0)


def sierpinski_carpet(level: int) -> Tensor:
    """Sierpinski carpet: a square whose middle ninth is cut out again and again; dimension ln 8 / ln 3.

    Parameters
    ----------
    level : int
        Cuts, from 0 to 8.

    Returns
    -------
    Tensor of bool, (3 ** level, 3 ** level)

    Raises
    ------
    ValueError
        If the level is not an integer from 0 to 8.

    Examples
    --------
    >>> sierpinski_carpet(1).long().tolist()
    [[1, 1, 1], [1, 0, 1], [1, 1, 1]]
    """
    level = checks.integer("level", level, lowest=0, highest=8)
    carpet = torch.ones(1, 1, dtype=torch.bool)
    cut = torch.ones(3, 3, dtype=torch.bool)
    cut[1, 1] = False
    for _ in range(level):
        carpet = torch.kron(carpet, cut)
    return carpet


def read_shape(shape) -> tuple[int, int]:
    """Rows and columns of an image."""
    if not isinstance(shape, (tuple, list, torch.Size)) or len(shape) != 2:
        raise ValueError(f"shape must be two integers, rows and columns, got {checks.describe(shape)}")
    rows, columns = shape
    return checks.integer("rows of shape", rows, lowest=1), checks.integer("columns of shape", columns, lowest=1)


def read_sizes(sizes) -> list[int]:
    """Sides of boxes as a list of positive integers."""
    if not isinstance(sizes, (tuple, list, range, np.ndarray)) or len(sizes) == 0:
        raise ValueError(f"sizes must be a list of positive integers, got {checks.describe(sizes)}")
    return [checks.integer("sizes", size, lowest=1) for size in sizes]
