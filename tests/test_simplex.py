"""Simplex walks: acceptance numbers of the calibration table, entropies, the trend test by brute force."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib import fisher, simplex
from lib.land_tables import SIMPLEX_TABLE, YEARS
from tests.replays import recorded, replays

D = torch.float64
TABLE = torch.tensor(SIMPLEX_TABLE, dtype=D)  # commons, agrarian, capital in percent of land
CORNERS = ["commons", "agrarian", "capital"]
SHARES = simplex.to_simplex(TABLE, CORNERS, dict(zip(CORNERS, CORNERS)))
distributions = st.integers(2, 8).flatmap(
    lambda n: st.lists(st.floats(0, 1), min_size=n, max_size=n).filter(lambda p: sum(p) > 0.01)
)


def normalised(values):
    p = torch.tensor(values, dtype=D)
    return p / p.sum()


def test_brief_2_calibration_table():
    walk = simplex.trajectory_speed(SHARES, YEARS)
    expected = [0.1833, 0.0729, 0.4050, 0.0988, 0.0890, 0.1172, 0.0725]
    np.testing.assert_allclose(walk["speed"], expected, atol=5e-5)
    assert walk["pulses"].tolist() == [False, False, True, False, False, False, False]
    assert float(walk["threshold"]) == pytest.approx(0.268, abs=5e-4)
    assert float(walk["arc"]) == pytest.approx(1.0389, abs=5e-5)
    assert float(walk["displacement"]) == pytest.approx(0.3058, abs=5e-5)
    assert float(walk["sinuosity"]) == pytest.approx(3.397, abs=5e-4)
    assert int((SHARES[:, 2].diff() > 0).sum()) == 6


def test_speed_against_numpy():
    p = SHARES.numpy()
    steps = 2 * np.arccos(np.sqrt(p[1:] * p[:-1]).sum(-1))
    years = np.array([2000, 2001, 2003, 2004, 2008, 2009, 2010, 2010.5])
    walk = simplex.trajectory_speed(SHARES, years)
    np.testing.assert_allclose(walk["steps"], steps, rtol=1e-9)
    speed = steps / np.diff(years)
    np.testing.assert_allclose(walk["speed"], speed, rtol=1e-9)
    assert float(walk["threshold"]) == pytest.approx(speed.mean() + speed.std(ddof=1), rel=1e-9)
    assert walk["pulses"].tolist() == (speed > speed.mean() + speed.std(ddof=1)).tolist()


def test_walks_in_a_batch_and_odd_walks():
    both = simplex.trajectory_speed(torch.stack([SHARES, SHARES.flip(0)]), YEARS)
    torch.testing.assert_close(both["arc"][0], both["arc"][1])
    torch.testing.assert_close(both["speed"][1], both["speed"][0].flip(0))
    still = simplex.trajectory_speed([[0.5, 0.5]] * 3, [0, 1, 2])
    assert float(still["sinuosity"]) == 1
    assert not still["pulses"].any()
    assert float(simplex.trajectory_speed([[0.5, 0.5], [1.0, 0], [0.5, 0.5]], [0, 1, 2])["sinuosity"]) == math.inf
    one_step = simplex.trajectory_speed([[0.5, 0.5], [1.0, 0]], [0, 1])
    assert float(one_step["sinuosity"]) == 1
    assert not one_step["pulses"].any()
    # Along a geodesic nothing is lost, and no year stands out but by rounding.
    path = fisher.fisher_rao_geodesic([0.2, 0.5, 0.3], [0.7, 0.1, 0.2], torch.linspace(0, 1, 9, dtype=D))
    even = simplex.trajectory_speed(path, range(9))
    assert float(even["sinuosity"]) == pytest.approx(1, abs=1e-12)
    assert not even["pulses"].any()


def test_grouping():
    classes = [1, 2, 4, 5, 7, 8, 11]
    counts = torch.tensor([[70.0, 1, 2, 10, 8, 3, 6], [60, 0, 0, 20, 10, 10, 0]], dtype=D)
    grouping = {2: "commons", 4: "commons", 11: "commons", 5: "agrarian", 7: "capital", 8: "capital"}
    P = simplex.to_simplex(counts, classes, grouping)
    torch.testing.assert_close(P, torch.tensor([[9 / 30, 10 / 30, 11 / 30], [0, 0.5, 0.5]], dtype=D))
    # Bare ground with the commons instead, corners in an order of the reader's own.
    other = simplex.to_simplex(counts, classes, grouping | {8: "commons"}, ["capital", "agrarian", "commons"])
    torch.testing.assert_close(other[0], torch.tensor([8 / 30, 10 / 30, 12 / 30], dtype=D))
    assert simplex.to_simplex(counts, classes, grouping, [*CORNERS, "nobody"])[:, 3].tolist() == [0, 0]


def test_ternary_coordinates():
    corners = simplex.ternary_coordinates(torch.eye(3, dtype=D))
    sides = torch.cdist(corners, corners)
    torch.testing.assert_close(sides, 1 - torch.eye(3, dtype=D))
    torch.testing.assert_close(simplex.ternary_coordinates(SHARES), torch.tensor([0, 0], dtype=D) + SHARES @ corners)


@given(distributions)
@settings(max_examples=60)
def test_entropies(values):
    p = normalised(values)
    assert float(simplex.shannon_entropy(p)) == pytest.approx(scipy.stats.entropy(p.numpy()), rel=1e-12, abs=1e-14)
    orders = torch.tensor([0, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 100], dtype=D)
    found = simplex.renyi_entropy(p, orders)
    seen = p.numpy()[p.numpy() > 0]
    for alpha, value in zip(orders.tolist(), found.tolist()):
        if alpha != 1:
            expected = math.log((seen**alpha).sum()) / (1 - alpha)
            assert value == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert float(found[4]) == pytest.approx(float(simplex.shannon_entropy(p)), rel=1e-12, abs=1e-14)
    assert (found.diff() <= 1e-9).all()
    assert float(found[0]) == pytest.approx(math.log(len(seen)), abs=1e-9)
    # Through order 1 without a jump.
    around = simplex.renyi_entropy(p, [1 - 1e-9, 1.0, 1 + 1e-9])
    torch.testing.assert_close(around, around[1].expand(3), rtol=1e-6, atol=1e-7)
    assert float(simplex.renyi_entropy(p, 2.0)) == float(found[6])


def test_one_class_has_no_entropy():
    assert str(float(simplex.shannon_entropy([1.0, 0.0]))) == "0.0"
    assert simplex.renyi_entropy([1.0, 0.0], [0.0, 0.5, 1.0, 100.0]).tolist() == [0, 0, 0, 0]


def test_entropies_slope_finitely_where_a_class_is_missing():
    p = torch.tensor([0.0, 0.25, 0.75], dtype=D, requires_grad=True)
    (slope,) = torch.autograd.grad(simplex.shannon_entropy(p), p)
    torch.testing.assert_close(slope, torch.tensor([0, -math.log(0.25) - 1, -math.log(0.75) - 1], dtype=D))
    (slope,) = torch.autograd.grad(simplex.renyi_entropy(p, [0.0, 0.5, 1.0, 2.0]).sum(), p)
    assert slope.isfinite().all()


def test_divergence_of_each_year_from_the_last():
    expected = scipy.stats.entropy(SHARES[1:].numpy(), SHARES[:-1].numpy(), axis=-1)
    np.testing.assert_allclose(simplex.step_divergence(SHARES), expected, rtol=1e-10)


def brute_force_p(x):
    """Share of all orders whose s is at least as far from 0."""

    def s_of(values):
        return sum(np.sign(b - a) for a, b in itertools.combinations(values, 2))

    s = abs(s_of(x))
    return np.mean([abs(s_of(order)) >= s for order in itertools.permutations(x)])


@given(st.lists(st.integers(-9, 9), min_size=3, max_size=14).filter(lambda x: len(set(x)) > 1))
@settings(max_examples=60)
def test_trend_against_kendall(values):
    trend = simplex.mann_kendall([float(value) for value in values])
    times = np.arange(len(values))
    s = sum(np.sign(b - a) for a, b in itertools.combinations(values, 2))
    assert float(trend.s) == s
    assert float(trend.tau) == pytest.approx(scipy.stats.kendalltau(times, values).statistic, abs=1e-12)
    # scipy's normal approximation leaves out the continuity correction of one.
    if abs(s) > 1:
        uncorrected = float(trend.z) * abs(s) / (abs(s) - 1)
        expected = scipy.stats.kendalltau(times, values, method="asymptotic").pvalue
        assert 2 * scipy.stats.norm.sf(abs(uncorrected)) == pytest.approx(expected, rel=1e-9)
    assert float(trend.p) == pytest.approx(2 * scipy.stats.norm.sf(abs(float(trend.z))), rel=1e-12)


@given(st.permutations(range(6)))
@settings(max_examples=20)
def test_exact_trend_by_brute_force(order):
    found = float(simplex.mann_kendall([float(x) for x in order], exact=True).p)
    assert found == pytest.approx(brute_force_p(order), rel=1e-12)
    assert found == pytest.approx(scipy.stats.kendalltau(range(6), order, method="exact").pvalue, rel=1e-12)


def test_exact_trend_of_a_long_series():
    """A hundred values: 4950 inversions, counted in exact whole numbers."""
    x = np.random.default_rng(0).normal(size=100) + np.arange(100) / 60
    found = float(simplex.mann_kendall(x, exact=True).p)
    assert found == pytest.approx(scipy.stats.kendalltau(range(100), x, method="exact").pvalue, rel=1e-10)


def test_trends_in_a_batch():
    x = torch.tensor([[1.0, 2, 3, 4, 5, 6, 7, 8], [8, 7, 6, 5, 4, 3, 2, 1], [1, 1, 1, 1, 1, 1, 1, 1]], dtype=D)
    trend = simplex.mann_kendall(x)
    assert trend.s.tolist() == [28, -28, 0]
    assert trend.tau.tolist() == [1, -1, 0]
    assert float(trend.p[2]) == 1
    assert simplex.mann_kendall(x[:2], exact=True).p.tolist() == pytest.approx([2 / math.factorial(8)] * 2)


def test_the_page_computes_the_same():
    def walk(bare, alpha):
        counts = TABLE + torch.stack([bare, 0 * bare, -bare])
        P = simplex.to_simplex(counts, CORNERS, dict(zip(CORNERS, CORNERS)))
        found = simplex.trajectory_speed(P, YEARS)
        trend = simplex.mann_kendall(P[:, 2])
        values = [
            *found.values(),
            simplex.ternary_coordinates(P),
            simplex.shannon_entropy(P),
            simplex.renyi_entropy(P, alpha),
            simplex.renyi_entropy(P, torch.stack([alpha, 1 - alpha])),
            simplex.step_divergence(P),
            *trend,
        ]
        return torch.cat([value.to(D).reshape(-1) for value in values])

    settings = ({"bare": 0.0, "alpha": 1.0}, {"bare": 7.5, "alpha": 0.2})
    for found, expected in replays(recorded(walk, {"bare": 1.0, "alpha": 0.5}), walk, settings):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_gradients():
    weights = (TABLE[:4] / 10).clone().requires_grad_()

    def walk(weights):
        P = weights.softmax(-1)
        found = simplex.trajectory_speed(P, YEARS[:4])
        return found["arc"], found["sinuosity"], simplex.renyi_entropy(P, [0.5, 1.0, 3.0]), simplex.shannon_entropy(P)

    assert torch.autograd.gradcheck(walk, weights)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: simplex.to_simplex([0.5, 0.5], ["a"], {"a": "x"}), r"fractions must have shape \(\.\.\., 1\)"),
        (lambda: simplex.to_simplex([0.5, -0.5], ["a", "b"], {"a": "x"}), "fractions must be at least 0, got -0.5"),
        (lambda: simplex.to_simplex([0.5, 0.5], ["a", "b"], {"c": "x"}), r"grouping must name classes among.*got 'c'"),
        (lambda: simplex.to_simplex([0.5, 0.5], ["a", "b"], {"a": "x"}, ["y"]), "grouping must name corners.*'x'"),
        (lambda: simplex.to_simplex([0.5, 0.5], ["a", "b"], {"a": ["x"]}), "grouping must map classes to names of cor"),
        (lambda: simplex.to_simplex([0.5, 0.5], ["a", "a"], {"a": "x"}), "classes must be a list of different labels"),
        (lambda: simplex.to_simplex([0.0, 0.5], ["a", "b"], {"a": "x"}), "fractions must leave a share above 0"),
        (
            lambda: simplex.to_simplex([1e308, 1e308], ["a", "b"], {"a": "x", "b": "y"}),
            "fractions must have a sum within",
        ),
        (lambda: simplex.trajectory_speed(SHARES, YEARS[:5]), r"years must have shape \(8,\)"),
        (lambda: simplex.trajectory_speed(SHARES, [2017] * 8), "years must rise.*got 0"),
        (lambda: simplex.trajectory_speed(SHARES[:1], [2017]), "P must hold at least two distributions"),
        (lambda: simplex.trajectory_speed(TABLE, YEARS), "P must sum to 1.*got 100"),
        (lambda: simplex.ternary_coordinates([0.5, 0.5]), r"P must have shape \(\.\.\., 3\)"),
        (lambda: simplex.renyi_entropy([0.5, 0.5], -1.0), "alpha must be at least 0, got -1"),
        (lambda: simplex.renyi_entropy([0.5, 0.5], [[1.0]]), "alpha must be a number"),
        (lambda: simplex.mann_kendall([1.0, 2.0]), "x must hold at least 3 values"),
        (lambda: simplex.mann_kendall([1.0, 1.0, 2.0], exact=True), "exact must be False for an x with equal values"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
