"""Regimes of learning: closed forms against searches, both published tables, and what of them does not hold."""

import math

import numpy as np
import pytest
import scipy.integrate
import scipy.optimize
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib import ising, mass, regimes

# Table of section 7.4 at J = 0.5: condition number, Delta, alpha, as printed.
PUBLISHED_REGIMES = {"K3": (2.84, 0.325, 0.430), "K4": (9.73, 0.903, 0.601), "K5": (21.4, 0.689, 0.554)}
# Table of section 7.6: spread of the directional alpha (at a beta that is not stated), deviation fraction.
PUBLISHED_DEVIATIONS = {"K3": (0.226, 0.167), "K4": (0.397, 0.380)}

EIGENVALUES = {
    "K3": [0.385021] * 2 + [1.095360],
    "K4": [0.116837] * 2 + [0.317597] * 3 + [1.137040],
    "K5": [0.035526] * 5 + [0.205759] * 4 + [0.759603],
}
positive = st.lists(st.floats(0.01, 10), min_size=1, max_size=6)


def fisher(name, coupling=0.5):
    edges, n = ising.observer_graph(name)
    return ising.ising_fisher(edges, n, [coupling] * len(edges))


def eigenvalues(name, coupling=0.5):
    return torch.linalg.eigvalsh(fisher(name, coupling))


@pytest.mark.parametrize(
    ("name", "kappa", "delta", "alpha"),
    [("K3", 2.8449, 0.3253, 0.4304), ("K4", 9.7318, 0.9034, 0.6006), ("K5", 21.3816, 0.6886, 0.5541)],
)
def test_brief_1_complete_graphs(name, kappa, delta, alpha):
    eigs = eigenvalues(name)
    np.testing.assert_allclose(eigs, EIGENVALUES[name], atol=6e-7)
    found_alpha, c = regimes.regime_alpha(eigs)
    assert float(eigs[-1] / eigs[0]) == pytest.approx(kappa, abs=5e-5)
    assert float(c) == pytest.approx(delta, abs=5e-5)
    assert float(found_alpha) == pytest.approx(alpha, abs=5e-5)


def test_brief_2_other_graphs():
    for tree in ("path", "star", "binary tree"):
        F = fisher(tree)
        np.testing.assert_allclose(F, np.eye(len(F)) / np.cosh(0.5) ** 2, atol=1e-12)
        assert float(F[0, 0]) == pytest.approx(0.7864477, abs=5e-8)
        assert float(regimes.regime_alpha(torch.linalg.eigvalsh(F))[0]) == 0
    np.testing.assert_allclose(eigenvalues("cycle")[[0, -1]], [0.74334, 0.90933], atol=5e-6)
    np.testing.assert_allclose(eigenvalues("C4")[[0, -1]], [0.59152, 1.07477], atol=5e-6)
    for name, kappa, alpha in (("C4", 1.817, 0), ("Petersen", 4.0259, 0.5871), ("grid 3x3", 2.9237, 0.4686)):
        eigs = eigenvalues(name)
        assert float(eigs[-1] / eigs[0]) == pytest.approx(kappa, abs=5e-4)
        assert float(regimes.regime_alpha(eigs)[0]) == pytest.approx(alpha, abs=5e-5)


def test_brief_3_search_over_the_mixing():
    eigs = eigenvalues("K4")
    c = torch.arange(0, 5, 1e-5, dtype=torch.float64)
    at = {model: float(c[regimes.convergence_functional(eigs, c, model).argmin()]) for model in "ABCD"}
    assert at == {"A": pytest.approx(0.90337, abs=1e-9), "B": float(c[-1]), "C": 0.0, "D": at["A"]}
    low, high = float(eigs[0]), float(eigs[-1])
    best = float(regimes.functional_minimum(eigs))
    kappa = high / low
    condition = float(regimes.convergence_functional(eigs, best, "B"))
    assert condition == pytest.approx(19.46365, abs=5e-6)
    assert condition == pytest.approx(2 * kappa, rel=1e-12)
    assert (high + best) / (low + best) == pytest.approx(2, rel=1e-12)
    gain = float(regimes.convergence_functional(eigs, 0.0) / regimes.convergence_functional(eigs, best))
    assert gain == pytest.approx(2.711587, abs=5e-7)
    assert gain == pytest.approx(kappa**2 / (4 * (kappa - 1)), rel=1e-12)


