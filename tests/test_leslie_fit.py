"""Leslie-Gower competition and its fits to Gause's counts: acceptance numbers, invariants, bad input."""

import math

import numpy as np
import pytest
import scipy.integrate
import scipy.optimize
import torch
from hypothesis import given
from hypothesis import strategies as st

from lib import leslie

GAUSE = leslie.gause_paramecium()
COUNTS, PRESENT = GAUSE["counts"], GAUSE["present"]


@pytest.fixture(scope="module")
def lotka_volterra():
    return leslie.fit_lotka_volterra(COUNTS.numpy(), PRESENT.numpy())


@pytest.fixture(scope="module")
def one_class():
    return leslie.fit_leslie_gower(COUNTS, PRESENT, m=1)


def test_gause_as_experiments():
    assert COUNTS.shape == (3, 2, 26)
    assert PRESENT.tolist() == [[True, True], [True, False], [False, True]]
    torch.testing.assert_close(COUNTS[0, 0], GAUSE["aurelia_mixed"], equal_nan=True)
    torch.testing.assert_close(COUNTS[0, 1], GAUSE["caudatum_mixed"], equal_nan=True)
    torch.testing.assert_close(COUNTS[1, 0], GAUSE["aurelia_alone"], equal_nan=True)
    torch.testing.assert_close(COUNTS[2, 1], GAUSE["caudatum_alone"], equal_nan=True)
    assert COUNTS[1, 1].isnan().all()
    assert COUNTS[2, 0].isnan().all()


def test_brief_6_beverton_holt():
    closed = float(leslie.beverton_holt(2.3266, 0.002539, 2.0, 10))
    number = 2.0
    for _ in range(10):
        number = 2.3266 * number / (1 + 0.002539 * number)
    assert closed == pytest.approx(494.7828336, abs=5e-8)
    assert closed == pytest.approx(number, abs=1e-9)


@given(st.floats(0.3, 4).filter(lambda f: abs(f - 1) > 0.01), st.floats(1e-4, 0.1), st.floats(0.1, 500))
def test_one_species_of_one_class_is_beverton_holt_and_samples_the_logistic_curve(f, k, founders):
    one = torch.ones(1, 1, dtype=torch.float64)
    totals = leslie.leslie_gower_totals(f * one, one[:, :0], k * one, founders * one[None], 30)[0, 0]
    torch.testing.assert_close(totals, leslie.beverton_holt(f, k, founders, torch.arange(31)), rtol=1e-8, atol=1e-9)
    if f > 1:
        curve = leslie.logistic(np.log(f), (f - 1) / k, founders, np.arange(31))
        np.testing.assert_allclose(totals, curve, rtol=1e-8)


def test_brief_7_logistic_reference():
    for name, rate, capacity in (("aurelia_alone", 0.7916, 542.9), ("caudatum_alone", 0.6619, 202.5)):
        fit = leslie.fit_logistic(GAUSE[name].numpy())
        assert fit.growth_rate == pytest.approx(rate, abs=1e-4)
        assert fit.capacity == pytest.approx(capacity, abs=0.06)


def test_logistic_against_curve_fit():
    counts = GAUSE["aurelia_alone"].numpy()
    seen = np.flatnonzero(np.isfinite(counts))
    best, _ = scipy.optimize.curve_fit(lambda t, r, K: leslie.logistic(r, K, 2.0, t), seen, counts[seen], p0=[0.5, 500])
    fit = leslie.fit_logistic(GAUSE["aurelia_alone"])
    np.testing.assert_allclose([fit.growth_rate, fit.capacity], best, rtol=1e-5)


def test_brief_8_lotka_volterra_reference(lotka_volterra):
    np.testing.assert_allclose(lotka_volterra.growth_rate, [0.841, 0.666], atol=1e-3)
    np.testing.assert_allclose(lotka_volterra.capacity, [524, 200], atol=0.6)
    assert lotka_volterra.competition[0, 1] == pytest.approx(2.50, abs=6e-3)
    assert lotka_volterra.competition[1, 0] == pytest.approx(0.443, abs=1e-3)
    assert lotka_volterra.train == pytest.approx(0.204, abs=6e-4)
    assert lotka_volterra.test == pytest.approx(0.240, abs=6e-4)


