"""Learning curves: solved models against sums, roots and simulations; measured ones against theory and scikit-learn."""

import numpy as np
import pytest
import scipy.optimize
import scipy.special
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib import learning_curves as curves
from tests.replays import recorded, replays

DOUBLINGS = 2.0 ** torch.arange(11, 19, dtype=torch.float64)


def slope(m, values):
    """Least-squares slope on doubly logarithmic axes."""
    return np.polyfit(np.log(np.asarray(m, dtype=float)), np.log(np.asarray(values.tolist())), 1)[0]


# -- series regression ---------------------------------------------------------------------------------------------
def test_brief_2_series_model():
    p_star, risk = curves.series_risk(0.5, 1.0, [256, 4096, 65536])
    assert p_star.tolist() == [15, 63, 255]
    np.testing.assert_allclose(risk, [0.1230865, 0.0311276, 0.0078039], atol=5e-8)


@pytest.mark.parametrize(
    ("s", "size", "error"),
    [(0.25, 0.667, -0.340), (0.5, 0.502, -0.499), (1.0, 0.342, -0.662), (2.0, 0.215, -0.787)],
)
def test_brief_2_series_slopes(s, size, error):
    p_star, risk = curves.series_risk(s, 1.0, DOUBLINGS)
    assert slope(DOUBLINGS, p_star) == pytest.approx(size, abs=6e-4)
    assert slope(DOUBLINGS, risk) == pytest.approx(error, abs=6e-4)


def test_slopes_of_the_infinite_series_tend_to_the_exponents():
    s = torch.tensor([0.1, 0.25, 0.5, 1.0, 2.0], dtype=torch.float64)
    m = torch.tensor([1e30, 1e40], dtype=torch.float64)
    p_star, risk = curves.series_risk(s[:, None], 1.0, m, terms=None)
    size, error = curves.series_exponents(s)
    torch.testing.assert_close(curves.local_slopes(m, p_star)[:, 0], size, rtol=1e-5, atol=0)
    torch.testing.assert_close(curves.local_slopes(m, risk)[:, 0], error, rtol=1e-5, atol=0)


def test_a_finite_sum_mimics_another_exponent():
    m = 2.0 ** torch.arange(7, 15, dtype=torch.float64)
    _, risk = curves.series_risk(0.25, 1.0, m, terms=2048)
    assert slope(m, risk) == pytest.approx(-0.404, abs=0.01)
    _, risk = curves.series_risk(0.25, 1.0, m, terms=None)
    assert slope(m, risk) == pytest.approx(-1 / 3, abs=0.01)


def test_brief_3_monte_carlo():
    """The size that is best on average has the exponents of theory; the best of each draw, in hindsight, has not."""
    m = 2.0 ** torch.arange(7, 15, dtype=torch.float64)
    errors = curves.simulate_series(0.5, 1.0, m, torch.Generator().manual_seed(0))
    sizes = torch.arange(1, 2049)
    drawn = np.random.default_rng(0).integers(40, size=(300, 40))
    slopes = []
    for repeats in drawn:
        error, size = curves.lower_envelope(sizes, errors[repeats, :, 1:].mean(dim=0))
        slopes.append((slope(m, size), slope(m, error)))
    (size_low, error_low), (size_high, error_high) = np.percentile(slopes, [2.5, 97.5], axis=0)
    assert size_low < 0.5 < size_high
    assert error_low < -0.5 < error_high
    hindsight, _ = curves.lower_envelope(sizes, errors[..., 1:])
    assert slope(m, hindsight.mean(dim=0)) > error_high


@given(st.floats(0.05, 3), st.floats(0.1, 3), st.floats(1, 1e4), st.integers(1, 60))
@settings(max_examples=60, deadline=None)
def test_the_best_size_is_the_best_of_all(s, sigma, m, terms):
    sizes = torch.arange(terms + 1, dtype=torch.float64)
    risks = curves.truncation_risk(sizes, s, sigma, m, terms)
    squares = np.arange(1, terms + 1) ** -(2 * s + 1)
    summed = [squares[p:].sum() + p * sigma**2 / m for p in range(terms + 1)]
    np.testing.assert_allclose(risks, summed, rtol=1e-9, atol=1e-13)
    p_star, risk = curves.series_risk(s, sigma, m, terms)
    assert float(risk) == pytest.approx(min(summed), rel=1e-9)
    assert int(p_star) == (squares > sigma**2 / m * (1 + 1e-9)).sum()


