"""Worst cases: scipy's linear programs, published numbers, limits of the radius, invariants."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from lib.rl import tabular

SEEDS = st.integers(0, 2**31 - 1)
EXACT = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}  # 1e-7 by default
KINDS = {"l1": 2.0, "tv": 1.0, "contamination": 1.0}


def problem(seed, *batch, states=4, actions=2):
    return tabular.garnet(states, actions, 3, torch.Generator().manual_seed(seed), batch)


def worst_by_linprog(p, values, kind, radius):
    """Smallest expectation over the neighbourhood: variables q and, for the distance, |q - p|."""
    n = len(p)
    if kind == "contamination":
        answer = linprog(values, A_eq=np.ones((1, n)), b_eq=[1], bounds=(0, 1))
        return (1 - radius) * p @ values + radius * answer.fun
    identity = np.eye(n)
    above = np.block([[identity, -identity], [-identity, -identity], [np.zeros((1, n)), np.ones((1, n))]])
    reach = radius if kind == "l1" else 2 * radius
    right = np.concatenate([p, -p, [reach]])
    total = np.concatenate([np.ones(n), np.zeros(n)])[None]
    cost = np.concatenate([values, np.zeros(n)])
    return linprog(cost, A_ub=above, b_ub=right, A_eq=total, b_eq=[1], bounds=(0, None), options=EXACT).fun


@given(SEEDS, st.integers(1, 6), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_sorted_solution_equals_the_linear_program(seed, n, thousandths):
    """Radii are multiples of 0.001, far above what the solver neglects."""
    radius = thousandths / 1000
    generator = torch.Generator().manual_seed(seed)
    p = torch.rand(n, generator=generator, dtype=torch.float64) ** 3
    p = p / p.sum()
    values = torch.randint(-3, 4, (n,), generator=generator).double()
    expected = worst_by_linprog(p.numpy(), values.numpy(), "tv", radius)
    assert float(tabular.tv_robust_expectation(p, values, radius)) == pytest.approx(expected, abs=1e-9)
    worst = tabular.tv_worst_distribution(p, values, radius)
    assert float(worst @ values) == pytest.approx(expected, abs=1e-9)
    assert float((worst - p).abs().sum() / 2) <= radius + 1e-12
    assert float(worst.sum()) == pytest.approx(1, abs=1e-12)
    assert worst.min() >= -1e-15


def test_published_exercise_and_floor():
    mu, values = [0.2, 0.5, 0.3], [0.0, 1.0, 3.0]
    assert float(tabular.tv_robust_expectation(mu, values, 0.25)) == pytest.approx(0.65, abs=1e-12)
    assert float(tabular.tv_robust_expectation(mu, values, 0)) == pytest.approx(1.4, abs=1e-12)
    assert float(tabular.tv_robust_expectation(mu, values, 1)) == pytest.approx(0, abs=1e-12)
    # A floor is a further outcome of chance 0.
    for radius in (0.1, 0.4, 1.0):
        with_floor = tabular.tv_robust_expectation(mu, values, radius, floor=-2.0)
        longer = tabular.tv_robust_expectation([*mu, 0.0], [*values, -2.0], radius)
        torch.testing.assert_close(with_floor, longer)
    assert float(tabular.tv_robust_expectation(mu, values, 0.25, floor=9.0)) == pytest.approx(0.65, abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_operator_equals_linear_programs(kind):
    P, R = problem(0)
    V = torch.randn(4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    radius = KINDS[kind] * torch.rand(4, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    expected = np.zeros((4, 2))
    for s, a in itertools.product(range(4), range(2)):
        worst = worst_by_linprog(P[s, a].numpy(), V.numpy(), kind, float(radius[s, a]))
        expected[s, a] = R[s, a] + 0.9 * worst
    found = tabular.robust_bellman_operator(P, R, 0.9, V, radius, kind)
    np.testing.assert_allclose(found, expected.max(axis=1), atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_limits_of_the_radius(kind):
    """Radius 0 is the plain problem; at the largest the next state is the worst there is."""
    P, R = problem(1)
    plain = tabular.robust_value_iteration(P, R, 0.9, 0.0, kind)
    torch.testing.assert_close(plain.V, tabular.policy_iteration(P, R, 0.9).V, rtol=0, atol=2e-8)
    worst = tabular.robust_value_iteration(P, R, 0.9, KINDS[kind], kind)
    best = R.amax(dim=-1)
    torch.testing.assert_close(worst.V, best + 0.9 / (1 - 0.9) * best.min(), rtol=0, atol=2e-8)


@given(SEEDS, st.sampled_from(list(KINDS)), st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=30, deadline=None)
def test_values_fall_with_the_radius_and_are_attained(seed, kind, one, other):
    P, R = problem(seed)
    small, large = sorted((one * KINDS[kind], other * KINDS[kind]))
    near = tabular.robust_value_iteration(P, R, 0.8, small, kind)
    far = tabular.robust_value_iteration(P, R, 0.8, large, kind)
    assert (far.V <= near.V + 2e-8).all()
    # The robust policy earns the robust value, and no policy more.
    played = tabular.robust_policy_value(P, R, 0.8, far.policy, large, kind)
    torch.testing.assert_close(played, far.V, rtol=0, atol=1e-7)
    coin = tabular.robust_policy_value(P, R, 0.8, [[0.5, 0.5]] * 4, large, kind)
    assert (coin <= far.V + 2e-8).all()
    fixed = tabular.robust_bellman_operator(P, R, 0.8, far.V, large, kind)
    torch.testing.assert_close(fixed, far.V, rtol=0, atol=2e-8)


def test_the_worst_table_gives_the_robust_value():
    """Nature's answer to the optimal values, played as an ordinary table."""
    P, R = problem(2)
    found = tabular.robust_value_iteration(P, R, 0.9, 0.3, "tv", 1e-10)
    table = tabular.tv_worst_distribution(P, found.V, 0.3)
    torch.testing.assert_close(tabular.policy_iteration(table, R, 0.9).V, found.V, rtol=0, atol=1e-8)


