"""Write and read vectors turned by the phase, with the gradient written out.

Angles are reduced, turned into sines and multiplied for some tokens at a time, so that nothing as large as the vectors
is made on the way. With w = R(-phase) v the gradient of the phase is w_1 dw_0 - w_0 dw_1 for each pair, summed over all
that was turned, and that of v is R(phase) dw.

Shapes inside: complex cells of vectors (b, T, G, 1, R, N / 2), phases (b, T, G, J, 1, M), results (b, T, G, J, R, N/2).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.autograd import Function

from lib.ssm import rotation
from lib.ssm._autograd import differentiable_once

__all__ = ["turned_back"]

# Numbers that are worked on at once: a part of one core's cache, or much of what a GPU has to be given.
IN_CACHE = 1 << 18
ELSEWHERE = 1 << 26


def turned_back(vectors: tuple[Tensor, Tensor], phase: Tensor) -> tuple[Tensor, Tensor]:
    """Vectors (b, T, G, N) or (b, T, G, N, R) of each group, turned by minus the phase (b, T, H, M) of each head."""
    ranked = vectors[0].dim() == 5
    vectors = [value.mT if ranked else value[..., None, :] for value in vectors]
    turned = _TurnedBack.apply(phase, *vectors)
    return tuple(value.mT if ranked else value[..., 0, :] for value in turned)


class _TurnedBack(Function):
    @staticmethod
    def forward(ctx, phase, B, C):
        heads, kind = phase.shape[2], _kind(B)
        shape = (*B.shape[:2], heads, *B.shape[3:])
        turned = [torch.empty(shape, dtype=kind, device=B.device) for _ in range(2)]
        for tokens in _blocks(shape, B.device):
            turns = _turns(phase[:, tokens], B, kind).conj()
            for source, target in zip((B, C), turned, strict=True):
                _multiply(_cells(source[:, tokens].to(kind), B.shape[2]), turns, _cells(target[:, tokens], B.shape[2]))
        ctx.save_for_backward(phase, *turned)
        ctx.groups, ctx.types = B.shape[2], (B.dtype, C.dtype)
        return tuple(turned)

    @staticmethod
    @differentiable_once
    def backward(ctx, *arrived):
        phase, *turned = ctx.saved_tensors
        shape, groups, M = turned[0].shape, ctx.groups, phase.shape[-1]
        dphase = torch.empty_like(phase)
        gradients = [torch.empty(*shape[:2], groups, *shape[3:], dtype=w.dtype, device=w.device) for w in turned]
        for tokens in _blocks(shape, phase.device):
            turns = _turns(phase[:, tokens], gradients[0], turned[0].dtype)
            total = 0
            for w, dw, gradient in zip(turned, arrived, gradients, strict=True):
                w_, dw_ = (_cells(value[:, tokens], groups) for value in (w, dw))
                total = total + (w_[..., :M] * dw_[..., :M].conj()).imag.sum(-2)
                back = torch.empty_like(dw_)
                _multiply(dw_, turns, back)
                _cells(gradient[:, tokens], groups).copy_(back.sum(3, keepdim=True))
            dphase[:, tokens] = total.flatten(2, 3)
        return dphase, *(value.to(kind) for value, kind in zip(gradients, ctx.types, strict=True))


def _kind(value: Tensor) -> torch.dtype:
    return torch.promote_types(value.dtype, torch.float32)


def _blocks(shape: tuple, device: torch.device) -> list[slice]:
    """Tokens that are worked on at once."""
    per_token = shape[0] * math.prod(shape[2:])
    at_once = max(1, (IN_CACHE if device.type == "cpu" else ELSEWHERE) // per_token)
    return [slice(t, t + at_once) for t in range(0, shape[1], at_once)]


def _turns(phase: Tensor, like: Tensor, kind: torch.dtype) -> Tensor:
    """Complex numbers exp(i phase), (b, t, G, J, 1, M), for the groups of (b, T, G, R, N) vectors."""
    angle = rotation.wrapped(phase).to(kind).unflatten(2, (like.shape[2], -1))[..., None, :]
    return torch.complex(angle.cos(), angle.sin())


def _cells(value: Tensor, groups: int) -> Tensor:
    """Vectors (b, t, G or H, R, N) as complex cells (b, t, G, 1 or J, R, N / 2)."""
    return rotation.as_complex(value).unflatten(2, (groups, -1))


def _multiply(cells: Tensor, turns: Tensor, target: Tensor) -> None:
    """Turn the first cells, as many as there are angles, and copy the rest."""
    M = turns.shape[-1]
    torch.mul(cells[..., :M], turns, out=target[..., :M])
    target[..., M:] = cells[..., M:]