@given(st.floats(0.02, 4), st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_what_an_infinite_series_leaves_out_is_hurwitz_zeta(s, p):
    left_out = curves.truncation_risk(p, s, 0.0, 1.0, terms=None)
    assert float(left_out) == pytest.approx(scipy.special.zeta(2 * s + 1, p + 1), rel=1e-12)


@given(st.floats(0.1, 2), st.floats(0.1, 3), st.floats(10, 1e6), st.floats(0.2, 5))
@settings(max_examples=30, deadline=None)
def test_only_noise_per_example_matters(s, sigma, m, factor):
    once = curves.series_risk(s, sigma, m)[1]
    torch.testing.assert_close(curves.series_risk(s, sigma * factor, m * factor**2)[1], once, rtol=1e-6, atol=0)


def test_without_noise_everything_is_kept():
    p_star, risk = curves.series_risk(0.5, 0.0, [1.0, 7.0], terms=100)
    assert p_star.tolist() == [100, 100]
    assert risk.tolist() == [0, 0]
    with pytest.raises(ValueError, match="sigma must be above 0 where terms is None"):
        curves.series_risk(0.5, 0.0, 1.0, terms=None)
    with pytest.raises(ValueError, match=r"p must be a whole number from 0 to 5, got 6"):
        curves.truncation_risk(6, 0.5, 1.0, 1.0, terms=5)


def test_simulated_errors_average_to_the_risk():
    errors = curves.simulate_series([0.25, 1.0], 1.0, 50.0, torch.Generator().manual_seed(1), repeats=4000, terms=30)
    expected = curves.truncation_risk(
        torch.arange(31), torch.tensor([[0.25], [1.0]], dtype=torch.float64), 1.0, 50.0, terms=30
    )
    deviations = (errors.mean(dim=0) - expected) / (errors.std(dim=0) / 4000**0.5).clamp(min=1e-12)
    assert errors.shape == (4000, 2, 31)
    assert deviations.abs().max() < 4
    torch.testing.assert_close(errors[0, :, 0], expected[:, 0])


def test_live_series():
    def figure(s, sigma):
        m = 2.0 ** torch.arange(4, 14, dtype=torch.float64)
        p_star, risk = curves.series_risk(s, sigma, m)
        fixed = curves.truncation_risk(torch.tensor([[4.0], [32.0]], dtype=torch.float64), s, sigma, m)
        size, error = curves.series_exponents(s)
        envelope, _ = curves.lower_envelope([4, 32], fixed.mT)
        return p_star, risk, fixed, curves.local_slopes(m, risk), envelope, size, error

    program = recorded(figure, {"s": 0.25, "sigma": 1.0})
    settings_ = [
        {"s": 0.5, "sigma": 1.0},
        {"s": 0.1, "sigma": 2.0},
        {"s": 2.0, "sigma": 0.05},
        {"s": 0.7, "sigma": 0.3},
    ]
    for given_, wanted in replays(program, figure, settings_):
        np.testing.assert_allclose(given_, wanted, rtol=1e-9, atol=1e-12)


# -- ridge regression ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("a", "b", "first", "last"),
    [(1.5, 1.5, -0.495, -0.533), (1.5, 1.3, -0.310, -0.369), (1.2, 2.0, -1.00, -1.055), (1.5, 5.0, -2.93, -3.05)],
)
def test_brief_4_kernel_theory(a, b, first, last):
    """The last slopes are steeper than the exponent: a million modes begin to be few."""
    lam, w2 = curves.power_law_spectrum(a, b, 1_000_000)
    slopes = curves.local_slopes([64, 128, 4096, 8192], curves.ridge_learning_curve(lam, w2, [64, 128, 4096, 8192]))
    assert float(slopes[0]) == pytest.approx(first, abs=0.005)
    assert float(slopes[2]) == pytest.approx(last, abs=0.005)
    assert float(slopes[1]) == pytest.approx(float(curves.ridge_exponent(a, b)), rel=0.15)


@pytest.mark.parametrize(("a", "b"), [(1.5, 1.5), (1.5, 1.3)])
def test_brief_5_simulation_and_theory(a, b):
    """1000 modes and up to 128 examples; more repeats where few examples make the error differ from draw to draw."""
    lam, w2 = curves.power_law_spectrum(a, b, 1000)
    generator = torch.Generator().manual_seed(0)
    for n, repeats in ((8, 200), (32, 100), (128, 24)):
        measured = curves.simulate_ridge(lam, w2, n, repeats=repeats, generator=generator).mean()
        assert 0.95 < float(measured / curves.ridge_learning_curve(lam, w2, n)) < 1.08


