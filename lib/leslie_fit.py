"""Learning scheme: fit competition of age-structured species to counted totals, by gradients through the recursion.

Observed totals are iterates of an unknown matrix, so ordinary regression does not apply. The scheme is ours, in the
spirit of Gilman et al., arXiv:2412.19831; the data are Gause's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lib import checks, data
from lib.leslie_gower import LeslieGower, LinearCompetition
from lib.live import tracing

__all__ = ["CompetitionFit", "fit_leslie_gower", "fit_linear_competition", "gause_paramecium", "log_rmse"]


@dataclass(frozen=True)
class CompetitionFit:
    """Result of a fit; with restarts, tensors have a leading dimension of that size.

    Attributes
    ----------
    model : nn.Module
        The fitted :class:`LeslieGower` or :class:`LinearCompetition`; its parameters no longer ask for gradients.
    train, test : Tensor, (...)
        Root mean squared error of log(1 + N) on the fitted and on the held-out days (NaN if none are held out).
    loss : Tensor, (steps, ...)
        Mean squared error before each step.
    totals : Tensor, (..., experiments, species, days)
        Fitted totals, individuals per volume.
    """

    model: nn.Module
    train: Tensor
    test: Tensor
    loss: Tensor
    totals: Tensor


def gause_paramecium() -> dict[str, Tensor]:
    """Gause's counts of *Paramecium aurelia* and *P. caudatum*, alone and mixed (1934, Appendix, Table III).

    Returns
    -------
    dict of str to Tensor
        ``day``, ``aurelia_alone``, ``caudatum_alone``, ``aurelia_mixed``, ``caudatum_mixed``: (26,), individuals per
        0.5 cm^3, NaN where nothing was counted; ``counts``: (3, 2, 26), the experiments mixed, aurelia alone, caudatum
        alone (NaN for the absent species); ``present``: (3, 2), boolean.

    Raises
    ------
    ValueError
        If the data file is damaged.

    Examples
    --------
    >>> gause_paramecium()["counts"][0, :, 25]
    tensor([350.,  20.], dtype=torch.float64)
    """
    table = {name: torch.as_tensor(column) for name, column in data.load("gause_paramecium").items()}
    absent = torch.full_like(table["day"], float("nan"))
    mixed = torch.stack([table["aurelia_mixed"], table["caudatum_mixed"]])
    alone = torch.stack([table["aurelia_alone"], absent]), torch.stack([absent, table["caudatum_alone"]])
    present = torch.tensor([[True, True], [True, False], [False, True]])
    return {**table, "counts": torch.stack([mixed, *alone]), "present": present}


def log_rmse(totals: Tensor, counts: Tensor, used: Tensor) -> Tensor:
    """Root mean squared error of log(1 + N) over chosen entries.

    Parameters
    ----------
    totals : Tensor, (..., experiments, species, days)
        Model.
    counts : Tensor, (experiments, species, days)
        Data; NaN allowed where not used.
    used : Tensor of bool, (experiments, species, days)
        Entries to compare.

    Returns
    -------
    Tensor, (...)
        NaN if no entry is used.

    Raises
    ------
    ValueError
        If the shapes do not fit.

    Examples
    --------
    >>> one = torch.ones(1, 1, 4)
    >>> log_rmse(2 * one, one, one > 0)
    tensor(0.4055)
    """
    for name, value in (("totals", totals), ("counts", counts), ("used", used)):
        if not isinstance(value, Tensor):
            raise ValueError(f"{name} must be a tensor, got {checks.describe(value)}")
    if counts.shape != used.shape or totals.shape[-3:] != counts.shape or used.dtype != torch.bool:
        raise ValueError(
            "totals, counts and used (boolean) must have one shape (experiments, species, days), "
            f"got {tuple(totals.shape)}, {tuple(counts.shape)} and {tuple(used.shape)} {used.dtype}"
        )
    return _mean_square(totals, counts, used).sqrt()


def _mean_square(totals: Tensor, counts: Tensor, used: Tensor) -> Tensor:
    known = torch.where(used, counts, torch.zeros_like(counts))
    error = torch.where(used, torch.log1p(totals) - torch.log1p(known), torch.zeros_like(totals))
    return error.square().sum(dim=(-3, -2, -1)) / used.sum()


def fit_leslie_gower(
    counts,
    present,
    m: int = 1,
    *,
    founders: float = 2.0,
    train_days: int = 21,
    steps: int = 600,
    learning_rate: float = 0.05,
    seed: int = 0,
    restarts: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> CompetitionFit:
    """Fit Leslie-Gower competition to several experiments at once, by Adam on the mean square of log(1 + N).

    Parameters
    ----------
    counts : array_like, (experiments, species, days)
        Individuals per volume on days 0, 1, 2, ...; NaN where nothing was counted.
    present : array_like of bool, (experiments, species)
        Which species were put in.
    m : int
        Age classes per species.
    founders : float
        Known number at day 0 of each species present, above 0.
    train_days : int
        Days used for the fit, counted from day 0; the rest is held out.
    steps : int
        Steps of Adam, at least 1.
    learning_rate : float
        Above 0.
    seed : int
        Of the random start.
    restarts : int, optional
        If given, that many random starts in one batch.
    progress : callable, optional
        Called with (steps done, steps).

    Returns
    -------
    CompetitionFit

    Raises
    ------
    ValueError
        If the shapes do not fit or a number is out of range.

    Examples
    --------
    >>> gause = gause_paramecium()
    >>> fit = fit_leslie_gower(gause["counts"], gause["present"], steps=300)
    >>> bool(fit.train < 0.22)
    True
    """
    counts, present = _check_experiments(counts, present)
    generator = _fit_generator(seed, counts.device)
    network = LeslieGower(m, counts.shape[1], restarts, generator, counts.dtype)
    return _fit(network, counts, present, founders, train_days, steps, learning_rate, progress)


def fit_linear_competition(
    counts,
    present,
    m: int = 3,
    *,
    founders: float = 2.0,
    train_days: int = 21,
    steps: int = 600,
    learning_rate: float = 0.05,
    seed: int = 0,
    restarts: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> CompetitionFit:
    """Fit linear competition of two species with clipping: see :func:`fit_leslie_gower` for the arguments.

    Examples
    --------
    >>> gause = gause_paramecium()
    >>> fit = fit_linear_competition(gause["counts"][:1], gause["present"][:1], m=2, steps=20)
    >>> fit.totals.shape
    torch.Size([1, 2, 26])
    """
    counts, present = _check_experiments(counts, present)
    if counts.shape[1] != 2:
        raise ValueError(f"counts must have two species, got shape {tuple(counts.shape)}")
    generator = _fit_generator(seed, counts.device)
    network = LinearCompetition(m, restarts, generator, counts.dtype)
    return _fit(network, counts, present, founders, train_days, steps, learning_rate, progress)


def _fit(network, counts, present, founders, train_days, steps, learning_rate, progress) -> CompetitionFit:
    founders = checks.real_number("founders", founders, lowest=0, open_below=True)
    days = counts.shape[-1]
    train_days = checks.integer("train_days", train_days, lowest=2, highest=days)
    steps = checks.integer("steps", steps, lowest=1)
    learning_rate = checks.real_number("learning_rate", learning_rate, lowest=0, open_below=True)
    checks.callback("progress", progress)
    seen = counts.isfinite() & present[:, :, None]
    early = torch.arange(days, device=counts.device) < train_days
    train, test = seen & early, seen & ~early
    if not tracing.active():
        # Day 0 is given, so a fit needs a number of a later day.
        later = train & (torch.arange(days, device=counts.device) > 0)
        checks.require(later.any(), f"counts must hold a number on days 1 to {train_days - 1}, which are fitted")
    initial = founders * present.to(counts.dtype)
    optimiser = torch.optim.Adam(network.parameters(), lr=learning_rate)
    losses = []
    for count in range(steps):
        totals = network.rollout(initial, train_days - 1)
        loss = _mean_square(totals, counts[..., :train_days], train[..., :train_days])
        optimiser.zero_grad()
        # Restarts do not interact, so the gradient of the sum is each one's own gradient.
        loss.sum().backward()
        optimiser.step()
        losses.append(loss.detach())
        if progress is not None:
            progress(count + 1, steps)
    network.requires_grad_(False)
    with torch.no_grad():
        totals = network.rollout(initial, days - 1)
        errors = log_rmse(totals, counts, train), log_rmse(totals, counts, test)
    return CompetitionFit(network, *errors, torch.stack(losses), totals)


def _fit_generator(seed: int, where: torch.device) -> torch.Generator:
    return torch.Generator(where).manual_seed(checks.integer("seed", seed, lowest=0, highest=2**63 - 1))


def _read(name: str, value, dtype: torch.dtype | None) -> Tensor:
    try:
        return value if isinstance(value, Tensor) else torch.as_tensor(value, dtype=dtype)
    except (TypeError, ValueError, RuntimeError) as problem:
        raise ValueError(f"{name} must be a rectangular array, got {checks.describe(value)}") from problem


def _check_experiments(counts, present) -> tuple[Tensor, Tensor]:
    counts, present = _read("counts", counts, torch.float64), _read("present", present, None)
    if counts.dim() != 3 or not counts.dtype.is_floating_point:
        raise ValueError(f"counts must be real with shape (experiments, species, days), got {checks.describe(counts)}")
    if present.shape != counts.shape[:2] or present.dtype != torch.bool:
        raise ValueError(
            f"present must be boolean with shape {tuple(counts.shape[:2])}, got {checks.describe(present)}"
        )
    if not tracing.active():
        checks.require(
            ~(counts < 0) & ~counts.isinf(),
            "counts must be at least 0 and finite (NaN where nothing was counted)",
            counts,
        )
        checks.require(
            (counts.isfinite() & present[:, :, None]).any(), "counts must hold a number of a species that is present"
        )
    return counts, present
