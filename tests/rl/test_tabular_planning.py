"""Planners for tables: brute force over policies, each other, scipy's linear programs, closed forms, invariants."""

import itertools
import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp

from lib.rl import _many_problems, tabular
from tests.absent import without_numba

STAY_OR_SWITCH = [[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]]
PLANNERS = (tabular.value_iteration, tabular.modified_policy_iteration, tabular.policy_iteration)
SEEDS = st.integers(0, 2**31 - 1)


def problem(seed, *batch, states=4, actions=3, branching=3):
    return tabular.garnet(states, actions, branching, torch.Generator().manual_seed(seed), batch)


def reals(seed, *sizes):
    return torch.randn(*sizes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def value_in_numpy(P, R, gamma, pi):
    """Value of a deterministic policy, written with numpy's solver."""
    rows = np.arange(len(pi))
    return np.linalg.solve(np.eye(len(pi)) - gamma * P.numpy()[rows, pi], R.numpy()[rows, pi])


@pytest.mark.parametrize("planner", PLANNERS)
@pytest.mark.parametrize("seed", range(4))
def test_the_best_of_all_deterministic_policies(planner, seed):
    P, R = problem(seed)
    gamma = (0.0, 0.5, 0.9, 0.99)[seed]
    policies = list(itertools.product(range(3), repeat=4))
    values = np.array([value_in_numpy(P, R, gamma, policy) for policy in policies])
    found = planner(P, R, gamma)
    np.testing.assert_allclose(found.V, values.max(axis=0), atol=1e-8)
    np.testing.assert_allclose(found.V, values[policies.index(tuple(found.policy.tolist()))], atol=2e-8)
    torch.testing.assert_close(found.Q.amax(dim=-1), found.V, atol=1e-12, rtol=0)
    torch.testing.assert_close(found.Q, tabular.action_values(P, R, gamma, found.V), atol=2e-8, rtol=0)


@pytest.mark.parametrize("planner", PLANNERS)
def test_closed_form_of_two_states(planner):
    """Staying in state 1 pays 1 for ever, 1 / (1 - gamma); state 0 is one step away."""
    gamma = torch.tensor([0.0, 0.5, 0.9, 0.999], dtype=torch.float64)
    found = planner(STAY_OR_SWITCH, [[0.0, 0.0], [1.0, 1.0]], gamma)
    best = 1 / (1 - gamma)
    torch.testing.assert_close(found.V, torch.stack([gamma * best, best], dim=-1), rtol=0, atol=1e-8)
    assert found.policy[1:].tolist() == [[1, 0]] * 3


@pytest.mark.parametrize("planner", PLANNERS)
def test_published_example_of_puterman(planner):
    """M. L. Puterman, example 3.1 at discount 0.95, also in the manual of quantecon: V = (-8.571429, -20)."""
    P = [[[0.5, 0.5], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]]
    found = planner(P, [[5.0, 10.0], [-1.0, -1.0]], 0.95)
    np.testing.assert_allclose(found.V, [-60 / 7, -20], atol=1e-8)  # -8.5714
    assert found.policy[0] == 0


@given(SEEDS, st.floats(0, 0.98))
@settings(max_examples=25, deadline=None)
def test_planners_agree_and_keep_their_bound(seed, gamma):
    P, R = problem(seed, states=6)
    exact = tabular.policy_iteration(P, R, gamma)
    for planner in PLANNERS[:2]:
        found = planner(P, R, gamma, 1e-6)
        assert found.error <= 1e-6
        assert (found.V - exact.V).abs().max() <= found.error + 1e-10
        assert (found.Q - exact.Q).abs().max() <= found.error + 1e-10
        loss = exact.V - tabular.policy_value(P, R, gamma, found.policy)
        assert loss.max() <= 2 * found.error + 1e-10
        assert loss.min() >= -1e-10


@pytest.mark.parametrize("seed", range(3))
def test_linear_program(seed):
    """scipy's optimum and its dual: the values, and the occupancy of an optimal policy."""
    P, R = problem(seed, 2, states=5)
    start = torch.softmax(reals(seed, 5), dim=-1)
    program = tabular.linear_program(P, R, 0.9, start)
    found = tabular.policy_iteration(P, R, 0.9)
    torch.testing.assert_close(program.V, found.V, atol=1e-8, rtol=0)
    expected = tabular.discounted_occupancy(P, 0.9, found.policy, start)
    torch.testing.assert_close(program.occupancy, expected, atol=1e-8, rtol=0)


@pytest.mark.parametrize("planner", PLANNERS)
def test_batched_equals_looped(planner):
    P, R = problem(3, 7, states=5)
    gamma = torch.linspace(0, 0.98, 7, dtype=torch.float64)
    together = planner(P, R, gamma)
    for member in range(7):
        alone = planner(P[member], R[member], gamma[member])
        for name in ("V", "Q"):
            torch.testing.assert_close(getattr(together, name)[member], getattr(alone, name), rtol=0, atol=1e-12)
        assert together.policy[member].equal(alone.policy)
    # One table for many rewards, many tables for one reward, many discounts for one problem.
    assert planner(P[0], R, 0.9).V.shape == (7, 5)
    torch.testing.assert_close(planner(P[0], R, 0.9).V[4], planner(P[0], R[4], 0.9).V, rtol=0, atol=1e-12)
    torch.testing.assert_close(planner(P, R[0], 0.9).V[4], planner(P[4], R[0], 0.9).V, rtol=0, atol=1e-12)
    torch.testing.assert_close(planner(P[0], R[0], gamma).V[4], planner(P[0], R[0], gamma[4]).V, rtol=0, atol=1e-12)
    grid = planner(P[:, None], R[None], 0.5)
    torch.testing.assert_close(grid.V[2, 3], planner(P[2], R[3], 0.5).V, rtol=0, atol=1e-12)


@pytest.mark.parametrize("planner", PLANNERS)
def test_ties_and_tolerances_below_rounding_end(planner):
    """Actions that are all the same, and an error that float64 cannot reach."""
    P, R = problem(0, states=3)
    same = P[:, :1].expand(3, 3, 3)
    found = planner(same, R[:, :1].expand(3, 3), 0.999)
    torch.testing.assert_close(found.V, tabular.policy_value(same, R, 0.999, [[1.0, 0.0, 0.0]] * 3), rtol=1e-9, atol=0)
    if planner is not tabular.policy_iteration:
        found = planner(P, R, 0.999, 1e-300)
        assert 0 <= found.error < 1e-9
        torch.testing.assert_close(found.V, tabular.policy_iteration(P, R, 0.999).V, rtol=1e-10, atol=0)


def test_periodic_chains_converge():
    """Two states that swap for ever: the spread shrinks by gamma only."""
    P = [[[0.0, 1.0]], [[1.0, 0.0]]]
    for planner in PLANNERS:
        V = planner(P, [[1.0], [0.0]], 0.95).V
        np.testing.assert_allclose(V, [1 / (1 - 0.95**2), 0.95 / (1 - 0.95**2)], atol=1e-8)


def test_warm_starts_take_fewer_sweeps():
    P, R = problem(5, states=20)
    cold = tabular.value_iteration(P, R, 0.95)
    for planner in PLANNERS[:2]:
        warm = planner(P, R, 0.95, V0=cold.V)
        assert warm.sweeps <= 2
        torch.testing.assert_close(warm.V, cold.V, rtol=0, atol=2e-8)
    again = tabular.policy_iteration(P, R, 0.95, policy=cold.policy)
    assert again.sweeps == 1
    torch.testing.assert_close(again.V, cold.V, rtol=0, atol=1e-8)


def test_unvalidated_tables_give_the_same():
    mdp = tabular.TabularMDP(*problem(2), gamma=0.9)
    for planner in PLANNERS:
        checked = planner(mdp.P, mdp.R, mdp.gamma)
        assert planner(mdp.P, mdp.R, mdp.gamma, validate=False).V.equal(checked.V)


def test_single_precision():
    P, R = (table.float() for table in problem(2))
    for planner in PLANNERS:
        found = planner(P, R, 0.9)
        assert found.V.dtype == torch.float32
        exact = tabular.policy_iteration(P.double() / P.double().sum(-1, keepdim=True), R.double(), 0.9).V
        torch.testing.assert_close(found.V.double(), exact, rtol=1e-5, atol=0)


@given(SEEDS, st.floats(0, 0.99), st.floats(-3, 3))
@settings(max_examples=30, deadline=None)
def test_operators_contract_are_monotone_and_commute_with_constants(seed, gamma, constant):
    P, R = problem(seed)
    V, W = reals(seed + 1, 2, 4)
    chances = torch.softmax(reals(seed + 2, 4, 3), dim=-1)
    operators = (
        lambda V: tabular.bellman_operator(P, R, gamma, V),
        lambda V: tabular.policy_operator(P, R, gamma, V, chances),
        lambda V: tabular.soft_bellman_operator(P, R, gamma, V, 0.3),
        lambda V: tabular.soft_bellman_operator(P, R, gamma, V, 0.3, chances),
    )
    for operator in operators:
        assert (operator(V) - operator(W)).abs().max() <= gamma * (V - W).abs().max() + 1e-12
        assert (operator(torch.maximum(V, W)) >= operator(V) - 1e-12).all()
        torch.testing.assert_close(operator(V + constant), operator(V) + gamma * constant)


@given(SEEDS, st.floats(0.1, 0.97))
@settings(max_examples=25, deadline=None)
def test_greedy_improves_every_policy(seed, gamma):
    P, R = problem(seed)
    pi = torch.softmax(reals(seed, 4, 3), dim=-1)
    before = tabular.policy_value(P, R, gamma, pi)
    better = tabular.greedy(tabular.policy_action_values(P, R, gamma, pi))
    assert (tabular.policy_value(P, R, gamma, better) >= before - 1e-10).all()


@given(SEEDS, st.floats(0, 0.98))
@settings(max_examples=25, deadline=None)
def test_occupancy_sums_to_one_and_gives_the_value(seed, gamma):
    P, R = problem(seed)
    start = torch.softmax(reals(seed, 4), dim=-1)
    for pi in (torch.softmax(reals(seed + 1, 4, 3), dim=-1), torch.tensor([2, 0, 1, 1])):
        d = tabular.discounted_occupancy(P, gamma, pi, start)
        assert float(d.sum()) == pytest.approx(1, abs=1e-12)
        assert d.min() >= -1e-15
        value = tabular.policy_value(P, R, gamma, pi) @ start
        assert float((d * R).sum() / (1 - gamma)) == pytest.approx(float(value), abs=1e-10)
        # Balance: what comes in is what starts there and what flows there.
        balance = (1 - gamma) * start + gamma * torch.einsum("sa,sat->t", d, P)
        torch.testing.assert_close(d.sum(dim=-1), balance, rtol=0, atol=1e-12)
    torch.testing.assert_close(
        tabular.occupancy_policy(tabular.discounted_occupancy(P, gamma, pi)).argmax(-1), torch.as_tensor(pi)
    )


def test_values_of_policies():
    """Actions as integers and as chances; the sum of discounted rewards; two states under a coin."""
    P, R = problem(1)
    actions = torch.tensor([0, 2, 1, 1])
    chances = torch.nn.functional.one_hot(actions, 3).double()
    torch.testing.assert_close(tabular.policy_value(P, R, 0.9, actions), tabular.policy_value(P, R, 0.9, chances))
    np.testing.assert_allclose(
        tabular.policy_value(P, R, 0.9, actions), value_in_numpy(P, R, 0.9, [0, 2, 1, 1]), rtol=1e-12
    )
    law, total = np.eye(4), np.zeros(4)
    pi = torch.softmax(reals(0, 4, 3), dim=-1)
    chain = np.einsum("sa,sat->st", pi, P)
    for step in range(400):
        total += 0.9**step * law @ (pi * R).sum(dim=-1).numpy()
        law = law @ chain
    np.testing.assert_allclose(tabular.policy_value(P, R, 0.9, pi), total, rtol=1e-12)
    uniform = tabular.policy_value(STAY_OR_SWITCH, [[0.0, 0.0], [1.0, 1.0]], 0.9, [[0.5, 0.5]] * 2)
    np.testing.assert_allclose(uniform, [4.5, 5.5], rtol=1e-12)
    Q = tabular.policy_action_values(P, R, 0.9, pi)
    torch.testing.assert_close((pi * Q).sum(dim=-1), tabular.policy_value(P, R, 0.9, pi))


def test_evaluation_is_batched():
    P, R = problem(4, 3)
    pi = torch.softmax(reals(4, 3, 4, 3), dim=-1)
    for member in range(3):
        torch.testing.assert_close(
            tabular.policy_value(P, R, 0.9, pi)[member], tabular.policy_value(P[member], R[member], 0.9, pi[member])
        )
        torch.testing.assert_close(
            tabular.discounted_occupancy(P, 0.9, pi, 2)[member],
            tabular.discounted_occupancy(P[member], 0.9, pi[member], [0.0, 0.0, 1.0, 0.0]),
        )
    assert tabular.policy_value(P[0], R[0], 0.9, pi).shape == (3, 4)
    every = torch.tensor(list(itertools.product(range(3), repeat=4)))
    assert tabular.policy_value(P[0], R[0], 0.9, every).shape == (81, 4)


def test_soft_values():
    Q = reals(0, 5, 4)
    reference = torch.softmax(reals(1, 5, 4), dim=-1)
    for temperature in (0.01, 0.5, 3.0):
        expected = temperature * logsumexp(Q / temperature, b=reference, axis=-1)
        np.testing.assert_allclose(tabular.soft_value(Q, temperature, reference), expected, rtol=1e-12)
        pi = tabular.soft_policy(Q, temperature, reference)
        divergence = (pi * (pi / reference).log()).sum(dim=-1)
        np.testing.assert_allclose((pi * Q).sum(dim=-1) - temperature * divergence, expected, rtol=1e-10)
        other = torch.softmax(reals(2, 5, 4), dim=-1)
        lost = (other * Q).sum(-1) - temperature * (other * (other / reference).log()).sum(-1)
        assert (lost <= torch.as_tensor(expected)).all()
    torch.testing.assert_close(tabular.soft_value(Q, 1e-6, reference), Q.amax(-1), rtol=0, atol=1e-4)
    torch.testing.assert_close(tabular.soft_value(Q, 0.0, reference), Q.amax(-1))
    torch.testing.assert_close(tabular.soft_value(Q, 1e6, reference), (reference * Q).sum(-1), rtol=0, atol=1e-5)
    # Actions outside the reference count for nothing, however large.
    torch.testing.assert_close(tabular.soft_value([[1.0, 900.0]], 0.1, [[1.0, 0.0]]).tolist(), [1.0])
    assert tabular.soft_policy([[1.0, 900.0], [2.0, 2.0]], 0.0, [[1.0, 0.0], [0.25, 0.75]]).tolist() == [
        [1.0, 0.0],
        [0.25, 0.75],
    ]


def test_soft_value_iteration():
    """The fixed point is the value of its policy, entropy included; temperature 0 is value iteration."""
    P, R = problem(6)
    reference = torch.softmax(reals(3, 4, 3), dim=-1)
    found = tabular.soft_value_iteration(P, R, 0.9, 0.2, reference)
    torch.testing.assert_close(
        tabular.soft_bellman_operator(P, R, 0.9, found.V, 0.2, reference), found.V, rtol=0, atol=2e-8
    )
    cost = (found.policy * (found.policy / reference).log()).sum(dim=-1, keepdim=True)
    paid = tabular.policy_value(P, R - 0.2 * cost, 0.9, found.policy)
    torch.testing.assert_close(paid, found.V, rtol=0, atol=1e-7)
    cold = tabular.soft_value_iteration(P, R, 0.9, 0.0)
    torch.testing.assert_close(cold.V, tabular.value_iteration(P, R, 0.9).V, rtol=0, atol=1e-12)
    many = tabular.soft_value_iteration(P, R, 0.9, [0.0, 0.2, 1.0], reference)
    torch.testing.assert_close(many.V[1], found.V, rtol=0, atol=1e-12)
    assert many.policy.shape == (3, 4, 3)
    assert (many.V.diff(dim=0) <= 1e-8).all()


def test_sweeps_for_pictures():
    P, R = problem(7)
    path = tabular.value_sweeps(P, R, 0.9, 30)
    V = torch.zeros(4, dtype=torch.float64)
    for step in range(31):
        torch.testing.assert_close(path[step], V)
        V = tabular.bellman_operator(P, R, 0.9, V)
    best = tabular.policy_iteration(P, R, 0.9).V
    gaps = (path - best).abs().amax(dim=-1)
    assert (gaps[1:] <= 0.9 * gaps[:-1] + 1e-12).all()


def test_rewards_of_the_next_state():
    P, _ = problem(8)
    rewards = reals(8, 4, 3, 4)
    expected = np.einsum("sat,sat->sa", P, rewards)
    np.testing.assert_allclose(tabular.expected_rewards(P, rewards), expected, rtol=1e-12)


def test_gradients():
    logits, R = reals(1, 3, 2, 3).requires_grad_(), reals(2, 3, 2).requires_grad_()
    gamma = torch.tensor(0.8, dtype=torch.float64, requires_grad=True)

    def everything(logits, R, gamma):
        P = torch.softmax(logits, dim=-1)
        pi = torch.softmax(R, dim=-1)
        value = tabular.policy_value(P, R, gamma, pi)
        soft = tabular.soft_bellman_operator(P, R, gamma, value, 0.5)
        path = tabular.value_sweeps(P, R, gamma, 3)
        return value, soft, path, tabular.discounted_occupancy(P, gamma, pi)

    assert torch.autograd.gradcheck(everything, (logits, R, gamma))


def many_small_problems():
    """More than a block of the compiled loops, and no whole number of blocks, with a discount each."""
    P, R = problem(9, 150, states=7, branching=2)
    return P, R, torch.linspace(0, 0.995, 150, dtype=torch.float64)


def in_plain_torch(monkeypatch, P, R, gamma, planner=tabular.policy_iteration, **options):
    with monkeypatch.context() as patched:
        patched.setattr(_many_problems, "PROBLEMS", math.inf)
        return planner(P, R, gamma, **options)


def compiled_only(monkeypatch):
    """From here on what compiled loops do not solve fails."""
    monkeypatch.setattr("lib.rl.bellman.q_values", None)


@pytest.mark.parametrize("first", [None, 1])
def test_compiled_loops_equal_plain_torch(monkeypatch, first):
    P, R, gamma = many_small_problems()
    options = {} if first is None else {"policy": torch.full((150, 7), first)}
    compiled = tabular.policy_iteration(P, R, gamma, **options)
    plain = in_plain_torch(monkeypatch, P, R, gamma, **options)
    torch.testing.assert_close(compiled.V, plain.V, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(compiled.Q, plain.Q, rtol=1e-12, atol=1e-12)
    assert compiled.policy.equal(plain.policy)
    assert (compiled.error < 1e-9).all()
    assert compiled.sweeps == plain.sweeps
    # Tables that are shared, in a grid, or not contiguous.
    grid = tabular.policy_iteration(P[:10, None], R[:12], 0.9)
    assert grid.V.shape == (10, 12, 7)
    torch.testing.assert_close(grid.V[3, 5], tabular.policy_iteration(P[3], R[5], 0.9).V)
    turned = tabular.policy_iteration(P.transpose(0, 1).contiguous().transpose(0, 1), R, gamma)
    torch.testing.assert_close(turned.V, compiled.V, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("planner", PLANNERS[:2])
@pytest.mark.parametrize("warm", [False, True])
def test_compiled_sweeps_equal_plain_torch(monkeypatch, planner, warm):
    P, R, gamma = many_small_problems()
    options = {"tol": 1e-9, "V0": reals(1, 150, 7) if warm else None}
    compiled = planner(P, R, gamma, **options)
    plain = in_plain_torch(monkeypatch, P, R, gamma, planner, **options)
    for name in ("V", "Q", "error"):
        torch.testing.assert_close(getattr(compiled, name), getattr(plain, name), rtol=1e-10, atol=1e-10)
    assert compiled.policy.equal(plain.policy)
    assert compiled.error.max() <= 1e-9
    assert compiled.sweeps == plain.sweeps
    exact = tabular.policy_iteration(P, R, gamma)
    assert ((compiled.V - exact.V).abs().amax(dim=-1) <= compiled.error + 1e-11).all()
    assert ((compiled.Q - exact.Q).abs().amax(dim=(-2, -1)) <= compiled.error + 1e-11).all()


@pytest.mark.parametrize("planner", PLANNERS)
@pytest.mark.parametrize(("states", "actions"), [(1, 1), (1, 3), (2, 1), (3, 2), (16, 5), (31, 2), (32, 3)])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 0.9999])
def test_compiled_loops_of_all_sizes(monkeypatch, planner, states, actions, gamma):
    """One state, one action, odd and even numbers: each problem as numpy solves its best policy."""
    P, R = problem(states, 67, states=states, actions=actions, branching=min(states, 3))
    compiled_only(monkeypatch)
    found = planner(P, R, gamma)
    for member in range(0, 67, 11):
        value = value_in_numpy(P[member], R[member], gamma, found.policy[member].numpy())
        Q = R[member].numpy() + gamma * P[member].numpy() @ value
        np.testing.assert_allclose(Q.max(axis=-1), value, rtol=1e-8, atol=1e-8)
        np.testing.assert_allclose(found.V[member], value, rtol=1e-10, atol=1e-8)
        np.testing.assert_allclose(found.Q[member], Q, rtol=1e-10, atol=1e-8)


@pytest.mark.parametrize("planner", PLANNERS)
def test_compiled_loops_take_the_first_of_actions_that_tie(monkeypatch, planner):
    P, R = problem(2, 80, states=5, actions=1)
    compiled_only(monkeypatch)
    found = planner(P.expand(80, 5, 4, 5).contiguous(), R.expand(80, 5, 4).contiguous(), 0.99)
    assert not found.policy.any()
    torch.testing.assert_close(found.V[..., None].expand(80, 5, 4), found.Q, rtol=1e-12, atol=0)
    alone = value_in_numpy(P[7], R[7], 0.99, [0] * 5)
    np.testing.assert_allclose(found.V[7], alone, rtol=1e-10, atol=1e-8)


@pytest.mark.parametrize("planner", PLANNERS)
def test_compiled_loops_take_the_arguments_of_torch(monkeypatch, planner):
    """Arrays, shared discounts, tables in a grid; zeros with a sign are zeros."""
    P, R, gamma = many_small_problems()
    expected = in_plain_torch(monkeypatch, P, R, gamma, planner)
    P = torch.where(P == 0, -P, P)
    compiled_only(monkeypatch)
    for found in (
        planner(P, R, gamma),
        planner(P.numpy(), R.numpy(), gamma.numpy()),
        planner(P, R, gamma, validate=False),
        planner(P.reshape(10, 15, 7, 3, 7), R.reshape(10, 15, 7, 3), gamma.reshape(10, 15)),
        planner(P, R[None], gamma),
    ):
        torch.testing.assert_close(found.V.reshape(150, 7), expected.V, rtol=1e-10, atol=1e-8)
    assert found.V.shape == found.policy.shape == (1, 150, 7)
    assert found.error.shape == (1, 150)
    scalar = planner(P, R, torch.tensor(0.9, dtype=torch.float64))
    torch.testing.assert_close(scalar.V, planner(P, R, 0.9).V)


@pytest.mark.parametrize("planner", PLANNERS)
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda P, R: P[140, 3, 1].add_(0.1), "P must have rows that sum to 1, got 1.7"),
        (
            lambda P, R: P[7, 3, 1].copy_(torch.eye(7)[0] * 3 - torch.eye(7)[1] * 2),
            "P must have entries of at least 0, got -2",
        ),
        (
            lambda P, R: P[0, 6, 2].copy_(torch.eye(7)[0]).select(0, 6).fill_(-1e-300),
            "P must have entries of at least 0, got -1e-300",
        ),
        (lambda P, R: P[149, 3, 1, 2].fill_(math.nan), "P must have rows that sum to 1, got nan"),
        (lambda P, R: P[0, 3, 1, 2].fill_(math.inf), "P must have rows that sum to 1, got inf"),
        (lambda P, R: R[149, 6, 2].fill_(-math.inf), "R must be finite, but holds NaN or infinity"),
        (lambda P, R: R[0, 0, 0].fill_(math.nan), "R must be finite, but holds NaN or infinity"),
    ],
)
def test_compiled_loops_refuse_what_torch_refuses(monkeypatch, planner, spoil, message):
    P, R, gamma = many_small_problems()
    spoil(P, R)
    for discount in (0.9, gamma):
        with pytest.raises(ValueError, match=message):
            planner(P, R, discount)
    with pytest.raises(ValueError, match=message):
        in_plain_torch(monkeypatch, P, R, gamma, planner)


