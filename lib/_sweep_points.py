"""The points of a sweep as plain data: what JSON can hold, in one order, each with a name and a seed of its own."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence

from lib import checks
from lib._sweep_worker import plain

__all__ = ["canonical", "expand", "read_grid", "seed_of"]


def canonical(value) -> str:
    """The one text that stands for a plain value, whatever the order of its names.

    Examples
    --------
    >>> canonical({"width": 8, "depth": 2}) == canonical({"depth": 2, "width": 8})
    True
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _values(name: str, given) -> list:
    """The values of one parameter, checked.

    Raises
    ------
    ValueError
        If they are no list, empty, repeated, or not plain.
    """
    if hasattr(given, "tolist"):  # an array or a tensor
        given = given.tolist()
    if not isinstance(given, Sequence) or isinstance(given, (str, bytes)):
        raise ValueError(f"{name} must be a list of values, got {checks.describe(given)}")
    read = plain(name, list(given), finite=True)
    if not read:
        raise ValueError(f"{name} must hold at least one value, got {checks.describe(given)}")
    seen = set()
    for value in read:
        if canonical(value) in seen:
            raise ValueError(f"{name} must hold each value once, got {checks.describe(value)} twice")
        seen.add(canonical(value))
    return read


def read_grid(grid) -> dict | list:
    """A grid (parameter -> values) or a list of points (parameter -> value) as plain data.

    Raises
    ------
    ValueError
        If it is neither, or if a part of it is wrong.
    """
    if isinstance(grid, Mapping):
        for name in grid:
            if not isinstance(name, str) or not name.isidentifier():
                raise ValueError(f"grid must have names of parameters, got {checks.describe(name)}")
        return {name: _values(f"grid[{name!r}]", given) for name, given in grid.items()}
    if not isinstance(grid, (list, tuple)) or not all(isinstance(point, Mapping) for point in grid):
        raise ValueError(
            f"grid must be a dictionary parameter -> list of values, or a list of points, got {checks.describe(grid)}"
        )
    points = _values("grid", grid)
    for place, point in enumerate(points):
        if set(point) != set(points[0]):
            raise ValueError(
                f"grid must give every point the same parameters, got {sorted(points[0])} in grid[0] and "
                f"{sorted(point)} in grid[{place}]"
            )
    return points


def expand(grid: dict | list, seeds: list | None) -> list[dict]:
    """All pairs of a point and a replicate. Replicates change slowest: a sweep cut short has covered the grid.

    Examples
    --------
    >>> for pair in expand({"width": [8, 16]}, [0, 1]):
    ...     print(pair)
    {'point': {'width': 8}, 'replicate': 0}
    {'point': {'width': 16}, 'replicate': 0}
    {'point': {'width': 8}, 'replicate': 1}
    {'point': {'width': 16}, 'replicate': 1}
    """
    if isinstance(grid, dict):
        points = [dict(zip(grid, chosen)) for chosen in itertools.product(*grid.values())]
    else:
        points = grid
    replicates = [None] if seeds is None else seeds
    return [{"point": point, "replicate": replicate} for replicate in replicates for point in points]


def seed_of(pair: dict, seeding: str) -> int | None:
    """The number a point's function gets as ``seed``: below 2^32, so that every generator takes it.

    Examples
    --------
    >>> seed_of({"point": {"width": 8}, "replicate": 3}, "shared")
    3
    >>> seed_of({"point": {"width": 8}, "replicate": 3}, "independent")
    3229768414
    """
    if pair["replicate"] is None or seeding == "shared":
        return pair["replicate"]
    return int.from_bytes(hashlib.sha256(canonical(pair).encode()).digest()[:4], "big")
