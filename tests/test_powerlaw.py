"""Forms, fits and choice of power laws: acceptance numbers, invariants, scipy, data that determine nothing."""

import math

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib import powerlaw
from lib.powerlaw import compare_forms, fit_power_law, holdout_error, power_law_region
from tests.replays import recorded, replays

M = 2.0 ** torch.arange(8, 18, dtype=torch.float64)


def noisy(curve, scatter=0.05, seed=0):
    noise = torch.randn(curve.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return curve * torch.exp(scatter * noise)


def test_brief_1_floor_that_is_left_out_bends_the_exponent():
    err = 10 * M**-0.5 + 0.05
    assert round(float(fit_power_law(M, err).beta), 4) == -0.3507
    law = fit_power_law(M, err, floor=True)
    found = [float(law.alpha), float(law.beta), float(law.gamma)]
    np.testing.assert_allclose(found, [10, -0.5, 0.05], atol=1e-6)
    assert law.converged and law.identified and law.starts_agreeing == 1


def test_published_exponents_and_the_data_that_halve_the_error():
    factors = powerlaw.halving_factor([-0.128, -0.066, -0.309, -0.488, -0.299])
    np.testing.assert_allclose(factors, [225, 3.6e4, 9.4, 4.1, 10.2], rtol=0.02)


def test_line_is_numpys():
    err = noisy(3 * M**-0.3)
    slope, level = np.polyfit(M.log().numpy(), err.log().numpy(), 1)
    line = scipy.stats.linregress(M.log().numpy(), err.log().numpy())
    alpha, beta = powerlaw.log_log_line(M, err)
    law = fit_power_law(M, err)
    for fitted in (beta, law.beta):
        assert float(fitted) == pytest.approx(slope, rel=1e-9)
    for fitted in (alpha, law.alpha):
        assert float(fitted) == pytest.approx(math.exp(level), rel=1e-9)
    assert float(law.standard_errors["beta"]) == pytest.approx(line.stderr, rel=1e-8)
    assert float(law.standard_errors["alpha"] / law.alpha) == pytest.approx(line.intercept_stderr, rel=1e-8)
    assert float(law.r_squared) == pytest.approx(line.rvalue**2, rel=1e-8)
    reach = scipy.stats.t.ppf(0.975, 8)
    np.testing.assert_allclose(law.intervals()["beta"], [slope - reach * line.stderr, slope + reach * line.stderr])


def test_floor_fit_is_scipys():
    curves = noisy((10 * M**-0.5 + 0.05).expand(8, -1))
    law = fit_power_law(M, curves, floor=True)

    def log_law(m, log_alpha, beta, gamma):
        return np.log(np.exp(log_alpha) * m**beta + gamma)

    for i, err in enumerate(curves.numpy()):
        start = [math.log(10), -0.5, 0.05]
        best, covariance = scipy.optimize.curve_fit(log_law, M.numpy(), np.log(err), start, xtol=1e-14, ftol=1e-14)
        ours = [float(law.alpha[i].log()), float(law.beta[i]), float(law.gamma[i])]
        np.testing.assert_allclose(ours, best, rtol=1e-6)
        errors = [law.standard_errors["alpha"][i] / law.alpha[i], law.standard_errors["beta"][i]]
        errors.append(law.standard_errors["gamma"][i])
        np.testing.assert_allclose(errors, covariance.diagonal() ** 0.5, rtol=1e-3)
        np.testing.assert_allclose(law.residuals[i], np.log(err) - log_law(M.numpy(), *best), atol=1e-7)


def test_three_regions_are_recovered_and_their_limits_are_the_laws():
    m = 2.0 ** torch.arange(24, dtype=torch.float64)
    law = fit_power_law(m, powerlaw.three_regions(m, 0.9, -0.35, 500.0, 0.02), form="regions")
    found = [float(value) for value in (law.best_guess, law.beta, law.m0, law.gamma)]
    np.testing.assert_allclose(found, [0.9, -0.35, 500, 0.02], rtol=1e-6)
    # Far to the right it is a power law with the prefactor alpha.
    far = torch.tensor([1e9, 1e10], dtype=torch.float64)
    np.testing.assert_allclose(law.predict(far), powerlaw.power_law(far, law.alpha, law.beta, law.gamma), rtol=1e-6)
    assert float(law.predict(1e-6)) == pytest.approx(0.9, rel=1e-6)
    np.testing.assert_allclose(law.predict(law.data_needed([0.5, 0.1])), [0.5, 0.1], rtol=1e-9)


def test_weights_count_points_twice():
    err = noisy(3 * M**-0.3 + 0.1)
    twice = torch.ones_like(M)
    twice[3] = 2
    weighted = fit_power_law(M, err, floor=True, weights=twice)
    doubled = fit_power_law(torch.cat([M, M[3:4]]), torch.cat([err, err[3:4]]), floor=True)
    for name in ("alpha", "beta", "gamma"):
        assert float(getattr(weighted, name)) == pytest.approx(float(getattr(doubled, name)), rel=1e-6)


@given(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6), st.integers(0, 50), st.sampled_from(["power", "floor"]))
@settings(max_examples=40)
def test_fits_do_not_depend_on_the_units(unit_m, unit_err, seed, form):
    err = noisy(10 * M**-0.5 + 0.05, seed=seed)
    one = fit_power_law(M, err, form=form)
    other = fit_power_law(M * unit_m, err * unit_err, form=form)
    assert float(other.beta) == pytest.approx(float(one.beta), rel=1e-6)
    assert float(other.gamma) == pytest.approx(float(one.gamma) * unit_err, rel=1e-6, abs=1e-12)
    assert float(other.alpha) == pytest.approx(float(one.alpha) * unit_err * unit_m ** -float(one.beta), rel=1e-5)
    for name in ("sigma", "r_squared", "curvature_p", "condition"):
        assert float(getattr(other, name)) == pytest.approx(float(getattr(one, name)), rel=1e-4, abs=1e-9)


