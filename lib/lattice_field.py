"""Large lattices of oscillators, each site with its own clock: march, watch, and know the memory beforehand.

theta_i' = theta_i + dt (omega_i + K/4 sum over four neighbours of sin(theta_j - theta_i)) at the sites whose clock
ticks, on a torus. The order parameter and the number of vortices are recorded on the way, and how often each site has
updated.

The same seed gives the same clocks, frequencies and start on every device and in every engine: who updates when agrees
to the last bit, phases to rounding. The clocks are those of :mod:`lib.site_clocks`, the steps those of
:mod:`lib.field_steps`, which this module passes on together with :mod:`lib.field_observables`.

Sources: the oscillators of Y. Kuramoto (1975), nearest neighbours as in H. Hong, H. Park and M. Y. Choi, Phys. Rev. E
72 (2005) 036217; clocks at the sites as in arXiv:2505.09898, in our concrete reading.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from lib import _field_blocks, checks, field_steps, site_clocks
from lib.field_march import FieldRun, initial_phases, march, natural_frequencies, self_check, usable
from lib.field_observables import vortices
from lib.field_steps import diffusion_step, kuramoto_field_step
from lib.progress import ProgressBar
from lib.site_clocks import SiteClocks, clock_rates

__all__ = [
    "FieldRun",
    "SiteClocks",
    "clock_rates",
    "diffusion_step",
    "initial_phases",
    "kuramoto_field_step",
    "memory",
    "natural_frequencies",
    "self_check",
    "simulate",
    "vortices",
]

OBSERVATIONS = 100


def memory(
    sides,
    replicas: int = 1,
    dtype: torch.dtype = torch.float32,
    *,
    asynchronous: bool = True,
    own_rates: bool = False,
    device: torch.device | str = "cpu",
    engine: str = "auto",
) -> int:
    """Bytes that a run of :func:`simulate` needs at its peak, on the device.

    Parameters
    ----------
    sides : int or (int, int)
        Side of a square lattice, or rows and columns.
    replicas : int
        At least 1.
    dtype : torch.dtype
        float32 or float64.
    asynchronous : bool
        Whether sites have clocks.
    own_rates : bool
        Whether each site's clock has its own rate.
    device : torch.device or str
    engine : {"auto", "torch", "numba"}

    Returns
    -------
    int
        Two fields of phases and one of frequencies; with clocks the local times, the limits of the clocks if each has
        its own, and in torch half of the hash of each site; and the work space of a block.

    Raises
    ------
    ValueError
        If an argument is of the wrong kind or out of range.

    Examples
    --------
    >>> round(memory(4096, own_rates=True) / 1e6), round(memory(4096, own_rates=True, device="cuda") / 1e6)
    (337, 604)
    """
    sides = site_clocks.sides_of(sides)
    replicas = checks.integer("replicas", replicas, lowest=1)
    checks.choice("dtype", dtype, (torch.float32, torch.float64))
    checks.flag("asynchronous", asynchronous)
    checks.flag("own_rates", own_rates)
    device = checks.device("device", device)
    checks.choice("engine", engine, field_steps.ENGINES)
    in_torch = engine == "torch" or device.type != "cpu" or dtype != torch.float32
    sites, size = sides[0] * sides[1], torch.finfo(dtype).bits // 8
    total = 3 * size * sites * replicas
    if asynchronous:
        total += 4 * sites * replicas
        total += 4 * sites * replicas if own_rates else 4 * sides[1]
        total += 4 * sites if in_torch else 0
    shape = (replicas, *sides)
    several, rows = next(_field_blocks.blocks(shape, device))
    block = several.stop * rows.stop * sides[1]
    held = several.stop * (rows.stop + 2) * sides[1] * 3 * size if in_torch else 24 * (sides[1] + 2)
    held += 12 * block if in_torch and asynchronous else 0
    # Looking at a block takes six numbers a site; torch's half of the hash is made on the CPU, a chunk at a time.
    looking = 6 * size * block
    drawing = 12 * min(sites, site_clocks.DRAWN_AT_ONCE) if in_torch and asynchronous and device.type == "cpu" else 0
    return total + held + max(looking, drawing)


def simulate(
    sides,
    steps: int,
    *,
    coupling: float = 1.0,
    dt: float = 0.05,
    update_probability: float = 1.0,
    clock_ratio: float = 1.0,
    rates=None,
    frequency_spread: float = 0.2,
    omega=None,
    start_width: float = math.pi,
    theta0=None,
    seed=0,
    first_tick: int = 0,
    observe_every: int | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    engine: str = "auto",
    progress: Callable[[int, int], None] | str | None = "bar",
) -> FieldRun:
    """March a torus of oscillators with a clock at every site.

    Parameters
    ----------
    sides : int or (int, int)
        Side of a square lattice, or rows and columns.
    steps : int
        Number of ticks, at least 0.
    coupling : float
        K: a quarter of it acts through each neighbour.
    dt : float
        Length of a step, above 0.
    update_probability : float
        Probability of a site to update at a tick, from 2**-32 to 1: the rate of the fastest clock.
    clock_ratio : float
        Fastest over slowest clock, at least 1; the rates in between are log-uniform.
    rates : array_like, (rows, columns) or (replicas, rows, columns), optional
        The clocks' rates instead of the two above.
    frequency_spread : float
        Standard deviation of the natural frequencies (rad per unit of time).
    omega : array_like, (rows, columns) or (replicas, rows, columns), optional
        Natural frequencies instead.
    start_width : float
        Phases start uniform on (-start_width, start_width) (rad).
    theta0 : array_like, (rows, columns) or (replicas, rows, columns), optional
        Phases to start from instead.
    seed : int or sequence of int
        From 0 to 2**32 - 1. A sequence marches one replica for each seed, with the same result as one by one.
    first_tick : int
        At which tick to start: with ``theta0`` a run can be taken up where another ended.
    observe_every : int, optional
        Steps between two looks at the order parameter and the vortices; a hundredth of the run by default.
    device : torch.device or str
        The first run on a GPU is preceded by :func:`lib.field_march.self_check`; if that fails, a warning says so and
        the CPU runs.
    dtype : torch.dtype
        float32 or float64.
    engine : {"auto", "torch", "numba"}
        ``"auto"`` takes numba for float32 on a CPU, torch for the rest.
    progress : callable, "bar" or None
        Called with (steps done, steps) at each look. ``"bar"`` shows one line in a terminal or notebook.

    Returns
    -------
    FieldRun

    Raises
    ------
    ValueError
        If an argument is of the wrong kind, shape or range, or the device is not there.

    Notes
    -----
    :func:`memory` tells the bytes beforehand: 4096 x 4096 sites with a rate each need 0.34 GB on a CPU (float32).

    Examples
    --------
    >>> run = simulate(32, steps=400, coupling=2.0, update_probability=0.5, start_width=0.5, progress=None)
    >>> bool(run.order[-1] > 0.95), run.vortices[-1].item(), round(float(run.ticks.double().mean()) / 400, 1)
    (True, 0, 0.5)
    """
    sides, seeds = site_clocks.sides_of(sides), site_clocks.seeds_of(seed)
    steps = checks.integer("steps", steps, lowest=0, highest=2**31 - 1)
    first_tick = checks.integer("first_tick", first_tick, lowest=0, highest=2**31 - 1 - steps)
    coupling = checks.real_number("coupling", coupling, lowest=-math.inf)
    dt = checks.real_number("dt", dt, lowest=0, open_below=True)
    lowest = site_clocks.LOWEST_RATE
    update_probability = checks.real_number("update_probability", update_probability, lowest=lowest, highest=1)
    clock_ratio = checks.real_number("clock_ratio", clock_ratio, lowest=1, highest=update_probability / lowest)
    checks.real_number("frequency_spread", frequency_spread, lowest=0)
    checks.real_number("start_width", start_width, lowest=0)
    if observe_every is None:
        observe_every = max(1, steps // OBSERVATIONS)
    observe_every = checks.integer("observe_every", observe_every, lowest=1)
    checks.choice("dtype", dtype, (torch.float32, torch.float64))
    checks.choice("engine", engine, field_steps.ENGINES)
    if not (isinstance(progress, str) and progress == "bar"):
        checks.callback("progress", progress)
    rates, omega, theta0 = (
        _given(name, value, sides, len(seeds))
        for name, value in (("rates", rates), ("omega", omega), ("theta0", theta0))
    )
    if rates is not None and (update_probability < 1 or clock_ratio > 1):
        raise ValueError("rates must be None when update_probability or clock_ratio is given, got a table of rates")
    device = checks.device("device", device)
    if device.type == "mps" and dtype == torch.float64:
        raise ValueError("dtype must be torch.float32 on mps, which has no other, got torch.float64")
    device = usable(device)
    if rates is None and update_probability == clock_ratio == 1:
        clocks = None
    else:
        fastest = update_probability if rates is None else rates
        clocks = site_clocks.site_clocks(fastest, seeds, sides, ratio=clock_ratio, device=device)
    if omega is None:
        omega = natural_frequencies(sides, seeds, frequency_spread, dtype)
    if theta0 is None:
        theta0 = initial_phases(sides, seeds, start_width, dtype)
    shape = (len(seeds), *sides)
    omega = _placed(omega, shape, dtype, device)
    theta = _placed(theta0, shape, dtype, device)
    del theta0
    bar = ProgressBar("steps") if progress == "bar" else progress
    run = march(theta, omega, steps, coupling, dt, clocks, first_tick, observe_every, engine, bar)
    if isinstance(seed, (list, tuple, range)):
        return run
    return FieldRun(run.theta[0], run.ticks[0], run.observed, run.order[0], run.vortices[0], run.engine, run.seconds)


def _given(name: str, value, sides: tuple[int, int], replicas: int) -> Tensor | None:
    """A table given for the lattice, or None."""
    if value is None:
        return None
    (value,) = checks.tensors(**{name: value})
    if tuple(value.shape) not in (sides, (replicas, *sides)):
        raise ValueError(f"{name} must have shape {sides} or {(replicas, *sides)}, got {tuple(value.shape)}")
    return value.detach()


def _placed(field: Tensor, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """A contiguous field of its own on the device; what was given is not written to."""
    return _field_blocks.room(shape, dtype, device).copy_(field)
