"""Bookkeeping of regret: sums, scipy's intervals, exponents that are known."""

import numpy as np
import pytest
import scipy.stats
import torch

from lib.rl import tabular


def test_cumulative_regret():
    values = torch.tensor([[0.2, 0.5, 1.0], [1.0, 1.0, 1.0]], dtype=torch.float64)
    lost = tabular.cumulative_regret(values, [1.0, 2.0])
    torch.testing.assert_close(lost, torch.tensor([[0.8, 1.3, 1.3], [1.0, 2.0, 3.0]], dtype=torch.float64))
    assert tabular.cumulative_regret(values, 1.0).shape == (2, 3)


def test_regret_of_the_best_policy_is_zero_and_never_negative():
    P, R = tabular.garnet(4, 2, 2, torch.Generator().manual_seed(0))
    best = tabular.policy_iteration(P, R, 0.9)
    policies = torch.randint(2, (20, 4), generator=torch.Generator().manual_seed(1))
    values = torch.cat([tabular.policy_value(P, R, 0.9, policies)[:, 0], best.V[:1]])
    lost = tabular.cumulative_regret(values, best.V[0])
    assert (lost.diff() >= -1e-12).all()
    assert float(lost[-1] - lost[-2]) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("confidence", [0.5, 0.95])
def test_band_against_scipy(confidence):
    curves = torch.randn(7, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    band = tabular.confidence_band(curves, confidence)
    low, high = scipy.stats.t.interval(
        confidence, 6, loc=curves.mean(dim=0).numpy(), scale=scipy.stats.sem(curves.numpy(), axis=0)
    )
    np.testing.assert_allclose(band.low, low, rtol=1e-10)
    np.testing.assert_allclose(band.high, high, rtol=1e-10)
    np.testing.assert_allclose(band.mean, curves.mean(dim=0))


def test_band_covers_as_often_as_it_says():
    curves = torch.randn(5, 4000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    band = tabular.confidence_band(curves, 0.9)
    covered = ((band.low < 0) & (band.high > 0)).double().mean()
    assert float(covered) == pytest.approx(0.9, abs=5 * (0.09 / 4000) ** 0.5)


def test_exponents():
    episodes = torch.arange(1, 1001, dtype=torch.float64)
    exact = torch.stack([3 * episodes**power for power in (0.5, 2 / 3, 1.0)])
    np.testing.assert_allclose(tabular.growth_exponent(exact), [0.5, 2 / 3, 1], rtol=1e-10)
    expected = scipy.stats.linregress(np.log(np.arange(101, 1001)), np.log(5 + np.arange(101, 1001) ** 0.5)).slope
    assert float(tabular.growth_exponent(5 + episodes**0.5, first=101)) == pytest.approx(expected, rel=1e-10)
    assert float(tabular.growth_exponent(torch.full((50,), 4.0, dtype=torch.float64))) == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tabular.confidence_band(torch.ones(1, 3)), r"curves must have at least two seeds.*\(1, 3\)"),
        (lambda: tabular.confidence_band(torch.ones(2), 1.0), "confidence must be below 1, got 1"),
        (lambda: tabular.growth_exponent([1.0]), "regret must have at least two episodes"),
        (lambda: tabular.growth_exponent([0.0, 1.0]), "regret must be above 0 from episode 1 on, got 0"),
        (lambda: tabular.growth_exponent([1.0, 1.0], first=2), "first must be an integer from 1 to 1, got 2"),
        (
            lambda: tabular.cumulative_regret(torch.ones(3, 2), torch.ones(2)),
            "leading dimensions of values and optimum",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