def test_brief_4_exponents_and_special_values():
    eigs = eigenvalues("K4")
    c = torch.arange(0, 5, 1e-5, dtype=torch.float64)
    for exponent, place in ((0.5, 0.39326), (2, 1.92357), (3, 2.94377)):
        assert float(c[regimes.convergence_functional(eigs, c, exponent).argmin()]) == pytest.approx(place, abs=1.1e-5)
        assert float(regimes.functional_minimum(eigs, exponent)) == pytest.approx(place, abs=6e-6)
    assert float(regimes.alpha_of(0.5)) == 0.5
    assert float(regimes.alpha_of(1.0)) == pytest.approx((math.sqrt(5) - 1) / 2, rel=1e-15)
    assert float(regimes.alpha_of(1e12)) == pytest.approx(1 - 1e-12, abs=1e-15)


@given(positive, st.floats(0.1, 4))
@settings(max_examples=60, deadline=None)
def test_closed_minimum_against_a_search(eigs, exponent):
    best = float(regimes.functional_minimum(eigs, exponent))
    least = float(regimes.convergence_functional(eigs, best, exponent))
    around = torch.linspace(0, 2 * best + 5, 2001, dtype=torch.float64)
    assert (regimes.convergence_functional(eigs, around, exponent) >= least * (1 - 1e-12)).all()
    assert (best > 0) == (exponent * max(eigs) > (exponent + 1) * min(eigs))


@given(positive, st.floats(0, 20))
@settings(max_examples=40, deadline=None)
def test_functional_d_is_the_root_of_a(eigs, c):
    a, d = (float(regimes.convergence_functional(eigs, c, model)) for model in "AD")
    assert d**2 == pytest.approx(a, rel=1e-12)
    assert float(regimes.convergence_functional(eigs, c, 1.0)) == pytest.approx(a, rel=1e-12)
    g = np.array(eigs) ** 2 + c * np.array(eigs)
    assert a == pytest.approx(g.max() / g.min() * g.max(), rel=1e-12)


@given(st.floats(0, 1000))
@settings(max_examples=40, deadline=None)
def test_alpha_and_mixing_are_inverse(c):
    alpha = regimes.alpha_of(c)
    assert 0 <= alpha < 1
    assert float(regimes.mixing_of(alpha)) == pytest.approx(c, rel=1e-9, abs=1e-12)


# -- the published tables ------------------------------------------------------------------------------------------
def test_first_table_reproduces_to_every_digit():
    for name, (kappa, delta, alpha) in PUBLISHED_REGIMES.items():
        eigs = eigenvalues(name)
        found_alpha, c = regimes.regime_alpha(eigs)
        assert f"{float(eigs[-1] / eigs[0]):.3g}" == f"{kappa:.3g}"
        assert f"{float(c):.3f}" == f"{delta:.3f}"
        assert f"{float(found_alpha):.3f}" == f"{alpha:.3f}"


def test_second_table_does_not():
    ours = {}
    for name in PUBLISHED_DEVIATIONS:
        F, eigs = fisher(name), eigenvalues(name)
        _, delta = mass.deviation_tensor(mass.mass_tensor(F), F)
        beta = regimes.regime_alpha(eigs)[1]
        ours[name] = (round(float(mass.alpha_spread(eigs, beta)), 3), round(float(delta), 3))
    assert ours == {"K3": (0.229, 0.323), "K4": (0.443, 0.421)}
    # The printed 0.167 of K3 belongs to swapped multiplicities: the small eigenvalue once, the large one twice.
    low, high = EIGENVALUES["K3"][0], EIGENVALUES["K3"][-1]
    swapped = torch.diag(torch.tensor([low, high, high], dtype=torch.float64))
    _, delta = mass.deviation_tensor(swapped @ swapped, swapped)
    assert round(float(delta), 3) == PUBLISHED_DEVIATIONS["K3"][1]
    for tree in ("path", "star"):
        _, delta = mass.deviation_tensor(fisher(tree) @ fisher(tree), fisher(tree))
        assert float(delta) < 1e-12 and float(mass.alpha_spread(eigenvalues(tree), 0.5)) < 1e-12


