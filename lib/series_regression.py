"""Learning curves that can be solved: a series of coefficients seen in noise, of which the first few are kept.

The unknown coefficients fall as c_k = k^-(s + 1/2), smoothness s, and m examples show each of them with noise of
standard deviation sigma / sqrt(m). A model of size p keeps the first p: its risk is what it leaves out and the noise it
takes in. The best size grows and the risk falls as powers of m, with exponents that are known.

Source: A. B. Tsybakov, *Introduction to Nonparametric Estimation* (2009), sections 1.7 and 3 (series estimators).
"""

from __future__ import annotations

import torch
from torch import Tensor

from lib import checks

__all__ = ["series_exponents", "series_risk", "simulate_series", "truncation_risk"]

# Bernoulli numbers over factorials, B_2j / (2j)!, of the Euler-Maclaurin formula.
CORRECTIONS = (1 / 12, -1 / 720, 1 / 30240, -1 / 1209600, 1 / 47900160)
SUMMED = 12  # terms summed one by one before the formula takes over


def series_exponents(s) -> tuple[Tensor, Tensor]:
    """Exponents of the best size and of its risk for many examples.

    Parameters
    ----------
    s : array_like, (...)
        Smoothness, above 0.

    Returns
    -------
    size, risk : Tensor, (...)
        beta_p = 1 / (2s + 1) and beta_g = -2s / (2s + 1).

    Raises
    ------
    ValueError
        If a smoothness is not above 0.

    Examples
    --------
    >>> size, risk = series_exponents(0.25)
    >>> float(size), float(risk)
    (0.6666666666666666, -0.3333333333333333)
    """
    (s,) = checks.tensors(s=s)
    checks.require(s > 0, "s must be above 0", s)
    return 1 / (2 * s + 1), -2 * s / (2 * s + 1)


def truncation_risk(p, s, sigma, m, terms: int | None = 1_000_000) -> Tensor:
    """Expected squared error of a model that keeps the first p coefficients.

    A model of fixed size stops improving: for many examples what it leaves out remains.

    Parameters
    ----------
    p : array_like, (...)
        Size of the model, from 0 to ``terms``; whole numbers.
    s : array_like, (...)
        Smoothness, above 0.
    sigma : array_like, (...)
        Standard deviation of the noise of one example, at least 0.
    m : array_like, (...)
        Examples, above 0.
    terms : int, optional
        Coefficients that there are; None for infinitely many.

    Returns
    -------
    Tensor, (...)
        sum over p < k <= terms of c_k^2, plus p sigma^2 / m.

    Raises
    ------
    ValueError
        If an argument lies outside its range or the shapes do not broadcast.

    Examples
    --------
    >>> risk = truncation_risk([0, 1, 2], s=0.5, sigma=1, m=10, terms=2)
    >>> risk.tolist()  # of the squares 1 and 1/4
    [1.25, 0.35, 0.2]
    """
    p, s, sigma, m = checks.tensors(p=p, s=s, sigma=sigma, m=m)
    terms = _check(s, sigma, m, terms)
    checks.batch(p=p.shape, s=s.shape, sigma=sigma.shape, m=m.shape)
    most = float("inf") if terms is None else terms
    checks.require((p >= 0) & (p <= most) & (p == p.floor()), f"p must be a whole number from 0 to {most}", p)
    return _risk(p, s, sigma**2 / m, terms)


def series_risk(s, sigma, m, terms: int | None = 1_000_000) -> tuple[Tensor, Tensor]:
    """Best size of a model and its risk: every coefficient above the noise is kept.

    Parameters
    ----------
    s : array_like, (...)
        Smoothness, above 0: c_k = k^-(s + 1/2).
    sigma : array_like, (...)
        Standard deviation of the noise of one example, at least 0 (above 0 where ``terms`` is None).
    m : array_like, (...)
        Examples, above 0.
    terms : int, optional
        Coefficients that there are; None for infinitely many. Where the best size comes near ``terms``, a finite sum
        looks like a power law with another exponent.

    Returns
    -------
    p_star : Tensor, (...)
        The largest k with c_k^2 > sigma^2 / m, at most ``terms``; 0 if there is none. A tie, to twelve digits, is left
        out.
    risk : Tensor, (...)
        Its expected squared error.

    Raises
    ------
    ValueError
        If an argument lies outside its range or the shapes do not broadcast.

    Examples
    --------
    >>> p_star, risk = series_risk(s=0.5, sigma=1, m=[256, 4096])
    >>> p_star.tolist(), risk.tolist()
    ([15.0, 63.0], [0.1230865, 0.0311276])
    """
    s, sigma, m = checks.tensors(s=s, sigma=sigma, m=m)
    terms = _check(s, sigma, m, terms)
    checks.batch(s=s.shape, sigma=sigma.shape, m=m.shape)
    if terms is None:
        checks.require(sigma > 0, "sigma must be above 0 where terms is None", sigma)
    noise = sigma**2 / m
    # Powers of two give ties, which rounding must not decide: here as on the page.
    p_star = ((1 / noise) ** (1 / (2 * s + 1)) * (1 - 1e-12)).ceil() - 1
    p_star = p_star.clamp(min=0, max=terms)
    return p_star, _risk(p_star, s, noise, terms)


