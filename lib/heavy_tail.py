"""Power-law tails of distributions: exponent by maximum likelihood, start of the tail by Kolmogorov's distance.

Above x_min the density is proportional to x^-alpha. Bootstrap samples share the sorted data and differ only in how
often each value counts, so that a few hundred of them are scanned over all candidates of x_min at once.

Source: A. Clauset, C. R. Shalizi and M. E. J. Newman, SIAM Review 51 (2009) 661, sections 3.1-3.3.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lib import checks
from lib.law_intervals import percentile
from lib.power_law_fit import read_level

__all__ = ["BootstrapTail", "HeavyTail", "bootstrap_heavy_tail", "fit_heavy_tail", "tail_survival"]

# Exponents of the discrete law that are looked for; a candidate leaves at least this many points in the tail.
LEAST, MOST, TAIL = 1.0005, 50.0, 10
# Share of bootstrap samples that may have no tail, and are left out of the intervals.
MISSED = 0.01
# Bootstrap samples times values that are scanned at once; arrays that fit a cache are fastest.
AT_ONCE = 50_000


@dataclass(frozen=True)
class HeavyTail:
    """A fitted tail.

    Attributes
    ----------
    alpha : Tensor, ()
        Exponent of the density, above 1.
    x_min : Tensor, ()
        Where the tail starts, unit of x.
    sigma : Tensor, ()
        Standard error of alpha for this x_min.
    ks : Tensor, ()
        Largest distance between the distribution functions of tail and law.
    tail : int
        Number of points in the tail.
    discrete : bool
    """

    alpha: Tensor
    x_min: Tensor
    sigma: Tensor
    ks: Tensor
    tail: int
    discrete: bool


@dataclass(frozen=True)
class BootstrapTail:
    """A tail with its bootstrap sample.

    Attributes
    ----------
    tail : HeavyTail
    intervals : dict of str to Tensor, (2,)
        Percentile intervals of "alpha" and "x_min"; each refit chose its own start of the tail.
    alpha, x_min, ks : Tensor, (n_boot,)
        Of a sample without two different values in the tail, alpha is NaN and ks infinite.
    ci : float
    """

    tail: HeavyTail
    intervals: dict[str, Tensor]
    alpha: Tensor
    x_min: Tensor
    ks: Tensor
    ci: float


def tail_survival(x, alpha, x_min) -> Tensor:
    """Share of a continuous tail above x, (x / x_min)^(1 - alpha).

    Parameters
    ----------
    x : array_like
        At least x_min.
    alpha : array_like
        Exponent of the density, above 1.
    x_min : array_like
        Start of the tail, above 0.

    Returns
    -------
    Tensor
        Of the shape that all have in common.

    Raises
    ------
    ValueError
        If a value is out of range or the shapes do not broadcast.

    Examples
    --------
    >>> tail_survival([1.0, 10.0], 2.0, 1.0).tolist()
    [1.0, 0.1]
    """
    x, alpha, x_min = checks.tensors(x=x, alpha=alpha, x_min=x_min)
    checks.batch(x=x.shape, alpha=alpha.shape, x_min=x_min.shape)
    checks.require(x_min > 0, "x_min must be above 0", x_min)
    checks.require(alpha > 1, "alpha must be above 1", alpha)
    checks.require(x >= x_min, "x must be at least x_min", x)
    return (x / x_min) ** (1 - alpha)


def fit_heavy_tail(x, x_min: float | None = None, discrete: bool = False, candidates: int = 100) -> HeavyTail:
    """Exponent of a power-law tail, and where it starts.

    Parameters
    ----------
    x : array_like, (n,)
        Values above 0; whole numbers with ``discrete``.
    x_min : float, optional
        Start of the tail. Default: the candidate whose tail is nearest to its own best law.
    discrete : bool
        Whether the values are whole numbers of a law x^-alpha / zeta(alpha, x_min).
    candidates : int
        Starts that are tried: values of x at evenly spaced ranks that leave at least 10 points.

    Returns
    -------
    HeavyTail

    Raises
    ------
    ValueError
        If x is not a positive vector of at least 10 values, not whole numbers with ``discrete``, or the tail does not
        hold at least two different values.

    Examples
    --------
    >>> u = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    >>> tail = fit_heavy_tail(2 * u ** (-1 / 1.5), x_min=2.0)
    >>> round(float(tail.alpha), 2)
    2.5
    """
    values, counts, grid, discrete = _read(x, x_min, discrete, candidates)
    alpha, best, ks = _scan(values, counts[None], grid, discrete)
    start = grid[best[0]]
    tail = int(counts[values >= start].sum())
    if discrete:
        sigma = 1 / (tail * _log_zeta_slopes(alpha[0], start)[1]).sqrt()
    else:
        sigma = (alpha[0] - 1) / tail**0.5
    return HeavyTail(alpha[0], start, sigma, ks[0], tail, discrete)


def bootstrap_heavy_tail(
    x,
    n_boot: int = 1000,
    ci: float = 0.95,
    *,
    x_min: float | None = None,
    discrete: bool = False,
    candidates: int = 100,
    seed: int = 0,
) -> BootstrapTail:
    """Bootstrap of exponent and start of a tail: resample, choose the start anew, refit, all in batches.

    Parameters
    ----------
    x, x_min, discrete, candidates
        As in :func:`fit_heavy_tail`; the candidates are the same for all samples.
    n_boot : int
        Samples, at least 20.
    ci : float
        Level, between 0 and 1.
    seed : int

    Returns
    -------
    BootstrapTail

    Raises
    ------
    ValueError
        As :func:`fit_heavy_tail`, if n_boot, ci or seed is out of range, or if more than 1 in 100 samples have fewer
        than two different values in the tail.

    Examples
    --------
    >>> u = torch.rand(500, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    >>> low, high = bootstrap_heavy_tail(u ** (-1 / 1.5), n_boot=100, x_min=1.0).intervals["alpha"].tolist()
    >>> low < 2.5 < high
    True
    """
    n_boot = checks.integer("n_boot", n_boot, lowest=20)
    ci = read_level(ci)
    seed = checks.integer("seed", seed, lowest=0, highest=2**63 - 1)
    fitted = fit_heavy_tail(x, x_min, discrete, candidates)
    values, counts, grid, discrete = _read(x, x_min, discrete, candidates)
    generator = torch.Generator(device=values.device).manual_seed(seed)
    # A sample is how often each different value was drawn.
    owner = torch.repeat_interleave(torch.arange(len(values), device=values.device), counts.long())
    at_once = max(1, AT_ONCE // len(values))
    found = []
    for first in range(0, n_boot, at_once):
        shape = min(at_once, n_boot - first), len(owner)
        drawn = owner[torch.randint(len(owner), shape, generator=generator, device=values.device)]
        times = values.new_zeros(shape[0], len(values)).scatter_add_(
            1, drawn, torch.ones_like(drawn, dtype=values.dtype)
        )
        found.append(_scan(values, times, grid, discrete))
    alpha, best, ks = (torch.cat(parts) for parts in zip(*found, strict=True))
    start = grid[best]
    has_tail = ks.isfinite()
    without = n_boot - int(has_tail.sum())
    if without > MISSED * n_boot:
        raise ValueError(
            f"x must have more values in the tail to resample them: {without} of {n_boot} samples had fewer than two "
            f"different ones above x_min"
        )
    alpha = torch.where(has_tail, alpha, torch.nan)
    intervals = {"alpha": percentile(alpha[has_tail], ci), "x_min": percentile(start[has_tail], ci)}
    return BootstrapTail(fitted, intervals, alpha, start, ks, ci)


def _scan(values: Tensor, counts: Tensor, grid: Tensor, discrete: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Exponent, position in the grid and distance of each sample's best start; counts (samples, n) of sorted values."""
    logs = values.log()
    first = torch.searchsorted(values, grid)
    # Points, and sum of logarithms, from each value to the end.
    points = counts.flip(-1).cumsum(dim=-1).flip(-1)
    sums = (counts * logs).flip(-1).cumsum(dim=-1).flip(-1)
    tail = points[:, first]
    excess = sums[:, first] - tail * grid.log()
    alpha = _discrete_exponent(tail, excess, grid) if discrete else 1 + tail / excess
    usable = (tail >= 2) & (excess > 0)
    ks = torch.full_like(alpha, torch.inf)
    for column, start in enumerate(first.tolist()):
        of_tail = points[:, start:]
        whole = of_tail[:, :1]
        above = _survival(values[start:], logs[start:], alpha[:, column : column + 1], grid[column], discrete)
        # Shares at or above each value, and above it, beside those of the law.
        from_here = of_tail / whole
        beyond = (of_tail - counts[:, start:]) / whole
        gap = torch.maximum((above[0] - from_here).abs(), (above[1] - beyond).abs()).amax(dim=-1)
        ks[:, column] = torch.where(usable[:, column], gap, torch.inf)
    least, best = ks.min(dim=-1)
    return alpha.gather(1, best[:, None])[:, 0], best, least


def _survival(values: Tensor, logs: Tensor, alpha: Tensor, start: Tensor, discrete: bool) -> tuple[Tensor, Tensor]:
    """Share of the law at or above each value, and above it."""
    if not discrete:
        share = ((1 - alpha) * (logs - start.log())).exp()
        return share, share
    alpha = alpha.expand(-1, len(values))
    whole = torch.special.zeta(alpha[:, :1], start)
    return torch.special.zeta(alpha, values) / whole, torch.special.zeta(alpha, values + 1) / whole


def _log_zeta_slopes(alpha: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    """First and second derivative of ln zeta(alpha, start) in alpha, by central differences."""
    width = 1e-4 * (alpha - 1).clamp(max=1.0)
    below, here, above = ((torch.special.zeta(alpha + move, start)).log() for move in (-width, 0 * width, width))
    return (above - below) / (2 * width), (above - 2 * here + below) / width**2


def _discrete_exponent(tail: Tensor, excess: Tensor, grid: Tensor) -> Tensor:
    """Newton's method for -d ln zeta / d alpha = mean of ln x, from the continuous law of shifted values."""
    mean = excess / tail + grid.log()
    half = 1 / (mean - (grid - 0.5).log()).clamp(min=1e-3)
    alpha = (1 + half).clamp(LEAST, MOST)
    for _ in range(12):
        slope, bend = _log_zeta_slopes(alpha, grid)
        step = (slope + mean) / bend.clamp(min=1e-12)
        # Half-way to the pole at most, so that it is never crossed.
        alpha = torch.maximum(alpha - step, (1 + alpha) / 2).clamp(LEAST, MOST)
    return alpha


def _read(x, x_min, discrete, candidates) -> tuple[Tensor, Tensor, Tensor, bool]:
    """Different values in order, how often each came, and the candidates for the start of the tail."""
    x = checks.tensors(x=x)[0].detach()
    if x.dim() != 1 or len(x) < TAIL:
        raise ValueError(f"x must have shape (n,) with at least {TAIL} values, got shape {tuple(x.shape)}")
    checks.require(x > 0, "x must be above 0", x)
    discrete = checks.flag("discrete", discrete)
    candidates = checks.integer("candidates", candidates, lowest=1)
    if discrete:
        checks.require(x == x.round(), "x must be whole numbers with discrete=True", x)
        # Differences of ln zeta need the digits.
        x = x.double()
    values, counts = x.unique(return_counts=True)
    if len(values) < 2:
        raise ValueError(f"x must hold at least two different values, got only {float(values[0]):g}")
    if x_min is None:
        ordered = x.sort().values
        ranks = torch.linspace(0, len(x) - TAIL, candidates, dtype=torch.float64).round().long()
        grid = ordered[ranks.to(x.device)].unique()
        grid = grid[grid < values[-1]]
        if len(grid) == 0:
            raise ValueError("x must hold at least two different values in the tail, but nearly all are the largest")
        return values, counts.to(x.dtype), grid, discrete
    x_min = checks.real_number("x_min", x_min, lowest=0, open_below=True)
    if discrete and x_min != round(x_min):
        raise ValueError(f"x_min must be a whole number with discrete=True, got {x_min}")
    if int((values >= x_min).sum()) < 2:
        raise ValueError(f"x_min must leave at least two different values in the tail, got {x_min}")
    return values, counts.to(x.dtype), x.new_tensor([x_min]), discrete
