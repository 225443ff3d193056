"""Who is left? Two age-structured species that only harm each other: x' = A x - B y, y' = C y - D x.

Flip the sign of y and the recursion becomes non-negative, N = [[A, B], [D, C]]. If N is primitive, Perron and
Frobenius give its left vector (u_x; u_y), and the sign of g = u_x . x0 - u_y . y0 at step 0 decides which species
stays positive: *Last Species Standing*. Purpose of the theorem: Gilman et al., arXiv:2412.19831; this form and its
proof are reconstructed.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lib import checks, projection
from lib.live import tracing

__all__ = ["Standing", "last_species_standing", "mirror_matrix", "standing_margin", "tie_ratio", "winner_map"]


class Standing(NamedTuple):
    """Outcome of :func:`last_species_standing`: winner 0 (x), 1 (y) or -1 (tie); margin from -1 to 1; growth factor."""

    winner: int
    margin: float
    rho: float


def mirror_matrix(A, B, C, D) -> Tensor:
    """The non-negative matrix N = [[A, B], [D, C]] that competition becomes when y changes sign.

    Parameters
    ----------
    A, B, C, D : array_like, (..., m, m)
        Entries at least 0.

    Returns
    -------
    Tensor, (..., 2 m, 2 m)

    Raises
    ------
    ValueError
        If the shapes differ or an entry is negative.

    Examples
    --------
    >>> mirror_matrix([[1.0]], [[0.05]], [[1.0]], [[0.1]])
    tensor([[1.0000, 0.0500],
            [0.1000, 1.0000]], dtype=torch.float64)
    """
    # Predator-prey has +D below; only B has to change sign.
    M = projection.block_matrix(A, B, C, D, kind="predator_prey")
    half = M.shape[-1] // 2
    sign = torch.ones_like(M)
    sign[..., :half, half:] = -1
    return M * sign


def standing_margin(A, B, C, D, x0, y0) -> Tensor:
    """How clearly the theorem names a winner: (u_x . x0 - u_y . y0) / (u_x . x0 + u_y . y0).

    Parameters
    ----------
    A, B, C, D : array_like, (..., m, m)
        Entries at least 0; N = [[A, B], [D, C]] primitive.
    x0, y0 : array_like, (..., m)
        Counts at step 0, at least 0, not all 0.

    Returns
    -------
    Tensor, (...)
        Positive: x stands last; negative: y; 0: knife edge. +1 and -1 when one species is absent. Does not depend on
        units.

    Raises
    ------
    ValueError
        On a shape mismatch, negative entries or counts, an N that is reducible or periodic, or two empty populations.

    Examples
    --------
    >>> round(float(standing_margin([[1.0]], [[0.05]], [[1.0]], [[0.1]], [10.0], [10.0])), 6)
    0.171573
    """
    A, B, C, D, x0, y0 = checks.tensors(A=A, B=B, C=C, D=D, x0=x0, y0=y0)
    N = mirror_matrix(A, B, C, D)
    _check_counts(N, x0=x0, y0=y0)
    _check_primitive(N)
    return _margin(projection.leading_projector(N), x0, y0)


def last_species_standing(A, B, C, D, x0, y0) -> Standing:
    """Name the species that stays positive under linear competition, from the state at step 0 alone.

    Parameters
    ----------
    A, B, C, D : array_like, (m, m)
        Entries at least 0; N = [[A, B], [D, C]] primitive.
    x0, y0 : array_like, (m,)
        Counts at step 0, at least 0, not all 0.

    Returns
    -------
    Standing
        ``(winner, margin, rho)``: 0 for x, 1 for y, -1 for an exact tie; the margin of :func:`standing_margin`; the
        growth factor of the winner, rho(N).

    Raises
    ------
    ValueError
        On a shape mismatch, negative entries or counts, an N that is reducible (then no single winner is decided) or
        periodic.

    Examples
    --------
    Lanchester's square law: x wins if d x0**2 > b y0**2.

    >>> last_species_standing([[1.0]], [[0.05]], [[1.0]], [[0.1]], [10.0], [14.2]).winner
    1
    """
    A, B, C, D, x0, y0 = checks.tensors(A=A, B=B, C=C, D=D, x0=x0, y0=y0)
    for name, tensor, dimensions in (("A", A, 2), ("B", B, 2), ("C", C, 2), ("D", D, 2), ("x0", x0, 1), ("y0", y0, 1)):
        if tensor.dim() != dimensions:
            raise ValueError(
                f"{name} must have {dimensions} dimension(s), got shape {tuple(tensor.shape)}; "
                "standing_margin takes batches"
            )
    margin = float(standing_margin(A, B, C, D, x0, y0))
    winner = -1 if margin == 0 else int(margin < 0)
    return Standing(winner, margin, float(projection.growth_factor(mirror_matrix(A, B, C, D))))


def tie_ratio(A, B, C, D, ages_x, ages_y) -> Tensor:
    """Slope of the knife edge g = 0 in the plane of totals: the y total that ties with an x total of 1.

    Parameters
    ----------
    A, B, C, D : array_like, (..., m, m)
        As in :func:`standing_margin`.
    ages_x, ages_y : array_like, (..., m)
        Shares of the age classes at step 0, at least 0; each should sum to 1.

    Returns
    -------
    Tensor, (...)

    Raises
    ------
    ValueError
        As :func:`standing_margin`.

    Examples
    --------
    >>> round(float(tie_ratio([[1.0]], [[0.05]], [[1.0]], [[0.1]], [1.0], [1.0])) * 10, 2)
    14.14
    """
    A, B, C, D, ages_x, ages_y = checks.tensors(A=A, B=B, C=C, D=D, ages_x=ages_x, ages_y=ages_y)
    N = mirror_matrix(A, B, C, D)
    _check_counts(N, ages_x=ages_x, ages_y=ages_y)
    _check_primitive(N)
    value_x, value_y = projection.leading_projector(N).sum(dim=-2).chunk(2, dim=-1)
    return (value_x * ages_x).sum(dim=-1) / (value_y * ages_y).sum(dim=-1)


def winner_map(A, B, C, D, x_totals, y_totals, ages_x, ages_y, steps: int = 60, clip: bool = False) -> Tensor:
    """Simulate competition from a grid of starting totals and say who is left.

    Parameters
    ----------
    A, B, C, D : array_like, (m, m)
        Entries at least 0.
    x_totals, y_totals : array_like, (p,) and (q,)
        Starting totals, at least 0.
    ages_x, ages_y : array_like, (m,)
        Shares of the age classes at step 0.
    steps : int
        Number of steps, at least 1.
    clip : bool
        Replace negative entries by 0 after each step.

    Returns
    -------
    Tensor, (q, p)
        ``(X - Y) / (|X| + |Y|)`` of the totals after the last step: 1 where only x is left (positive), -1 where only
        y is, between where that is not yet decided.

    Raises
    ------
    ValueError
        If the shapes do not fit or an entry is negative.

    Examples
    --------
    >>> winner_map([[1.0]], [[0.05]], [[1.0]], [[0.1]], [10.0], [14.0, 14.2], [1.0], [1.0], steps=200)
    tensor([[ 1.],
            [-1.]], dtype=torch.float64)
    """
    A, B, C, D, x_totals, y_totals, ages_x, ages_y = checks.tensors(
        A=A, B=B, C=C, D=D, x_totals=x_totals, y_totals=y_totals, ages_x=ages_x, ages_y=ages_y
    )
    M = projection.block_matrix(A, B, C, D, kind="competition")
    if M.dim() != 2:
        raise ValueError(f"A, B, C and D must be single matrices, got shape {tuple(A.shape)}")
    for name, totals in (("x_totals", x_totals), ("y_totals", y_totals)):
        if totals.dim() != 1:
            raise ValueError(f"{name} must have shape (n,), got {tuple(totals.shape)}")
        checks.require(totals >= 0, f"{name} must be at least 0", totals)
    _check_counts(M, ages_x=ages_x, ages_y=ages_y)
    clip = checks.flag("clip", clip)
    steps = checks.integer("steps", steps, lowest=1)
    x = (x_totals[:, None] * ages_x).expand(y_totals.shape[0], -1, -1)
    y = (y_totals[:, None] * ages_y)[:, None].expand(-1, x_totals.shape[0], -1)
    z = torch.cat([x, y], dim=-1).flatten(end_dim=1)
    # Only signs and ratios matter: dividing by the largest row sum of |M| keeps every number in range.
    M = M / M.abs().sum(dim=-1).amax()
    if clip:
        for _ in range(steps):
            z = (z @ M.mT).clamp(min=0)
    else:
        z = z @ torch.linalg.matrix_power(M, steps).mT
    total_x, total_y = z.unflatten(-1, (2, -1)).sum(dim=-1).unbind(dim=-1)
    size = (total_x.abs() + total_y.abs()).clamp(min=torch.finfo(z.dtype).tiny)
    return ((total_x - total_y) / size).unflatten(0, (y_totals.shape[0], x_totals.shape[0]))


def _margin(projector: Tensor, x0: Tensor, y0: Tensor) -> Tensor:
    value_x, value_y = projector.sum(dim=-2).chunk(2, dim=-1)
    worth_x, worth_y = (value_x * x0).sum(dim=-1), (value_y * y0).sum(dim=-1)
    return (worth_x - worth_y) / (worth_x + worth_y)


def _check_counts(matrix: Tensor, **counts: Tensor) -> None:
    for name, ages in counts.items():
        checks.shape(name, ages, matrix.shape[-1] // 2)
        checks.require(ages >= 0, f"{name} must be at least 0", ages)
    checks.batch(matrices=matrix.shape[:-2], **{name: ages.shape[:-1] for name, ages in counts.items()})
    x, y = counts.values()
    checks.require(x.sum(dim=-1) + y.sum(dim=-1) > 0, f"{' and '.join(counts)} must not all be 0")


def _check_primitive(N: Tensor) -> None:
    if tracing.active():
        return
    size = N.shape[-1]
    pattern = (N > 0).to(torch.float32)
    reach = ((torch.eye(size, device=N.device) + pattern) > 0).to(torch.float32)
    for _ in range(size.bit_length()):
        reach = (reach @ reach > 0).to(torch.float32)
    checks.require(
        reach > 0,
        "N = [[A, B], [D, C]] must be irreducible (each species reaches the other): it decides no single winner",
    )
    # Wielandt: a primitive pattern has only positive entries from power (n - 1)^2 + 1 on.
    power = pattern
    for _ in range(((size - 1) ** 2).bit_length()):
        power = (power @ power > 0).to(torch.float32)
    checks.require(
        power > 0, "N = [[A, B], [D, C]] must be primitive, but it is periodic: the winner alternates for ever"
    )
