"""Competition of age-structured species as models with free rates: density-dependent (Leslie and Gower) and linear.

Totals over time have shape (experiments, species, steps + 1): individuals per volume, one step apart. The fits stand in
:mod:`lib.leslie_fit`. Source: P. H. Leslie and J. C. Gower, Biometrika 45 (1958) 316; an extension of Gilman et al.,
arXiv:2412.19831, needed for data that saturate.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from lib import checks, projection

__all__ = ["LeslieGower", "LinearCompetition", "beverton_holt", "leslie_gower_totals", "linear_competition_totals"]


def beverton_holt(fecundity, crowding, founders, steps) -> Tensor:
    """One species without age classes in closed form: K / (1 + (K / N0 - 1) f^-n), K = (f - 1) / k.

    The solution of N' = f N / (1 + k N): the logistic curve with r = ln f, read once a step.

    Parameters
    ----------
    fecundity : array_like
        Growth factor f at low density, above 0 and not 1.
    crowding : array_like
        k, volume per individual, above 0.
    founders : array_like
        N0, individuals per volume, above 0.
    steps : array_like
        n, at least 0.

    Returns
    -------
    Tensor
        Individuals per volume, in the broadcast shape of the arguments.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Examples
    --------
    >>> round(float(beverton_holt(2.3266, 0.002539, 2.0, 10)), 4)
    494.7828
    """
    fecundity, crowding, founders, steps = checks.tensors(
        fecundity=fecundity, crowding=crowding, founders=founders, steps=steps
    )
    checks.batch(fecundity=fecundity.shape, crowding=crowding.shape, founders=founders.shape, steps=steps.shape)
    checks.require((fecundity > 0) & (fecundity != 1), "fecundity must be above 0 and different from 1", fecundity)
    checks.require(crowding > 0, "crowding must be above 0", crowding)
    checks.require(founders > 0, "founders must be above 0", founders)
    checks.require(steps >= 0, "steps must be at least 0", steps)
    capacity = (fecundity - 1) / crowding
    return capacity / (1 + (capacity / founders - 1) * fecundity**-steps)


def leslie_gower_totals(fecundity: Tensor, survival: Tensor, crowding: Tensor, start: Tensor, steps: int) -> Tensor:
    """Totals of x_i' = L_i x_i / (1 + sum_j k_ij N_j), where N_j is the total of species j.

    Parameters
    ----------
    fecundity, survival : Tensor, (..., species, m) and (..., species, m - 1)
        Rates of each species' Leslie matrix.
    crowding : Tensor, (..., species, species)
        k, volume per individual.
    start : Tensor, (..., experiments, species, m)
        Counts per age class at step 0; an absent species is all 0 and stays so.
    steps : int
        Number of steps, at least 0.

    Returns
    -------
    Tensor, (..., experiments, species, steps + 1)

    Raises
    ------
    ValueError
        If the shapes do not fit or ``steps`` is negative.

    Examples
    --------
    >>> one = torch.ones(1, 1, dtype=torch.float64)
    >>> leslie_gower_totals(2 * one, one[:, :0], 0.1 * one, one[None], steps=3).round(decimals=3)
    tensor([[[1.0000, 1.8180, 3.0770, 4.7060]]], dtype=torch.float64)
    """
    steps = checks.integer("steps", steps, lowest=0)
    _check_model(fecundity, survival, start, crowding=crowding)
    species = fecundity.shape[-2]
    checks.shape("crowding", crowding, species, species)
    L = projection.births_and_survival(fecundity, survival)
    return _totals(start, steps, lambda x, totals: L @ x / (1 + crowding @ totals)[..., None, :])


def linear_competition_totals(fecundity: Tensor, survival: Tensor, harm: Tensor, start: Tensor, steps: int) -> Tensor:
    """Totals of linear competition of two species, x_i' = L_i x_i - H_i x_j, negative entries replaced by 0.

    Parameters
    ----------
    fecundity, survival : Tensor, (..., 2, m) and (..., 2, m - 1)
        Rates of each species' Leslie matrix.
    harm : Tensor, (..., 2, m, m)
        What the other species does to each, entries at least 0.
    start : Tensor, (..., experiments, 2, m)
        Counts per age class at step 0.
    steps : int
        Number of steps, at least 0.

    Returns
    -------
    Tensor, (..., experiments, 2, steps + 1)

    Raises
    ------
    ValueError
        If the shapes do not fit or ``steps`` is negative.

    Examples
    --------
    >>> one = torch.ones(2, 1, dtype=torch.float64)
    >>> linear_competition_totals(2 * one, one[:, :0], 0.5 * one[:, None], one[None], steps=2)
    tensor([[[1.0000, 1.5000, 2.2500],
             [1.0000, 1.5000, 2.2500]]], dtype=torch.float64)
    """
    steps = checks.integer("steps", steps, lowest=0)
    _check_model(fecundity, survival, start, harm=harm)
    if fecundity.shape[-2] != 2:
        raise ValueError(f"fecundity must have two species, got shape {tuple(fecundity.shape)}")
    checks.shape("harm", harm, 2, fecundity.shape[-1], fecundity.shape[-1])
    L = projection.births_and_survival(fecundity, survival)
    return _totals(start, steps, lambda x, _: (L @ x - harm @ x.flip(-3)).clamp(min=0))


def _totals(start: Tensor, steps: int, step: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Follow ``step(x, totals)`` and keep the totals; x holds the experiments last: (..., species, m, experiments)."""
    x = start.movedim(-3, -1)
    totals = [x.sum(dim=-2)]
    for _ in range(steps):
        x = step(x, totals[-1])
        totals.append(x.sum(dim=-2))
    return torch.stack(totals, dim=-1).transpose(-3, -2)


