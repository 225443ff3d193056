"""The recurrence of Mamba-2 and Mamba-3, run token by token, as a masked matrix, or in chunks.

Each head of width P has a memory h of N cells per channel:

    h_t = exp(dt_t A_t) R(dt_t theta_t) (h_{t-1} + (1 - lam_t) dt_t B_{t-1} x_{t-1}^T) + lam_t dt_t B_t x_t^T
    y_t = C_t^T h_t

R turns pairs of cells. With lam = 1 and theta = 0 this is Mamba-2. All forms give the same numbers. Batch b, time T,
heads H, head width P, state N, rotated pairs M <= N/2; B and C come in G groups, G dividing H. Inputs may be half
precision: decays and states are at least float32, angles are summed in float64, and y has the type of x. Automatic
mixed precision changes none of this.

Source: Lahoti et al., "Mamba-3", arXiv:2603.15569, Propositions 1-4; chunks after Dao and Gu, arXiv:2405.21060.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lib import checks
from lib._plain_operations import needs_plain_operations
from lib.ssm import _chunks, backends, masks, rotation
from lib.ssm._autograd import without_autocast
from lib.ssm._frame import finish, in_turning_frame, per_head, to_heads
from lib.ssm._reference import sequential
from lib.ssm.backends import BACKENDS
from lib.ssm.masks import segment_sum
from lib.ssm.state import ScanState, read

__all__ = [
    "BACKENDS",
    "ScanState",
    "scan",
    "scan_chunked",
    "scan_matrix",
    "scan_sequential",
    "scan_step",
    "segment_sum",
]


@without_autocast
def scan(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    lam: Tensor | None = None,
    theta: Tensor | None = None,
    *,
    initial_state: ScanState | None = None,
    reset: Tensor | None = None,
    lengths: Tensor | None = None,
    chunk_length: int = 64,
    backend: str = "auto",
    validate: bool = True,
) -> tuple[Tensor, ScanState]:
    """Run the recurrence over a batch of sequences, as fast as the device allows.

    Parameters
    ----------
    x : Tensor, (b, T, H, P)
        Inputs.
    dt : Tensor, (b, T, H)
        Step lengths, above 0 (unit of time free).
    A : Tensor, (b, T, H)
        Rates at which the state decays, at most 0 (per unit of time).
    B, C : Tensor, (b, T, G, N)
        Write and read vectors of G groups of H / G heads each.
    lam : Tensor, (b, T, H), optional
        Weight of the current input against the previous one, from 0 to 1; by default 1, the rule of Mamba-2.
    theta : Tensor, (b, T, H, M) or (b, T, 1, M), optional
        Angular rates of the first M pairs of cells (radians per unit of time); by default nothing turns.
    initial_state : ScanState, optional
        What a previous call returned, to go on from there; by default nothing has been read.
    reset : Tensor of bool, (b, T), optional
        True at the first token of each of several sequences packed into one row: everything before is forgotten.
    lengths : Tensor of int, (b,), optional
        Tokens of each row that are real; the rest is padding, for which y is 0 and the state stays.
    chunk_length : int
        Tokens that are worked on as one matrix.
    backend : str
        ``"torch"``, ``"compile"``, ``"triton"``, or ``"auto"`` for the best that is there.
    validate : bool
        Whether to look at values (finite, signs, ranges): on a GPU that waits for the device. Shapes and types are
        always checked.

    Returns
    -------
    y : Tensor, (b, T, H, P)
        Outputs, in the type of x.
    state : ScanState
        Memory after the last (real) token, at least float32.

    Raises
    ------
    ValueError
        If shapes, types or devices do not fit, N is odd under rotation, M exceeds N / 2, a dt is not positive, an A is
        positive, a lam lies outside [0, 1], chunk_length is below 1, or the backend is unknown.

    Notes
    -----
    The gradient is written out and can be taken once; for higher derivatives use :func:`scan_chunked`.
    It looks at y again: add to y with ``y + ...``, not in place (torch says so otherwise). Under ``torch.func`` and in
    forward mode plain operations run; ``vmap`` needs ``validate=False``.

    Examples
    --------
    >>> one = torch.ones(1, 2, 1, 1)
    >>> y, state = scan(one, one[..., 0], -one[..., 0], one, one)
    >>> y.flatten()
    tensor([1.0000, 1.3679])
    """
    checks.integer("chunk_length", chunk_length, lowest=1)
    checks.choice("backend", backend, BACKENDS)
    given = read(x, dt, A, B, C, lam, theta, initial_state, reset, lengths, validate=validate)
    plain = needs_plain_operations(x, dt, A, B, C, lam, theta, *(initial_state or ()))
    log_decay, later, now, B, C, h, phase = in_turning_frame(given, fused=not plain)
    if plain:
        y, h = _chunks.chunk_scan(given.x, log_decay, later, now, B, C, h, chunk_length)
    else:
        how = dict(backend=backend, resets=reset is not None)
        y, h = backends.chunk_scan(given.x, log_decay, later, now, B, C, h, chunk_length, **how)
    return finish(given, y, h, B, phase)


@without_autocast
def scan_sequential(
    x, dt, A, B, C, lam=None, theta=None, *, initial_state=None, reset=None, lengths=None, validate=True
) -> tuple[Tensor, ScanState]:
    """Token by token, with a state that turns: the source of truth.

    Parameters, results and errors are those of :func:`scan`, without chunks and backends.

    Examples
    --------
    >>> one = torch.ones(1, 2, 1, 1)
    >>> y, state = scan_sequential(one, one[..., 0], -one[..., 0], one, one)
    >>> y.flatten()
    tensor([1.0000, 1.3679])
    """
    given = read(x, dt, A, B, C, lam, theta, initial_state, reset, lengths, validate=validate)
    return sequential(given)


@without_autocast
def scan_matrix(x, dt, A, B, C, lam=None, theta=None, *, validate=True) -> Tensor:
    """All tokens at once, as one masked matrix of T x T weights per head: y = (L * C B^T) x.

    Parameters, results (y only) and errors are those of :func:`scan`. Time and memory grow with T squared.

    Examples
    --------
    >>> one = torch.ones(1, 2, 1, 1)
    >>> scan_matrix(one, one[..., 0], -one[..., 0], one, one).flatten()
    tensor([1.0000, 1.3679])
    """
    given = read(x, dt, A, B, C, lam, theta, validate=validate)
    x, dt, A, B, C, lam, theta = per_head(given)
    phase = rotation.summed(dt, theta, None, None)
    angle = -rotation.wrapped(phase).to(x.dtype)
    scores = torch.einsum("bthn,bshn->bhts", rotation.turned(C, angle), rotation.turned(B, angle))
    dt, A, lam = (value.transpose(1, 2) for value in (dt, A, lam))
    L = masks.decay_mask(dt, A) @ masks.input_mask(dt, A, lam)
    return torch.einsum("bhts,bshp->bthp", L * scores, x).to(given.x.dtype)


@without_autocast
def scan_chunked(
    x,
    dt,
    A,
    B,
    C,
    lam=None,
    theta=None,
    *,
    initial_state=None,
    reset=None,
    lengths=None,
    chunk_length=64,
    validate=True,
) -> tuple[Tensor, ScanState]:
    """In chunks: a masked matrix inside each, a state from one to the next, in the frame that turns.

    The readable form, in plain torch, differentiable any number of times. Parameters, results and errors are those of
    :func:`scan`, without backends.

    Examples
    --------
    >>> one = torch.ones(1, 2, 1, 1)
    >>> y, state = scan_chunked(one, one[..., 0], -one[..., 0], one, one, chunk_length=1)
    >>> y.flatten()
    tensor([1.0000, 1.3679])
    """
    checks.integer("chunk_length", chunk_length, lowest=1)
    given = read(x, dt, A, B, C, lam, theta, initial_state, reset, lengths, validate=validate)
    log_decay, later, now, B, C, h, phase = in_turning_frame(given)
    y, h = _chunks.chunk_scan(given.x, log_decay, later, now, B, C, h, chunk_length)
    return finish(given, y, h, B, phase)


@without_autocast
def scan_step(x, dt, A, B, C, lam=None, theta=None, state=None, *, validate=True) -> tuple[Tensor, ScanState]:
    """One token: the step of generation, at a cost that does not grow with what was read.

    Parameters
    ----------
    x : Tensor, (b, H, P)
        Input.
    dt, A, lam : Tensor, (b, H)
        As in :func:`scan`, without time.
    B, C : Tensor, (b, G, N)
        Write and read vectors.
    theta : Tensor, (b, H, M) or (b, 1, M), optional
        Angular rates.
    state : ScanState, optional
        What the last step or a scan returned; by default nothing has been read.
    validate : bool
        Whether to look at values, as in :func:`scan`.

    Returns
    -------
    y : Tensor, (b, H, P)
    state : ScanState

    Raises
    ------
    ValueError
        As :func:`scan`.

    Examples
    --------
    >>> one = torch.ones(1, 1, 1)
    >>> y, state = scan_step(one, one[..., 0], -one[..., 0], one, one)
    >>> scan_step(one, one[..., 0], -one[..., 0], one, one, state=state)[0]
    tensor([[[1.3679]]])
    """
    given = read(x, dt, A, B, C, lam, theta, state, validate=validate, step=True)
    log_decay, _, now, B, C, h, phase = in_turning_frame(given)
    x, B, C = (value[:, 0].to(given.compute) for value in (given.x, to_heads(B, given.heads), to_heads(C, given.heads)))
    h = log_decay.exp()[:, 0, :, None, None] * h
    h = torch.addcmul(h, (now[:, 0, :, None] * B)[..., None], x[..., None, :])
    y = (C[..., None, :] @ h)[..., 0, :]
    return y.to(given.x.dtype), ScanState(h, B, x, rotation.wrapped(phase[:, 0]))