@pytest.mark.parametrize("planner", PLANNERS)
@pytest.mark.parametrize("gamma", [1.0, -0.1, math.nan, torch.tensor(1.0, dtype=torch.float64)])
def test_compiled_loops_refuse_discounts_out_of_range(planner, gamma):
    P, R, _ = many_small_problems()
    with pytest.raises(ValueError, match="gamma must"):
        planner(P, R, gamma)


@pytest.mark.parametrize("planner", PLANNERS)
def test_compiled_loops_end_on_tables_that_nobody_checked(planner):
    P, R, gamma = many_small_problems()
    P[3, 2, 1, 0], R[5, 0, 0] = math.nan, -math.inf
    found = planner(P, R, gamma, validate=False)
    right = planner(*(table[6:140].clone() for table in (P, R, gamma)))
    torch.testing.assert_close(found.V[6:140], right.V)


def test_gradients_pass_through_starting_values():
    """Values after one sweep are differentiable in those before it: the compiled loops stand aside."""
    P, R, _ = many_small_problems()
    V0 = torch.zeros(150, 7, dtype=torch.float64, requires_grad=True)
    tabular.value_iteration(P, R, 0.5, 1e3, V0=V0).V.sum().backward()
    assert V0.grad.abs().sum() > 0


def test_rewards_alone_are_the_values_where_nothing_follows():
    P, R = problem(3)
    found = tabular.modified_policy_iteration(P, R, 0.0)
    assert found.Q.equal(R)
    assert found.V.equal(R.amax(dim=-1))
    assert found.sweeps == 1


