"""The chunked scan in the frame that turns: the part that backends replace.

    h_t = exp(log_decay_t) h_{t-1} + later_t B_t x_t^T,   y_t = C_t^T (h_t - (later_t - now_t) B_t x_t^T)

All arguments are checked. Decays, weights and states are at least float32, and so is all that is returned; x, B and C
may be half precision. A log decay of -infinity forgets everything before. This is the readable form; the faster one of
:mod:`lib.ssm._chunks_autograd` takes the same arguments.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lib.ssm import masks

__all__ = ["chunk_scan"]


def chunk_scan(
    x: Tensor,
    log_decay: Tensor,
    later: Tensor,
    now: Tensor,
    B: Tensor,
    C: Tensor,
    h: Tensor,
    chunk_length: int,
    chunk: Callable | None = None,
) -> tuple[Tensor, Tensor]:
    """Outputs and final state.

    Parameters
    ----------
    x : Tensor, (b, T, H, P)
    log_decay, later, now : Tensor, (b, T, H)
        Logarithm of the decay of the state; weight of a token for all later tokens and for itself.
    B, C : Tensor, (b, T, G, N)
        Write and read vectors of G groups of heads.
    h : Tensor, (b, H, N, P)
        State before the first token.
    chunk_length : int
        Tokens in a chunk.
    chunk : callable, optional
        What works on one chunk: a compiled form of :func:`one_chunk`, which is the default.

    Returns
    -------
    y : Tensor, (b, T, H, P)
    h : Tensor, (b, H, N, P)
        State after the last token.
    """
    x, B, C = (value.to(log_decay.dtype) for value in (x, B, C))
    heads = x.shape[2]
    if B.shape[2] != heads:
        B, C = (value.repeat_interleave(heads // value.shape[2], dim=2) for value in (B, C))
    chunk = one_chunk if chunk is None else chunk
    outputs = []
    for start in range(0, x.shape[1], chunk_length):
        tokens = slice(start, start + chunk_length)
        y, h = chunk(*(value[:, tokens] for value in (x, log_decay, later, now, B, C)), h)
        outputs.append(y)
    return torch.cat(outputs, 1), h


def one_chunk(x, log_decay, later, now, B, C, h) -> tuple[Tensor, Tensor]:
    """Outputs of one chunk and the state after it, with B and C written out for every head."""
    decay = masks.segments(log_decay.transpose(1, 2)).exp()
    weights = decay * later.transpose(1, 2)[..., None, :] - torch.diag_embed((later - now).transpose(1, 2))
    scores = torch.einsum("bthn,bshn->bhts", C, B) * weights
    from_start = log_decay.cumsum(1).exp()
    y = torch.einsum("bhts,bshp->bthp", scores, x)
    y = y + torch.einsum("bthn,bhnp->bthp", C * from_start[..., None], h)
    to_end = decay[:, :, -1].transpose(1, 2) * later
    written = torch.einsum("bshn,bshp->bhnp", B * to_end[..., None], x)
    return y, from_start[:, -1, :, None, None] * h + written
