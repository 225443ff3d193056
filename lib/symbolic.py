"""Symbolic lattices: words over an alphabet, the prefix metric, and a line that copies letters along.

Letters are integers from 0 on, words are int64 tensors (..., length), of which the first letter counts most: two words
are 2**-i apart if they first differ at letter i (counted from 0). Putting a letter in front halves every distance, so
that repeating it leads to the word of that letter alone; on a line of sites, site 0 takes the letter and every other
site copies its left neighbour, in whatever order they update.

A word of finite length stands for all infinite words that start with it: distances below 2**(1 - length) read as 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lib import checks, clocks
from lib.asynchronous import asynchronous_step

__all__ = ["SymbolicTrace", "decode", "encode", "leading_run", "prefix", "prefix_distance", "symbolic_line"]


@dataclass(frozen=True, eq=False)
class SymbolicTrace:
    """What a run of the symbolic line leaves behind; entry 0 of each record is the start.

    Attributes
    ----------
    words : Tensor, int64, (..., steps + 1, n)
        Letters of all sites.
    epochs : Tensor, int64, (..., steps + 1)
        Completed epochs.
    run : Tensor, int64, (..., steps + 1)
        Number of sites from the left end on that hold the letter.
    reached : Tensor, int64, (...)
        First tick at which every site holds the letter; -1 if none.
    """

    words: Tensor
    epochs: Tensor
    run: Tensor
    reached: Tensor


def encode(text: str, alphabet: str) -> Tensor:
    """Word of a text: the position of each character in the alphabet.

    Parameters
    ----------
    text : str
        At least one character.
    alphabet : str
        Different characters, at least one.

    Returns
    -------
    Tensor, int64, (length,)

    Raises
    ------
    ValueError
        If the text is empty or holds a character that is not in the alphabet, or the alphabet is empty or repeats one.

    Examples
    --------
    >>> encode("abba", alphabet="ab")
    tensor([0, 1, 1, 0])
    """
    _check_alphabet(alphabet)
    if not isinstance(text, str) or not text or not set(text) <= set(alphabet):
        raise ValueError(f"text must be one or more characters of {alphabet!r}, got {checks.describe(text)}")
    return torch.tensor([alphabet.index(letter) for letter in text])


def decode(word, alphabet: str) -> str:
    """Text of a word, the inverse of :func:`encode`.

    Parameters
    ----------
    word : Tensor, int64, (length,)
    alphabet : str
        Different characters, one for every letter of the word.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If ``word`` is not a single word, a letter has no character, or the alphabet is empty or repeats one.

    Examples
    --------
    >>> decode(torch.tensor([0, 1, 1, 0]), alphabet="ab")
    'abba'
    """
    _check_alphabet(alphabet)
    _check_words("word", word)
    if word.dim() != 1:
        raise ValueError(f"word must have shape (length,), got {tuple(word.shape)}")
    checks.require(word < len(alphabet), f"word must hold letters below {len(alphabet)}", word)
    return "".join(alphabet[letter] for letter in word.tolist())


def prefix_distance(x, y) -> Tensor:
    """Distance 2**-i of two words that first differ at letter i, counted from 0; 0 if they are equal.

    An ultrametric: of the three distances of three words, the largest two are equal.

    Parameters
    ----------
    x, y : Tensor, int64, (..., length)

    Returns
    -------
    Tensor, float64, (...)

    Raises
    ------
    ValueError
        If an argument is no int64 tensor of letters, or the lengths differ.

    Examples
    --------
    >>> prefix_distance(encode("abba", "ab"), encode("abab", "ab"))
    tensor(0.2500, dtype=torch.float64)
    """
    _check_words("x", x)
    _check_words("y", y)
    checks.shape("y", y, x.shape[-1])
    checks.batch(x=x.shape[:-1], y=y.shape[:-1])
    common = _run(x == y)
    distance = 0.5 ** common.to(torch.float64)
    return torch.where(common == x.shape[-1], torch.zeros_like(distance), distance)


def prefix(letter: int, word) -> Tensor:
    """Put a letter in front and drop the last one: a contraction of the prefix metric by 1/2.

    Parameters
    ----------
    letter : int
        At least 0.
    word : Tensor, int64, (..., length)

    Returns
    -------
    Tensor, int64, (..., length)

    Raises
    ------
    ValueError
        If ``word`` is no int64 tensor of letters, or ``letter`` is no integer of at least 0.

    Examples
    --------
    >>> decode(prefix(1, encode("aaa", "ab")), "ab")
    'baa'
    """
    letter = checks.integer("letter", letter, lowest=0)
    _check_words("word", word)
    return torch.cat([torch.full_like(word[..., :1], letter), word[..., :-1]], dim=-1)


def leading_run(word, letter: int) -> Tensor:
    """Number of letters, from the first on, that equal a given one.

    Parameters
    ----------
    word : Tensor, int64, (..., length)
    letter : int
        At least 0.

    Returns
    -------
    Tensor, int64, (...)

    Raises
    ------
    ValueError
        As :func:`prefix`.

    Examples
    --------
    >>> leading_run(encode("aaba", "ab"), letter=0)
    tensor(2)
    """
    letter = checks.integer("letter", letter, lowest=0)
    _check_words("word", word)
    return _run(word == letter)


def symbolic_line(word, letter: int, schedule) -> SymbolicTrace:
    """Run the line under a schedule: site 0 takes the letter, every other site copies its left neighbour.

    After k epochs at least the first k sites hold the letter, so that n epochs are enough for n sites.

    Parameters
    ----------
    word : Tensor, int64, (..., n)
        Letters of all sites at the start.
    letter : int
        At least 0.
    schedule : Tensor
        Masks, bool, (..., steps, n), or the one site of each tick, int64, (..., steps), as of
        :func:`lib.clocks.bernoulli_schedule` and :func:`lib.clocks.poisson_schedule`.

    Returns
    -------
    SymbolicTrace

    Raises
    ------
    ValueError
        If ``word`` or ``schedule`` is of the wrong type, their shapes do not fit, or ``letter`` is no integer of at
        least 0.

    Examples
    --------
    >>> from_left = symbolic_line(encode("bbb", "ab"), 0, torch.tensor([0, 1, 2]))
    >>> decode(from_left.words[-1], "ab"), int(from_left.epochs[-1])
    ('aaa', 1)
    >>> from_right = symbolic_line(encode("bbb", "ab"), 0, torch.tensor([2, 1, 0]))
    >>> decode(from_right.words[-1], "ab"), int(from_right.epochs[-1])
    ('abb', 1)
    """
    letter = checks.integer("letter", letter, lowest=0)
    _check_words("word", word)
    masks = clocks.read_schedule(schedule, word.shape[-1], word.device)
    batch = checks.batch(word=word.shape[:-1], schedule=masks.shape[:-2])
    word = word.expand(*batch, -1)
    words = [word]
    for mask in masks.unbind(dim=-2):
        word = asynchronous_step(lambda x: prefix(letter, x), word, mask)
        words.append(word)
    words = torch.stack(words, dim=-2)
    completed = torch.nn.functional.pad(clocks.epochs(masks), (1, 0))
    run = leading_run(words, letter)
    all_there = run == word.shape[-1]
    first = all_there.to(torch.int64).argmax(dim=-1)
    return SymbolicTrace(
        words=words,
        epochs=completed.expand(*batch, -1),
        run=run,
        reached=torch.where(all_there.any(dim=-1), first, torch.full_like(first, -1)),
    )


def _run(agree: Tensor) -> Tensor:
    """Number of leading true entries."""
    return agree.to(torch.int64).cumprod(dim=-1).sum(dim=-1)


def _check_words(name: str, word) -> None:
    if not isinstance(word, Tensor) or word.dtype != torch.int64 or word.dim() == 0 or word.shape[-1] == 0:
        raise ValueError(f"{name} must be an int64 tensor of shape (..., length), got {checks.describe(word)}")
    checks.require(word >= 0, f"{name} must hold letters of at least 0", word)


def _check_alphabet(alphabet) -> None:
    if not isinstance(alphabet, str) or not alphabet or len(set(alphabet)) < len(alphabet):
        raise ValueError(f"alphabet must be different characters, got {checks.describe(alphabet)}")
