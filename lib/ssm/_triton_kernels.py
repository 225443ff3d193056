"""Triton kernels of the chunked scan: forward, and the two marches of its backward. See :mod:`lib.ssm._triton`.

With the running sum of log decays ``c_t`` inside a chunk and the state ``h`` (N, P) before it,

    y_t = sum_{s<t} e^(c_t - c_s) later_s (C_t . B_s) x_s + now_t (C_t . B_t) x_t + e^(c_t) C_t h,
    h'  = e^(c_end) h + sum_s e^(c_end - c_s) later_s B_s x_s^T.

One program owns one (batch, head, block of P), walks over its chunks and keeps the state on the chip in float32: only
inputs and outputs cross the memory bus. Running sums are made in float64 and kept as a high and a low float32 part,
whose differences are exact to rounding however strong the decay. A log decay of -infinity forgets everything before:
tokens see each other only where the number of such marks so far agrees, and the state before the chunk only where it
is 0.

x, y are (b, T, H, R, P); B, C (b, T, G, R, N); log_decay, later, now (b, T, H) in float32; states (b, H, N, P) in
float32. The R inputs and outputs of a token are rows of their own: a chunk is Q rows, Q / R tokens. Gradients that
several blocks of P, heads or rows add to have a leading dimension for the blocks and one entry per head and row.
Offsets of batch, head and chunk are int64, only those inside a chunk int32. All loads and stores are masked by token
and column, exponents before ``exp``. Loops keep nothing for later that can be computed again (``disable_licm``): the
state already takes a third of the registers.
"""

import triton
import triton.language as tl

__all__ = ["forward", "read_gradient", "write_gradient"]


