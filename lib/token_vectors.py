"""Tokens that are vectors in a deep selective state-space model, and maps S_B, S_C whose product has chosen signs.

For tokens x_l in R^D the number mu of :mod:`lib.token_dynamics` becomes the matrix M = S_C^T S_B, each channel d has
its own step sizes D_l = softplus((S_D x_l)_d) and forgetting rate, and

    dx_{l,d}/dt = sum_{j <= l} (x_l^T M x_j) D_j x_{j,d} exp(-a_d (D_{j+1} + ... + D_l)).

Sources: T. N. Vo and others, arXiv:2410.03292; the sign-definite maps follow the authors' code.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lib import _tokens, checks

__all__ = ["VectorPath", "definite_output_map", "follow_vectors", "output_spectrum", "vector_velocity"]

THRESHOLD = 0.7  # smallest scale of a row, as in the authors' code


class VectorPath(NamedTuple):
    """Vector tokens along their path.

    Attributes
    ----------
    times : Tensor, (..., steps + 1)
        Depth, from 0.
    tokens : Tensor, (..., steps + 1, L, D)
    """

    times: Tensor
    tokens: Tensor


def vector_velocity(x, output_map, step_map, decay) -> Tensor:
    """Velocity of tokens that are vectors: the output of one selective layer.

    Parameters
    ----------
    x : array_like, (..., L, D)
        Tokens in reading order.
    output_map : array_like, (..., D, D)
        M = S_C^T S_B.
    step_map : array_like, (..., D, D)
        S_D of the step sizes softplus(S_D x).
    decay : array_like, (..., D)
        Forgetting rate of each channel, above 0.

    Returns
    -------
    Tensor, (..., L, D)
        Per unit of depth.

    Raises
    ------
    ValueError
        If the shapes do not fit or a decay is not above 0.

    Examples
    --------
    >>> vector_velocity([[1.0], [-0.5]], [[-1.0]], [[0.0]], [1.0])[:, 0]
    tensor([-0.6931,  0.2599], dtype=torch.float64)
    """
    return velocity(*_read(x, output_map, step_map, decay))


def velocity(x: Tensor, output_map: Tensor, step_map: Tensor, decay: Tensor) -> Tensor:
    step = _tokens.softplus(x @ step_map.mT).mT
    attention = x @ output_map @ x.mT
    kept = _tokens.forgetting(step, decay) * attention[..., None, :, :]
    return (kept @ (step * x.mT)[..., None])[..., 0].mT


def follow_vectors(x0, output_map, step_map, decay, steps: int = 100, length=20.0) -> VectorPath:
    """Follow vector tokens along a given length of path, with a fixed number of Runge-Kutta steps.

    Parameters
    ----------
    x0 : array_like, (..., L, D)
        Tokens at depth 0, none of them the zero vector.
    output_map, step_map, decay
        As in :func:`vector_velocity`.
    steps : int
        Runge-Kutta steps of fourth order, at least 1.
    length : float
        Length of the path, above 0; each unit multiplies the time or changes a token by at most e, as in
        :func:`lib.token_flow.follow_tokens`.

    Returns
    -------
    VectorPath

    Raises
    ------
    ValueError
        If the shapes do not fit, a token is zero, or a decay, ``steps`` or ``length`` is not above 0.

    Examples
    --------
    >>> path = follow_vectors([[1.0]], [[1.0]], [[1.0]], [1.0], steps=80, length=16.0)
    >>> round(float(path.times[-1]), 4)  # the token is infinite
    0.283
    """
    x, output_map, step_map, decay = _read(x0, output_map, step_map, decay, "x0")
    checks.require((x != 0).any(dim=-1), "x0 must not hold a zero vector")
    steps = checks.integer("steps", steps, lowest=1)
    stride = checks.real_number("length", length, lowest=0, open_below=True) / steps
    system = output_map, step_map, decay
    speed = _relative_speed(x, velocity(x, *system))
    scale = torch.where(speed > 0, 1 / torch.where(speed > 0, speed, torch.ones_like(speed)), torch.ones_like(speed))

    def direction(x: Tensor, log_time: Tensor) -> tuple[Tensor, Tensor]:
        rate = velocity(x, *system) * torch.exp(log_time)[..., None, None]
        slow = 1 / (1 + _relative_speed(x, rate))
        return rate * slow[..., None, None], slow

    log_time = log_scale = torch.log(scale)
    path, passed = [x], [torch.zeros_like(scale)]
    for _ in range(steps):
        total, total_time = torch.zeros_like(x), torch.zeros_like(log_time)
        change, ahead = total, total_time
        for reach, weight in ((0, 1), (1 / 2, 2), (1 / 2, 2), (1, 1)):
            change, ahead = direction(x + reach * stride * change, log_time + reach * stride * ahead)
            total, total_time = total + weight / 6 * change, total_time + weight / 6 * ahead
        x, log_time = x + stride * total, log_time + stride * total_time
        path.append(x)
        passed.append(scale * torch.expm1(log_time - log_scale))
    return VectorPath(torch.stack(passed, dim=-1), torch.stack(path, dim=-3))


def _relative_speed(x: Tensor, change: Tensor) -> Tensor:
    """Root mean square over tokens of change relative to size, times the root of half their number."""
    return torch.sqrt(((change * change).sum(dim=-1) / (x * x).sum(dim=-1)).sum(dim=-1) / 2)


def definite_output_map(raw, diag, sign: str = "positive") -> tuple[Tensor, Tensor]:
    """Write and read maps whose product S_C^T S_B has eigenvalues of chosen signs, from free parameters.

    S_C is unit upper triangular with the entries of ``raw`` above the diagonal, and S_B scales its rows by plus or
    minus softplus(diag) + 0.7.

    Parameters
    ----------
    raw : array_like, (..., N, D)
        N state cells, D channels, N at most D for a product of full rank N.
    diag : array_like, (..., N)
    sign : {"positive", "negative", "mixed"}
        Sign of all scales; for "mixed" the second half is negative.

    Returns
    -------
    S_B, S_C : Tensor, (..., N, D)
        The product is symmetric; as many eigenvalues are positive (negative) as scales, the others are 0.

    Raises
    ------
    ValueError
        If the shapes do not fit or the sign is unknown.

    Examples
    --------
    >>> S_B, S_C = definite_output_map([[0.0, 2.0], [5.0, 0.0]], [0.0, 0.0], sign="mixed")
    >>> torch.linalg.eigvalsh(S_C.mT @ S_B).sign().tolist()
    [-1.0, 1.0]
    """
    raw, diag = checks.tensors(raw=raw, diag=diag)
    checks.shape("raw", raw, None, None)
    cells = raw.shape[-2]
    if diag.dim() == 0 or diag.shape[-1] != cells:
        raise ValueError(f"diag must have one entry per row of raw, got {tuple(diag.shape)} and {tuple(raw.shape)}")
    checks.batch(raw=raw.shape[:-2], diag=diag.shape[:-1])
    checks.choice("sign", sign, ("positive", "negative", "mixed"))
    signs = torch.ones(cells, dtype=raw.dtype, device=raw.device)
    if sign != "positive":
        signs[0 if sign == "negative" else (cells + 1) // 2 :] = -1
    S_C = raw.triu(1) + torch.eye(*raw.shape[-2:], dtype=raw.dtype, device=raw.device)
    scales = signs * (_tokens.softplus(diag) + THRESHOLD)
    return scales[..., None] * S_C, S_C


def output_spectrum(S_B, S_C) -> Tensor:
    """Eigenvalues of S_C^T S_B that are not forced to be 0, by rising real part.

    Parameters
    ----------
    S_B, S_C : array_like, (..., N, D)
        Write and read maps.

    Returns
    -------
    Tensor, (..., min(N, D)), complex
        Those of the smaller of S_C^T S_B and S_B S_C^T, which share all eigenvalues that are not 0.

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> output_spectrum([[1.0, 0.0, 2.0]], [[3.0, 1.0, -1.0]]).real.tolist()
    [1.0]
    """
    S_B, S_C = checks.tensors(S_B=S_B, S_C=S_C)
    checks.shape("S_B", S_B, None, None)
    checks.shape("S_C", S_C, *S_B.shape[-2:])
    checks.batch(S_B=S_B.shape[:-2], S_C=S_C.shape[:-2])
    small = S_B @ S_C.mT if S_B.shape[-2] <= S_B.shape[-1] else S_C.mT @ S_B
    values = torch.linalg.eigvals(small)
    return values.gather(-1, values.real.argsort(dim=-1))


def _read(x, output_map, step_map, decay, name: str = "x") -> list[Tensor]:
    x, output_map, step_map, decay = checks.tensors(**{name: x}, output_map=output_map, step_map=step_map, decay=decay)
    checks.shape(name, x, None, None)
    size = x.shape[-1]
    for key, value, wanted in (
        ("output_map", output_map, (size, size)),
        ("step_map", step_map, (size, size)),
        ("decay", decay, (size,)),
    ):
        if tuple(value.shape[-len(wanted) :]) != wanted:
            channels = f"the {size} channels of {name}"
            raise ValueError(f"{key} must have trailing shape {wanted} for {channels}, got {tuple(value.shape)}")
    checks.require(decay > 0, "decay must be above 0", decay)
    batch = checks.batch(
        **{name: x.shape[:-2]},
        output_map=output_map.shape[:-2],
        step_map=step_map.shape[:-2],
        decay=decay.shape[:-1],
    )
    return [
        x.expand(*batch, *x.shape[-2:]),
        output_map.expand(*batch, size, size),
        step_map.expand(*batch, size, size),
        decay.expand(*batch, size),
    ]
