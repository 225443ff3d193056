"""Episodes of fixed length: brute force over policies, sums over paths, sampled episodes, RiverSwim and deep sea."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.rl import tabular

SEEDS = st.integers(0, 2**31 - 1)


def problem(seed, *batch, states=3, actions=2, branching=2):
    return tabular.garnet(states, actions, branching, torch.Generator().manual_seed(seed), batch)


def chances(seed, *sizes):
    logits = torch.randn(*sizes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.softmax(logits, dim=-1)


def loop(P, R, policy, gamma=1.0, final=None):
    """Value of a deterministic policy (H, S), state by state."""
    P, R = np.asarray(P), np.asarray(R)
    V = np.zeros(P.shape[-1]) if final is None else np.asarray(final)
    for chosen in reversed(policy):
        V = np.array([R[s, a] + gamma * P[s, a] @ V for s, a in enumerate(chosen)])
    return V


@pytest.mark.parametrize("gamma", [1.0, 0.7])
def test_the_best_of_all_policies(gamma):
    """3 states, 2 actions, 3 steps: all 512 deterministic policies."""
    P, R = problem(0)
    steps = list(itertools.product(range(2), repeat=3))
    values = np.array([loop(P, R, policy, gamma) for policy in itertools.product(steps, repeat=3)])
    plan = tabular.backward_induction(P, R, 3, gamma)
    np.testing.assert_allclose(plan.V[0], values.max(axis=0), rtol=1e-12)
    np.testing.assert_allclose(loop(P, R, plan.policy.tolist(), gamma), plan.V[0], rtol=1e-12)
    torch.testing.assert_close(plan.Q.amax(dim=-1), plan.V[:-1])
    assert plan.V[-1].tolist() == [0, 0, 0]


def test_river_swim():
    """Six states, 20 steps: V* = 3.397264 from the first state."""
    P = torch.zeros(6, 2, 6, dtype=torch.float64)
    for x in range(6):
        P[x, 0, max(x - 1, 0)] = 1
    P[0, 1, :2] = torch.tensor([0.4, 0.6], dtype=torch.float64)
    for x in range(1, 5):
        P[x, 1, x - 1 : x + 2] = torch.tensor([0.05, 0.6, 0.35], dtype=torch.float64)
    P[5, 1, 4:] = torch.tensor([0.4, 0.6], dtype=torch.float64)
    R = torch.zeros(6, 2, dtype=torch.float64)
    R[0, 0], R[5, 1] = 0.005, 1
    assert float(tabular.backward_induction(P, R, 20).V[0, 0]) == pytest.approx(3.397264, abs=1e-6)


def test_deep_sea():
    """Ten steps to the right cost 0.001 each and end in a reward of 1."""
    P, R = torch.zeros(11, 2, 11, dtype=torch.float64), torch.zeros(11, 2, dtype=torch.float64)
    for x in range(11):
        P[x, 0, max(x - 1, 0)] = 1
        P[x, 1, min(x + 1, 10)] = 1
    R[:, 1] = -0.001
    R[9, 1] += 1
    assert float(tabular.backward_induction(P, R, 10).V[0, 0]) == pytest.approx(0.99, abs=1e-12)


@given(SEEDS, st.floats(0, 1), st.integers(1, 6))
@settings(max_examples=25, deadline=None)
def test_values_and_occupancies_of_policies(seed, gamma, horizon):
    P, R = problem(seed)
    start = chances(seed, 3)
    final = torch.linspace(-1, 1, 3, dtype=torch.float64)
    policy = chances(seed + 1, horizon, 3, 2)
    V = tabular.finite_policy_value(P, R, horizon, policy, gamma, final=final)
    visits = tabular.occupancy(P, policy, start)
    torch.testing.assert_close(visits.sum(dim=(-2, -1)), torch.ones(horizon, dtype=torch.float64))
    discounts = gamma ** torch.arange(horizon, dtype=torch.float64)
    last = torch.einsum("sa,sat->t", visits[-1], P) @ final
    total = (discounts[:, None, None] * visits * R).sum() + gamma**horizon * last
    torch.testing.assert_close(V[0] @ start, total)
    best = tabular.backward_induction(P, R, horizon, gamma, final=final)
    assert (best.V >= V - 1e-12).all()
    played = tabular.finite_policy_value(P, R, horizon, best.policy, gamma, final=final)
    torch.testing.assert_close(played, best.V)


def test_tables_that_differ_from_step_to_step():
    P, R = problem(1, 4)
    plan = tabular.backward_induction(P, R, 4, by_step=True)
    V = torch.zeros(3, dtype=torch.float64)
    for step in reversed(range(4)):
        V = (R[step] + P[step] @ V).amax(dim=-1)
        torch.testing.assert_close(plan.V[step], V)
    policy = chances(1, 4, 3, 2)
    visits = tabular.occupancy(P, policy, 0, by_step=True)
    value = tabular.finite_policy_value(P, R, 4, policy, by_step=True)
    torch.testing.assert_close((visits * R).sum(), value[0, 0])
    constant = tabular.backward_induction(P[:1].expand(4, -1, -1, -1), R[:1].expand(4, -1, -1), 4, by_step=True)
    torch.testing.assert_close(constant.V, tabular.backward_induction(P[0], R[0], 4).V)


def test_a_long_horizon_is_the_discounted_problem():
    P, R = problem(2)
    far = tabular.backward_induction(P, R, 300, 0.9)
    found = tabular.policy_iteration(P, R, 0.9)
    torch.testing.assert_close(far.V[0], found.V, rtol=0, atol=1e-10)
    stationary = found.policy.expand(300, 3)
    discounts = 0.9 ** torch.arange(300, dtype=torch.float64)
    visits = tabular.occupancy(P, stationary, 1) * discounts[:, None, None] * (1 - 0.9)
    expected = tabular.discounted_occupancy(P, 0.9, found.policy, 1)
    torch.testing.assert_close(visits.sum(dim=0), expected, rtol=0, atol=1e-10)


def test_batched_equals_looped():
    P, R = problem(3, 5)
    policy = torch.randint(2, (5, 4, 3), generator=torch.Generator().manual_seed(0))
    start = chances(0, 5, 3)
    gamma = torch.linspace(0, 1, 5, dtype=torch.float64)
    plan = tabular.backward_induction(P, R, 4, gamma)
    value = tabular.finite_policy_value(P, R, 4, policy, gamma)
    visits = tabular.occupancy(P, policy, start)
    for one in range(5):
        alone = tabular.backward_induction(P[one], R[one], 4, gamma[one])
        torch.testing.assert_close(plan.V[one], alone.V)
        assert plan.policy[one].equal(alone.policy)
        np.testing.assert_allclose(
            value[one, 0], loop(P[one], R[one], policy[one].tolist(), float(gamma[one])), rtol=1e-12
        )
        torch.testing.assert_close(visits[one], tabular.occupancy(P[one], policy[one], start[one]))
    assert tabular.occupancy(P[0], policy, 0).shape == (5, 4, 3, 2)
    assert tabular.finite_policy_value(P[0], R[0], 4, policy).shape == (5, 5, 3)


def test_gradients():
    logits = torch.randn(2, 3, 2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    logits.requires_grad_()
    R = chances(0, 3, 2).requires_grad_()

    def everything(logits, R):
        P, policy = torch.softmax(logits[0], dim=-1), torch.softmax(logits[1].transpose(0, 1), dim=-1)[..., :2]
        policy = policy / policy.sum(dim=-1, keepdim=True)
        plan = tabular.backward_induction(P, R, 2, 0.9)
        return plan.V, tabular.finite_policy_value(P, R, 2, policy), tabular.occupancy(P, policy, 0)

    assert torch.autograd.gradcheck(everything, (logits, R))
