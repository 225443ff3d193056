"""Inputs of the state-space scans, the ways to run them, and whether those agree; for ``benchmarks/ssm.py``."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks import ssm_peers as peers
from lib.ssm import scan, selective

SEED = 0
WIDTH = 64


def random_tokens(*shape: int, generator: torch.Generator) -> Tensor:
    return torch.randn(*shape, generator=generator)


def selective_inputs(batch: int, time: int, channels: int, size: int) -> tuple[Tensor, ...]:
    """x, dt, A, B, C of Mamba-1, with the rates of its initial values."""
    normal = partial(random_tokens, generator=torch.Generator().manual_seed(SEED))
    x, dt = normal(batch, time, channels), functional.softplus(normal(batch, time, channels) - 2)
    A = -torch.arange(1.0, size + 1).repeat(channels, 1)
    return leaves(x, dt, A, normal(batch, time, size), normal(batch, time, size))


def ssd_inputs(batch: int, time: int, channels: int, size: int) -> tuple[Tensor, ...]:
    """x, dt, A, B, C of Mamba-2 with heads of width 64 and one group."""
    normal = partial(random_tokens, generator=torch.Generator().manual_seed(SEED))
    heads = channels // WIDTH
    x, dt = normal(batch, time, heads, WIDTH), functional.softplus(normal(batch, time, heads) - 2)
    A = -torch.exp(normal(heads)).expand(batch, time, heads).contiguous()
    return leaves(x, dt, A, normal(batch, time, 1, size), normal(batch, time, 1, size))


def mamba3_inputs(batch: int, time: int, channels: int, size: int, rank: int = 1) -> tuple[Tensor, ...]:
    """x, dt, A, B, C, lam, theta of Mamba-3 with vectors and angles of each head's own."""
    normal = partial(random_tokens, generator=torch.Generator().manual_seed(SEED))
    heads = channels // WIDTH
    ranks = () if rank == 1 else (rank,)
    steps = batch, time, heads
    return leaves(
        normal(*steps, WIDTH, *ranks),
        functional.softplus(normal(*steps) - 2),
        -torch.exp(normal(*steps)),
        normal(*steps, size, *ranks) / math.sqrt(size),
        normal(*steps, size, *ranks) / math.sqrt(size),
        torch.sigmoid(normal(*steps)),
        math.pi * torch.tanh(normal(*steps, size // 2)),
    )


def leaves(*values: Tensor) -> tuple[Tensor, ...]:
    """What gradients are taken of."""
    return tuple(value.requires_grad_() for value in values)


def selective_contenders() -> dict[str, Callable]:
    """Ways to run Mamba-1's scan, as functions of (x, dt, A, B, C)."""
    ways = {"loop": peers.loop}
    if peers.INSTALLED["mambapy"]:
        ways["mambapy"] = peers.mambapy_scan()
    for method in ("parallel", "chunked", "numba"):
        ways[method] = lambda *values, method=method: selective.selective_scan(*values, method=method)[0]
    return ways


SSD_CONTENDERS = {
    "loop": peers.ssd_loop,
    "ssd_minimal": peers.ssd_minimal,
    "ours": lambda *values: scan.scan(*values)[0],
}
MAMBA3_CONTENDERS = {
    "quadratic": peers.mamba3_quadratic,
    "ours": lambda *values: scan.scan(*values)[0],
}


def forward(way: Callable, arguments: tuple[Tensor, ...]) -> Callable:
    def call():
        with torch.no_grad():
            return way(*arguments)

    return call


def gradient(way: Callable, arguments: tuple[Tensor, ...], dy: Tensor) -> Callable:
    return lambda: torch.autograd.grad(way(*arguments), arguments, dy)


def check(group: str, ways: dict[str, Callable], make: Callable, shape: tuple[int, ...], reference: str) -> float:
    """Norm of the difference from the reference in float64, of outputs and gradients, relative; the largest."""
    arguments = make(*shape)
    wide = leaves(*(value.detach().double() for value in arguments))
    y = ways[reference](*wide)
    dy = torch.randn(y.shape, generator=torch.Generator().manual_seed(SEED + 1))
    wanted = (y.detach(), *gradient(ways[reference], wide, dy.double())())
    largest = 0.0

    def compare(name: str, found) -> None:
        nonlocal largest
        gaps = [relative(torch.as_tensor(value), right) for value, right in zip(found, wanted)]
        print(f"  {group:10s} {name:16s} off from float64 by {max(gaps):.1e}", flush=True)
        if not max(gaps) < 1e-5:
            raise SystemExit(f"{group}: {name} is wrong")
        largest = max(largest, *gaps)

    for name, way in ways.items():
        compare(name, (forward(way, arguments)(), *gradient(way, arguments, dy)()))
    if group == "selective" and peers.INSTALLED["jax"]:
        run, run_gradient = peers.jax_scan(arguments, dy)
        compare("jax", [torch.tensor(numpy.array(value)) for value in (run(), *run_gradient())])
    return largest


def relative(found: Tensor, wanted: Tensor) -> float:
    return float((found.detach().double() - wanted).norm() / wanted.norm())
