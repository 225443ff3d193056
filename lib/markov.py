"""Markov chains: absorption, the stationary law and how fast it is approached.

States are the last two dimensions: row from, column to. One step is the time between two observations (a year for
annual maps). Absorbing chains are in :mod:`lib.absorption`, counting transitions on maps in :mod:`lib.category_maps`,
estimating the matrix and testing whether it stays the same in :mod:`lib.transition_statistics`; all can be imported
from here.

Source: J. G. Kemeny and J. L. Snell, *Finite Markov chains* (1960), chapters III and IV.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lib import _chains, checks
from lib.absorption import AbsorbingTimes, absorbing_times, absorption_probabilities, simulate_absorption
from lib.category_maps import (
    class_fractions,
    label_noise_matrix,
    label_noise_retention,
    relabel_at_random,
    transition_counts,
    transition_series,
)
from lib.live import tracing
from lib.transition_statistics import GTest, frobenius_distances, g_test, transition_errors, transition_matrix

__all__ = [
    "mixing_time",
    "spectral_gap",
    "stationary_law",
    "AbsorbingTimes",
    "GTest",
    "absorbing_times",
    "absorption_probabilities",
    "class_fractions",
    "frobenius_distances",
    "g_test",
    "label_noise_matrix",
    "label_noise_retention",
    "relabel_at_random",
    "simulate_absorption",
    "transition_counts",
    "transition_errors",
    "transition_matrix",
    "transition_series",
]


def stationary_law(P) -> Tensor:
    """Distribution that the chain keeps, pi P = pi.

    Parameters
    ----------
    P : array_like, (..., n, n)
        Transition matrices with one closed class of states each.

    Returns
    -------
    Tensor, (..., n)

    Raises
    ------
    ValueError
        If P has negative entries or rows that do not sum to 1, or more than one closed class, so that the law is not
        unique.

    Examples
    --------
    >>> stationary_law([[0.9, 0.1], [0.3, 0.7]]).tolist()
    [0.75, 0.25]
    """
    P = _chains.probabilities(P)
    n = P.shape[-1]
    if not tracing.active():
        reached = _chains.reached(P)
        # One closed class means that some state can be reached from every state.
        unique = reached.all(dim=-2).any(dim=-1)
        checks.require(unique, "P must have one closed class of states, but there are several and no unique law")
    identity = torch.eye(n, dtype=P.dtype, device=P.device)
    # pi (I - P + 1 1^T / n) = 1^T / n: the balance equations and the sum in one regular system.
    system = (identity - P + 1 / n).mT
    return _chains.solve(system, torch.full_like(P[..., :1], 1 / n))[..., 0].clamp(min=0)


def spectral_gap(P) -> Tensor:
    """Distance of the second largest eigenvalue modulus from 1.

    Parameters
    ----------
    P : array_like, (..., n, n)
        Transition matrices of at least two states.

    Returns
    -------
    Tensor, (...)
        From 0 (never forgets where it started, or periodic) to 1.

    Raises
    ------
    ValueError
        If P has fewer than two states, negative entries or rows that do not sum to 1.

    Examples
    --------
    >>> round(float(spectral_gap([[0.9, 0.1], [0.3, 0.7]])), 12)
    0.4
    """
    return 1 - _second(P)


def mixing_time(P) -> Tensor:
    """Steps in which the memory of the start fades by a factor e, -1 / ln of the second largest eigenvalue modulus.

    Parameters
    ----------
    P : array_like, (..., n, n)
        Transition matrices of at least two states.

    Returns
    -------
    Tensor, (...)
        In steps; infinite without a spectral gap.

    Raises
    ------
    ValueError
        If P has fewer than two states, negative entries or rows that do not sum to 1.

    Examples
    --------
    >>> round(float(mixing_time([[0.9, 0.1], [0.3, 0.7]])), 6)
    1.957615
    """
    return (1 / _second(P).log()).abs()


def _second(P) -> Tensor:
    P = _chains.probabilities(P)
    if P.shape[-1] < 2:
        raise ValueError(f"P must have at least two states, got shape {tuple(P.shape)}")
    moduli = torch.linalg.eigvals(P).abs().sort(dim=-1, descending=True).values
    return moduli[..., 1].clamp(max=1)
