"""Coupled map lattices: chaotic maps that pull at each other, all at once or some at a time.

One step replaces each state by ``(1 - eps) f(x_i) + eps * (average of f over the neighbours of i)``. The state in
which all sites agree is always a solution; whether it attracts its neighbourhood is decided by the eigenvalues of the
coupling and the Lyapunov exponent of the map (:mod:`lib.master_stability`, which this module passes on).

Source: K. Kaneko, Physica D 41 (1990) 137 (globally coupled maps).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from lib import _coupling, checks
from lib.live import tracing
from lib.master_stability import synchrony_window, transverse_eigenvalues, transverse_multipliers

__all__ = [
    "coupled_map_lattice",
    "coupled_map_step",
    "logistic_map",
    "logistic_slope",
    "lyapunov_exponent",
    "spread",
    "synchrony_window",
    "transverse_eigenvalues",
    "transverse_multipliers",
]


def logistic_map(x, r=4.0) -> Tensor:
    """Logistic map r x (1 - x), chaotic on [0, 1] for r = 4.

    Parameters
    ----------
    x : array_like
        States.
    r : array_like
        Growth parameter; with r in [0, 4] the interval [0, 1] is mapped into itself. Broadcasts with ``x``.

    Returns
    -------
    Tensor
        In the broadcast shape of the arguments.

    Raises
    ------
    ValueError
        If an argument is not a finite real number, or the shapes do not broadcast.

    Examples
    --------
    >>> logistic_map([0.25, 0.75, 1.0]).tolist()
    [0.75, 0.75, 0.0]
    """
    x, r = _map_arguments(x, r)
    return r * x * (1 - x)


def logistic_slope(x, r=4.0) -> Tensor:
    """Derivative r (1 - 2 x) of the logistic map.

    Parameters
    ----------
    x, r : array_like
        As for :func:`logistic_map`.

    Returns
    -------
    Tensor
        In the broadcast shape of the arguments.

    Raises
    ------
    ValueError
        As :func:`logistic_map`.

    Examples
    --------
    >>> float(logistic_slope(0.75))
    -2.0
    """
    x, r = _map_arguments(x, r)
    return r * (1 - 2 * x)


def coupled_map_step(f: Callable[[Tensor], Tensor], W, eps, x, mask=None) -> Tensor:
    """One step of a coupled map lattice, of all sites or of those in a mask.

    Parameters
    ----------
    f : callable
        The map, applied to all sites at once: a tensor to a tensor of the same shape.
    W : {"mean", "ring", "torus"}, Graph, or array_like, (..., n, n)
        Who is averaged: everyone (global mean field, the site itself included), the two neighbours on a ring, the four
        on a torus, the neighbours in a graph (in proportion to their weights), or a row-stochastic matrix.
    eps : array_like, (...)
        Coupling, in [0, 1]; 0 leaves every site alone. Its shape is that of the batch.
    x : array_like, (..., n)
        States; for ``W="torus"`` (..., rows, columns).
    mask : Tensor of bool, optional
        Which sites update, in a shape that broadcasts with ``x``; the others keep their state. All by default.

    Returns
    -------
    Tensor
        In the shape of ``x`` (with the batch of all arguments).

    Raises
    ------
    ValueError
        If the shapes do not fit, eps leaves [0, 1], a row of W does not sum to 1, or f is not a map of this kind.

    Examples
    --------
    >>> coupled_map_step(logistic_map, "mean", 0.5, [0.25, 0.5])
    tensor([0.8125, 0.9375], dtype=torch.float64)
    """
    step, x = _prepared(f, W, eps, x)
    if mask is None:
        return step(x)
    return torch.where(_read_mask("mask", mask, x), step(x), x)


def coupled_map_lattice(
    f: Callable[[Tensor], Tensor],
    W,
    eps,
    x0,
    steps: int,
    update_prob=1.0,
    generator: torch.Generator | None = None,
    *,
    masks=None,
    keep: str = "path",
) -> Tensor:
    """Follow a coupled map lattice, with all sites updated at each step or a random part of them.

    Parameters
    ----------
    f, W, eps
        As for :func:`coupled_map_step`.
    x0 : array_like, (..., n)
        States at step 0; for ``W="torus"`` (..., rows, columns).
    steps : int
        Number of steps, at least 0.
    update_prob : array_like
        Probability that a site updates at a step, in (0, 1]: one number, or in a shape that broadcasts with ``x0``
        (one probability for each site, for instance).
    generator : torch.Generator, optional
        Draws who updates; needed when ``update_prob`` is below 1 and there are no ``masks``.
    masks : Tensor of bool, (..., steps, n), optional
        Who updates at each step (``True``), instead of drawing it; for a torus (..., steps, rows, columns).
    keep : {"path", "last"}
        Return every step or the last one only.

    Returns
    -------
    Tensor, (..., steps + 1, n) or (..., n)
        States; for a torus with rows and columns in place of n.

    Raises
    ------
    ValueError
        As :func:`coupled_map_step`, and if ``steps`` is negative, a probability lies outside (0, 1], or there is
        nothing to draw the updates from.

    Notes
    -----
    In finite precision a chaotic run that has synchronised is exactly synchronised after a while, and the logistic map
    with r = 4 may then end in its unstable fixed point 0. States outside the interval that a map keeps can grow without
    bound; :func:`logistic_map` refuses them once they are infinite.

    Examples
    --------
    >>> start = [0.1, 0.2, 0.4]
    >>> alone = coupled_map_lattice(logistic_map, "mean", 0.0, start, steps=60, keep="last")
    >>> together = coupled_map_lattice(logistic_map, "mean", 0.6, start, steps=60, keep="last")
    >>> bool(spread(alone) > 0.1), bool(spread(together) < 1e-6)
    (True, True)
    """
    steps = checks.integer("steps", steps, lowest=0)
    checks.choice("keep", keep, ("path", "last"))
    step, x = _prepared(f, W, eps, x0, name="x0")
    sites = _coupling.site_dimensions(W)
    drawn = _updates(update_prob, generator, masks, x, steps, sites)
    path = [x]
    for tick in range(steps):
        who = drawn(tick)
        x = step(x) if who is None else torch.where(who, step(x), x)
        if keep == "path":
            path.append(x)
    return torch.stack(path, dim=-1 - sites) if keep == "path" else x


def spread(x, sites: int = 1) -> Tensor:
    """Distance from synchrony: the largest state minus the smallest.

    Parameters
    ----------
    x : array_like, (..., n)
        States.
    sites : int
        How many of the last dimensions hold the sites: 2 for a torus (..., rows, columns).

    Returns
    -------
    Tensor, (...)

    Raises
    ------
    ValueError
        If x has fewer dimensions or no sites.

    Examples
    --------
    >>> float(spread([0.25, 0.5, 1.0]))
    0.75
    """
    (x,) = checks.tensors(x=x)
    sites = checks.integer("sites", sites, lowest=1)
    checks.shape("x", x, *(None,) * sites)
    flat = x.flatten(start_dim=-sites)
    return flat.amax(dim=-1) - flat.amin(dim=-1)


def lyapunov_exponent(f: Callable[[Tensor], Tensor], df: Callable[[Tensor], Tensor], x0, n: int) -> Tensor:
    """Lyapunov exponent of a map of the line: the mean of ln|f'| along n steps of an orbit.

    Parameters
    ----------
    f, df : callable
        The map and its derivative, both elementwise.
    x0 : array_like, (...)
        Starting points.
    n : int
        Number of steps, at least 1.

    Returns
    -------
    Tensor, (...)
        Per step; minus infinity for an orbit through a critical point.

    Raises
    ------
    ValueError
        If ``n`` is below 1 or f or df do not keep the shape.

    Examples
    --------
    >>> starts = torch.linspace(0.011, 0.991, 99, dtype=torch.float64)
    >>> bool(abs(lyapunov_exponent(logistic_map, logistic_slope, starts, 200).mean() - 0.6931) < 0.01)
    True
    """
    (x,) = checks.tensors(x0=x0)
    n = checks.integer("n", n, lowest=1)
    _check_map("f", f, x)
    _check_map("df", df, x)
    total = torch.zeros_like(x)
    for _ in range(n):
        total = total + df(x).abs().log()
        x = f(x)
    return total / n


def _map_arguments(x, r) -> tuple[Tensor, Tensor]:
    x, r = checks.tensors(x=x, r=r)
    checks.batch(x=x.shape, r=r.shape)
    return x, r


def _check_map(name: str, f, x: Tensor) -> None:
    if not callable(f):
        raise ValueError(f"{name} must be a function of a tensor, got {checks.describe(f)}")
    after = f(x)
    if not isinstance(after, Tensor) or after.shape != x.shape:
        came = checks.describe(after)
        raise ValueError(f"{name} must keep the shape {tuple(x.shape)} of its argument, but it returned {came}")


def _prepared(f, W, eps, x, name: str = "x") -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """The step of all sites, and the states in the shape of the whole batch."""
    x, eps = checks.tensors(**{name: x, "eps": eps})
    sites = _coupling.site_dimensions(W)
    checks.shape(name, x, *(None,) * sites)
    batch = checks.batch(**{name: x.shape[:-sites], "eps": eps.shape})
    _coupling.check_strength(eps)
    mean, of_coupling = _coupling.average("W", W, name, x)
    batch = checks.batch(**{name: batch, "W": of_coupling})
    _check_map("f", f, x)
    x = x.expand(*batch, *x.shape[-sites:])
    eps = eps.reshape(*eps.shape, *(1,) * sites)

    return partial(_mixed, f, mean, eps), x


def _mixed(f, mean, eps: Tensor, x: Tensor) -> Tensor:
    after = f(x)
    return (1 - eps) * after + eps * mean(after)


def _read_mask(name: str, mask, x: Tensor) -> Tensor:
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
        raise ValueError(f"{name} must be a tensor of true and false, got {checks.describe(mask)}")
    _check_fits(name, mask.shape, x.shape)
    return mask.to(x.device)


def _check_fits(name: str, shape, states) -> None:
    """Whether a shape broadcasts to that of the states without making them larger."""
    try:
        fits = torch.broadcast_shapes(shape, states) == states
    except RuntimeError:
        fits = False
    if not fits:
        raise ValueError(f"{name} must have a shape that broadcasts to {tuple(states)}, got {tuple(shape)}")


def _updates(update_prob, generator, masks, x: Tensor, steps: int, sites: int) -> Callable[[int], Tensor | None]:
    """Who updates at each step, as a function of the step; None means everyone."""
    (probability,) = checks.tensors(update_prob=update_prob)
    checks.require((probability > 0) & (probability <= 1), "update_prob must lie in (0, 1]", probability)
    _check_fits("update_prob", probability.shape, x.shape)
    if generator is not None:
        checks.generator("generator", generator)
    if masks is not None:
        wanted = (*x.shape[:-sites], steps, *x.shape[-sites:])
        if not isinstance(masks, Tensor) or masks.dtype != torch.bool:
            raise ValueError(f"masks must be a tensor of true and false, got {checks.describe(masks)}")
        _check_fits("masks", masks.shape, torch.Size(wanted))
        given = masks.to(x.device).expand(wanted)
        return lambda tick: given.select(-1 - sites, tick)
    # A live probability cannot be looked at: a figure draws its masks itself.
    live = tracing.active() and isinstance(update_prob, Tensor)
    if not live and bool((probability == 1).all()):
        return lambda tick: None
    if generator is None:
        raise ValueError("generator must be given to draw who updates when update_prob is below 1, got None")
    probability = probability.to(x.device)

    def draw(tick: int) -> Tensor:
        uniform = torch.rand(x.shape, generator=generator, device=generator.device, dtype=torch.float64)
        return uniform.to(x.device) < probability

    return draw
