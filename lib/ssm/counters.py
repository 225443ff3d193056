"""Counting modulo a number, exactly: counters built by hand from one pair of cells, and what they should say.

A pair of cells that turns by 2 pi / m for every one it reads stands at an angle that is the sum modulo m; a memory that
can only fade has no such place to keep it. Parity is m = 2: a half turn for every one.

Source: Lahoti et al., "Mamba-3", arXiv:2603.15569, section 3.2.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from lib import checks
from lib.ssm import _block
from lib.ssm.scan import scan_chunked

__all__ = ["counter_state", "modular_counter", "modular_sums", "parity_counter", "random_digits"]


def random_digits(batch: int, length: int, modulus: int, generator: torch.Generator) -> Tensor:
    """Rows of digits from 0 to modulus - 1, all equally likely.

    Parameters
    ----------
    batch, length : int
        Rows and digits of each, at least 1.
    modulus : int
        At least 2.
    generator : torch.Generator

    Returns
    -------
    Tensor of int64, (batch, length)

    Raises
    ------
    ValueError
        If a number is out of range or there is no generator.

    Examples
    --------
    >>> random_digits(2, 5, 2, torch.Generator().manual_seed(0)).shape
    torch.Size([2, 5])
    """
    checks.integer("batch", batch, lowest=1)
    checks.integer("length", length, lowest=1)
    checks.integer("modulus", modulus, lowest=2)
    checks.generator("generator", generator)
    return torch.randint(modulus, (batch, length), generator=generator, device=generator.device)


def modular_sums(digits: Tensor, modulus: int) -> Tensor:
    """Sum of each prefix, modulo a number: what a counter should say after each digit.

    Parameters
    ----------
    digits : Tensor of int, (..., T)
        From 0 to modulus - 1.
    modulus : int
        At least 2.

    Returns
    -------
    Tensor of int64, (..., T)

    Raises
    ------
    ValueError
        If a digit or the modulus is out of range.

    Examples
    --------
    >>> modular_sums(torch.tensor([1, 1, 0, 1]), 2).tolist()
    [1, 0, 0, 1]
    """
    modulus = checks.integer("modulus", modulus, lowest=2)
    return _block.check_integers("digits", digits, "(..., T)", None, modulus).cumsum(dim=-1) % modulus


def counter_state(turn, *, decay=0.0) -> Tensor:
    """Where a pair of cells points that starts at (1, 0) and turns by a given angle at every token.

    A scan with dt = 1 and lambda = 1 in which a token before the first writes (1, 0), and nothing is written later.

    Parameters
    ----------
    turn : array_like, (..., T)
        Angle of every token (radians).
    decay : array_like, ()
        Share of its length that the pair loses per token, as a rate: it shrinks by exp(-decay). At least 0.

    Returns
    -------
    Tensor, (..., T, 2)

    Raises
    ------
    ValueError
        If there is no token or the decay is negative or no single number.

    Examples
    --------
    >>> (counter_state([torch.pi / 2, torch.pi / 2]).round(decimals=6) + 0).tolist()
    [[0.0, 1.0], [-1.0, 0.0]]
    """
    turn, decay = checks.tensors(turn=turn, decay=decay)
    checks.shape("turn", turn, None)
    if decay.dim():
        raise ValueError(f"decay must be a single number, got shape {tuple(decay.shape)}")
    checks.require(decay >= 0, "decay must be at least 0", decay)
    rows = turn.reshape(-1, turn.shape[-1])
    theta = functional.pad(rows, (1, 0))[:, :, None, None]
    first = torch.zeros_like(theta)
    first[:, 0] = 1
    # Two heads remember the same and are read along the two axes.
    x = first.expand(-1, -1, 2, -1)
    dt = torch.ones_like(x[..., 0])
    axes = torch.eye(2, dtype=turn.dtype, device=turn.device)
    write, read = axes[0].expand(*dt.shape, 2), axes.expand(*dt.shape, 2)
    y, _ = scan_chunked(x, dt, -decay * dt, write, read, None, theta)
    return y[:, 1:, :, 0].reshape(*turn.shape, 2)


def parity_counter(bits: Tensor, *, angle=math.pi, decay=0.0) -> Tensor:
    """Exact parity: +1 after an even number of ones, -1 after an odd one.

    Parameters
    ----------
    bits : Tensor of int, (..., T)
        Zeros and ones.
    angle : array_like, ()
        Angle by which a one turns the pair (radians); anything but pi goes astray sooner or later.
    decay : array_like, ()
        As in :func:`counter_state`; a pair that shrinks keeps its sign.

    Returns
    -------
    Tensor, (..., T)
        First coordinate of the pair.

    Raises
    ------
    ValueError
        If bits are no zeros and ones, or angle or decay is no single number.

    Examples
    --------
    >>> parity_counter(torch.tensor([1, 1, 0, 1])).tolist()
    [-1.0, 1.0, 1.0, -1.0]
    """
    return counter_state(_turns("bits", bits, 2, angle, decay), decay=decay)[..., 0]


def modular_counter(digits: Tensor, modulus: int, *, angle=None, decay=0.0) -> Tensor:
    """Exact sums modulo m: the pair read along m directions, of which it points along one.

    Parameters
    ----------
    digits : Tensor of int, (..., T)
        From 0 to modulus - 1.
    modulus : int
        m, at least 2.
    angle : array_like, (), optional
        Angle per unit (radians), 2 pi / m by default.
    decay : array_like, ()
        As in :func:`counter_state`.

    Returns
    -------
    Tensor, (..., T, m)
        Scores; the largest stands at the sum modulo m.

    Raises
    ------
    ValueError
        If a digit or the modulus is out of range, or angle or decay is no single number.

    Examples
    --------
    >>> modular_counter(torch.tensor([4, 3, 1]), 5).argmax(dim=-1).tolist()
    [4, 2, 3]
    """
    modulus = checks.integer("modulus", modulus, lowest=2)
    turn = _turns("digits", digits, modulus, 2 * math.pi / modulus if angle is None else angle, decay)
    directions = 2 * math.pi / modulus * torch.arange(modulus, dtype=turn.dtype, device=turn.device)
    return counter_state(turn, decay=decay) @ torch.stack([directions.cos(), directions.sin()])


def _turns(name: str, digits, modulus: int, angle, decay) -> Tensor:
    angle, _ = checks.tensors(angle=angle, decay=decay)
    if angle.dim():
        raise ValueError(f"angle must be a single number, got shape {tuple(angle.shape)}")
    return angle * _block.check_integers(name, digits, "(..., T)", None, modulus)
