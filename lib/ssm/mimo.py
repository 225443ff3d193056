"""The scan with R inputs and outputs a head: more arithmetic on the same memory.

B and C are matrices (N, R), x and y are (P, R), and the state stays (N, P):

    h_t = exp(dt_t A_t) R(dt_t theta_t) (h_{t-1} + (1 - lam_t) dt_t B_{t-1} x_{t-1}^T) + lam_t dt_t B_t x_t^T
    y_t = h_t^T C_t

It equals R^2 scans with one input and output, y^(i) = sum_j scan(B^(j), C^(i), x^(j)). Shapes and rules are those of
:mod:`lib.ssm.scan`, with the rank R as the last dimension of x, B, C and y.

Source: Lahoti et al., "Mamba-3", arXiv:2603.15569, Section 3.3.
"""

from __future__ import annotations

from torch import Tensor

from lib import checks
from lib._plain_operations import needs_plain_operations
from lib.ssm import backends, rotation
from lib.ssm._autograd import without_autocast
from lib.ssm._frame import finish, in_turning_frame, to_heads
from lib.ssm._reference import sequential
from lib.ssm.state import ScanState, read

__all__ = ["mimo_scan_chunked", "mimo_scan_sequential", "mimo_step"]


@without_autocast
def mimo_scan_sequential(
    x, dt, A, B, C, lam=None, theta=None, *, initial_state=None, reset=None, lengths=None, validate=True
) -> tuple[Tensor, ScanState]:
    """Token by token: the source of truth.

    Parameters, results and errors are those of :func:`mimo_scan_chunked`, without chunks and backends.

    Examples
    --------
    >>> import torch
    >>> x, one = torch.ones(1, 2, 1, 1, 3), torch.ones(1, 2, 1)
    >>> y, state = mimo_scan_sequential(x, one, -one, x, x)
    >>> y[0, :, 0, 0]
    tensor([[3.0000, 3.0000, 3.0000],
            [4.1036, 4.1036, 4.1036]])
    """
    given = read(x, dt, A, B, C, lam, theta, initial_state, reset, lengths, validate=validate, ranks=True)
    return sequential(given)


@without_autocast
def mimo_scan_chunked(
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
    chunk_length: int | None = None,
    backend: str = "auto",
    validate: bool = True,
) -> tuple[Tensor, ScanState]:
    """In chunks, as one matrix between all ranks of all tokens of a chunk.

    Parameters
    ----------
    x : Tensor, (b, T, H, P, R)
        Inputs.
    dt, A, lam, theta, reset, lengths, backend, validate
        As in :func:`lib.ssm.scan.scan`.
    B, C : Tensor, (b, T, G, N, R)
        Write and read matrices of G groups of heads.
    initial_state : ScanState, optional
        What a previous call returned.
    chunk_length : int, optional
        Tokens in a chunk; by default 64 / R, with which the work grows as R, not as R squared.

    Returns
    -------
    y : Tensor, (b, T, H, P, R)
        Outputs, in the type of x.
    state : ScanState
        Memory after the last (real) token; k is (b, H, N, R) and v is (b, H, P, R).

    Raises
    ------
    ValueError
        As :func:`lib.ssm.scan.scan`, and if the ranks differ.

    Notes
    -----
    The gradient is written out and can be taken once; for higher derivatives use :func:`mimo_scan_sequential`.
    It looks at y again: add to y with ``y + ...``, not in place (torch says so otherwise).

    Examples
    --------
    >>> import torch
    >>> x, one = torch.ones(1, 2, 1, 1, 3), torch.ones(1, 2, 1)
    >>> y, state = mimo_scan_chunked(x, one, -one, x, x)
    >>> y[0, :, 0, 0]
    tensor([[3.0000, 3.0000, 3.0000],
            [4.1036, 4.1036, 4.1036]])
    """
    if chunk_length is not None:
        checks.integer("chunk_length", chunk_length, lowest=1)
    checks.choice("backend", backend, backends.BACKENDS)
    given = read(x, dt, A, B, C, lam, theta, initial_state, reset, lengths, validate=validate, ranks=True)
    if needs_plain_operations(x, dt, A, B, C, lam, theta, *(initial_state or ())):
        return sequential(given)
    log_decay, later, now, B, C, h, phase = in_turning_frame(given, fused=True)
    length = max(1, 64 // x.shape[-1]) if chunk_length is None else chunk_length
    how = dict(backend=backend, resets=reset is not None)
    y, h = backends.chunk_scan(given.x.mT, log_decay, later, now, B.mT, C.mT, h, length, **how)
    return finish(given, y.mT, h, B, phase)


@without_autocast
def mimo_step(x, dt, A, B, C, lam=None, theta=None, state=None, *, validate=True) -> tuple[Tensor, ScanState]:
    """One token: the step of generation.

    Parameters
    ----------
    x : Tensor, (b, H, P, R)
        Inputs.
    dt, A, lam : Tensor, (b, H)
        As in :func:`mimo_scan_chunked`, without time.
    B, C : Tensor, (b, G, N, R)
        Write and read matrices.
    theta : Tensor, (b, H, M) or (b, 1, M), optional
        Angular rates.
    state : ScanState, optional
        What the last step or a scan returned; by default nothing has been read.
    validate : bool
        Whether to look at values.

    Returns
    -------
    y : Tensor, (b, H, P, R)
    state : ScanState

    Raises
    ------
    ValueError
        As :func:`mimo_scan_chunked`.

    Examples
    --------
    >>> import torch
    >>> x, one = torch.ones(1, 1, 1, 3), torch.ones(1, 1)
    >>> y, state = mimo_step(x, one, -one, x, x)
    >>> mimo_step(x, one, -one, x, x, state=state)[0]
    tensor([[[[4.1036, 4.1036, 4.1036]]]])
    """
    given = read(x, dt, A, B, C, lam, theta, state, validate=validate, ranks=True, step=True)
    log_decay, _, now, B, C, h, phase = in_turning_frame(given)
    x, B, C = (value[:, 0].to(given.compute) for value in (given.x, to_heads(B, given.heads), to_heads(C, given.heads)))
    h = log_decay.exp()[:, 0, :, None, None] * h + (now[:, 0, :, None, None] * B) @ x.mT
    return (h.mT @ C).to(given.x.dtype), ScanState(h, B, x, rotation.wrapped(phase[:, 0]))
