"""What learning costs: regret against the best policy, its mean over seeds, and how fast it grows.

Episodes are the last dimension, numbered from 1; regret is in units of the return. Values of the policies played, not
sampled returns, give smooth curves and exact tests.

Source: T. Lattimore and C. Szepesvari, *Bandit algorithms* (2020), chapters 4 and 38.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from lib import checks

__all__ = ["Band", "confidence_band", "cumulative_regret", "growth_exponent"]


class Band(NamedTuple):
    """Mean over seeds with a confidence interval at every point of a curve.

    Attributes
    ----------
    mean, low, high : Tensor, (...)
    """

    mean: Tensor
    low: Tensor
    high: Tensor


def cumulative_regret(values, optimum) -> Tensor:
    """What has been lost so far by not playing the best policy.

    Parameters
    ----------
    values : array_like, (..., episodes)
        Value of the policy played in each episode, from the start.
    optimum : array_like, (...)
        Value of the best policy.

    Returns
    -------
    Tensor, (..., episodes)

    Raises
    ------
    ValueError
        If there is no episode or the shapes do not fit.

    Examples
    --------
    >>> cumulative_regret([0.0, 0.5, 1.0], 1.0).tolist()
    [1.0, 1.5, 1.5]
    """
    values, optimum = checks.tensors(values=values, optimum=optimum)
    checks.shape("values", values, None)
    checks.batch(values=values.shape[:-1], optimum=optimum.shape)
    return (optimum[..., None] - values).cumsum(dim=-1)


def confidence_band(curves, confidence: float = 0.95) -> Band:
    """Mean of curves over seeds and where it would lie for many more seeds.

    Student's t at every point by itself: right for seeds that scatter normally, too narrow for a few that differ
    wildly.

    Parameters
    ----------
    curves : array_like, (seeds, ...)
        At least two seeds, in the first dimension.
    confidence : float
        Chance that the interval covers, above 0 and below 1.

    Returns
    -------
    Band

    Raises
    ------
    ValueError
        If there are fewer than two seeds or confidence does not lie between 0 and 1.

    Examples
    --------
    >>> band = confidence_band([[1.0, 2.0], [3.0, 2.0]])
    >>> band.mean.tolist(), [round(value, 3) for value in band.high.tolist()]
    ([2.0, 2.0], [14.706, 2.0])
    """
    from scipy.stats import t

    (curves,) = checks.tensors(curves=curves)
    if curves.dim() == 0 or curves.shape[0] < 2:
        raise ValueError(f"curves must have at least two seeds in the first dimension, got {tuple(curves.shape)}")
    confidence = checks.real_number("confidence", confidence, 0, 1, open_below=True)
    if confidence == 1:
        raise ValueError("confidence must be below 1, got 1")
    seeds = curves.shape[0]
    width = float(t.ppf((1 + confidence) / 2, seeds - 1)) / math.sqrt(seeds)
    mean, reach = curves.mean(dim=0), width * curves.std(dim=0)
    return Band(mean, mean - reach, mean + reach)


def growth_exponent(regret, first: int = 1) -> Tensor:
    """Exponent b of a power law, regret after k episodes = a k^b, fitted to logarithms.

    About 1/2 for learning that is as good as it can be in general, 2/3 for exploring first and then committing, 1 for
    what never learns, 0 for what has stopped paying.

    Parameters
    ----------
    regret : array_like, (..., episodes)
        Cumulative regret, above 0 from episode ``first`` on.
    first : int
        First episode of the fit, from 1; at least two have to remain.

    Returns
    -------
    Tensor, (...)

    Raises
    ------
    ValueError
        If too few episodes remain or a regret that counts is not above 0.

    Examples
    --------
    >>> round(float(growth_exponent(torch.arange(1, 101) ** 0.5, first=10)), 6)
    0.5
    """
    (regret,) = checks.tensors(regret=regret)
    checks.shape("regret", regret, None)
    if regret.shape[-1] < 2:
        raise ValueError(f"regret must have at least two episodes, got shape {tuple(regret.shape)}")
    first = checks.integer("first", first, 1, regret.shape[-1] - 1)
    tail = regret[..., first - 1 :]
    checks.require(tail > 0, f"regret must be above 0 from episode {first} on", tail)
    episodes = torch.arange(first, regret.shape[-1] + 1, dtype=regret.dtype, device=regret.device).log()
    centred = episodes - episodes.mean()
    return (centred * tail.log()).sum(dim=-1) / (centred**2).sum()
