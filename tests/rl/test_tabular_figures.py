"""What live figures use: recorded at one setting, replayed at others as the page does, beside plain torch."""

import pytest
import torch

from lib.rl import tabular
from tests.replays import recorded, replays

P, R = tabular.garnet(5, 3, 3, torch.Generator().manual_seed(0))
SETTINGS = [{"gamma": gamma, "slip": slip} for gamma in (0.0, 0.5, 0.95) for slip in (0.0, 0.3, 1.0)]


def slippery(slip):
    """With a chance a uniformly random action is taken."""
    return (1 - slip) * P + slip * P.mean(dim=1, keepdim=True)


def sweeps(gamma, slip):
    return tabular.value_sweeps(slippery(slip), R, gamma, 12)


def evaluation(gamma, slip):
    pi = tabular.soft_policy(R, 0.2 + slip)
    table = slippery(slip)
    return tabular.policy_value(table, R, gamma, pi), tabular.discounted_occupancy(table, gamma, pi, 1)


def operators(gamma, slip):
    V = tabular.value_sweeps(slippery(slip), R, gamma, 3)[-1]
    soft = tabular.soft_bellman_operator(slippery(slip), R, gamma, V, 0.1 + slip)
    return tabular.bellman_operator(slippery(slip), R, gamma, V), soft


def worst_cases(gamma, slip):
    V = tabular.value_sweeps(P, R, gamma, 5)[-1]
    return tuple(tabular.robust_bellman_operator(P, R, gamma, V, slip, kind) for kind in ("l1", "tv", "contamination"))


def episodes(gamma, slip):
    table = slippery(slip)
    plan = tabular.backward_induction(table, R, 6, gamma)
    coin = torch.full((6, 5, 3), 1 / 3, dtype=torch.float64)
    return plan.V, tabular.finite_policy_value(table, R, 6, coin, gamma), tabular.occupancy(table, coin, 2)


@pytest.mark.parametrize("figure", [sweeps, evaluation, operators, worst_cases, episodes])
def test_the_page_replays_what_torch_computes(figure):
    program = recorded(figure, {"gamma": 0.9, "slip": 0.1})
    for found, wanted in replays(program, figure, SETTINGS):
        torch.testing.assert_close(torch.as_tensor(found).reshape(wanted.shape), wanted, rtol=1e-9, atol=1e-10)
