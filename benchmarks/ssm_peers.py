"""State-space scans as others write them: what ``benchmarks/ssm.py`` compares with.

Shapes: batch b, time T, channels D or heads H of width P, state N. Published references are written out after their
papers' listings, without options that the comparison does not use.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib.util import find_spec

import torch
from torch import Tensor
from torch.nn import functional

INSTALLED = {name: find_spec(name) is not None for name in ("mambapy", "jax", "mamba_ssm", "fla", "accelerated_scan")}


def loop(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """Mamba-1 as a textbook writes it: one step at a time, autograd through the loop."""
    h, ys = x.new_zeros(x.shape[0], *A.shape), []
    for t in range(x.shape[1]):
        h = torch.exp(dt[:, t, :, None] * A) * h + (dt[:, t] * x[:, t])[..., None] * B[:, t, None, :]
        ys.append((h * C[:, t, None, :]).sum(-1))
    return torch.stack(ys, 1)


def mambapy_scan() -> Callable:
    """Mambapy's parallel scan, as its Mamba block calls it."""
    from mambapy.pscan import pscan

    def scan(x, dt, A, B, C):
        decay = torch.exp(dt.unsqueeze(-1) * A)
        written = (dt * x).unsqueeze(-1) * B.unsqueeze(2)
        return (pscan(decay, written.to(decay.dtype)) @ C.unsqueeze(-1).to(decay.dtype)).squeeze(3).to(x.dtype)

    return scan


def jax_scan(arguments: tuple[Tensor, ...], dy: Tensor) -> tuple[Callable, Callable]:
    """Forward and gradient by ``lax.scan``, compiled, as functions without arguments that return numpy arrays."""
    import jax
    from jax import numpy

    def scan(x, dt, A, B, C):
        def step(h, now):
            xt, dtt, Bt, Ct = now
            h = numpy.exp(dtt[..., None] * A) * h + (dtt * xt)[..., None] * Bt[:, None]
            return h, (h * Ct[:, None]).sum(-1)

        time_first = tuple(value.swapaxes(0, 1) for value in (x, dt, B, C))
        _, y = jax.lax.scan(step, numpy.zeros((x.shape[0], *A.shape), x.dtype), time_first)
        return y.swapaxes(0, 1)

    values = tuple(numpy.asarray(value.detach().numpy()) for value in arguments)
    weights = numpy.asarray(dy.numpy())
    forward = jax.jit(scan)
    gradient = jax.jit(lambda weights, *values: jax.vjp(scan, *values)[1](weights))
    return (
        lambda: jax.block_until_ready(forward(*values)),
        lambda: jax.block_until_ready(gradient(weights, *values)),
    )


def _segment_sum(a: Tensor) -> Tensor:
    """Sums over segments by one masked cumulative sum, as in the listing of Mamba-2."""
    size = a.shape[-1]
    low = torch.ones(size, size, dtype=torch.bool, device=a.device)
    sums = a.unsqueeze(-1).expand(*a.shape, size).masked_fill(~low.tril(-1), 0).cumsum(-2)
    return sums.masked_fill(~low.tril(), -math.inf)


def ssd_minimal(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, length: int = 64) -> Tensor:
    """Mamba-2 in chunks after listing 1 of Dao and Gu, arXiv:2405.21060; x (b, T, H, P), B and C (b, T, 1, N)."""
    x, a = x * dt[..., None], dt * A
    heads = x.shape[2]
    B, C = B.expand(-1, -1, heads, -1), C.expand(-1, -1, heads, -1)
    x, a, B, C = (value.unflatten(1, (-1, length)) for value in (x, a, B, C))
    a = a.permute(0, 3, 1, 2)
    sums = torch.cumsum(a, dim=-1)
    mask = torch.exp(_segment_sum(a))
    inside = torch.einsum("bclhn,bcshn,bhcls,bcshp->bclhp", C, B, mask, x)
    to_end = torch.exp(sums[..., -1:] - sums)
    states = torch.einsum("bclhn,bhcl,bclhp->bchpn", B, to_end, x)
    states = torch.cat([torch.zeros_like(states[:, :1]), states], dim=1)
    between = torch.exp(_segment_sum(functional.pad(sums[..., -1], (1, 0))))
    states = torch.einsum("bhzc,bchpn->bzhpn", between, states)[:, :-1]
    before = torch.einsum("bclhn,bchpn,bhcl->bclhp", C, states, torch.exp(sums))
    return (inside + before).flatten(1, 2)


def ssd_loop(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """Mamba-2 one step at a time."""
    h, ys = x.new_zeros(*x.shape[:1], *x.shape[2:], B.shape[-1]), []
    for t in range(x.shape[1]):
        written = (dt[:, t, :, None] * x[:, t])[..., None] * B[:, t, :, None, :]
        h = torch.exp(dt[:, t] * A[:, t])[..., None, None] * h + written
        ys.append((h @ C[:, t, :, :, None]).squeeze(-1))
    return torch.stack(ys, 1)


def _turned(v: Tensor, angle: Tensor) -> Tensor:
    even, odd = v[..., 0::2], v[..., 1::2]
    cos, sin = angle.cos(), angle.sin()
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2)


