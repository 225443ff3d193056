"""Flat parameters, Adam and averages against torch's optimizer and formulas."""

import copy

import pytest
import torch
from torch import nn

from lib.rl.optimizer import EWMA, Adam, FlatParameters, ewma_decay


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)).double()


def test_adam_with_clipping_is_torchs():
    ours, theirs = network(), network()
    adam = Adam(FlatParameters([ours]), eps=1e-5)
    reference = torch.optim.Adam(theirs.parameters(), lr=0.01, eps=1e-5)
    generator = torch.Generator().manual_seed(1)
    for step in range(30):
        x = torch.randn(8, 3, dtype=torch.float64, generator=generator) * (10 if step % 3 else 0.01)
        adam.flat.zero_grad()
        reference.zero_grad()
        adam.flat.backward(ours(x).square().sum())
        theirs(x).square().sum().backward()
        expected = nn.utils.clip_grad_norm_(theirs.parameters(), 0.5)
        reference.step()
        norm = adam.step(0.01, 0.5)
        torch.testing.assert_close(norm[0, 0], expected, rtol=1e-12, atol=0)
    for mine, yours in zip(ours.parameters(), theirs.parameters()):
        torch.testing.assert_close(mine, yours, rtol=1e-11, atol=1e-13)


def test_members_take_steps_of_their_own():
    class Rows(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.arange(6, dtype=torch.float64).view(3, 2))

    together = Rows()
    adam = Adam(FlatParameters([together], members=3))
    generator = torch.Generator().manual_seed(2)
    gradients = torch.randn(9, 3, 2, dtype=torch.float64, generator=generator)
    rates = torch.tensor([[0.1], [0.2], [0.3]], dtype=torch.float64)
    pauses = torch.rand(9, 3, 1, generator=generator) < 0.4
    alone = [Adam(FlatParameters([one])) for one in (Rows(), Rows(), Rows())]
    for gradient, pause in zip(gradients, pauses):
        adam.flat.grad.copy_(gradient)
        adam.step(rates, 1.0, (~pause).double())
        for member, one in enumerate(alone):
            if not pause[member]:
                one.flat.grad.zero_()[:, 2 * member : 2 * member + 2] = gradient[member]
                one.step(float(rates[member]), 1.0)
    for member, one in enumerate(alone):
        torch.testing.assert_close(adam.flat.data[member], one.flat.data[0, 2 * member : 2 * member + 2])


def test_flat_parameters_are_views():
    model = network()
    before = copy.deepcopy(model)
    flat = FlatParameters([model, model])
    assert flat.data.shape == (1, 3 * 5 + 5 + 5 * 2 + 2)
    x = torch.ones(4, 3, dtype=torch.float64)
    assert torch.equal(model(x), before(x))
    flat.backward(model(x).sum())
    before(x).sum().backward()
    expected = torch.cat([p.grad.flatten() for p in before.parameters()])
    assert torch.equal(flat.grad[0], expected)
    copied = copy.deepcopy(model)
    flat.data.zero_()
    assert not bool(model(x).any())
    assert torch.equal(copied(x), before(x))


def test_flat_parameters_refuse_mixtures():
    with pytest.raises(ValueError, match="one dtype on one device"):
        FlatParameters([network(), nn.Linear(2, 2)])
    with pytest.raises(ValueError, match=r"parameters of 4 members, got shape \(5, 3\)"):
        FlatParameters([network()], members=4)


@pytest.mark.parametrize("beta", [0.0, 8 / 9, 0.99])
def test_the_average_is_bias_corrected(beta):
    history = torch.randn(40, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    average = EWMA(history[0], beta)
    for t in range(40):
        if t:
            average.update(history[t])
        weights = torch.tensor([(1 - beta) * beta ** (t - i) for i in range(t + 1)], dtype=torch.float64)
        expected = torch.einsum("i,ijk->jk", weights, history[: t + 1]) / (1 - beta ** (t + 1))
        torch.testing.assert_close(average.average[0], expected, rtol=1e-12, atol=1e-12)


def test_centres_of_mass():
    assert [round(ewma_decay(com), 6) for com in (0, 8, 99)] == [0.0, 0.888889, 0.99]
    for com in (0, 8, 99):
        beta = ewma_decay(com)
        weights = torch.tensor([(1 - beta) * beta**age for age in range(20_000)], dtype=torch.float64)
        assert float((weights * torch.arange(20_000)).sum()) == pytest.approx(com, rel=1e-9)


def test_a_decay_of_one_never_forgets_and_is_refused():
    with pytest.raises(ValueError, match="beta must be below 1"):
        EWMA([torch.zeros(1)], 1.0)
