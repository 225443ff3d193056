"""From a linear differential equation to a recurrence: six rules.

A cell follows dh/dt = A(t) h + B(t) x(t). A rule turns it into

    h_t = alpha h_{t-1} + beta B_{t-1} x_{t-1} + gamma B_t x_t

for a step of length dt (the unit of time is free; A has its inverse). All rules but the exponential trapezoid look at
one end of the step only, beta = 0.

Source: Lahoti et al., "Mamba-3", arXiv:2603.15569, Table 1 and Proposition 1.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lib import checks

__all__ = ["METHODS", "Discretization", "average_rate", "discretize"]

METHODS = (
    "forward_euler",
    "backward_euler",
    "bilinear",
    "zero_order_hold",
    "exponential_euler",
    "exponential_trapezoidal",
)


class Discretization(NamedTuple):
    """Coefficients of one step: of the state, of the previous input and of the current input."""

    alpha: Tensor
    beta: Tensor
    gamma: Tensor


def discretize(A, dt, method: str, lam=0.5) -> Discretization:
    """Coefficients of one step of a discretization rule.

    Parameters
    ----------
    A : array_like, (...)
        Rate at the right end of the step, at most 0 (real part), per unit of time; may be complex.
    dt : array_like, (...)
        Length of the step, above 0.
    method : str
        ``"forward_euler"``, ``"backward_euler"``, ``"bilinear"`` (S4), ``"zero_order_hold"`` (S4D, S5),
        ``"exponential_euler"`` (what Mamba-1 and Mamba-2 compute) or ``"exponential_trapezoidal"`` (Mamba-3).
    lam : array_like, (...)
        Weight of the right end of the step in the exponential trapezoid, from 0 to 1; the other rules ignore it.

    Returns
    -------
    Discretization
        ``alpha``, ``beta`` and ``gamma``, each of the common shape of A and dt (and lam where it counts).

    Raises
    ------
    ValueError
        If A has a positive real part, a dt is not positive, a lam lies outside [0, 1], or the method is unknown.

    Notes
    -----
    The exponential trapezoid is of second order only for lam = 1/2 + O(dt) and a constant A: it takes A from the right
    end of the step. See :func:`average_rate`.

    Examples
    --------
    >>> discretize(-1.3, 0.2, "bilinear").alpha
    tensor(0.7699, dtype=torch.float64)
    >>> discretize(-1.0, 0.5, "exponential_trapezoidal", lam=0.25).gamma
    tensor(0.1250, dtype=torch.float64)
    """
    checks.choice("method", method, METHODS)
    A, dt, lam = _rates(A, dt, lam)
    z = dt * A
    nothing = torch.zeros_like(z)
    if method == "forward_euler":
        return Discretization(1 + z, nothing, dt + nothing)
    if method == "backward_euler":
        return Discretization(1 / (1 - z), nothing, dt / (1 - z))
    if method == "bilinear":
        return Discretization((1 + z / 2) / (1 - z / 2), nothing, dt / (1 - z / 2))
    if method == "zero_order_hold":
        return Discretization(torch.exp(z), nothing, dt * _relative_exponential(z))
    if method == "exponential_euler":
        return Discretization(torch.exp(z), nothing, dt + nothing)
    alpha = torch.exp(z)
    return Discretization(*torch.broadcast_tensors(alpha, (1 - lam) * dt * alpha, lam * dt + nothing))


def average_rate(A, previous=None, dim: int = 1) -> Tensor:
    """Mean of the rate over each step: the line that makes the exponential trapezoid second order when A varies.

    Parameters
    ----------
    A : array_like, (..., time, ...)
        Rate at the right end of each step.
    previous : array_like, optional
        Rate at the left end of the first step, in the shape of A without its time; by default the first step keeps its
        own rate.
    dim : int
        Dimension of time: the second, as in :func:`lib.ssm.scan.scan`.

    Returns
    -------
    Tensor, (..., time, ...)

    Raises
    ------
    ValueError
        If A has no such dimension or no time, or the shapes do not fit.

    Examples
    --------
    >>> average_rate([-1.0, -2.0, -4.0], dim=0).tolist()
    [-1.0, -1.5, -3.0]
    """
    A, start = checks.tensors(A=A, previous=0.0 if previous is None else previous)
    dim = checks.integer("dim", dim, lowest=-A.dim(), highest=A.dim() - 1) if A.dim() else dim
    if A.dim() == 0 or A.shape[dim] == 0:
        raise ValueError(f"A must have at least one step along dimension {dim}, got shape {tuple(A.shape)}")
    first = A.narrow(dim, 0, 1)
    if previous is not None:
        if start.shape != first.squeeze(dim).shape:
            allowed = tuple(first.squeeze(dim).shape)
            raise ValueError(f"previous must have shape {allowed}, got {tuple(start.shape)}")
        first = start.unsqueeze(dim)
    left = torch.cat([first, A.narrow(dim, 0, A.shape[dim] - 1)], dim)
    return (left + A) / 2


def _rates(A, dt, lam) -> tuple[Tensor, Tensor, Tensor]:
    """Read and check the arguments; a complex A stays complex."""
    rotating = torch.is_tensor(A) and A.is_complex()
    real, dt, lam = checks.tensors(A=A.real if rotating else A, dt=dt, lam=lam)
    if rotating:
        checks.tensors(A=A.imag)
    else:
        A = real
    checks.batch(A=A.shape, dt=dt.shape, lam=lam.shape)
    checks.require(real <= 0, "A must be at most 0 (its real part)", real)
    checks.require(dt > 0, "dt must be positive", dt)
    checks.require((lam >= 0) & (lam <= 1), "lam must be from 0 to 1", lam)
    return A, dt, lam


def _relative_exponential(z: Tensor) -> Tensor:
    """(e^z - 1) / z, also near 0."""
    small = z.abs() < 1e-3
    safe = torch.where(small, torch.ones_like(z), z)
    series = 1 + z / 2 * (1 + z / 3 * (1 + z / 4 * (1 + z / 5)))
    return torch.where(small, series, torch.expm1(safe) / safe)