def mamba3_quadratic(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, lam: Tensor, theta: Tensor) -> Tensor:
    """Mamba-3 as masked attention over the whole sequence, the form of the published single-input reference.

    x (b, T, H, P), dt, A, lam (b, T, H), B and C (b, T, H, N), theta (b, T, H, N / 2).
    """
    angle = torch.cumsum(theta * dt[..., None], 1)
    ahead = functional.pad((dt * (1 - lam))[:, 1:], (0, 0, 0, 1))
    k, q = _turned(B, -angle), _turned(C, -angle)
    own = (B * C).sum(-1) * ahead
    k = k * (dt * lam + ahead)[..., None]
    mask = torch.exp(_segment_sum((dt * A).transpose(1, 2)))
    scores = torch.einsum("bthn,bshn->bhts", q, k) * mask
    return torch.einsum("bhts,bshp->bthp", scores, x) - own[..., None] * x


def state_update(state: Tensor, x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor) -> Tensor:
    """One token of Mamba-1 with the operations of mamba_ssm's ``selective_state_update_ref``; changes the state."""
    from einops import rearrange, repeat

    state, x, dt, A, B, C, D = state[:, None], x[:, None], dt[:, None], A[None], B[:, None], C[:, None], D[None]
    decay = torch.exp(rearrange(dt, "b h d -> b h d 1") * A)
    B = repeat(B, "b g n -> b (g h) n", h=1)
    C = repeat(C, "b g n -> b (g h) n", h=1)
    written = rearrange(dt, "b h d -> b h d 1") * rearrange(B, "b h n -> b h 1 n")
    state.copy_(state * decay + written * rearrange(x, "b h d -> b h d 1"))
    out = torch.einsum("bhdn,bhn->bhd", state.to(C.dtype), C)
    out += (x * D).to(out.dtype)
    return out.to(x.dtype).squeeze(1)


class CachedAttention(torch.nn.Module):
    """Causal attention that keeps keys and values: one token costs what the context is long."""

    def __init__(self, width: int, heads: int, batch: int, room: int, device: torch.device, dtype: torch.dtype):
        super().__init__()
        self.heads = heads
        self.qkv = torch.nn.Linear(width, 3 * width, bias=False, device=device, dtype=dtype)
        self.out = torch.nn.Linear(width, width, bias=False, device=device, dtype=dtype)
        shape = (batch, heads, room, width // heads)
        self.keys, self.values = (torch.zeros(shape, device=device, dtype=dtype) for _ in range(2))

    def step(self, u: Tensor, position: int) -> Tensor:
        """The token at a position, after those that fill the cache before it."""
        q, k, v = self.qkv(u).view(len(u), 3, self.heads, 1, -1).unbind(1)
        self.keys[:, :, position : position + 1] = k
        self.values[:, :, position : position + 1] = v
        seen = slice(0, position + 1)
        y = functional.scaled_dot_product_attention(q, self.keys[:, :, seen], self.values[:, :, seen])
        return self.out(y.flatten(1))


# Kernels of others, on a GPU only; each as a function of the arguments that ``benchmarks/ssm_cuda.py`` makes.


def accelerated_scan() -> Callable:
    """A first-order recurrence in Triton, around which Mamba-1 has to be written out: (batch, lanes, time)."""
    from accelerated_scan.triton import scan

    def run(x, dt, A, B, C):
        decay = torch.exp(dt[..., None] * A).flatten(2).transpose(1, 2).contiguous()
        written = ((dt * x)[..., None] * B[:, :, None]).float().flatten(2).transpose(1, 2).contiguous()
        h = scan(decay, written).transpose(1, 2).unflatten(2, A.shape)
        return (h @ C.float()[..., None]).squeeze(-1).to(x.dtype)

    return run


def selective_scan_cuda() -> Callable | None:
    """Mamba-1's own kernel, where it was compiled."""
    try:
        from mamba_ssm.ops.selective_scan_interface import selective_scan_fn
    except ImportError:
        return None

    def run(x, dt, A, B, C):
        x, dt, B, C = (value.transpose(1, 2).contiguous() for value in (x, dt.to(x.dtype), B, C))
        return selective_scan_fn(x, dt, A, B, C).transpose(1, 2)

    return run


def mamba2_kernels() -> Callable | None:
    """Five Triton kernels of Mamba-2, with the chunks of its layer."""
    try:
        from mamba_ssm.ops.triton.ssd_combined import mamba_chunk_scan_combined
    except ImportError:
        return None
    return lambda x, dt, A, B, C: mamba_chunk_scan_combined(x, dt, A, B, C, chunk_size=256)


def simple_gla() -> Callable | None:
    """Flash-linear-attention with one decay a head: queries are C, keys B, values dt x."""
    try:
        from fla.ops.simple_gla import chunk_simple_gla
    except ImportError:
        return None

    def run(x, dt, A, B, C):
        q, k = (value.expand(-1, -1, x.shape[2], -1).contiguous() for value in (C, B))
        v = (dt[..., None] * x).to(x.dtype)
        return chunk_simple_gla(q, k, v, g=dt * A, scale=1.0)[0]

    return run


def mamba3_kernels() -> Callable | None:
    """Triton kernels of Mamba-3, which squash and turn what they are given themselves."""
    try:
        from mamba_ssm.ops.triton.mamba3.mamba3_siso_combined import mamba3_siso_combined
    except ImportError:
        return None

    def run(x, dt, A, B, C, trap, angle):
        decay, steps, trap = (value.transpose(1, 2).contiguous() for value in (dt * A, dt, trap))
        none = torch.zeros(x.shape[2], B.shape[-1], device=x.device)
        return mamba3_siso_combined(C, B, x, decay, steps, trap, none, none, angle)

    return run
