"""Fold repetitions: a recorded loop is stored as its body, once.

A recurrence of 10 000 steps is recorded as 10 000 copies of its body that differ only in *where* they read and write.
Folding finds stretches that repeat with a fixed period and whose offsets move on by the same amount each time, and
stores them as ``Loop(count, body, shifts)``. Bodies are folded again, so nested loops come out nested.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

__all__ = ["Loop", "Step", "fold"]

_WORTH = 6  # a loop that saves fewer steps than this is not worth its own bookkeeping
_CANDIDATES = 16  # periods tried in one pass


@dataclass(frozen=True)
class Step:
    """One instruction: the number of its signature (all but the offsets) and its offsets."""

    signature: int
    offsets: tuple[int, ...]

    @property
    def key(self):
        return self.signature


@dataclass(frozen=True)
class Loop:
    """``count`` passes over ``body``; after each pass the offsets of all its steps grow by ``shifts``."""

    count: int
    body: tuple
    shifts: tuple[int, ...]

    @property
    def offsets(self) -> tuple[int, ...]:
        return tuple(offset for item in self.body for offset in item.offsets)

    @property
    def key(self):
        return ("loop", self.count, tuple(item.key for item in self.body), self.shifts)


def fold(items: list) -> list:
    """Replace repetitions by loops, the most saving period first.

    Parameters
    ----------
    items : list of Step or Loop

    Returns
    -------
    list of Step or Loop
        Executes to the same sequence of steps.

    Examples
    --------
    >>> folded = fold([Step(s, (i, 3 * i)) for i in range(1000) for s in (0, 1)])
    >>> len(folded), folded[0].count, folded[0].shifts
    (1, 1000, (1, 3, 1, 3))
    """
    while True:
        period, regions = _best(items)
        if not regions:
            return items
        out, at = [], 0
        for start, count in regions:
            out.extend(items[at:start])
            marked = [
                _Marked(item, tuple(b - a for a, b in zip(item.offsets, after.offsets, strict=True)))
                for item, after in zip(items[start : start + period], items[start + period :], strict=False)
            ]
            body, shifts = _unmarked(fold(marked))
            out.append(Loop(count, body, shifts))
            at = start + count * period
        out.extend(items[at:])
        items = out


@dataclass(frozen=True)
class _Marked:
    """An item of a loop's body with the shift that the loop gives it: an inner loop may only join equal shifts."""

    item: Step | Loop | _Marked
    shift: tuple[int, ...]

    @property
    def offsets(self) -> tuple[int, ...]:
        return self.item.offsets

    @property
    def key(self):
        return (self.item.key, self.shift)


def _unmarked(items) -> tuple[tuple, tuple[int, ...]]:
    """The folded body without marks, and the shifts of all its offsets in order."""
    body: list = []
    shifts: list[int] = []
    for item in items:
        if isinstance(item, _Marked):
            body.append(item.item)
            shifts += item.shift
        else:
            inner, moved = _unmarked(item.body)
            body.append(Loop(item.count, inner, item.shifts))
            shifts += moved
    return tuple(body), tuple(shifts)


def _best(items: list) -> tuple[int, list[tuple[int, int]]]:
    """The period that saves most, and its regions (start, count)."""
    if len(items) < 2:
        return 0, []
    codes: dict = {}
    keys = np.array([codes.setdefault(item.key, len(codes)) for item in items])
    best, chosen, saved = 0, [], _WORTH - 1
    for period in _periods(keys):
        if (len(items) // period - 1) * period <= saved:
            continue
        same = keys[:-period] == keys[period:]
        if same.sum() <= saved:
            continue
        moves: dict = {}
        move = np.full(len(items), -1)
        for i in np.flatnonzero(same):
            step = tuple(b - a for a, b in zip(items[i].offsets, items[i + period].offsets, strict=True))
            move[i] = moves.setdefault(step, len(moves))
        regions = list(_regions(same, move, period))
        gain = sum((count - 1) * period for _, count in regions)
        if gain > saved:
            best, chosen, saved = period, regions, gain
    return best, chosen


def _periods(keys: np.ndarray) -> list[int]:
    """Likely periods: the most frequent distances between equal neighbours of the sequence, short ones first."""
    grams = list(zip(keys[:-1].tolist(), keys[1:].tolist(), strict=True)) or []
    last: dict = {}
    distances: Counter = Counter()
    for i, gram in enumerate(grams):
        if gram in last:
            distances[i - last[gram]] += 1
        last[gram] = i
    weight = Counter({d: d * n if d < 4 else n for d, n in distances.items()})
    likely = {d for d, _ in weight.most_common(_CANDIDATES)}
    rare = Counter(grams)
    # the distance of the rarest repeated pair is the period of an outermost loop whose body repeats itself
    for gram, count in sorted(rare.items(), key=lambda entry: entry[1])[:64]:
        if count > 1:
            first = grams.index(gram)
            likely.add(grams.index(gram, first + 1) - first)
    return sorted(d for d in likely if d <= len(keys) // 2)


def _regions(same: np.ndarray, move: np.ndarray, period: int):
    """Maximal stretches of at least two passes with one shift per step."""
    at, size = 0, len(same)
    steady = np.zeros(size, dtype=bool)  # the shift of this step is that of the pass before
    steady[period:] = same[period:] & same[:-period] & (move[period:size] == move[: size - period])
    while at < size:
        if not same[at]:
            at += 1
            continue
        # the first two passes only need equal steps; every further pass must repeat the shifts
        broken = np.flatnonzero(~same[at : at + period])
        if len(broken):
            at += int(broken[0]) + 1
            continue
        if at + period > size:
            return
        stop = np.flatnonzero(~steady[at + period :])
        run = int(stop[0]) if len(stop) else size - at - period
        count = 2 + run // period
        if (count - 1) * period >= _WORTH:
            yield at, count
            at += count * period
        else:
            at += 1
