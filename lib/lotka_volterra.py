"""Logistic growth and Lotka-Volterra competition, and their fits by scipy: the reference the age-structured models are
held against.

Populations are totals per species (individuals per volume), time is in days.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.integrate
import scipy.optimize

from lib import checks

__all__ = ["LogisticFit", "LotkaVolterraFit", "fit_logistic", "fit_lotka_volterra", "logistic", "lotka_volterra"]


@dataclass(frozen=True)
class LogisticFit:
    """Growth rate r (1 / day) and carrying capacity K (individuals per volume)."""

    growth_rate: float
    capacity: float


@dataclass(frozen=True)
class LotkaVolterraFit:
    """Fit of two competing species.

    Attributes
    ----------
    growth_rate, capacity : ndarray, (2,)
        Of each species alone: 1 / day, individuals per volume.
    competition : ndarray, (2, 2)
        Individuals of species i that one of species j is worth; ones on the diagonal.
    train, test : float
        Root mean squared error of log(1 + N) on the fitted and on the held-out days.
    totals : ndarray, (experiments, 2, days)
    """

    growth_rate: np.ndarray
    capacity: np.ndarray
    competition: np.ndarray
    train: float
    test: float
    totals: np.ndarray


def logistic(growth_rate: float, capacity: float, founders: float, days) -> np.ndarray:
    """Logistic growth K / (1 + (K / N0 - 1) exp(-r t)).

    Parameters
    ----------
    growth_rate : float
        1 / day.
    capacity, founders : float
        Individuals per volume, above 0.
    days : array_like
        Times.

    Returns
    -------
    ndarray
        Individuals per volume.

    Raises
    ------
    ValueError
        If a number or a day is not finite, or capacity or founders are not above 0.

    Examples
    --------
    >>> logistic(0.5, 100.0, 2.0, [0.0, 1000.0]).tolist()
    [2.0, 100.0]
    """
    growth_rate = checks.real_number("growth_rate", growth_rate, lowest=-float("inf"))
    capacity = checks.real_number("capacity", capacity, lowest=0, open_below=True)
    founders = checks.real_number("founders", founders, lowest=0, open_below=True)
    days = _finite("days", days)
    return capacity / (1 + (capacity / founders - 1) * np.exp(-growth_rate * days))


def fit_logistic(counts, founders: float = 2.0) -> LogisticFit:
    """Fit logistic growth to daily counts by plain least squares.

    Parameters
    ----------
    counts : array_like, (days,)
        Individuals per volume on days 0, 1, 2, ...; NaN where nothing was counted.
    founders : float
        Known number at day 0, above 0.

    Returns
    -------
    LogisticFit

    Raises
    ------
    ValueError
        If counts is not one row with at least three numbers, one of them above 0, or founders is not above 0.

    Examples
    --------
    >>> fit = fit_logistic(logistic(0.6, 200.0, 2.0, range(26)))
    >>> round(fit.growth_rate, 4), round(fit.capacity, 2)
    (0.6, 200.0)
    """
    counts = _counts(counts, 1)
    founders = checks.real_number("founders", founders, lowest=0, open_below=True)
    seen = np.flatnonzero(np.isfinite(counts))
    if seen.size < 3:
        raise ValueError(f"counts must hold at least three numbers, got {seen.size}")
    if not counts[seen].any():
        raise ValueError("counts must hold a number above 0, got only 0: there is no growth to fit")

    def residual(logs):
        return logistic(*np.exp(logs), founders, seen) - counts[seen]

    best = scipy.optimize.least_squares(residual, np.log([0.7, np.nanmax(counts)]), xtol=1e-12, ftol=1e-12, gtol=1e-12)
    return LogisticFit(*map(float, np.exp(best.x)))


def lotka_volterra(growth_rate, capacity, competition, initial, days) -> np.ndarray:
    """Competing species: dN_i/dt = r_i N_i (1 - sum_j alpha_ij N_j / K_i).

    Parameters
    ----------
    growth_rate, capacity : array_like, (species,)
        1 / day; individuals per volume, above 0.
    competition : array_like, (species, species)
        alpha, at least 0.
    initial : array_like, (species,)
        Individuals per volume on the first day, at least 0.
    days : array_like, (t,)
        Rising times.

    Returns
    -------
    ndarray, (species, t)

    Raises
    ------
    ValueError
        If shapes do not fit or a number is out of range.

    Examples
    --------
    >>> lotka_volterra([0.5], [100.0], [[1.0]], [2.0], [0.0, 40.0]).round(4).tolist()
    [[2.0, 100.0]]
    """
    given = {"growth_rate": growth_rate, "capacity": capacity, "competition": competition, "initial": initial}
    given = {name: _finite(name, value) for name, value in given.items()}
    growth_rate, capacity, competition, initial = given.values()
    days = _finite("days", days)
    species = growth_rate.size
    if growth_rate.ndim != 1 or not species:
        raise ValueError(f"growth_rate must have shape (species,), got shape {growth_rate.shape}")
    wanted = {
        "growth_rate": (species,),
        "capacity": (species,),
        "competition": (species, species),
        "initial": (species,),
    }
    for name, size in wanted.items():
        if given[name].shape != size:
            raise ValueError(f"{name} must be finite with shape {size}, got shape {given[name].shape}")
    if (capacity <= 0).any():
        raise ValueError(f"capacity must be above 0, got {capacity.min():g}")
    for name in ("competition", "initial"):
        if (given[name] < 0).any():
            raise ValueError(f"{name} must be at least 0, got {given[name].min():g}")
    if days.ndim != 1 or (np.diff(days) <= 0).any():
        raise ValueError(f"days must be a row of rising finite times, got {checks.describe(days.tolist())}")
    return _integrate(growth_rate, capacity, competition, initial, days)


def _integrate(growth_rate, capacity, competition, initial, days) -> np.ndarray:
    def slope(numbers, _time):
        return growth_rate * numbers * (1 - competition @ numbers / capacity)

    return scipy.integrate.odeint(slope, initial, days, rtol=1e-8, atol=1e-8).T


def fit_lotka_volterra(counts, present, founders: float = 2.0, train_days: int = 21) -> LotkaVolterraFit:
    """Fit Lotka-Volterra competition of two species to several experiments at once, by least squares on log(1 + N).

    Parameters
    ----------
    counts : array_like, (experiments, 2, days)
        Individuals per volume on days 0, 1, 2, ...; NaN where nothing was counted.
    present : array_like of bool, (experiments, 2)
        Which species were put in.
    founders : float
        Known number at day 0 of each species present, above 0.
    train_days : int
        Days used for the fit, counted from day 0; the rest is held out.

    Returns
    -------
    LotkaVolterraFit

    Raises
    ------
    ValueError
        If shapes do not fit, or ``train_days`` leaves nothing to fit.

    Examples
    --------
    >>> truth = [[0.8, 0.6], [500.0, 200.0], [[1.0, 2.0], [0.4, 1.0]]]
    >>> mixed = lotka_volterra(*truth, [2.0, 2.0], range(16))
    >>> alone = [lotka_volterra(*truth, start, range(16)) for start in ([2.0, 0.0], [0.0, 2.0])]
    >>> fit = fit_lotka_volterra([mixed, *alone], [[True, True], [True, False], [False, True]], train_days=16)
    >>> fit.competition.round(3).tolist()
    [[1.0, 2.0], [0.4, 1.0]]
    """
    counts = _counts(counts, 3)
    present = np.asarray(present)
    if counts.shape[1] != 2 or present.shape != counts.shape[:2] or present.dtype != bool:
        raise ValueError(
            "counts and present must have shapes (experiments, 2, days) and (experiments, 2), present boolean, "
            f"got {counts.shape} and {present.shape} {present.dtype}"
        )
    founders = checks.real_number("founders", founders, lowest=0, open_below=True)
    train_days = checks.integer("train_days", train_days, lowest=3, highest=counts.shape[2])
    days = np.arange(counts.shape[2], dtype=float)
    seen = np.isfinite(counts) & present[:, :, None]
    train = seen & (days < train_days)

    def totals(logs, upto):
        rates, capacity, across = np.exp(logs[:2]), np.exp(logs[2:4]), np.exp(logs[4:])
        competition = np.array([[1, across[0]], [across[1], 1]])
        return np.stack([_integrate(rates, capacity, competition, founders * row, days[:upto]) for row in present])

    def residual(logs):
        predicted = totals(logs, train_days)
        chosen = train[:, :, :train_days]
        return np.log1p(np.maximum(predicted[chosen], 0)) - np.log1p(counts[:, :, :train_days][chosen])

    highest = np.where(train, counts, 0).max(axis=(0, 2))
    if (highest <= 0).any():
        raise ValueError(f"counts must hold a number above 0 of each species on the fitted days, got at most {highest}")
    highest = np.where(seen, counts, 0).max(axis=(0, 2))
    start = np.concatenate([np.log([0.7, 0.7]), np.log(highest), np.log([1.0, 1.0])])
    best = scipy.optimize.least_squares(residual, start)
    predicted = totals(best.x, days.size)
    error = (np.log1p(np.maximum(predicted, 0)) - np.log1p(np.nan_to_num(counts))) ** 2
    test = seen & ~train
    across = np.exp(best.x[4:])
    return LotkaVolterraFit(
        growth_rate=np.exp(best.x[:2]),
        capacity=np.exp(best.x[2:4]),
        competition=np.array([[1.0, across[0]], [across[1], 1.0]]),
        train=float(np.sqrt(error[train].mean())),
        test=float(np.sqrt(error[test].mean())) if test.any() else float("nan"),
        totals=predicted,
    )


def _numbers(name: str, value) -> np.ndarray:
    try:
        array = np.asarray(value)
    except ValueError:  # rows of different lengths
        array = np.empty(0, dtype=object)
    if array.dtype.kind not in "iuf":
        raise ValueError(f"{name} must be real numbers in a rectangular array, got {checks.describe(value)}")
    return array.astype(float)


def _finite(name: str, value) -> np.ndarray:
    array = _numbers(name, value)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, got {checks.describe(array.tolist())}")
    return array


def _counts(counts, dimensions: int) -> np.ndarray:
    counts = _numbers("counts", counts)
    if counts.ndim != dimensions or np.isinf(counts).any() or (counts < 0).any():
        raise ValueError(
            f"counts must be a {dimensions}-dimensional array of numbers of at least 0 (NaN where nothing was "
            f"counted), got shape {counts.shape}"
        )
    return counts
