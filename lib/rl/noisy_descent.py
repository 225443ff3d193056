"""Noisy steps down a quadratic bowl: what happens on average, exactly, and what happens in single runs.

The bowl is that of :mod:`lib.rl.outer_loop`, which passes these functions on.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lib import checks
from lib.rl import _curvature, _schedules

__all__ = ["expected_loss", "quadratic_loss", "schedule", "simulate_quadratic"]


def expected_loss(eta, H, Sigma, N, start, steps: int) -> Tensor:
    """Mean loss after each step, over all noise: the way down to the plateau, exactly.

    Parameters
    ----------
    eta, N : array_like, () or (..., steps)
        Step and number of environments, constant or a schedule; above 0.
    H, Sigma : array_like, (d,) or (d, d)
        As in :func:`lib.rl.outer_loop.sgd_plateau`; a step times a curvature may reach 2 here, the loss then grows.
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
    curvature, variance, axes = _curvature.axes(H, Sigma)
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
        As in :func:`lib.rl.outer_loop.sgd_plateau`.
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
    _, _, axes = _curvature.axes(H, Sigma)
    d = axes.shape[-1]
    checks.shape("start", start, d)
    if noise.dim() != 3 or noise.shape[-1] != d:
        raise ValueError(f"noise must have shape (steps, repeats, {d}), got {tuple(noise.shape)}")
    noise = noise.to(H)
    eta, N = _schedules.read(eta, N, noise.shape[0])
    pushes = _curvature.scaled(noise, Sigma)
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
        Curvature, as in :func:`lib.rl.outer_loop.sgd_plateau`.

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
    curvature, _, _ = _curvature.axes(H, None)
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
