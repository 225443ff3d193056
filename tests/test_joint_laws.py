"""Joint laws of parameters and tokens: published numbers, numerical minima, recovery of known constants."""

import numpy as np
import pytest
import scipy.optimize
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.joint_fit import bootstrap_joint_law, fit_joint_law
from lib.joint_laws import (
    BESIROGLU,
    HOFFMANN,
    KAPLAN,
    JointLaw,
    chinchilla_loss,
    compute_optimal,
    isoflop_minima,
    kaplan_loss,
)
from lib.least_squares import huber_loss
from lib.powerlaw import log_log_line
from tests.replays import recorded, replays

NAMES = ("E", "A", "B", "alpha", "beta")


def runs(law, count=60, trials=None, scatter=0.01, seed=0):
    """Runs over three decades of both sizes, and their losses with scatter."""
    generator = torch.Generator().manual_seed(seed)
    N = 10 ** (7 + 3 * torch.rand(count, dtype=torch.float64, generator=generator))
    D = 10 ** (8.5 + 3 * torch.rand(count, dtype=torch.float64, generator=generator))
    shape = (count,) if trials is None else (trials, count)
    noise = torch.randn(shape, dtype=torch.float64, generator=generator)
    return N, D, law.predict(N, D) * torch.exp(scatter * noise)


def test_brief_10_what_a_budget_buys():
    N, D = compute_optimal(5.76e23, HOFFMANN)
    assert float(N) == pytest.approx(3.22e10, rel=0.002)
    assert float(D) == pytest.approx(2.98e12, rel=0.002)
    assert round(float(D / N)) == 93
    N, D = compute_optimal(5.76e23, BESIROGLU)
    assert float(N) == pytest.approx(7.23e10, rel=0.002)
    assert float(D) == pytest.approx(1.33e12, rel=0.003)
    assert round(float(D / N)) == 18


@given(st.floats(15, 27), st.sampled_from([HOFFMANN, BESIROGLU]))
@settings(max_examples=30)
def test_brief_10_the_budget_is_spent_and_nothing_is_better(log_C, law):
    C = 10**log_C
    N, D = compute_optimal(C, law)
    assert float(6 * N * D) == pytest.approx(C, rel=1e-12)

    def along(log_N):
        return float(chinchilla_loss(np.exp(log_N), C / 6 / np.exp(log_N), law))

    centre = float(N.log())
    best = scipy.optimize.minimize_scalar(along, bounds=(centre - 5, centre + 4), method="bounded").x
    assert best == pytest.approx(centre, abs=1e-3)
    a, b = law.beta / (law.alpha + law.beta), law.alpha / (law.alpha + law.beta)
    assert (law.a, law.b) == (a, b)
    G = (law.alpha * law.A / (law.beta * law.B)) ** (1 / (law.alpha + law.beta))
    assert float(N) == pytest.approx(G * (C / 6) ** a, rel=1e-10)
    assert float(D) == pytest.approx((C / 6) ** b / G, rel=1e-10)


def test_kaplans_limits():
    N, D = 1.5e9, 4e10
    assert float(kaplan_loss(N=N)) == pytest.approx((8.8e13 / N) ** 0.076, rel=1e-12)
    assert float(kaplan_loss(D=D)) == pytest.approx((5.4e13 / D) ** 0.095, rel=1e-12)
    both = ((8.8e13 / N) ** (0.076 / 0.095) + 5.4e13 / D) ** 0.095
    assert float(kaplan_loss(N, D)) == pytest.approx(both, rel=1e-12)
    assert float(kaplan_loss(N, 1e30)) == pytest.approx(float(kaplan_loss(N=N)), rel=1e-9)
    assert float(kaplan_loss(1e30, D)) == pytest.approx(float(kaplan_loss(D=D)), rel=1e-6)
    assert (KAPLAN.alpha_N, KAPLAN.alpha_D) == (0.076, 0.095)
    with pytest.raises(ValueError, match="N or D must be given"):
        kaplan_loss()


def test_minima_along_constant_compute_give_the_exponent():
    C = 10.0 ** torch.arange(18, 24, dtype=torch.float64)
    best, _ = compute_optimal(C, BESIROGLU)
    N = best[:, None] * torch.linspace(-0.2, 0.2, 9, dtype=torch.float64).exp()
    found = isoflop_minima(C, N, BESIROGLU.predict(N, C[:, None] / (6 * N)))
    assert found.inside.all()
    np.testing.assert_allclose(found.N, best, rtol=5e-3)
    np.testing.assert_allclose(6 * found.N * found.D, C, rtol=1e-12)
    np.testing.assert_allclose(found.L, BESIROGLU.predict(*compute_optimal(C, BESIROGLU)), rtol=1e-5)
    assert float(log_log_line(found.C, found.N)[1]) == pytest.approx(BESIROGLU.a, abs=1e-3)


