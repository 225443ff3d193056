"""The recurrence as it is written, one token at a time and in the frame that does not turn: the source of truth."""

from __future__ import annotations

import torch
from torch import Tensor

from lib.ssm import _frame, rotation
from lib.ssm.state import Inputs, ScanState

__all__ = ["sequential"]


def recurrence(x, dt, A, B, C, lam, angle, h, k, v) -> tuple[Tensor, Tensor]:
    """One token: output and new state, from the state h and the write vectors k and inputs v of the token before.

    x and v are (b, H, P, R), B, C and k (b, H, N, R), h is (b, H, N, P), the others (b, H, 1, 1); angle (b, H, M).
    """
    alpha = torch.exp(dt * A)
    beta = (1 - lam) * dt * alpha
    gamma = lam * dt
    h = _frame.turned_state(alpha * h + beta * k @ v.mT, angle) + gamma * B @ x.mT
    return h.mT @ C, h


def sequential(given: Inputs) -> tuple[Tensor, ScanState]:
    """The recurrence over all tokens, with sequences that start anew and padding that changes nothing."""
    x, dt, A, B, C, lam, theta = _frame.per_head(given)
    h, k, v, phase = _frame.start(given)
    ranked = x.dim() == 5
    if not ranked:
        x, B, C, k, v = (value[..., None] for value in (x, B, C, k, v))
    dt, A, lam = (value[..., None, None] for value in (dt, A, lam))
    h, k = _frame.turned_state(h, phase), _frame.turned_state(k, phase)
    padded = given.padded()
    outputs = []
    for t in range(given.time):
        if given.reset is not None:
            first = given.reset[:, t, None, None, None]
            h, k, phase = h.masked_fill(first, 0), k.masked_fill(first, 0), phase.masked_fill(first[..., 0], 0)
        before = h, k, v, phase
        angle = dt[:, t, ..., 0].to(phase.dtype) * theta[:, t].to(phase.dtype)
        y, h = recurrence(*(value[:, t] for value in (x, dt, A, B, C, lam)), angle, h, k, v)
        k, v, phase = B[:, t], x[:, t], phase + angle
        if padded is not None:
            ended = padded[:, t, None, None, None]
            y = y.masked_fill(ended, 0)
            h, k, v = (torch.where(ended, old, new) for old, new in zip(before[:3], (h, k, v), strict=True))
            phase = torch.where(ended[..., 0], before[3], phase)
        outputs.append(y)
    y, h, k = torch.stack(outputs, 1), _frame.turned_state(h, -phase), _frame.turned_state(k, -phase)
    if not ranked:
        y, k, v = y[..., 0], k[..., 0], v[..., 0]
    return y.to(given.x.dtype), ScanState(h, k, v, rotation.wrapped(phase))