def test_no_one_beta_gives_the_spreads_of_the_second_table():
    beta = torch.linspace(1e-3, 5, 20_000, dtype=torch.float64)
    roots = []
    for name, (spread, _) in PUBLISHED_DEVIATIONS.items():
        surplus = mass.alpha_spread(eigenvalues(name), beta) - spread
        roots.append(beta[:-1][surplus[:-1] * surplus[1:] < 0])
    np.testing.assert_allclose(roots[0], [0.312, 1.350], atol=2e-3)
    np.testing.assert_allclose(roots[1], [0.110, 1.206], atol=2e-3)


def test_ninety_one_configurations():
    """The formula is the optimum itself, to the precision of a search.

    The paper prints errors of 0.007 on average and 0.023 at most. They are those of its search, which is not described
    and finds 0.010 for a tree whose optimum is 0.
    """
    exact = []
    for name in ising.GALLERY:
        for coupling in np.linspace(0.1, 1.5, 7):
            eigs = eigenvalues(name, coupling)
            alpha = float(regimes.regime_alpha(eigs)[0])

            def cost(x, eigs=eigs):
                return float(regimes.convergence_functional(eigs, regimes.mixing_of(x)).log())

            found = scipy.optimize.minimize_scalar(cost, bounds=(0, 0.9999), method="bounded", options={"xatol": 1e-9})
            exact.append(abs(found.x - alpha))
    assert len(exact) == 91
    assert max(exact) < 1e-6


# -- learning with the metric g(c) ---------------------------------------------------------------------------------
MIXINGS = [0, 0.2, 0.5, 0.903, 1.5, 3, 10, 100]


@pytest.mark.parametrize(
    ("hessian", "iterations"),
    [("identity", [655, 284, 179, 135, 110, 90, 74, 68]), ("fisher", [67, 29, 18, 13, 10, 8, 5, 3])],
)
def test_brief_12_iterations_fall_with_the_mixing(hessian, iterations):
    eigs = eigenvalues("K4")
    found = regimes.quadratic_learning(eigs, MIXINGS, hessian)
    assert found.iterations.tolist() == iterations
    assert (found.flow_time.diff() > 0).all()
    # Counted, not computed: every error of a simulation below 1e-6, with the metric as a matrix.
    F = fisher("K4").numpy()
    H = np.eye(6) if hessian == "identity" else F
    _, vectors = np.linalg.eigh(F)
    for c, step, expected in zip(MIXINGS, found.step.tolist(), iterations, strict=True):
        x, count = vectors.sum(axis=1), 0
        while np.abs(vectors.T @ x).max() > 1e-6:
            x = x - step * np.linalg.solve(F @ F + c * F, H @ x)
            count += 1
        assert count == expected


def test_brief_12_the_flow_slows_down():
    eigs = eigenvalues("K4")
    times = regimes.quadratic_learning(eigs, [*MIXINGS[:3], 0.90337, *MIXINGS[4:]]).flow_time
    np.testing.assert_allclose(times[:5], [17.9, 21.0, 25.7, 32.1, 41.4], atol=0.051)
    np.testing.assert_allclose(times[5:], [65, 175, 1589], atol=0.51)
    for c, time in zip(MIXINGS[:3], times[:3].tolist(), strict=True):
        rates = (1 / (eigs * (eigs + c))).numpy()
        path = scipy.integrate.solve_ivp(lambda t, x, r=rates: -r * x, (0, time), np.ones(6), rtol=1e-10, atol=1e-14)
        assert np.abs(path.y[:, -1]).max() == pytest.approx(1e-6, rel=1e-4)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_iterations_of_ill_conditioned_metrics(dtype):
    """kappa(g) = 1 / eps^2: the ratio of the errors of two steps rounds to 1, and ln(ratio) is -2 / kappa."""
    eps = torch.finfo(dtype).eps
    found = regimes.quadratic_learning(torch.tensor([eps, 1.0], dtype=dtype), 0.0)
    assert float(found.iterations) == pytest.approx(math.log(1e6) / (2 * eps**2), rel=1e-5)
    one = regimes.quadratic_learning(torch.tensor([0.7, 0.7], dtype=dtype), 0.3)
    assert float(one.iterations) == 1


