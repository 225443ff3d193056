"""Step sizes and numbers of environments that may change from step to step."""

from __future__ import annotations

from torch import Tensor, broadcast_tensors

from lib import checks

__all__ = ["check", "read"]


def check(eta: Tensor, N: Tensor) -> None:
    checks.batch(eta=eta.shape, N=N.shape)
    checks.require(eta > 0, "eta must be above 0", eta)
    checks.require(N > 0, "N must be above 0", N)


def read(eta: Tensor, N: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Numbers, or schedules of shape (..., steps), as (steps, ..., 1): ready to broadcast with parameters."""
    for name, value in (("eta", eta), ("N", N)):
        if value.dim() and value.shape[-1] not in (1, steps):
            raise ValueError(f"{name} must be a number or have shape (..., {steps}), got {tuple(value.shape)}")
    check(eta, N)
    eta, N = broadcast_tensors(eta, N)
    eta, N = (value.expand(*value.shape[:-1], steps) for value in (eta, N))
    return eta.movedim(-1, 0)[..., None], N.movedim(-1, 0)[..., None]
