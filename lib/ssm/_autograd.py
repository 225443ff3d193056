"""Gradients that are written out: what they ask of the caller, and how they are checked against torch's own."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor

__all__ = [
    "differentiable_once",
    "first_difference",
    "of_log_decays",
    "with_gradients",
    "without_autocast",
]


def differentiable_once(backward: Callable) -> Callable:
    """A backward that refuses to be differentiated and computes in the types it is given.

    Torch's own ``once_differentiable`` complains only where the second derivative has no other path to an input; where
    it has one, ``torch.autograd.grad`` leaves the missing part out without a word.
    """

    @functools.wraps(backward)
    def run(ctx, *arrived):
        if torch.is_grad_enabled():
            raise RuntimeError(
                "this gradient is written out and can be taken once, but create_graph=True asks for a second: "
                'use scan_chunked, mimo_scan_sequential, or selective_scan with method="parallel"'
            )
        device = next((value.device.type for value in arrived if value is not None), "cpu")
        with torch.autocast(device, enabled=False):
            return backward(ctx, *arrived)

    return run


def without_autocast(scan: Callable) -> Callable:
    """A function that keeps its sums and states in the types it chose, also where matrix products would be halved."""

    @functools.wraps(scan)
    def run(*arguments, **named):
        x = arguments[0] if arguments else named.get("x")
        if not isinstance(x, Tensor) or not torch.is_autocast_enabled(x.device.type):
            return scan(*arguments, **named)
        with torch.autocast(x.device.type, enabled=False):
            return scan(*arguments, **named)

    return run


def of_log_decays(sums: Tensor, log_decay: Tensor) -> Tensor:
    """Gradient of log decays from sums in which all cancels that does not pass a token.

    Where less than a rounding error is left of the state, less than that is left of the gradient, too: what the sums
    give there is their rounding, which a large rate would blow up in the gradient of its step length.
    """
    return sums.masked_fill(log_decay < math.log(torch.finfo(log_decay.dtype).eps), 0)


def with_gradients(core: Callable, given, arrived) -> list[Tensor]:
    """Output and state of a scan and the gradients of all its inputs, for gradients that arrive at the two."""
    inputs = [value.detach().requires_grad_() for value in given]
    y, h = core(*inputs)
    arrived = [d.to(out.dtype) for d, out in zip(arrived, (y, h), strict=True)]
    gradients = torch.autograd.grad((y, h), inputs, arrived, allow_unused=True, materialize_grads=True)
    return [y.detach(), h.detach(), *gradients]


def first_difference(names, found, expected, tolerance: float) -> str | None:
    """The first of several results that is further off than a share of its size, in a few words; None if none is."""
    for name, value, wanted in zip(names, found, expected, strict=True):
        error = ((value.double() - wanted).norm() / wanted.norm()).item()
        if not error < tolerance:  # also where it is no number
            return f"{name} is off by {error:.1e} of its size"
    return None
