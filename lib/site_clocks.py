"""A clock at every site of a lattice: who updates at a tick, from a counter-based hash, with nothing stored.

Site i updates at tick t when number i of stream t under the seed, a 32-bit hash of the three, lies below its rate. The
draws are those of :func:`lib.live.uniform` with ``stream=t``. Any tick can be asked for at any time, and every
engine (torch on any device, compiled loops, the reference) sees the same bits.

The hash is the output function of PCG-RXS-M-XS: M. E. O'Neill, HMC-CS-2014-0905 (2014); M. Jarzynski and M. Olano, JCGT
9 (2020). Clocks with fixed probabilities are the discrete form of the asynchronous lattices of arXiv:2505.09898.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from lib import checks

__all__ = ["SiteClocks", "clock_rates", "draw_normal", "draw_uniform", "site_clocks"]

MASK = 0xFFFFFFFF
LOWEST_RATE = 2.0**-32
# Ticks count up from stream 0; what is drawn once, at the start, comes down from the other end.
RATE_STREAM = MASK - 8
# Sites drawn at a time on a CPU: work space of a few numbers of 8 bytes for each.
DRAWN_AT_ONCE = 1 << 18


def scramble_(x: Tensor, shift: Tensor, word: Tensor) -> Tensor:
    """PCG's permutation of 32-bit integers, in place.

    Everything is int32, which torch multiplies modulo 2**32 and, unlike unsigned integers, knows on every device. Its
    shift to the right repeats the sign, so the bits that come in from the left are cut off. ``shift`` and ``word`` are
    work space in the shape of x.
    """
    x.mul_(747796405).add_(_signed(2891336453))
    torch.bitwise_right_shift(x, 28, out=shift)
    shift.bitwise_and_(15)
    # By 4 first: what is left is positive, so that the rest of the shift, which differs from site to site, is plain.
    torch.bitwise_right_shift(x, 4, out=word)
    word.bitwise_and_(0x0FFFFFFF)
    torch.bitwise_right_shift(word, shift, out=word)
    x.bitwise_xor_(word).mul_(277803737)
    torch.bitwise_right_shift(x, 22, out=word)
    return x.bitwise_xor_(word.bitwise_and_(0x3FF))


def _signed(bits: int) -> int:
    """The signed integer with the bits of an unsigned one."""
    return bits - 2**32 if bits >= 2**31 else bits


def scramble(x: int) -> int:
    """The same for one Python integer."""
    state = (x * 747796405 + 2891336453) & MASK
    word = (((state >> ((state >> 28) + 4)) ^ state) * 277803737) & MASK
    return (word >> 22) ^ word


def key(seed: int, stream: int) -> int:
    """What a seed and a stream (a tick) put into the hash of every site."""
    return scramble(scramble(seed) ^ stream)


def seeds_of(seed) -> tuple[int, ...]:
    """One seed, or one for each replica."""
    several = list(seed) if isinstance(seed, (list, tuple, range)) else [seed]
    if not several:
        raise ValueError(f"seed must be an integer or a sequence of at least one, got {checks.describe(seed)}")
    return tuple(checks.integer("seed", one, lowest=0, highest=MASK) for one in several)


def sides_of(sides) -> tuple[int, int]:
    """Rows and columns of a lattice from one side or two."""
    pair = tuple(sides) if isinstance(sides, (list, tuple, torch.Size)) else (sides, sides)
    if len(pair) != 2:
        raise ValueError(f"sides must be one integer or a pair (rows, columns), got {checks.describe(sides)}")
    rows, columns = (checks.integer("sides", side, lowest=1) for side in pair)
    if rows * columns >= 2**31:
        raise ValueError(f"sides must hold fewer than 2**31 sites, got {rows} x {columns}")
    return rows, columns


def _chunks(sites: int) -> Iterator[slice]:
    for start in range(0, sites, DRAWN_AT_ONCE):
        yield slice(start, min(start + DRAWN_AT_ONCE, sites))


def _scrambled_chunk(part: slice) -> Tensor:
    """First half of the hash of some sites."""
    sites = torch.arange(part.start, part.stop, dtype=torch.int32)
    return scramble_(sites, torch.empty_like(sites), torch.empty_like(sites))


def _uniform_chunk(seed: int, stream: int, part: slice) -> Tensor:
    drawn = _scrambled_chunk(part).bitwise_xor_(_signed(key(seed, stream)))
    drawn = scramble_(drawn, torch.empty_like(drawn), torch.empty_like(drawn))
    return drawn.to(torch.int64).bitwise_and_(MASK).to(torch.float64).add_(0.5).div_(2**32)


def draw_uniform(sides, seed, stream: int, dtype: torch.dtype = torch.float64, low: float = 0.0, high: float = 1.0):
    """Numbers uniform on (low, high) for the sites of a lattice.

    Parameters
    ----------
    sides : int or (int, int)
        Side of a square lattice, or rows and columns.
    seed : int or sequence of int
        From 0 to 2**32 - 1; a sequence draws one lattice for each.
    stream : int
        From 0 to 2**32 - 1; different streams under one seed are independent.
    dtype : torch.dtype
        float32 or float64. The draw is made in float64.
    low, high : float
        Ends of the interval.

    Returns
    -------
    Tensor, (rows, columns), or (replicas, rows, columns) for a sequence of seeds
        On the CPU, so that every device starts from the same bits.

    Raises
    ------
    ValueError
        If an argument is of the wrong kind or out of range.

    Examples
    --------
    >>> from lib.live import random
    >>> bool((draw_uniform((2, 3), seed=7, stream=5) == random.uniform(7, 2, 3, stream=5)).all())
    True
    """
    sides, seeds, stream = sides_of(sides), seeds_of(seed), checks.integer("stream", stream, lowest=0, highest=MASK)
    checks.choice("dtype", dtype, (torch.float32, torch.float64))
    low = checks.real_number("low", low, lowest=-math.inf)
    high = checks.real_number("high", high, lowest=-math.inf)
    drawn = torch.empty(len(seeds), sides[0] * sides[1], dtype=dtype)
    for row, one in zip(drawn, seeds, strict=True):
        for part in _chunks(row.numel()):
            row[part] = _uniform_chunk(one, stream, part).mul_(high - low).add_(low)
    return _shaped(drawn, sides, seed)


def draw_normal(sides, seed, stream: int, dtype: torch.dtype = torch.float64, width: float = 1.0):
    """Normal numbers of mean 0 for the sites of a lattice (Box and Muller, from streams ``stream`` and ``stream + 1``).

    Parameters
    ----------
    sides, seed, stream, dtype
        As for :func:`draw_uniform`.
    width : float
        Standard deviation, at least 0.

    Returns
    -------
    Tensor, (rows, columns), or (replicas, rows, columns) for a sequence of seeds
        On the CPU.

    Raises
    ------
    ValueError
        If an argument is of the wrong kind or out of range.

    Examples
    --------
    >>> round(float(draw_normal(200, seed=0, stream=0).std()), 2)
    1.0
    """
    sides, seeds, stream = sides_of(sides), seeds_of(seed), checks.integer("stream", stream, lowest=0, highest=MASK - 1)
    checks.choice("dtype", dtype, (torch.float32, torch.float64))
    width = checks.real_number("width", width, lowest=0)
    drawn = torch.empty(len(seeds), sides[0] * sides[1], dtype=dtype)
    for row, one in zip(drawn, seeds, strict=True):
        for part in _chunks(row.numel()):
            radius = _uniform_chunk(one, stream, part).log_().mul_(-2).sqrt_()
            angle = _uniform_chunk(one, stream + 1, part).mul_(2 * math.pi)
            row[part] = radius.mul_(angle.cos_()).mul_(width)
    return _shaped(drawn, sides, seed)


def _shaped(drawn: Tensor, sides: tuple[int, int], seed) -> Tensor:
    drawn = drawn.unflatten(1, sides)
    return drawn if isinstance(seed, (list, tuple, range)) else drawn[0]


def clock_rates(sides, ratio: float, seed, fastest: float = 1.0) -> Tensor:
    """Rates of the clocks of a lattice, log-uniform between ``fastest / ratio`` and ``fastest``.

    Parameters
    ----------
    sides : int or (int, int)
        Side of a square lattice, or rows and columns.
    ratio : float
        Fastest over slowest clock, at least 1.
    seed : int or sequence of int
        From 0 to 2**32 - 1; a sequence gives each replica its own rates.
    fastest : float
        Highest probability to update at a tick, in (0, 1].

    Returns
    -------
    Tensor, float64, (rows, columns), or (replicas, rows, columns) for a sequence of seeds
        Updates per tick.

    Raises
    ------
    ValueError
        If an argument is out of range, or the slowest clock would have a rate below 2**-32.

    Examples
    --------
    >>> rates = clock_rates(100, ratio=10, seed=0)
    >>> bool(rates.min() > 0.1), bool(rates.max() < 1), round(float(rates.log().mean()), 1)
    (True, True, -1.2)
    """
    sides, seeds = sides_of(sides), seeds_of(seed)
    ratio = checks.real_number("ratio", ratio, lowest=1)
    fastest = checks.real_number("fastest", fastest, lowest=LOWEST_RATE, highest=1)
    fastest, ratio = _fastest_and_ratio(fastest, ratio)
    drawn = torch.empty(len(seeds), sides[0] * sides[1], dtype=torch.float64)
    for row, one in zip(drawn, seeds, strict=True):
        for part in _chunks(row.numel()):
            row[part] = _log_uniform_chunk(one, part, fastest, ratio)
    return _shaped(drawn, sides, seed)


@dataclass(frozen=True)
class SiteClocks:
    """The clocks of a lattice, made by :func:`site_clocks`.

    Attributes
    ----------
    sides : (int, int)
        Rows and columns.
    seeds : tuple of int
        One for each replica.
    limit : Tensor, int32, (1 or replicas, 1 or rows, columns)
        A site updates when its 32-bit draw, with the highest bit flipped so that it orders like a signed integer, is at
        most this.
    """

    sides: tuple[int, int]
    seeds: tuple[int, ...]
    limit: Tensor

    @cached_property
    def scrambled(self) -> Tensor:
        """First half of the hash, the same at every tick: int32, (rows, columns), the bits of an unsigned integer."""
        sites = torch.empty(self.sides[0] * self.sides[1], dtype=torch.int32)
        for part in _chunks(sites.numel()):
            sites[part] = _scrambled_chunk(part)
        return sites.unflatten(0, self.sides).to(self.limit.device)

    def keys(self, tick: int) -> list[int]:
        """Second half of the hash at a tick: one 32-bit integer a replica."""
        return [key(seed, tick) for seed in self.seeds]

    def limits(self, replicas: slice, rows: slice) -> Tensor:
        """The part of ``limit`` that belongs to some replicas and rows."""
        part = self.limit if len(self.limit) == 1 else self.limit[replicas]
        return part if part.shape[1] == 1 else part[:, rows]

    def mask(self, tick: int) -> Tensor:
        """Who updates at a tick.

        Parameters
        ----------
        tick : int
            From 0 to 2**31 - 1.

        Returns
        -------
        Tensor, bool, (replicas, rows, columns)

        Raises
        ------
        ValueError
            If the tick is out of range.
        """
        tick = checks.integer("tick", tick, lowest=0, highest=2**31 - 1)
        everything = slice(None)
        work = torch.empty((3, len(self.seeds), *self.sides), dtype=torch.int32, device=self.limit.device)
        return self.mask_of(tick, everything, everything, work)

    def mask_of(self, tick: int, replicas: slice, rows: slice, work: Tensor) -> Tensor:
        """The mask of some replicas and rows, in three int32 arrays of its shape."""
        drawn, shift, word = work
        keys = [_signed(bits) for bits in self.keys(tick)[replicas]]
        if len(keys) == 1:  # one number needs no copy to the device
            torch.bitwise_xor(self.scrambled[rows], keys[0], out=drawn[0])
        else:
            several = torch.tensor(keys, dtype=torch.int32, device=drawn.device)
            torch.bitwise_xor(self.scrambled[rows], several[:, None, None], out=drawn)
        # With the highest bit flipped, unsigned integers are in the order of signed ones.
        return scramble_(drawn, shift, word).bitwise_xor_(-(2**31)) <= self.limits(replicas, rows)


def site_clocks(rates, seed, sides=None, ratio: float = 1.0, device: torch.device | str = "cpu") -> SiteClocks:
    """Clocks with given rates.

    Parameters
    ----------
    rates : float or array_like, (rows, columns) or (replicas, rows, columns)
        Probability of each site to update at a tick, from 2**-32 to 1; one number for all sites takes no memory.
    seed : int or sequence of int
        From 0 to 2**32 - 1; a sequence has one for each replica.
    sides : int or (int, int), optional
        The lattice; needed when ``rates`` is one number.
    ratio : float
        Fastest over slowest clock, at least 1. Above 1 ``rates`` has to be one number, the fastest rate, and the rates
        are those of :func:`clock_rates`.
    device : torch.device or str
        Where the clocks are to run.

    Returns
    -------
    SiteClocks

    Raises
    ------
    ValueError
        If a rate is out of range or the shapes do not fit.

    Examples
    --------
    >>> clocks = site_clocks(1 / 8, seed=3, sides=400)
    >>> abs(float(clocks.mask(tick=0).double().mean()) - 1 / 8) < 0.003
    True
    >>> bool((clocks.mask(tick=5) == clocks.mask(tick=5)).all()), bool((clocks.mask(5) == clocks.mask(6)).all())
    (True, False)
    """
    seeds, device = seeds_of(seed), checks.device("device", device)
    (rates,) = checks.tensors(rates=rates)
    checks.require((rates >= LOWEST_RATE) & (rates <= 1), "rates must lie in [2**-32, 1]", rates)
    ratio = checks.real_number("ratio", ratio, lowest=1)
    if rates.dim() == 0:
        if sides is None:
            raise ValueError("sides must be given when rates is one number, got None")
        sides = sides_of(sides)
        if ratio > 1:
            limit = _log_uniform_limit(sides, seeds, *_fastest_and_ratio(float(rates), ratio))
        else:
            limit = _limit(rates).expand(1, 1, sides[1]).contiguous()
    else:
        found = _check_rates(rates, len(seeds), sides)
        if ratio > 1:
            raise ValueError(f"ratio must be 1 when rates are given site by site, got {ratio:g}")
        sides = found
        flat = rates.reshape(-1)
        limit = torch.empty(flat.numel(), dtype=torch.int32)
        for part in _chunks(limit.numel()):
            limit[part] = _limit(flat[part])
        limit = limit.view(-1, *sides)
    return SiteClocks(sides, seeds, limit.to(device))


def _check_rates(rates: Tensor, replicas: int, sides) -> tuple[int, int]:
    checks.shape("rates", rates, None, None)
    found = sides_of(rates.shape[-2:])
    if rates.dim() > 3 or (rates.dim() == 3 and len(rates) not in (1, replicas)):
        allowed = f"(rows, columns) or ({replicas}, rows, columns)"
        raise ValueError(f"rates must have shape {allowed}, got {tuple(rates.shape)}")
    if sides is not None and sides_of(sides) != found:
        raise ValueError(f"sides must be those of rates, {found}, got {checks.describe(sides)}")
    return found


def _fastest_and_ratio(fastest: float, ratio: float) -> tuple[float, float]:
    if fastest / ratio < LOWEST_RATE:
        raise ValueError(f"ratio must leave the slowest clock a rate of at least 2**-32, got {ratio:g}")
    return fastest, ratio


def _log_uniform_chunk(seed: int, part: slice, fastest: float, ratio: float) -> Tensor:
    return _uniform_chunk(seed, RATE_STREAM, part).mul_(-math.log(ratio)).exp_().mul_(fastest)


def _log_uniform_limit(sides: tuple[int, int], seeds: tuple[int, ...], fastest: float, ratio: float) -> Tensor:
    limit = torch.empty(len(seeds), sides[0] * sides[1], dtype=torch.int32)
    for row, seed in zip(limit, seeds, strict=True):
        for part in _chunks(row.numel()):
            row[part] = _limit(_log_uniform_chunk(seed, part, fastest, ratio))
    return limit.unflatten(1, sides)


def _limit(rates: Tensor) -> Tensor:
    """Largest draw below the rate: (draw + 1/2) / 2**32 < rate, as a signed integer; always worked out on the CPU."""
    return (rates.detach().cpu().double() * 2**32 - 0.5).ceil_().sub_(1 + 2**31).to(torch.int32)