def test_parabola_is_numpys():
    N = 10.0 ** torch.tensor([8.0, 8.4, 9.1, 9.7, 10.2], dtype=torch.float64)
    L = torch.tensor([3.1, 2.8, 2.6, 2.65, 2.9], dtype=torch.float64)
    bend, slope, level = np.polyfit(N.log().numpy(), L.numpy(), 2)
    found = isoflop_minima(1e20, N, L)
    assert float(found.N.log()) == pytest.approx(-slope / 2 / bend, rel=1e-9)
    assert float(found.L) == pytest.approx(level - slope**2 / 4 / bend, rel=1e-8)
    with pytest.raises(ValueError, match="opens downwards"):
        isoflop_minima(1e20, N, -L)


@pytest.mark.parametrize("law", [HOFFMANN, BESIROGLU])
def test_exact_runs_give_their_constants(law):
    N, D, L = runs(law, scatter=0.0)
    found = fit_joint_law(N, D, L)
    assert found.converged
    for name in NAMES:
        assert float(getattr(found, name)) == pytest.approx(getattr(law, name), rel=1e-4), name


def test_the_optimum_is_scipys():
    """The objective, written out in numpy, from the constants that made the runs and from ours."""
    N, D, L = (value.numpy() for value in runs(BESIROGLU))
    found = fit_joint_law(N, D, L)

    def objective(p):
        a, b, e, alpha, beta = p
        terms = np.stack([a - alpha * np.log(N), b - beta * np.log(D), np.full_like(N, e)])
        gap = np.abs(np.logaddexp.reduce(terms) - np.log(L))
        return np.where(gap <= 1e-3, gap**2 / 2, 1e-3 * (gap - 5e-4)).sum()

    ours = [float(value) for value in (found.A.log(), found.B.log(), found.E.log(), found.alpha, found.beta)]
    assert float(found.objective) == pytest.approx(objective(ours), rel=1e-9)
    assert float(huber_loss(found.residuals, 1e-3).sum()) == pytest.approx(objective(ours), rel=1e-9)
    truth = np.array([np.log(BESIROGLU.A), np.log(BESIROGLU.B), np.log(BESIROGLU.E), BESIROGLU.alpha, BESIROGLU.beta])
    for start in (truth, ours):
        theirs = scipy.optimize.minimize(objective, start, method="BFGS", options=dict(gtol=1e-10))
        assert float(found.objective) <= theirs.fun * (1 + 1e-6)


@given(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3), st.floats(1e-2, 1e2))
@settings(max_examples=6)
def test_fits_do_not_depend_on_the_units(unit_N, unit_D, unit_L):
    N, D, L = runs(BESIROGLU, count=40)
    one, other = fit_joint_law(N, D, L, delta=0.02), fit_joint_law(N * unit_N, D * unit_D, L * unit_L, delta=0.02)
    assert float(other.alpha) == pytest.approx(float(one.alpha), rel=1e-5)
    assert float(other.beta) == pytest.approx(float(one.beta), rel=1e-5)
    assert float(other.E) == pytest.approx(float(one.E) * unit_L, rel=1e-5)
    assert float(other.A) == pytest.approx(float(one.A) * unit_L * unit_N ** float(one.alpha), rel=1e-3)


def test_exchanging_parameters_and_tokens_exchanges_the_terms():
    N, D, L = runs(BESIROGLU)
    one, other = fit_joint_law(N, D, L), fit_joint_law(D, N, L)
    assert float(other.alpha) == pytest.approx(float(one.beta), rel=1e-4)
    assert float(other.E) == pytest.approx(float(one.E), rel=1e-4)


def test_given_starts_reach_the_same_optimum():
    N, D, L = runs(BESIROGLU)
    one = fit_joint_law(N, D, L)
    other = fit_joint_law(N, D, L, starts=[[1.7, 400.0, 2000.0, 0.34, 0.36], [1.0, 100.0, 100.0, 0.3, 0.3]])
    assert float(other.objective) == pytest.approx(float(one.objective), rel=1e-6)


