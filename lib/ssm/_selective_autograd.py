"""Selective scans with a backward written by hand: states inside a chunk are computed anew instead of being kept.

Kept between forward and backward are the inputs and one state per chunk. With a_t the decays and G_t = dL/dh_t,

    G_t = C_t dy_t + a_{t+1} G_{t+1},   dL/d(dt_t x_t) = <B_t, G_t>,   dL/d(dt_t A) = a_t h_{t-1} G_t.

Both functions take (x, dt, A, B, C, initial state, reset) of one floating type, shapes as in
:func:`lib.ssm.selective.selective_scan`, and return the outputs without the skip and the state after the last token.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lib.ssm._autograd import differentiable_once

__all__ = ["ChunkedScan", "CompiledScan"]

CHUNK = 16  # tokens; states of one chunk and one state per chunk are in memory at a time


class ChunkedScan(torch.autograd.Function):
    """In plain torch, on any device; time comes first in the work space, so that a token is one run of memory."""

    @staticmethod
    def forward(ctx, x, dt, A, B, C, h, reset):
        decay, states = _work_space(x, A, 2)
        y, edges = torch.empty_like(x), []
        for span in _spans(x.shape[1]):
            xs, dts, Bs, Cs, resets = _time_first(span, x, dt, B, C, reset)
            edges.append(h)
            inside = states[: xs.shape[0]]
            _fill(decay[: xs.shape[0]], inside, xs, dts, A, Bs, h, resets)
            y[:, span] = _over_states(inside, Cs).transpose(0, 1)
            h = inside[-1].clone()
        ctx.save_for_backward(x, dt, A, B, C, reset, *(edges if any(ctx.needs_input_grad) else ()))
        return y, h

    @staticmethod
    @differentiable_once
    def backward(ctx, dy, dh):
        x, dt, A, B, C, reset, *edges = ctx.saved_tensors
        work = _work_space(x, A, 3)
        dx, ddt, dA, dB, dC = (torch.zeros_like(tensor) for tensor in (x, dt, A, B, C))
        for span, before in zip(reversed(_spans(x.shape[1])), reversed(edges)):
            xs, dts, Bs, Cs, dys, resets = _time_first(span, x, dt, B, C, dy, reset)
            decay, states, G = (tensor[: xs.shape[0]] for tensor in work)
            _fill(decay, states, xs, dts, A, Bs, before, resets)
            dC[:, span] = _over_channels(dys, states)
            torch.mul(dys.unsqueeze(-1), Cs.unsqueeze(2), out=G)
            for a, here in zip(reversed(decay.unbind(0)), reversed(G.unbind(0))):
                here.add_(dh)
                dh = a * here
            drive = _over_states(G, Bs)
            dB[:, span] = _over_channels(dts * xs, G)
            # From here on the decays are replaced by a_t h_{t-1} G_t.
            decay.mul_(G)
            decay[1:].mul_(states[:-1])
            decay[0].mul_(before)
            dA += torch.mul(decay, dts.unsqueeze(-1), out=G).sum(dim=(0, 1))
            dx[:, span] = (drive * dts).transpose(0, 1)
            ddt[:, span] = (decay.mul_(A).sum(dim=-1) + drive * xs).transpose(0, 1)
        return dx, ddt, dA, dB, dC, dh, None


class CompiledScan(torch.autograd.Function):
    """In the loops of :mod:`lib.ssm._selective_numba`: float32 or float64 on a CPU."""

    @staticmethod
    def forward(ctx, x, dt, A, B, C, h, reset):
        from lib.ssm import _selective_numba as kernels

        # The loops run over channels: rates and states are turned to have them last.
        inputs = tuple(tensor.contiguous() for tensor in (x, dt, A.mT, B, C))
        reset = torch.empty(0, 0, dtype=torch.bool) if reset is None else reset.contiguous()
        y, last = torch.zeros_like(inputs[0]), h.mT.clone(memory_format=torch.contiguous_format)
        edges = x.new_empty(len(_spans(x.shape[1])) if any(ctx.needs_input_grad) else 0, *last.shape)
        kernels.forward(*_arrays(*inputs, reset, y, last, edges), CHUNK)
        ctx.save_for_backward(*inputs, reset, edges)
        return y, last.mT.contiguous()

    @staticmethod
    @differentiable_once
    def backward(ctx, dy, dh):
        from lib.ssm import _selective_numba as kernels

        *inputs, reset, edges = ctx.saved_tensors
        dx, ddt, dA, dB, dC = (torch.zeros_like(tensor) for tensor in inputs)
        carry = dh.mT.clone(memory_format=torch.contiguous_format)
        kernels.backward(*_arrays(*inputs, reset, edges, dy.contiguous(), dx, ddt, dA, dB, dC, carry), CHUNK)
        return dx, ddt, dA.mT, dB, dC, carry.mT, None


def _spans(tokens: int) -> list[slice]:
    return [slice(start, min(start + CHUNK, tokens)) for start in range(0, tokens, CHUNK)]


def _work_space(x: Tensor, A: Tensor, count: int) -> list[Tensor]:
    """Tensors (chunk, batch, channels, state)."""
    batch, tokens, channels = x.shape
    return [x.new_empty(min(CHUNK, tokens), batch, channels, A.shape[1]) for _ in range(count)]


def _time_first(span: slice, *tensors: Tensor | None) -> list[Tensor | None]:
    """Cut a chunk out of tensors (batch, time, ...) and turn it to (time, batch, ...)."""
    return [None if tensor is None else tensor[:, span].transpose(0, 1).contiguous() for tensor in tensors]


def _fill(decay: Tensor, states: Tensor, x: Tensor, dt: Tensor, A: Tensor, B: Tensor, h: Tensor, reset) -> None:
    """Write the decays and states of a chunk, one operation a token."""
    torch.mul(dt.unsqueeze(-1), A, out=decay).exp_()
    if reset is not None:
        decay.masked_fill_(reset[..., None, None], 0)
    torch.mul((dt * x).unsqueeze(-1), B.unsqueeze(2), out=states)
    for a, after in zip(decay.unbind(0), states.unbind(0)):
        h = after.addcmul_(a, h)


def _over_states(states: Tensor, rows: Tensor) -> Tensor:
    """Sum over n of (t, b, d, n) times (t, b, n); with the row first it takes a third of the time."""
    return torch.matmul(rows.unsqueeze(2), states.transpose(2, 3)).squeeze(2)


def _over_channels(rows: Tensor, states: Tensor) -> Tensor:
    """Sum over d of (t, b, d) times (t, b, d, n), batch first."""
    return torch.matmul(rows.unsqueeze(2), states).squeeze(2).transpose(0, 1)


def _arrays(*tensors: Tensor) -> tuple:
    return tuple(tensor.detach().numpy() for tensor in tensors)
