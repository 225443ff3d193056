"""Triton kernels of the selective scan: a program for each sequence and block of channels, its state in registers.

    h_t[d, n] = exp(dt_t[d] A[d, n]) h_{t-1}[d, n] + dt_t[d] B_t[n] x_t[d],   y_t[d] = sum_n C_t[n] h_t[d, n]

The backward keeps one state for every ``SPAN`` tokens. Those in between are computed again, span after span from the
last, into a scratch space that stays in the cache of the device. Each token costs one exponential a cell forwards and
two backwards, which is the floor on a GPU rather than the bytes (at 8 x 4096 x 2048 x 16: 1.07e9 exponentials, 0.3 ms).
Offsets of batch and block are int64; tokens past the end are masked, and leave the state as it is.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from lib.ssm._autograd import differentiable_once

__all__ = ["selective_scan_triton"]

SPAN = 32

# Cells of the state that a warp keeps: 16 in each thread's registers.
CELLS = 512


@triton.jit
def _token(x, dt, A, B, keep, batch, t, T, D, d, n, N: tl.constexpr, HAS_RESET: tl.constexpr):
    """Input, step and write vector of a token, and its decays."""
    at = batch * T + t
    d_in = (d < D) & (t + 0 * d < T)
    n_in = (n < N) & (t + 0 * n < T)
    xs = tl.load(x + at * D + d, mask=d_in, other=0.0).to(tl.float32)
    dts = tl.load(dt + at * D + d, mask=d_in, other=0.0).to(tl.float32)
    bs = tl.load(B + at * N + n, mask=n_in, other=0.0).to(tl.float32)
    decay = tl.exp(dts[:, None] * A)
    if HAS_RESET:
        decay = decay * tl.load(keep + batch * T + t, mask=t < T, other=1.0)
    return xs, dts, bs, decay


@triton.jit
def _forward(
    x,
    dt,
    A,
    B,
    C,
    keep,
    initial,
    y,
    final,
    edges,
    T,
    D,
    spans,
    N: tl.constexpr,
    BD: tl.constexpr,
    BN: tl.constexpr,
    SPAN: tl.constexpr,
    STAGES: tl.constexpr,
    HAS_RESET: tl.constexpr,
    KEEPS: tl.constexpr,
):
    """Outputs (b, T, D), final state (b, D, N) and, if KEEPS, the states (b, spans, D, N) before each span."""
    blocks = tl.cdiv(D, BD)
    batch = (tl.program_id(0) // blocks).to(tl.int64)
    d = (tl.program_id(0) % blocks) * BD + tl.arange(0, BD)
    n = tl.arange(0, BN)
    state_in = (d < D)[:, None] & (n < N)[None, :]
    of_state = d[:, None] * N + n[None, :]
    rates = tl.load(A + of_state, mask=state_in, other=0.0).to(tl.float32)
    h = tl.load(initial + batch * D * N + of_state, mask=state_in, other=0.0)
    for span in tl.range(0, spans):
        if KEEPS:
            tl.store(edges + (batch * spans + span) * D * N + of_state, h, mask=state_in)
        for i in tl.range(0, SPAN, num_stages=STAGES):
            t = span * SPAN + i
            xs, dts, bs, decay = _token(x, dt, rates, B, keep, batch, t, T, D, d, n, N, HAS_RESET)
            cs = tl.load(C + (batch * T + t) * N + n, mask=(n < N) & (t + 0 * n < T), other=0.0).to(tl.float32)
            h = decay * h + (dts * xs)[:, None] * bs[None, :]
            tl.store(y + (batch * T + t) * D + d, tl.sum(h * cs[None, :], 1), mask=(d < D) & (t + 0 * d < T))
    tl.store(final + batch * D * N + of_state, h, mask=state_in)


@triton.jit
def _backward(
    x,
    dt,
    A,
    B,
    C,
    keep,
    edges,
    d_y,
    d_final,
    d_x,
    d_dt,
    d_A,
    d_B,
    d_C,
    d_initial,
    scratch,
    T,
    D,
    spans,
    batches,
    N: tl.constexpr,
    BD: tl.constexpr,
    BN: tl.constexpr,
    SPAN: tl.constexpr,
    STAGES: tl.constexpr,
    HAS_RESET: tl.constexpr,
):
    """Gradients.

    ``d_A`` is (b, D, N), ``d_B`` and ``d_C`` are (blocks, b, T, N), ``scratch`` is (programs, SPAN, BD, BN).
    """
    blocks = tl.cdiv(D, BD)
    batch = (tl.program_id(0) // blocks).to(tl.int64)
    block = (tl.program_id(0) % blocks).to(tl.int64)
    d = (tl.program_id(0) % blocks) * BD + tl.arange(0, BD)
    n = tl.arange(0, BN)
    state_in = (d < D)[:, None] & (n < N)[None, :]
    of_state = d[:, None] * N + n[None, :]
    of_scratch = tl.arange(0, BD)[:, None] * BN + n[None, :]
    own = scratch + tl.program_id(0).to(tl.int64) * SPAN * BD * BN
    rates = tl.load(A + of_state, mask=state_in, other=0.0).to(tl.float32)
    adjoint = tl.load(d_final + batch * D * N + of_state, mask=state_in, other=0.0)
    d_rates = tl.zeros((BD, BN), dtype=tl.float32)
    for back in tl.range(0, spans):
        span = spans - 1 - back
        h = tl.load(edges + (batch * spans + span) * D * N + of_state, mask=state_in, other=0.0)
        for i in tl.range(0, SPAN, num_stages=STAGES):
            tl.store(own + i * BD * BN + of_scratch, h)
            t = span * SPAN + i
            xs, dts, bs, decay = _token(x, dt, rates, B, keep, batch, t, T, D, d, n, N, HAS_RESET)
            h = decay * h + (dts * xs)[:, None] * bs[None, :]
        tl.debug_barrier()
        for j in tl.range(0, SPAN, num_stages=STAGES):
            i = SPAN - 1 - j
            t = span * SPAN + i
            d_in = (d < D) & (t + 0 * d < T)
            n_in = (n < N) & (t + 0 * n < T)
            before = tl.load(own + i * BD * BN + of_scratch)
            xs, dts, bs, decay = _token(x, dt, rates, B, keep, batch, t, T, D, d, n, N, HAS_RESET)
            cs = tl.load(C + (batch * T + t) * N + n, mask=n_in, other=0.0).to(tl.float32)
            dys = tl.load(d_y + (batch * T + t) * D + d, mask=d_in, other=0.0).to(tl.float32)
            after = decay * before + (dts * xs)[:, None] * bs[None, :]
            adjoint += dys[:, None] * cs[None, :]
            vectors_at = ((block * batches + batch) * T + t) * N + n
            tl.store(d_C + vectors_at, tl.sum(dys[:, None] * after, 0), mask=n_in)
            tl.store(d_B + vectors_at, tl.sum((dts * xs)[:, None] * adjoint, 0), mask=n_in)
            drive = tl.sum(adjoint * bs[None, :], 1)
            adjoint = decay * adjoint
            faded = before * adjoint
            d_rates += faded * dts[:, None]
            tl.store(d_x + (batch * T + t) * D + d, drive * dts, mask=d_in)
            tl.store(d_dt + (batch * T + t) * D + d, drive * xs + tl.sum(faded * rates, 1), mask=d_in)
        tl.debug_barrier()
    tl.store(d_A + batch * D * N + of_state, d_rates, mask=state_in)
    tl.store(d_initial + batch * D * N + of_state, adjoint, mask=state_in)


def selective_scan_triton(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, h: Tensor, reset: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Outputs without the skip and the state after the last token, differentiable once.

    Parameters
    ----------
    x, dt : Tensor, (b, T, D)
        Inputs and step lengths, float32 or bfloat16.
    A : Tensor, (D, N)
        Rates, N at most 256.
    B, C : Tensor, (b, T, N)
        Write and read vectors.
    h : Tensor, (b, D, N)
        State before the first token.
    reset : Tensor of bool, (b, T), optional
        True at tokens before which the state is forgotten.

    Returns
    -------
    y : Tensor, (b, T, D)
        In the type of x.
    h : Tensor, (b, D, N)
        In float32.
    """
    return _SelectiveScan.apply(x, dt, A, B, C, h.float(), reset)


