"""Generalized advantages against sums written out, and its two limits."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lib.rl.ppo import gae


def brute_force(r, v, v_next, terminated, truncated, gamma, lam):
    """Equation 16 of Schulman et al. (2016): for each start, the weighted sum of the errors up to the episode's end."""
    steps = len(r)
    delta = [r[t] + gamma * v_next[t] * (not terminated[t]) - v[t] for t in range(steps)]
    adv = []
    for start in range(steps):
        total = 0.0
        for t in range(start, steps):
            total += (gamma * lam) ** (t - start) * delta[t]
            if terminated[t] or truncated[t]:
                break
        adv.append(total)
    return adv


def random_rollout(steps, seed, *batch):
    generator = torch.Generator().manual_seed(seed)
    r, v, v_next = torch.randn(3, steps, *batch, dtype=torch.float64, generator=generator)
    kind = torch.rand(steps, *batch, generator=generator)
    return r, v, v_next, kind < 0.1, (kind > 0.1) & (kind < 0.2)


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        ("truncated", [1.974272, 1.547600, 2.330000, 1.340000]),
        ("terminated", [1.647680, 1.094000, 1.700000, 1.340000]),
    ],
)
def test_the_hand_worked_example(end, expected):
    r, v, v_next = torch.tensor([[1, 0, 2, 1], [0.5, 0.4, 0.3, 0.2], [0.4, 0.3, 0.7, 0.6]], dtype=torch.float64)
    ends = {"terminated": torch.zeros(4, dtype=torch.bool), "truncated": torch.zeros(4, dtype=torch.bool)}
    ends[end][2] = True
    adv, returns = gae(r, v, v_next, **ends, gamma=0.9, lam=0.8)
    torch.testing.assert_close(adv, torch.tensor(expected, dtype=torch.float64), atol=5e-7, rtol=0)
    torch.testing.assert_close(returns, adv + v)


@given(st.integers(0, 10**6), st.floats(0, 1), st.floats(0, 1), st.integers(1, 50))
def test_random_rollouts_equal_the_sum(seed, gamma, lam, steps):
    rollout = random_rollout(steps, seed)
    adv, _ = gae(*rollout, gamma, lam)
    expected = torch.tensor(brute_force(*(x.tolist() for x in rollout), gamma, lam), dtype=torch.float64)
    torch.testing.assert_close(adv, expected, atol=1e-13, rtol=0)


def test_fifty_steps_equal_the_sum_to_two_parts_in_a_thousand_billions():
    for seed in range(20):
        rollout = random_rollout(50, seed)
        adv, _ = gae(*rollout, 0.9, 0.8)
        expected = torch.tensor(brute_force(*(x.tolist() for x in rollout), 0.9, 0.8), dtype=torch.float64)
        assert float((adv - expected).abs().max()) <= 2e-15


def test_lambda_zero_trusts_the_values():
    r, v, v_next, terminated, truncated = random_rollout(40, 1)
    adv, _ = gae(r, v, v_next, terminated, truncated, 0.9, 0.0)
    torch.testing.assert_close(adv, r + 0.9 * v_next * ~terminated - v, atol=1e-15, rtol=0)


def test_lambda_one_gives_discounted_returns_with_bootstrap():
    r, v, v_next, terminated, truncated = random_rollout(60, 2)
    # Consistent values: what follows a step is valued as what is seen next, except where an episode was truncated.
    v_next = torch.where(truncated, v_next, torch.cat([v[1:], v_next[-1:]]))
    _, returns = gae(r, v, v_next, terminated, truncated, 0.9, 1.0)
    for start in range(60):
        total, discount = 0.0, 1.0
        for t in range(start, 60):
            total += discount * float(r[t])
            discount *= 0.9
            if terminated[t]:
                break
            if truncated[t] or t == 59:
                total += discount * float(v_next[t])
                break
        assert abs(float(returns[start]) - total) < 1e-12


def test_a_terminal_state_is_worth_nothing_whatever_the_network_says():
    rollout = [x.clone() for x in random_rollout(30, 3)]
    rollout[2][rollout[3]] = float("inf")
    with pytest.raises(ValueError, match="next_values must be finite"):
        gae(*rollout, 0.9, 0.9)
    rollout[2][rollout[3]] = 1e30
    adv, _ = gae(*rollout, 0.9, 0.9)
    assert float(adv.abs().max()) < 100


def test_batches_are_columns():
    rollout = random_rollout(25, 4, 3, 5)
    adv, returns = gae(*rollout, 0.97, 0.9)
    for member in range(3):
        for n in range(5):
            alone = gae(*(x[:, member, n] for x in rollout), 0.97, 0.9)
            assert torch.equal(alone[0], adv[:, member, n])
            assert torch.equal(alone[1], returns[:, member, n])


def test_the_arguments_stay_as_they_are():
    rollout = random_rollout(10, 5)
    before = [x.clone() for x in rollout]
    gae(*rollout, 0.9, 0.9)
    assert all(torch.equal(x, y) for x, y in zip(rollout, before))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"gamma": 1.1}, "gamma must be a finite number of at least 0 and at most 1, got 1.1"),
        ({"lam": -0.1}, "lam must be"),
        ({"values": torch.zeros(3, dtype=torch.float64)}, r"values must have the shape of rewards \(4,\), got \(3,\)"),
        ({"truncated": torch.zeros(4)}, "truncated must be a tensor of bool"),
    ],
)
def test_what_is_refused(bad, message):
    names = ("rewards", "values", "next_values", "terminated", "truncated")
    arguments = dict(zip(names, random_rollout(4, 6))) | {"gamma": 0.9, "lam": 0.9}
    with pytest.raises(ValueError, match=message):
        gae(**arguments | bad)
