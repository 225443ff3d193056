"""The chunked scan on a GPU: block sizes, launches and gradients of :mod:`lib.ssm._triton_kernels`.

Why the kernels can reach the floor of their bytes and products on a large GPU (8 sequences of 4096 tokens, 32 heads,
P = 64, N = 128, one group, bfloat16; 3 TB/s, 800 TFLOP/s):

* Forward: x, y, B, C cross the bus once, 0.29 GB, 0.10 ms; no chunk state ever does (those of a five-kernel chain cost
  0.27 ms). A chunk of 64 tokens is four products of 64 x 64 x (64 to 128), 60 GFLOP in all, 0.08 ms at full rate. The
  256 programs are two for each of 132 multiprocessors, so one's loads hide behind the other's products.
* Backward: the forward march recomputes the state for dC and the backward march carries its adjoint for dx and dB: 163
  GFLOP, 0.2 ms. x and dy are read twice, dx is written once, dB and dC once for every head and read again to be summed
  over the heads that share them: 1.7 GB, 0.6 ms. Beyond inputs and outputs, memory holds one gradient for every head at
  a time and one state per 512 tokens.
* Few heads leave multiprocessors idle: P is then split in blocks, whose scores are computed again.

Per program and chunk (N = 128, P = 64, 64 tokens): the state is 32 KiB of float32 registers (64 for each of 128
threads), tiles of B, C, x, dy are 16 + 16 + 8 + 8 KiB of shared memory for each pipeline stage in bfloat16.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
from torch import Tensor

from lib.ssm import _triton_kernels as kernels
from lib.ssm._autograd import differentiable_once, of_log_decays

__all__ = ["INTERPRETED", "Tiles", "chunk_scan", "tiles"]

# Whether Triton's interpreter runs the kernels, on any device: TRITON_INTERPRET was set before triton was imported.
INTERPRETED = not isinstance(kernels.forward, triton.JITFunction)


class Tiles(NamedTuple):
    """How the work is cut up: tokens, cells and channels of a block, and how a program is run.

    ``every`` chunks the backward keeps a state; ``precision`` is that of products of float32 numbers.
    """

    Q: int
    BN: int
    BP: int
    every: int
    warps: int
    stages: int
    precision: str


def tiles(
    heads: int, time: int, N: int, P: int, dtype: torch.dtype, capability: tuple[int, int] = (9, 0), cores: int = 132
) -> Tiles:
    """Block sizes for a shape.

    Parameters
    ----------
    heads : int
        Sequences times heads.
    time, N, P : int
        Tokens, cells and channels.
    dtype : torch.dtype
        Type of x, B and C.
    capability : (int, int)
        Compute capability of the device. Two pipeline stages need the shared memory of 8.0 and 9.0 (others have 64 to
        100 KiB for a program). From 10.0 on it is one in any case: with more, a compiled scan has been seen to give
        wrong numbers there.
    cores : int
        Multiprocessors of the device.

    Examples
    --------
    >>> tiles(256, 4096, 128, 64, torch.bfloat16)
    Tiles(Q=64, BN=128, BP=64, every=8, warps=4, stages=2, precision='ieee')
    >>> tiles(8, 4096, 128, 64, torch.float32, capability=(10, 0))
    Tiles(Q=16, BN=128, BP=16, every=32, warps=4, stages=1, precision='tf32x3')
    """
    wide = dtype.itemsize > 2
    # Products of float32 take three of the matrix unit's own and the registers for their parts.
    Q = min(16 if wide else 64, _power(time))
    BN = _power(N)
    # A state of 128 x 64 float32 numbers fills half the registers of four warps.
    BP = min(_power(P), max(16, 64 * 128 // BN), 32 if wide else 64)
    while BP > 16 and heads * triton.cdiv(P, BP) < cores:
        BP //= 2
    precision = "tf32x3" if wide and capability >= (8, 0) else "ieee"
    tiles_of_a_chunk = dtype.itemsize * Q * (2 * BN + 2 * BP)
    deep = capability in ((8, 0), (9, 0)) and 2 * tiles_of_a_chunk <= 100 * 1024
    return Tiles(Q, BN, BP, 512 // Q, 4, 2 if deep else 1, precision)


def _power(size: int) -> int:
    """The smallest power of two from 16 on that holds a size."""
    return max(16, triton.next_power_of_2(size))


def chunk_scan(
    x: Tensor,
    log_decay: Tensor,
    later: Tensor,
    now: Tensor,
    B: Tensor,
    C: Tensor,
    h: Tensor,
    *,
    resets: bool = True,
    cut: Tiles | None = None,
) -> tuple[Tensor, Tensor]:
    """Outputs and final state, differentiable once; see :func:`lib.ssm._chunks.chunk_scan`.

    Parameters
    ----------
    x : Tensor, (b, T, H, P) or (b, T, H, R, P)
        float32 or bfloat16; B and C are taken in the same type. R is a power of two up to 16.
    log_decay, later, now : Tensor, (b, T, H)
    B, C : Tensor, (b, T, G, N) or (b, T, G, R, N)
        Not repeated for the heads of a group.
    h : Tensor, (b, H, N, P)
    resets : bool
        Whether a log decay may be -infinity.
    cut : Tiles, optional
        By default :func:`tiles` of the shape and the device.

    Returns
    -------
    y : Tensor, the shape and type of x
    h : Tensor, (b, H, N, P)
        In float32.
    """
    ranked = x.dim() == 5
    if not ranked:
        x, B, C = (value[:, :, :, None] for value in (x, B, C))
    cut = chosen_tiles(x, B) if cut is None else cut
    rows = (value.float() for value in (log_decay, later, now))
    y, h = _ChunkScan.apply(x, *rows, B.to(x.dtype), C.to(x.dtype), h.float(), resets, cut)
    return (y if ranked else y[:, :, :, 0]), h


def chosen_tiles(x: Tensor, B: Tensor) -> Tiles:
    """:func:`tiles` of inputs (b, T, H, R, P) and write vectors (b, T, G, R, N) on their device."""
    batch, time, heads, ranks, P = x.shape
    if x.device.type != "cuda":  # the interpreter, to which the device is of no account
        return tiles(batch * heads, time * ranks, B.shape[4], P, x.dtype, cores=1)
    cores = torch.cuda.get_device_properties(x.device).multi_processor_count
    capability = torch.cuda.get_device_capability(x.device)
    return tiles(batch * heads, time * ranks, B.shape[4], P, x.dtype, capability, cores)


class _ChunkScan(torch.autograd.Function):
    """:func:`chunk_scan` with an axis for the rank."""

    @staticmethod
    def forward(ctx, x, log_decay, later, now, B, C, h, resets, cut):
        inputs = [value.contiguous() for value in (x, log_decay, later, now, B, C, h)]
        y, final = torch.empty_like(inputs[0]), torch.empty_like(inputs[-1])
        _Launch(x, B, resets, cut)(kernels.forward, *inputs, y, final)
        ctx.save_for_backward(*inputs, final)
        ctx.how = resets, cut
        return y, final

    @staticmethod
    @differentiable_once
    def backward(ctx, d_y, d_final):
        *given, h, final = ctx.saved_tensors
        x, B = given[0], given[4]
        launch = _Launch(x, B, *ctx.how)
        d_y, d_final = d_y.contiguous(), d_final.contiguous()
        rows = (launch.blocks, *x.shape[:4])
        d_read = torch.empty(rows, dtype=torch.float32, device=x.device)
        anchors = h.new_empty(*h.shape[:2], launch.anchors, *h.shape[2:])
        d_vectors = x.new_empty(*rows, B.shape[4])
        launch(kernels.read_gradient, *given, h, d_y, d_vectors, d_read, anchors, marks=True)
        d_C = _summed(d_vectors, B)
        d_vectors = d_vectors if d_C.data_ptr() != d_vectors.data_ptr() else torch.empty_like(d_vectors)
        d_x, d_h = torch.empty_like(x), torch.empty_like(h)
        d_log_decay, d_later, d_now = (torch.empty_like(d_read) for _ in range(3))
        came = (*given, final, anchors, d_y, d_final, d_read)
        launch(kernels.write_gradient, *came, d_x, d_log_decay, d_later, d_now, d_vectors, d_h, marks=True)
        # At a token's first row it counts all of the token's rows.
        d_log_decay = of_log_decays(d_log_decay[..., 0].sum(0), given[1])
        return d_x, d_log_decay, d_later.sum((0, 4)), d_now.sum((0, 4)), _summed(d_vectors, B), d_C, d_h, None, None


def _summed(per_head: Tensor, like: Tensor) -> Tensor:
    """Gradients (blocks, b, T, H, R, N) summed over blocks and over the heads of each group, like (b, T, G, R, N)."""
    blocks, heads, groups = per_head.shape[0], per_head.shape[3], like.shape[2]
    if blocks == 1 and heads == groups:
        return per_head[0]
    per_group = per_head.unflatten(3, (groups, heads // groups))
    return per_group.sum((0, 4), dtype=torch.float32).to(like.dtype)


class _Launch:
    """Starts kernels for one shape on one device."""

    def __init__(self, x: Tensor, B: Tensor, resets: bool, cut: Tiles):
        batch, time, heads, ranks, P = x.shape
        groups, N = B.shape[2], B.shape[4]
        chunks = triton.cdiv(time, cut.Q // ranks)
        self.blocks, self.anchors = triton.cdiv(P, cut.BP), chunks // cut.every
        self.grid = (batch * heads * self.blocks,)
        self.sizes = (time, heads, groups, chunks)
        self.marks = (cut.every, batch)
        precision = "wide" if INTERPRETED else cut.precision
        self.fixed = dict(N=N, P=P, R=ranks, Q=cut.Q, BN=cut.BN, BP=cut.BP, HAS_RESET=resets, PRECISION=precision)
        self.options = dict(num_warps=cut.warps, num_stages=cut.stages)

    def __call__(self, kernel, *tensors: Tensor, marks: bool = False) -> None:
        """Run a kernel; `marks` adds what the backward needs to place its stored states."""
        sizes = (*self.sizes, *self.marks) if marks else self.sizes
        with torch.cuda.device_of(tensors[0]):
            kernel[self.grid](*tensors, *sizes, **self.fixed, **self.options)