def test_lotka_volterra_against_another_integrator(lotka_volterra):
    fit = lotka_volterra

    def slope(_time, numbers):
        return fit.growth_rate * numbers * (1 - fit.competition @ numbers / fit.capacity)

    other = scipy.integrate.solve_ivp(slope, (0, 25), [2.0, 2.0], method="DOP853", t_eval=range(26), rtol=1e-10).y
    ours = leslie.lotka_volterra(fit.growth_rate, fit.capacity, fit.competition, [2.0, 2.0], range(26))
    np.testing.assert_allclose(ours, other, rtol=1e-5)
    np.testing.assert_allclose(fit.totals[0], other, rtol=1e-5)


def test_brief_9_one_class(one_class, lotka_volterra):
    model = one_class.model
    assert float(one_class.train) == pytest.approx(0.203, abs=6e-4)
    assert float(one_class.test) == pytest.approx(0.243, abs=6e-4)
    np.testing.assert_allclose(model.growth, [2.327, 1.941], atol=2e-3)
    np.testing.assert_allclose(model.growth.log(), lotka_volterra.growth_rate, atol=0.05)
    np.testing.assert_allclose(model.capacity, [522, 201], atol=1)
    assert float(model.competition[0, 1]) == pytest.approx(2.36, abs=0.01)
    assert float(model.competition[1, 0]) == pytest.approx(0.467, abs=2e-3)
    np.testing.assert_allclose(one_class.totals[0, :, 25], [436, 31], atol=1)
    assert float(one_class.train) < 0.22
    assert float(one_class.test) < 0.27


def test_brief_9_three_classes_add_almost_nothing(one_class):
    fit = leslie.fit_leslie_gower(COUNTS, PRESENT, m=3)
    assert float(fit.train) == pytest.approx(0.201, abs=1e-3)
    assert float(fit.test) == pytest.approx(0.242, abs=1e-3)
    assert 0 < float(one_class.train - fit.train) < 0.005


def test_brief_10_aurelia_invades_caudatum_and_not_the_other_way_round(one_class):
    capacity, competition = one_class.model.capacity, one_class.model.competition
    assert float(competition[0, 1] * capacity[1]) == pytest.approx(474, abs=2)
    assert float(competition[1, 0] * capacity[0]) == pytest.approx(244, abs=2)
    assert competition[0, 1] * capacity[1] < capacity[0]
    assert competition[1, 0] * capacity[0] > capacity[1]
    for resident, invader in ((1, 0), (0, 1)):
        start = torch.zeros(1, 2, dtype=torch.float64)
        start[0, resident], start[0, invader] = capacity[resident], 1e-3
        later = one_class.model.rollout(start, 40)[0, invader, -1]
        assert bool(later > 1e-3) == (invader == 0)


@pytest.mark.parametrize("classes", [3, 5])
def test_brief_11_the_linear_model_is_at_least_twice_as_bad(classes):
    mixed = COUNTS[:1], PRESENT[:1]
    dense = leslie.fit_leslie_gower(*mixed, m=1)
    linear = leslie.fit_linear_competition(*mixed, m=classes, restarts=8, steps=1200)
    assert float(linear.train.min()) > 2 * float(dense.train)
    assert float(linear.test.min()) > 2 * float(dense.test)


def test_restarts_are_independent_fits(one_class):
    both = leslie.fit_leslie_gower(COUNTS, PRESENT, m=2, restarts=3, steps=40, seed=5)
    assert both.train.shape == (3,)
    assert both.loss.shape == (40, 3)
    assert both.totals.shape == (3, 3, 2, 26)
    # A single model started where the second restart started follows the same path.
    start = leslie.LeslieGower(2, restarts=3, generator=torch.Generator().manual_seed(5))
    single = leslie.LeslieGower(2)
    single.load_state_dict({name: value[1] for name, value in start.state_dict().items()})
    seen = COUNTS.isfinite() & PRESENT[..., None]
    train = seen & (torch.arange(26) < 21)
    optimiser = torch.optim.Adam(single.parameters(), lr=0.05)
    for step in range(40):
        loss = leslie.log_rmse(single.rollout(2.0 * PRESENT.double(), 25), COUNTS, train) ** 2
        assert float(loss.detach()) == pytest.approx(float(both.loss[step, 1]), rel=1e-8)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    torch.testing.assert_close(both.model.growth[1], single.growth.detach(), rtol=1e-7, atol=0)


