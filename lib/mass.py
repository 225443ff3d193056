"""Mass tensor and Fisher information: how they deviate from each other, in all directions or along one.

The metric of learning is M + beta F with mass tensor M and Fisher information F. M depends on what the internal edges
of an observer track: M = F^2 when they track the mean statistics, M = 1 when they are the parameters themselves.

Everything is batched over leading dimensions. Source: M. Zhuravlev, arXiv:2603.09067, section 7.6, and its companion
papers on mass and Fisher information and on the directional alpha.
"""

from __future__ import annotations

from torch import Tensor

from lib import checks
from lib.fisher import check_positive_definite, check_symmetric
from lib.regimes import check_eigs

__all__ = ["alpha_spread", "deviation_tensor", "directional_alpha", "mass_tensor"]


def mass_tensor(J) -> Tensor:
    """Mass tensor of internal edge weights w: M = J^T J with J = dw / dtheta.

    Parameters
    ----------
    J : array_like, (..., k, m)

    Returns
    -------
    Tensor, (..., m, m)
        Weights that follow the mean statistics have J = F and M = F^2; weights equal to the parameters have M = 1.

    Raises
    ------
    ValueError
        If J is not a matrix.

    Examples
    --------
    >>> mass_tensor([[2.0, 0.0], [1.0, 1.0]]).tolist()
    [[5.0, 1.0], [1.0, 1.0]]
    """
    (J,) = checks.tensors(J=J)
    checks.shape("J", J, None, None)
    return J.mT @ J


def deviation_tensor(M, F) -> tuple[Tensor, Tensor]:
    """What of the mass tensor is not proportional to the Fisher information.

    Parameters
    ----------
    M : array_like, (..., m, m)
        Mass tensor, symmetric.
    F : array_like, (..., m, m)
        Fisher information, symmetric and positive definite.

    Returns
    -------
    Delta : Tensor, (..., m, m)
        M - (tr M / tr F) F, of trace 0. The trace that does not depend on coordinates, tr(F^-1 Delta), is not 0 in
        general.
    delta : Tensor, (...)
        Its Frobenius norm as a fraction of that of M.

    Raises
    ------
    ValueError
        If a matrix is not symmetric, F is not positive definite, or M is 0.

    Examples
    --------
    >>> Delta, delta = deviation_tensor([[1.0, 0.0], [0.0, 4.0]], [[1.0, 0.0], [0.0, 1.0]])
    >>> Delta.tolist(), round(float(delta), 6)
    ([[-1.5, 0.0], [0.0, 1.5]], 0.514496)
    """
    M, F = checks.tensors(M=M, F=F)
    F = _check_fisher(F)
    checks.shape("M", M, F.shape[-1], F.shape[-1])
    check_symmetric("M", M)
    checks.batch(M=M.shape[:-2], F=F.shape[:-2])
    size = (M * M).sum(dim=(-2, -1)).sqrt()
    checks.require(size > 0, "M must not be 0")
    mean = _trace(M) / _trace(F)
    Delta = M - mean[..., None, None] * F
    return Delta, (Delta * Delta).sum(dim=(-2, -1)).sqrt() / size


def directional_alpha(F, v, beta) -> Tensor:
    """Regime parameter of one direction: the share of the mass in the metric F^2 + beta F there.

    Along an eigenvector it is lambda / (lambda + beta). Near 1 the mass dominates, near 0 the Fisher information: the
    other way round than for the scalar alpha, whose value near 1 means that F dominates.

    Parameters
    ----------
    F : array_like, (..., m, m)
        Fisher information, symmetric and positive definite.
    v : array_like, (..., m)
        Directions, not zero; their length does not matter.
    beta : array_like, (...)
        Weight of F, at least 0.

    Returns
    -------
    Tensor, (...)

    Raises
    ------
    ValueError
        If F is not symmetric or not positive definite, a direction is zero, or beta is negative.

    Examples
    --------
    >>> directional_alpha([[1.0, 0.0], [0.0, 3.0]], [[1.0, 0.0], [0.0, 5.0]], 1.0).tolist()
    [0.5, 0.75]
    """
    F, v, beta = checks.tensors(F=F, v=v, beta=beta)
    F = _check_fisher(F)
    checks.shape("v", v, F.shape[-1])
    checks.require((v != 0).any(dim=-1), "v must not be zero")
    checks.require(beta >= 0, "beta must be at least 0", beta)
    checks.batch(F=F.shape[:-2], v=v.shape[:-1], beta=beta.shape)
    v = v / v.abs().amax(dim=-1, keepdim=True)  # squares of very long or short directions would leave the range
    image = (F @ v[..., None])[..., 0]
    mass = (image * image).sum(dim=-1)
    return mass / (mass + beta * (v * image).sum(dim=-1))


def alpha_spread(eigs, beta) -> Tensor:
    """Difference between the largest and the smallest directional alpha; 0 exactly when F is a multiple of 1.

    Parameters
    ----------
    eigs : array_like, (..., m)
        Eigenvalues of F, above 0.
    beta : array_like, (...)
        Weight of F, at least 0.

    Returns
    -------
    Tensor, (...)

    Raises
    ------
    ValueError
        If an eigenvalue is not above 0 or beta is negative.

    Examples
    --------
    >>> float(alpha_spread([1.0, 3.0], 1.0))
    0.25
    """
    eigs, beta = checks.tensors(eigs=eigs, beta=beta)
    eigs = check_eigs(eigs)
    checks.require(beta >= 0, "beta must be at least 0", beta)
    checks.batch(eigs=eigs.shape[:-1], beta=beta.shape)
    low, high = eigs.amin(dim=-1), eigs.amax(dim=-1)
    return beta * (high - low) / ((high + beta) * (low + beta))


def _trace(matrix: Tensor) -> Tensor:
    return matrix.diagonal(dim1=-2, dim2=-1).sum(dim=-1)


def _check_fisher(F: Tensor) -> Tensor:
    checks.square("F", F)
    check_symmetric("F", F)
    check_positive_definite("F", F)
    return F
