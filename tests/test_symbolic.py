"""Symbolic lattices: the metric, the contraction, and the line that copies letters along."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib import clocks, symbolic

WORDS = st.text(alphabet="abc", min_size=6, max_size=6)


def word(text):
    return symbolic.encode(text, "abc")


def distance(x, y):
    """By definition, with strings."""
    differ = [i for i, (a, b) in enumerate(zip(x, y, strict=True)) if a != b]
    return 2.0 ** -differ[0] if differ else 0.0


@given(WORDS, WORDS, WORDS)
@settings(max_examples=100)
def test_the_prefix_metric(x, y, z):
    xy, yz, xz = (float(symbolic.prefix_distance(word(a), word(b))) for a, b in ((x, y), (y, z), (x, z)))
    assert xy == distance(x, y)
    assert (xy == 0) == (x == y)
    assert xy == float(symbolic.prefix_distance(word(y), word(x)))
    assert xz <= max(xy, yz)


@given(WORDS, WORDS, st.integers(0, 2))
@settings(max_examples=100)
def test_prefixing_halves_distances_and_leads_to_one_word(x, y, letter):
    before = float(symbolic.prefix_distance(word(x), word(y)))
    after = float(symbolic.prefix_distance(symbolic.prefix(letter, word(x)), symbolic.prefix(letter, word(y))))
    # What differs only in the last letter becomes equal as far as the word reaches.
    assert after == (0.5 * before if before > 2**-5 else 0)
    again = word(x)
    for _ in range(6):
        again = symbolic.prefix(letter, again)
    assert symbolic.decode(again, "abc") == "abc"[letter] * 6


@given(WORDS)
def test_texts(x):
    assert symbolic.decode(word(x), "abc") == x
    assert int(symbolic.leading_run(word(x), 1)) == len(x) - len(x.lstrip("b"))


def test_brief_11_every_order_reaches_the_letter_within_n_epochs():
    """Six runs of 20 sites, three with Bernoulli and three with Poisson clocks."""
    generator = torch.Generator().manual_seed(3)
    start = torch.randint(3, (3, 20), generator=generator)
    rates = 0.1 + 0.9 * torch.rand(20, generator=generator, dtype=torch.float64)
    masks = clocks.bernoulli_schedule(rates, 900, generator, replicas=(3,))
    _, sites = clocks.poisson_schedule(rates, 8000, generator, replicas=(3,))
    for schedule in (masks, sites):
        trace = symbolic.symbolic_line(start, 0, schedule)
        assert bool((trace.words[:, -1] == 0).all())
        assert bool((trace.reached > 0).all())
        at_end = trace.epochs.gather(-1, trace.reached[:, None])
        assert int(at_end.max()) <= 20
        assert bool((trace.run >= trace.epochs.clamp(max=20)).all())
        assert trace.words.dtype == torch.int64


@given(st.integers(1, 8), st.integers(0, 40), st.floats(0.05, 1), st.integers(0, 2**31 - 1))
@settings(max_examples=60)
def test_the_line_equals_a_loop_and_obeys_the_bound(size, steps, probability, seed):
    generator = torch.Generator().manual_seed(seed)
    start = torch.randint(3, (2, size), generator=generator)
    masks = torch.rand(2, steps, size, generator=generator) < probability
    trace = symbolic.symbolic_line(start, 2, masks)
    assert bool((trace.run >= trace.epochs.clamp(max=size)).all())
    for replica in range(2):
        letters = start[replica].tolist()
        path = [letters]
        for mask in masks[replica].tolist():
            old = letters
            letters = [(2 if i == 0 else old[i - 1]) if mask[i] else old[i] for i in range(size)]
            path.append(letters)
        assert trace.words[replica].tolist() == path
        there = [tick for tick, letters in enumerate(path) if letters == [2] * size]
        assert int(trace.reached[replica]) == (there[0] if there else -1)


def test_the_worst_order_takes_n_epochs_and_the_best_one():
    size = 7
    start = torch.ones(size, dtype=torch.int64)
    right_to_left = torch.arange(size - 1, -1, -1).repeat(size)
    worst = symbolic.symbolic_line(start, 0, right_to_left)
    assert int(worst.reached) == size * (size - 1) + 1 and int(worst.epochs[-1]) == size
    assert worst.run[::size].tolist() == list(range(size + 1))
    best = symbolic.symbolic_line(start, 0, torch.arange(size))
    assert int(best.reached) == size and int(best.epochs[-1]) == 1
    together = symbolic.symbolic_line(start, 0, torch.ones(size, size, dtype=torch.bool))
    assert int(together.reached) == size


def test_words_that_are_none():
    for call, message in (
        (lambda: symbolic.encode("abd", "abc"), "text must be one or more characters of 'abc', got 'abd'"),
        (lambda: symbolic.encode("a", "aa"), "alphabet must be different characters"),
        (lambda: symbolic.decode(torch.tensor([3]), "abc"), "word must hold letters below 3, got 3"),
        (lambda: symbolic.decode(torch.tensor([[1]]), "abc"), "word must have shape"),
        (lambda: symbolic.prefix(0, torch.tensor([-1])), "word must hold letters of at least 0, got -1"),
        (lambda: symbolic.prefix_distance(word("ab"), word("abc")), "y must have shape"),
        (lambda: symbolic.symbolic_line(word("abc"), 0, torch.tensor([3])), "schedule must hold sites from 0 to 2"),
        (lambda: symbolic.symbolic_line(word("abc"), 0, torch.ones(2, 2, dtype=torch.bool)), "schedule must have"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