def test_gradients_pass_through_many_small_problems():
    P, R, gamma = many_small_problems()
    R.requires_grad_()
    (slope,) = torch.autograd.grad(tabular.policy_iteration(P, R, gamma).V.sum(), R)
    # More reward everywhere is worth 1 / (1 - gamma) from every state.
    torch.testing.assert_close(slope.sum(dim=(-2, -1)), 7 / (1 - gamma))


def test_a_missing_numba_is_said_once_and_torch_runs(monkeypatch):
    P, R, gamma = many_small_problems()
    expected = tabular.policy_iteration(P, R, gamma).V
    with without_numba(monkeypatch, "lib.rl._planning_numba"):
        with pytest.warns(RuntimeWarning, match="numba cannot be used.*pip install numba"):
            found = tabular.policy_iteration(P, R, gamma).V
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            tabular.policy_iteration(P, R, gamma)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("temperature", [1e4, 1e8, 1e12, 1e300])
def test_soft_values_of_high_temperatures_are_averages(temperature):
    """Average, half the variance over the temperature, and so on; without a reference the entropy besides."""
    Q = torch.tensor([[0.0, 1.0, 5.0], [-3.0, 2.0, 2.0]], dtype=torch.float64)
    reference = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
    mean = Q @ reference
    variance = Q**2 @ reference - mean**2
    expected = mean + variance / (2 * temperature)
    found = tabular.soft_value(Q, temperature, reference)
    torch.testing.assert_close(found, expected, rtol=0, atol=10 / temperature / temperature + 1e-14)
    uniform = tabular.soft_value(Q, temperature, torch.full((3,), 1 / 3, dtype=torch.float64))
    free = tabular.soft_value(Q, temperature)
    torch.testing.assert_close(free, uniform + temperature * math.log(3), rtol=1e-14, atol=0)


