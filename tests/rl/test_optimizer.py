"""Flat parameters, Adam and averages against torch's optimizer and formulas."""

import contextlib
import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lib.rl import optimizer
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


class Table(nn.Module):
    """Members with parameters of their own."""

    def __init__(self, members, count, dtype=torch.float64):
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.w = nn.Parameter(torch.randn(members, count, dtype=torch.float64, generator=generator).to(dtype))


def history(gradients, rates, max_norm, active=None, *, compiled, dtype=torch.float64, **options):
    """Norms, parameters and moments after each step, in compiled loops or in torch operations."""
    _, members, count = gradients.shape
    rows = []
    with pytest.MonkeyPatch.context() as patch:
        if not compiled:
            patch.setattr(optimizer, "_compiled", lambda: None)
        adam = Adam(FlatParameters([Table(members, count, dtype)], members=members), **options)
        for step, gradient in enumerate(gradients):
            adam.flat.grad.copy_(gradient)
            norm = adam.step(rates, max_norm, None if active is None else active[step])
            rows.append([norm, adam.flat.data.clone(), adam.first.clone(), adam.second.clone(), adam.count.clone()])
    return rows


def same_history(*given, rtol=1e-11, atol=1e-14, **options):
    pairs = zip(*(history(*given, compiled=compiled, **options) for compiled in (True, False)))
    for mine, theirs in pairs:
        for one, other in zip(mine, theirs, strict=True):
            assert one.dtype == other.dtype and one.shape == other.shape
            torch.testing.assert_close(one, other, rtol=rtol, atol=atol, equal_nan=True)


@settings(max_examples=40)
@given(
    members=st.sampled_from([1, 3]),
    count=st.integers(1, 40),
    max_norm=st.sampled_from([None, 0.5, 100.0]),
    paused=st.booleans(),
    own_rates=st.booleans(),
    betas=st.sampled_from([(0.9, 0.999), (0.5, 0.4)]),
    seed=st.integers(0, 99),
)
def test_the_compiled_step_is_that_of_torch(members, count, max_norm, paused, own_rates, betas, seed):
    generator = torch.Generator().manual_seed(seed)
    gradients = torch.randn(6, members, count, dtype=torch.float64, generator=generator)
    rates = torch.linspace(0.01, 0.03, members, dtype=torch.float64).view(-1, 1) if own_rates else 0.02
    active = (torch.rand(6, members, 1, generator=generator) < 0.6).double() if paused else None
    same_history(gradients, rates, max_norm, active, betas=betas)


def test_the_compiled_step_in_single_precision():
    gradients = torch.randn(20, 2, 300, generator=torch.Generator().manual_seed(1))
    rates = torch.tensor([[1e-3], [3e-3]])
    # A few units of rounding, of parameters and moments of size one.
    same_history(gradients, rates, 0.5, None, dtype=torch.float32, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("max_norm", [None, 0.5])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e200])
def test_gradients_that_are_not_finite_do_the_same(bad, max_norm):
    """Also one whose square is infinite; its member alone is spoilt, and the norm says so."""
    gradients = torch.ones(3, 2, 4, dtype=torch.float64)
    gradients[1, 1, 2] = bad
    if bad != 1e200:  # there torch scales before it squares, and its norm is finite
        same_history(gradients, 0.1, max_norm)
    for norm, data, *_ in history(gradients, 0.1, max_norm, compiled=True):
        assert bool(data[0].isfinite().all()) and bool(norm[0].isfinite())
    assert not bool(history(gradients, 0.1, max_norm, compiled=True)[1][0][1].isfinite())


def test_a_pause_is_a_pause_whatever_the_gradient():
    gradients = torch.full((1, 2, 3), float("nan"), dtype=torch.float64)
    before = Table(2, 3).w.detach()
    norm, data, first, second, count = history(gradients, 0.1, 0.5, torch.zeros(1, 2, 1), compiled=True)[0]
    assert torch.equal(data, before) and not bool(first.any() | second.any() | count.any()) and bool(norm.isnan().all())


def test_a_checkpoint_of_one_way_goes_on_the_other(monkeypatch):
    ours, theirs = Adam(FlatParameters([network()])), Adam(FlatParameters([network()]))
    for adam in (ours, theirs):
        adam.flat.grad.fill_(0.3)
        adam.step(0.01)
    theirs.load_state_dict(copy.deepcopy(ours.state_dict()))
    ours.step(0.01)
    monkeypatch.setattr(optimizer, "_compiled", lambda: None)
    theirs.step(0.01)
    torch.testing.assert_close(ours.flat.data, theirs.flat.data, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_other_types_take_torch(dtype):
    adam = Adam(FlatParameters([Table(1, 3, dtype)], members=1))
    before = adam.flat.data.clone()
    adam.flat.grad.fill_(1.0)
    assert adam.step(0.1).tolist() == [[pytest.approx(3**0.5, rel=0.01)]]
    torch.testing.assert_close(adam.flat.data, before - 0.1, rtol=0.02, atol=0.02)


def test_many_parameters_take_torch(monkeypatch):
    def refused():
        raise AssertionError("loops on one core")

    monkeypatch.setattr(optimizer, "_compiled", refused)
    monkeypatch.setattr(optimizer, "SMALL", 9)
    for count, refuses in ((9, True), (10, False)):
        adam = Adam(FlatParameters([Table(1, count)], members=1))
        adam.flat.grad.fill_(1.0)
        with pytest.raises(AssertionError, match="one core") if refuses else contextlib.nullcontext():
            adam.step(0.1)


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
