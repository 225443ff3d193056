"""The recurrence of Mamba-2 and Mamba-3, run token by token, as a masked matrix, or in chunks.

Each head of width P has a memory h of N cells per channel:

    h_t = exp(dt_t A_t) R(dt_t theta_t) (h_{t-1} + (1 - lam_t) dt_t B_{t-1} x_{t-1}^T) + lam_t dt_t B_t x_t^T
    y_t = C_t^T h_t

R turns pairs of cells. With lam = 1 and theta = 0 this is Mamba-2. All forms give the same numbers. Batch b, time T,
heads H, head width P, state N, rotated pairs M <= N/2; B and C come in G groups, G dividing H. Inputs may be half
precision: decays and states are at least float32, angles are summed in float64, and y has the type of x.

Source: Lahoti et al., "Mamba-3", arXiv:2603.15569, Propositions 1-4; chunks after Dao and Gu, arXiv:2405.21060.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lib import checks
from lib.ssm import masks, rotation
from lib.ssm._chunks import chunk_scan
from lib.ssm.masks import segment_sum
from lib.ssm.state import Inputs, ScanState, read

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

BACKENDS = ("auto", "torch", "compile", "triton")


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
    log_decay, later, now, B, C, h, phase = in_turning_frame(given)
    y, h = chunk_scan(given.x, log_decay, later, now, B, C, h, chunk_length)
    return finish(given, y, h, B, phase)


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
    x, dt, A, B, C, lam, theta = _per_head(given)
    padding = given.padded()
    h, k, v, phase = _start(given)
    h, k = _turned_state(h, phase), rotation.turned(k, phase.to(k.dtype))
    outputs = []
    for t in range(given.time):
        if reset is not None:
            first = reset[:, t, None, None]
            h, k, phase = h.masked_fill(first[..., None], 0), k.masked_fill(first, 0), phase.masked_fill(first, 0)
        angle = dt[:, t, :, None].to(phase.dtype) * theta[:, t].to(phase.dtype)
        alpha = torch.exp(dt[:, t] * A[:, t])[..., None, None]
        beta = ((1 - lam[:, t]) * dt[:, t])[..., None, None] * alpha
        gamma = (lam[:, t] * dt[:, t])[..., None, None]
        kept = _turned_state(alpha * h + beta * k[..., :, None] * v[..., None, :], angle)
        following = ScanState(kept + gamma * B[:, t, :, :, None] * x[:, t, :, None, :], B[:, t], x[:, t], phase + angle)
        y = torch.einsum("bhn,bhnp->bhp", C[:, t], following.h)
        if padding is not None:
            ended = padding[:, t, None, None]
            y = y.masked_fill(ended, 0)
            before = ScanState(h, k, v, phase)
            following = [torch.where(_fit(ended, new), old, new) for old, new in zip(before, following, strict=True)]
        h, k, v, phase = following
        outputs.append(y)
    back = -phase
    state = ScanState(_turned_state(h, back), rotation.turned(k, back.to(k.dtype)), v, rotation.wrap(phase))
    return torch.stack(outputs, 1).to(given.output), state


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
    x, dt, A, B, C, lam, theta = _per_head(given)
    phase = rotation.phases(dt, theta)
    angle = -rotation.wrap(phase).to(x.dtype)
    scores = torch.einsum("bthn,bshn->bhts", rotation.turned(C, angle), rotation.turned(B, angle))
    dt, A, lam = (value.transpose(1, 2) for value in (dt, A, lam))
    L = masks.decay_mask(dt, A) @ masks.input_mask(dt, A, lam)
    return torch.einsum("bhts,bshp->bthp", L * scores, x).to(given.output)


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
    y, h = chunk_scan(given.x, log_decay, later, now, B, C, h, chunk_length)
    return finish(given, y, h, B, phase)


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
    given = read(*(_with_time(v) for v in (x, dt, A, B, C, lam, theta)), state, validate=validate)
    log_decay, _, now, B, C, h, phase = in_turning_frame(given)
    B, C = (_to_heads(value, given.heads)[:, 0] for value in (B, C))
    h = log_decay.exp()[:, 0, :, None, None] * h
    h = torch.addcmul(h, (now[:, 0, :, None] * B)[..., None], given.x[:, 0, :, None, :])
    y = (C[..., None, :] @ h)[..., 0, :]
    return y.to(given.output), ScanState(h, B, given.x[:, 0], rotation.wrap(phase[:, 0]))


def _with_time(value):
    return value[:, None] if isinstance(value, torch.Tensor) and value.dim() else value


def _fit(mask: Tensor, value: Tensor) -> Tensor:
    """A (b, 1, 1) mask in as many dimensions as a value has."""
    return mask.reshape(-1, *(1,) * (value.dim() - 1))


def _to_heads(value: Tensor, heads: int) -> Tensor:
    """Groups (b, T, G, ...) repeated for their heads, (b, T, H, ...)."""
    return value if value.shape[2] == heads else value.repeat_interleave(heads // value.shape[2], dim=2)


def _turned_state(h: Tensor, angle: Tensor) -> Tensor:
    """State (b, H, N, P) with its pairs of cells turned by (b, H, M) angles."""
    return rotation.turned(h.mT, angle[:, :, None].to(h.dtype)).mT


def _per_head(given: Inputs) -> tuple[Tensor, ...]:
    """All arguments written out: groups repeated, defaults filled in."""
    lam = torch.ones_like(given.dt) if given.lam is None else given.lam
    theta = given.x.new_zeros(*given.dt.shape, 0) if given.theta is None else given.theta
    B, C = (_to_heads(value, given.heads) for value in (given.B, given.C))
    return given.x, given.dt, given.A, B, C, lam, theta


def _start(given: Inputs) -> ScanState:
    """The state to go on from; zeros where nothing has been read."""
    if given.state is not None:
        return given.state
    x, N = given.x, given.B.shape[3]
    batch, _, heads, width, *rank = x.shape
    rotated = 0 if given.theta is None else given.theta.shape[-1]
    phase = torch.zeros(batch, heads, rotated, dtype=rotation.precise(x.device), device=x.device)
    k, v = x.new_zeros(batch, heads, N, *rank), x.new_zeros(batch, heads, width, *rank)
    return ScanState(x.new_zeros(batch, heads, N, width), k, v, phase)


def in_turning_frame(given: Inputs) -> tuple[Tensor, ...]:
    """The scan without rotation and trapezoid that gives the same outputs.

    Returns
    -------
    log_decay : Tensor, (b, T, H)
        -infinity at the first token of a packed sequence, 0 in padding.
    later, now : Tensor, (b, T, H)
        Weights of a token for all later tokens and for itself.
    B, C : Tensor, (b, T, G, N) or, with rotation, (b, T, H, N); with ranks (..., N, R)
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
    h, k, v, phase = _start(given)
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
    phase = rotation.phases(dt, given.theta, phase, given.reset)
    angle = -rotation.wrap(phase).to(dt.dtype)
    return log_decay, later, now, _turned_vectors(B, angle), _turned_vectors(C, angle), h, phase


