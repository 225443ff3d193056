"""What a selective layer remembers of tokens that are single numbers; the arguments have been checked by the callers.

Tokens are the last dimension, in reading order. The parameters have the leading dimensions of the tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lib import checks

__all__ = ["explosive", "forgetting", "memory", "read", "read_one", "softplus"]

POSITIVE = ("decay", "length")


def softplus(z: Tensor) -> Tensor:
    """log(1 + e^z) with full relative precision at both ends."""
    return torch.logaddexp(z, torch.zeros_like(z))


def forgetting(step: Tensor, decay: Tensor) -> Tensor:
    """exp(-decay * (step[j+1] + ... + step[l])) for j <= l, else 0: (..., L, L).

    Each sum is built from its own terms: differences of one running sum would
    lose the small ones beside a large step.
    """
    size = step.shape[-1]
    lower = step.new_ones(size, size).tril()
    passed = (step[..., :, None] * lower.tril(-1)).cumsum(dim=-2)
    return torch.exp(-decay[..., None, None] * passed) * lower


def memory(x: Tensor, step_weight: Tensor, decay: Tensor) -> Tensor:
    """What has been written and not yet forgotten at each token, h_l >= 0."""
    step = softplus(step_weight[..., None] * x)
    return (forgetting(step, decay) @ (x * x * step)[..., None])[..., 0]


def read(name: str, tokens, **parameters) -> list[Tensor]:
    """Read tokens (..., L) and parameters (...) that share a batch; all come expanded to it."""
    read_tokens, *read_parameters = checks.tensors(**{name: tokens}, **parameters)
    checks.shape(name, read_tokens, None)
    leading = {key: value.shape for key, value in zip(parameters, read_parameters, strict=True)}
    batch = checks.batch(**{name: read_tokens.shape[:-1]}, **leading)
    for key, value in zip(parameters, read_parameters, strict=True):
        if key in POSITIVE:
            checks.require(value > 0, f"{key} must be above 0", value)
    return [read_tokens.expand(*batch, read_tokens.shape[-1]), *(value.expand(batch) for value in read_parameters)]


def read_one(x0, **parameters) -> list[Tensor]:
    """Read the start values x0 (L,) and the parameters of one system."""
    x0, *read_parameters = read("x0", x0, **parameters)
    for key, value in parameters.items():
        if checks.tensors(**{key: value})[0].dim() != 0:
            raise ValueError(f"{key} must be one number, got {checks.describe(value)}")
    if x0.dim() != 1:
        raise ValueError(f"x0 must have shape (L,), got {tuple(x0.shape)}")
    return [x0, *read_parameters]


def explosive(x0: Tensor, mu: Tensor, step_weight: Tensor) -> Tensor:
    """Which tokens reach infinity in finite time by themselves: their steps grow with them, or never change."""
    pushed = step_weight[..., None] * x0
    same_steps = (step_weight == 0)[..., None] & (x0 != 0)
    return (mu > 0)[..., None] & ((pushed > 0) | same_steps)
