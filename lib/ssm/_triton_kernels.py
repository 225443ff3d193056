"""Triton kernels of the chunked scan: forward, and the two marches of its backward. See :mod:`lib.ssm._triton`.

With the running sum of log decays ``c_t`` inside a chunk and the state ``h`` (N, P) before it,

    y_t = sum_{s<t} e^(c_t - c_s) w_s (C_t . B_s) x_s + g_t (C_t . B_t) x_t + e^(c_t) C_t h,
    h'  = e^(c_end) h + sum_s e^(c_end - c_s) w_s B_s x_s^T.

One program owns one (batch, head, block of P), walks over its chunks and keeps the state on the chip in float32, so that
nothing but inputs and outputs crosses the memory bus. Running sums come as a high and a low float32 part: their
differences are then exact to rounding however strong the decay. A reset inside a chunk is a count of resets since the
chunk's start (``segment``); tokens see each other only where it agrees, and the state before only where it is 0.

Offsets of batch, head and chunk are int64 and only those inside a chunk int32. Loads and stores are masked by token
and column, sums of exponents before ``exp``.
"""

import triton
import triton.language as tl

__all__ = ["forward", "read_gradient", "write_gradient"]


@triton.jit
def _place(H, G, P: tl.constexpr, BP: tl.constexpr):
    """Which (batch, head), group of B and C, and block of P a program owns; neighbours share B and C."""
    program = tl.program_id(0)
    blocks: tl.constexpr = (P + BP - 1) // BP
    row = program // blocks
    batch = (row // H).to(tl.int64)
    head = row % H
    return row.to(tl.int64), batch, head, head // (H // G), program % blocks


@triton.jit
def _tile(start, lines, columns, stride, mask):
    """Tokens by columns of a tensor whose tokens lie ``stride`` apart."""
    return tl.load(start + lines[:, None] * stride + columns[None, :], mask=mask, other=0.0)


@triton.jit
def _decays(high, low, segment, HAS_RESET: tl.constexpr, Q: tl.constexpr):
    """Of one chunk: token to later token (Q, Q), state to token, token to state (Q,) and state to state."""
    order = tl.arange(0, Q)
    last = order == Q - 1
    end_high = tl.sum(tl.where(last, high, 0.0), 0)
    end_low = tl.sum(tl.where(last, low, 0.0), 0)
    sees = order[:, None] > order[None, :]
    between = (high[:, None] - high[None, :]) + (low[:, None] - low[None, :])
    read = tl.exp(high + low)
    write = tl.exp((end_high - high) + (end_low - low))
    keep = tl.exp(end_high + end_low)
    if HAS_RESET:
        end_segment = tl.max(segment, 0)
        sees = sees & (segment[:, None] == segment[None, :])
        read = tl.where(segment == 0, read, 0.0)
        write = tl.where(segment == end_segment, write, 0.0)
        keep = tl.where(end_segment == 0, keep, 0.0)
    across = tl.where(sees, tl.exp(tl.where(sees, between, 0.0)), 0.0)
    return across, read, write, keep


@triton.jit
def _weighted(across, scale, diagonal, Q: tl.constexpr):
    """Weights of token s in the output at t: those of the decays below the diagonal, the token's own on it."""
    order = tl.arange(0, Q)
    return tl.where(order[:, None] == order[None, :], diagonal[None, :], across * scale[None, :])


@triton.jit
def forward(
    x,
    B,
    C,
    high,
    low,
    scale,
    diagonal,
    segment,
    initial,
    y,
    final,
    T,
    H,
    G,
    chunks,
    N: tl.constexpr,
    P: tl.constexpr,
    Q: tl.constexpr,
    BN: tl.constexpr,
    BP: tl.constexpr,
    HAS_RESET: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Outputs y (b, T, H, P) and the final state (b, H, N, P) of x (b, T, H, P) and B, C (b, T, G, N).

    The rows ``high``, ``low``, ``scale``, ``diagonal`` (float32) are (b, H, chunks * Q), ``segment`` is (b, chunks * Q).
    """
    row, batch, head, group, block = _place(H, G, P, BP)
    order = tl.arange(0, Q)
    n = tl.arange(0, BN)
    p = block * BP + tl.arange(0, BP)
    n_in = n < N
    p_in = p < P
    state_in = n_in[:, None] & p_in[None, :]
    state_at = row * N * P + n[:, None] * P + p[None, :]
    h = tl.load(initial + state_at, mask=state_in, other=0.0)

    at_x = (batch * T * H + head) * P
    at_b = (batch * T * G + group) * N
    at_row = row * chunks * Q
    at_segment = batch * chunks * Q
    left = T
    for _ in tl.range(0, chunks):
        real = order < left
        x_in = real[:, None] & p_in[None, :]
        b_in = real[:, None] & n_in[None, :]
        q = _tile(C + at_b, order, n, G * N, b_in)
        k = _tile(B + at_b, order, n, G * N, b_in)
        v = _tile(x + at_x, order, p, H * P, x_in)
        scales = tl.load(scale + at_row + order)
        across, read, write, keep = _decays(
            tl.load(high + at_row + order),
            tl.load(low + at_row + order),
            tl.load(segment + at_segment + order) if HAS_RESET else order,
            HAS_RESET,
            Q,
        )
        weights = _weighted(across, scales, tl.load(diagonal + at_row + order), Q)
        scores = tl.dot(q, tl.trans(k), input_precision=PRECISION) * weights
        out = tl.dot(q, h.to(q.dtype), input_precision=PRECISION) * read[:, None]
        out += tl.dot(scores.to(v.dtype), v, input_precision=PRECISION)
        tl.store(y + at_x + order[:, None] * (H * P) + p[None, :], out, mask=x_in)
        written = (v * (write * scales)[:, None]).to(v.dtype)
        h = h * keep + tl.dot(tl.trans(k), written, input_precision=PRECISION)
        at_x += Q * H * P
        at_b += Q * G * N
        at_row += Q
        at_segment += Q
        left -= Q
    tl.store(final + state_at, h, mask=state_in)
