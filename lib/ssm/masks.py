"""A scan as a masked matrix: what token s contributes to token t.

y = (L * C B^T) x with L = L1 L2: L1 holds the products of decays, L2 the two weights of the input at the current and
the previous token. All masks are lower triangular, (..., T, T), row t (to), column s (from).

Source: Lahoti et al., "Mamba-3", arXiv:2603.15569, Section 3; Dao and Gu, "Transformers are SSMs", arXiv:2405.21060.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from lib import checks

__all__ = ["decay_mask", "input_mask", "scan_mask", "segment_sum"]


def segment_sum(log_decay) -> Tensor:
    """Sums of log decays over all segments, without a difference of large numbers.

    Parameters
    ----------
    log_decay : array_like, (..., T)
        Logarithms of the decays, dt * A.

    Returns
    -------
    Tensor, (..., T, T)
        Entry (t, s) is the sum over s < k <= t; 0 on the diagonal and -infinity above it.

    Raises
    ------
    ValueError
        If log_decay is no row of at least one number.

    Examples
    --------
    >>> segment_sum([-1.0, -2.0, -4.0]).tolist()
    [[0.0, -inf, -inf], [-2.0, 0.0, -inf], [-6.0, -4.0, 0.0]]
    """
    [log_decay] = checks.tensors(log_decay=log_decay)
    checks.shape("log_decay", log_decay, None)
    return segments(log_decay)


def segments(log_decay: Tensor) -> Tensor:
    """:func:`segment_sum` without its checks."""
    time = log_decay.shape[-1]
    lower = torch.ones(time, time, dtype=torch.bool, device=log_decay.device).tril()
    below = lower.tril(-1)
    terms = torch.where(below, log_decay[..., :, None], torch.zeros_like(log_decay[..., :, None]))
    return torch.where(lower, terms.cumsum(-2), torch.full_like(terms, -torch.inf))


def decay_mask(dt, A) -> Tensor:
    """L1: how much of what was written at s is left at t.

    Parameters
    ----------
    dt : array_like, (..., T)
        Step lengths, above 0.
    A : array_like, (..., T) or ()
        Rates, at most 0.

    Returns
    -------
    Tensor, (..., T, T)
        Products of exp(dt A) over s < k <= t.

    Raises
    ------
    ValueError
        If a dt is not positive or an A is.

    Examples
    --------
    >>> decay_mask([1.0, 1.0], -0.5)
    tensor([[1.0000, 0.0000],
            [0.6065, 1.0000]], dtype=torch.float64)
    """
    dt, A, _ = _steps(dt, A, 1.0)
    return torch.exp(segments(dt * A))


def input_mask(dt, A, lam) -> Tensor:
    """L2: the weights with which a step takes in the current (diagonal) and the previous token (just below).

    Parameters
    ----------
    dt, A : array_like
        As in :func:`decay_mask`.
    lam : array_like, (..., T) or ()
        Weight of the right end of the step, from 0 to 1; 1 leaves the diagonal only.

    Returns
    -------
    Tensor, (..., T, T)

    Raises
    ------
    ValueError
        As :func:`decay_mask`, and if a lam lies outside [0, 1].

    Examples
    --------
    >>> input_mask([1.0, 1.0], -0.5, 0.5)
    tensor([[0.5000, 0.0000],
            [0.3033, 0.5000]], dtype=torch.float64)
    """
    dt, A, lam = _steps(dt, A, lam)
    current = torch.diag_embed(lam * dt)
    previous = (1 - lam) * dt * torch.exp(dt * A)
    # A row and a column of nothing move the weights of the previous token just below the diagonal.
    return current + pad(torch.diag_embed(previous[..., 1:]), (0, 1, 1, 0))


def scan_mask(dt, A, lam) -> Tensor:
    """L = L1 L2, entry by entry: one weight for all later tokens, another for the token itself.

    Parameters
    ----------
    dt, A, lam : array_like
        As in :func:`input_mask`.

    Returns
    -------
    Tensor, (..., T, T)

    Raises
    ------
    ValueError
        As :func:`input_mask`.

    Examples
    --------
    >>> scan_mask([1.0, 1.0], -0.5, 0.5)
    tensor([[0.5000, 0.0000],
            [0.6065, 0.5000]], dtype=torch.float64)
    """
    dt, A, lam = _steps(dt, A, lam)
    now = lam * dt
    later = folded_weights(now, (1 - lam) * dt, dim=-1)
    return torch.exp(segments(dt * A)) * later[..., None, :] - torch.diag_embed(later - now)


def folded_weights(now: Tensor, previous: Tensor, dim: int = 1) -> Tensor:
    """Weights of a token for all later tokens.

    What the next step takes from the previous token has decayed by that step, like all that was written before: so it
    may as well be written one step earlier, later_s = now_s + previous_{s+1} with now = lam dt and previous = (1 - lam)
    dt = beta / alpha. The last token knows no next step.
    """
    following = previous.narrow(dim, 1, previous.shape[dim] - 1)
    return now + torch.cat([following, torch.zeros_like(previous.narrow(dim, 0, 1))], dim)


def _steps(dt, A, lam) -> tuple[Tensor, Tensor, Tensor]:
    dt, A, lam = checks.tensors(dt=dt, A=A, lam=lam)
    checks.shape("dt", dt, None)
    for name, value in dict(A=A, lam=lam).items():
        if value.dim() and value.shape[-1] != dt.shape[-1]:
            allowed = f"the length {dt.shape[-1]} of dt or be one number"
            raise ValueError(f"{name} must have {allowed}, got shape {tuple(value.shape)}")
    checks.batch(dt=dt.shape, A=A.shape, lam=lam.shape)
    checks.require(dt > 0, "dt must be positive", dt)
    checks.require(A <= 0, "A must be at most 0", A)
    checks.require((lam >= 0) & (lam <= 1), "lam must be from 0 to 1", lam)
    return tuple(torch.broadcast_tensors(dt, A, lam))
