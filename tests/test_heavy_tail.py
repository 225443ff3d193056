"""Heavy tails against closed forms, scipy and brute force."""

import numpy as np
import pytest
import scipy.optimize
import scipy.special
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.heavy_tail import bootstrap_heavy_tail, fit_heavy_tail, tail_survival
from tests.replays import recorded, replays


def pareto(count, alpha=2.5, x_min=1.0, seed=0):
    u = np.random.default_rng(seed).random(count)
    return x_min * (1 - u) ** (-1 / (alpha - 1))


def with_body(count, seed=0):
    """Uniform below 3, a tail of exponent 2.5 above."""
    rng = np.random.default_rng(seed)
    body = rng.uniform(0.1, 3, count // 2)
    return np.concatenate([body, pareto(count - len(body), x_min=3.0, seed=seed + 1)])


def brute_force(x, starts):
    """Exponent and distance of every start, as the definition says, with scipy's test."""
    found = []
    for start in starts:
        tail = x[x >= start]
        alpha = 1 + len(tail) / np.log(tail / start).sum()
        law = scipy.stats.pareto(alpha - 1, scale=start).cdf
        found.append((scipy.stats.kstest(tail, law).statistic, alpha, start))
    return min(found)


def test_a_fixed_start_is_the_closed_form():
    x = pareto(500)
    tail = fit_heavy_tail(x, x_min=1.3)
    kept = x[x >= 1.3]
    alpha = 1 + len(kept) / np.log(kept / 1.3).sum()
    assert float(tail.alpha) == pytest.approx(alpha, rel=1e-12)
    assert tail.tail == len(kept)
    assert float(tail.sigma) == pytest.approx((alpha - 1) / len(kept) ** 0.5, rel=1e-12)
    # scipy's own estimate of a Pareto law is the same.
    shape = scipy.stats.pareto.fit(kept, floc=0, fscale=1.3)[0]
    assert float(tail.alpha) == pytest.approx(1 + shape, rel=1e-6)


def test_the_start_is_brute_forces():
    x = with_body(400)
    tail = fit_heavy_tail(x, candidates=400)
    distance, alpha, start = brute_force(x, np.sort(x)[:-9])
    assert float(tail.x_min) == start
    assert float(tail.alpha) == pytest.approx(alpha, rel=1e-12)
    assert float(tail.ks) == pytest.approx(distance, rel=1e-9)


def test_the_tail_is_found_below_a_body():
    tail = fit_heavy_tail(with_body(4000))
    assert float(tail.x_min) == pytest.approx(3.0, rel=0.15)
    assert float(tail.alpha) == pytest.approx(2.5, abs=3 * float(tail.sigma))


def test_discrete_exponent_is_the_optimum_of_the_likelihood():
    x = np.random.default_rng(2).zipf(2.3, 2000).astype(float)
    for start in (1.0, 3.0):
        kept = x[x >= start]

        def minus(alpha, kept=kept, start=start):
            return len(kept) * np.log(scipy.special.zeta(alpha, start)) + alpha * np.log(kept).sum()

        best = scipy.optimize.minimize_scalar(minus, bounds=(1.01, 6), method="bounded", options=dict(xatol=1e-10)).x
        tail = fit_heavy_tail(x, x_min=start, discrete=True)
        assert float(tail.alpha) == pytest.approx(best, abs=1e-6)
        width = 1e-3
        bend = (minus(best + width) - 2 * minus(best) + minus(best - width)) / width**2
        assert float(tail.sigma) == pytest.approx(bend**-0.5, rel=1e-3)


def test_discrete_distance_is_that_of_the_distribution_functions():
    x = np.random.default_rng(3).zipf(2.1, 300).astype(float)
    tail = fit_heavy_tail(x, x_min=2.0, discrete=True)
    kept = x[x >= 2]
    k = np.arange(2, kept.max() + 1)
    law = 1 - scipy.special.zeta(float(tail.alpha), k + 1) / scipy.special.zeta(float(tail.alpha), 2)
    empirical = (kept[:, None] <= k).mean(0)
    assert float(tail.ks) == pytest.approx(np.abs(law - empirical).max(), abs=1e-12)


@given(st.floats(1e-6, 1e6), st.integers(0, 20))
@settings(max_examples=25)
def test_the_unit_of_x_does_not_matter(unit, seed):
    x = with_body(150, seed)
    one, other = fit_heavy_tail(x, candidates=30), fit_heavy_tail(x * unit, candidates=30)
    assert float(other.alpha) == pytest.approx(float(one.alpha), rel=1e-8)
    assert float(other.x_min) == pytest.approx(float(one.x_min) * unit, rel=1e-12)
    assert float(other.ks) == pytest.approx(float(one.ks), abs=1e-10)


def test_bootstrap_is_a_loop_of_fits():
    """The samples in batches, beside fits of the samples written out."""
    x = np.sort(with_body(60))
    found = bootstrap_heavy_tail(x, n_boot=20, candidates=15, seed=5)
    drawn = torch.randint(60, (20, 60), generator=torch.Generator().manual_seed(5))
    ranks = np.linspace(0, 50, 15).round().astype(int)
    starts = np.unique(x[ranks])
    for which, alpha, start, ks in zip(drawn.numpy(), found.alpha, found.x_min, found.ks):
        sample = x[which]
        tried = []
        for candidate in starts:
            kept = sample[sample >= candidate]
            exponent = 1 + len(kept) / np.log(kept / candidate).sum()
            # kstest expects distinct values; the definition with ties:
            levels = np.unique(kept)
            law = 1 - (levels / candidate) ** (1 - exponent)
            upto = (kept[:, None] <= levels).mean(0)
            below = (kept[:, None] < levels).mean(0)
            tried.append((max(np.abs(law - upto).max(), np.abs(law - below).max()), exponent, candidate))
        distance, exponent, candidate = min(tried)
        assert float(ks) == pytest.approx(distance, abs=1e-9)
        assert float(alpha) == pytest.approx(exponent, rel=1e-9)
        assert float(start) == candidate


def test_intervals_cover_the_exponent():
    """200 tails of 300 values with a known start: 95 % intervals."""
    hits = 0
    for seed in range(200):
        x = pareto(300, seed=seed)
        low, high = bootstrap_heavy_tail(x, n_boot=400, x_min=1.0, seed=seed).intervals["alpha"].tolist()
        hits += low <= 2.5 <= high
    assert hits >= 180


def test_bootstrap_repeats_and_seeds_differ():
    x = pareto(100)
    one, same, other = (bootstrap_heavy_tail(x, n_boot=20, seed=seed).alpha for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_survival_is_scipys_and_lives_in_a_figure():
    x = torch.linspace(2, 9, 8, dtype=torch.float64)
    np.testing.assert_allclose(tail_survival(x, 2.7, 2.0), scipy.stats.pareto.sf(x.numpy(), 1.7, scale=2), rtol=1e-12)

    def figure(alpha, x_min):
        return tail_survival(x, alpha, x_min)

    program = recorded(figure, {"alpha": 2.5, "x_min": 2.0})
    for page, plain in replays(program, figure, [{"alpha": 3.1, "x_min": 1.5}, {"alpha": 1.2, "x_min": 2.0}]):
        np.testing.assert_allclose(page, plain, rtol=1e-12)


@pytest.mark.parametrize(
    ("x", "options", "message"),
    [
        ([1.5] * 5 + [2.0] * 6, {"discrete": True}, "whole numbers"),
        ([1.0] * 20, {}, "at least two different values"),
        ([1.0] + [2.0] * 30, {"x_min": 2.0}, "x_min must leave"),
        ([1.0, 2.0], {}, "at least 10 values"),
    ],
)
def test_data_without_a_tail_are_refused(x, options, message):
    with pytest.raises(ValueError, match=message):
        fit_heavy_tail(x, **options)


def test_single_precision_finds_the_exponent_of_whole_numbers():
    x = np.random.default_rng(0).zipf(2.5, 500)
    one, other = fit_heavy_tail(x, discrete=True), fit_heavy_tail(torch.tensor(x).float(), discrete=True)
    assert torch.equal(one.alpha, other.alpha) and torch.equal(one.sigma, other.sigma)


def test_samples_without_a_tail_do_not_spoil_the_intervals():
    """Of 7 values in the tail 1 sample in 130 draws fewer than two, of 3 values 3 in 10, which is refused."""
    quantiles = (np.arange(1, 41) - 0.5) / 40
    x = quantiles ** (-1 / 1.5)
    found = bootstrap_heavy_tail(x, 2000, x_min=float(np.sort(x)[-7]))
    lost = found.alpha.isnan()
    assert 0 < int(lost.sum()) < 20 and torch.equal(lost, ~found.ks.isfinite())
    assert found.intervals["alpha"].isfinite().all()
    with pytest.raises(ValueError, match="more values in the tail"):
        bootstrap_heavy_tail(x, 200, x_min=float(np.sort(x)[-3]))
