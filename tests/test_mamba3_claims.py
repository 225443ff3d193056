"""The claims of the chapter, from closed forms, scipy and the stored runs, without the chapter."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from lib import claims
from lib.ssm import costs, counters, orders

CLAIMS = claims.load("mamba3")
STEPS = [50, 100, 200, 400, 800]


def measured(run, name):
    return claims.measured_elsewhere("mamba3", run, name).value


def constant_rate(t):
    return -torch.ones_like(t)


def varying_rate(t):
    return -1 - 0.5 * torch.sin(3 * t)


def order(rule, rate, drive, exact):
    errors = [abs(float(orders.integrate(rate, drive, steps, rule)) - exact) for steps in STEPS]
    return -np.polyfit(np.log(STEPS), np.log(errors), 1)[0]


def fading(t):
    return torch.cos(2 * t) * torch.exp(-0.3 * t)


@pytest.fixture(scope="module")
def end():
    """The solution for a varying rate, from scipy's solver."""
    solved = solve_ivp(
        lambda t, h: (-1 - 0.5 * math.sin(3 * t)) * h + math.cos(2 * t) * math.exp(-0.3 * t),
        (0, 2),
        [0.0],
        method="DOP853",
        rtol=1e-13,
        atol=1e-14,
    )
    return float(solved.y[0, -1])


def test_orders_for_a_constant_rate():
    exact = (math.cos(4) + 2 * math.sin(4) - math.exp(-2)) / 5
    found = [order(rule, constant_rate, lambda t: torch.cos(2 * t), exact) for rule in orders.RULES[:6]]
    assert claims.agreement(CLAIMS["orders-constant"], found) == 1


@pytest.mark.parametrize(
    ("claim", "rule", "met"), [("order-varying", "exponential_trapezoidal", 0), ("order-averaged", "averaged", 1)]
)
def test_the_published_rule_is_of_first_order_when_the_rate_varies(end, claim, rule, met):
    assert end == pytest.approx(-0.318008716836, abs=1e-11)
    assert claims.agreement(CLAIMS[claim], order(rule, varying_rate, fading, end)) == met


def test_what_is_missed_is_the_frozen_rate(end):
    """The error of first order is the one that the chapter's formula predicts: sums of dt^2 / 2 * dA/dt * h."""
    steps = 3200
    dt = 2 / steps
    t = np.linspace(0, 2, steps + 1)
    solved = solve_ivp(
        lambda s, h: (-1 - 0.5 * math.sin(3 * s)) * h + math.cos(2 * s) * math.exp(-0.3 * s),
        (0, 2),
        [0.0],
        method="DOP853",
        t_eval=t,
        rtol=1e-12,
        atol=1e-14,
    )
    slope = -1.5 * np.cos(3 * t)
    kept = np.exp(t - 2 + 0.5 / 3 * (math.cos(6) - np.cos(3 * t)))
    predicted = (dt**2 / 2 * slope * solved.y[0] * kept).sum()
    found = float(orders.integrate(varying_rate, fading, steps, "exponential_trapezoidal")) - end
    assert found == pytest.approx(predicted, rel=0.01)


def test_intensities_and_operations():
    at_rank = [(4 * 128 * 64 * R + 128 * 64 - 64 * R) / (2 * (1 + 256 * R + 64 * R + 128 * 64)) for R in (1, 4)]
    assert claims.agreement(CLAIMS["intensity"], at_rank) == 1
    assert claims.agreement(CLAIMS["training-flops"], float(costs.scan_flops(2048, 64, 64, 64))) == 1
    assert CLAIMS["training-flops"].value == 8 * 2048 * 64**2


def test_shuffled_digits_end_alike_and_permutations_do_not():
    generator = torch.Generator().manual_seed(5)
    digits = counters.random_digits(4, 200, 5, generator)
    ends = [counters.modular_counter(row, 5)[:, -1] for row in (digits, digits[:, torch.randperm(200)])]
    assert claims.agreement(CLAIMS["abelian"], float((ends[0] - ends[1]).abs().max())) == 1
    swap, cycle = np.eye(3)[[1, 0, 2]], np.eye(3)[[1, 2, 0]]
    assert not np.array_equal(swap @ cycle, cycle @ swap)


def test_networks_with_rotation_learn_parity_and_lose_it_beyond_training():
    for claim, kind in (
        ("parity-learned", "rotation"),
        ("parity-without-rotation", "none"),
        ("parity-usual-rope", "rope"),
    ):
        found = measured("parity-cpu", f"{kind}_32_at_trained_length")
        assert claims.agreement(CLAIMS[claim], found) == 1
    ends = [measured("parity-cpu", f"rotation_32_seed{network}")[-1] for network in range(3)]
    assert claims.agreement(CLAIMS["parity-beyond"], ends) == 0
    assert all(32 < measured("parity-cpu", f"rotation_32_seed{network}_horizon") < 64 for network in range(3))


def test_chunks_have_a_best_length_between_the_loop_and_the_matrix():
    speed = measured("chunk-length-cpu", "speed_over_loop")
    lengths = measured("chunk-length-cpu", "chunk_lengths")
    best = max(range(len(speed)), key=lambda place: speed[place])
    assert lengths[0] == 1
    assert lengths[-1] == 1024
    assert 8 <= lengths[best] <= 256
    assert speed[best] > 3
    assert max(speed[0], speed[-1]) < 0.3 * speed[best]


def test_every_published_table_is_listed_as_out_of_reach():
    for claim in CLAIMS.values():
        if claim.scale == "out of reach":
            assert "table" in claim.where
    listed = {claim.where.split(";")[0].split(" and")[0] for claim in CLAIMS.values() if claim.scale == "out of reach"}
    assert listed == {"table 3", "table 4", "table 5a", "table 5b", "table 6"}
