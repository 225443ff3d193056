"""Percolation of a map: how much of what is occupied hangs together, and how much would by chance.

The share of the largest cluster (:mod:`lib.clusters`) is compared with the same number of pixels dropped at random,
over the whole frame or over land only, and with lattices whose sites are occupied independently. Also brings together
labelling (:mod:`lib.components`) and box counting (:mod:`lib.box_counting`).

Source of the mathematics: D. Stauffer and A. Aharony, "Introduction to Percolation Theory".
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lib import checks
from lib.box_counting import boundary, box_counts, box_dimension, box_sizes, power_sizes, sierpinski_carpet
from lib.clusters import Clusters, cluster_stats, frontier, largest_cluster, order_parameter, read_occupied, spans
from lib.components import connected_components, propagated_labels, read_mask
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
        Mean share of the occupied sites in the largest cluster, and its standard error (ddof 1; 0 for one sample).
    spanning, spanning_error : Tensor, (n,)
        Share of the samples with a cluster from the first to the last row, and its standard error by the binomial
        distribution.
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
        order_parameter_error=giant.var(dim=1, correction=min(1, samples - 1)).sqrt() / samples**0.5,
        spanning=share,
        spanning_error=(share * (1 - share) / samples).sqrt(),
        side=side,
        samples=samples,
    )


def _dropped(mask: Tensor, places: Tensor, replicas: int, generator: torch.Generator) -> Tensor:
    occupied = int(mask.sum())
    maps = torch.zeros(replicas, mask.numel(), dtype=torch.bool, device=mask.device)
    for one in maps:
        drawn = torch.randperm(len(places), generator=generator, device=mask.device)[:occupied]
        one[places[drawn]] = True
    return maps.view(replicas, *mask.shape)


def _read_null_model(mask, replicas, within) -> tuple[Tensor, Tensor, int]:
    mask = read_occupied(mask)
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
