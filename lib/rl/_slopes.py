"""Losses of a tile of transitions, and their derivatives written out.

They are those of :func:`lib.rl.ppo.policy_loss` and :func:`lib.rl.ppo.value_loss`. A tile is a few thousand numbers a
column: there a small operation costs more than its arithmetic, and automatic differentiation takes many more of them.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["of_policy", "of_value"]


@torch.no_grad()
def of_policy(log_ratio: Tensor, adv: Tensor, clip: float, weight: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Mean over the last dimension of the clipped objective with its sign turned, and slopes in each log ratio.

    Parameters
    ----------
    log_ratio : Tensor, (..., B)
        log-probability less that under the old policy, or under the anchor.
    adv : Tensor, (..., B)
    clip : float
    weight : Tensor, (..., B), optional
        Ratio of the anchor to the old policy.

    Returns
    -------
    Tensor, (...), and Tensor, (..., B)
        The mean, and the derivatives of the sum.
    """
    ratio = log_ratio.exp()
    gain = ratio * adv
    held = ratio.clamp_(1 - clip, 1 + clip).mul_(adv)
    if weight is not None:
        gain.mul_(weight)
        held.mul_(weight)
    beyond = gain > held
    mean = torch.minimum(gain, held, out=held).mean(-1).neg_()
    return mean, gain.masked_fill_(beyond, 0).neg_()


@torch.no_grad()
def of_value(
    value: Tensor, returns: Tensor, value_old: Tensor | None = None, clip: float | None = None
) -> tuple[Tensor, Tensor]:
    """Mean over the last dimension of half the squared errors, and slopes in each value.

    Parameters
    ----------
    value, returns : Tensor, (..., B)
    value_old : Tensor, (..., B), optional
    clip : float, optional
        The larger error counts of a value and of that held so near to the old one.

    Returns
    -------
    Tensor, (...), and Tensor, (..., B)
        The mean, and the derivatives of the sum.
    """
    error = value - returns
    if clip is None:
        return error.square().mean(-1).mul_(0.5), error
    moved = value - value_old
    near = moved.clamp(-clip, clip)
    outside = near != moved
    near.add_(value_old).sub_(returns)
    flat = torch.gt(near.abs(), error.abs()).logical_and_(outside)
    error = torch.where(flat, near, error)
    return error.square().mean(-1).mul_(0.5), error.masked_fill_(flat, 0)
