"""A language model without training: n-grams of characters, interpolated by Witten and Bell's rule.

The estimate of order k looks back on k characters and mixes what followed them with the estimate of order k - 1, the
more of it the more different characters have followed:

    p_k(c | h) = (n(h c) + T(h) p_{k-1}(c | h')) / (n(h) + T(h)),

with counts n, the number T(h) of different successors of h, and h' = h without its first character. Below order 0
all characters are equally likely. The text it is measured on is in :mod:`lib.source_text`, and can be imported from
here.

Source: I. H. Witten and T. C. Bell, IEEE Transactions on Information Theory 37 (1991) 1085, method C, interpolated.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from lib import checks
from lib.source_text import SYMBOLS, TextSplit, block_split, decode, encode, stdlib_text, symbol_ids

__all__ = [
    "WittenBellLM",
    "SYMBOLS",
    "TextSplit",
    "block_split",
    "decode",
    "encode",
    "stdlib_text",
]


@dataclass(frozen=True)
class _Counts:
    """Counts of one order, looked up by bisection: an n-gram is one integer, its digits to the base of the alphabet."""

    grams: Tensor  # (stored,) rising
    times: Tensor  # (stored,)
    contexts: Tensor  # (contexts,) rising
    totals: Tensor  # (contexts,) n(h)
    successors: Tensor  # (contexts,) T(h)

    def mix(self, context: Tensor, gram: Tensor, lower: Tensor) -> Tensor:
        """The estimate of this order from that of the order below; float64."""
        total = _found(self.contexts, self.totals, context)
        distinct = _found(self.contexts, self.successors, context)
        times = _found(self.grams, self.times, gram)
        mixed = (times + distinct * lower) / (total + distinct).clamp(min=1)
        return torch.where(total > 0, mixed, lower)


@dataclass(frozen=True)
class WittenBellLM:
    """Character n-grams up to an order.

    Attributes
    ----------
    order : int
        Characters that the model looks back on, at least 0.
    symbols : int
        Size of the alphabet. An n-gram of ``order + 1`` symbols has to fit into a 64-bit integer.

    Raises
    ------
    ValueError
        If ``order`` or ``symbols`` is of the wrong kind or too large.

    Examples
    --------
    >>> model = WittenBellLM(order=1, symbols=2).fit([0, 1, 0, 1, 1])
    >>> model.probabilities([0]).tolist()  # 0 was followed by 1 twice; p_0(1) = (3 + 2/2) / (5 + 2)
    [0.1428571, 0.8571429]
    >>> model.stored.tolist()  # 0, 1; and 01, 10, 11
    [2, 3]
    """

    order: int
    symbols: int = len(SYMBOLS)
    counts: tuple[_Counts, ...] = field(default=(), repr=False)

    def __post_init__(self):
        order = checks.integer("order", self.order, lowest=0)
        symbols = checks.integer("symbols", self.symbols, lowest=2)
        if (order + 1) * (symbols - 1).bit_length() > 63 and symbols ** (order + 1) >= 2**63:
            raise ValueError(f"order must be so low that symbols^(order + 1) < 2^63, got {order} for {symbols} symbols")

    def fit(self, ids) -> WittenBellLM:
        """Count the n-grams of a text.

        Parameters
        ----------
        ids : array_like of int, (..., length)
            Texts, each longer than ``order``; no n-gram reaches from one row into the next.

        Returns
        -------
        WittenBellLM
            A model with these counts.

        Raises
        ------
        ValueError
            If ``ids`` are not integers of the alphabet or the rows are too short.
        """
        ids = symbol_ids("ids", ids, self.symbols)
        if ids.shape[-1] <= self.order:
            raise ValueError(f"ids must have rows of more than {self.order} symbols, got {ids.shape[-1]}")
        counts = []
        for _, gram in self._grams(ids):
            grams, times = torch.unique(gram, return_counts=True)
            contexts, successors = torch.unique_consecutive(grams // self.symbols, return_counts=True)
            up_to = torch.cat([times.new_zeros(1), times.cumsum(dim=0)])
            ends = successors.cumsum(dim=0)
            totals = up_to[ends] - up_to[ends - successors]
            counts.append(_Counts(grams, times, contexts, totals, successors))
        return WittenBellLM(self.order, self.symbols, tuple(counts))

    @property
    def stored(self) -> Tensor:
        """Different n-grams of each order, (order + 1,): the size of the model."""
        self._check_fitted()
        return torch.tensor([len(counts.grams) for counts in self.counts])

    def probabilities(self, context) -> Tensor:
        """Probability of every symbol after a context.

        Parameters
        ----------
        context : array_like of int, (..., length)
            What was read last, the latest symbol at the end. Only the last ``order`` symbols count, and fewer are
            enough.

        Returns
        -------
        Tensor, (..., symbols), float64

        Raises
        ------
        ValueError
            If the model is not fitted or the context is not made of integers of the alphabet.
        """
        self._check_fitted()
        context = symbol_ids("context", context, self.symbols)
        every = torch.arange(self.symbols, device=context.device).expand(*context.shape[:-1], self.symbols)
        estimate = torch.full(every.shape, 1 / self.symbols, dtype=torch.float64, device=context.device)
        packed = torch.zeros_like(every)
        for k, counts in enumerate(self.counts[: context.shape[-1] + 1]):
            if k:
                packed = packed + context[..., -k, None] * self.symbols ** (k - 1)
            estimate = counts.mix(packed, packed * self.symbols + every, estimate)
        return estimate

    def bits_by_order(self, ids) -> Tensor:
        """Cross entropy of every order up to this one on a text.

        Parameters
        ----------
        ids : array_like of int, (..., length)
            The first symbols of a row are predicted from the few before them.

        Returns
        -------
        Tensor, (order + 1,), float64
            Bits per symbol of orders 0, 1, ...

        Raises
        ------
        ValueError
            If the model is not fitted or ``ids`` are not integers of the alphabet.

        Examples
        --------
        >>> ids = encode(stdlib_text(50_000))
        >>> bits = WittenBellLM(order=2).fit(ids[:40_000]).bits_by_order(ids[40_000:])
        >>> bool((bits.diff() < 0).all())
        True
        """
        self._check_fitted()
        ids = symbol_ids("ids", ids, self.symbols)
        estimate = torch.full(ids.shape, 1 / self.symbols, dtype=torch.float64, device=ids.device)
        bits = []
        for (context, gram), counts in zip(self._grams(ids), self.counts, strict=False):
            reached = estimate[..., estimate.shape[-1] - gram.shape[-1] :]
            reached.copy_(counts.mix(context, gram, reached))
            bits.append(-estimate.log2().mean())
        # Rows shorter than the order know nothing of the orders above.
        return torch.stack(bits + bits[-1:] * (self.order + 1 - len(bits)))

    def bits_per_symbol(self, ids) -> float:
        """Cross entropy of the model on a text: the last of :meth:`bits_by_order`."""
        return float(self.bits_by_order(ids)[-1])

    def _grams(self, ids: Tensor):
        """Packed contexts and n-grams of each order, (..., length - order): the earliest symbol is the first digit."""
        gram = ids
        context = torch.zeros_like(ids)
        for k in range(min(self.order + 1, ids.shape[-1])):
            if k:
                # One more symbol in front: the n-grams that start one position earlier end with this one's symbol.
                context = gram[..., :-1]
                gram = context * self.symbols + ids[..., k:]
            yield context, gram

    def _check_fitted(self) -> None:
        if not self.counts:
            raise ValueError("the model must be fitted before it is asked: WittenBellLM(order).fit(ids)")


def _found(keys: Tensor, values: Tensor, wanted: Tensor) -> Tensor:
    """Values under the keys that are wanted, 0 where there is none."""
    place = torch.searchsorted(keys, wanted.contiguous()).clamp(max=len(keys) - 1)
    return torch.where(keys[place] == wanted, values[place], torch.zeros_like(values[place]))