@given(st.permutations(range(10)))
@settings(max_examples=20)
def test_the_order_of_the_points_does_not_matter(order):
    err = noisy(10 * M**-0.5 + 0.05)
    one, other = fit_power_law(M, err, floor=True), fit_power_law(M[order], err[order], floor=True)
    assert float(other.beta) == pytest.approx(float(one.beta), rel=1e-7)


@given(st.floats(0.1, 50), st.floats(-1.2, -0.15), st.floats(0.0, 0.5))
@settings(max_examples=40)
def test_exact_laws_are_recovered(alpha, beta, share):
    """Any prefactor and exponent, with a floor as a share of the smallest reducible error."""
    gamma = share * alpha * float(M[-1]) ** beta
    law = fit_power_law(M, powerlaw.power_law(M, alpha, beta, gamma), floor=True)
    assert float(law.beta) == pytest.approx(beta, abs=1e-6)
    np.testing.assert_allclose(law.predict(M * 100), powerlaw.power_law(M * 100, alpha, beta, gamma), rtol=1e-4)


def test_curvature_is_the_t_test_of_a_parabola():
    err = noisy(10 * M**-0.5 + 0.05)
    law = fit_power_law(M, err)
    x = M.log().numpy()
    design = np.stack([np.ones_like(x), x, x * x], axis=-1)
    coefficients, rss, _, _ = np.linalg.lstsq(design, err.log().numpy(), rcond=None)
    error = math.sqrt(rss[0] / 7 * np.linalg.inv(design.T @ design)[2, 2])
    assert float(law.curvature) == pytest.approx(coefficients[2], rel=1e-6)
    assert float(law.curvature_p) == pytest.approx(2 * scipy.stats.t.sf(abs(coefficients[2]) / error, 7), rel=1e-5)
    assert "curved" in law.summary()
    assert float(fit_power_law(M, 3 * M**-0.4).curvature_p) == 1


def test_criteria_are_the_textbooks():
    law = fit_power_law(M, noisy(10 * M**-0.5 + 0.05), floor=True)
    rss = float((law.residuals**2).sum())
    deviance = 10 * math.log(rss / 10)
    assert float(law.aicc) == pytest.approx(deviance + 8 + 2 * 4 * 5 / 5, rel=1e-9)
    assert float(law.bic) == pytest.approx(deviance + 4 * math.log(10), rel=1e-9)


