"""The time-invariant ancestor: a diagonal state-space model as one long convolution.

Each of N complex cells stands for itself and its conjugate. With constant coefficients the recurrence is a convolution
with the kernel K_l = 2 Re sum_n C_n B'_n A'_n^l, where A' and B' are the zero-order hold of A and B.

Source: Gu, Gupta, Goel and Ré, "On the parameterization and initialization of diagonal state space models",
arXiv:2206.11893.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lib import checks
from lib.ssm.discretize import discretize

__all__ = ["causal_fft_conv", "s4d_kernel", "s4d_lin"]


def s4d_lin(N: int) -> Tensor:
    """Rates of the initialization S4D-Lin, A_n = -1/2 + i pi n.

    Parameters
    ----------
    N : int
        Complex cells, at least 1.

    Returns
    -------
    Tensor, (N,)
        complex128, per unit of time.

    Raises
    ------
    ValueError
        If N is no such integer.

    Examples
    --------
    >>> s4d_lin(2)
    tensor([-0.5000+0.0000j, -0.5000+3.1416j], dtype=torch.complex128)
    """
    checks.integer("N", N, lowest=1)
    cells = torch.arange(N, dtype=torch.float64)
    return torch.complex(torch.full_like(cells, -0.5), math.pi * cells)


def s4d_kernel(A: Tensor, B: Tensor, C: Tensor, dt, L: int) -> Tensor:
    """Convolution kernel of a diagonal model.

    Parameters
    ----------
    A, B, C : Tensor, (..., N)
        Rates (real parts at most 0, per unit of time), write and read weights of the cells; complex.
    dt : array_like, (...)
        Length of a step, above 0.
    L : int
        Length of the kernel, at least 1.

    Returns
    -------
    Tensor, (..., L)
        Real.

    Raises
    ------
    ValueError
        If a rate has a positive real part, a dt is not positive, L is below 1, or shapes or types do not fit.

    Examples
    --------
    >>> one = torch.ones(1, dtype=torch.complex128)
    >>> s4d_kernel(-one, one, one, 0.5, 3)
    tensor([0.7869, 0.4773, 0.2895], dtype=torch.float64)
    """
    checks.integer("L", L, lowest=1)
    for name, value in dict(A=A, B=B, C=C).items():
        if not isinstance(value, Tensor) or not value.is_complex() or value.dim() == 0 or value.shape[-1] == 0:
            raise ValueError(f"{name} must be a complex tensor of shape (..., N), got {checks.describe(value)}")
        if value.dtype != A.dtype or value.device != A.device or value.shape[-1] != A.shape[-1]:
            raise ValueError(f"{name} must match A, {checks.describe(A)}, got {checks.describe(value)}")
        checks.require(value.isfinite(), f"{name} must be finite, but holds NaN or infinity")
    _, dt = checks.tensors(A=A.real, dt=dt)
    checks.batch(A=A.shape[:-1], B=B.shape[:-1], C=C.shape[:-1], dt=dt.shape)
    step = discretize(A, dt[..., None], "zero_order_hold")
    powers = torch.exp((dt[..., None] * A)[..., None] * torch.arange(L, dtype=dt.dtype, device=A.device))
    return 2 * ((C * B * step.gamma)[..., None, :] @ powers)[..., 0, :].real


def causal_fft_conv(u, K) -> Tensor:
    """Convolution with a kernel that looks back only, y_t = sum_{l <= t} K_l u_{t-l}.

    Parameters
    ----------
    u : array_like, (..., L)
        Inputs.
    K : array_like, (..., L)
        Kernel, as long as the inputs.

    Returns
    -------
    Tensor, (..., L)

    Raises
    ------
    ValueError
        If the lengths differ or the leading dimensions do not broadcast.

    Examples
    --------
    >>> causal_fft_conv([1.0, 0.0, 2.0], [1.0, 0.5, 0.25]).round(decimals=6)
    tensor([1.0000, 0.5000, 2.2500], dtype=torch.float64)
    """
    u, K = checks.tensors(u=u, K=K)
    checks.shape("u", u, None)
    if K.dim() == 0 or K.shape[-1] != u.shape[-1]:
        raise ValueError(f"K must be as long as u, {u.shape[-1]}, got shape {tuple(K.shape)}")
    checks.batch(u=u.shape[:-1], K=K.shape[:-1])
    # Twice the length: what runs over the end must not come back at the start.
    length = u.shape[-1]
    spectrum = torch.fft.rfft(u, 2 * length) * torch.fft.rfft(K, 2 * length)
    return torch.fft.irfft(spectrum, 2 * length)[..., :length]
