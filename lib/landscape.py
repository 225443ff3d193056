"""Synthetic landscapes: a coastal town that grows along planned roads. SYNTHETIC, not PIK2.

The design is this book's own. Land lies south of a wavy coast. Every land pixel has a potential: close to a road, close
to a core, and two rough random fields, one for good and one whose weight grows with the years. Each year the free land
pixels of highest potential are built on until the built share of ``lib.land_tables.BUILT_SHARES`` is reached;
nothing is ever torn down. The other classes are filled in by :mod:`lib.land_filling`.

Scales are calibrated at 557 x 779 pixels (half the frame) and stretch with the shape.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lib import checks
from lib.box_counting import read_shape
from lib.land_tables import BUILT_SHARES, HALF_SHAPE

__all__ = ["Terrain", "grow_built", "random_field", "synthetic_built", "terrain"]

LAND = 0.33  # share of the rows that lie south of the mean coast
EAST_WEST_ROADS = (0.75, 0.30)  # heights above the southern edge, in shares of the land's rows
NORTH_SOUTH_ROADS = np.linspace(0.08, 0.92, 7)  # shares of the columns
CORE = (0.45, 0.62)  # height above the southern edge in shares of the land's rows, share of the columns
LAST_YEAR = len(BUILT_SHARES) - 1


@dataclass(frozen=True)
class Terrain:
    """What the potential of a landscape is made of; all (H, W), float64 except the land.

    Attributes
    ----------
    land : Tensor of bool
    road : Tensor
        exp(-distance to the next road / 12 pixels at half scale).
    core : Tensor
        exp(-(scaled distance to the core / 0.35)²).
    rough : Tensor
        Random field with spectrum k⁻³, mean 0 and variance 1.
    disorder : Tensor
        Random field with spectrum k⁻², mean 0 and variance 1.
    """

    land: Tensor
    road: Tensor
    core: Tensor
    rough: Tensor
    disorder: Tensor


def random_field(shape, exponent: float, generator: np.random.Generator) -> np.ndarray:
    """Gaussian random field, periodic, with mean 0 and variance 1.

    Parameters
    ----------
    shape : sequence of int, (2,)
    exponent : float
        The power of wave number k falls as k to minus this; from 0 to 20.
    generator : numpy.random.Generator

    Returns
    -------
    ndarray of float64, shape

    Raises
    ------
    ValueError
        If the shape is not two positive integers of 2 pixels at least in all, the exponent is out of range or the
        generator is not numpy's.

    Examples
    --------
    >>> field = random_field((64, 64), 3, np.random.default_rng(0))
    >>> round(float(field.std()), 6)
    1.0
    """
    rows, columns = read_shape(shape)
    if rows * columns < 2:
        raise ValueError(f"shape must have two pixels at least, got {tuple(shape)}")
    exponent = checks.real_number("exponent", exponent, lowest=0, highest=20)
    if not isinstance(generator, np.random.Generator):
        raise ValueError(f"generator must be a numpy.random.Generator, got {checks.describe(generator)}")
    k = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns))
    k[0, 0] = np.inf  # no mean
    spectrum = np.fft.rfft2(generator.standard_normal((rows, columns))) * k ** (-exponent / 2)
    field = np.fft.irfft2(spectrum, s=(rows, columns))
    return (field - field.mean()) / field.std()


def terrain(seed: int = 0, shape=HALF_SHAPE) -> Terrain:
    """Coast, roads, core and random fields of one landscape.

    Parameters
    ----------
    seed : int
    shape : sequence of int, (2,)
        Rows and columns, at least 32 each.

    Returns
    -------
    Terrain
        On the CPU.

    Raises
    ------
    ValueError
        If the seed or the shape is out of range.

    Examples
    --------
    >>> round(float(terrain(0).land.double().mean()), 3)
    0.336
    """
    return drawn_terrain(np.random.default_rng(read_seed(seed)), read_landscape_shape(shape))


def drawn_terrain(generator: np.random.Generator, shape: tuple[int, int]) -> Terrain:
    from scipy import ndimage

    height, width = shape
    rows, columns = np.arange(height)[:, None], np.arange(width)[None]
    wave = ndimage.gaussian_filter1d(generator.standard_normal(width), width / 19.5)
    coast = height * (1 - LAND) + wave / wave.std() * 0.02 * height
    land = rows > coast

    road = np.zeros(shape, dtype=bool)
    for above in EAST_WEST_ROADS:
        road[int(height * (1 - LAND * above))] = True
    for share in NORTH_SOUTH_ROADS:
        road[:, int(share * width)] = True
    to_road = ndimage.distance_transform_edt(~(road & land))
    down = (rows - height * (1 - LAND * CORE[0])) / height
    across = (columns - width * CORE[1]) / width
    fields = {
        "road": np.exp(-to_road / (12 * height / HALF_SHAPE[0])),
        "core": np.exp(-(down**2 + across**2) / 0.35**2),
        "rough": random_field(shape, 3, generator),
        "disorder": random_field(shape, 2, generator),
    }
    return Terrain(land=torch.from_numpy(land), **{name: torch.from_numpy(field) for name, field in fields.items()})


def grow_built(ground: Terrain, disorder=0.25, road_weight=2.2, shares: Sequence[float] = BUILT_SHARES) -> Tensor:
    """Built pixels of every year: what was built stays, and the free land of highest potential is added.

    Plain torch on the terrain's device; disorder and road weight may be controls of a live figure.

    Parameters
    ----------
    ground : Terrain
    disorder : float or 0-dimensional Tensor
        Weight of the second random field in the last year, from 0 to 1e6; it grows evenly from 0 in the first.
    road_weight : float or 0-dimensional Tensor
        Weight of the nearness of roads, from 0 to 1e6.
    shares : sequence of float
        Built pixels over all pixels of each year, not falling, and no more than there is land.

    Returns
    -------
    Tensor of bool, (years, H, W)
        Pixels whose potential equals the last one's are built on, too: a few of them where a terrain in single
        precision meets a very large weight.

    Raises
    ------
    ValueError
        If the ground is no terrain, a weight is out of range, or the shares fall or ask for more land than there is.

    Examples
    --------
    >>> built = grow_built(terrain(0, (64, 96)), shares=[0.1, 0.2])
    >>> built.double().mean(dim=(1, 2))
    tensor([0.0999, 0.2000], dtype=torch.float64)
    """
    if not isinstance(ground, Terrain):
        raise ValueError(f"ground must be a Terrain, got {checks.describe(ground)}")
    disorder, road_weight = read_weights(disorder, road_weight)
    shares = _read_shares(shares, ground)
    pixels = ground.land.numel()
    potential = road_weight * ground.road + 2 * ground.core + 0.5 * ground.rough
    built, years = torch.zeros_like(ground.land), []
    for year, share in enumerate(shares):
        value = potential + disorder * (year / LAST_YEAR) * ground.disorder
        # Beyond any potential, also in single precision: what stands comes first, the sea last.
        value = torch.where(built, 1e30, torch.where(ground.land, value, -1e30))
        lowest = torch.kthvalue(value.flatten(), pixels - round(share * pixels) + 1).values
        built = value >= lowest
        years.append(built)
    return torch.stack(years)


def synthetic_built(seed: int = 0, shape=HALF_SHAPE, disorder=0.25, road_weight=2.2) -> Tensor:
    """Built pixels of a SYNTHETIC landscape, years 2017 to 2024: :func:`grow_built` on the :func:`terrain` of a seed.

    Parameters
    ----------
    seed : int
    shape : sequence of int, (2,)
        Rows and columns, at least 32 each.
    disorder, road_weight : float
        From 0 to 1e6.

    Returns
    -------
    Tensor of bool, (8, H, W)
        Exactly the built pixels of :func:`lib.landcover.synthetic_landscape` with the same arguments, in a tenth of
        the time.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Examples
    --------
    >>> synthetic_built(seed=3, shape=(64, 96)).shape
    torch.Size([8, 64, 96])
    """
    read_weights(disorder, road_weight)
    return grow_built(terrain(seed, shape), disorder, road_weight)


def read_seed(seed) -> int:
    """A seed of numpy's generators."""
    return checks.integer("seed", seed, lowest=0, highest=2**63 - 1)


