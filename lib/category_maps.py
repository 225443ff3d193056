"""Maps of categories: shares of the classes, transitions between two maps, and what mislabelled pixels do to both.

A map is an integer tensor of any shape whose values are codes, such as those of a land-cover product; values that are
not among the ``codes`` asked for (no data, clouds) are dropped. Everything runs on the device of the maps.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from lib import checks
from lib.fisher_rao import distributions

__all__ = [
    "class_fractions",
    "label_noise_matrix",
    "label_noise_retention",
    "relabel_at_random",
    "transition_counts",
    "transition_series",
]

BLOCK = 2**20  # pixels counted at a time: on a CPU the work space then stays in the cache
HIGHEST_CODE = 65_535


def class_fractions(maps, codes: Sequence[int]) -> Tensor:
    """Share of each class among the pixels with a code asked for.

    Parameters
    ----------
    maps : integer array_like, (..., height, width)
        Codes of the pixels.
    codes : sequence of int
        Codes to count, from 0 to 65535, all different.

    Returns
    -------
    Tensor, (..., codes), float64
        Sums to 1.

    Raises
    ------
    ValueError
        If maps are not integers, codes repeat or leave their range, or a map has none of the codes.

    Examples
    --------
    >>> class_fractions([[5, 5, 7], [7, 7, 0]], [5, 7, 8]).tolist()
    [0.4, 0.6, 0.0]
    """
    maps = _integers("maps", maps)
    if maps.dim() < 2:
        raise ValueError(f"maps must have shape (..., height, width), got {tuple(maps.shape)}")
    codes = _codes(codes)
    table = _places(codes, maps.device)
    counts = [
        sum(torch.bincount(_placed(table, block), minlength=len(codes) + 1)[: len(codes)] for block in _blocks(one))
        for one in maps.reshape(-1, *maps.shape[-2:])
    ]
    counted = torch.stack(counts).reshape(*maps.shape[:-2], len(codes)).double()
    total = counted.sum(dim=-1, keepdim=True)
    checks.require(total > 0, "maps must each hold a pixel with one of the codes", total)
    return counted / total


def transition_counts(a, b, codes: Sequence[int]) -> Tensor:
    """Count the pixels that go from one class to another between two maps.

    Parameters
    ----------
    a, b : integer array_like, same shape
        Codes before and after. A pixel counts if both are among the codes.
    codes : sequence of int
        Codes in the order of rows and columns, from 0 to 65535, all different.

    Returns
    -------
    Tensor, (codes, codes), int64
        Row: class before; column: class after.

    Raises
    ------
    ValueError
        If the maps are not integers of one shape on one device, or codes repeat or leave their range.

    Notes
    -----
    Counted in blocks of 2^20 pixels (2^24 on a GPU); beside the maps this needs some 12 bytes for a pixel of a block.

    Examples
    --------
    >>> transition_counts([[5, 5, 0]], [[7, 5, 7]], [5, 7]).tolist()
    [[1, 1], [0, 0]]
    """
    a, b = _integers("a", a), _integers("b", b)
    if a.shape != b.shape or a.device != b.device:
        raise ValueError(
            "a and b must have one shape and device, "
            f"got {tuple(a.shape)} on {a.device} and {tuple(b.shape)} on {b.device}"
        )
    codes = _codes(codes)
    return _count(a, b, len(codes), _places(codes, a.device))


def transition_series(maps, codes: Sequence[int]) -> Tensor:
    """Count the transitions between each map of a series and the next.

    Parameters
    ----------
    maps : integer array_like, (times, ...)
        At least two maps of one shape, in order.
    codes : sequence of int
        As in :func:`transition_counts`.

    Returns
    -------
    Tensor, (times - 1, codes, codes), int64
        Its sum over the first dimension pools the periods.

    Raises
    ------
    ValueError
        As :func:`transition_counts`, and if there are fewer than two maps.

    Examples
    --------
    >>> transition_series([[5, 5], [7, 5], [7, 7]], [5, 7]).tolist()
    [[[1, 1], [0, 0]], [[0, 1], [0, 1]]]
    """
    maps = _integers("maps", maps)
    if maps.dim() == 0 or len(maps) < 2:
        raise ValueError(f"maps must hold at least two maps, got shape {tuple(maps.shape)}")
    codes = _codes(codes)
    table = _places(codes, maps.device)
    return torch.stack([_count(before, after, len(codes), table) for before, after in itertools.pairwise(maps)])


def relabel_at_random(maps, error: float, codes: Sequence[int], generator: torch.Generator) -> Tensor:
    """Mislabel pixels: each is given, with some probability, a code drawn at random from all.

    Parameters
    ----------
    maps : integer array_like, (...)
        Codes.
    error : float
        Probability that a pixel is drawn anew, in [0, 1]. The drawn code may be the old one.
    codes : sequence of int
        Codes to draw from, each with the same probability.
    generator : torch.Generator
        On the device of the maps.

    Returns
    -------
    Tensor, (...)
        New maps of the same type.

    Raises
    ------
    ValueError
        If maps are not integers, error lies outside [0, 1], or codes repeat, leave their range or do not fit the type
        of the maps.

    Notes
    -----
    Needs some 13 bytes for a pixel beside the maps: cut a very large frame into pieces.

    Examples
    --------
    >>> relabel_at_random([5, 5, 5], 0.0, [5, 7], torch.Generator().manual_seed(0)).tolist()
    [5, 5, 5]
    """
    maps = _integers("maps", maps)
    error = checks.real_number("error", error, lowest=0, highest=1)
    codes = _codes(codes)
    generator = checks.generator("generator", generator)
    if generator.device.type != maps.device.type:
        raise ValueError(f"generator must live on {maps.device} like maps, got one on {generator.device}")
    highest = torch.iinfo(maps.dtype).max
    if max(codes) > highest:
        raise ValueError(f"codes must fit the type {maps.dtype} of maps (at most {highest}), got {max(codes)}")
    drawn = torch.randint(len(codes), maps.shape, generator=generator, device=maps.device)
    wrong = torch.rand(maps.shape, generator=generator, device=maps.device) < error
    return torch.where(wrong, torch.tensor(codes, dtype=maps.dtype, device=maps.device)[drawn], maps)


def label_noise_matrix(shares, error) -> Tensor:
    """Transition matrix that two independently mislabelled pictures of one unchanging map seem to show.

    Each picture gives a pixel, with probability ``error``, a label drawn from all classes alike.

    Parameters
    ----------
    shares : array_like, (..., n)
        True shares of the classes, a distribution.
    error : array_like, (...)
        Probability that a label is drawn anew, in [0, 1].

    Returns
    -------
    Tensor, (..., n, n)
        Expected P[i, j] = P(second label j | first label i). Rows of classes that are never seen are not defined and
        refused.

    Raises
    ------
    ValueError
        If shares are no distribution, error lies outside [0, 1], or a class is never seen (share 0 and error 0).

    Examples
    --------
    A map of two equal halves, a tenth of the labels drawn anew.

    >>> label_noise_matrix([0.5, 0.5], 0.1)
    tensor([[0.9050, 0.0950],
            [0.0950, 0.9050]], dtype=torch.float64)
    """
    shares, error = checks.tensors(shares=shares, error=error)
    (shares,) = distributions(shares=shares)
    checks.require((error >= 0) & (error <= 1), "error must lie in [0, 1]", error)
    checks.batch(shares=shares.shape[:-1], error=error.shape)
    error = error[..., None, None]
    n = shares.shape[-1]
    label = (1 - error) * torch.eye(n, dtype=shares.dtype, device=shares.device) + error / n
    joint = label.mT @ (shares[..., None] * label)
    seen = joint.sum(dim=-1, keepdim=True)
    checks.require(seen > 0, "shares must be above 0 for every class unless error is", seen)
    return joint / seen


def label_noise_retention(error, share, classes: int) -> Tensor:
    """Probability to stay in a class that label noise alone suggests on a map that never changes.

    With q = 1 - e + e / n the chance of a right label, a pixel labelled as the class is one with probability
    b q / (b q + (1 - b) e / n), and then is labelled so again with probability q, otherwise e / n.

    Parameters
    ----------
    error : array_like, (...)
        Probability e that a label is drawn anew from all classes, in [0, 1].
    share : array_like, (...)
        True share b of the class, above 0 and at most 1.
    classes : int
        Number n of classes, at least 2.

    Returns
    -------
    Tensor, (...)

    Raises
    ------
    ValueError
        If an argument leaves its range.

    Examples
    --------
    >>> round(float(label_noise_retention(0.02, 0.13, 7)), 5)
    0.96416
    """
    error, share = checks.tensors(error=error, share=share)
    classes = checks.integer("classes", classes, lowest=2)
    checks.require((error >= 0) & (error <= 1), "error must lie in [0, 1]", error)
    checks.require((share > 0) & (share <= 1), "share must be above 0 and at most 1", share)
    checks.batch(error=error.shape, share=share.shape)
    right = 1 - error + error / classes
    chance = error / classes
    true_class = share * right / (share * right + (1 - share) * chance)
    return true_class * right + (1 - true_class) * chance


def _integers(name: str, value) -> Tensor:
    try:
        tensor = torch.as_tensor(checks.for_torch(value))
    except (TypeError, ValueError, RuntimeError) as problem:
        raise ValueError(f"{name} must be integers in a rectangular array, got {checks.describe(value)}") from problem
    if tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool or tensor.numel() == 0:
        raise ValueError(f"{name} must be integers in a rectangular array, got {checks.describe(value)}")
    return tensor


def _codes(codes) -> list[int]:
    if isinstance(codes, (Tensor, np.ndarray)) and codes.ndim == 1:
        codes = codes.tolist()
    listed = isinstance(codes, (Sequence, range)) and not isinstance(codes, (str, bytes)) and len(codes) > 0
    if not listed or any(isinstance(code, bool) or not isinstance(code, (int, np.integer)) for code in codes):
        raise ValueError(f"codes must be a list of integers, got {checks.describe(codes)}")
    codes = [checks.integer("codes", code, lowest=0, highest=HIGHEST_CODE) for code in codes]
    if len(set(codes)) < len(codes):
        raise ValueError(f"codes must be all different, got {codes}")
    return codes


def _places(codes: list[int], device: torch.device) -> Tensor:
    """Place of each code from 0 up; a last entry and every value that is no code stand for "none of them"."""
    kind = torch.uint8 if len(codes) < 256 else torch.int64
    table = torch.full((max(codes) + 2,), len(codes), dtype=kind, device=device)
    table[torch.tensor(codes, device=device)] = torch.arange(len(codes), dtype=kind, device=device)
    return table


def _blocks(pixels: Tensor) -> tuple[Tensor, ...]:
    return pixels.flatten().split(BLOCK if pixels.device.type == "cpu" else 16 * BLOCK)


def _placed(table: Tensor, pixels: Tensor) -> Tensor:
    """Places of the codes of pixels."""
    beyond = len(table) - 1
    index = pixels.int() if pixels.dtype.itemsize < 4 else pixels.long()
    if pixels.dtype not in (torch.uint8, torch.uint16):
        index = torch.where(index < 0, beyond, index)
    return table.index_select(0, index.clamp(max=beyond))


def _count(a: Tensor, b: Tensor, classes: int, table: Tensor) -> Tensor:
    width = classes + 1
    counts = torch.zeros(width * width, dtype=torch.int64, device=a.device)
    small = width * width <= 256  # a pair of places then fits into one byte
    for before, after in zip(_blocks(a), _blocks(b)):
        pair = _placed(table, before)
        pair = (pair if small else pair.long()) * width + _placed(table, after)
        counts += torch.bincount(pair, minlength=len(counts))
    return counts.reshape(width, width)[:classes, :classes].contiguous()