class _AgeStructured(nn.Module):
    """Parameters that both models share: rates of each species and the split of founders over ages."""

    def __init__(
        self, m: int, species: int, restarts: int | None, generator: torch.Generator | None, dtype: torch.dtype
    ):
        super().__init__()
        self.m = checks.integer("m", m, lowest=1)
        self.species = checks.integer("species", species, lowest=1)
        self.batch = () if restarts is None else (checks.integer("restarts", restarts, lowest=1),)
        checks.choice("dtype", dtype, (torch.float32, torch.float64))
        generator = torch.Generator().manual_seed(0) if generator is None else generator
        self._generator = checks.generator("generator", generator)
        self._dtype = dtype
        self.raw_fecundity = self._drawn(0.5, species, m)
        self.raw_survival = self._drawn(1.0, species, m - 1)
        self.raw_ages = self._drawn(0.0, species, m)

    def _drawn(self, centre: float, *sizes: int) -> nn.Parameter:
        options = {"generator": self._generator, "dtype": self._dtype, "device": self._generator.device}
        return nn.Parameter(centre + 0.1 * torch.randn(*self.batch, *sizes, **options))

    @property
    def fecundity(self) -> Tensor:
        """Offspring per individual and step: (..., species, m)."""
        return functional.softplus(self.raw_fecundity)

    @property
    def survival(self) -> Tensor:
        """Fraction reaching the next age class: (..., species, m - 1)."""
        return torch.sigmoid(self.raw_survival)

    @property
    def ages(self) -> Tensor:
        """Shares of the age classes among the founders: (..., species, m)."""
        return torch.softmax(self.raw_ages, dim=-1)

    def _rolled(self, initial_totals, roll) -> Tensor:
        """``roll`` from founders by age class; one experiment given as a vector comes back without its dimension."""
        (totals,) = checks.tensors(initial_totals=initial_totals)
        if totals.dim() == 1:
            return roll(self._start(totals[None])).squeeze(-3)
        return roll(self._start(totals))

    def _start(self, totals: Tensor) -> Tensor:
        checks.shape("initial_totals", totals, None, self.species)
        checks.require(totals >= 0, "initial_totals must be at least 0", totals)
        return totals[..., None] * self.ages[..., None, :, :]