def read_landscape_shape(shape) -> tuple[int, int]:
    """Rows and columns that are enough for coast, roads and core."""
    rows, columns = read_shape(shape)
    if min(rows, columns) < 32:
        raise ValueError(f"shape must have at least 32 rows and columns, got {(rows, columns)}")
    return rows, columns


def read_weights(disorder, road_weight) -> tuple[Tensor, Tensor]:
    """Two numbers, not so large that rounding swallows what they are added to."""
    disorder, road_weight = checks.tensors(disorder=disorder, road_weight=road_weight)
    for name, weight in (("disorder", disorder), ("road_weight", road_weight)):
        if weight.dim():
            raise ValueError(f"{name} must be one number, got shape {tuple(weight.shape)}")
        checks.require((weight >= 0) & (weight <= 1e6), f"{name} must be from 0 to 1e6", weight)
    return disorder, road_weight


def _read_shares(shares, ground: Terrain) -> list[float]:
    if not isinstance(shares, (tuple, list)) or not shares:
        raise ValueError(f"shares must be a list of numbers, got {checks.describe(shares)}")
    shares = [checks.real_number("shares", share, lowest=0, highest=1, open_below=True) for share in shares]
    pixels = ground.land.numel()
    if any(after < before for before, after in itertools.pairwise(shares)):
        raise ValueError(f"shares must not fall, for nothing is torn down, got {shares}")
    if round(shares[0] * pixels) < 1 or round(shares[-1] * pixels) > int(ground.land.sum()):
        land = int(ground.land.sum()) / pixels
        raise ValueError(f"shares must build one pixel at least and no more than the land, {land:.3f}, got {shares}")
    return shares
