"""The march of a large lattice of oscillators, and the check of a device against the loop in float64."""

from __future__ import annotations

import math
import time
import warnings
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from lib import _field_blocks, checks, field_observables, field_reference, field_steps, site_clocks
from lib.progress import ProgressBar
from lib.site_clocks import SiteClocks

__all__ = ["FieldRun", "initial_phases", "natural_frequencies", "self_check"]

# Streams of the hash for what is drawn once; ticks count up from 0.
PHASE_STREAM = site_clocks.MASK
FREQUENCY_STREAM = site_clocks.MASK - 2


@dataclass(frozen=True)
class FieldRun:
    """What :func:`lib.lattice_field.simulate` returns.

    The leading dimension of replicas is there when a sequence of seeds was given.

    Attributes
    ----------
    theta : Tensor, (replicas, rows, columns)
        Phases after the last step (rad, in [-pi, pi]), on the device of the run.
    ticks : Tensor, int32, (replicas, rows, columns)
        Local time: how often each site has updated.
    observed : Tensor, int64, (observations,)
        Steps after which the run was looked at, from 0 to the last.
    order : Tensor, float64, (replicas, observations)
        Order parameter r, from 0 to 1.
    vortices : Tensor, int64, (replicas, observations)
        Defects: plaquettes around which the phase winds, either way.
    engine : str
        ``"numba"``, or ``"torch"`` and the device.
    seconds : float
        Wall time of the march.
    """

    theta: Tensor
    ticks: Tensor
    observed: Tensor
    order: Tensor
    vortices: Tensor
    engine: str
    seconds: float


def initial_phases(sides, seed, width: float = math.pi, dtype: torch.dtype = torch.float64) -> Tensor:
    """Phases uniform on (-width, width), as :func:`lib.lattice_field.simulate` starts with.

    Parameters
    ----------
    sides : int or (int, int)
        Side of a square lattice, or rows and columns.
    seed : int or sequence of int
        From 0 to 2**32 - 1; a sequence draws one lattice for each.
    width : float
        Largest phase (rad), at least 0.
    dtype : torch.dtype
        float32 or float64. The draw is made in float64.

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
    >>> initial_phases((3, 4), seed=0, width=0.2).abs().amax() < 0.2
    tensor(True)
    """
    width = checks.real_number("width", width, lowest=0)
    return site_clocks.draw_uniform(sides, seed, PHASE_STREAM, dtype, low=-width, high=width)


def natural_frequencies(sides, seed, spread: float = 0.2, dtype: torch.dtype = torch.float64) -> Tensor:
    """Normal natural frequencies of mean 0, as :func:`lib.lattice_field.simulate` draws them.

    Parameters
    ----------
    sides, seed, dtype
        As for :func:`initial_phases`.
    spread : float
        Standard deviation (rad per unit of time), at least 0.

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
    >>> round(float(natural_frequencies(300, seed=0, spread=0.2).std()), 2)
    0.2
    """
    spread = checks.real_number("spread", spread, lowest=0)
    return site_clocks.draw_normal(sides, seed, FREQUENCY_STREAM, dtype, width=spread)


def march(
    theta: Tensor,
    omega: Tensor,
    steps: int,
    coupling: float,
    dt: float,
    clocks: SiteClocks | None,
    first_tick: int,
    observe_every: int,
    engine: str,
    progress,
) -> FieldRun:
    """March checked fields (replicas, rows, columns); theta is used up."""
    kernels = field_steps.compiled(engine, theta, omega)
    work = None if kernels is not None else field_steps.work_space(theta.shape, theta, clocks)
    after = _field_blocks.room(theta.shape, theta.dtype, theta.device)
    ticks = None if clocks is None else _field_blocks.room(theta.shape, torch.int32, theta.device).zero_()
    observed, orders, defects = [], [], []
    began = time.perf_counter()
    with torch.no_grad():
        for step in range(steps + 1):
            if step % observe_every == 0 or step == steps:
                observed.append(step)
                orders.append(field_observables.order(theta).cpu().double())
                defects.append(sum(field_observables.vortices(theta)).cpu())
                if progress is not None:
                    _show(progress, step, steps, orders[-1], defects[-1])
            if step == steps:
                break
            if clocks is None:
                field_steps.advance(theta, omega, after, coupling, dt, kernels, work)
            else:
                tick = first_tick + step
                field_steps.advance_some(theta, omega, after, coupling, dt, clocks, tick, ticks, kernels, work)
            theta, after = after, theta
    if ticks is None:
        ticks = torch.full((1, 1, 1), steps, dtype=torch.int32, device=theta.device).expand(theta.shape)
    return FieldRun(
        theta,
        ticks,
        torch.tensor(observed),
        torch.stack(orders, dim=1),
        torch.stack(defects, dim=1),
        "numba" if kernels is not None else f"torch {theta.device}",
        time.perf_counter() - began,
    )


def _show(progress, step: int, steps: int, order: Tensor, defects: Tensor) -> None:
    if isinstance(progress, ProgressBar):
        progress(step, steps, f"r = {order.mean():.3f}, {int(defects.sum()) / len(defects):g} vortices")
    else:
        progress(step, steps)


def usable(device: torch.device) -> torch.device:
    """The device if it is there and computes what the reference does, else the CPU and a warning."""
    if device.type == "cpu":
        return device
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as problem:
        raise ValueError(f"device must be one that torch can use here, got {str(device)!r}") from problem
    return _trusted(device)


@lru_cache
def _trusted(device: torch.device) -> torch.device:
    problem = self_check(device)
    if problem:
        warnings.warn(
            f"{device} differs from the reference on a small lattice ({problem}): the CPU runs instead",
            RuntimeWarning,
            stacklevel=4,
        )
        return torch.device("cpu")
    return device


def self_check(device: torch.device | str = "cpu", engine: str = "auto") -> str:
    """Compare a small lattice on a device with the loop in float64.

    Parameters
    ----------
    device : torch.device or str
    engine : {"auto", "torch", "numba"}

    Returns
    -------
    str
        What differs; empty if local times and vortices agree exactly and phases to 1e-5.

    Raises
    ------
    ValueError
        If the device or the engine is unknown.

    Examples
    --------
    >>> self_check("cpu")
    ''
    """
    device = checks.device("device", device)
    checks.choice("engine", engine, field_steps.ENGINES)
    sides, seeds, steps, coupling, dt = (10, 12), (1, 2), 25, 1.5, 0.1
    theta = initial_phases(sides, seeds, dtype=torch.float32)
    omega = natural_frequencies(sides, seeds, dtype=torch.float32)
    rates = site_clocks.clock_rates(sides, 10, seeds)
    clocks = site_clocks.site_clocks(rates, seeds, device=device)
    fields = theta.to(device, copy=True), omega.to(device)
    run = march(*fields, steps, coupling, dt, clocks, 0, steps, engine, None)
    for replica, seed in enumerate(seeds):
        tables = (theta[replica].tolist(), omega[replica].tolist(), coupling, dt, rates[replica].tolist())
        phases, counts, _ = field_reference.loop_kuramoto(*tables, seed, steps)
        if run.ticks[replica].tolist() != counts:
            return "other sites update"
        apart = run.theta[replica].cpu().double() - torch.tensor(phases, dtype=torch.float64)
        largest = float(torch.remainder(apart + math.pi, 2 * math.pi).sub(math.pi).abs().amax())
        if not largest <= 1e-5:
            return f"phases are off by {largest:.1e}"
        if int(run.vortices[replica, -1]) != sum(field_reference.loop_vortices(phases)):
            return "vortices are counted differently"
    return ""
