"""Power laws of error against data: their formulas, and the straight line through logarithms.

Errors fall as err = alpha m^beta + gamma with beta < 0: m is the size (examples, tokens, parameters), alpha the error
at m = 1 (unit of the error), gamma the floor (same unit). All is elementwise torch, batched, differentiable, and runs
inside a live figure.

Source: J. Hestness et al., arXiv:1712.00409, sections 2-3, for the three regions; the smooth formula is ours.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lib import checks

__all__ = [
    "data_needed",
    "floored_line",
    "halving_factor",
    "local_slopes",
    "log_log_line",
    "power_law",
    "three_regions",
]


def power_law(m, alpha, beta, gamma=0.0) -> Tensor:
    """Power law with a floor, alpha m^beta + gamma.

    Parameters
    ----------
    m : array_like
        Sizes, above 0.
    alpha : array_like
        Reducible error at m = 1, above 0.
    beta : array_like
        Exponent, negative for an error that falls.
    gamma : array_like
        Floor, at least 0.

    Returns
    -------
    Tensor
        Of the shape that all have in common.

    Raises
    ------
    ValueError
        If m or alpha is not positive, gamma is negative, or the shapes do not broadcast.

    Examples
    --------
    >>> power_law([100.0, 10000.0], 10.0, -0.5, 0.05).tolist()
    [1.05, 0.15]
    """
    m, alpha, beta, gamma = checks.tensors(m=m, alpha=alpha, beta=beta, gamma=gamma)
    checks.batch(m=m.shape, alpha=alpha.shape, beta=beta.shape, gamma=gamma.shape)
    checks.require(m > 0, "m must be above 0", m)
    checks.require(alpha > 0, "alpha must be above 0", alpha)
    checks.require(gamma >= 0, "gamma must be at least 0", gamma)
    return alpha * m**beta + gamma


def three_regions(m, best_guess, beta, m0, gamma=0.0) -> Tensor:
    """Small-data plateau, power law and floor in one: gamma + (best_guess - gamma) (1 + m / m0)^beta.

    Parameters
    ----------
    m : array_like
        Sizes, above 0.
    best_guess : array_like
        Error without any data, such as 1 minus the share of the largest class; above gamma.
    beta : array_like
        Exponent of the middle region.
    m0 : array_like
        Size at which the plateau ends, above 0, in the unit of m.
    gamma : array_like
        Floor, at least 0.

    Returns
    -------
    Tensor
        Of the shape that all have in common.

    Raises
    ------
    ValueError
        If m or m0 is not positive, gamma is negative, best_guess is not above gamma, or the shapes do not broadcast.

    Examples
    --------
    >>> three_regions([0.01, 300.0], 0.9, -0.5, 100.0).round(decimals=4).tolist()
    [0.9, 0.45]
    """
    m, best_guess, beta, m0, gamma = checks.tensors(m=m, best_guess=best_guess, beta=beta, m0=m0, gamma=gamma)
    checks.batch(m=m.shape, best_guess=best_guess.shape, beta=beta.shape, m0=m0.shape, gamma=gamma.shape)
    checks.require(m > 0, "m must be above 0", m)
    checks.require(m0 > 0, "m0 must be above 0", m0)
    checks.require(gamma >= 0, "gamma must be at least 0", gamma)
    checks.require(best_guess > gamma, "best_guess must be above gamma", best_guess)
    return gamma + (best_guess - gamma) * (1 + m / m0) ** beta


def log_log_line(m, err, weights=1.0) -> tuple[Tensor, Tensor]:
    """Straight line through logarithms, by least squares: the quick fit of a pure power law.

    It sees no floor, gives no errors and refuses nothing but impossible numbers, so that it can follow points that a
    reader drags; :func:`lib.powerlaw.fit_power_law` does the rest.

    Parameters
    ----------
    m : array_like, (..., n)
        Sizes, above 0, of at least two values.
    err : array_like, (..., n)
        Errors, above 0.
    weights : array_like, (..., n)
        Weight of each point, at least 0; 0 leaves a point out.

    Returns
    -------
    alpha, beta : Tensor, (...)
        Of err = alpha m^beta.

    Raises
    ------
    ValueError
        If m or err is not positive, a weight is negative, the shapes do not fit, or all weighted m are equal.

    Examples
    --------
    >>> alpha, beta = log_log_line([1.0, 10.0, 100.0], [4.0, 2.0, 1.0])
    >>> round(float(beta), 4)
    -0.301
    """
    m, err, weights = checks.tensors(m=m, err=err, weights=weights)
    same_length(m=m, err=err)
    checks.batch(m=m.shape, err=err.shape, weights=weights.shape)
    checks.require(m > 0, "m must be above 0", m)
    checks.require(err > 0, "err must be above 0", err)
    checks.require(weights >= 0, "weights must be at least 0", weights)
    x, y, weights = torch.broadcast_tensors(m.log(), err.log(), weights)
    total = weights.sum(dim=-1, keepdim=True)
    x_mean = (weights * x).sum(dim=-1, keepdim=True) / total
    y_mean = (weights * y).sum(dim=-1, keepdim=True) / total
    apart = x - x_mean
    spread = (weights * apart * apart).sum(dim=-1)
    enough = spread > 1e-20 * (weights * (1 + x * x)).sum(dim=-1)
    checks.require(enough, "m must have at least two different values whose weights are above 0")
    beta = (weights * apart * (y - y_mean)).sum(dim=-1) / spread
    return (y_mean[..., 0] - beta * x_mean[..., 0]).exp(), beta


def floored_line(m, err, weights=1.0, candidates: int = 200) -> tuple[Tensor, Tensor, Tensor]:
    """Power law with a floor by search: the straight line above each of many floors, and the floor that fits best.

    Quick and without branches, for a live figure; :func:`lib.powerlaw.fit_power_law` finds the optimum and says how
    sure it is. Each line minimises the errors of ln err to first order.

    Parameters
    ----------
    m : array_like, (n,)
        Sizes, above 0, of at least two values.
    err : array_like, (n,)
        Errors, above 0.
    weights : array_like, () or (n,)
        Weight of each point, at least 0; 0 leaves a point out.
    candidates : int
        Floors that are tried, from 0 to just below the smallest error that counts; at least 2.

    Returns
    -------
    alpha, beta, gamma : Tensor, ()
        Of err = alpha m^beta + gamma.

    Raises
    ------
    ValueError
        If m or err is not a vector of positive numbers of one length, a weight is negative, all weighted m are equal,
        or candidates is below 2.

    Examples
    --------
    >>> m = 2.0 ** torch.arange(8, 15, dtype=torch.float64)
    >>> alpha, beta, gamma = floored_line(m, power_law(m, 10.0, -0.5, 0.05), candidates=1000)
    >>> round(float(beta), 2), round(float(gamma), 3)
    (-0.5, 0.05)
    """
    m, err, weights = checks.tensors(m=m, err=err, weights=weights)
    candidates = checks.integer("candidates", candidates, lowest=2)
    for name, value in (("m", m), ("err", err)):
        if value.dim() != 1:
            raise ValueError(f"{name} must have shape (n,), got {tuple(value.shape)}")
    if len(m) < 2 or len(m) != len(err):
        raise ValueError(f"m and err must have one length of at least 2, got {len(m)} and {len(err)}")
    checks.batch(err=err.shape, weights=weights.shape)
    checks.require(err > 0, "err must be above 0", err)
    checks.require(weights >= 0, "weights must be at least 0", weights)
    weights = weights.expand(err.shape)
    least = torch.where(weights > 0, err, torch.full_like(err, torch.inf)).amin()
    gamma = least * torch.linspace(0, 0.995, candidates, dtype=err.dtype, device=err.device)[:, None]
    # A point that does not count may lie below the floor.
    reducible = torch.where(weights > 0, err - gamma, torch.ones_like(err))
    alpha, beta = log_log_line(m, reducible, weights * (reducible / err) ** 2)
    fitted = alpha[:, None] * m ** beta[:, None] + gamma
    best = (weights * (fitted.log() - err.log()).square()).sum(dim=-1).argmin().reshape(1)
    return alpha[best][0], beta[best][0], gamma[best][0, 0]


def local_slopes(m, err) -> Tensor:
    """Slope between neighbouring points, d ln err / d ln m: constant for a pure power law, rising to 0 near a floor.

    Parameters
    ----------
    m : array_like, (..., n)
        Sizes, above 0, neighbours different; at least two.
    err : array_like, (..., n)
        Errors, above 0.

    Returns
    -------
    Tensor, (..., n - 1)

    Raises
    ------
    ValueError
        If m or err is not positive, the lengths differ, or neighbouring m are equal.

    Examples
    --------
    >>> local_slopes([1.0, 10.0, 100.0], [1.0, 0.1, 0.1]).tolist()
    [-1.0, 0.0]
    """
    m, err = checks.tensors(m=m, err=err)
    same_length(m=m, err=err)
    if m.shape[-1] < 2:
        raise ValueError("m must have at least two values, got one")
    checks.batch(m=m.shape[:-1], err=err.shape[:-1])
    checks.require(m > 0, "m must be above 0", m)
    checks.require(err > 0, "err must be above 0", err)
    along = m.log().diff(dim=-1)
    checks.require(along != 0, "m must differ between neighbours")
    return err.log().diff(dim=-1) / along


def halving_factor(beta) -> Tensor:
    """How many times the data halve the reducible error, 2^(1 / abs(beta)).

    Parameters
    ----------
    beta : array_like
        Exponent, below 0.

    Returns
    -------
    Tensor

    Raises
    ------
    ValueError
        If beta is not below 0.

    Examples
    --------
    >>> halving_factor([-0.5, -0.128]).round().tolist()
    [4.0, 225.0]
    """
    (beta,) = checks.tensors(beta=beta)
    checks.require(beta < 0, "beta must be below 0", beta)
    return 2 ** (-1 / beta)


def data_needed(err, alpha, beta, gamma=0.0) -> Tensor:
    """Size at which a power law with a floor reaches an error.

    Parameters
    ----------
    err : array_like
        Error to be reached, above gamma.
    alpha, beta, gamma : array_like
        As in :func:`power_law`, with beta not 0.

    Returns
    -------
    Tensor
        In the unit of m.

    Raises
    ------
    ValueError
        If err is not above gamma (no amount of data is enough), alpha is not positive, gamma is negative or beta is 0.

    Examples
    --------
    >>> float(data_needed(0.15, 10.0, -0.5, 0.05))
    10000.0
    """
    err, alpha, beta, gamma = checks.tensors(err=err, alpha=alpha, beta=beta, gamma=gamma)
    checks.batch(err=err.shape, alpha=alpha.shape, beta=beta.shape, gamma=gamma.shape)
    checks.require(alpha > 0, "alpha must be above 0", alpha)
    checks.require(beta != 0, "beta must not be 0")
    checks.require(gamma >= 0, "gamma must be at least 0", gamma)
    checks.require(err > gamma, "err must be above the floor gamma, which no amount of data passes", err)
    return ((err - gamma) / alpha) ** (1 / beta)


def same_length(**named: Tensor) -> None:
    """Check that arrays have as many points, in their last dimension, as the first."""
    first = next(iter(named.values()))
    for name, tensor in named.items():
        checks.shape(name, tensor, None)
        if tensor.shape[-1] != first.shape[-1]:
            shapes = " and ".join(str(tuple(tensor.shape)) for tensor in named.values())
            raise ValueError(f"{' and '.join(named)} must have the same number of points, got shapes {shapes}")
