"""Intervals of learning curves: coverage by simulation, resampling beside loops, profiles beside scipy."""

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib import powerlaw
from lib.law_intervals import bootstrap_power_law, profile_intervals, resample_curves
from lib.powerlaw import fit_power_law

M = 2.0 ** torch.arange(8, 18, dtype=torch.float64)
WIDE = 2.0 ** torch.arange(8, 20, dtype=torch.float64)


def trials(curve, count, seeds, scatter=0.05, seed=0):
    """Measured curves, (count, seeds, n)."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(count, seeds, len(curve), dtype=torch.float64, generator=generator)
    return curve * torch.exp(scatter * noise)


def coverage(ends, true):
    return float(((ends[..., 0] <= true) & (ends[..., 1] >= true)).double().mean())


def test_brief_9_percentiles_of_five_seeds_cover_less_than_they_say():
    """500 trials of 10 sizes and 5 seeds. Resampled seeds scatter too little, by a factor sqrt(4 / 5)."""
    err = trials(3 * M**-0.25, 500, 5)
    bare = coverage(bootstrap_power_law(M, err, n_boot=400, method="percentile").intervals["beta"], -0.25)
    assert 0.85 <= bare <= 0.97
    widths = {}
    for method in ("percentile", "corrected"):
        ends = bootstrap_power_law(M, err, n_boot=400, method=method).intervals["beta"]
        widths[method] = float((ends[:, 1] - ends[:, 0]).mean())
    assert widths["percentile"] / widths["corrected"] == pytest.approx(0.8**0.5, rel=0.01)


@pytest.mark.parametrize("method", ["corrected", "studentized"])
def test_better_bootstraps_cover(method):
    found = bootstrap_power_law(M, trials(3 * M**-0.25, 500, 5, seed=1), n_boot=400, method=method)
    assert coverage(found.intervals["beta"], -0.25) >= 0.9
    assert coverage(found.intervals["alpha"], 3.0) >= 0.9


@pytest.mark.parametrize("seeds", [1, 5])
def test_the_default_covers_with_a_floor(seeds):
    err = trials(10 * WIDE**-0.5 + 0.05, 300, seeds)
    found = bootstrap_power_law(WIDE, err, n_boot=400, floor=True, unidentified="report")
    assert found.converged.all()
    for name, true in (("alpha", 10.0), ("beta", -0.5), ("gamma", 0.05)):
        assert coverage(found.intervals[name], true) >= 0.9, name


def test_profiles_and_standard_errors_cover():
    err = trials(10 * WIDE**-0.5 + 0.05, 500, 1, seed=2)[:, 0]
    profile = profile_intervals(WIDE, err, floor=True)
    for name, true in (("alpha", 10.0), ("beta", -0.5), ("gamma", 0.05)):
        assert coverage(profile[name], true) >= 0.9, name
    pure = trials(3 * M**-0.25, 500, 1)[:, 0]
    assert 0.92 <= coverage(fit_power_law(M, pure).intervals()["beta"], -0.25) <= 0.98


def test_profiles_cover_where_there_is_no_floor():
    """The floor's interval ends at 0, and covers 0 in at least 90 % of trials."""
    profile = profile_intervals(WIDE, trials(10 * WIDE**-0.5, 300, 1, seed=3)[:, 0], floor=True)
    assert coverage(profile["gamma"], 0.0) >= 0.9
    assert (profile["gamma"][:, 0] >= 0).all()
    assert coverage(profile["beta"], -0.5) >= 0.9


def test_profiles_of_three_regions_cover():
    m = 2.0 ** torch.arange(4, 24, dtype=torch.float64)
    err = trials(powerlaw.three_regions(m, 0.9, -0.5, 3000.0, 0.05), 200, 1, scatter=0.03)[:, 0]
    profile = profile_intervals(m, err, form="regions")
    for name, true in (("beta", -0.5), ("gamma", 0.05), ("m0", 3000.0)):
        assert coverage(profile[name], true) >= 0.9, name


def test_profile_of_a_line_is_its_t_interval():
    err = trials(3 * M**-0.25, 1, 1)[0, 0]
    law, profile = fit_power_law(M, err), profile_intervals(M, err)
    for name in ("alpha", "beta"):
        np.testing.assert_allclose(profile[name], law.intervals()[name], rtol=1e-6)