def test_outlying_runs_move_hubers_fit_little():
    """Five of 200 runs, those with the fewest tokens, fail: B follows them only in plain least squares."""
    N, D, L = runs(BESIROGLU, count=200, scatter=0.003)
    failed = L.clone()
    failed[D.argsort()[:5]] *= 1.3
    moved = {}
    for delta in (1e-3, 10.0):
        before, after = fit_joint_law(N, D, L, delta=delta), fit_joint_law(N, D, failed, delta=delta)
        moved[delta] = abs(float((after.B / before.B).log()))
    assert moved[10.0] > 0.5
    assert moved[1e-3] < moved[10.0] / 5


@pytest.mark.parametrize("delta", [1e-3, 0.03])
def test_intervals_cover_the_constants(delta):
    """60 sets of 60 runs: 95 % intervals of every constant, and of the exponents of compute."""
    N, D, L = runs(BESIROGLU, trials=60)
    found = bootstrap_joint_law(N, D, L, n_boot=150, delta=delta)
    for name, ends in found.intervals.items():
        true = getattr(BESIROGLU, name)
        share = float(((ends[:, 0] <= true) & (ends[:, 1] >= true)).double().mean())
        assert share >= 0.9, (name, share)


def test_bootstraps_repeat_and_hold_the_fit():
    N, D, L = runs(BESIROGLU, count=40)
    one, same = (bootstrap_joint_law(N, D, L, n_boot=20, seed=4) for _ in range(2))
    assert torch.equal(one.samples.alpha, same.samples.alpha)
    assert one.samples.alpha.shape == (20,)
    low, high = one.intervals["alpha"]
    assert low < one.law.alpha < high


def test_one_budget_determines_the_law_but_badly():
    N = 10.0 ** torch.linspace(7.5, 10.5, 40, dtype=torch.float64)
    found = fit_joint_law(N, 1e20 / N, BESIROGLU.predict(N, 1e20 / N))
    for name in NAMES:
        assert float(getattr(found, name)) == pytest.approx(getattr(BESIROGLU, name), rel=1e-3), name
    assert float(found.condition) > 5 * float(fit_joint_law(*runs(BESIROGLU, scatter=0.0)).condition)


def test_single_precision_comes_to_rest_at_the_same_law():
    N, D, L = runs(BESIROGLU)
    one, other = fit_joint_law(N, D, L), fit_joint_law(N.float(), D.float(), L.float())
    assert other.E.dtype == torch.float32 and other.converged
    for name in ("E", "alpha", "beta"):
        assert float(getattr(other, name)) == pytest.approx(float(getattr(one, name)), rel=2e-3), name


def test_runs_that_determine_nothing_are_refused():
    N, D, L = runs(BESIROGLU)
    with pytest.raises(ValueError, match=r"vary apart, but their logarithms have correlation 1\.0000"):
        fit_joint_law(N, 20 * N, BESIROGLU.predict(N, 20 * N))
    with pytest.raises(ValueError, match="at least one set of runs"):
        fit_joint_law(N, D, L[None][:0])
    with pytest.raises(ValueError, match="at least 6 runs"):
        fit_joint_law(N[:5], D[:5], L[:5])
    with pytest.raises(ValueError, match="D must have at least 3 different values"):
        fit_joint_law(N, torch.full_like(N, 1e10), L)
    with pytest.raises(ValueError, match="all losses are equal"):
        fit_joint_law(N, D, torch.full_like(N, 2.0))
    with pytest.raises(ValueError, match="the best exponent of N is 0"):
        fit_joint_law(N, D, 2 + 0.01 * N.log() + 400 * D**-0.3)


def test_laws_live_in_a_figure():
    N = 10.0 ** torch.linspace(7, 11, 5, dtype=torch.float64)

    def figure(E, alpha, log_C):
        law = JointLaw(E=E, A=482.01, B=2085.43, alpha=alpha, beta=0.3658)
        best_N, best_D = compute_optimal(10**log_C, law)
        curve = law.predict(N, 10**log_C / (6 * N))
        return curve, best_N, best_D, isoflop_minima(10**log_C, N, curve).N, kaplan_loss(N, 10**log_C / N)

    program = recorded(figure, {"E": 1.8, "alpha": 0.35, "log_C": 20.0})
    settings_ = [{"E": 1.0, "alpha": 0.3, "log_C": 19.0}, {"E": 2.0, "alpha": 0.5, "log_C": 21.0}]
    for page, plain in replays(program, figure, settings_):
        np.testing.assert_allclose(page, plain, rtol=1e-8)


def test_gradients_of_the_joint_law():
    constants = [torch.tensor(getattr(BESIROGLU, name), dtype=torch.float64, requires_grad=True) for name in NAMES]

    def loss(*values):
        return chinchilla_loss(1e9, 2e10, JointLaw(*values))

    assert torch.autograd.gradcheck(loss, constants)
