"""Age-structured predator-prey and competitive populations: the models of the chapter *Leslie*.

This module holds the predator-prey recursion in its complex form and brings together what the chapter uses:
projection matrices (:mod:`lib.projection`), competition (:mod:`lib.competition`, :mod:`lib.competition_ensemble`), the
density-dependent model and its fits (:mod:`lib.leslie_gower`, :mod:`lib.leslie_fit`, :mod:`lib.lotka_volterra`) and
the Hamiltonian form (:mod:`lib.hamiltonian`).

Source: P. Gilman, S. J. Miller, D. Son, S. Waheed, J. Wang, "Leslie Population Models in Predator-prey and Competitive
populations", arXiv:2412.19831. The paper's exact objects were not available; the forms here are reconstructed in its
spirit.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lib import checks
from lib.competition import (
    Standing,
    last_species_standing,
    mirror_matrix,
    standing_margin,
    tie_ratio,
    winner_map,
)
from lib.competition_ensemble import EnsembleResult, march, random_competition, standing_ensemble
from lib.hamiltonian import (
    fock_lift,
    fractional_steps,
    hamiltonian,
    hermitian_parts,
    occupations,
    two_class_hamiltonian,
)
from lib.leslie_fit import CompetitionFit, fit_leslie_gower, fit_linear_competition, gause_paramecium, log_rmse
from lib.leslie_gower import (
    LeslieGower,
    LinearCompetition,
    beverton_holt,
    leslie_gower_totals,
    linear_competition_totals,
)
from lib.lotka_volterra import fit_logistic, fit_lotka_volterra, logistic, lotka_volterra
from lib.projection import (
    block_matrix,
    eigenvalues,
    evolve,
    evolve_normalised,
    growth_factor,
    leading_projector,
    leslie_matrix,
    net_reproduction,
    stable_age_distribution,
)

__all__ = [
    "CompetitionFit",
    "EnsembleResult",
    "LeslieGower",
    "LinearCompetition",
    "Standing",
    "beverton_holt",
    "binomial_form",
    "block_matrix",
    "eigenvalues",
    "evolve",
    "evolve_complex",
    "evolve_normalised",
    "extinction_step",
    "fit_leslie_gower",
    "fit_linear_competition",
    "fit_logistic",
    "fit_lotka_volterra",
    "fock_lift",
    "fractional_steps",
    "gause_paramecium",
    "growth_factor",
    "hamiltonian",
    "hermitian_parts",
    "last_species_standing",
    "leading_projector",
    "leslie_gower_totals",
    "leslie_matrix",
    "linear_competition_totals",
    "log_rmse",
    "logistic",
    "lotka_volterra",
    "march",
    "mirror_matrix",
    "net_reproduction",
    "occupations",
    "perturbed_growth",
    "random_competition",
    "rotation_angle",
    "stable_age_distribution",
    "standing_ensemble",
    "standing_margin",
    "tie_ratio",
    "two_class_hamiltonian",
    "winner_map",
]


def evolve_complex(A, B, x0, y0, steps: int) -> Tensor:
    """Predator and prey as one complex population: w = x + i y, w' = (A + i B) w.

    The recursion x' = A x - B y, y' = A y + B x in one line; the real part is the prey, the imaginary part the
    predator.

    Parameters
    ----------
    A, B : array_like, (..., m, m)
        What each species does alone, and what they do to each other; entries at least 0.
    x0, y0 : array_like, (..., m)
        Counts at step 0.
    steps : int
        Number of steps, at least 0.

    Returns
    -------
    Tensor, complex, (..., steps + 1, m)

    Raises
    ------
    ValueError
        If the shapes do not fit, an entry of A or B is negative, or ``steps`` is negative.

    Examples
    --------
    >>> evolve_complex([[1.0]], [[0.5]], [2.0], [0.0], steps=2)[:, 0]
    tensor([2.0000+0.j, 2.0000+1.j, 1.5000+2.j], dtype=torch.complex128)
    """
    A, B, x0, y0 = _check_pair(A, B, x0, y0)
    steps = checks.integer("steps", steps, lowest=0)
    matrix = torch.complex(A, B)
    w = torch.complex(x0, y0).expand(*torch.broadcast_shapes(A.shape[:-2], x0.shape[:-1]), -1)
    path = [w]
    for _ in range(steps):
        w = (matrix @ w[..., None])[..., 0]
        path.append(w)
    return torch.stack(path, dim=-2)


def binomial_form(A, B, x0, y0, steps: int) -> Tensor:
    """State after a number of steps by the binomial theorem, for matrices that commute.

    Parameters
    ----------
    A, B, x0, y0, steps
        As in :func:`evolve_complex`; A B = B A.

    Returns
    -------
    Tensor, complex, (..., m)
        Prey in the real part, predator in the imaginary part.

    Raises
    ------
    ValueError
        As :func:`evolve_complex`, and if A and B do not commute.

    Examples
    --------
    >>> binomial_form([[1.0]], [[0.5]], [2.0], [0.0], steps=2)
    tensor([1.5000+2.j], dtype=torch.complex128)
    """
    A, B, x0, y0 = _check_pair(A, B, x0, y0)
    steps = checks.integer("steps", steps, lowest=0)
    _check_commute(A, B)
    total = torch.zeros_like(torch.complex(A, B))
    for k in range(steps + 1):
        term = math.comb(steps, k) * (torch.linalg.matrix_power(A, steps - k) @ torch.linalg.matrix_power(B, k))
        total = total + (1j**k) * term
    return (total @ torch.complex(x0, y0)[..., None])[..., 0]


def perturbed_growth(A, B, order: int = 2) -> Tensor:
    """Leading eigenvalue of A + i B by perturbation theory in B.

    First order: lambda_1 + i u^T B v. Second order subtracts u^T B S B v, where S = sum over the other modes of
    v_k u_k^T / (lambda_1 - lambda_k) is the reduced resolvent of A; it is found by one linear solve, without the other
    modes.

    Parameters
    ----------
    A : array_like, (..., m, m)
        Entries at least 0, with a simple leading eigenvalue.
    B : array_like, (..., m, m)
        Entries at least 0, small compared with A.
    order : {1, 2}

    Returns
    -------
    Tensor, complex, (...)
        Its absolute value approximates the growth factor, its angle the rotation per step (radians).

    Raises
    ------
    ValueError
        If the shapes differ, an entry is negative, the order is not 1 or 2, or the leading eigenvalue of A is not
        simple.

    Examples
    --------
    >>> perturbed_growth([[1.0]], [[0.1]])
    tensor(1.+0.1000j, dtype=torch.complex128)
    """
    A, B = _check_matrices(A, B)
    checks.choice("order", order, (1, 2))
    leading = growth_factor(A)
    projector = leading_projector(A)
    imaginary = _trace(projector @ B)
    if order == 1:
        return torch.complex(leading, imaginary)
    identity = torch.eye(A.shape[-1], dtype=A.dtype, device=A.device)
    resolvent = torch.linalg.solve(leading[..., None, None] * identity - A + projector, identity - projector)
    return torch.complex(leading - _trace(projector @ B @ resolvent @ B), imaginary)


def rotation_angle(A, B) -> Tensor:
    """Angle by which prey and predator turn into each other per step, in the leading mode of commuting A and B.

    Parameters
    ----------
    A, B : array_like, (..., m, m)
        Commuting matrices, entries at least 0, A with a simple leading eigenvalue.

    Returns
    -------
    Tensor, (...)
        Radians per step, from 0 to pi / 2.

    Raises
    ------
    ValueError
        If the shapes differ, an entry is negative, A and B do not commute, or the leading eigenvalue of A is not
        simple.

    Examples
    --------
    >>> round(float(rotation_angle([[1.0]], [[1.0]])), 6)
    0.785398
    """
    A, B = _check_matrices(A, B)
    _check_commute(A, B)
    return torch.atan2(_trace(leading_projector(A) @ B), growth_factor(A))


def extinction_step(A, B, x0, y0) -> Tensor:
    """Step near which the prey of the complex recursion turns negative, from the leading mode alone.

    Reproductive-value totals X = u^T x and Y = u^T y turn by a fixed angle theta per step, from phase atan2(Y0, X0);
    the prey vanishes at a quarter turn.

    Parameters
    ----------
    A, B : array_like, (..., m, m)
        Commuting matrices, entries at least 0, A with a simple leading eigenvalue.
    x0, y0 : array_like, (..., m)
        Counts at step 0, at least 0.

    Returns
    -------
    Tensor, (...)
        Steps, not rounded; infinite if there is no predation. 0-dimensional for one system (``float(...)`` gives the
        number).

    Raises
    ------
    ValueError
        As :func:`rotation_angle`, and if a count is negative or there is no prey.

    Examples
    --------
    >>> round(float(extinction_step([[1.0]], [[1.0]], [1.0], [0.0])), 6)
    2.0
    """
    A, B, x0, y0 = _check_pair(A, B, x0, y0)
    for name, counts in (("x0", x0), ("y0", y0)):
        checks.require(counts >= 0, f"{name} must be at least 0", counts)
    checks.require(x0.sum(dim=-1) > 0, "x0 must not be all 0: there is no prey that could turn negative")
    angle = rotation_angle(A, B)
    value = leading_projector(A).sum(dim=-2)
    phase = torch.atan2((value * y0).sum(dim=-1), (value * x0).sum(dim=-1))
    return (math.pi / 2 - phase) / angle


def _trace(matrix: Tensor) -> Tensor:
    return matrix.diagonal(dim1=-2, dim2=-1).sum(dim=-1)


def _check_matrices(A, B) -> tuple[Tensor, Tensor]:
    A, B = checks.tensors(A=A, B=B)
    size = checks.square("A", A)
    checks.shape("B", B, size, size)
    for name, matrix in (("A", A), ("B", B)):
        checks.require(matrix >= 0, f"{name} must have entries of at least 0", matrix)
    checks.batch(A=A.shape[:-2], B=B.shape[:-2])
    A, B = torch.broadcast_tensors(A, B)
    return A, B


def _check_pair(A, B, x0, y0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    A, B, x0, y0 = checks.tensors(A=A, B=B, x0=x0, y0=y0)
    A, B = _check_matrices(A, B)
    checks.shape("x0", x0, A.shape[-1])
    checks.shape("y0", y0, A.shape[-1])
    checks.batch(A=A.shape[:-2], x0=x0.shape[:-1], y0=y0.shape[:-1])
    x0, y0 = torch.broadcast_tensors(x0, y0)
    return A, B, x0, y0


def _check_commute(A: Tensor, B: Tensor) -> None:
    product = A @ B
    tolerance = 1e-4 if A.dtype == torch.float32 else 1e-9
    checks.require(
        (product - B @ A).abs() <= tolerance * (1 + product.abs()),
        "A and B must commute (A B = B A), as functions of the same matrix do",
    )
