"""Rotation of pairs of cells, and the angles that add up along a sequence.

A complex diagonal transition turns each pair of real cells. Instead of turning the state, the vectors that write to it
and read from it are turned back by the sum of all angles so far (rotary embeddings with angles chosen by the input).

Source: Lahoti et al., "Mamba-3", arXiv:2603.15569, Propositions 3 and 4.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

from lib import checks

__all__ = ["phases", "rotate_pairs", "wrap"]


def rotate_pairs(v: Tensor, angle: Tensor) -> Tensor:
    """Turn the pairs of entries (0, 1), (2, 3), ... of a vector.

    Parameters
    ----------
    v : Tensor, (..., N)
        N is even.
    angle : Tensor, (..., M)
        Angles (radians), M at most N / 2; later pairs are not turned. Leading dimensions broadcast with those of v.

    Returns
    -------
    Tensor, (..., N)

    Raises
    ------
    ValueError
        If N is odd, M exceeds N / 2 or the leading dimensions do not fit.

    Examples
    --------
    >>> rotate_pairs(torch.tensor([1.0, 0.0, 3.0, 4.0]), torch.tensor([torch.pi / 2])).round(decimals=6) + 0
    tensor([0., 1., 3., 4.])
    """
    v, angle = checks.tensors(v=v, angle=angle)
    checks.shape("v", v, None)
    check_pairs("v", v.shape[-1], "angle", angle)
    checks.batch(v=v.shape[:-1], angle=angle.shape[:-1])
    return turned(v, angle)


def turned(v: Tensor, angle: Tensor) -> Tensor:
    """:func:`rotate_pairs` without its checks."""
    pairs, rotated = v.shape[-1] // 2, angle.shape[-1]
    if rotated == 0:
        return v
    if v.dtype in (torch.bfloat16, torch.float16):  # there are no complex numbers of half precision
        return turned(v.float(), angle.float()).to(v.dtype)
    cosine, sine = angle.cos(), angle.sin()
    if rotated < pairs:
        cosine, sine = pad(cosine, (0, pairs - rotated), value=1.0), pad(sine, (0, pairs - rotated))
    # One product of complex numbers is several times faster than four of real ones, taken apart and put together.
    return torch.view_as_real(as_complex(v) * torch.complex(cosine, sine)).flatten(-2)


def as_complex(v: Tensor) -> Tensor:
    """Vectors (..., N) as complex cells (..., N / 2), without a copy where the pairs lie in place."""
    *steps, last = v.stride()
    in_place = last == 1 and v.storage_offset() % 2 == 0 and all(step % 2 == 0 for step in steps)
    v = v if in_place else v.clone(memory_format=torch.contiguous_format)
    return torch.view_as_complex(v.unflatten(-1, (-1, 2)))


def phases(dt: Tensor, theta: Tensor, start: Tensor | None = None, reset: Tensor | None = None) -> Tensor:
    """Sum of the angles dt * theta up to and with each token, in float64.

    A running sum in float32 is off by 4e-3 radians after 1e5 steps of average angle 1, and the sums are small tensors
    beside the states: they are always accumulated in double precision (float32 where a device has no other).

    Parameters
    ----------
    dt : Tensor, (b, T, H)
        Step lengths.
    theta : Tensor, (b, T, H, M) or (b, T, 1, M)
        Angular rates (radians per unit of time).
    start : Tensor, (b, H, M), optional
        Phase before the first token.
    reset : Tensor, (b, T), optional
        True at the first token of each packed sequence, before which the phase is 0.

    Returns
    -------
    Tensor, (b, T, H, M)
        In radians, not reduced.

    Raises
    ------
    ValueError
        If the shapes do not fit.

    Examples
    --------
    >>> phases(torch.full((1, 3, 1), 0.5), torch.ones(1, 3, 1, 1)).flatten().tolist()
    [0.5, 1.0, 1.5]
    """
    given = dict(dt=dt, theta=theta) if start is None else dict(dt=dt, theta=theta, start=start)
    for name, value in given.items():
        if not isinstance(value, Tensor) or not value.is_floating_point():
            raise ValueError(f"{name} must be a floating tensor, got {checks.describe(value)}")
        checks.tensors(**{name: value})
    if dt.dim() != 3 or 0 in dt.shape:
        raise ValueError(f"dt must have shape (b, T, H) with nothing empty, got {tuple(dt.shape)}")
    batch, time, heads = dt.shape
    if theta.dim() != 4 or theta.shape[:2] != (batch, time) or theta.shape[2] not in (1, heads):
        allowed = f"({batch}, {time}, {heads}, M) or ({batch}, {time}, 1, M)"
        raise ValueError(f"theta must have shape {allowed}, got {tuple(theta.shape)}")
    wanted = (batch, heads, theta.shape[-1])
    if start is not None and start.shape != wanted:
        raise ValueError(f"start must have shape {wanted} or be None, got {tuple(start.shape)}")
    if reset is not None:
        fits = isinstance(reset, Tensor) and reset.dtype == torch.bool and reset.shape == (batch, time)
        if not fits:
            allowed = f"a boolean tensor of shape {(batch, time)}"
            raise ValueError(f"reset must be {allowed} or None, got {checks.describe(reset)}")
    if len({value.device for value in (dt, theta, start, reset) if value is not None}) > 1:
        raise ValueError(f"dt, theta, start and reset must be on one device, but theta is on {theta.device}")
    return summed(dt, theta, start, reset)


def summed(dt: Tensor, theta: Tensor, start: Tensor | None, reset: Tensor | None) -> Tensor:
    """:func:`phases` without its checks."""
    kind = precise(dt.device)
    total = torch.cumsum(dt[..., None].to(kind) * theta.to(kind), dim=1)
    if start is not None:
        total = total + start[:, None].to(kind)
    if reset is None:
        return total
    # What had been reached just before the last reset at or before each token is subtracted again.
    start = torch.zeros_like(total[:, :1]) if start is None else start[:, None].to(kind)
    before = torch.cat([start, total[:, :-1]], 1)
    token = torch.arange(dt.shape[1], device=dt.device)
    last = torch.where(reset, token, -1).cummax(dim=1).values[..., None, None]
    reached = before.gather(1, last.clamp(min=0).expand_as(total))
    return total - torch.where(last >= 0, reached, torch.zeros_like(reached))


def precise(device: torch.device) -> torch.dtype:
    """The type in which angles are summed: float64, but for the one kind of device that has no such numbers."""
    return torch.float32 if device.type == "mps" else torch.float64


def wrap(phase) -> Tensor:
    """Angle between -pi and pi that points the same way.

    Parameters
    ----------
    phase : array_like, (...)
        In radians.

    Returns
    -------
    Tensor, (...)

    Raises
    ------
    ValueError
        If phase is not made of real numbers.

    Examples
    --------
    >>> wrap(torch.tensor([0.5, 2 * torch.pi + 0.5, -torch.pi / 2])).round(decimals=4)
    tensor([ 0.5000,  0.5000, -1.5708])
    """
    [phase] = checks.tensors(phase=phase)
    return wrapped(phase)


def wrapped(phase: Tensor) -> Tensor:
    """:func:`wrap` without its checks."""
    return phase - 2 * math.pi * torch.round(phase * (0.5 / math.pi))


def check_pairs(name: str, N: int, angle_name: str, angle: Tensor) -> None:
    """Check that M angles turn pairs of N cells."""
    if N % 2:
        raise ValueError(f"{name} must have an even number of cells to be turned in pairs, got N = {N}")
    if angle.dim() == 0 or angle.shape[-1] > N // 2:
        received = tuple(angle.shape)
        raise ValueError(
            f"{angle_name} must have at most N / 2 = {N // 2} angles in its last dimension, got {received}"
        )
