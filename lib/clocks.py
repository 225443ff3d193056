"""Clocks of lattice sites: who updates when, and how many rounds that makes.

A schedule says which sites update at each tick, either as masks (true where a site updates; any number of sites per
tick) or as the sites themselves (one per tick, in exact order). Rates are updates per tick for Bernoulli clocks and
updates per unit of time for Poisson clocks. An epoch ends when every site has updated at least once since the end of
the one before.

Sources: D. Chazan and W. Miranker, Linear Algebra Appl. 2 (1969) 199; D. Bertsekas and J. Tsitsiklis, Parallel and
Distributed Computation (1989), chapter 6; D. Gillespie, J. Phys. Chem. 81 (1977) 2340, for the Poisson clocks.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lib import checks

__all__ = [
    "bernoulli_schedule",
    "epoch_step",
    "epochs",
    "log_uniform_rates",
    "masks_of_sites",
    "poisson_schedule",
]


def log_uniform_rates(uniform, ratio=10.0) -> Tensor:
    """Clock rates spread evenly on a logarithmic scale between 1 / ratio and 1.

    Parameters
    ----------
    uniform : array_like, (...)
        Uniform random numbers in [0, 1], one per site.
    ratio : float or array_like
        Rate of the fastest clock over that of the slowest, at least 1.

    Returns
    -------
    Tensor, (...)
        Rates in (0, 1] (per tick).

    Raises
    ------
    ValueError
        If a number lies outside [0, 1] or a ratio is below 1.

    Examples
    --------
    >>> log_uniform_rates([0.0, 0.5, 1.0], ratio=100)
    tensor([0.0100, 0.1000, 1.0000], dtype=torch.float64)
    """
    uniform, ratio = checks.tensors(uniform=uniform, ratio=ratio)
    checks.require((uniform >= 0) & (uniform <= 1), "uniform must hold numbers from 0 to 1", uniform)
    checks.require(ratio >= 1, "ratio must be at least 1", ratio)
    checks.batch(uniform=uniform.shape, ratio=ratio.shape)
    return ratio ** (uniform - 1)


def bernoulli_schedule(rates, steps: int, generator: torch.Generator, replicas: Sequence[int] = ()) -> Tensor:
    """Masks of independent clocks that tick with a fixed probability.

    Parameters
    ----------
    rates : array_like, (..., n)
        Probability that a site updates at a tick, in (0, 1].
    steps : int
        Number of ticks, at least 0.
    generator : torch.Generator
        On the device of the rates.
    replicas : sequence of int, optional
        Leading dimensions of the result, with which those of the rates have to broadcast.

    Returns
    -------
    Tensor, bool, (..., steps, n)
        One byte per tick and site.

    Raises
    ------
    ValueError
        If a rate lies outside (0, 1], a number is out of range, or the generator is on another device.

    Examples
    --------
    >>> bernoulli_schedule([1.0, 0.5, 0.5], 2, torch.Generator().manual_seed(0))
    tensor([[ True, False,  True],
            [ True, False, False]])
    """
    rates, batch = check_rates(rates, replicas, generator, highest=1)
    steps = checks.integer("steps", steps, lowest=0)
    masks = torch.empty(*batch, steps, rates.shape[-1], dtype=torch.bool, device=rates.device)
    for tick in range(steps):
        masks[..., tick, :] = bernoulli_mask(rates, batch, generator)
    return masks


def poisson_schedule(
    rates, steps: int, generator: torch.Generator, replicas: Sequence[int] = ()
) -> tuple[Tensor, Tensor]:
    """Events of independent Poisson clocks in exact order: when, and at which site.

    Parameters
    ----------
    rates : array_like, (..., n)
        Updates of each site per unit of time, above 0.
    steps : int
        Number of events, over all sites, at least 0.
    generator : torch.Generator
        On the device of the rates.
    replicas : sequence of int, optional
        Leading dimensions of the result, with which those of the rates have to broadcast.

    Returns
    -------
    times : Tensor, (..., steps)
        Rising.
    sites : Tensor, int64, (..., steps)

    Raises
    ------
    ValueError
        If a rate is not above 0, a number is out of range, or the generator is on another device.

    Notes
    -----
    The waiting times of the whole lattice are exponential with the sum of the rates, and each event belongs to a site
    with a probability proportional to its rate (Gillespie's direct method).

    Examples
    --------
    >>> times, sites = poisson_schedule([0.1, 3.0], 4, torch.Generator().manual_seed(0))
    >>> sites
    tensor([1, 1, 1, 1])
    """
    rates, batch = check_rates(rates, replicas, generator)
    steps = checks.integer("steps", steps, lowest=0)
    waits = torch.empty(*batch, steps, dtype=rates.dtype, device=rates.device)
    sites = torch.empty(*batch, steps, dtype=torch.int64, device=rates.device)
    for event in range(steps):
        waits[..., event], sites[..., event] = poisson_event(rates, batch, generator)
    return waits.cumsum(dim=-1), sites


def masks_of_sites(sites, size: int) -> Tensor:
    """Masks of a schedule that names one site per tick.

    Parameters
    ----------
    sites : Tensor, int64, (...)
        From 0 to ``size - 1``.
    size : int
        Number of sites n of the lattice, at least 1.

    Returns
    -------
    Tensor, bool, (..., n)

    Raises
    ------
    ValueError
        If ``sites`` is no int64 tensor, or a site does not exist.

    Examples
    --------
    >>> masks_of_sites(torch.tensor([2, 0]), size=3)
    tensor([[False, False,  True],
            [ True, False, False]])
    """
    size = checks.integer("size", size, lowest=1)
    if not isinstance(sites, Tensor) or sites.dtype != torch.int64:
        raise ValueError(f"sites must be an int64 tensor, got {checks.describe(sites)}")
    checks.require((sites >= 0) & (sites < size), f"sites must be from 0 to {size - 1}", sites)
    return sites[..., None] == torch.arange(size, device=sites.device)


def epochs(masks) -> Tensor:
    """Completed epochs after each tick of a schedule.

    Parameters
    ----------
    masks : Tensor, bool, (..., steps, n)
        True where a site updates.

    Returns
    -------
    Tensor, int64, (..., steps)

    Raises
    ------
    ValueError
        If ``masks`` is no boolean tensor of this shape, or there is no site.

    Examples
    --------
    >>> epochs(masks_of_sites(torch.tensor([0, 0, 1, 1, 0]), size=2))
    tensor([0, 0, 1, 1, 2])
    """
    check_masks("masks", masks)
    steps = masks.shape[-2]
    seen = torch.zeros_like(masks.any(dim=-2))
    done = torch.zeros_like(seen[..., 0], dtype=torch.int64)
    counted = []
    for tick in range(steps):
        seen, done = epoch_step(seen, done, masks[..., tick, :])
        counted.append(done)
    return torch.stack(counted, dim=-1) if counted else done[..., None][..., :0]


def epoch_step(seen: Tensor, done: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Count epochs along the way: what one tick adds.

    Parameters
    ----------
    seen : Tensor, bool, (..., n)
        Sites that have updated in the running epoch; all false at the start.
    done : Tensor, int64, (...)
        Completed epochs; 0 at the start.
    mask : Tensor, bool, (..., n)
        Sites that update now.

    Returns
    -------
    seen, done : Tensor
        The same after the tick.

    Raises
    ------
    ValueError
        If ``seen`` or ``mask`` is no boolean tensor, ``done`` no int64 tensor, or their shapes do not fit.

    Examples
    --------
    >>> seen, done = torch.tensor([True, False]), torch.tensor(4)
    >>> epoch_step(seen, done, torch.tensor([False, True]))
    (tensor([False, False]), tensor(5))
    """
    for name, tensor, dtype in (("seen", seen, torch.bool), ("mask", mask, torch.bool), ("done", done, torch.int64)):
        if not isinstance(tensor, Tensor) or tensor.dtype != dtype:
            raise ValueError(f"{name} must be a {dtype} tensor, got {checks.describe(tensor)}")
    checks.shape("seen", seen, None)
    checks.shape("mask", mask, seen.shape[-1])
    checks.batch(seen=seen.shape[:-1], mask=mask.shape[:-1], done=done.shape)
    seen = seen | mask
    complete = seen.all(dim=-1)
    return seen & ~complete[..., None], done + complete.to(torch.int64)


def bernoulli_mask(rates: Tensor, batch: torch.Size, generator: torch.Generator) -> Tensor:
    """Who updates at one tick, for every replica."""
    drawn = torch.rand(*batch, rates.shape[-1], generator=generator, dtype=rates.dtype, device=rates.device)
    return drawn < rates


def poisson_event(rates: Tensor, batch: torch.Size, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Waiting time until the next event of the lattice and its site, one per replica."""
    # In float32 the slowest of many clocks would be lost in the sum of all, and never be drawn.
    wide = torch.float32 if rates.device.type == "mps" else torch.float64
    waiting, which = torch.rand(2, *batch, generator=generator, dtype=wide, device=rates.device)
    cumulative = rates.to(wide).cumsum(dim=-1)
    total = cumulative[..., -1]
    if rates.dim() == 1:  # one table for all replicas
        site = torch.searchsorted(cumulative, which * total, right=True)
    else:
        table = cumulative.expand(*batch, -1).contiguous()
        site = torch.searchsorted(table, (which * total)[..., None], right=True)[..., 0]
    wait = -torch.log1p(-waiting) / total
    return wait.to(rates.dtype), site.clamp(max=rates.shape[-1] - 1)


def check_rates(rates, replicas, generator, highest: float | None = None) -> tuple[Tensor, torch.Size]:
    """Rates as a tensor, and the leading dimensions of what they drive."""
    (rates,) = checks.tensors(rates=rates)
    checks.shape("rates", rates, None)
    allowed = "above 0" if highest is None else f"in (0, {highest:g}]"
    inside = rates > 0 if highest is None else (rates > 0) & (rates <= highest)
    checks.require(inside, f"rates must be {allowed}", rates)
    checks.generator("generator", generator)
    if generator.device.type != rates.device.type:
        raise ValueError(f"generator must be on the device of the rates, {rates.device}, got {generator.device}")
    if not isinstance(replicas, Sequence) or isinstance(replicas, str):
        raise ValueError(f"replicas must be a sequence of integers, got {checks.describe(replicas)}")
    replicas = tuple(checks.integer("replicas", count, lowest=1) for count in replicas)
    return rates, checks.batch(rates=rates.shape[:-1], replicas=replicas)


def check_masks(name: str, masks) -> None:
    """Check the masks of a schedule."""
    if not isinstance(masks, Tensor) or masks.dtype != torch.bool or masks.dim() < 2 or masks.shape[-1] == 0:
        raise ValueError(
            f"{name} must be a boolean tensor of shape (..., steps, n) with n of at least 1, "
            f"got {checks.describe(masks)}"
        )


def read_schedule(schedule, size: int, device: torch.device) -> Tensor:
    """Masks of a schedule that is given as masks or as single sites."""
    if isinstance(schedule, Tensor) and schedule.dtype == torch.int64 and schedule.dim() > 0:
        checks.require((schedule >= 0) & (schedule < size), f"schedule must hold sites from 0 to {size - 1}", schedule)
        schedule = masks_of_sites(schedule, size)
    check_masks("schedule", schedule)
    checks.shape("schedule", schedule, size)
    if schedule.device != device:
        raise ValueError(f"schedule must be on the device of the state, {device}, got {schedule.device}")
    return schedule