@triton.jit
def _place(H, G, P: tl.constexpr, BP: tl.constexpr):
    """Which batch, head, group of B and C, and block of P a program owns; neighbours share B and C."""
    program = tl.program_id(0)
    blocks: tl.constexpr = (P + BP - 1) // BP
    batch = (program // blocks // H).to(tl.int64)
    head = program // blocks % H
    return batch, head, head // (H // G), program % blocks


@triton.jit
def _tile(start, lines, columns, mask):
    """Rows that start at ``lines`` by columns."""
    return tl.load(start + lines[:, None] + columns[None, :], mask=mask, other=0.0)


@triton.jit
def _decays(log_decay, token, Q: tl.constexpr, HAS_RESET: tl.constexpr, FROM_FIRST: tl.constexpr):
    """Of one chunk: token to later token (Q, Q), state to token, token to state (Q,) and state to state.

    Rows are the later tokens, or the earlier ones if FROM_FIRST.
    """
    order = tl.arange(0, Q)
    sees = token[:, None] < token[None, :] if FROM_FIRST else token[:, None] > token[None, :]
    if HAS_RESET:
        first = log_decay == float("-inf")
        log_decay = tl.where(first, 0.0, log_decay)
    total = tl.cumsum(log_decay.to(tl.float64), 0)
    high = total.to(tl.float32)
    low = (total - high.to(tl.float64)).to(tl.float32)
    last = order == Q - 1
    end_high = tl.sum(tl.where(last, high, 0.0), 0)
    end_low = tl.sum(tl.where(last, low, 0.0), 0)
    between = (high[:, None] - high[None, :]) + (low[:, None] - low[None, :])
    if FROM_FIRST:
        between = -between
    read = tl.exp(high)
    write = tl.exp((end_high - high) + (end_low - low))
    keep = tl.exp(end_high)
    if HAS_RESET:
        segment = tl.cumsum(first.to(tl.int32), 0)
        segments = tl.max(segment, 0)
        sees = sees & (segment[:, None] == segment[None, :])
        read = tl.where(segment == 0, read, 0.0)
        write = tl.where(segment == segments, write, 0.0)
        keep = tl.where(segments == 0, keep, 0.0)
    across = tl.where(sees, tl.exp(tl.where(sees, between, 0.0)), 0.0)
    return across, read, write, keep


@triton.jit
def _dot(a, b, PRECISION: tl.constexpr):
    """Matrix product summed in float32; "wide" widens first, for the interpreter, which cannot multiply bfloat16."""
    if PRECISION == "wide":
        return tl.dot(a.to(tl.float32), b.to(tl.float32), input_precision="ieee")
    return tl.dot(a, b, input_precision=PRECISION)


@triton.jit
def forward(
    x,
    log_decay,
    later,
    now,
    B,
    C,
    initial,
    y,
    final,
    T,
    H,
    G,
    chunks,
    N: tl.constexpr,
    P: tl.constexpr,
    R: tl.constexpr,
    Q: tl.constexpr,
    BN: tl.constexpr,
    BP: tl.constexpr,
    HAS_RESET: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Outputs y and the final state."""
    batch, head, group, block = _place(H, G, P, BP)
    L: tl.constexpr = Q // R  # tokens in a chunk
    token = tl.arange(0, Q) // R
    rank = tl.arange(0, Q) % R
    n = tl.arange(0, BN)
    p = block * BP + tl.arange(0, BP)
    n_in = n < N
    p_in = p < P
    state_in = n_in[:, None] & p_in[None, :]
    in_state = n[:, None] * P + p[None, :]
    at_state = (batch * H + head) * N * P
    of_x = (token * H * R + rank) * P
    of_b = (token * G * R + rank) * N
    h = tl.load(initial + at_state + in_state, mask=state_in, other=0.0)
    at_t = batch * T * H + head
    at_x = at_t * R * P
    at_b = (batch * T * G + group) * R * N
    left = T
    for _ in tl.range(0, chunks, disable_licm=True):
        real = token < left
        x_in = real[:, None] & p_in[None, :]
        b_in = real[:, None] & n_in[None, :]
        q = _tile(C + at_b, of_b, n, b_in)
        k = _tile(B + at_b, of_b, n, b_in)
        v = _tile(x + at_x, of_x, p, x_in)
        a = tl.load(log_decay + at_t + token * H, mask=real & (rank == 0), other=0.0)
        after = tl.load(later + at_t + token * H, mask=real, other=0.0)
        own = tl.load(now + at_t + token * H, mask=real, other=0.0)
        across, read, write, keep = _decays(a, token, Q, HAS_RESET, False)
        weights = tl.where(token[:, None] == token[None, :], own[None, :], across * after[None, :])
        scores = _dot(q, tl.trans(k), PRECISION) * weights
        out = _dot(q, h.to(q.dtype), PRECISION) * read[:, None]
        out += _dot(scores.to(v.dtype), v, PRECISION)
        tl.store(y + at_x + of_x[:, None] + p[None, :], out, mask=x_in)
        written = (v * (write * after)[:, None]).to(v.dtype)
        h = h * keep + _dot(tl.trans(k), written, PRECISION)
        at_t += L * H
        at_x += Q * H * P
        at_b += Q * G * N
        left -= L
    tl.store(final + at_state + in_state, h, mask=state_in)


@triton.jit
def read_gradient(
    x,
    log_decay,
    later,
    now,
    B,
    C,
    initial,
    d_y,
    d_C,
    d_read,
    anchors,
    T,
    H,
    G,
    chunks,
    every,
    batches,
    N: tl.constexpr,
    P: tl.constexpr,
    R: tl.constexpr,
    Q: tl.constexpr,
    BN: tl.constexpr,
    BP: tl.constexpr,
    HAS_RESET: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """March forwards with the state: the gradient of what is read with C.

    ``d_C`` is (blocks, b, T, H, R, N); ``d_read`` (blocks, b, T, H, R) the part of the gradient of c_t that came
    through the state; ``anchors`` (b, H, chunks // every, N, P) the state after every so many chunks.
    """
    batch, head, group, block = _place(H, G, P, BP)
    L: tl.constexpr = Q // R  # tokens in a chunk
    token = tl.arange(0, Q) // R
    rank = tl.arange(0, Q) % R
    n = tl.arange(0, BN)
    p = block * BP + tl.arange(0, BP)
    n_in = n < N
    p_in = p < P
    state_in = n_in[:, None] & p_in[None, :]
    in_state = n[:, None] * P + p[None, :]
    at_state = (batch * H + head) * N * P
    of_x = (token * H * R + rank) * P
    of_b = (token * G * R + rank) * N
    h = tl.load(initial + at_state + in_state, mask=state_in, other=0.0)
    at_t = batch * T * H + head
    at_part = ((block.to(tl.int64) * batches + batch) * T * H + head) * R
    of_part = token * H * R + rank
    at_x = at_t * R * P
    at_b = (batch * T * G + group) * R * N
    at_anchor = (batch * H + head) * (chunks // every) * N * P
    left = T
    until = every
    for _ in tl.range(0, chunks, disable_licm=True):
        real = token < left
        x_in = real[:, None] & p_in[None, :]
        b_in = real[:, None] & n_in[None, :]
        q = _tile(C + at_b, of_b, n, b_in)
        k = _tile(B + at_b, of_b, n, b_in)
        v = _tile(x + at_x, of_x, p, x_in)
        dy = _tile(d_y + at_x, of_x, p, x_in)
        a = tl.load(log_decay + at_t + token * H, mask=real & (rank == 0), other=0.0)
        after = tl.load(later + at_t + token * H, mask=real, other=0.0)
        own = tl.load(now + at_t + token * H, mask=real, other=0.0)
        across, read, write, keep = _decays(a, token, Q, HAS_RESET, False)
        weights = tl.where(token[:, None] == token[None, :], own[None, :], across * after[None, :])
        d_scores = _dot(dy, tl.trans(v), PRECISION) * weights
        dq = _dot(dy, tl.trans(h.to(dy.dtype)), PRECISION) * read[:, None]
        tl.store(d_read + at_part + of_part, tl.sum(dq * q, 1), mask=real)
        dq += _dot(d_scores.to(k.dtype), k, PRECISION)
        tl.store(d_C + at_part * N + of_part[:, None] * N + n[None, :], dq, mask=b_in)
        written = (v * (write * after)[:, None]).to(v.dtype)
        h = h * keep + _dot(tl.trans(k), written, PRECISION)
        until -= 1
        if until == 0:
            tl.store(anchors + at_anchor + in_state, h, mask=state_in)
            at_anchor += N * P
            until = every
        at_t += L * H
        at_part += Q * H
        at_x += Q * H * P
        at_b += Q * G * N
        left -= L


@triton.jit
def write_gradient(
    x,
    log_decay,
    later,
    now,
    B,
    C,
    final,
    anchors,
    d_y,
    d_final,
    d_read,
    d_x,
    d_log_decay,
    d_later,
    d_now,
    d_B,
    d_initial,
    T,
    H,
    G,
    chunks,
    every,
    batches,
    N: tl.constexpr,
    P: tl.constexpr,
    R: tl.constexpr,
    Q: tl.constexpr,
    BN: tl.constexpr,
    BP: tl.constexpr,
    HAS_RESET: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """March backwards with the adjoint of the state: the gradients of all that is written.

    ``d_log_decay``, ``d_later``, ``d_now`` are (blocks, b, T, H, R), ``d_B`` is (blocks, b, T, H, R, N). The gradient
    of a log decay is the sum of those of all later c_t. It is carried from chunk to chunk, and started afresh wherever
    it is known as the product of a stored state with its adjoint, so that rounding does not add up over long sequences.
    """
    batch, head, group, block = _place(H, G, P, BP)
    L: tl.constexpr = Q // R  # tokens in a chunk
    token = tl.arange(0, Q) // R
    rank = tl.arange(0, Q) % R
    n = tl.arange(0, BN)
    p = block * BP + tl.arange(0, BP)
    n_in = n < N
    p_in = p < P
    state_in = n_in[:, None] & p_in[None, :]
    in_state = n[:, None] * P + p[None, :]
    at_state = (batch * H + head) * N * P
    of_x = (token * H * R + rank) * P
    of_b = (token * G * R + rank) * N
    adjoint = tl.load(d_final + at_state + in_state, mask=state_in, other=0.0)
    state = tl.load(final + at_state + in_state, mask=state_in, other=0.0)
    carried = tl.sum(tl.sum(state * adjoint, 1), 0)
    start = batch * T + (chunks - 1) * L
    at_t = start * H + head
    at_part = ((block.to(tl.int64) * batches * T + start) * H + head) * R
    of_part = token * H * R + rank
    at_x = at_t * R * P
    at_b = (start * G + group) * R * N
    at_anchor = ((batch * H + head) * (chunks // every) + chunks // every - 1) * N * P
    left = T - (chunks - 1) * L
    until = chunks % every  # the last stored state lies so many chunks before the end
    for _ in tl.range(0, chunks, disable_licm=True):
        if until == 0:
            state = tl.load(anchors + at_anchor + in_state, mask=state_in, other=0.0)
            carried = tl.sum(tl.sum(state * adjoint, 1), 0)
            at_anchor -= N * P
            until = every
        until -= 1
        real = token < left
        x_in = real[:, None] & p_in[None, :]
        b_in = real[:, None] & n_in[None, :]
        q = _tile(C + at_b, of_b, n, b_in)
        k = _tile(B + at_b, of_b, n, b_in)
        v = _tile(x + at_x, of_x, p, x_in)
        dy = _tile(d_y + at_x, of_x, p, x_in)
        a = tl.load(log_decay + at_t + token * H, mask=real & (rank == 0), other=0.0)
        after = tl.load(later + at_t + token * H, mask=real, other=0.0)
        own = tl.load(now + at_t + token * H, mask=real, other=0.0)
        across, read, write, keep = _decays(a, token, Q, HAS_RESET, True)
        same = token[:, None] == token[None, :]
        scores = _dot(k, tl.trans(q), PRECISION)
        d_scores = _dot(v, tl.trans(dy), PRECISION)
        product = scores * d_scores
        tl.store(d_now + at_part + of_part, tl.sum(tl.where(same, product, 0.0), 1), mask=real)
        product = product * across
        given = tl.sum(product, 1)
        taken = tl.sum(product * after[:, None], 0)
        weights = tl.where(same, own[:, None], across * after[:, None])
        scores = (scores * weights).to(dy.dtype)
        d_scores = (d_scores * weights).to(q.dtype)
        # Inputs and write vectors reach later tokens of the chunk, and all others through the state after it.
        beyond = adjoint.to(k.dtype)
        dv = _dot(k, beyond, PRECISION) * write[:, None]
        given += tl.sum(dv * v, 1)
        tl.store(d_later + at_part + of_part, given, mask=real)
        dv = dv * after[:, None]
        dv += _dot(scores, dy, PRECISION)
        tl.store(d_x + at_x + of_x[:, None] + p[None, :], dv, mask=x_in)
        dk = _dot(v, tl.trans(beyond), PRECISION) * (write * after)[:, None]
        dk += _dot(d_scores, q, PRECISION)
        tl.store(d_B + at_part * N + of_part[:, None] * N + n[None, :], dk, mask=b_in)
        # A log decay lies on the way from all earlier to all later tokens.
        through = taken - after * given + tl.load(d_read + at_part + of_part, mask=real, other=0.0)
        tl.store(d_log_decay + at_part + of_part, carried + tl.cumsum(through, 0, reverse=True), mask=real)
        carried += tl.sum(through, 0)
        adjoint = adjoint * keep + _dot(tl.trans(q), (dy * read[:, None]).to(dy.dtype), PRECISION)
        at_t -= L * H
        at_part -= Q * H
        at_x -= Q * H * P
        at_b -= Q * G * N
        left += L
    tl.store(d_initial + at_state + in_state, adjoint, mask=state_in)
