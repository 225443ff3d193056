"""Where stochastic ascent stops improving: the level at which a constant step hovers above an optimum.

PPO collects data, improves its policy on them, and starts again. Seen from outside, each round is one noisy step. Near
an optimum with curvature H, and with gradients whose noise has covariance Sigma / N when N environments are averaged,

    theta <- theta - eta (H theta + xi),    cov(xi) = Sigma / N,

never arrives: it hovers at a loss of about eta trace(Sigma) / (4 N). Losses are distances below the best return; eta is
the step per round, in units that make eta H a pure number; one step is one round.

Curvature and noise are given by their eigenvalues, vectors (d,), when they share their eigenvectors, or as matrices.
Steps and numbers of environments may be schedules: numbers, or (..., steps) with one value for each step, where the
leading dimensions hold runs side by side. Runs are followed in :mod:`lib.rl.noisy_descent`; the exact case of a softmax
policy is :mod:`lib.rl.softmax_bandit`; what one round of PPO has inside is counted in :mod:`lib.rl.inner_loop`. All can
be imported from here.

Sources: the picture of an outer loop is that of M. Beukman and others, arXiv:2603.06009, told there in words as far as
its abstract and summaries of others go. The formulas are standard for linear stochastic approximation, derived in the
book's chapter.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lib import checks
from lib.rl import _curvature, _schedules
from lib.rl.inner_loop import data_to_divergence, inner_steps
from lib.rl.noisy_descent import expected_loss, quadratic_loss, schedule, simulate_quadratic
from lib.rl.softmax_bandit import (
    bandit_gap,
    simulate_bandit,
    simulate_bandit_gaussian,
    softmax_bandit_plateau,
    softmax_curvature,
    softmax_optimum,
)

__all__ = [
    "settling_time",
    "sgd_plateau",
    "stationary_covariance",
    "time_constant",
    "bandit_gap",
    "data_to_divergence",
    "expected_loss",
    "inner_steps",
    "quadratic_loss",
    "schedule",
    "simulate_bandit",
    "simulate_bandit_gaussian",
    "simulate_quadratic",
    "softmax_bandit_plateau",
    "softmax_curvature",
    "softmax_optimum",
]


def sgd_plateau(eta, H, Sigma, N) -> Tensor:
    """Loss at which a constant step hovers: the stationary mean of theta' H theta / 2.

    In the eigenbasis of H, with curvatures h and the noise's variances s along the same axes, the sum of
    eta s / (2 N (2 - eta h)). Noise that mixes axes adds nothing to the loss. Flat axes, h = 0, are not seen by it.

    Parameters
    ----------
    eta : array_like, (...)
        Step, above 0.
    H : array_like, (d,) or (d, d)
        Curvature: eigenvalues, or a symmetric matrix; none negative.
    Sigma : array_like, shape of H
        Covariance of the gradient's noise in one environment; none negative.
    N : array_like, (...)
        Number of environments that are averaged, above 0.

    Returns
    -------
    Tensor, (...)

    Raises
    ------
    ValueError
        If the shapes do not fit, a matrix is not symmetric, an eigenvalue is negative, or a step times a curvature
        reaches 2: then there is no level, the steps overshoot further and further.

    Examples
    --------
    >>> round(float(sgd_plateau(0.1, [1.0, 0.5, 0.1], [1.0, 2.0, 0.5], 4)), 6)
    0.02254
    """
    eta, H, Sigma, N = checks.tensors(eta=eta, H=H, Sigma=Sigma, N=N)
    curvature, variance, _ = _curvature.axes(H, Sigma)
    _schedules.check(eta, N)
    _check_stable(eta, curvature)
    return levels(eta, curvature, variance, N).sum(dim=-1)


def levels(eta: Tensor, curvature: Tensor, variance: Tensor, N: Tensor) -> Tensor:
    """What each axis adds to the plateau."""
    eta, N = eta[..., None], N[..., None]
    level = eta * variance / (2 * N * (2 - eta * curvature))
    return torch.where(curvature > 0, level, torch.zeros_like(level))


def stationary_covariance(eta, H, Sigma, N) -> Tensor:
    """Spread of the hovering parameters: V = (1 - eta H) V (1 - eta H)' + eta^2 Sigma / N.

    Parameters
    ----------
    eta, H, Sigma, N
        As in :func:`sgd_plateau`, but every curvature above 0.

    Returns
    -------
    Tensor, (..., d, d)

    Raises
    ------
    ValueError
        As :func:`sgd_plateau`, or if a curvature is 0: along a flat axis the parameters wander off.

    Examples
    --------
    >>> stationary_covariance(0.5, [1.0], [1.0], 8)  # 0.5 / (8 * 1.5)
    tensor([[0.0417]], dtype=torch.float64)
    """
    eta, H, Sigma, N = checks.tensors(eta=eta, H=H, Sigma=Sigma, N=N)
    curvature, _, axes = _curvature.axes(H, Sigma)
    _schedules.check(eta, N)
    _check_stable(eta, curvature)
    checks.require(curvature > 0, "H must have curvatures above 0 for a stationary spread")
    noise = torch.diag(Sigma) if Sigma.dim() == 1 else Sigma
    eta, N = eta[..., None, None], N[..., None, None]
    kept = 1 - eta * curvature
    # Along two axes with curvatures a and b a step keeps the share (1 - eta a)(1 - eta b) of their covariance.
    spread = eta**2 * (axes.mT @ noise @ axes) / N / (1 - kept.mT * kept)
    return axes @ spread @ axes.mT


def time_constant(eta, H) -> Tensor:
    """Steps after which the slowest axis has shrunk by a factor e: about 1 / (eta h) for small steps.

    Parameters
    ----------
    eta : array_like, (...)
        Step, above 0.
    H : array_like, (d,) or (d, d)
        Curvature, as in :func:`sgd_plateau`. Flat axes never shrink and are left out.

    Returns
    -------
    Tensor, (...)
        The loss, a square, shrinks twice as fast.

    Raises
    ------
    ValueError
        If H is not a curvature, the step is not above 0, or the step times a curvature reaches 2.

    Examples
    --------
    >>> round(float(time_constant(0.05, [1.0, 0.2])), 2)
    99.5
    """
    eta, H = checks.tensors(eta=eta, H=H)
    curvature, _, _ = _curvature.axes(H, None)
    checks.require(eta > 0, "eta must be above 0", eta)
    _check_stable(eta, curvature)
    rate = -torch.log((1 - eta[..., None] * curvature).abs())
    slowest = torch.where(curvature > 0, rate, torch.full_like(rate, torch.inf)).amin(dim=-1)
    return 1 / slowest


def settling_time(eta, H, Sigma, N, eta_before, N_before, within=0.1) -> Tensor:
    """Steps after a change of step or environments until the mean loss has come near its new, lower level.

    Parameters
    ----------
    eta, H, Sigma, N
        From the change on, as in :func:`sgd_plateau`.
    eta_before, N_before : array_like, (...)
        Before it, for so long that the loss stood on its plateau. The step was not smaller, the environments were not
        more.
    within : array_like, (...)
        How near: the share of the new level by which the loss may still lie above it, above 0.

    Returns
    -------
    Tensor, (...)
        Whole numbers; 0 where nothing has to be waited for.

    Raises
    ------
    ValueError
        As :func:`sgd_plateau`; if the step was smaller or the environments were more before; if ``within`` is not above
        0.

    Examples
    --------
    >>> more = settling_time(0.5, [1.0, 0.25], [1.0, 1.0], 160, eta_before=0.5, N_before=16)
    >>> smaller = settling_time(0.05, [1.0, 0.25], [1.0, 1.0], 16, eta_before=0.5, N_before=16)
    >>> int(more), int(smaller)
    (14, 154)
    """
    eta, H, Sigma, N, eta_before, N_before, within = checks.tensors(
        eta=eta, H=H, Sigma=Sigma, N=N, eta_before=eta_before, N_before=N_before, within=within
    )
    curvature, variance, _ = _curvature.axes(H, Sigma)
    _schedules.check(eta, N)
    named = {"eta": eta, "N": N, "eta_before": eta_before, "N_before": N_before, "within": within}
    checks.batch(**{name: value.shape for name, value in named.items()})
    _check_stable(eta, curvature)
    reach = eta_before * curvature.amax()
    checks.require(reach < 2, "eta_before times the largest curvature of H must be below 2", reach)
    checks.require(eta_before >= eta, "eta_before must be at least eta", eta_before)
    checks.require((N_before > 0) & (N_before <= N), "N_before must be above 0 and at most N", N_before)
    checks.require(within > 0, "within must be above 0", within)
    eta, N, eta_before, N_before, within = torch.broadcast_tensors(eta, N, eta_before, N_before, within)
    new, old = levels(eta, curvature, variance, N), levels(eta_before, curvature, variance, N_before)
    # Each axis falls by its own factor; where the sum has fallen enough is found by halving, in steps not yet whole.
    rate = 2 * torch.log((1 - eta[..., None] * curvature).abs().clamp(min=torch.finfo(new.dtype).tiny))
    above, allowed = old - new, within * new.sum(dim=-1)
    low, high = torch.zeros_like(eta), torch.full_like(eta, 2.0**40)
    for _ in range(64):
        middle = (low + high) / 2
        far = (above * torch.exp(rate * middle[..., None])).sum(dim=-1) > allowed
        low, high = torch.where(far, middle, low), torch.where(far, high, middle)
    return torch.ceil(high - 1e-6)


def _check_stable(eta: Tensor, curvature: Tensor) -> None:
    reach = eta * curvature.amax()
    checks.require(reach < 2, "eta times the largest curvature of H must be below 2", reach)