def _sizes(x: Tensor, A: Tensor, reset: Tensor | None) -> tuple[tuple[int], dict, dict]:
    """Grid, compile-time sizes and options; few channels are spread over more programs than fill a warp."""
    N = A.shape[1]
    BN = max(4, triton.next_power_of_2(N))
    BD = max(4, CELLS // BN)
    grid = (x.shape[0] * triton.cdiv(x.shape[2], BD),)
    # Tokens are fetched some steps ahead, but where more than one pipeline stage has been seen to go wrong.
    newest = x.device.type == "cuda" and torch.cuda.get_device_capability(x.device) >= (10, 0)
    fixed = dict(N=N, BD=BD, BN=BN, SPAN=SPAN, STAGES=1 if newest else 4, HAS_RESET=reset is not None)
    return grid, fixed, dict(num_warps=1, num_stages=1)


class _SelectiveScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, dt, A, B, C, h, reset):
        inputs = [value.contiguous() for value in (x, dt, A, B, C)]
        keep = h if reset is None else (~reset).float().contiguous()
        batch, time, channels = x.shape
        spans = triton.cdiv(time, SPAN)
        keeps = any(ctx.needs_input_grad)
        edges = h.new_empty((batch, spans if keeps else 0, *A.shape))
        y, final = torch.empty_like(inputs[0]), torch.empty_like(h, memory_format=torch.contiguous_format)
        grid, fixed, options = _sizes(x, A, reset)
        tensors = (*inputs, keep, h.contiguous(), y, final, edges)
        with torch.cuda.device_of(x):
            _forward[grid](*tensors, time, channels, spans, **fixed, KEEPS=keeps, **options)
        ctx.save_for_backward(*inputs, keep, edges, reset)
        return y, final

    @staticmethod
    @differentiable_once
    def backward(ctx, d_y, d_final):
        *inputs, keep, edges, reset = ctx.saved_tensors
        x, dt, A, B, C = inputs
        grid, fixed, options = _sizes(x, A, reset)
        batch, time, channels = x.shape
        d_x, d_dt, d_h = torch.empty_like(x), torch.empty_like(dt), torch.empty_like(d_final.contiguous())
        d_A = d_h.new_empty(batch, *A.shape)
        d_B, d_C = (d_h.new_empty(grid[0] // batch, *B.shape) for _ in range(2))
        scratch = d_h.new_empty(grid[0], SPAN, fixed["BD"], fixed["BN"])
        arrived = (d_y.contiguous(), d_final.contiguous())
        tensors = (*inputs, keep, edges, *arrived, d_x, d_dt, d_A, d_B, d_C, d_h, scratch)
        with torch.cuda.device_of(x):
            _backward[grid](*tensors, time, channels, edges.shape[1], batch, **fixed, **options)
        return d_x, d_dt, d_A.sum(0).to(A.dtype), d_B.sum(0).to(B.dtype), d_C.sum(0).to(C.dtype), d_h, None