def test_comparison_finds_the_form():
    floor = compare_forms(M, noisy(10 * M**-0.5 + 0.05, 0.02), hold_out=2)
    assert floor.best == "floor"
    assert floor.forecast_error["floor"] < floor.forecast_error["power"]
    pure = compare_forms(M, noisy(10 * M**-0.5, 0.02))
    assert pure.best == "power"
    assert sum(pure.akaike_weights.values()) == pytest.approx(1)
    assert set(pure.laws) | set(pure.refused) == {"power", "floor", "regions"}


def test_holdout_is_the_fit_without_the_largest():
    err = 10 * M**-0.5 + 0.05
    mixed = torch.tensor([9, 0, 1, 2, 3, 4, 5, 6, 7, 8])
    found = holdout_error(M[mixed], err[mixed])
    slope, level = np.polyfit(M[:-1].log().numpy(), err[:-1].log().numpy(), 1)
    forecast = math.exp(level) * float(M[-1]) ** slope
    assert float(found.forecast) == pytest.approx(forecast, rel=1e-9)
    assert float(found.relative_error) == pytest.approx(forecast / float(err[-1]) - 1, rel=1e-8)
    assert float(found.horizon) == 2
    assert abs(float(holdout_error(M, err, floor=True).relative_error)) < 1e-8


def test_region_leaves_plateau_and_floor_out():
    m = 2.0 ** torch.arange(2, 30, dtype=torch.float64)
    err = noisy(powerlaw.three_regions(m, 0.9, -0.4, 300.0, 0.004), 0.01)
    region = power_law_region(m, err, best_guess=0.9)
    assert region.dropped_small > 3
    assert region.dropped_large > 1
    assert region.curvature_p >= 0.05
    assert float(powerlaw.log_log_line(region.m, region.err)[1]) == pytest.approx(-0.4, abs=0.03)


def test_laws_run_backwards():
    law = fit_power_law(M, 10 * M**-0.5 + 0.05, floor=True)
    assert float(law.data_needed(0.15)) == pytest.approx(1e4, rel=1e-5)
    assert float(law.halving_factor) == pytest.approx(4, rel=1e-6)
    with pytest.raises(ValueError, match="above the floor"):
        law.data_needed(0.04)


def test_batches_are_single_fits():
    curves = noisy((10 * M**-0.5 + 0.05).expand(2, 3, -1))
    together = fit_power_law(M, curves, floor=True)
    assert together.beta.shape == (2, 3) and together.residuals.shape == (2, 3, 10)
    alone = fit_power_law(M, curves[1, 2], floor=True)
    assert float(together.beta[1, 2]) == pytest.approx(float(alone.beta), rel=1e-9)
    assert together.predict(M).shape == (2, 3, 10)
    assert together.predict(100.0).shape == (2, 3)


def test_rising_laws_warn_unless_expected():
    size = 5 * M**0.7
    with pytest.warns(UserWarning, match="beta is not negative"):
        fit_power_law(M, size)
    assert float(fit_power_law(M, size, rising=True).beta) == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("m", "err", "options", "reason"),
    [
        ([1.0, 2.0], [1.0, 0.5], {}, "at least 3 different sizes"),
        ([1.0, 2.0, 4.0], [1.0, 0.5, 0.3], {"floor": True}, "at least 4 different sizes"),
        ([1.0, 2.0, 2.0, 1.0], [1.0, 0.5, 0.5, 1.0], {}, "at least 3 different sizes"),
        (range(1, 7), [0.5] * 6, {"floor": True}, "all errors are equal"),
        (range(1, 7), [0.5, 0.49, 0.485, 0.48, 0.47, 0.46], {"floor": True}, "every floor from 0"),
        (M, 3 * M**-0.5, {"form": "regions"}, "do not determine"),
    ],
)
def test_data_that_determine_nothing_are_refused(m, err, options, reason):
    m = list(m) if isinstance(m, range) else m
    with pytest.raises(ValueError, match=reason):
        fit_power_law(m, err, **options)