def test_held_out_days_do_not_touch_the_fit():
    changed = COUNTS.clone()
    changed[..., 21:] = 1e6
    first, second = (leslie.fit_leslie_gower(counts, PRESENT, steps=20) for counts in (COUNTS, changed))
    assert torch.equal(first.train, second.train)
    assert second.test > first.test
    everything = leslie.fit_leslie_gower(COUNTS, PRESENT, steps=2, train_days=26)
    assert everything.test.isnan()


def test_fits_are_seeded_and_show_progress():
    seen = []
    fits = [
        leslie.fit_leslie_gower(COUNTS, PRESENT, m=2, steps=5, seed=seed, progress=lambda *at: seen.append(at))
        for seed in (1, 1, 2)
    ]
    assert seen[:5] == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]
    assert torch.equal(fits[0].loss, fits[1].loss)
    assert not torch.equal(fits[0].loss, fits[2].loss)


@given(st.integers(1, 4), st.integers(0, 2**31 - 1))
def test_the_recursion_against_matrices(classes, seed):
    model = leslie.LeslieGower(classes, 2, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        totals = model.rollout([[2.0, 3.0], [1.0, 0.0]], 12)
        for row, start in enumerate(([2.0, 3.0], [1.0, 0.0])):
            x = [start[i] * model.ages[i].numpy() for i in (0, 1)]
            L = [leslie.leslie_matrix(model.fecundity[i], model.survival[i]).numpy() for i in (0, 1)]
            for step in range(13):
                sums = np.array([part.sum() for part in x])
                np.testing.assert_allclose(totals[row, :, step], sums, rtol=1e-9, atol=1e-12)
                x = [L[i] @ x[i] / (1 + model.crowding[i].numpy() @ sums) for i in (0, 1)]
    torch.testing.assert_close(model.ages.sum(dim=-1), torch.ones(2, dtype=torch.float64))


@given(st.integers(1, 3), st.integers(0, 2**31 - 1))
def test_the_linear_recursion_is_clipped_competition(classes, seed):
    model = leslie.LinearCompetition(classes, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        totals = model.rollout([[2.0, 3.0]], 10)[0]
        A, C = leslie.leslie_matrix(model.fecundity, model.survival)
        M = leslie.block_matrix(A, model.harm[0], C, model.harm[1], kind="competition")
        start = torch.cat([2.0 * model.ages[0], 3.0 * model.ages[1]])
        path = leslie.evolve(M, start, 10, clip=True)
    torch.testing.assert_close(totals, path.unflatten(-1, (2, -1)).sum(dim=-1).T)


def test_gradients():
    generator = torch.Generator().manual_seed(2)
    options = {"generator": generator, "dtype": torch.float64}
    fecundity, survival, start = (torch.rand(*size, **options).requires_grad_() for size in ((2, 2), (2, 1), (1, 2, 2)))
    crowding = (0.1 * torch.rand(2, 2, **options)).requires_grad_()
    harm = (0.1 * torch.rand(2, 2, 2, **options)).requires_grad_()
    dense, linear = leslie.leslie_gower_totals, leslie.linear_competition_totals
    assert torch.autograd.gradcheck(lambda *parts: dense(*parts, 4), (fecundity, survival, crowding, start))
    assert torch.autograd.gradcheck(lambda *parts: linear(*parts, 4), (fecundity, survival, harm, start))
    days = torch.arange(4, dtype=torch.float64)
    f, k = torch.tensor([2.0, 0.01], dtype=torch.float64, requires_grad=True).unbind()
    assert torch.autograd.gradcheck(lambda f, k: leslie.beverton_holt(f, k, 2.0, days), (f, k))


def test_lotka_volterra_fit_without_held_out_days():
    fit = leslie.fit_lotka_volterra(COUNTS[..., :8].numpy(), PRESENT.numpy(), train_days=8)
    assert np.isnan(fit.test)
    assert fit.train < 0.3


ONES = torch.ones(1, 1, dtype=torch.float64)
GOOD = (ONES, ONES[:, :0], ONES, ONES[None])
NUMPY = COUNTS.numpy(), PRESENT.numpy()
TWO = torch.ones(2, 1, dtype=torch.float64)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: leslie.beverton_holt(1.0, 0.1, 2.0, 3), "fecundity must be above 0 and different from 1"),
        (lambda: leslie.beverton_holt(2.0, 0.0, 2.0, 3), "crowding must be above 0"),
        (lambda: leslie.beverton_holt(2.0, 0.1, 0.0, 3), "founders must be above 0"),
        (lambda: leslie.beverton_holt(2.0, 0.1, 2.0, -1), "steps must be at least 0"),
        (lambda: leslie.leslie_gower_totals(*GOOD, -1), "steps must be an integer of at least 0"),
        (lambda: leslie.leslie_gower_totals([[1.0]], *GOOD[1:], 3), "fecundity must be a tensor"),
        (lambda: leslie.leslie_gower_totals(ONES, ONES, *GOOD[2:], 3), r"survival must have shape \(\.\.\., 1, 0\)"),
        (lambda: leslie.leslie_gower_totals(*GOOD[:2], TWO, ONES[None], 3), "crowding must have shape"),
        (lambda: leslie.leslie_gower_totals(*GOOD[:3], ONES, 3), "start must have shape"),
        (lambda: leslie.linear_competition_totals(ONES, ONES[:, :0], ONES[None], ONES[None], 3), "two species"),
        (lambda: leslie.linear_competition_totals(TWO, TWO[:, :0], ONES[None], TWO[None], 3), "harm must have shape"),
        (lambda: leslie.linear_competition_totals(TWO, TWO[:, :0], ONES, TWO[None], 0.5), "steps must be an integer"),
        (lambda: leslie.LeslieGower(0), "m must be an integer of at least 1, got 0"),
        (lambda: leslie.LeslieGower(1, 0), "species must be an integer"),
        (lambda: leslie.LeslieGower(1, restarts=0), "restarts must be an integer"),
        (lambda: leslie.LeslieGower(1, generator=3), "generator must be a torch.Generator, got 3"),
        (lambda: leslie.LeslieGower(1, dtype=torch.int64), "dtype must be one of torch.float32, torch.float64"),
        (lambda: leslie.LinearCompetition(0), "m must be an integer"),
        (lambda: leslie.LeslieGower(1).rollout([2.0, 2.0, 2.0], 3), "initial_totals must have shape"),
        (lambda: leslie.LeslieGower(1).rollout([[2.0, -2.0]], 3), "initial_totals must be at least 0"),
        (lambda: leslie.LinearCompetition(1).rollout([[2.0]], 3), "initial_totals must have shape"),
        (lambda: leslie.log_rmse(COUNTS, COUNTS, PRESENT), r"must have one shape \(experiments, species, days\)"),
        (lambda: leslie.log_rmse(COUNTS, COUNTS, COUNTS), "must have one shape"),
        (lambda: leslie.fit_leslie_gower(COUNTS[0], PRESENT), "counts must be real with shape"),
        (lambda: leslie.fit_leslie_gower(COUNTS.long(), PRESENT), "counts must be real"),
        (lambda: leslie.fit_leslie_gower(COUNTS, PRESENT[:2]), r"present must be boolean with shape \(3, 2\)"),
        (lambda: leslie.fit_leslie_gower(COUNTS, PRESENT.double()), "present must be boolean"),
        (lambda: leslie.fit_leslie_gower(-COUNTS, PRESENT), "counts must be at least 0 and finite"),
        (lambda: leslie.fit_leslie_gower(COUNTS, PRESENT & False), "counts must hold a number"),
        (lambda: leslie.fit_leslie_gower(COUNTS, PRESENT, m=0), "m must be an integer"),
        (lambda: leslie.fit_leslie_gower(COUNTS, PRESENT, founders=0), "founders must be a finite number above 0"),
        (lambda: leslie.fit_leslie_gower(COUNTS, PRESENT, train_days=1), "train_days must be an integer from 2 to 26"),
        (lambda: leslie.fit_leslie_gower(COUNTS, PRESENT, train_days=27), "train_days must be an integer from 2 to 26"),
        (lambda: leslie.fit_leslie_gower(COUNTS, PRESENT, steps=0), "steps must be an integer"),
        (lambda: leslie.fit_leslie_gower(COUNTS, PRESENT, learning_rate=0), "learning_rate must be a finite number"),
        (lambda: leslie.fit_leslie_gower(COUNTS, PRESENT, seed=-1), "seed must be an integer"),
        (lambda: leslie.fit_linear_competition(COUNTS[:, :1], PRESENT[:, :1]), "counts must have two species"),
        (lambda: leslie.fit_linear_competition(COUNTS, PRESENT, m=0), "m must be an integer"),
        (lambda: leslie.logistic(float("nan"), 1.0, 1.0, [0.0]), "growth_rate must be a finite number"),
        (lambda: leslie.logistic(1.0, 0.0, 1.0, [0.0]), "capacity must be a finite number above 0"),
        (lambda: leslie.logistic(1.0, 1.0, -1.0, [0.0]), "founders must be a finite number above 0"),
        (lambda: leslie.fit_logistic([[1.0]]), "counts must be a 1-dimensional array"),
        (lambda: leslie.fit_logistic([1.0, 2.0, np.nan]), "counts must hold at least three numbers, got 2"),
        (lambda: leslie.fit_logistic([1.0, 2.0, -3.0]), "numbers of at least 0"),
        (lambda: leslie.fit_logistic([1.0, 2.0, 3.0], founders=0), "founders must be"),
        (lambda: leslie.lotka_volterra([1.0], [0.0], [[1.0]], [1.0], [0.0]), "capacity must be above 0"),
        (lambda: leslie.lotka_volterra([1.0], [1.0], [1.0], [1.0], [0.0]), r"competition must be finite with shape"),
        (lambda: leslie.lotka_volterra([1.0], [1.0], [[1.0]], [1.0], [1.0, 0.0]), "days must be a row of rising"),
        (lambda: leslie.fit_lotka_volterra(NUMPY[0][0], NUMPY[1]), "counts must be a 3-dimensional array"),
        (lambda: leslie.fit_lotka_volterra(NUMPY[0], NUMPY[1] * 1.0), "counts and present must have shapes"),
        (lambda: leslie.fit_lotka_volterra(*NUMPY, founders=-2), "founders must be"),
        (lambda: leslie.fit_lotka_volterra(*NUMPY, train_days=2), "train_days must be an integer from 3 to 26, got 2"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("model", [leslie.LeslieGower(3, 2), leslie.LinearCompetition(3)], ids=["density", "linear"])
def test_one_experiment_may_be_a_vector(model):
    alone = model.rollout([2.0, 1.0], 5)
    assert alone.shape == (2, 6)
    torch.testing.assert_close(alone, model.rollout([[2.0, 1.0], [2.0, 0.0]], 5)[0])


def test_a_fit_needs_a_number_after_day_0():
    counts = torch.where(torch.arange(26) < 22, float("nan"), COUNTS)
    with pytest.raises(ValueError, match="counts must hold a number on days 1 to 20, which are fitted"):
        leslie.fit_leslie_gower(counts, PRESENT, steps=1)


def test_the_models_do_not_mix_types():
    with pytest.raises(
        ValueError, match=r"survival must have the dtype of fecundity, torch\.float64, got torch\.float32"
    ):
        leslie.leslie_gower_totals(ONES, ONES[:, :0].float(), ONES, ONES[None], 3)


def test_growth_that_never_starts_is_refused():
    with pytest.raises(ValueError, match="counts must hold a number above 0, got only 0"):
        leslie.fit_logistic([0.0, 0.0, 0.0])
    with pytest.raises(ValueError, match="counts must hold a number above 0 of each species on the fitted days"):
        leslie.fit_lotka_volterra(NUMPY[0][1:2], NUMPY[1][1:2])


def test_the_errors_of_a_fit_are_those_of_a_plain_loop(one_class):
    """Loss by definition: every counted number of a species that was put in, days 0 to 20 seen, 21 to 25 held out."""
    fecundity = one_class.model.fecundity[:, 0].tolist()
    crowding = one_class.model.crowding.tolist()
    seen, held_out = [], []
    for experiment in range(3):
        now = [2.0 * PRESENT[experiment, species].item() for species in (0, 1)]
        for day in range(26):
            for species in (0, 1):
                counted = COUNTS[experiment, species, day].item()
                if PRESENT[experiment, species] and not math.isnan(counted):
                    error = math.log1p(now[species]) - math.log1p(counted)
                    (seen if day <= 20 else held_out).append(error**2)
            crowd = [1 + sum(k * n for k, n in zip(row, now, strict=True)) for row in crowding]
            now = [f * n / by for f, n, by in zip(fecundity, now, crowd, strict=True)]
    assert (len(seen), len(held_out)) == (80, 20)  # four curves; day 1 was not counted
    assert float(one_class.train) == pytest.approx(math.sqrt(sum(seen) / 80), rel=1e-12)
    assert float(one_class.test) == pytest.approx(math.sqrt(sum(held_out) / 20), rel=1e-12)
