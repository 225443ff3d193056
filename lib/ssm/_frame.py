"""What all forms of the scan share: groups written out for heads, where to start, and the frame that turns.

With ranks (several inputs and outputs a head) x has shape (b, T, H, P, R) and B and C have (b, T, G, N, R).
"""

from __future__ import annotations

import torch
from torch import Tensor

from lib.ssm import masks, rotation
from lib.ssm._rotation_autograd import turned_back
from lib.ssm.state import Inputs, ScanState

__all__ = ["finish", "in_turning_frame", "per_head", "start", "to_heads", "turned_state"]


def to_heads(value: Tensor, heads: int) -> Tensor:
    """Groups (b, T, G, ...) repeated for their heads, (b, T, H, ...)."""
    return value if value.shape[2] == heads else value.repeat_interleave(heads // value.shape[2], dim=2)


def turned_state(h: Tensor, angle: Tensor) -> Tensor:
    """States (b, H, N, P), or vectors (b, H, N, R), with their pairs of cells turned by (b, H, M) angles."""
    return rotation.turned(h.mT, rotation.wrapped(angle)[:, :, None].to(h.dtype)).mT


def per_head(given: Inputs) -> tuple[Tensor, ...]:
    """All arguments written out: groups repeated, defaults filled in."""
    lam = torch.ones_like(given.dt) if given.lam is None else given.lam
    theta = given.dt.new_zeros(*given.dt.shape, 0) if given.theta is None else given.theta
    x, B, C = (value.to(given.compute) for value in (given.x, given.B, given.C))
    return x, given.dt, given.A, to_heads(B, given.heads), to_heads(C, given.heads), lam, theta


def start(given: Inputs) -> ScanState:
    """The state to go on from; zeros where nothing has been read."""
    if given.state is not None:
        return given.state
    N, new = given.B.shape[3], given.dt.new_zeros
    batch, _, heads, width, *rank = given.x.shape
    rotated = 0 if given.theta is None else given.theta.shape[-1]
    phase = torch.zeros(batch, heads, rotated, dtype=rotation.precise(given.dt.device), device=given.dt.device)
    k, v = new(batch, heads, N, *rank), new(batch, heads, width, *rank)
    return ScanState(new(batch, heads, N, width), k, v, phase)


def in_turning_frame(given: Inputs, *, fused: bool = False) -> tuple[Tensor, ...]:
    """The scan without rotation and trapezoid that gives the same outputs.

    Parameters
    ----------
    given : Inputs
    fused : bool
        Whether to turn B and C in few operations, which can be differentiated once and cannot be recorded.

    Returns
    -------
    log_decay : Tensor, (b, T, H)
        -infinity at the first token of a packed sequence, 0 in padding.
    later, now : Tensor, (b, T, H)
        Weights of a token for all later tokens and for itself.
    B, C : Tensor, (b, T, G, N) as they came or, with rotation, (b, T, H, N); with ranks (..., N, R)
    h : Tensor, (b, H, N, P)
        State before the first token, with what the first step takes from the token before it.
    phase : Tensor, (b, T, H, M)
        Sums of angles.
    """
    dt, B, C = given.dt, given.B, given.C
    if given.lengths is not None:
        dt = dt.masked_fill(given.padded()[..., None], 0)
    log_decay = dt * given.A
    if given.reset is not None:
        log_decay = log_decay.masked_fill(given.reset[..., None], -torch.inf)
    later = now = dt
    h, k, v, phase = start(given)
    if given.lam is not None:
        now = given.lam * dt
        previous = dt - now
        if given.reset is not None:
            previous = previous.masked_fill(given.reset[..., None], 0)
        later = masks.folded_weights(now, previous)
        if given.state is not None:
            ranked = "bhnr,bhpr->bhnp" if k.dim() == 4 else "bhn,bhp->bhnp"
            h = h + previous[:, 0, :, None, None] * torch.einsum(ranked, k, v)
    if given.theta is None:
        return log_decay, later, now, B, C, h, phase[:, None].expand(-1, given.time, -1, -1)
    phase = rotation.summed(dt, given.theta, phase, given.reset)
    if fused:
        return log_decay, later, now, *turned_back((B, C), phase), h, phase
    angle = -rotation.wrapped(phase).to(dt.dtype)
    return log_decay, later, now, turned_vectors(B, angle), turned_vectors(C, angle), h, phase


def turned_vectors(value: Tensor, angle: Tensor) -> Tensor:
    """Write or read vectors (b, T, G, N[, R]), turned by each head's angle."""
    value = to_heads(value, angle.shape[2]).to(angle.dtype)
    return rotation.turned(value, angle) if value.dim() == 4 else rotation.turned(value.mT, angle[..., None, :]).mT


def finish(given: Inputs, y: Tensor, h: Tensor, B: Tensor, phase: Tensor) -> tuple[Tensor, ScanState]:
    """What a scan returns: outputs in the type of x, zero in padding, and the state after the last real token."""
    if given.lengths is None:
        # Copies: views would keep all tokens in memory for as long as the state lives.
        k, v, phase = B[:, -1:].clone(), given.x[:, -1].clone(), phase[:, -1]
    else:
        y = y.masked_fill(given.padded().reshape(*y.shape[:2], *(1,) * (y.dim() - 2)), 0)
        k, v, phase = (_at(value, given.lengths - 1) for value in (B, given.x, phase))
        k = k[:, None]
    k, v = to_heads(k, given.heads)[:, 0].to(given.compute), v.to(given.compute)
    return y.to(given.x.dtype), ScanState(h, k, v, rotation.wrapped(phase))


def _at(value: Tensor, token: Tensor) -> Tensor:
    """Entries (b, ...) of (b, T, ...) at one token for each row."""
    return value[torch.arange(value.shape[0], device=value.device), token]
