"""Asynchronous iteration: sites of a lattice that update on their own clocks, and may read values that are out of date.

A map F acts on the states of all sites, (..., n); at each tick some sites take their new value from it and the others
keep theirs. All sites of a tick read the state before it (Jacobi). A schedule that names one site per tick gives exact
single-site updates in any order; 0, 1, ..., n - 1 again and again is the Gauss-Seidel order.

This module passes on the clocks (:mod:`lib.clocks`), what is known of contractions (:mod:`lib.contraction`), and the
worst that stale reads can do (:mod:`lib.stale_reads`).

Sources: D. Chazan and W. Miranker, Linear Algebra Appl. 2 (1969) 199; G. Baudet, J. ACM 25 (1978) 226; D. Bertsekas and
J. Tsitsiklis, Parallel and Distributed Computation (1989), chapter 6.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from lib import checks, clocks, stale_reads
from lib.clocks import (
    bernoulli_schedule,
    epoch_step,
    epochs,
    log_uniform_rates,
    masks_of_sites,
    poisson_schedule,
)
from lib.contraction import (
    affine_fixed_point,
    contraction_bound,
    contraction_constant,
    synchronous_fixed_point,
)
from lib.stale_reads import GraphMap, checked_map, stale_read_adversary

__all__ = [
    "GraphMap",
    "Trace",
    "affine_fixed_point",
    "async_iterate",
    "asynchronous_step",
    "bernoulli_schedule",
    "contraction_bound",
    "contraction_constant",
    "epoch_step",
    "epochs",
    "iterate_schedule",
    "log_uniform_rates",
    "masks_of_sites",
    "poisson_schedule",
    "stale_read_adversary",
    "synchronous_fixed_point",
]

# Synchronous sweeps that may be spent, beyond one per tick, on finding what the errors are measured against.
_EXTRA_SWEEPS = 1000


@dataclass(frozen=True, eq=False)
class Trace:
    """What an asynchronous run leaves behind; entry 0 of each record is the start.

    Attributes
    ----------
    states : Tensor, (..., steps + 1, n), or None
        State after each tick; None if it was not kept.
    errors : Tensor, (..., steps + 1), or None
        Distance to the fixed point in the (weighted) sup norm; None if no fixed point is known.
    epochs : Tensor, int64, (..., steps + 1)
        Completed epochs.
    ticks : Tensor, (steps + 1,) or, for Poisson clocks, (..., steps + 1)
        When: the number of the tick, or the time of the event (units of one over the rates).
    final : Tensor, (..., n)
        State after the last tick.
    fixed_point : Tensor, (..., n), or None
        What the errors are measured against.
    """

    states: Tensor | None
    errors: Tensor | None
    epochs: Tensor
    ticks: Tensor
    final: Tensor
    fixed_point: Tensor | None


def asynchronous_step(F: Callable[[Tensor], Tensor], x: Tensor, mask: Tensor) -> Tensor:
    """One tick: sites of the mask take their new value, the others keep theirs.

    F is computed for all sites and selected from, which is right for a GPU and cheap next to a gather.

    Parameters
    ----------
    F : callable
        Batched map of a tensor (..., n) to one of the same shape.
    x : Tensor, (..., n)
        Floating, or integer for symbols.
    mask : Tensor, bool, (..., n)
        True where a site updates.

    Returns
    -------
    Tensor, (..., n)

    Raises
    ------
    ValueError
        If F cannot be called, x is no tensor with a site, or the mask does not fit.

    Examples
    --------
    >>> asynchronous_step(lambda x: 2 * x, torch.tensor([1.0, 1.0]), torch.tensor([True, False]))
    tensor([2., 1.])
    """
    if not callable(F):
        raise ValueError(f"F must be a function of a tensor, got {checks.describe(F)}")
    if not isinstance(x, Tensor):
        raise ValueError(f"x must be a tensor, got {checks.describe(x)}")
    checks.shape("x", x, None)
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
        raise ValueError(f"mask must be a boolean tensor, got {checks.describe(mask)}")
    checks.shape("mask", mask, x.shape[-1])
    checks.batch(x=x.shape[:-1], mask=mask.shape[:-1])
    return torch.where(mask, F(x), x)


def async_iterate(
    F: Callable[[Tensor], Tensor],
    x0,
    rates,
    steps: int,
    generator: torch.Generator,
    delays=None,
    *,
    clock: str = "bernoulli",
    target=None,
    weights=None,
    keep_states: bool = True,
) -> Trace:
    """Iterate a map on sites with random clocks and, if asked, random stale reads.

    Parameters
    ----------
    F : callable
        Batched map of a tensor (..., n) to one of the same shape, or a :class:`GraphMap`. It must not write into its
        argument.
    x0 : array_like, (..., n)
        State at the start, and before it. Leading dimensions are replicas: each has its own clocks and reads.
    rates : array_like, (..., n)
        Bernoulli clocks: probability that a site updates at a tick, in (0, 1]. Poisson clocks: updates per unit of
        time, above 0.
    steps : int
        Number of ticks, at least 0; for Poisson clocks the number of events, of one site each.
    generator : torch.Generator
        On the device of x0.
    delays : int or Tensor, int64, (n, n), optional
        Largest age of a read in ticks, at least 0, for all or for each reader (row) and site that is read (column). At
        each tick every read of every site has its own age, uniform from 0 to this bound; a read of a site's own value
        is one of them. By default all reads are fresh.
    clock : {"bernoulli", "poisson"}
    target : array_like, (..., n), optional
        Fixed point that errors are measured against. By default it is looked for with synchronous sweeps, at most
        ``steps + 1000``; if they do not settle there are no errors.
    weights : array_like, (n,), optional
        Weights w of the sup norm ``max_i |x_i| / w_i`` of the errors, above 0; 1 by default.
    keep_states : bool
        Whether to keep the state after every tick.

    Returns
    -------
    Trace

    Raises
    ------
    ValueError
        If a rate or delay is out of range, shapes, types or devices do not fit, the clock is unknown, or F changes the
        shape or type of its argument or writes into it.

    Notes
    -----
    Kept states take ``8 * (steps + 1) * n`` bytes per replica in float64. With delays, a site's stale view of the
    lattice is one row of an n x n array: F is applied to n copies at once, which takes about ``40 * n**2`` bytes per
    replica and n times the work. A :class:`GraphMap` reads along its edges instead, and Poisson clocks need one view
    per event.

    Examples
    --------
    >>> half = lambda x: 0.5 * x.roll(1, dims=-1)
    >>> trace = async_iterate(half, [1.0, 1.0, 1.0], [1.0, 0.5, 0.5], 60, torch.Generator().manual_seed(0))
    >>> bound = contraction_bound(0.5, trace.epochs, trace.errors[0])
    >>> bool((trace.errors <= bound).all()), float(trace.errors[-1]) < 1e-6
    (True, True)
    """
    checks.choice("clock", clock, ("bernoulli", "poisson"))
    x, rates, target, weights = _check_start(x0, rates, target, weights)
    poisson = clock == "poisson"
    rates, batch = clocks.check_rates(rates, (), generator, highest=None if poisson else 1)
    batch = checks.batch(x0=x.shape[:-1], rates=batch)
    steps = checks.integer("steps", steps, lowest=0)
    bounds = _check_bounds(delays, x)
    x = x.expand(*batch, -1)
    draw = stale_reads.Ages(F, bounds, batch, generator)
    sites = torch.arange(x.shape[-1], device=x.device)
    waits = []

    def ticks() -> Iterable[tuple[Tensor, Tensor | None]]:
        for _ in range(steps):
            if poisson:
                wait, site = clocks.poisson_event(rates, batch, generator)
                waits.append(wait)
                yield site[..., None] == sites, draw.of_one(site)
            else:
                yield clocks.bernoulli_mask(rates, batch, generator), draw.of_all()

    longest = 0 if bounds is None else int(bounds.max())
    sweeps = steps + _EXTRA_SWEEPS
    trace = _march(F, x, ticks(), longest, steps, sweeps, target, weights, keep_states)
    if not poisson:
        return trace
    times = torch.stack([x.new_zeros(batch), *waits], dim=-1).cumsum(dim=-1)
    return dataclasses.replace(trace, ticks=times)


def iterate_schedule(
    F: Callable[[Tensor], Tensor],
    x0,
    schedule: Tensor,
    delays: Tensor | None = None,
    *,
    target=None,
    weights=None,
    keep_states: bool = True,
) -> Trace:
    """Iterate a map under a given schedule, and given ages of all reads.

    Parameters
    ----------
    F, x0, target, weights, keep_states
        As in :func:`async_iterate`.
    schedule : Tensor
        Either bool, (..., steps, n): true where a site updates. Or int64, (..., steps): the one site that updates.
    delays : Tensor, int64, optional
        Ages of the reads in ticks, at least 0; by default 0. For masks (..., steps, n, n), what reader i (row) sees of
        site j (column); for single sites (..., steps, n), what the updating site sees of site j.

    Returns
    -------
    Trace

    Raises
    ------
    ValueError
        As :func:`async_iterate`, and if the schedule or the delays are of the wrong type or shape.

    Examples
    --------
    In the order 0, 1 the second site reads what the first has just written:

    >>> swap = lambda x: x.flip(-1) + 1
    >>> iterate_schedule(swap, [0.0, 0.0], torch.tensor([0, 1])).final
    tensor([1., 2.], dtype=torch.float64)
    >>> iterate_schedule(swap, [0.0, 0.0], torch.tensor([[True, True]])).final
    tensor([1., 1.], dtype=torch.float64)
    """
    x, _, target, weights = _check_start(x0, None, target, weights)
    size = x.shape[-1]
    masks = clocks.read_schedule(schedule, size, x.device)
    single = schedule.dtype == torch.int64
    steps = masks.shape[-2]
    leading = {"x0": x.shape[:-1], "schedule": masks.shape[:-2]}
    if delays is not None:
        _check_ages(delays, x)
        trailing = (steps, size) if single else (steps, size, size)
        if tuple(delays.shape[-len(trailing) :]) != trailing:
            expected = ", ".join(str(wanted) for wanted in trailing)
            raise ValueError(f"delays must have shape (..., {expected}), got {tuple(delays.shape)}")
        leading["delays"] = delays.shape[: -len(trailing)]
    batch = checks.batch(**leading)
    x = x.expand(*batch, -1)
    masks = masks.expand(*batch, -1, -1)
    longest = 0
    reads = [None] * steps
    if delays is not None and delays.numel():
        longest = int(delays.max())
        delays = delays.expand(*batch, *trailing).movedim(len(batch), 0)
        reads = (stale_reads.given(F, ages, single) for ages in delays)
    ticks = zip(masks.unbind(dim=-2), reads, strict=True)
    return _march(F, x, ticks, longest, steps, steps + _EXTRA_SWEEPS, target, weights, keep_states)


def _march(F, x: Tensor, ticks: Iterable, longest: int, steps: int, sweeps: int, target, weights, keep: bool) -> Trace:
    keep = checks.flag("keep_states", keep)
    if isinstance(F, GraphMap):
        checks.shape("x0", x, F.graph.size)
    F = checked_map(F)
    if target is None:
        target = synchronous_fixed_point(F, x, sweeps)
    past = stale_reads.Past(x, longest) if longest else None
    seen = torch.zeros_like(x, dtype=torch.bool)
    done = torch.zeros_like(seen[..., 0], dtype=torch.int64)
    states, errors, counted = [x] if keep else [], [_distance(x, target, weights)], [done]
    for mask, reads in ticks:
        after = F(x) if past is None else reads.update(F, past)
        x = torch.where(mask, after, x)
        if past is not None:
            past.write(x)
        seen, done = epoch_step(seen, done, mask)
        counted.append(done)
        errors.append(_distance(x, target, weights))
        if keep:
            states.append(x)
    return Trace(
        states=torch.stack(states, dim=-2) if keep else None,
        errors=None if target is None else torch.stack(errors, dim=-1),
        epochs=torch.stack(counted, dim=-1),
        ticks=torch.arange(steps + 1, device=x.device),
        final=x,
        fixed_point=target,
    )


def _distance(x: Tensor, target: Tensor | None, weights: Tensor | None) -> Tensor | None:
    if target is None:
        return None
    gap = (x - target).abs()
    return (gap if weights is None else gap / weights).amax(dim=-1)


def _check_start(x0, rates, target, weights) -> list[Tensor | None]:
    """State, rates, target and weights as tensors of one type; those that are None stay so."""
    named = {"x0": x0, "rates": rates, "target": target, "weights": weights}
    given = {name: value for name, value in named.items() if value is not None or name == "x0"}
    given = dict(zip(given, checks.tensors(**given), strict=True))
    x = given["x0"]
    checks.shape("x0", x, None)
    for name in ("rates", "target", "weights"):
        if name in given and given[name].shape[-1:] != x.shape[-1:]:
            found = tuple(given[name].shape)
            raise ValueError(f"{name} must have shape (..., {x.shape[-1]}), one entry per site of x0, got {found}")
    if "target" in given:
        checks.batch(x0=x.shape[:-1], target=given["target"].shape[:-1])
    if "weights" in given:
        if given["weights"].dim() != 1:
            raise ValueError(f"weights must have shape (n,), got {tuple(given['weights'].shape)}")
        checks.require(given["weights"] > 0, "weights must be above 0", given["weights"])
    return [given.get(name) for name in named]


def _check_ages(delays, x: Tensor) -> None:
    if not isinstance(delays, Tensor) or delays.dtype != torch.int64:
        raise ValueError(f"delays must be an int64 tensor, got {checks.describe(delays)}")
    if delays.device != x.device:
        raise ValueError(f"delays must be on the device of x0, {x.device}, got {delays.device}")
    checks.require(delays >= 0, "delays must be at least 0", delays)


def _check_bounds(delays, x: Tensor) -> Tensor | None:
    """Bounds of the ages of all reads, (n, n); None if every read is fresh."""
    size = x.shape[-1]
    if delays is None:
        return None
    if not isinstance(delays, Tensor):
        bound = checks.integer("delays", delays, lowest=0)
        delays = torch.tensor(bound, device=x.device).expand(size, size)
    _check_ages(delays, x)
    if tuple(delays.shape) != (size, size):
        raise ValueError(f"delays must be an integer or have shape ({size}, {size}), got {tuple(delays.shape)}")
    return delays if bool((delays > 0).any()) else None
