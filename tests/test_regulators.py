"""Good regulators: brute force against plain loops, and no random policy is better."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.regulators import optimal_regulators, outcome_entropy

PSI = [[0, 1, 2, 1], [1, 2, 0, 3], [2, 0, 1, 0], [3, 3, 2, 1], [0, 2, 3, 1]]
P = [0.3, 0.25, 0.2, 0.15, 0.1]


def entropy(psi, p_s, policy):
    p = {}
    for s, r in enumerate(policy):
        p[psi[s][r]] = p.get(psi[s][r], 0) + p_s[s]
    return -sum(x * math.log(x) for x in p.values() if x > 0)


@given(st.integers(1, 4), st.integers(1, 3), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_brute_force_against_loops(disturbances, responses, draw):
    psi = [[draw.randrange(3) for _ in range(responses)] for _ in range(disturbances)]
    weights = [draw.randint(0, 4) for _ in range(disturbances)]
    weights[0] += 1
    p_s = [weight / sum(weights) for weight in weights]
    every = {q: entropy(psi, p_s, q) for q in itertools.product(range(responses), repeat=disturbances)}
    best = min(every.values())
    found, policies = optimal_regulators(psi, p_s)
    assert found == pytest.approx(best, abs=1e-12)
    assert policies == [q for q, value in every.items() if value <= best + 1e-11]


def test_brief_13_no_random_policy_is_better():
    best, policies = optimal_regulators(PSI, P)
    draws = torch.rand(5000, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    sharp = -(draws.log() ** 3)
    for policy in (draws / draws.sum(-1, keepdim=True), sharp / sharp.sum(-1, keepdim=True)):
        assert float(outcome_entropy(PSI, P, policy).min()) > best
    # On the deterministic policies themselves both functions agree.
    choices = torch.nn.functional.one_hot(torch.tensor(policies), 4).double()
    torch.testing.assert_close(outcome_entropy(PSI, P, choices), torch.full((len(policies),), best).double())


@given(st.integers(0, 2**31), st.floats(0, 1))
@settings(max_examples=40, deadline=None)
def test_entropy_is_concave_in_the_policy(seed, share):
    first, second = torch.rand(2, 5, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 1e-3
    first, second = first / first.sum(-1, keepdim=True), second / second.sum(-1, keepdim=True)
    mixed = outcome_entropy(PSI, P, share * first + (1 - share) * second)
    assert mixed >= share * outcome_entropy(PSI, P, first) + (1 - share) * outcome_entropy(PSI, P, second) - 1e-12


def test_outcomes_are_only_told_apart():
    for far in (100, 10**9):
        renamed = [[far + 7 * z for z in row] for row in PSI]
        assert optimal_regulators(renamed, P) == optimal_regulators(PSI, P)


def test_single_precision_is_enough():
    draw = torch.Generator().manual_seed(0)
    policy = torch.softmax(torch.randn(50, 5, 4, generator=draw), dim=-1)
    assert policy.dtype == torch.float32
    p_s = torch.softmax(torch.randn(5, generator=draw), dim=-1)
    found = outcome_entropy(PSI, p_s, policy)
    torch.testing.assert_close(
        found.double(),
        outcome_entropy(
            PSI, (p_s.double() / p_s.double().sum()), policy.double() / policy.double().sum(-1, keepdim=True)
        ),
        rtol=1e-5,
        atol=1e-6,
    )
    assert optimal_regulators(PSI, p_s)[0] <= float(found.min())


def test_one_disturbance_one_response():
    entropy, policies = optimal_regulators([[5]], [1.0])
    assert (str(entropy), policies) == ("0.0", [(0,)])


def test_too_many_policies_are_refused():
    with pytest.raises(ValueError, match=r"psi must allow at most 2000000 policies, got 2\^30 = 1073741824"):
        optimal_regulators([[0, 1]] * 30, [1 / 30] * 30)