def simulate_series(
    s,
    sigma,
    m,
    generator: torch.Generator,
    repeats: int = 40,
    terms: int = 2048,
) -> Tensor:
    """Squared errors of models of every size on coefficients seen in drawn noise.

    Averaged over the repeats this is :func:`truncation_risk` for each size, and its least value over the sizes
    :func:`series_risk`. The least value of every single repeat is smaller: choosing in hindsight pays, and most where
    the curve is flat, so that exponents measured in this way are too small by a few hundredths.

    Parameters
    ----------
    s, sigma, m : array_like, (...)
        As in :func:`series_risk`.
    generator : torch.Generator
        Source of randomness.
    repeats : int
        Independent draws.
    terms : int
        Coefficients that there are.

    Returns
    -------
    Tensor, (repeats, ..., terms + 1)
        For the sizes 0 to ``terms``.

    Raises
    ------
    ValueError
        If an argument lies outside its range or the shapes do not broadcast.

    Examples
    --------
    >>> errors = simulate_series(0.5, 1.0, [256, 4096], torch.Generator().manual_seed(0))
    >>> errors.shape
    torch.Size([40, 2, 2049])
    >>> errors.mean(dim=0).argmin(dim=-1)  # series_risk says 15 and 63
    tensor([16, 62])
    """
    s, sigma, m = checks.tensors(s=s, sigma=sigma, m=m)
    generator = checks.generator("generator", generator)
    repeats = checks.integer("repeats", repeats, lowest=1)
    terms = _check(s, sigma, m, checks.integer("terms", terms, lowest=1))
    batch = checks.batch(s=s.shape, sigma=sigma.shape, m=m.shape)
    k = torch.arange(1, terms + 1, dtype=m.dtype, device=m.device)
    squares = k ** -(2 * s + 1)[..., None]
    drawn = torch.randn((repeats, *batch, terms), generator=generator, dtype=m.dtype, device=generator.device)
    noise = (sigma**2 / m)[..., None] * drawn.to(m.device).square()
    # Keeping one more coefficient takes in its noise and no longer leaves it out.
    none_kept = squares.sum(dim=-1, keepdim=True).expand(repeats, *batch, 1)
    return torch.cat([none_kept, none_kept + (noise - squares).cumsum(dim=-1)], dim=-1)


def _risk(p: Tensor, s: Tensor, noise: Tensor, terms: int | None) -> Tensor:
    left_out = _tail(p + 1, 2 * s + 1)
    if terms is not None:
        beyond = _tail(torch.full_like(p, terms + 1), 2 * s + 1)
        left_out = torch.where(p < terms, left_out - beyond, torch.zeros_like(left_out))
    return left_out + p * noise


def _tail(start: Tensor, exponent: Tensor) -> Tensor:
    """Sum of k^-exponent over all k >= start (Hurwitz' zeta function), to the precision of float64."""
    start, exponent = torch.broadcast_tensors(start, exponent)
    k = start[..., None] + torch.arange(SUMMED, dtype=start.dtype, device=start.device)
    summed = (k ** -exponent[..., None]).sum(dim=-1)
    x = start + SUMMED
    rest = x ** (1 - exponent) / (exponent - 1) + x**-exponent / 2
    derivative = exponent * x ** (-exponent - 1)
    for order, correction in enumerate(CORRECTIONS):
        rest = rest + correction * derivative
        derivative = derivative * (exponent + 2 * order + 1) * (exponent + 2 * order + 2) / x**2
    return summed + rest


def _check(s: Tensor, sigma: Tensor, m: Tensor, terms: int | None) -> int | None:
    checks.require(s > 0, "s must be above 0", s)
    checks.require(sigma >= 0, "sigma must be at least 0", sigma)
    checks.require(m > 0, "m must be above 0", m)
    return None if terms is None else checks.integer("terms", terms, lowest=1)
