"""Percolation of a map: how much of what is occupied hangs together, and how much would by chance.

The order parameter is the share of the occupied pixels that the largest cluster holds. It is compared with the same
number of pixels dropped at random, over the whole frame or over land only. Clusters are labelled by
``scipy.ndimage.label`` on the CPU, where nothing in torch is faster, and by :mod:`lib.components` on a GPU, many images
at once.

Source of the mathematics: D. Stauffer and A. Aharony, "Introduction to Percolation Theory".
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lib import checks
from lib.box_counting import (
    boundary,
    box_counts,
    box_dimension,
    box_sizes,
    power_sizes,
    sierpinski_carpet,
)
from lib.components import connected_components, numbered, propagated_labels, read_mask
from lib.device import generator as seeded

__all__ = [
    "SITE_THRESHOLD",
    "Clusters",
    "Sweep",
    "boundary",
    "box_counts",
    "box_dimension",
    "box_sizes",
    "cluster_stats",
    "connected_components",
    "frontier",
    "largest_cluster",
    "order_parameter",
    "power_sizes",
    "propagated_labels",
    "random_sites",
    "shuffled",
    "shuffled_order_parameter",
    "sierpinski_carpet",
    "site_percolation",
    "spans",
]

# Share of random sites above which a square lattice has an infinite cluster, by number of neighbours.
SITE_THRESHOLD = {4: 0.592746, 8: 0.407254}


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
    mask = _read_occupied(mask)
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
    mask = _read_occupied(mask)
    images = mask.reshape(-1, *mask.shape[-2:])
    sizes, count = _sizes(images, neighbours)
    image = torch.repeat_interleave(torch.arange(len(count), device=mask.device), count)
    largest = sizes.new_zeros(len(count)).scatter_reduce(0, image, sizes, "amax")
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
    mask = _read_occupied(mask)
    labels, count = _labels(mask.reshape(-1, *mask.shape[-2:]), neighbours)
    sizes = torch.bincount(labels.flatten())
    sizes[0] = 0
    first = count.cumsum(0) - count
    kept = torch.zeros(len(sizes), dtype=torch.bool, device=mask.device)
    for start, clusters in zip(first.tolist(), count.tolist(), strict=True):
        own = sizes[start + 1 : start + 1 + clusters]
        kept[start + 1 + int((own == own.max()).nonzero()[0])] = True
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


def shuffled(mask, replicas: int, seed: int = 0, within=None) -> Tensor:
    """Null model: the same number of occupied pixels, each place equally likely.

    Parameters
    ----------
    mask : Tensor or array_like of bool, (H, W)
        With one occupied pixel at least.
    replicas : int
        Random maps, at least 1.
    seed : int
    within : Tensor or array_like of bool, (H, W), optional
        Where pixels may fall, such as land; it has to hold all occupied ones. Default: the whole frame.

    Returns
    -------
    Tensor of bool, (replicas, H, W)
        On the mask's device; one byte a pixel.

    Raises
    ------
    ValueError
        If a mask is not one boolean image, nothing is occupied, ``within`` has another shape or misses an occupied
        pixel, or a number is out of range.

    Examples
    --------
    >>> maps = shuffled([[True, False, False], [True, False, False]], replicas=5, within=[[True, True, False]] * 2)
    >>> maps.sum(dim=(1, 2)).tolist(), bool(maps[..., 2].any())
    ([2, 2, 2, 2, 2], False)
    """
    mask, places, replicas = _read_null_model(mask, replicas, within)
    return _dropped(mask, places, replicas, seeded(seed, mask.device))


def shuffled_order_parameter(mask, replicas: int, seed: int = 0, within=None, neighbours: int = 4) -> Tensor:
    """Order parameter of the null model, a few maps at a time.

    Parameters
    ----------
    mask, replicas, seed, within
        As :func:`shuffled`, whose maps these are.
    neighbours : {4, 8}

    Returns
    -------
    Tensor of float64, (replicas,)

    Raises
    ------
    ValueError
        As :func:`shuffled`, or if ``neighbours`` is not 4 or 8.

    Examples
    --------
    >>> mask = torch.arange(10_000).view(100, 100) < 1600  # 16 rows: one block
    >>> float(order_parameter(mask)), bool(shuffled_order_parameter(mask, replicas=3).max() < 0.02)
    (1.0, True)
    """
    mask, places, replicas = _read_null_model(mask, replicas, within)
    checks.choice("neighbours", neighbours, (4, 8))
    generator = seeded(seed, mask.device)
    # About 64 million pixels at a time on a GPU, 4 million in a CPU's cache and memory.
    chunk = max(1, (1 << 22 if mask.device.type == "cpu" else 1 << 26) // mask.numel())
    found = []
    for at in range(0, replicas, chunk):
        maps = _dropped(mask, places, min(chunk, replicas - at), generator)
        found.append(order_parameter(maps, neighbours))
    return torch.cat(found)


def random_sites(probability, side: int, samples: int, seed: int = 0) -> Tensor:
    """Square lattices whose sites are occupied independently.

    Parameters
    ----------
    probability : array_like, (...)
        Chance of each site, in [0, 1].
    side : int
        Rows and columns, at least 1.
    samples : int
        Lattices for each probability, at least 1.
    seed : int
        All probabilities share their random numbers: a site stays occupied as its chance rises.

    Returns
    -------
    Tensor of bool, (..., samples, side, side)

    Raises
    ------
    ValueError
        If a probability lies outside [0, 1] or a number is out of range.

    Examples
    --------
    >>> few, many = random_sites([0.2, 0.8], side=50, samples=1)
    >>> bool((few & ~many).any()), round(float(many.double().mean()), 1)
    (False, 0.8)
    """
    probability = _read_probability(probability)
    side = checks.integer("side", side, lowest=1)
    samples = checks.integer("samples", samples, lowest=1)
    generator = seeded(seed, probability.device)
    drawn = torch.rand(samples, side, side, generator=generator, dtype=torch.float64, device=probability.device)
    return drawn < probability[..., None, None, None]


@dataclass(frozen=True)
class Sweep:
    """Random site percolation at several probabilities, averaged over samples.

    Attributes
    ----------
    probability : Tensor, (n,)
    order_parameter, order_parameter_error : Tensor, (n,)
        Mean share of the occupied sites in the largest cluster, and its standard error.
    spanning, spanning_error : Tensor, (n,)
        Share of the samples with a cluster from the first to the last row, and its standard error.
    side, samples : int
    """

    probability: Tensor
    order_parameter: Tensor
    order_parameter_error: Tensor
    spanning: Tensor
    spanning_error: Tensor
    side: int
    samples: int


def site_percolation(probability, side: int, samples: int, seed: int = 0, neighbours: int = 4) -> Sweep:
    """Order parameter and spanning probability of random sites.

    Parameters
    ----------
    probability : array_like, (n,)
        Chance of each site, above 0 and at most 1.
    side, samples, seed
        As :func:`random_sites`; the same lattices at every probability.
    neighbours : {4, 8}

    Returns
    -------
    Sweep

    Raises
    ------
    ValueError
        If a probability lies outside (0, 1] or leaves a sample empty, or a number is out of range.

    Examples
    --------
    >>> sweep = site_percolation([0.3, 0.9], side=64, samples=4)
    >>> sweep.spanning.tolist()
    [0.0, 1.0]
    """
    probability = _read_probability(probability)
    if probability.dim() != 1 or not len(probability):
        raise ValueError(f"probability must be a list of numbers, got shape {tuple(probability.shape)}")
    checks.choice("neighbours", neighbours, (4, 8))
    side = checks.integer("side", side, lowest=1)
    samples = checks.integer("samples", samples, lowest=1)
    checks.integer("seed", seed, lowest=0, highest=2**63 - 1)
    giant, spanning = [], []
    for one in probability:
        sites = random_sites(one, side, samples, seed)
        occupied = sites.flatten(1).any(dim=1)
        checks.require(occupied, f"probability must occupy a site of every sample, but {float(one):g} leaves one empty")
        giant.append(order_parameter(sites, neighbours))
        spanning.append(spans(sites, neighbours).double())
    giant, spanning = torch.stack(giant), torch.stack(spanning)
    share = spanning.mean(dim=1)
    return Sweep(
        probability=probability,
        order_parameter=giant.mean(dim=1),
        order_parameter_error=giant.var(dim=1, correction=0).sqrt() / samples**0.5,
        spanning=share,
        spanning_error=(share * (1 - share) / samples).sqrt(),
        side=side,
        samples=samples,
    )


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


def _dropped(mask: Tensor, places: Tensor, replicas: int, generator: torch.Generator) -> Tensor:
    occupied = int(mask.sum())
    maps = torch.zeros(replicas, mask.numel(), dtype=torch.bool, device=mask.device)
    for one in maps:
        drawn = torch.randperm(len(places), generator=generator, device=mask.device)[:occupied]
        one[places[drawn]] = True
    return maps.view(replicas, *mask.shape)


def _read_occupied(mask) -> Tensor:
    mask = read_mask("mask", mask)
    checks.require(mask.any(dim=-1).any(dim=-1), "mask must have an occupied pixel in every image, but one is empty")
    return mask


def _read_null_model(mask, replicas, within) -> tuple[Tensor, Tensor, int]:
    mask = _read_occupied(mask)
    if mask.dim() != 2:
        raise ValueError(f"mask must be one image of shape (H, W), got {tuple(mask.shape)}")
    replicas = checks.integer("replicas", replicas, lowest=1)
    if within is None:
        return mask, torch.arange(mask.numel(), device=mask.device), replicas
    within = read_mask("within", within).to(mask.device)
    if within.shape != mask.shape:
        raise ValueError(f"within must have the mask's shape {tuple(mask.shape)}, got {tuple(within.shape)}")
    checks.require(within | ~mask, "within must hold every occupied pixel of the mask, but misses some")
    return mask, within.flatten().nonzero()[:, 0], replicas


def _read_probability(probability) -> Tensor:
    (probability,) = checks.tensors(probability=probability)
    checks.require((probability >= 0) & (probability <= 1), "probability must lie in [0, 1]", probability)
    return probability