def test_brief_5_with_ridge_and_noise():
    lam, w2 = curves.power_law_spectrum(1.5, 1.5, 1000)
    generator = torch.Generator().manual_seed(0)
    for n, repeats in ((32, 100), (128, 24)):
        measured = curves.simulate_ridge(lam, w2, n, 0.05, 0.1, repeats, generator=generator).mean()
        assert 0.95 < float(measured / curves.ridge_learning_curve(lam, w2, n, 0.05, 0.1)) < 1.05


@given(st.floats(1.05, 3), st.integers(2, 40), st.floats(0.05, 0.95), st.sampled_from([0.0, 1e-6, 0.1, 10.0]))
@settings(max_examples=60, deadline=None)
def test_the_resolution_is_the_root(a, modes, share, ridge):
    lam, _ = curves.power_law_spectrum(a, 2.0, modes)
    n = share * modes
    variances = lam.numpy()

    def surplus(log_kappa):
        kappa = np.exp(log_kappa)
        return (variances / (variances + kappa)).sum() + ridge / kappa - n

    root = np.exp(scipy.optimize.brentq(surplus, -60, 20, xtol=1e-13))
    assert float(curves.ridge_resolution(lam, n, ridge)) == pytest.approx(root, rel=1e-9)


@pytest.mark.parametrize("lam", [[1.0] * 5 + [1e-12] * 5, [1e6, 1.0, 1e-6, 1e-12], [1.0] * 10])
def test_the_resolution_of_spectra_with_gaps(lam):
    variances = torch.tensor(lam, dtype=torch.float64)
    n = torch.tensor([[1.0], [2.5], [3.9]], dtype=torch.float64)
    ridge = torch.tensor([0.0, 1e-9, 3.0], dtype=torch.float64)
    kappa = curves.ridge_resolution(lam, n, ridge)[..., None]
    found = (variances / (variances + kappa)).sum(dim=-1) + ridge / kappa[..., 0]
    torch.testing.assert_close(found, n.expand(3, 3), rtol=1e-12, atol=0)


def test_equal_variances_have_a_closed_form():
    """Least squares on n < P equal features finds the projection of the weights on a random n-dimensional space."""
    P, n, noise = 200, torch.tensor([20.0, 100.0, 180.0], dtype=torch.float64), 0.3
    error = curves.ridge_learning_curve([1.0] * P, [0.5] * P, n, noise=noise)
    torch.testing.assert_close(error, 0.5 * P * (1 - n / P) + noise * n / (P - n), rtol=1e-12, atol=0)
    drawn = curves.simulate_ridge([1.0] * P, [0.5] * P, 100, noise=noise, generator=torch.Generator().manual_seed(0))
    assert float(drawn.mean()) == pytest.approx(float(error[1]), rel=0.05)


def test_modes_in_pieces_are_modes(monkeypatch):
    lam, w2 = curves.power_law_spectrum([1.5, 1.2], [1.4, 2.0], 300)
    n = torch.tensor([[5.0], [50.0], [250.0]], dtype=torch.float64)
    whole = curves.ridge_learning_curve(lam, w2, n, [0.0, 0.1], 0.2)
    monkeypatch.setattr("lib.ridge_curves.AT_ONCE", 100)
    torch.testing.assert_close(curves.ridge_learning_curve(lam, w2, n, [0.0, 0.1], 0.2), whole)
    assert whole.shape == (3, 2)


def test_a_smooth_target_saturates():
    assert float(curves.ridge_exponent(1.5, 3.9)) == pytest.approx(-2.9)
    assert float(curves.ridge_exponent(1.5, 4.0)) == float(curves.ridge_exponent(1.5, 9.0)) == -3


def test_too_many_examples_without_a_ridge_are_refused():
    with pytest.raises(ValueError, match=r"n must be below the 3 modes where the ridge is 0, got 3"):
        curves.ridge_resolution([1.0, 0.5, 0.25], [2.0, 3.0])
    assert curves.ridge_resolution([1.0, 0.5, 0.25], [2.0, 3.0], 0.1).shape == (2,)


def test_live_ridge():
    def figure(a, b, ridge, noise):
        n = 2.0 ** torch.arange(2, 8, dtype=torch.float64)
        lam, w2 = curves.power_law_spectrum(a, b, 400)
        return curves.ridge_learning_curve(lam, w2, n, ridge, noise), curves.ridge_exponent(a, b)

    program = recorded(figure, {"a": 1.5, "b": 1.5, "ridge": 0.0, "noise": 0.0})
    moved = [
        {"a": 1.2, "b": 2.0, "ridge": 0.0, "noise": 0.5},
        {"a": 2.5, "b": 1.1, "ridge": 0.3, "noise": 0.0},
        {"a": 1.5, "b": 5.0, "ridge": 1e-6, "noise": 1.0},
    ]
    for given_, wanted in replays(program, figure, moved):
        np.testing.assert_allclose(given_, wanted, rtol=1e-9, atol=1e-12)


