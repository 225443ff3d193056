"""Generalized advantages against sums written out, and its two limits."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lib.rl import ppo
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


def in_torch(*rollout):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ppo, "loops", lambda *_: None)
        return gae(*rollout)


@given(
    st.integers(0, 999),
    st.sampled_from([(), (1,), (7,), (2, 3), (2, 1, 2)]),
    st.integers(1, 30),
    st.sampled_from([torch.float32, torch.float64]),
)
def test_compiled_advantages_are_those_of_torch(seed, batch, steps, dtype):
    rollout = [x.to(dtype) if x.is_floating_point() else x for x in random_rollout(steps, seed, *batch)]
    precise = {"rtol": 1e-12, "atol": 1e-13} if dtype == torch.float64 else {"rtol": 1e-5, "atol": 1e-5}
    for mine, theirs in zip(gae(*rollout, 0.97, 0.9), in_torch(*rollout, 0.97, 0.9)):
        assert mine.dtype == dtype and mine.shape == (steps, *batch)
        torch.testing.assert_close(mine, theirs, **precise)


GAPS = {
    "turned": lambda x: x.transpose(1, 2),
    "strides": lambda x: x[::2, ::3],
    "one number for many": lambda x: x[..., :1].expand(20, 9, 6),
}


@pytest.mark.parametrize("gaps", GAPS.values(), ids=GAPS)
def test_memory_with_gaps(gaps):
    """None of it is changed or returned."""
    rollout = [gaps(x) for x in random_rollout(20, 7, 9, 6)]
    before = [x.clone() for x in rollout]
    found = gae(*rollout, 0.97, 0.9)
    for mine, theirs in zip(found, gae(*(x.contiguous() for x in rollout), 0.97, 0.9)):
        assert torch.equal(mine, theirs)
    assert all(torch.equal(x, y) for x, y in zip(rollout, before))
    assert not any(adv.data_ptr() == x.data_ptr() for adv in found for x in rollout)


@pytest.mark.parametrize("which", [(0,), (1,), (2,), (0, 1, 2)])
def test_gradients_pass_through(which):
    rollout = list(random_rollout(8, 8, 3))

    def advantages(*changed):
        columns = dict(zip(which, changed))
        return gae(*(columns.get(place, x) for place, x in enumerate(rollout)), 0.97, 0.9)

    inputs = [rollout[place].clone().requires_grad_() for place in which]
    assert torch.autograd.gradcheck(advantages, inputs)
    assert torch.autograd.gradgradcheck(advantages, inputs)
    assert torch.autograd.gradcheck(advantages, inputs, check_forward_ad=True, check_backward_ad=False)


def test_without_gradients_compiled_loops_run_all_the_same():
    rollout = [x.clone().requires_grad_() if x.is_floating_point() else x for x in random_rollout(8, 8, 3)]
    with torch.no_grad():
        found = gae(*rollout, 0.97, 0.9)
    for mine, theirs in zip(found, gae(*rollout, 0.97, 0.9)):
        assert not mine.requires_grad and theirs.requires_grad
        torch.testing.assert_close(mine, theirs.detach(), rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_other_types_take_torch(dtype):
    rollout = [x.to(dtype) if x.is_floating_point() else x for x in random_rollout(8, 9, 5)]
    for mine, theirs in zip(gae(*rollout, 0.97, 0.9), in_torch(*rollout, 0.97, 0.9)):
        assert torch.equal(mine, theirs) and mine.dtype == dtype


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0)])
def test_no_steps_and_no_environments(shape):
    empty, never = torch.zeros(shape), torch.zeros(shape, dtype=torch.bool)
    assert [x.shape for x in gae(empty, empty, empty, never, never, 0.9, 0.9)] == [torch.Size(shape)] * 2


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_stays_in_its_episode(bad):
    """As values may be when a run diverges: earlier steps of the episode show it, other episodes do not."""
    r, v, v_next, ends, never = torch.zeros(5, 9, 2, dtype=torch.float64).unbind()
    ends, never = ends.bool(), never.bool()
    ends[2, 0] = ends[6, 0] = True
    v[4, 0] = bad
    for loops in (ppo.loops, lambda *_: None):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ppo, "loops", loops)
            adv = v_next.clone()
            ppo._gae_(adv, r, v, never, ends, 0.9, 0.9)
        assert adv[:, 0].isfinite().tolist() == [True] * 3 + [False] * 2 + [True] * 4
        assert bool(adv[:, 1].isfinite().all())


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
