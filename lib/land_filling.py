"""The other classes of a synthetic landscape: filled in by one table, changed from year to year by another. SYNTHETIC.

Every year the number of pixels of each class is fixed by the built mask, ``lib.land_tables.SIMPLEX_TABLE`` and the
two small tables beside it. How many pixels go from one class to another is the table of flows with just these totals
that is closest to the transition matrix ``lib.land_tables.TRANSITION_TABLE`` (in the Kullback-Leibler sense: rows
and columns rescaled in turn). Which pixels go is decided by a smooth random field of the class they become: those where
it is highest, so that changes come in patches. Pixels that will be built on next year are treated as a group of their
own, so that buildings replace the classes that the matrix says they replace. The built mask is never touched.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lib.land_tables import (
    ANALYSIS_CODES,
    BUILT,
    BUILT_IN_CAPITAL,
    HALF_SHAPE,
    SIMPLEX_TABLE,
    TRANSITION_TABLE,
    TREES_IN_LAND,
    YEARS,
)
from lib.landscape import drawn_terrain, grow_built, random_field, read_landscape_shape, read_seed, read_weights

__all__ = ["synthetic_landscape"]

# The classes that are not built, in the order of the arrays below, and their part of the transition matrix.
OTHERS = [place for place, code in enumerate(ANALYSIS_CODES) if code != BUILT]
CODES = np.array(ANALYSIS_CODES, dtype=np.uint8)[OTHERS]
WATER, TREES, FLOODED, CROPS, BARE, RANGE = range(6)
STAYING = np.array(TRANSITION_TABLE)[np.ix_(OTHERS, OTHERS)]
TO_BUILT = np.array(TRANSITION_TABLE)[OTHERS, ANALYSIS_CODES.index(BUILT)]
START_FLOODED = 0.35  # share of flooded vegetation in the first year's Commons without trees
SHORE = 0.03  # width of the strip along the coast in which land and sea change places, in shares of the rows


def synthetic_landscape(seed: int = 0, shape=HALF_SHAPE, disorder=0.25, road_weight=2.2) -> Tensor:
    """Eight yearly land-cover maps of an invented coast, 2017 to 2024. SYNTHETIC: label it so wherever it is shown.

    Parameters
    ----------
    seed : int
    shape : sequence of int, (2,)
        Rows and columns, at least 32 each. ``lib.land_tables.SMALL_SHAPE`` takes about 50 ms.
    disorder : float
        Weight of the roughness that grows over the years, from 0 to 1e6.
    road_weight : float
        Weight of planned growth along roads, from 0 to 1e6.

    Returns
    -------
    Tensor of uint8, (8, H, W)
        Class codes of ``lib.land_tables.CLASS_NAMES``. Built pixels never disappear.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    The shares of Commons, Agrarian and Capital meet their table to rounding. The pooled transitions between classes
    that are not built follow their matrix as closely as those shares let them; built land stays built with
    probability 1, not .964 as in the matrix, because the mask never shrinks.

    Examples
    --------
    >>> maps = synthetic_landscape(seed=0, shape=(64, 96))
    >>> maps.shape, sorted(set(maps.flatten().tolist()))
    (torch.Size([8, 64, 96]), [1, 2, 4, 5, 7, 8, 11])
    """
    generator = np.random.default_rng(read_seed(seed))
    shape = read_landscape_shape(shape)
    read_weights(disorder, road_weight)
    ground = drawn_terrain(generator, shape)
    built = grow_built(ground, disorder, road_weight).numpy().reshape(len(YEARS), -1)
    fields = _Fields(ground.land.numpy(), generator)
    totals = [_totals(int(mask.sum()), mask.size, year) for year, mask in enumerate(built)]

    place = _first_year(built, totals[0], fields)
    maps = [_coded(place, built[0])]
    for year in range(1, len(YEARS)):
        place = _next_year(place, built, year, totals[year], fields)
        maps.append(_coded(place, built[year]))
    return torch.from_numpy(np.stack(maps).reshape(len(YEARS), *shape))


class _Fields:
    """Smooth random fields, one for each class; a shift makes a new one, for they are periodic."""

    def __init__(self, land: np.ndarray, generator: np.random.Generator):
        from scipy import ndimage

        self.generator = generator
        self.smooth = [random_field(land.shape, 3, generator) for _ in CODES]
        inland = ndimage.distance_transform_edt(land)
        offshore = ndimage.distance_transform_edt(~land)
        # Height over the coast in strips: positive on land, negative in the sea.
        self.inland = (inland - offshore) / (SHORE * land.shape[0])

    def scores(self) -> np.ndarray:
        """How much each pixel is inclined to become each class, (classes, pixels)."""
        rows, columns = self.inland.shape
        drawn = []
        for field in self.smooth:
            shift = int(self.generator.integers(rows)), int(self.generator.integers(columns))
            drawn.append(np.roll(field, shift, axis=(0, 1)))
        scores = np.stack(drawn)
        at_sea = 4 * np.minimum(self.inland, 0)
        scores += at_sea  # the sea is filled in from the coast
        scores[WATER] = drawn[WATER] - np.maximum(self.inland, 0)
        scores[FLOODED] -= np.maximum(self.inland, 0)
        return scores.reshape(len(CODES), -1)


def _coded(place: np.ndarray, built: np.ndarray) -> np.ndarray:
    return np.where(built, np.uint8(BUILT), CODES[place])


def _totals(built: int, pixels: int, year: int) -> np.ndarray:
    """Pixels of water, trees, the rest of Commons, crops and bare ground that the tables ask for."""
    commons, agrarian, capital = np.array(SIMPLEX_TABLE[year]) / 100
    land = built / (BUILT_IN_CAPITAL[year] * capital)
    trees = land * TREES_IN_LAND[year] / 100
    return np.array([pixels - land, trees, commons * land - trees, agrarian * land, capital * land - built])


def _by_class(total: np.ndarray, flooded: float) -> np.ndarray:
    """Split the rest of Commons into flooded vegetation and rangeland."""
    water, trees, rest, crops, bare = total
    return np.array([water, trees, flooded * rest, crops, bare, (1 - flooded) * rest])


def _first_year(built: np.ndarray, total: np.ndarray, fields: _Fields) -> np.ndarray:
    wanted = _by_class(total, START_FLOODED)
    place = np.full(built.shape[1], WATER)
    for group, columns in _groups(built, 0, wanted):
        # Sea first, and each class where its field is highest among what is left; crops fill the rest.
        columns = _whole(columns, len(group))
        scores = fields.scores()[:, group]
        scores[WATER] = -fields.inland.ravel()[group] + 0.2 * scores[WATER]
        left = np.arange(len(group))
        for kind in (WATER, FLOODED, TREES, BARE, RANGE):
            taken, left = _highest(scores[kind], left, columns[kind])
            place[group[taken]] = kind
        place[group[left]] = CROPS
    return place


def _next_year(place: np.ndarray, built: np.ndarray, year: int, total: np.ndarray, fields: _Fields) -> np.ndarray:
    free = ~built[year]
    expected = np.bincount(place[free], minlength=len(CODES)) @ STAYING
    wanted = _by_class(total, expected[FLOODED] / (expected[FLOODED] + expected[RANGE]))
    after = place.copy()
    scores = fields.scores()
    for group, columns in _groups(built, year, wanted):
        before = place[group]
        flows = _flows(np.bincount(before, minlength=len(CODES)), columns)
        for source in range(len(CODES)):
            left = np.flatnonzero(before == source)
            leaving = _whole(flows[source], len(left))
            for kind in range(len(CODES)):
                if kind != source:
                    taken, left = _highest(scores[kind][group], left, leaving[kind])
                    after[group[taken]] = kind
    return after


def _groups(built: np.ndarray, year: int, wanted: np.ndarray):
    """Free pixels that will be built on next year, and the others, each with the classes that they should have."""
    soon = np.zeros(len(wanted))
    if year + 1 < len(YEARS):
        group = np.flatnonzero(built[year + 1] & ~built[year])
        inclined = wanted * TO_BUILT
        soon = np.minimum(inclined / inclined.sum() * len(group), 0.9 * wanted)
        soon *= len(group) / soon.sum()
        if len(group):
            yield group, soon
        yield np.flatnonzero(~built[year + 1]), wanted - soon
    else:
        yield np.flatnonzero(~built[year]), wanted


def _flows(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Table with given totals of rows and columns that is closest to the matrix."""
    columns = np.maximum(columns, 0) * rows.sum() / np.maximum(columns, 0).sum()
    flows = rows[:, None] * STAYING
    for _ in range(200):
        flows *= (columns / np.maximum(flows.sum(axis=0), 1e-300))[None]
        flows *= (rows / np.maximum(flows.sum(axis=1), 1e-300))[:, None]
    return flows


def _whole(numbers: np.ndarray, total: int) -> np.ndarray:
    """Whole numbers close to the given ones and with a given sum: the largest remainders are rounded up."""
    numbers = np.maximum(numbers, 0)
    numbers = numbers * total / max(numbers.sum(), 1e-300)
    whole = np.floor(numbers).astype(int)
    whole[np.argsort(whole - numbers, kind="stable")[: total - whole.sum()]] += 1
    return whole


def _highest(score: np.ndarray, candidates: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Split candidates into the given number with the highest score and the others."""
    if count == 0:
        return candidates[:0], candidates
    order = np.argpartition(-score[candidates], count - 1)
    return candidates[order[:count]], candidates[order[count:]]