class LeslieGower(_AgeStructured):
    """Leslie-Gower competition with free rates: softplus fecundity, sigmoid survival, exponential crowding.

    Parameters
    ----------
    m, species : int
        Age classes per species and number of species, at least 1.
    restarts : int, optional
        If given, that many independent models in one batch.
    generator : torch.Generator, optional
        Source of the small random start; seed 0 by default. The model lives on its device.
    dtype : torch.dtype
        float32 or float64.

    Raises
    ------
    ValueError
        If a number is out of range.

    Examples
    --------
    >>> LeslieGower(3, 2).rollout([[2.0, 2.0], [2.0, 0.0]], steps=25).shape
    torch.Size([2, 2, 26])
    """

    def __init__(
        self,
        m: int,
        species: int = 2,
        restarts: int | None = None,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float64,
    ):
        super().__init__(m, species, restarts, generator, dtype)
        shape = (*self.batch, species, species)
        self.log_crowding = nn.Parameter(
            torch.full_like(self.raw_fecundity[..., :1], -6.0).detach().expand(shape).clone()
        )

    @property
    def crowding(self) -> Tensor:
        """k, volume per individual: (..., species, species)."""
        return self.log_crowding.exp()

    @property
    def growth(self) -> Tensor:
        """Growth factor of each species at low density, per step: (..., species)."""
        return projection.growth_factor(projection.leslie_matrix(self.fecundity, self.survival))

    @property
    def capacity(self) -> Tensor:
        """Equilibrium of each species alone, K = (growth - 1) / k_ii, individuals per volume: (..., species)."""
        return (self.growth - 1) / self.crowding.diagonal(dim1=-2, dim2=-1)

    @property
    def competition(self) -> Tensor:
        """Lotka-Volterra coefficients alpha_ij = k_ij / k_ii: (..., species, species)."""
        crowding = self.crowding
        return crowding / crowding.diagonal(dim1=-2, dim2=-1)[..., None]

    def rollout(self, initial_totals, steps: int) -> Tensor:
        """Totals from known founders.

        Parameters
        ----------
        initial_totals : array_like, (experiments, species) or (species,)
            Founders, individuals per volume, at least 0.
        steps : int
            Number of steps, at least 0.

        Returns
        -------
        Tensor, (..., experiments, species, steps + 1)

        Raises
        ------
        ValueError
            If the shape does not fit, a number is negative, or ``steps`` is negative.
        """
        rates = self.fecundity, self.survival, self.crowding
        return self._rolled(initial_totals, lambda start: leslie_gower_totals(*rates, start, steps))


class LinearCompetition(_AgeStructured):
    """Linear competition of two age-structured species with clipping, all rates free.

    Parameters
    ----------
    m, restarts, generator, dtype
        As for :class:`LeslieGower`.

    Raises
    ------
    ValueError
        If a number is out of range.

    Examples
    --------
    >>> LinearCompetition(3).rollout([[2.0, 2.0]], steps=25).shape
    torch.Size([1, 2, 26])
    """

    def __init__(
        self,
        m: int,
        restarts: int | None = None,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float64,
    ):
        super().__init__(m, 2, restarts, generator, dtype)
        self.log_harm = self._drawn(-4.0, 2, m, m)

    @property
    def harm(self) -> Tensor:
        """What the other species does to each: (..., 2, m, m)."""
        return self.log_harm.exp()

    def rollout(self, initial_totals, steps: int) -> Tensor:
        """Totals from known founders: see :meth:`LeslieGower.rollout`."""
        rates = self.fecundity, self.survival, self.harm
        return self._rolled(initial_totals, lambda start: linear_competition_totals(*rates, start, steps))


def _check_model(fecundity: Tensor, survival: Tensor, start: Tensor, **between: Tensor) -> None:
    """Check types, and the shapes that all models share; ``between`` is what the species do to each other."""
    named = {"fecundity": fecundity, "survival": survival, "start": start, **between}
    for name, value in named.items():
        if not isinstance(value, Tensor) or not value.dtype.is_floating_point:
            raise ValueError(f"{name} must be a tensor of real numbers, got {checks.describe(value)}")
        if value.dtype != fecundity.dtype:
            raise ValueError(f"{name} must have the dtype of fecundity, {fecundity.dtype}, got {value.dtype}")
    checks.shape("fecundity", fecundity, None, None)
    species, classes = fecundity.shape[-2:]
    checks.shape("survival", survival, species, classes - 1)
    checks.shape("start", start, None, species, classes)