def test_losses_of_a_quadratic_problem():
    eigs = eigenvalues("K4")
    for hessian, curvature in (("identity", torch.ones(6, dtype=torch.float64)), ("fisher", eigs)):
        rates = curvature / (eigs * (eigs + 0.5))
        factor = 1 - 2 * rates / (rates.min() + rates.max())
        expected = 0.5 * (curvature[:, None] * factor[:, None] ** (2 * torch.arange(31))).sum(dim=0)
        torch.testing.assert_close(regimes.quadratic_losses(eigs, 0.5, 30, hessian), expected)


# -- directions ----------------------------------------------------------------------------------------------------
@given(st.integers(0, 2**31), st.floats(0.01, 5))
@settings(max_examples=40, deadline=None)
def test_directional_alpha(seed, beta):
    draw = np.random.default_rng(seed)
    root = draw.normal(size=(4, 4))
    F = torch.tensor(root @ root.T + 0.1 * np.eye(4))
    eigs, vectors = torch.linalg.eigh(F)
    along = mass.directional_alpha(F, vectors.mT, beta)
    torch.testing.assert_close(along, eigs / (eigs + beta), rtol=1e-8, atol=1e-10)
    v = torch.tensor(draw.normal(size=(20, 4)))
    alphas = mass.directional_alpha(F, v, beta)
    assert (alphas >= along.min() - 1e-9).all() and (alphas <= along.max() + 1e-9).all()
    for length in (-7, 1e-200, 1e200):
        torch.testing.assert_close(mass.directional_alpha(F, length * v, beta), alphas)
    assert float(mass.alpha_spread(eigs, beta)) == pytest.approx(float(along.max() - along.min()), abs=1e-9)


def test_only_multiples_of_the_identity_have_no_spread():
    assert float(mass.alpha_spread([0.7, 0.7, 0.7], 0.3)) == 0
    assert float(mass.alpha_spread(eigenvalues("C4"), 0.3)) > 0.1


@given(st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_brief_11_the_deviation_has_no_trace(seed):
    draw = np.random.default_rng(seed)
    root, other = draw.normal(size=(2, 5, 5))
    F, M = torch.tensor(root @ root.T + 0.1 * np.eye(5)), torch.tensor(other @ other.T)
    Delta, delta = mass.deviation_tensor(M, F)
    assert abs(float(Delta.trace())) < 1e-12 * float(M.trace())
    assert float(delta) == pytest.approx(float(torch.linalg.norm(Delta) / torch.linalg.norm(M)), rel=1e-12)
    kappa = float(M.trace() / F.trace())
    assert float(torch.trace(torch.linalg.solve(F, Delta))) == pytest.approx(
        float(torch.trace(torch.linalg.solve(F, M))) - 5 * kappa, rel=1e-6, abs=1e-6
    )


def test_brief_11_deviations():
    for name, expected in (("K3", 0.32297), ("K4", 0.42109), ("K5", 0.46301)):
        F = fisher(name)
        Delta, delta = mass.deviation_tensor(mass.mass_tensor(F), F)
        assert float(delta) == pytest.approx(expected, abs=6e-6)
        eigs, vectors = torch.linalg.eigh(F)
        kappa, beta = float((F @ F).trace() / F.trace()), 0.4
        surplus = (vectors.mT @ Delta @ vectors).diagonal()
        torch.testing.assert_close(surplus, eigs * (eigs - kappa), rtol=1e-9, atol=1e-12)
        alphas = mass.directional_alpha(F, vectors.mT, beta)
        assert torch.equal(surplus > 0, alphas > kappa / (kappa + beta))
        # The trace that does not depend on coordinates is not 0.
        assert abs(float(torch.trace(torch.linalg.solve(F, Delta)))) > 0.1


def test_bad_metrics_are_refused():
    with pytest.raises(ValueError, match="F must be symmetric"):
        mass.deviation_tensor(np.eye(2), [[1.0, 0.5], [0.0, 1.0]])
    with pytest.raises(ValueError, match="F must be positive definite"):
        mass.directional_alpha([[1.0, 1.0], [1.0, 1.0]], [1.0, 0.0], 1.0)
    with pytest.raises(ValueError, match="M must be symmetric"):
        mass.deviation_tensor([[1.0, 0.5], [0.0, 1.0]], np.eye(2))
    with pytest.raises(ValueError, match="M must not be 0"):
        mass.deviation_tensor(np.zeros((2, 2)), np.eye(2))
    with pytest.raises(ValueError, match="v must not be zero"):
        mass.directional_alpha(np.eye(2), [0.0, 0.0], 1.0)
