"""Random numbers that are the same in torch and on the page.

A counter-based generator: number ``i`` of stream ``k`` under ``seed`` is a 32-bit hash of the three (the output
function of PCG-RXS-M-XS [1]_), so nothing has to be stored, any draw can be repeated, and the page draws the very
numbers that torch drew. torch's own generators cannot run on the page.

References
----------
.. [1] M. E. O'Neill, PCG: A family of simple fast space-efficient statistically good algorithms for random number
   generation, HMC-CS-2014-0905 (2014); M. Jarzynski and M. Olano, Hash functions for GPU rendering, JCGT 9 (2020).
"""

from __future__ import annotations

import math

import torch

__all__ = ["integers", "normal", "permutation", "uniform"]

_MASK = 0xFFFFFFFF


def _hash(x: torch.Tensor) -> torch.Tensor:
    """PCG's permutation of 32-bit integers, elementwise on int64."""
    state = (x * 747796405 + 2891336453) & _MASK
    word = (((state >> ((state >> 28) + 4)) ^ state) * 277803737) & _MASK
    return (word >> 22) ^ word


@torch.library.custom_op("live::uniform", mutates_args=())
def uniform_bits(seed: torch.Tensor, count: int, stream: int = 0) -> torch.Tensor:
    """``count`` numbers of a stream, float64 in (0, 1); the one operation the page needs for randomness."""
    index = torch.arange(count, dtype=torch.int64, device=seed.device)
    key = _hash(_hash(seed.reshape(()).to(torch.int64) & _MASK) ^ stream)
    return (_hash(_hash(index) ^ key).to(torch.float64) + 0.5) / 2**32


@uniform_bits.register_fake
def _(seed, count, stream=0):
    return seed.new_empty(count, dtype=torch.float64)


def uniform(seed, *shape: int, stream: int = 0) -> torch.Tensor:
    """Independent numbers, uniform on (0, 1).

    Parameters
    ----------
    seed : int or Tensor
        An integer, or what a :class:`~lib.live.Seed` control hands to a figure.
    *shape : int
        Shape of the result.
    stream : int, optional
        Different streams under one seed are independent: one for each thing that is drawn.

    Returns
    -------
    Tensor, shape ``shape``, float64

    Raises
    ------
    ValueError
        If a size or the stream is not a non-negative integer.

    Examples
    --------
    >>> u = uniform(7, 1000)
    >>> bool((u == uniform(7, 1000)).all()), abs(float(u.mean()) - 0.5) < 0.03
    (True, True)
    """
    for n in shape:
        if isinstance(n, bool) or not isinstance(n, int) or n < 0:
            raise ValueError(f"shape must hold non-negative integers, got {n!r}")
    if isinstance(stream, bool) or not isinstance(stream, int) or not 0 <= stream <= _MASK:
        raise ValueError(f"stream must be an integer from 0 to 2**32 - 1, got {stream!r}")
    seed = torch.as_tensor(seed, dtype=torch.float64)
    return uniform_bits(seed, math.prod(shape), stream).reshape(shape)


def normal(seed, *shape: int, stream: int = 0) -> torch.Tensor:
    """Independent standard normal numbers (Box and Muller); parameters as for :func:`uniform`.

    Examples
    --------
    >>> normal(7, 2, 3).shape
    torch.Size([2, 3])
    """
    u = uniform(seed, 2, *shape, stream=stream)
    return torch.sqrt(-2 * torch.log(u[0])) * torch.cos(2 * math.pi * u[1])


def integers(seed, high: int, *shape: int, stream: int = 0) -> torch.Tensor:
    """Independent integers, uniform on 0 ... ``high - 1`` (int64); ``high`` is at most 2**20.

    Examples
    --------
    >>> int(integers(7, 6, 1000).max())
    5
    """
    if isinstance(high, bool) or not isinstance(high, int) or not 1 <= high <= 2**20:
        raise ValueError(f"high must be an integer from 1 to 2**20, got {high!r}")
    return (uniform(seed, *shape, stream=stream) * high).to(torch.int64)


def permutation(seed, count: int, *, stream: int = 0) -> torch.Tensor:
    """A random order of 0 ... ``count - 1`` (int64).

    Examples
    --------
    >>> sorted(permutation(7, 5).tolist())
    [0, 1, 2, 3, 4]
    """
    return torch.argsort(uniform(seed, count, stream=stream), stable=True)