@given(SEEDS, st.sampled_from(list(KINDS)), st.floats(0, 1), st.floats(-3, 3))
@settings(max_examples=30, deadline=None)
def test_operator_contracts_is_monotone_and_commutes_with_constants(seed, kind, radius, constant):
    P, R = problem(seed)
    V, W = torch.randn(2, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)

    def operator(V):
        return tabular.robust_bellman_operator(P, R, 0.9, V, radius * KINDS[kind], kind)

    assert (operator(V) - operator(W)).abs().max() <= 0.9 * (V - W).abs().max() + 1e-12
    assert (operator(torch.maximum(V, W)) >= operator(V) - 1e-12).all()
    torch.testing.assert_close(operator(V + constant), operator(V) + 0.9 * constant)


def test_l1_is_twice_total_variation():
    P, R = problem(3)
    one = tabular.robust_value_iteration(P, R, 0.9, 0.4, "l1")
    other = tabular.robust_value_iteration(P, R, 0.9, 0.2, "tv")
    torch.testing.assert_close(one.V, other.V)


def test_batched_equals_looped():
    P, R = problem(4, 5)
    radius = torch.linspace(0, 1, 5, dtype=torch.float64)[:, None, None].expand(5, 4, 2)
    for kind in KINDS:
        together = tabular.robust_value_iteration(P, R, 0.9, radius, kind)
        pi = torch.tensor([0, 1, 1, 0])
        values = tabular.robust_policy_value(P, R, 0.9, pi, radius, kind)
        for one in range(5):
            alone = tabular.robust_value_iteration(P[one], R[one], 0.9, radius[one], kind)
            torch.testing.assert_close(together.V[one], alone.V, rtol=0, atol=1e-12)
            value = tabular.robust_policy_value(P[one], R[one], 0.9, pi, radius[one], kind)
            torch.testing.assert_close(values[one], value, rtol=0, atol=1e-12)
    # Many radii for one problem.
    many = tabular.robust_value_iteration(P[0], R[0], 0.9, radius)
    torch.testing.assert_close(many.V[0], tabular.value_iteration(P[0], R[0], 0.9).V, rtol=0, atol=1e-8)


def test_worst_of_finitely_many_tables():
    """Every combination of tables over states and actions: the smallest optimum of all."""
    P, R = tabular.garnet(2, 2, 2, torch.Generator().manual_seed(5), (2,))
    R = R[0]
    values = []
    for choice in itertools.product(range(2), repeat=4):
        pick = torch.tensor(choice).reshape(2, 2)
        table = torch.stack([torch.stack([P[pick[s, a], s, a] for a in range(2)]) for s in range(2)])
        values.append(tabular.policy_iteration(table, R, 0.9).V)
    found = tabular.worst_of_tables(P, R, 0.9)
    torch.testing.assert_close(found.V, torch.stack(values).amin(dim=0), rtol=0, atol=2e-8)
    single = tabular.worst_of_tables(P[:1], R, 0.9)
    torch.testing.assert_close(single.V, tabular.value_iteration(P[0], R, 0.9).V)
    batch = tabular.worst_of_tables(P[None].expand(3, -1, -1, -1, -1), R, [0.5, 0.9, 0.0])
    torch.testing.assert_close(batch.V[1], found.V)


def test_gradients():
    mu = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64, requires_grad=True)
    values = torch.tensor([0.0, 1.0, 3.0], dtype=torch.float64, requires_grad=True)
    radius = torch.tensor(0.25, dtype=torch.float64, requires_grad=True)

    def everything(mu, values, radius):
        return tabular.tv_robust_expectation(mu / mu.sum(), values, radius)

    assert torch.autograd.gradcheck(everything, (mu, values, radius))
