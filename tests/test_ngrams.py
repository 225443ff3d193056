"""N-grams by Witten and Bell's rule and the text they are measured on: loops, sums and the brief's numbers."""

from collections import Counter, defaultdict

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib import ngrams, source_text
from lib.learning_curves import local_slopes, lower_envelope, shards


def by_loop(rows, order, symbols):
    """The recursion of the definition, with dictionaries: a function of context and symbol."""
    followers = defaultdict(Counter)
    for row in rows:
        for end in range(len(row)):
            for k in range(min(order, end) + 1):
                followers[tuple(row[end - k : end])][row[end]] += 1

    def estimate(context, symbol):
        lower = 1 / symbols if not context else estimate(context[1:], symbol)
        found = followers[tuple(context)]
        distinct = len(found)
        return (found[symbol] + distinct * lower) / (found.total() + distinct) if distinct else lower

    return estimate


texts = st.integers(2, 5).flatmap(
    lambda symbols: st.tuples(
        st.just(symbols),
        st.integers(1, 3).flatmap(
            lambda rows: st.lists(
                st.lists(st.integers(0, symbols - 1), min_size=9, max_size=9), min_size=rows, max_size=rows
            )
        ),
        st.integers(0, 4),
    )
)


@given(texts, st.lists(st.integers(0, 1), min_size=1, max_size=7))
@settings(max_examples=60, deadline=None)
def test_probabilities_are_those_of_the_definition(given_text, context):
    symbols, rows, order = given_text
    model = ngrams.WittenBellLM(order, symbols).fit(rows)
    estimate = by_loop(rows, order, symbols)
    looked_at = tuple(context[len(context) - order :] if order < len(context) else context) if order else ()
    expected = [estimate(looked_at, symbol) for symbol in range(symbols)]
    np.testing.assert_allclose(model.probabilities(context), expected, rtol=1e-12)


@given(texts, st.lists(st.integers(0, 1), min_size=2, max_size=12))
@settings(max_examples=40, deadline=None)
def test_bits_are_those_of_the_probabilities(given_text, other):
    symbols, rows, order = given_text
    bits = ngrams.WittenBellLM(order, symbols).fit(rows).bits_by_order(other)
    for k in range(order + 1):
        estimate = by_loop(rows, k, symbols)
        expected = -np.mean([np.log2(estimate(tuple(other[max(t - k, 0) : t]), other[t])) for t in range(len(other))])
        assert float(bits[k]) == pytest.approx(expected, rel=1e-12)


def test_brief_11_probabilities_sum_to_one():
    split = source_text.block_split(source_text.encode(source_text.stdlib_text(400_000)))
    model = ngrams.WittenBellLM(5).fit(split.shard(2**17))
    generator = torch.Generator().manual_seed(0)
    seen = split.train[0, :500].unfold(0, 5, 1)
    drawn = torch.randint(96, (500, 5), generator=generator)
    for context in (seen, drawn):
        probabilities = model.probabilities(context)
        assert probabilities.shape == (len(context), 96)
        assert (probabilities > 0).all()
        torch.testing.assert_close(
            probabilities.sum(-1), torch.ones(len(context), dtype=torch.float64), rtol=1e-12, atol=0
        )


def test_brief_11_an_unseen_context_backs_off_exactly():
    text = source_text.encode("abcabcabd")
    model = ngrams.WittenBellLM(2).fit(text)
    lower = ngrams.WittenBellLM(1).fit(text)
    unseen = source_text.encode("xb")
    assert torch.equal(model.probabilities(unseen), lower.probabilities(unseen))
    # Never seen at all: only single characters are left.
    nothing = source_text.encode("xy")
    assert torch.equal(model.probabilities(nothing), ngrams.WittenBellLM(0).fit(text).probabilities(nothing))


def test_a_shorter_context_is_a_lower_order():
    text = source_text.encode("the cat sat on the mat, that is that")
    context = source_text.encode("th")
    short = ngrams.WittenBellLM(5).fit(text).probabilities(context)
    assert torch.equal(short, ngrams.WittenBellLM(2).fit(text).probabilities(context))


def test_rows_are_texts_of_their_own():
    together = ngrams.WittenBellLM(1, symbols=3).fit([[0, 1], [2, 0]])
    assert together.stored.tolist() == [3, 2]  # 01 and 20, but not 12
    assert ngrams.WittenBellLM(1, symbols=3).fit([0, 1, 2, 0]).stored.tolist() == [3, 3]


