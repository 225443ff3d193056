"""Curvature of a bowl and noise of its gradient: eigenvalues, or matrices that need not commute."""

from __future__ import annotations

import torch
from torch import Tensor

from lib import checks

__all__ = ["axes", "check_form", "scaled"]


def axes(H: Tensor, Sigma: Tensor | None) -> tuple[Tensor, Tensor | None, Tensor]:
    """Curvatures (d,), the noise's variances along the same axes (d,), and the axes as columns (d, d)."""
    check_form("H", H)
    if Sigma is not None:
        if Sigma.shape != H.shape:
            raise ValueError(f"Sigma must have the shape of H, {tuple(H.shape)}, got {tuple(Sigma.shape)}")
        check_form("Sigma", Sigma)
    if H.dim() == 1:
        return H, Sigma, torch.eye(H.shape[0], dtype=H.dtype, device=H.device)
    curvature, basis = torch.linalg.eigh(H)
    # What rounding makes of a curvature of 0 counts as 0.
    flat = curvature.abs() <= H.shape[-1] * torch.finfo(H.dtype).eps * curvature.abs().amax()
    curvature = torch.where(flat, torch.zeros_like(curvature), curvature)
    variance = None if Sigma is None else (basis * (Sigma @ basis)).sum(dim=-2)
    return curvature, variance, basis


def check_form(name: str, values: Tensor) -> None:
    if values.dim() == 1 and values.shape[0] >= 1:
        checks.require(values >= 0, f"{name} must not have negative eigenvalues", values)
        return
    if values.dim() != 2 or checks.square(name, values) < 1:
        raise ValueError(f"{name} must have shape (d,) or (d, d), got {tuple(values.shape)}")
    tolerance = 1e-9 if values.dtype == torch.float64 else 1e-5
    checks.require(torch.isclose(values, values.mT, rtol=tolerance), f"{name} must be symmetric")
    least = torch.linalg.eigvalsh(values).amin()
    checks.require(least >= -tolerance * values.abs().amax(), f"{name} must not have negative eigenvalues", least)


def scaled(noise: Tensor, Sigma: Tensor) -> Tensor:
    """Standard normal numbers given the covariance Sigma."""
    if Sigma.dim() == 1:
        return noise * Sigma.sqrt()
    variance, axes = torch.linalg.eigh(Sigma)
    return noise * variance.clamp(min=0).sqrt() @ axes.mT
