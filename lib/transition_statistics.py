"""Transition matrices estimated from counts, with errors, and a test of whether several periods share one.

Counts are (..., n, n), row from, column to.

Source: T. W. Anderson and L. A. Goodman, Ann. Math. Stat. 28 (1957) 89.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lib import checks

__all__ = ["GTest", "frobenius_distances", "g_test", "transition_errors", "transition_matrix"]


def transition_matrix(C, empty: str = "refuse") -> Tensor:
    """Maximum-likelihood transition matrix, the counts divided by their row sums.

    Parameters
    ----------
    C : array_like, (..., n, n)
        Counts of transitions, at least 0.
    empty : {"refuse", "stay"}
        What to do with a state that was never left nor kept: raise an error, or let it stay where it is.

    Returns
    -------
    Tensor, (..., n, n)
        Rows sum to 1.

    Raises
    ------
    ValueError
        If C is not square, has negative entries, or has an empty row that is not allowed.

    Examples
    --------
    >>> transition_matrix([[3, 1], [0, 5]]).tolist()
    [[0.75, 0.25], [0.0, 1.0]]
    """
    C, total = _counts("C", C)
    checks.choice("empty", empty, ("refuse", "stay"))
    if empty == "refuse":
        checks.require(total > 0, lambda: f"C must have counts in every row, but row {_first(total == 0)} has none")
        return C / total
    kept = torch.eye(C.shape[-1], dtype=C.dtype, device=C.device)
    return torch.where(total > 0, C / torch.where(total > 0, total, torch.ones_like(total)), kept)


def transition_errors(C) -> Tensor:
    """Standard errors of the transition matrix, sqrt(P (1 - P) / n) with n the count of the row.

    Parameters
    ----------
    C : array_like, (..., n, n)
        Counts of independent transitions, at least 0; none of the rows empty. Neighbouring pixels are not independent:
        for maps the true errors are larger.

    Returns
    -------
    Tensor, (..., n, n)

    Raises
    ------
    ValueError
        If C is not square, has negative entries, or has an empty row.

    Examples
    --------
    >>> transition_errors([[50, 50], [0, 5]]).tolist()
    [[0.05, 0.05], [0.0, 0.0]]
    """
    P = transition_matrix(C)
    C, total = _counts("C", C)
    return (P * (1 - P) / total).sqrt()


class GTest(NamedTuple):
    """Result of :func:`g_test`.

    Attributes
    ----------
    G : Tensor, (...)
        Likelihood ratio statistic, at least 0; float64, for in single precision millions of pixels leave no digits.
    df : Tensor, (...)
        Degrees of freedom, int64.
    p : Tensor, (...)
        Probability of a G at least as large if all periods share one matrix and transitions are independent.
    """

    G: Tensor
    df: Tensor
    p: Tensor


def g_test(counts) -> GTest:
    """Test whether several periods share one transition matrix.

    G = 2 sum of C_t ln(P_t / P) over periods and transitions, with P from the pooled counts, is chi-square distributed
    with (periods - 1) (states seen) (n - 1) degrees of freedom if they do.

    Parameters
    ----------
    counts : array_like, (..., periods, n, n)
        Counts of transitions in at least two periods, at least two states.

    Returns
    -------
    GTest
        ``G``, ``df`` and ``p``.

    Raises
    ------
    ValueError
        If the shape does not fit, a count is negative, or there are no counts at all.

    Examples
    --------
    >>> same = [[30, 10], [5, 55]]
    >>> G, df, p = g_test([same, same])
    >>> float(G), int(df), float(p)
    (0.0, 2, 1.0)
    """
    counts, total = (values.double() for values in _periods(counts))
    periods, n = counts.shape[-3], counts.shape[-1]
    pooled = counts.sum(dim=-3)
    row = pooled.sum(dim=-1, keepdim=True)
    # ln(P_t / P) is the difference of four logarithms of counts; xlogy makes 0 ln 0 nothing.
    within = torch.xlogy(counts, counts).sum(dim=(-3, -2, -1)) - torch.xlogy(total, total).sum(dim=(-3, -2, -1))
    together = torch.xlogy(pooled, pooled).sum(dim=(-2, -1)) - torch.xlogy(row, row).sum(dim=(-2, -1))
    G = (2 * (within - together)).clamp(min=0)
    df = (periods - 1) * (row > 0).sum(dim=(-2, -1)) * (n - 1)
    p = torch.special.gammaincc(df.to(G.dtype) / 2, G / 2)
    return GTest(G, df, p)


def frobenius_distances(counts) -> Tensor:
    """Distance of the matrix of each period from that of the pooled counts, the root of summed squares.

    Parameters
    ----------
    counts : array_like, (..., periods, n, n)
        As in :func:`g_test`. A state that a period does not show adds nothing to its distance.

    Returns
    -------
    Tensor, (..., periods)

    Raises
    ------
    ValueError
        As :func:`g_test`.

    Examples
    --------
    >>> frobenius_distances([[[1, 1], [0, 2]], [[1, 1], [2, 0]]]).tolist()
    [0.7071..., 0.7071...]
    """
    counts, total = _periods(counts)
    pooled = counts.sum(dim=-3, keepdim=True)
    shared = pooled / pooled.sum(dim=-1, keepdim=True).clamp(min=torch.finfo(counts.dtype).tiny)
    own = counts / torch.where(total > 0, total, torch.ones_like(total))
    return torch.where(total > 0, own - shared, torch.zeros_like(own)).square().sum(dim=(-2, -1)).sqrt()


def _first(failing: Tensor) -> int:
    """Row (the dimension before the last) of the first true entry."""
    return int(failing.nonzero()[0, -2])


def _counts(name: str, C) -> tuple[Tensor, Tensor]:
    (C,) = checks.tensors(**{name: C})
    checks.square(name, C)
    checks.require(C >= 0, f"{name} must have counts of at least 0", C)
    return C, C.sum(dim=-1, keepdim=True)


def _periods(counts) -> tuple[Tensor, Tensor]:
    counts, total = _counts("counts", counts)
    if counts.dim() < 3 or counts.shape[-3] < 2 or counts.shape[-1] < 2:
        raise ValueError(
            "counts must have shape (..., periods, n, n) with at least two periods and two states, "
            f"got {tuple(counts.shape)}"
        )
    checks.require(counts.sum(dim=(-3, -2, -1)) > 0, "counts must not all be 0")
    return counts, total
