"""Clusters of occupied pixels: sizes, the largest one and its boundary, and whether one spans the map.

The order parameter is the share of the occupied pixels that the largest cluster holds. Clusters are labelled by
``scipy.ndimage.label`` on the CPU, where nothing in torch is faster, and by :mod:`lib.components` on a GPU, many images
at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lib import checks
from lib.box_counting import boundary
from lib.components import numbered, read_mask

__all__ = ["Clusters", "cluster_stats", "frontier", "largest_cluster", "order_parameter", "spans"]


@dataclass(frozen=True)
class Clusters:
    """Clusters of one map.

    Attributes
    ----------
    sizes : Tensor of int64, (count,)
        Pixels of each cluster, the largest first.
    occupied : int
        Occupied pixels: the sum of the sizes.
    pixels : int
        All pixels of the map.
    neighbours : int
        4 or 8.
    """

    sizes: Tensor
    occupied: int
    pixels: int
    neighbours: int

    @property
    def count(self) -> int:
        """Number of clusters."""
        return len(self.sizes)

    @property
    def largest(self) -> int:
        """Pixels of the largest cluster, S_max."""
        return int(self.sizes[0])

    @property
    def share(self) -> float:
        """Occupied share of all pixels, p."""
        return self.occupied / self.pixels

    @property
    def order_parameter(self) -> float:
        """Share of the occupied pixels in the largest cluster."""
        return self.largest / self.occupied


def cluster_stats(mask, neighbours: int = 4) -> Clusters:
    """Sizes of the clusters of one map.

    Parameters
    ----------
    mask : Tensor or array_like of bool, (H, W)
        With one occupied pixel at least.
    neighbours : {4, 8}
        Whether pixels that touch only at a corner belong together.

    Returns
    -------
    Clusters

    Raises
    ------
    ValueError
        If the mask is not one boolean image or is empty, or ``neighbours`` is not 4 or 8.

    Examples
    --------
    >>> found = cluster_stats([[True, True, False], [False, False, True]])
    >>> found.sizes.tolist(), round(found.order_parameter, 3)
    ([2, 1], 0.667)
    """
    mask = read_occupied(mask)
    if mask.dim() != 2:
        raise ValueError(f"mask must be one image of shape (H, W), got {tuple(mask.shape)}")
    sizes, _ = _sizes(mask[None], neighbours)
    sizes = sizes.sort(descending=True).values.cpu()
    return Clusters(sizes=sizes, occupied=int(sizes.sum()), pixels=mask.numel(), neighbours=neighbours)


def order_parameter(mask, neighbours: int = 4) -> Tensor:
    """Share of the occupied pixels in the largest cluster, for many maps at once.

    Parameters
    ----------
    mask : Tensor or array_like of bool, (..., H, W)
        Every image with an occupied pixel.
    neighbours : {4, 8}

    Returns
    -------
    Tensor of float64, (...)

    Raises
    ------
    ValueError
        If the mask is not a boolean array with two dimensions or more, an image is empty, or ``neighbours`` is not 4
        or 8.

    Examples
    --------
    >>> order_parameter([[[True, True]], [[False, True]]]).tolist()
    [1.0, 1.0]
    """
    mask = read_occupied(mask)
    images = mask.reshape(-1, *mask.shape[-2:])
    _, largest = _largest(*_sizes(images, neighbours))
    return (largest.double() / images.sum(dim=(-2, -1))).view(mask.shape[:-2])


def largest_cluster(mask, neighbours: int = 4) -> Tensor:
    """Pixels of the largest cluster of every image; of two equally large ones the first.

    Parameters
    ----------
    mask : Tensor or array_like of bool, (..., H, W)
        Every image with an occupied pixel.
    neighbours : {4, 8}

    Returns
    -------
    Tensor of bool, (..., H, W)

    Raises
    ------
    ValueError
        As :func:`order_parameter`.

    Examples
    --------
    >>> largest_cluster([[True, True, False], [False, False, True]]).long().tolist()
    [[1, 1, 0], [0, 0, 0]]
    """
    mask = read_occupied(mask)
    labels, count = _labels(mask.reshape(-1, *mask.shape[-2:]), neighbours)
    sizes = torch.bincount(labels.flatten(), minlength=1)[1:]
    image, largest = _largest(sizes, count)
    place = torch.arange(len(sizes), device=mask.device)
    first = torch.full_like(count, len(sizes)).scatter_reduce(
        0, image, torch.where(sizes == largest[image], place, len(sizes)), "amin"
    )
    kept = torch.zeros(len(sizes) + 1, dtype=torch.bool, device=mask.device)
    kept[first + 1] = True
    return kept.index_select(0, labels.flatten()).view(mask.shape)


def frontier(mask, neighbours: int = 4) -> Tensor:
    """Boundary of the largest cluster, rims of its holes included: what the authors count boxes on.

    Parameters
    ----------
    mask : Tensor or array_like of bool, (..., H, W)
        Every image with an occupied pixel.
    neighbours : {4, 8}

    Returns
    -------
    Tensor of bool, (..., H, W)

    Raises
    ------
    ValueError
        As :func:`order_parameter`.

    Examples
    --------
    >>> frontier(torch.ones(3, 4, dtype=torch.bool)).long().tolist()
    [[1, 1, 1, 1], [1, 0, 0, 1], [1, 1, 1, 1]]
    """
    return boundary(largest_cluster(mask, neighbours))


def spans(mask, neighbours: int = 4) -> Tensor:
    """Whether one cluster reaches from the first row to the last.

    Parameters
    ----------
    mask : Tensor or array_like of bool, (..., H, W)
    neighbours : {4, 8}

    Returns
    -------
    Tensor of bool, (...)

    Raises
    ------
    ValueError
        If the mask is not a boolean array with two dimensions or more, or ``neighbours`` is not 4 or 8.

    Examples
    --------
    >>> spans([[[True, False], [True, False]], [[True, False], [False, True]]]).tolist()
    [True, False]
    """
    mask = read_mask("mask", mask)
    labels, count = _labels(mask.reshape(-1, *mask.shape[-2:]), neighbours)
    reached = torch.zeros(2, int(count.sum()) + 1, dtype=torch.bool, device=mask.device)
    reached[0, labels[:, 0].flatten().long()] = True
    reached[1, labels[:, -1].flatten().long()] = True
    both = reached[0] & reached[1]
    both[0] = False
    return both[labels[:, 0].long()].any(dim=-1).view(mask.shape[:-2])


def _labels(images: Tensor, neighbours: int) -> tuple[Tensor, Tensor]:
    """Labels of a stack of images that count on from one image to the next, and how many each image has."""
    checks.choice("neighbours", neighbours, (4, 8))
    if images.device.type != "cpu":
        return numbered(images, neighbours)
    from scipy import ndimage

    structure = ndimage.generate_binary_structure(2, 1 if neighbours == 4 else 2)
    labels = torch.empty(images.shape, dtype=torch.int32)
    count, total = [], 0
    for image, own in zip(images.numpy(), labels.numpy(), strict=True):
        count.append(ndimage.label(image, structure, output=own))
        own[image] += total
        total += count[-1]
    return labels, torch.tensor(count, dtype=torch.int64)


def _sizes(images: Tensor, neighbours: int) -> tuple[Tensor, Tensor]:
    """Sizes of all clusters, image after image, and how many each image has."""
    labels, count = _labels(images, neighbours)
    return torch.bincount(labels.flatten(), minlength=1)[1:], count


def _largest(sizes: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """Image of each cluster, and pixels of the largest cluster of each image."""
    image = torch.repeat_interleave(torch.arange(len(count), device=count.device), count)
    return image, sizes.new_zeros(len(count)).scatter_reduce(0, image, sizes, "amax")


def read_occupied(mask) -> Tensor:
    """Read true/false pixels, some of them true in every image."""
    mask = read_mask("mask", mask)
    checks.require(mask.any(dim=-1).any(dim=-1), "mask must have an occupied pixel in every image, but one is empty")
    return mask
