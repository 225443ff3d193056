"""Kuramoto's self-consistency equation for a density of frequencies, by quadrature and bracketing."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch
from scipy.integrate import quad
from scipy.optimize import brentq
from torch import Tensor

__all__ = ["locked_share", "order"]

TOLERANCE = 1e-12


def order(K: Tensor, density, width: Tensor, peak: Tensor) -> Tensor:
    """r for each coupling; see :func:`lib.kuramoto.kuramoto_theory`, which checks the arguments."""
    shape = torch.broadcast_shapes(K.shape, width.shape)
    numbers = [tensor.expand(shape).reshape(-1).tolist() for tensor in (K, width, peak)]
    checked = set()
    found = []
    for coupling, scale, height in zip(*numbers):
        p, support = _named(density, scale)
        if scale not in checked:
            _check_normalised(p, scale, support)
            checked.add(scale)
        found.append(_solve(coupling, p, scale, support, height))
    return torch.tensor(found, dtype=K.dtype, device=K.device).reshape(shape)


def locked_share(a: float, p: Callable[[float], float], scale: float, support: float = math.inf) -> float:
    """The integral of cos(u)^2 p(a sin u) over |u| < pi/2; p is even, and 0 beyond its support.

    Examples
    --------
    >>> round(locked_share(0.0, lambda omega: 0.5, 1.0), 6)  # pi / 2 times p(0)
    0.785398
    """
    end = math.pi / 2 if a <= support else math.asin(support / a)
    # Where p falls, in units of u: without these a narrow peak could be missed.
    reach = 2 * a * math.sin(end) / scale
    falls = [math.asin(0.5 * scale / a * 4**k) for k in range(math.ceil(math.log(reach, 4)))] if reach > 1 else []

    def integrand(u: float) -> float:
        return math.cos(u) ** 2 * p(a * math.sin(u))

    edges = [0.0, *falls, end]
    total = 0.0
    for low, high in itertools.pairwise(edges):
        total += quad(integrand, low, high, epsabs=0, epsrel=1e-11, limit=200)[0]
    return 2 * total


def _solve(K: float, p: Callable[[float], float], scale: float, support: float, peak: float) -> float:
    """r = a / K, where the integral at a is 1 / K; it falls from pi p(0) / 2 at a = 0 to below 1 / K at a = K."""
    if K * math.pi * peak / 2 <= 1 + TOLERANCE:
        return 0.0
    a = brentq(lambda a: locked_share(a, p, scale, support) - 1 / K, 0.0, K, xtol=TOLERANCE * K, rtol=1e-14)
    return a / K


def _named(density, scale: float) -> tuple[Callable[[float], float], float]:
    """The density as a function of the frequency, and the frequency beyond which it is 0."""
    if callable(density):
        return density, math.inf
    if density == "normal":
        return lambda omega: math.exp(-0.5 * (omega / scale) ** 2) / (math.sqrt(2 * math.pi) * scale), math.inf
    if density == "uniform":
        return lambda omega: 0.5 / scale if abs(omega) <= scale else 0.0, scale
    return lambda omega: scale / (math.pi * (omega**2 + scale**2)), math.inf


def _check_normalised(p: Callable[[float], float], scale: float, support: float) -> None:
    near = quad(p, 0.0, min(8 * scale, support), limit=400)[0]
    far = 0.0 if support <= 8 * scale else quad(p, 8 * scale, support, limit=400)[0]
    if abs(2 * (near + far) - 1) > 1e-4:
        raise ValueError(f"density must integrate to 1 over all frequencies, got {2 * (near + far):g}")