def test_profile_ends_are_where_the_f_test_says():
    """At each end the best rest, found by scipy, is just significantly worse."""
    err = trials(10 * WIDE**-0.5 + 0.05, 1, 1)[0, 0].numpy()
    m = WIDE.numpy()
    law = fit_power_law(WIDE, err, floor=True)
    least = float((law.residuals**2).sum())
    threshold = scipy.stats.f.ppf(0.95, 1, 9)
    for end in profile_intervals(WIDE, err, floor=True)["gamma"].tolist():

        def gap(p, end=end):
            return np.log(np.exp(p[0]) * m ** p[1] + end) - np.log(err)

        rss = 2 * scipy.optimize.least_squares(gap, [np.log(10), -0.5], xtol=1e-14, ftol=1e-14).cost
        assert (rss / least - 1) * 9 == pytest.approx(threshold, rel=1e-5)


def test_an_end_that_the_data_do_not_set_is_open():
    m = torch.arange(1, 7, dtype=torch.float64)
    profile = profile_intervals(m, [0.5, 0.49, 0.485, 0.48, 0.47, 0.46], floor=True)
    assert float(profile["gamma"][0]) == 0


@given(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3))
@settings(max_examples=10)
def test_intervals_do_not_depend_on_the_units(unit_m, unit_err):
    err = trials(10 * WIDE**-0.5 + 0.05, 1, 3)[0]
    one = bootstrap_power_law(WIDE, err, n_boot=50, floor=True)
    other = bootstrap_power_law(WIDE * unit_m, err * unit_err, n_boot=50, floor=True)
    np.testing.assert_allclose(other.intervals["beta"], one.intervals["beta"], rtol=1e-5)
    np.testing.assert_allclose(other.intervals["gamma"], one.intervals["gamma"] * unit_err, rtol=1e-4, atol=1e-9)


def test_refits_are_scipys_optima_of_the_same_samples():
    err = trials(10 * WIDE**-0.5 + 0.05, 1, 5)[0]
    found = bootstrap_power_law(WIDE, err, n_boot=20, floor=True, method="corrected", seed=3)
    samples = resample_curves(WIDE, err, 20, seed=3, fewer=True)

    def log_law(m, log_alpha, beta, gamma):
        return np.log(np.exp(log_alpha) * m**beta + gamma)

    for i, sample in enumerate(samples.numpy()):
        best, _ = scipy.optimize.curve_fit(log_law, WIDE.numpy(), np.log(sample), [2.3, -0.5, 0.05], xtol=1e-12)
        ours = [float(found.samples[name][i]) for name in ("alpha", "beta", "gamma")]
        np.testing.assert_allclose(ours, [np.exp(best[0]), best[1], best[2]], rtol=1e-4)


def test_resampled_seeds_come_from_their_own_size():
    err = torch.arange(1, 13, dtype=torch.float64).reshape(4, 3)
    samples = resample_curves([1.0, 2.0, 3.0], err, 200).log()
    # Means of four drawn logarithms; each size keeps to its own column, and their mean is that of the column.
    assert (samples >= err.log().amin(dim=0) - 1e-12).all() and (samples <= err.log().amax(dim=0) + 1e-12).all()
    spread = err.log().std(dim=0, unbiased=False) / 2
    assert ((samples.mean(dim=0) - err.log().mean(dim=0)).abs() < 4 * spread / 200**0.5).all()
    fewer = resample_curves([1.0, 2.0, 3.0], err, 20_000, fewer=True).log()
    np.testing.assert_allclose(fewer.var(dim=0), err.log().var(dim=0) / 4, rtol=0.05)


def test_band_holds_the_law_and_widens_beyond_the_data():
    err = trials(10 * WIDE**-0.5 + 0.05, 1, 5)[0]
    found = bootstrap_power_law(WIDE, err, n_boot=200, floor=True)
    band = found.band(torch.tensor([1e3, 1e4, 1e7], dtype=torch.float64))
    middle = found.law.predict([1e3, 1e4, 1e7])
    assert ((band[:, 0] < middle) & (middle < band[:, 1])).all()
    relative = (band[:, 1] - band[:, 0]) / middle
    assert relative[2] > relative[1]


def test_bootstraps_repeat():
    err = trials(3 * M**-0.25, 1, 5)[0]
    one, same, other = (bootstrap_power_law(M, err, n_boot=20, seed=seed).samples["beta"] for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_one_seed_without_a_law_cannot_be_resampled():
    with pytest.raises(ValueError, match="at least two seeds"):
        resample_curves(M, M**-0.5, 20)
    with pytest.raises(ValueError, match="err_by_seed must have the same number of points"):
        bootstrap_power_law(M, torch.ones(10, 5, dtype=torch.float64))