# -- measured on data ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("dimension", "width"), [(1, 0.08), (2, 0.05), (3, 0.03), (4, 0.03), (6, 0.06)])
def test_brief_6_nearest_neighbours(dimension, width):
    """In six dimensions 2^14 points are still far apart: the measured slope is below theory, as in the brief."""
    sizes = curves.shards(2**9, 2**14)
    errors = curves.nearest_neighbour_curve(dimension, sizes, torch.Generator().manual_seed(0))
    assert slope(sizes, errors) == pytest.approx(-2 / dimension, abs=width)


def test_nearest_neighbours_by_brute_force():
    generator = torch.Generator().manual_seed(3)
    errors = curves.nearest_neighbour_curve(3, [5, 40], generator, tests=30)
    points = torch.rand(70, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    values = (2 * torch.pi * points).sin().sum(dim=1) / 3**0.5
    for size, error in zip([5, 40], errors):
        nearest = torch.cdist(points[40:], points[:size]).argmin(dim=1)
        assert float(error) == pytest.approx(float((values[nearest] - values[40:]).square().mean()), rel=1e-12)


@pytest.mark.parametrize(
    ("classifier", "wanted", "first", "last"),
    [("nearest", -0.788, 0.381, 0.018), ("support", -0.993, 0.500, 0.010)],
)
def test_brief_8_digits(classifier, wanted, first, last):
    """The brief's intervals are for its own ten shuffles; ours are others, so the slope may differ by as much."""
    sizes = curves.shards(20, 1200)
    errors = curves.digits_curve(classifier, sizes).mean(dim=0)
    assert slope(sizes, errors) == pytest.approx(wanted, abs=0.05)
    assert float(errors[0]) == pytest.approx(first, abs=0.05)
    assert float(errors[-1]) == pytest.approx(last, abs=0.006)


def test_digits_agree_with_scikit_learn():
    from sklearn.datasets import load_digits
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.svm import SVC

    pixels, labels = load_digits(return_X_y=True)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(4)).numpy()
    asked, examples = order[:500], order[500:600]
    models = {"nearest": KNeighborsClassifier(1), "support": SVC(C=10, gamma=0.32)}
    for classifier, model in models.items():
        model.fit(pixels[examples] / 16, labels[examples])
        wrong = (model.predict(pixels[asked] / 16) != labels[asked]).mean()
        found = curves.digits_curve(classifier, [100], splits=1, seed=4)
        assert found.tolist() == [[pytest.approx(wrong, abs=1e-12)]]


# -- what all share ------------------------------------------------------------------------------------------------
@given(st.integers(1, 1000), st.integers(0, 10**6))
@settings(max_examples=100, deadline=None)
def test_shards_grow_by_about_two(m_min, more):
    sizes = curves.shards(m_min, m_min + more)
    assert sizes[0] == m_min
    assert sizes[-1] == m_min + more
    ratios = np.array(sizes[1:]) / np.array(sizes[:-1])
    assert (ratios[:-1] == 2).all()
    assert ((ratios > 1) & (ratios < 2 * 2**0.5 + 1e-12)).all()


@given(st.integers(1, 6), st.integers(1, 5), st.integers(0, 2**31 - 1))
@settings(max_examples=40, deadline=None)
def test_the_envelope_lies_below_every_curve(count, points, seed):
    generator = torch.Generator().manual_seed(seed)
    err = torch.rand(2, points, count, generator=generator, dtype=torch.float64) + 0.1
    sizes = torch.rand(count, generator=generator, dtype=torch.float64) + 0.1
    least, size = curves.lower_envelope(sizes, err)
    assert (least[..., None] <= err).all()
    place = err.argmin(dim=-1)
    assert (size == sizes[place]).all()
    assert (least == err.gather(-1, place[..., None])[..., 0]).all()


def test_the_smallest_of_equal_sizes_counts():
    assert curves.lower_envelope([30, 10, 20], [[1.0, 2.0, 1.0]])[1].tolist() == [20]


@given(st.floats(-3, 1), st.floats(0.01, 100))
@settings(max_examples=40, deadline=None)
def test_local_slopes_of_a_power_law(exponent, factor):
    m = torch.tensor([3.0, 5.0, 40.0, 41.0], dtype=torch.float64)
    torch.testing.assert_close(
        curves.local_slopes(m, factor * m**exponent), torch.full((3,), exponent, dtype=torch.float64)
    )
