"""Losses whose derivatives are written out, against automatic differentiation of the same losses."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lib.rl import _slopes
from lib.rl.networks import MLP
from lib.rl.optimizer import FlatParameters
from lib.rl.ppo import policy_loss, value_loss

SHAPES = st.sampled_from([(1,), (40,), (3, 17)])


def columns(count, shape, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, *shape, dtype=torch.float64, generator=generator).mul_(0.4).unbind(0)


def same(found, loss, leaf):
    """The mean, and the derivatives of the sum, are those of a loss of each transition."""
    mean, slope = found
    torch.testing.assert_close(mean, loss.mean(-1).detach(), rtol=1e-13, atol=1e-14)
    torch.testing.assert_close(slope, torch.autograd.grad(loss.sum(), leaf)[0], rtol=1e-12, atol=1e-13)


@given(SHAPES, st.integers(0, 999), st.floats(0.05, 0.9), st.booleans())
def test_slopes_of_the_policy(shape, seed, clip, anchored):
    logp, logp_old, adv, anchor = columns(4, shape, seed)
    logp.requires_grad_()
    anchor = anchor if anchored else None
    base, weight = (anchor, (anchor - logp_old).exp()) if anchored else (logp_old, None)
    found = _slopes.of_policy(logp.detach() - base, adv, clip, weight)
    same(found, policy_loss(logp, logp_old, adv, clip, anchor), logp)


@given(SHAPES, st.integers(0, 999), st.none() | st.floats(0.05, 0.9))
def test_slopes_of_the_value_function(shape, seed, clip):
    value, returns, value_old = columns(3, shape, seed)
    value.requires_grad_()
    found = _slopes.of_value(value.detach(), returns, value_old, clip)
    same(found, value_loss(value, returns, value_old, clip), value)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_shows_in_the_mean(bad):
    one, wrong = torch.ones(3), torch.tensor([1.0, bad, 1.0])
    assert not _slopes.of_policy(one, wrong, 0.2)[0].isfinite()
    assert not _slopes.of_value(wrong, one, one, 0.2)[0].isfinite()
    assert not _slopes.of_value(one, wrong, one, 0.2)[0].isfinite()


def test_gradient_from_slopes_skips_outputs_without_one():
    layer = torch.nn.Linear(3, 2)
    flat = FlatParameters([layer])
    y = layer(torch.ones(5, 3))
    flat.backward(y, torch.ones(5), slopes=(torch.full_like(y, 2.0), torch.tensor(1.0)))
    assert torch.equal(layer.bias.new_tensor([10.0, 10.0]), flat.places[1])


@pytest.mark.parametrize("strips", [1, 3, 9])
def test_a_second_backward_pass_finds_what_the_first_found(strips):
    network = MLP((3, 8, 5, 2), strip=16, dtype=torch.float64)
    x = torch.randn(16 * strips, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    loss = network(x).square().sum()
    first = torch.autograd.grad(loss, list(network.parameters()), retain_graph=True)
    second = torch.autograd.grad(loss, list(network.parameters()))
    assert all(torch.equal(one, two) for one, two in zip(first, second))