def test_soft_values_have_gradients_at_every_temperature():
    Q = torch.tensor([[0.0, 1.0, 5.0], [-3.0, 2.0, 1.0]], dtype=torch.float64, requires_grad=True)
    reference = torch.tensor([1e-12, 0.5, 0.5 - 1e-12], dtype=torch.float64)
    for temperature in (0.05, 1.0, 30.0):
        given = torch.tensor(temperature, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(lambda Q, t: tabular.soft_value(Q, t, reference), (Q, given))
        assert torch.autograd.gradcheck(lambda Q, t: tabular.soft_value(Q, t), (Q, given))
    (slope,) = torch.autograd.grad(tabular.soft_value(Q, 0.0).sum(), Q)
    assert slope.tolist() == [[0.0, 0.0, 1.0], [0.0, 1.0, 0.0]]


def test_a_batch_of_no_problems():
    P, R = tabular.garnet(3, 2, 2, torch.Generator().manual_seed(0), batch=(0, 4))
    for planner in (tabular.value_iteration, tabular.policy_iteration, tabular.modified_policy_iteration):
        found = planner(P, R, 0.9)
        assert found.V.shape == (0, 4, 3) and found.Q.shape == (0, 4, 3, 2)
    found = tabular.linear_program(P, R, 0.9)
    assert found.V.shape == (0, 4, 3) and found.occupancy.shape == (0, 4, 3, 2)


@pytest.mark.parametrize("tol", [5e-324, 1e-300])
def test_a_tolerance_next_to_zero_ends_at_rounding(tol):
    P, R = tabular.garnet(5, 2, 3, torch.Generator().manual_seed(0))
    best = tabular.policy_iteration(P, R, 0.99).V
    for planner in (tabular.value_iteration, tabular.modified_policy_iteration):
        torch.testing.assert_close(planner(P, R * 1e10, 0.99, tol).V, best * 1e10, rtol=1e-12, atol=0)
