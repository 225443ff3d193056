"""The clipped objective against formulas, finite differences and its limits; the estimator of the divergence."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lib.rl.policies import CategoricalPolicy, ValueFunction
from lib.rl.ppo import approx_kl, policy_loss, ppo_loss, value_loss

NAMES = ("logp", "logp_old", "adv", "value", "returns", "entropy")


def minibatch(size, seed, *lead):
    generator = torch.Generator().manual_seed(seed)
    columns = torch.randn(len(NAMES), *lead, size, dtype=torch.float64, generator=generator)
    return dict(zip(NAMES, columns.unbind(0)))


@pytest.mark.parametrize(("adv", "slopes"), [(1.0, [1, 1, 1, 0]), (-1.0, [0, -1, -1, -1])])
def test_gradient_of_the_clipped_objective(adv, slopes):
    rho = torch.tensor([0.7, 0.9, 1.1, 1.3], dtype=torch.float64, requires_grad=True)
    zero = torch.zeros_like(rho)
    ppo_loss(rho.log(), zero, zero + adv, zero, zero, zero, 0.2, 0.5, 0.0).backward()
    assert (-4 * rho.grad).tolist() == pytest.approx(slopes, abs=1e-12)


def test_the_whole_loss_written_out():
    data = minibatch(17, 0)
    expected = 0.0
    for logp, old, adv, value, target, entropy in zip(*(data[name].tolist() for name in NAMES)):
        rho = math.exp(logp - old)
        clipped = min(max(rho, 0.7), 1.3)
        expected += -min(rho * adv, clipped * adv) + 0.4 * 0.5 * (value - target) ** 2 - 0.03 * entropy
    assert float(ppo_loss(**data, clip=0.3, vf_coef=0.4, ent_coef=0.03)) == pytest.approx(expected / 17, rel=1e-13)


@pytest.mark.parametrize("anchored", [False, True])
@pytest.mark.parametrize("value_clip", [None, 0.3])
def test_finite_differences_of_the_whole_loss(anchored, value_clip):
    data = minibatch(12, 1)
    extra = {}
    if anchored:
        extra["logp_anchor"] = data["logp_old"] + 0.1 * minibatch(12, 2)["logp"]
    if value_clip:
        extra |= {"value_old": data["value"] + 0.3 * minibatch(12, 3)["logp"], "value_clip": value_clip}

    def loss(logp, value, entropy):
        changed = data | {"logp": logp, "value": value, "entropy": entropy}
        return ppo_loss(**changed, **extra, clip=0.2, vf_coef=0.5, ent_coef=0.01)

    inputs = [data[name].clone().requires_grad_() for name in ("logp", "value", "entropy")]
    assert torch.autograd.gradcheck(loss, inputs, eps=1e-7, atol=1e-7)


def test_finite_differences_through_a_network():
    generator = torch.Generator().manual_seed(4)
    policy = CategoricalPolicy(3, 4, (5, 5), seed=1, dtype=torch.float64)
    value_fn = ValueFunction(3, (5, 5), seed=1, dtype=torch.float64)
    obs, old, adv, returns = torch.randn(4, 20, 3, dtype=torch.float64, generator=generator)
    action = torch.randint(4, (20,), generator=generator)
    # Ratios on both sides of the clip: the old policy differs by what a few updates do.
    old = policy.evaluate(obs, action)[0].detach() + 0.3 * old[:, 0]

    def loss():
        logp, entropy = policy.evaluate(obs, action)
        return ppo_loss(logp, old, adv[:, 0], value_fn(obs), returns[:, 0], entropy, 0.2, 0.5, 0.01)

    loss().backward()
    for parameter in (*policy.parameters(), *value_fn.parameters()):
        flat, slope = parameter.data.view(-1), parameter.grad.reshape(-1)
        for entry in range(0, flat.numel(), 3):
            kept = float(flat[entry])
            sides = []
            for step in (1e-6, -1e-6):
                flat[entry] = kept + step
                sides.append(loss().item())
            flat[entry] = kept
            assert (sides[0] - sides[1]) / 2e-6 == pytest.approx(float(slope[entry]), abs=1e-8)


def test_members_are_losses_of_their_own():
    data = minibatch(9, 5, 3)
    losses = ppo_loss(**data, clip=0.2, vf_coef=0.5, ent_coef=0.01)
    assert losses.shape == (3,)
    for member in range(3):
        alone = ppo_loss(**{name: x[member] for name, x in data.items()}, clip=0.2, vf_coef=0.5, ent_coef=0.01)
        assert float(alone) == pytest.approx(float(losses[member]), rel=1e-14)


def test_an_anchor_at_the_behaviour_changes_nothing():
    data = minibatch(50, 6)
    settings = {"clip": 0.2, "vf_coef": 0.5, "ent_coef": 0.01}
    assert torch.equal(ppo_loss(**data, **settings), ppo_loss(**data, **settings, logp_anchor=data["logp_old"]))


def test_the_anchored_loss_written_out():
    logp, behaviour, adv = minibatch(30, 7)["logp"], minibatch(30, 8)["logp"], minibatch(30, 9)["logp"]
    anchor = behaviour + 0.2 * minibatch(30, 10)["logp"]
    found = policy_loss(logp, behaviour, adv, 0.2, anchor)
    rho = (logp - anchor).exp()
    expected = -(anchor - behaviour).exp() * torch.minimum(rho * adv, rho.clamp(0.8, 1.2) * adv)
    torch.testing.assert_close(found, expected, atol=1e-14, rtol=1e-14)


def test_a_clipped_value_never_earns_by_moving_far():
    returns, old = torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    value = torch.tensor([1.0, 0.9, 0.2], dtype=torch.float64, requires_grad=True)
    found = value_loss(value, returns, old, 0.2)
    assert found.tolist() == pytest.approx([0.5, 0.405, 0.32])
    found.sum().backward()
    assert value.grad.tolist() == pytest.approx([1.0, 0.9, 0.0])


def test_k3_has_the_mean_of_the_divergence():
    p, q = torch.tensor([[0.5, 0.3, 0.2], [0.4, 0.4, 0.2]], dtype=torch.float64)
    samples = approx_kl(q.log(), p.log())
    exact = float((p * (p / q).log()).sum())
    assert exact == pytest.approx(0.025267, abs=1e-6)
    assert float((p * samples).sum()) == pytest.approx(exact, abs=1e-15)
    assert bool((samples >= 0).all())


@given(st.lists(st.tuples(st.floats(-30, 5), st.floats(-30, 5)), min_size=1, max_size=20))
def test_k3_is_never_negative(pairs):
    logp, logp_old = torch.tensor(pairs, dtype=torch.float64).unbind(1)
    assert bool((approx_kl(logp, logp_old) >= 0).all())


def test_k3_of_nearly_equal_policies_keeps_its_digits():
    gap = torch.tensor([1e-7], dtype=torch.float64)
    assert float(approx_kl(gap, torch.zeros_like(gap))) == pytest.approx(0.5e-14, rel=1e-2)


def test_what_is_refused():
    data = minibatch(4, 11)
    settings = {"clip": 0.2, "vf_coef": 0.5, "ent_coef": 0.01}
    with pytest.raises(ValueError, match=r"adv must have the shape \(..., B\) of logp, got \(3,\)"):
        ppo_loss(**data | {"adv": data["adv"][:3]}, **settings)
    with pytest.raises(ValueError, match="clip must be a finite number above 0"):
        ppo_loss(**data, **settings | {"clip": 0})
    with pytest.raises(ValueError, match="value_old must be given with value_clip"):
        ppo_loss(**data, **settings, value_clip=0.2)
