"""Initial weights of the blocks, drawn from an explicit generator, and the checks that their constructors share."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from lib import checks

__all__ = ["check_options", "check_range", "dt_bias", "inverse_softplus", "linear", "normal_embedding"]

# Smallest step length that a fresh block may start with.
DT_FLOOR = 1e-4


def check_options(generator: torch.Generator | None, dtype: torch.dtype, **sizes: int) -> torch.Generator:
    """Check sizes of at least 1 and the type; the generator, seeded with 0 where none is given."""
    for name, value in sizes.items():
        checks.integer(name, value, lowest=1)
    checks.choice("dtype", dtype, (torch.float32, torch.float64))
    return checks.generator("generator", torch.Generator().manual_seed(0) if generator is None else generator)


def check_range(name: str, value) -> tuple[float, float]:
    """Check a pair of positive numbers in rising order."""
    try:
        low, high = value
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a pair of positive numbers, got {checks.describe(value)}") from None
    low = checks.real_number(f"{name}[0]", low, lowest=0, open_below=True)
    high = checks.real_number(f"{name}[1]", high, lowest=0, open_below=True)
    if low > high:
        raise ValueError(f"{name} must be in rising order, got {checks.describe(value)}")
    return low, high


def linear(inputs: int, outputs: int, generator: torch.Generator, dtype: torch.dtype) -> nn.Linear:
    """A linear map without bias, entries uniform within 1 / sqrt(inputs) of zero, as torch's own."""
    layer = nn.utils.skip_init(nn.Linear, inputs, outputs, bias=False, dtype=dtype, device=generator.device)
    nn.init.uniform_(layer.weight, -(inputs**-0.5), inputs**-0.5, generator=generator)
    return layer


def normal_embedding(entries: int, width: int, generator: torch.Generator, dtype: torch.dtype) -> nn.Embedding:
    """An embedding with standard normal entries, as torch's own."""
    layer = nn.utils.skip_init(nn.Embedding, entries, width, dtype=dtype, device=generator.device)
    nn.init.normal_(layer.weight, generator=generator)
    return layer


def inverse_softplus(dt: Tensor) -> Tensor:
    """The number whose softplus is dt > 0, without overflow for large dt or cancellation for small ones."""
    return dt + torch.log(-torch.expm1(-dt))


def dt_bias(size: int, dt_range: tuple[float, float], generator: torch.Generator, dtype: torch.dtype) -> nn.Parameter:
    """Bias for which the step length softplus(bias) is log-uniform in a range."""
    low, high = (math.log(bound) for bound in dt_range)
    share = torch.rand(size, generator=generator, dtype=dtype, device=generator.device)
    dt = torch.exp(low + share * (high - low)).clamp(min=DT_FLOOR)
    return nn.Parameter(inverse_softplus(dt))


def count_heads(d_inner: int, head_dim: int) -> int:
    """Number of heads, which have to use up all inner channels."""
    if d_inner % head_dim:
        raise ValueError(f"head_dim must divide the {d_inner} inner channels, got {head_dim}")
    return d_inner // head_dim