def test_brief_7_learning_curves_of_n_grams():
    """The brief's three shuffles and all of its shards; ranges, as the text depends on the version of Python."""
    ids = source_text.encode(source_text.stdlib_text())
    sizes = shards(2**12, 2**19)
    x = np.log(sizes)
    for shuffle in range(3):
        split = source_text.block_split(ids, seed=shuffle)
        models = [ngrams.WittenBellLM(5).fit(split.shard(size)) for size in sizes]
        bits = torch.stack([model.bits_by_order(split.validation) for model in models])
        envelope, order = lower_envelope(range(1, 6), bits[:, 1:])
        slope = np.polyfit(x, envelope.log().tolist(), 1)[0]
        assert -0.20 < slope < -0.10
        assert (order.diff() >= 0).all()
        assert order[0] <= 2
        assert order[-1] == 4
        ends = local_slopes(sizes, bits.mT)[:, -1]
        assert -0.03 < float(ends[1]) < 0.01  # order 1 has stopped
        assert -0.20 < float(ends[5]) < -0.10  # order 5 goes on
        first_order = np.polyfit(x, bits[:, 1].log().tolist(), 1)[0]
        assert slope < first_order < 0
        # What a model of fixed order stores grows more slowly than the text.
        stored = torch.stack([model.stored for model in models]).double()
        for k in range(1, 6):
            assert 0 < np.polyfit(x, stored[:, k].log().tolist(), 1)[0] < 1


def test_order_and_alphabet_have_to_fit_into_an_integer():
    ngrams.WittenBellLM(8)
    ngrams.WittenBellLM(62, symbols=2)
    with pytest.raises(ValueError, match=r"order must be so low that .* got 9 for 96 symbols"):
        ngrams.WittenBellLM(9)
    with pytest.raises(ValueError, match=r"order must be so low"):
        ngrams.WittenBellLM(63, symbols=2)


def test_an_unfitted_model_says_so():
    model = ngrams.WittenBellLM(2)
    for ask in (lambda: model.bits_per_symbol([1, 2, 3]), lambda: model.probabilities([1]), lambda: model.stored):
        with pytest.raises(ValueError, match="the model must be fitted"):
            ask()


@pytest.mark.parametrize("bad", [None, "abc", [1.5], [True], [], 3, [-1, 2], [96, 0], [[1], [1, 2]], [1j]])
def test_bad_symbols_are_refused(bad):
    model = ngrams.WittenBellLM(0).fit([0, 1, 2])
    for ask, name in ((model.fit, "ids"), (model.bits_by_order, "ids"), (model.probabilities, "context")):
        with pytest.raises(ValueError, match=rf"^{name} must"):
            ask(bad)


def test_short_rows_are_refused_when_fitting_and_understood_when_asked():
    with pytest.raises(ValueError, match=r"ids must have rows of more than 3 symbols, got 3"):
        ngrams.WittenBellLM(3).fit([1, 2, 3])
    bits = ngrams.WittenBellLM(3).fit([1, 2, 3, 1, 2, 3]).bits_by_order([1, 2])
    assert bits[1] == bits[2] == bits[3]


# -- the text ------------------------------------------------------------------------------------------------------
def test_the_text_is_large_plain_and_the_same_every_time():
    text = source_text.stdlib_text()
    assert 5e6 < len(text) < 3e7
    assert text.isascii()
    assert source_text.stdlib_text(1000) == text[:1000]
    assert "class Thread" in text


def test_a_python_without_its_sources_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(source_text.sysconfig, "get_paths", lambda: {"stdlib": str(tmp_path)})
    source_text._whole_text.cache_clear()
    try:
        with pytest.raises(ValueError, match="sources of the standard library are missing"):
            source_text.stdlib_text()
    finally:
        source_text._whole_text.cache_clear()


def test_what_is_left_out(monkeypatch, tmp_path):
    for name in ("b.py", "a.py", "c/d.py", "test/e.py", "site-packages/f.py", "config-3/g.py", "_sysconfigdata_x.py"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{name} é\n", encoding="utf-8")
    (tmp_path / "c/bad.py").write_bytes(b"\xff\n")
    monkeypatch.setattr(source_text.sysconfig, "get_paths", lambda: {"stdlib": str(tmp_path)})
    source_text._whole_text.cache_clear()
    try:
        assert source_text.stdlib_text() == "a.py ?\nb.py ?\n?\nc/d.py ?\n"
    finally:
        source_text._whole_text.cache_clear()


@given(st.text(min_size=1))
@settings(max_examples=60, deadline=None)
def test_encoding_keeps_what_it_knows(text):
    known = "".join(character if character in source_text.SYMBOLS else "?" for character in text)
    assert source_text.decode(source_text.encode(text)) == known


def test_blocks_are_nested_shuffled_and_apart():
    ids = torch.arange(40) % 96
    split = source_text.block_split(ids, seed=3, length=4, validation=2)
    blocks = [tuple(block) for block in torch.cat([split.validation, split.train]).tolist()]
    assert sorted(blocks) == [tuple(block) for block in ids.view(10, 4).tolist()]
    assert torch.equal(split.shard(8), split.shard(16)[:2])
    assert torch.equal(split.train, source_text.block_split(ids, seed=3, length=4, validation=2).train)
    assert not torch.equal(split.train, source_text.block_split(ids, seed=4, length=4, validation=2).train)
    in_order = source_text.block_split(ids[:39], length=4, validation=2, shuffle=False)
    assert torch.equal(in_order.train.flatten(), ids[8:36])


@pytest.mark.parametrize("symbols", [5, 3, 36, None, 8.0])
def test_shards_are_whole_blocks(symbols):
    split = source_text.block_split(torch.arange(40), length=4, validation=2)
    with pytest.raises(ValueError, match=r"symbols must be"):
        split.shard(symbols)
