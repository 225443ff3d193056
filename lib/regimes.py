"""Regimes of learning: the metric M + beta F, its mixing parameter alpha, and what depends on the choices made.

F is the Fisher information with eigenvalues lambda, M the mass tensor. With M = F^2 the metric g(c) = F^2 + c F has the
eigenvalues mu = lambda (lambda + c). A functional of g(c) that is called convergence time is minimised over c; from c
follows alpha by c = alpha^2 / (1 - alpha).

Everything is batched over leading dimensions. Source: M. Zhuravlev, arXiv:2603.09067, sections 6 and 7, and its
companion papers. Regimes of single directions are in :mod:`lib.mass`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real

import torch
from torch import Tensor

from lib import checks

__all__ = [
    "QuadraticLearning",
    "alpha_of",
    "convergence_functional",
    "functional_minimum",
    "mixing_of",
    "quadratic_learning",
    "quadratic_losses",
    "regime_alpha",
]

MODELS = ("A", "B", "C", "D")


def regime_alpha(eigs) -> tuple[Tensor, Tensor]:
    """Mixing parameter that minimises functional A, in closed form.

    Parameters
    ----------
    eigs : array_like, (..., m)
        Eigenvalues of the Fisher information, above 0, in any order.

    Returns
    -------
    alpha : Tensor, (...)
        In [0, 1): 0 where the condition number is at most 2. (Above c of about 1e16 it rounds to 1.)
    c : Tensor, (...)
        Where the minimum lies: the largest eigenvalue minus twice the smallest, at least 0.

    Raises
    ------
    ValueError
        If an eigenvalue is not above 0.

    Examples
    --------
    >>> alpha, c = regime_alpha([0.5, 0.5, 2.0])
    >>> float(c), round(float(alpha), 6)
    (1.0, 0.618034)
    """
    eigs = check_eigs(eigs)
    c = functional_minimum(eigs, "A")
    return alpha_of(c), c


def alpha_of(c) -> Tensor:
    """Mixing parameter alpha of the metric M + c F: the root in [0, 1) of alpha^2 = c (1 - alpha).

    Parameters
    ----------
    c : array_like, (...)
        At least 0.

    Returns
    -------
    Tensor, (...)

    Raises
    ------
    ValueError
        If c is negative.

    Examples
    --------
    >>> alpha_of([0.0, 0.5]).tolist()
    [0.0, 0.5]
    """
    (c,) = checks.tensors(c=c)
    checks.require(c >= 0, "c must be at least 0", c)
    # (sqrt(c (c + 4)) - c) / 2 without the difference of nearly equal numbers.
    root = c.sqrt()
    return 2 * root / ((c + 4).sqrt() + root)


def mixing_of(alpha) -> Tensor:
    """Weight of F in the metric M + beta F: beta = alpha^2 / (1 - alpha).

    Parameters
    ----------
    alpha : array_like, (...)
        In [0, 1).

    Returns
    -------
    Tensor, (...)

    Raises
    ------
    ValueError
        If alpha lies outside [0, 1).

    Examples
    --------
    >>> float(mixing_of(0.5))
    0.5
    """
    (alpha,) = checks.tensors(alpha=alpha)
    checks.require((alpha >= 0) & (alpha < 1), "alpha must lie in [0, 1)", alpha)
    return alpha**2 / (1 - alpha)


def convergence_functional(eigs, c, model="A") -> Tensor:
    """A "convergence time" of learning with the metric g(c) = F^2 + c F, one of those printed in the paper.

    With kappa(g) the condition number and mu the eigenvalues of g: A is kappa(g) mu_max, B is kappa(g), C is mu_max, D
    is mu_max / sqrt(mu_min), which is the square root of A, and a number w stands for kappa(g)^w mu_max.

    Parameters
    ----------
    eigs : array_like, (..., m)
        Eigenvalues of F, above 0.
    c : array_like, (...)
        At least 0; broadcast against the leading dimensions of the eigenvalues.
    model : {"A", "B", "C", "D"}, float or Tensor
        The functional, or its exponent w, at least 0; a tensor is broadcast against the leading dimensions, too.

    Returns
    -------
    Tensor, (...)

    Raises
    ------
    ValueError
        If an eigenvalue is not above 0, c or w is negative, or there is no such functional.

    Examples
    --------
    >>> convergence_functional([1.0, 4.0], [0.0, 2.0], "A").tolist()
    [256.0, 192.0]
    """
    eigs, c = checks.tensors(eigs=eigs, c=c)
    eigs = check_eigs(eigs)
    checks.require(c >= 0, "c must be at least 0", c)
    checks.batch(eigs=eigs.shape[:-1], c=c.shape)
    weight = _check_model(model, eigs)
    low, high = eigs.amin(dim=-1), eigs.amax(dim=-1)
    smallest, largest = low * (low + c), high * (high + c)
    if model == "B":
        return largest / smallest
    if model == "C":
        return largest
    if model == "D":
        return largest / smallest.sqrt()
    return (largest / smallest) ** weight * largest


def functional_minimum(eigs, model="A") -> Tensor:
    """Where a functional is smallest over c >= 0, in closed form.

    Parameters
    ----------
    eigs, model
        As in :func:`convergence_functional`.

    Returns
    -------
    Tensor, (...)
        w lambda_max - (w + 1) lambda_min, at least 0, with w = 1 for A and D; infinite for B and 0 for C. It is above 0
        when the condition number of F passes (w + 1) / w.

    Raises
    ------
    ValueError
        As :func:`convergence_functional`.

    Examples
    --------
    >>> functional_minimum([1.0, 4.0], 0.5)
    tensor(0.5000, dtype=torch.float64)
    """
    eigs = check_eigs(eigs)
    weight = _check_model(model, eigs)
    low, high = eigs.amin(dim=-1), eigs.amax(dim=-1)
    if model == "B":
        return torch.full_like(low, float("inf"))
    if model == "C":
        return torch.zeros_like(low)
    return (weight * high - (weight + 1) * low).clamp(min=0)


@dataclass(frozen=True)
class QuadraticLearning:
    """How long learning a quadratic loss takes.

    Attributes
    ----------
    iterations : Tensor, (...)
        Steps of the best constant size until every error has shrunk to the tolerance.
    step : Tensor, (...)
        That size.
    flow_time : Tensor, (...)
        Units of time of the continuous flow to the same end.
    """

    iterations: Tensor
    step: Tensor
    flow_time: Tensor


def quadratic_learning(eigs, c, hessian: str = "identity", tolerance: float = 1e-6) -> QuadraticLearning:
    """Time to learn a quadratic loss with the metric g(c) = F^2 + c F, from one error in every eigendirection.

    Direction k relaxes at the rate r = h / (lambda (lambda + c)), h the curvature of the loss there. The best constant
    step is 2 / (r_min + r_max); it shrinks the slowest errors by (kappa - 1) / (kappa + 1) a step, kappa = r_max /
    r_min.

    Parameters
    ----------
    eigs : array_like, (..., m)
        Eigenvalues of F, above 0.
    c : array_like, (...)
        At least 0; broadcast against the leading dimensions of the eigenvalues.
    hessian : {"identity", "fisher"}
        Curvature of the loss: h = 1, or h = lambda.
    tolerance : float
        In (0, 1).

    Returns
    -------
    QuadraticLearning

    Raises
    ------
    ValueError
        If an eigenvalue is not above 0, c is negative, or another argument is out of range.

    Examples
    --------
    >>> quadratic_learning([1.0, 2.0], [0.0, 10.0]).iterations.tolist()
    [28.0, 14.0]
    """
    rates = _check_rates(eigs, c, hessian)
    tolerance = checks.real_number("tolerance", tolerance, lowest=0, highest=1, open_below=True)
    if tolerance == 1:
        raise ValueError("tolerance must be below 1, got 1")
    slowest, fastest = rates.amin(dim=-1), rates.amax(dim=-1)
    decades = math.log(tolerance)
    # Logarithm of (fastest - slowest) / (fastest + slowest), also where that rounds to 1. It is -inf for equal rates,
    # which are done after one step.
    shrinking = torch.log1p(-2 * slowest / (fastest + slowest))
    iterations = (decades / shrinking).ceil().clamp(min=1)
    return QuadraticLearning(iterations, 2 / (fastest + slowest), -decades / slowest)


def quadratic_losses(eigs, c, steps: int, hessian: str = "identity") -> Tensor:
    """Loss of a quadratic problem learned with the metric g(c) and the best constant step, step by step.

    Parameters
    ----------
    eigs, c, hessian
        As in :func:`quadratic_learning`; the errors of all eigendirections start at 1.
    steps : int
        At least 0.

    Returns
    -------
    Tensor, (..., steps + 1)
        Half the sum of h x^2 over the eigendirections.

    Raises
    ------
    ValueError
        As :func:`quadratic_learning`.

    Examples
    --------
    >>> quadratic_losses([1.0, 2.0], 0.0, steps=2)
    tensor([1.0000, 0.3600, 0.1296], dtype=torch.float64)
    """
    rates = _check_rates(eigs, c, hessian)
    steps = checks.integer("steps", steps, lowest=0)
    (eigs,) = checks.tensors(eigs=eigs)
    curvature = torch.ones_like(eigs) if hessian == "identity" else eigs
    step = 2 / (rates.amin(dim=-1, keepdim=True) + rates.amax(dim=-1, keepdim=True))
    error = torch.ones_like(rates)
    losses = []
    for _ in range(steps + 1):
        losses.append((curvature * error**2).sum(dim=-1) / 2)
        error = error - step * rates * error
    return torch.stack(losses, dim=-1)


def check_eigs(eigs) -> Tensor:
    (eigs,) = checks.tensors(eigs=eigs)
    checks.shape("eigs", eigs, None)
    checks.require(eigs > 0, "eigs must be above 0", eigs)
    return eigs


def _check_model(model, eigs: Tensor):
    """The exponent w of a functional (1 where its letter says the rest)."""
    if isinstance(model, str) or not isinstance(model, (Real, Tensor)):
        checks.choice("model", model, MODELS)
        return 1
    (_, weight) = checks.tensors(eigs=eigs, model=model)
    checks.require(weight >= 0, "model must be a letter from A to D or an exponent of at least 0", weight)
    checks.batch(eigs=eigs.shape[:-1], model=weight.shape)
    return weight


def _check_rates(eigs, c, hessian: str) -> Tensor:
    """Rates at which the eigendirections relax, (..., m)."""
    eigs, c = checks.tensors(eigs=eigs, c=c)
    eigs = check_eigs(eigs)
    checks.require(c >= 0, "c must be at least 0", c)
    checks.batch(eigs=eigs.shape[:-1], c=c.shape)
    checks.choice("hessian", hessian, ("identity", "fisher"))
    curvature = torch.ones_like(eigs) if hessian == "identity" else eigs
    return curvature / (eigs * (eigs + c[..., None]))
