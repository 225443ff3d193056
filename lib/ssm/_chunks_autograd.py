"""The chunked scan with its gradient written out: less memory and time than recording every operation.

    h_t = exp(log_decay_t) h_{t-1} + sum_r B_t^r z_t^rT,   y_t^r = C_t^rT h_t

Only the arguments and the outputs are kept for the gradient; the states between chunks are computed again. Chunks are
worked on several at a time, as many as keep their matrices of weights in the cache. Heads of one group share B and C,
which are never written out for every head: where they meet the state, the heads stand side by side as columns.

The gradient of the log decays needs no matrix. Inside a chunk, with cs their running sum, y_t grows with exp(cs_t) and
what z_s gives to later tokens with exp(-cs_s): d cs_t = <dy_t, y_t> - <dz_t, z_t>, and the end adds <dh, h>.

Layouts inside: batch b, chunks c, groups G, heads of a group J, tokens of a chunk Q, rows K = Q R (all ranks of all
tokens), head width P, state N. Heads: (b, c, G, J, K, P). Columns: (b, c, G, K, J P); states (b, c, G, N, J P).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn.functional import pad

from lib.ssm._autograd import differentiable_once, of_log_decays

__all__ = ["chunk_scan"]

# A log decay below leaves 1e-87 of the state, which is taken for nothing: so a reset is not part of any sum.
FORGOTTEN = -200.0

# Bytes of weights that are worked on at once: a part of one core's cache; on other devices few large products are best.
IN_CACHE = 1 << 21
ELSEWHERE = 1 << 28


def chunk_scan(
    x: Tensor, log_decay: Tensor, later: Tensor, now: Tensor, B: Tensor, C: Tensor, h: Tensor, chunk_length: int
) -> tuple[Tensor, Tensor]:
    """Outputs and final state, differentiable once; see :func:`lib.ssm._chunks.chunk_scan`.

    With R inputs and outputs a head, x is (b, T, H, R, P) and B and C are (b, T, G, R, N).
    """
    x, B, C = (value.to(log_decay.dtype) for value in (x, B, C))
    ranked = x.dim() == 5
    if not ranked:
        x, B, C = (value[:, :, :, None] for value in (x, B, C))
    y, h = scan_with_gradient(later[..., None, None] * x, log_decay, B, C, h, chunk_length)
    if now is not later:
        own = C @ B.mT if ranked else (C * B).sum(-1, keepdim=True)
        members = x.shape[2] // own.shape[2]
        own = own if members == 1 else own.repeat_interleave(members, dim=2)
        own = own * (now - later)[..., None, None]
        y = y + own @ x if ranked else torch.addcmul(y, own, x)
    return (y if ranked else y[:, :, :, 0]), h


def scan_with_gradient(
    z: Tensor, log_decay: Tensor, B: Tensor, C: Tensor, h: Tensor, chunk_length: int
) -> tuple[Tensor, Tensor]:
    """Outputs and final state, differentiable once.

    Parameters
    ----------
    z : Tensor, (b, T, H, R, P)
        Inputs with their weights.
    log_decay : Tensor, (b, T, H)
        At most 0; -infinity forgets everything before.
    B, C : Tensor, (b, T, G, R, N)
        Write and read vectors of G groups of heads.
    h : Tensor, (b, H, N, P)
        State before the first token.
    chunk_length : int
        Tokens in a chunk.

    Returns
    -------
    y : Tensor, (b, T, H, R, P)
    h : Tensor, (b, H, N, P)
    """
    length = min(chunk_length, z.shape[1])
    missing = -z.shape[1] % length
    if missing:  # the last chunk is filled with tokens that write nothing and forget nothing
        z, B, C = (pad(value, (0, 0, 0, 0, 0, 0, 0, missing)) for value in (z, B, C))
        log_decay = pad(log_decay, (0, 0, 0, missing))
    y, h = _Chunked.apply(z, log_decay, B, C, h, length)
    return (y[:, :-missing] if missing else y), h


class _Chunked(Function):
    """:func:`scan_with_gradient` for whole chunks."""

    @staticmethod
    def forward(ctx, z, log_decay, B, C, h, length):
        work = _Work(z, B, length)
        y = torch.empty(z.shape, dtype=z.dtype, device=z.device)
        sums = work.running_sums(log_decay)
        state = work.state_columns(h)
        for block in work.blocks():
            part = _Block(work, z, B, C, sums, block)
            edges, state = part.edges(state)
            inside = work.decayed(part.scores(), part.decays()) @ part.z
            inside.addcmul_(work.to_heads(part.C @ edges[:, :-1]), part.from_start)
            work.write(y, block, inside)
        ctx.save_for_backward(z, log_decay, B, C, h, y)
        ctx.length = length
        return y, work.state_heads(state)

    @staticmethod
    @differentiable_once
    def backward(ctx, dy, dh):
        z, log_decay, B, C, h, y = ctx.saved_tensors
        work = _Work(z, B, ctx.length)
        sums = work.running_sums(log_decay)
        dz, dB, dC = (torch.empty(value.shape, dtype=value.dtype, device=value.device) for value in (z, B, C))
        dsums = torch.empty_like(sums.value)
        blocks, starts = work.blocks(), [work.state_columns(h)]
        for block in blocks[:-1]:
            starts.append(_Block(work, z, B, C, sums, block).edges(starts[-1])[1])
        dstate = work.state_columns(dh)
        for block, start in zip(reversed(blocks), reversed(starts)):
            part = _Block(work, z, B, C, sums, block)
            edges, _ = part.edges(start)
            dy_ = work.heads(dy, block)
            read = work.columns(dy_ * part.from_start)
            dafter, dstate = part.edges_backward(part.C.mT @ read, dstate)

            decays, dense = part.decays(), dy_.contiguous()  # which each product would copy by itself
            dscores = work.times(dense @ part.z.mT, decays).sum(3)
            dz_ = work.decayed(part.scores(), decays).mT @ dense
            dz_.addcmul_(work.to_heads(part.B @ dafter), part.to_end)
            dB_ = torch.matmul(dscores.mT, part.C).add_(work.columns(part.z * part.to_end) @ dafter.mT)
            dC_ = torch.matmul(dscores, part.B).add_(read @ edges[:, :-1].mT)

            work.write(dz, block, dz_)
            work.write_rows(dB, block, dB_)
            work.write_rows(dC, block, dC_)
            dsums[:, block] = work.token_sums(dy_ * work.heads(y, block)) - work.token_sums(part.z * dz_)
            dsums[:, block, :, :, -1] += work.head_sums(dafter * edges[:, 1:])
        dlog_decay = work.tokens_of(dsums.flip(-1).cumsum(-1).flip(-1)).to(log_decay.dtype)
        return dz, of_log_decays(dlog_decay, log_decay), dB, dC, work.state_heads(dstate), None


class _Work:
    """Sizes of a scan and the layouts of its tensors."""

    def __init__(self, z: Tensor, B: Tensor, length: int):
        self.batch, self.time, heads, self.ranks, self.width = z.shape
        self.groups, self.cells = B.shape[2], B.shape[4]
        self.members = heads // self.groups
        self.length, self.chunks = length, self.time // length
        self.rows = length * self.ranks
        weights = self.batch * heads * self.rows**2 * z.element_size()
        self.at_once = max(1, (IN_CACHE if z.device.type == "cpu" else ELSEWHERE) // weights)

    def blocks(self) -> list[slice]:
        return [slice(c, min(c + self.at_once, self.chunks)) for c in range(0, self.chunks, self.at_once)]

    def running_sums(self, log_decay: Tensor) -> _Sums:
        """Sums of log decays inside each chunk, in double precision where there is one."""
        kind = torch.float32 if log_decay.device.type == "mps" else torch.float64
        shape = (self.batch, self.chunks, self.length, self.groups, self.members)
        log_decay = log_decay.view(shape).permute(0, 1, 3, 4, 2)
        forgotten = log_decay < FORGOTTEN
        value = log_decay.to(kind).masked_fill(forgotten, 0).cumsum(-1)
        # Whether there is any reset is cheap to know on a CPU only.
        some = value.device.type != "cpu" or bool(forgotten.any())
        return _Sums(value, forgotten.cumsum(-1) if some else None)

    def tokens_of(self, sums: Tensor) -> Tensor:
        """(b, c, G, J, Q) as (b, T, H)."""
        return sums.permute(0, 1, 4, 2, 3).reshape(self.batch, self.time, -1)

    def _by_chunk(self, value: Tensor, block: slice) -> Tensor:
        shape = (self.batch, self.chunks, self.length, self.groups, self.members, self.ranks, self.width)
        return value.view(shape)[:, block].permute(0, 1, 3, 4, 2, 5, 6)

    def heads(self, value: Tensor, block: slice) -> Tensor:
        """Chunks of (b, T, H, R, P) by head, (b, c, G, J, K, P)."""
        return self._by_chunk(value, block).flatten(4, 5)

    def write(self, target: Tensor, block: slice, heads: Tensor) -> None:
        """Put what :meth:`heads` took out back in place."""
        place = self._by_chunk(target, block)
        place.copy_(heads.view(place.shape))

    def group_rows(self, value: Tensor, block: slice) -> Tensor:
        """Chunks of (b, T, G, R, N), (b, c, G, K, N)."""
        shape = (self.batch, self.chunks, self.length, self.groups, self.ranks, self.cells)
        return value.view(shape)[:, block].permute(0, 1, 3, 2, 4, 5).flatten(3, 4)

    def write_rows(self, target: Tensor, block: slice, rows: Tensor) -> None:
        """Put what :meth:`group_rows` took out back in place."""
        shape = (self.batch, self.chunks, self.length, self.groups, self.ranks, self.cells)
        place = target.view(shape)[:, block].permute(0, 1, 3, 2, 4, 5)
        place.copy_(rows.view(place.shape))

    def columns(self, heads: Tensor) -> Tensor:
        """Heads of a group side by side: (b, c, G, J, K, P) as (b, c, G, K, J P)."""
        return heads.transpose(3, 4).flatten(4, 5)

    def to_heads(self, columns: Tensor) -> Tensor:
        """A view of (b, c, G, K, J P) as (b, c, G, J, K, P)."""
        return columns.unflatten(4, (self.members, self.width)).transpose(3, 4)

    def state_columns(self, h: Tensor) -> Tensor:
        """States (b, H, N, P) as (b, G, N, J P)."""
        return h.unflatten(1, (self.groups, self.members)).transpose(2, 3).flatten(3, 4)

    def state_heads(self, state: Tensor) -> Tensor:
        """States (b, G, N, J P) as (b, H, N, P)."""
        return state.unflatten(3, (self.members, self.width)).transpose(2, 3).flatten(1, 2)

    def times(self, weights: Tensor, decays: Tensor) -> Tensor:
        """Weights between rows, (..., K, K), times decays between their tokens, (..., Q, Q), in place."""
        by_token = weights.unflatten(-1, (self.length, self.ranks)).unflatten(-3, (self.length, self.ranks))
        by_token.mul_(decays[..., :, None, :, None])
        return weights

    def decayed(self, scores: Tensor, decays: Tensor) -> Tensor:
        """Scores (b, c, G, K, K) times the decays of each head; these are overwritten where rows are tokens."""
        if self.ranks == 1:
            return decays.mul_(scores[:, :, :, None])
        by_token = scores[:, :, :, None].unflatten(-1, (self.length, self.ranks))
        by_token = by_token.unflatten(-3, (self.length, self.ranks))
        return (by_token * decays[..., :, None, :, None]).flatten(-2).flatten(-3, -2)

    def per_row(self, per_token: Tensor) -> Tensor:
        """Numbers (..., Q) for rows of all ranks, (..., K, 1)."""
        return per_token.repeat_interleave(self.ranks, dim=-1)[..., None]

    def token_sums(self, heads: Tensor) -> Tensor:
        """Sums over ranks and channels, (b, c, G, J, Q)."""
        return heads.unflatten(4, (self.length, self.ranks)).sum((-1, -2))

    def head_sums(self, states: Tensor) -> Tensor:
        """Sums of (b, c, G, N, J P) over the state of each head, (b, c, G, J)."""
        return states.unflatten(4, (self.members, self.width)).sum((3, 5))


class _Sums(NamedTuple):
    """Running sums of log decays inside chunks, (b, c, G, J, Q), and how often all was forgotten, if ever."""

    value: Tensor
    forgotten: Tensor | None

    def of(self, block: slice) -> _Sums:
        return _Sums(self.value[:, block], None if self.forgotten is None else self.forgotten[:, block])

    def decays(self, later: tuple, earlier: tuple, kind: torch.dtype) -> Tensor:
        """Decay from one token to another, given by indices; nothing passes a token at which all is forgotten."""
        decays = torch.empty(
            torch.broadcast_shapes(self.value[later].shape, self.value[earlier].shape),
            dtype=kind,
            device=self.value.device,
        )
        torch.sub(self.value[later], self.value[earlier], out=decays).exp_()
        if self.forgotten is not None:
            decays.masked_fill_(self.forgotten[later] != self.forgotten[earlier], 0)
        return decays

    def from_start(self, kind: torch.dtype) -> Tensor:
        """Decay from before the chunk, (b, c, G, J, Q)."""
        decays = self.value.exp().to(kind)
        return decays if self.forgotten is None else decays.masked_fill_(self.forgotten > 0, 0)


class _Block:
    """Some chunks of a scan."""

    def __init__(self, work: _Work, z: Tensor, B: Tensor, C: Tensor, sums: _Sums, block: slice):
        self.work, self.sums = work, sums.of(block)
        self.z = work.heads(z, block)
        self.B, self.C = work.group_rows(B, block), work.group_rows(C, block)
        start = self.sums.from_start(z.dtype)
        self.from_start = work.per_row(start)
        self.to_end = work.per_row(self.sums.decays((..., slice(-1, None)), (...,), z.dtype))
        # Decay over each chunk, for the columns of states, (b, c, G, 1, J P).
        self.total = start[..., -1:].expand(*start.shape[:-1], work.width).flatten(3)[..., None, :]

    def edges(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """States before each chunk and after the last, (b, c + 1, G, N, J P), and the last of them."""
        written = self.B.mT @ self.work.columns(self.z * self.to_end)
        states = [state]
        for chunk in range(written.shape[1]):
            states.append(torch.addcmul(written[:, chunk], states[-1], self.total[:, chunk]))
        return torch.stack(states, 1), states[-1]

    def edges_backward(self, read: Tensor, dstate: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of the states after each chunk, from those of the last and of what each chunk reads."""
        gradients = [dstate]
        for chunk in range(read.shape[1] - 1, -1, -1):
            gradients.append(torch.addcmul(read[:, chunk], gradients[-1], self.total[:, chunk]))
        return torch.stack(gradients[-2::-1], 1), gradients[-1]

    def scores(self) -> Tensor:
        """What rows read from rows without decay, (b, c, G, K, K)."""
        return self.C @ self.B.mT

    def decays(self) -> Tensor:
        """Decay from token to token, (b, c, G, J, Q, Q); 0 above the diagonal, where exp may overflow."""
        return self.sums.decays((..., slice(None), None), (..., None, slice(None)), self.z.dtype).tril_()