def test_what_is_refused_can_be_reported():
    m = torch.arange(1, 7, dtype=torch.float64)
    flat = torch.tensor([0.5, 0.49, 0.485, 0.48, 0.47, 0.46], dtype=torch.float64)
    law = fit_power_law(m, torch.stack([flat, 0.5 / m]), floor=True, unidentified="report")
    assert law.identified.tolist() == [False, True]
    with pytest.raises(ValueError, match="do not determine the form 'floor'"):
        fit_power_law(m, torch.stack([0.5 / m, flat]), floor=True)


def test_forms_and_line_live_in_a_figure():
    m = 2.0 ** torch.arange(4, 12, dtype=torch.float64)

    def figure(alpha, beta, gamma, dragged):
        curve = powerlaw.power_law(m, alpha, beta, gamma)
        moved = torch.cat([curve[:3], dragged[None], curve[4:]])
        level, slope = powerlaw.log_log_line(m, moved)
        smooth = powerlaw.three_regions(m, alpha, beta, 100 * alpha, gamma)
        return curve, level * m**slope, smooth, powerlaw.halving_factor(beta), powerlaw.local_slopes(m, moved)

    program = recorded(figure, {"alpha": 3.0, "beta": -0.5, "gamma": 0.1, "dragged": 0.7})
    settings_ = [
        {"alpha": 9.0, "beta": -0.2, "gamma": 0.0, "dragged": 2.0},
        {"alpha": 0.5, "beta": -1.1, "gamma": 0.3, "dragged": 0.1},
    ]
    for page, plain in replays(program, figure, settings_):
        np.testing.assert_allclose(page, plain, rtol=1e-10)


def test_gradients_of_the_forms():
    alpha, beta, gamma, m0 = (
        torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (3.0, -0.5, 0.1, 400.0)
    )
    assert torch.autograd.gradcheck(lambda a, b, g: powerlaw.power_law(M, a, b, g), (alpha, beta, gamma))
    assert torch.autograd.gradcheck(lambda b, t, g: powerlaw.three_regions(M, 0.9, b, t, g), (beta, m0, gamma))
    err = noisy(3 * M**-0.3).requires_grad_()
    assert torch.autograd.gradcheck(lambda e: powerlaw.log_log_line(M, e), (err,))


@pytest.mark.parametrize("gamma", [0.0, 0.02, 0.1])
def test_the_line_with_a_floor_by_search_is_close_to_the_fit(gamma):
    err = powerlaw.power_law(M, 5.0, -0.4, gamma)
    alpha, beta, floor = powerlaw.floored_line(M, err, candidates=4000)
    assert float(floor) == pytest.approx(gamma, abs=1e-3 * float(err.min()))
    assert [float(alpha), float(beta)] == pytest.approx([5.0, -0.4], rel=0.01)


def test_points_without_weight_do_not_count_in_the_line_with_a_floor():
    err = powerlaw.power_law(M, 5.0, -0.4, 0.05)
    kept = torch.ones_like(M)
    kept[-2:] = 0
    spoilt = torch.cat([err[:-2], torch.tensor([1e-3, 1e-4], dtype=M.dtype)])
    all_three = powerlaw.floored_line(M[:-2], err[:-2])
    assert [float(v) for v in powerlaw.floored_line(M, spoilt, kept)] == pytest.approx([float(v) for v in all_three])


def test_what_cannot_be_a_number_or_a_curve_is_refused():
    with pytest.raises(ValueError, match="alpha, the error at m = 1, is beyond all numbers"):
        fit_power_law(1e6 + torch.arange(5, dtype=torch.float64), [1.0, 0.9, 0.8, 0.7, 0.65])
    with pytest.raises(ValueError, match="at least one curve"):
        fit_power_law(M, torch.ones(0, 10, dtype=torch.float64))


def test_single_precision_and_tracked_errors_give_the_same_law():
    err = noisy(10 * M**-0.5 + 0.05)
    law = fit_power_law(M, err, floor=True)
    single = fit_power_law(M.float(), err.float(), floor=True)
    tracked = fit_power_law(M, err.clone().requires_grad_(), floor=True)
    assert single.beta.dtype == torch.float32 and single.converged
    for name in ("alpha", "beta", "gamma"):
        assert float(getattr(single, name)) == pytest.approx(float(getattr(law, name)), rel=5e-3)
        assert torch.equal(getattr(tracked, name), getattr(law, name))
