"""Text that every Python ships: the source code of its own standard library, as integers, in shuffled blocks.

It is code and not prose, and it differs a little between versions of Python: what is measured on it is compared within
one run, never with a stored number. Symbols are the 95 printable characters of ASCII and the end of a line.
"""

from __future__ import annotations

import sysconfig
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lib import checks

__all__ = ["SYMBOLS", "TextSplit", "block_split", "decode", "encode", "stdlib_text"]

SYMBOLS = "\n" + "".join(chr(code) for code in range(32, 127))

# Folders that a distribution fills in its own way, and tests, which repeat themselves.
LEFT_OUT = ("site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__")


def _sources(root: Path) -> list[Path]:
    """Python files of the library and of its packages, in the order of their names, without what a build adds."""
    found = [*root.glob("*.py"), *root.glob("*/*.py")]
    kept = [
        path
        for path in found
        if path.parent.name not in LEFT_OUT
        and not path.parent.name.startswith("config-")
        and not path.name.startswith("_sysconfigdata")
    ]
    return sorted(kept, key=lambda path: path.relative_to(root).as_posix())


@lru_cache(maxsize=1)
def _whole_text() -> str:
    root = Path(sysconfig.get_paths()["stdlib"])
    text = "".join(path.read_text(encoding="utf-8", errors="replace") for path in _sources(root))
    return text.encode("ascii", errors="replace").decode("ascii")


def stdlib_text(limit: int | None = None) -> str:
    """Source text of the standard library, one and two levels deep, without tests.

    Parameters
    ----------
    limit : int, optional
        Characters to return at most, from the beginning; all of them (about ten million) by default.

    Returns
    -------
    str
        ASCII; other characters stand as ``?``.

    Raises
    ------
    ValueError
        If ``limit`` is not an integer of at least 1, or this Python came without its sources.

    Examples
    --------
    >>> stdlib_text().count("import ") > 1000
    True
    >>> len(stdlib_text(64))
    64
    """
    if limit is not None:
        limit = checks.integer("limit", limit, lowest=1)
    text = _whole_text()
    if not text:
        raise ValueError("the sources of the standard library are missing: this Python came without its .py files")
    return text[:limit]


def encode(text: str) -> Tensor:
    """Characters as the integers 0 to 95.

    Parameters
    ----------
    text : str
        Characters outside ``SYMBOLS`` (tabs, other alphabets) count as ``?``.

    Returns
    -------
    Tensor, (characters,), int64

    Raises
    ------
    ValueError
        If ``text`` is not a text or is empty.

    Examples
    --------
    >>> encode("if x:\\n").tolist()
    [74, 71, 1, 89, 27, 0]
    """
    if not isinstance(text, str) or not text:
        raise ValueError(f"text must be a non-empty text, got {checks.describe(text)}")
    table = np.full(128, SYMBOLS.index("?"), dtype=np.int64)
    table[[ord(symbol) for symbol in SYMBOLS]] = np.arange(len(SYMBOLS))
    codes = np.frombuffer(text.encode("ascii", errors="replace"), dtype=np.uint8)
    # What ASCII leaves out has become one question mark, the rest of the odd ones go through the table.
    return torch.from_numpy(table[np.minimum(codes, 127)])


def decode(ids) -> str:
    """Text of integers, the inverse of :func:`encode`.

    Parameters
    ----------
    ids : array_like of int, (characters,)
        From 0 to 95.

    Raises
    ------
    ValueError
        If ``ids`` is not a row of such integers.

    Examples
    --------
    >>> decode(encode("x = 3"))
    'x = 3'
    """
    ids = symbol_ids("ids", ids, len(SYMBOLS))
    if ids.dim() != 1:
        raise ValueError(f"ids must have shape (characters,), got {tuple(ids.shape)}")
    return "".join(SYMBOLS[number] for number in ids.tolist())


def symbol_ids(name: str, ids, symbols: int) -> Tensor:
    """Check integers from 0 to ``symbols - 1`` in an array of at least one dimension and return them as int64."""
    try:
        read = torch.as_tensor(checks.for_torch(ids))
    except (TypeError, ValueError, RuntimeError) as problem:
        raise ValueError(f"{name} must be integers in a rectangular array, got {checks.describe(ids)}") from problem
    whole = not (read.is_floating_point() or read.is_complex() or read.dtype == torch.bool)
    if not whole or read.dim() == 0 or read.numel() == 0:
        raise ValueError(f"{name} must be integers in an array of shape (..., length), got {checks.describe(ids)}")
    low, high = int(read.min()), int(read.max())
    if low < 0 or high >= symbols:
        raise ValueError(f"{name} must be integers from 0 to {symbols - 1}, got values from {low} to {high}")
    return read.to(torch.int64)


@dataclass(frozen=True)
class TextSplit:
    """Blocks of one text, apart for training and for validation.

    Attributes
    ----------
    train : Tensor, (blocks, length), int64
        In shuffled order: a shard is its first blocks, so that shards are nested.
    validation : Tensor, (validation blocks, length), int64
        In no shard.
    """

    train: Tensor
    validation: Tensor

    def shard(self, symbols: int) -> Tensor:
        """The first blocks that hold ``symbols`` symbols in all.

        Raises
        ------
        ValueError
            If ``symbols`` is not a whole number of blocks, or more than there are.
        """
        length = self.train.shape[-1]
        symbols = checks.integer("symbols", symbols, lowest=length, highest=self.train.numel())
        if symbols % length:
            raise ValueError(f"symbols must be a multiple of the {length} in a block, got {symbols}")
        return self.train[: symbols // length]


def block_split(ids, seed: int = 0, length: int = 1024, validation: int = 64, shuffle: bool = True) -> TextSplit:
    """Cut a text into blocks, shuffle them, and set some aside for validation.

    Without shuffling, a text of many files gives learning curves that are not even monotone: the next file may be of
    another kind than the validation text.

    Parameters
    ----------
    ids : array_like of int, (symbols,)
        What is left over after the last whole block is dropped.
    seed : int
        Of the order of the blocks.
    length : int
        Symbols in a block.
    validation : int
        Blocks set aside, the first ones of the order.
    shuffle : bool
        False keeps the order of the text, to see what that does.

    Returns
    -------
    TextSplit

    Raises
    ------
    ValueError
        If an argument is of the wrong kind, or the text has no more blocks than are set aside.

    Examples
    --------
    >>> split = block_split(encode(stdlib_text(8 * 1024)), validation=2)
    >>> split.train.shape, split.shard(4096).shape
    (torch.Size([6, 1024]), torch.Size([4, 1024]))
    """
    ids = symbol_ids("ids", ids, len(SYMBOLS))
    seed = checks.integer("seed", seed, lowest=0, highest=2**63 - 1)
    length = checks.integer("length", length, lowest=1)
    validation = checks.integer("validation", validation, lowest=1)
    blocks = ids.shape[0] // length
    if ids.dim() != 1 or blocks <= validation:
        needed = (validation + 1) * length
        raise ValueError(f"ids must be a row of at least {needed} symbols, got shape {tuple(ids.shape)}")
    cut = ids[: blocks * length].view(blocks, length)
    if checks.flag("shuffle", shuffle):
        cut = cut[torch.randperm(blocks, generator=torch.Generator().manual_seed(seed))]
    return TextSplit(train=cut[validation:], validation=cut[:validation])