def _turned_vectors(value: Tensor, angle: Tensor) -> Tensor:
    """Write or read vectors (b, T, G, N[, R]), turned by each head's angle."""
    value = _to_heads(value, angle.shape[2])
    return rotation.turned(value, angle) if value.dim() == 4 else rotation.turned(value.mT, angle[..., None, :]).mT


def finish(given: Inputs, y: Tensor, h: Tensor, B: Tensor, phase: Tensor) -> tuple[Tensor, ScanState]:
    """What a scan returns: outputs in the type of x, zero in padding, and the state after the last real token."""
    x, B = given.x, _to_heads(B, given.heads)
    if given.lengths is None:
        k, v, phase = B[:, -1], x[:, -1], phase[:, -1]
    else:
        y = y.masked_fill(_fit_tokens(given.padded(), y), 0)
        k, v, phase = (_at(value, given.lengths - 1) for value in (B, x, phase))
    return y.to(given.output), ScanState(h, k, v, rotation.wrap(phase))


def _fit_tokens(mask: Tensor, value: Tensor) -> Tensor:
    return mask.reshape(*mask.shape, *(1,) * (value.dim() - 2))


def _at(value: Tensor, token: Tensor) -> Tensor:
    """Entries (b, ...) of (b, T, ...) at one token for each row."""
    return value[torch.arange(value.shape[0], device=value.device), token]
