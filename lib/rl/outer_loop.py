"""Where stochastic ascent stops improving: the level at which a constant step hovers above an optimum.

PPO collects data, improves its policy on them, and starts again. Seen from outside, each round is one noisy step. Near
an optimum with curvature H, and with gradients whose noise has covariance Sigma / N when N environments are averaged,

    theta <- theta - eta (H theta + xi),    cov(xi) = Sigma / N,

never arrives: it hovers at a loss of about eta trace(Sigma) / (4 N). Losses are distances below the best return; eta is
the step per round, in units that make eta H a pure number; one step is one round.

Curvature and noise are given by their eigenvalues, vectors (d,), when they share their eigenvectors, or as matrices.
Steps and numbers of environments may be schedules: numbers, or (..., steps) with one value for each step, where the
leading dimensions hold runs side by side. The exact case of a softmax policy is :mod:`lib.rl.softmax_bandit`, what
one round of PPO has inside is counted in :mod:`lib.rl.inner_loop`; both can be imported from here.

Sources: the picture of an outer loop is that of M. Beukman and others, arXiv:2603.06009, told there in words as far as
its abstract and summaries of others go. The formulas are standard for linear stochastic approximation, derived in the
book's chapter.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lib import checks
from lib.rl import _schedules
from lib.rl.inner_loop import data_to_divergence, inner_steps
from lib.rl.softmax_bandit import (
    bandit_gap,
    simulate_bandit,
    simulate_bandit_gaussian,
    softmax_bandit_plateau,
    softmax_curvature,
    softmax_optimum,
)

__all__ = [
    "expected_loss",
    "quadratic_loss",
    "schedule",
    "sgd_plateau",
    "simulate_quadratic",
    "stationary_covariance",
    "time_constant",
    "bandit_gap",
    "data_to_divergence",
    "inner_steps",
    "simulate_bandit",
    "simulate_bandit_gaussian",
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
    curvature, variance, _ = _axes(H, Sigma)
    _schedules.check(eta, N)
    _check_stable(eta, curvature)
    return plateau(eta, curvature, variance, N)


def plateau(eta: Tensor, curvature: Tensor, variance: Tensor, N: Tensor) -> Tensor:
    eta, N = eta[..., None], N[..., None]
    level = eta * variance / (2 * N * (2 - eta * curvature))
    return torch.where(curvature > 0, level, torch.zeros_like(level)).sum(dim=-1)


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
    curvature, _, axes = _axes(H, Sigma)
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
    curvature, _, _ = _axes(H, None)
    checks.require(eta > 0, "eta must be above 0", eta)
    _check_stable(eta, curvature)
    rate = -torch.log((1 - eta[..., None] * curvature).abs())
    slowest = torch.where(curvature > 0, rate, torch.full_like(rate, torch.inf)).amin(dim=-1)
    return 1 / slowest


def expected_loss(eta, H, Sigma, N, start, steps: int) -> Tensor:
    """Mean loss after each step, over all noise: the way down to the plateau, exactly.

    Parameters
    ----------
    eta, N : array_like, () or (..., steps)
        Step and number of environments, constant or a schedule; above 0.
    H, Sigma : array_like, (d,) or (d, d)
        As in :func:`sgd_plateau`; a step times a curvature may reach 2 here, the loss then grows.
    start : array_like, (d,)
        Parameters before the first step, measured from the optimum.
    steps : int
        At least 1.

    Returns
    -------
    Tensor, (..., steps + 1)
        The first entry is the loss of ``start``.

    Raises
    ------
    ValueError
        If the shapes do not fit or an argument is out of range.

    Examples
    --------
    >>> expected_loss(1.0, [1.0], [1.0], [4.0, 4.0], [2.0], 2)  # a full step lands on the optimum, plus noise
    tensor([2.0000, 0.1250, 0.1250], dtype=torch.float64)
    """
    eta, H, Sigma, N, start = checks.tensors(eta=eta, H=H, Sigma=Sigma, N=N, start=start)
    steps = checks.integer("steps", steps, lowest=1)
    curvature, variance, axes = _axes(H, Sigma)
    checks.shape("start", start, curvature.shape[-1])
    eta, N = _schedules.read(eta, N, steps)
    # Means of squares along the axes: each step keeps a share of them and adds the noise's.
    kept = (1 - eta * curvature) ** 2
    added = eta**2 * variance / N
    square = (start @ axes) ** 2
    squares = [square.expand(kept.shape[1:])]
    for share, noise in zip(kept.unbind(), added.unbind(), strict=True):
        squares.append(share * squares[-1] + noise)
    return (torch.stack(squares, dim=-2) * curvature).sum(dim=-1) / 2


def simulate_quadratic(eta, H, Sigma, N, start, noise) -> Tensor:
    """Follow noisy steps down a quadratic bowl, many repeats and schedules at once.

    Parameters
    ----------
    eta, N : array_like, () or (..., steps)
        Step and number of environments, constant or a schedule; above 0. All schedules see the same noise.
    H, Sigma : array_like, (d,) or (d, d)
        As in :func:`sgd_plateau`.
    start : array_like, (d,)
        Parameters before the first step, measured from the optimum.
    noise : array_like, (steps, repeats, d)
        Independent standard normal numbers.

    Returns
    -------
    Tensor, (..., repeats, steps + 1, d)

    Raises
    ------
    ValueError
        If the shapes do not fit or an argument is out of range.

    Examples
    --------
    >>> simulate_quadratic(0.5, [1.0], [1.0], 8, [1.0], torch.zeros(3, 1, 1)).flatten().tolist()
    [1.0, 0.5, 0.25, 0.125]
    """
    eta, H, Sigma, N, start = checks.tensors(eta=eta, H=H, Sigma=Sigma, N=N, start=start)
    (noise,) = checks.tensors(noise=noise)
    checks.shape("noise", noise, None, None, None)
    _, _, axes = _axes(H, Sigma)
    d = axes.shape[-1]
    checks.shape("start", start, d)
    if noise.dim() != 3 or noise.shape[-1] != d:
        raise ValueError(f"noise must have shape (steps, repeats, {d}), got {tuple(noise.shape)}")
    noise = noise.to(H)
    eta, N = _schedules.read(eta, N, noise.shape[0])
    pushes = _scaled(noise, Sigma)
    # (steps, ..., repeats, d): what noise does in each step of each schedule.
    pushes = pushes.reshape(noise.shape[0], *[1] * (eta.dim() - 2), *noise.shape[1:])
    pushes = pushes * (eta / N.sqrt())[..., None, :]
    theta = start.expand(pushes.shape[1:])
    path = [theta]
    if H.dim() == 1:
        for share, push in zip((1 - eta * H)[..., None, :].unbind(), pushes.unbind(), strict=True):
            path.append(path[-1] * share - push)
    else:
        for size, push in zip(eta[..., None, :].unbind(), pushes.unbind(), strict=True):
            path.append(path[-1] - size * (path[-1] @ H) - push)
    return torch.stack(path, dim=-2)


def quadratic_loss(theta, H) -> Tensor:
    """Loss theta' H theta / 2 of parameters measured from the optimum.

    Parameters
    ----------
    theta : array_like, (..., d)
    H : array_like, (d,) or (d, d)
        Curvature, as in :func:`sgd_plateau`.

    Returns
    -------
    Tensor, (...)

    Raises
    ------
    ValueError
        If the shapes do not fit or H is not a curvature.

    Examples
    --------
    >>> float(quadratic_loss([1.0, 2.0], [1.0, 0.5]))
    1.5
    """
    theta, H = checks.tensors(theta=theta, H=H)
    curvature, _, _ = _axes(H, None)
    checks.shape("theta", theta, curvature.shape[-1])
    pulled = theta * H if H.dim() == 1 else theta @ H
    return (theta * pulled).sum(dim=-1) / 2


def schedule(before, after, at, steps: int) -> Tensor:
    """A value that changes once: ``before`` in the first ``at`` steps, ``after`` in the others.

    Parameters
    ----------
    before, after : array_like, (...)
    at : array_like, (...)
        Number of steps before the change.
    steps : int
        At least 1.

    Returns
    -------
    Tensor, (..., steps)

    Raises
    ------
    ValueError
        If the shapes do not broadcast or ``steps`` is below 1.

    Examples
    --------
    >>> schedule(8, 80, at=2, steps=5).tolist()
    [8.0, 8.0, 80.0, 80.0, 80.0]
    """
    before, after, at = checks.tensors(before=before, after=after, at=at)
    steps = checks.integer("steps", steps, lowest=1)
    checks.batch(before=before.shape, after=after.shape, at=at.shape)
    step = torch.arange(steps, dtype=before.dtype, device=before.device)
    return torch.where(step < at[..., None], before[..., None], after[..., None])


def _axes(H: Tensor, Sigma: Tensor | None) -> tuple[Tensor, Tensor | None, Tensor]:
    """Curvatures (d,), the noise's variances along the same axes (d,), and the axes as columns (d, d)."""
    _check_form("H", H)
    if Sigma is not None:
        if Sigma.shape != H.shape:
            raise ValueError(f"Sigma must have the shape of H, {tuple(H.shape)}, got {tuple(Sigma.shape)}")
        _check_form("Sigma", Sigma)
    if H.dim() == 1:
        return H, Sigma, torch.eye(H.shape[0], dtype=H.dtype, device=H.device)
    curvature, axes = torch.linalg.eigh(H)
    # What rounding makes of a curvature of 0 counts as 0.
    flat = curvature.abs() <= H.shape[-1] * torch.finfo(H.dtype).eps * curvature.abs().amax()
    curvature = torch.where(flat, torch.zeros_like(curvature), curvature)
    variance = None if Sigma is None else (axes * (Sigma @ axes)).sum(dim=-2)
    return curvature, variance, axes


def _check_form(name: str, values: Tensor) -> None:
    if values.dim() == 1 and values.shape[0] >= 1:
        checks.require(values >= 0, f"{name} must not have negative eigenvalues", values)
        return
    if values.dim() != 2 or checks.square(name, values) < 1:
        raise ValueError(f"{name} must have shape (d,) or (d, d), got {tuple(values.shape)}")
    tolerance = 1e-9 if values.dtype == torch.float64 else 1e-5
    checks.require(torch.isclose(values, values.mT, rtol=tolerance), f"{name} must be symmetric")
    least = torch.linalg.eigvalsh(values).amin()
    checks.require(least >= -tolerance * values.abs().amax(), f"{name} must not have negative eigenvalues", least)


def _check_stable(eta: Tensor, curvature: Tensor) -> None:
    reach = eta * curvature.amax()
    checks.require(reach < 2, "eta times the largest curvature of H must be below 2", reach)


def _scaled(noise: Tensor, Sigma: Tensor) -> Tensor:
    """Standard normal numbers given the covariance Sigma."""
    if Sigma.dim() == 1:
        return noise * Sigma.sqrt()
    variance, axes = torch.linalg.eigh(Sigma)
    return noise * variance.clamp(min=0).sqrt() @ axes.mT
