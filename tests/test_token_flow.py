"""The integrator of live figures: against the adaptive one, in every regime, and on the page."""

import math

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lib import token_dynamics
from tests.replays import recorded, replays

START = [1.0, -0.7, 0.4, -1.3, 0.9]
SIZES = st.floats(0.1, 2.0)
SIGNED = st.one_of(SIZES, SIZES.map(lambda size: -size))


@given(
    st.lists(SIGNED, min_size=1, max_size=5),
    st.one_of(st.floats(-2, -0.1), st.floats(0.1, 2)),
    st.one_of(st.floats(-2, -0.2), st.floats(0.2, 2)),
    st.floats(0.1, 3),
)
@example([0.125], 1.0, -0.25, 1.0)
@settings(max_examples=30, deadline=None)
def test_fixed_steps_agree_with_the_adaptive_integrator(x0, mu, s, a):
    # Fourth order: a sharp turn that is off by half a percent in 160 steps is off by a sixteenth of that in 320.
    path = token_dynamics.follow_tokens(x0, mu, s, a, steps=320, length=42.0)
    if token_dynamics.dynamics_regime(mu, s, x0) == "fast":
        end = token_dynamics.first_blow_up(x0, mu, s, a)
        assert float(path.times[-1]) == pytest.approx(end.time, rel=1e-3)
        return
    seen = (path.times > 0) & (path.times < 1e8)
    at = seen.nonzero()[::24, 0]
    exact = token_dynamics.integrate_tokens(x0, mu, s, a, path.times[at])
    torch.testing.assert_close(path.tokens[at], exact, rtol=2e-3, atol=0)
    assert float(path.times[-1]) > 1e7


def test_order_of_the_fixed_steps_is_four():
    exact = token_dynamics.first_blow_up(START, 1.0, 0.8, 1.0, size=1e4).time
    errors = [
        abs(float(token_dynamics.follow_tokens(START, 1.0, 0.8, 1.0, steps, 40.0).times[-1]) - exact)
        for steps in (100, 200)
    ]
    assert errors[1] < errors[0] / 12


@given(st.lists(SIGNED, min_size=2, max_size=5), st.floats(-2, 2), st.floats(-2, 2), st.floats(0.1, 3))
@settings(max_examples=30, deadline=None)
def test_the_path_keeps_signs_is_monotone_and_causal(x0, mu, s, a):
    path = token_dynamics.follow_tokens(x0, mu, s, a, steps=60, length=30.0)
    assert (torch.sign(path.tokens) == torch.sign(torch.tensor(x0, dtype=torch.float64))).all()
    sizes = path.tokens.abs().diff(dim=0)
    assert (sizes >= 0).all() if mu >= 0 else (sizes <= 0).all()
    assert (path.times.diff() >= 0).all()
    # Tokens do not see later ones: the same tokens at the same times, whatever follows.
    if mu < 0:
        times = [0.5, 50.0]
        whole = token_dynamics.integrate_tokens(x0, mu, s, a, times)
        part = token_dynamics.integrate_tokens(x0[:-1], mu, s, a, times)
        torch.testing.assert_close(whole[:, :-1], part, rtol=1e-8, atol=0)


def test_many_systems_at_once():
    mu = torch.tensor([[-1.0], [0.0], [1.0]], dtype=torch.float64)
    s = torch.tensor([-0.5, 0.8], dtype=torch.float64)
    together = token_dynamics.follow_tokens(START, mu, s, 1.2, steps=20)
    assert together.tokens.shape == (3, 2, 21, 5)
    for i in range(3):
        for j in range(2):
            one = token_dynamics.follow_tokens(START, mu[i, 0], s[j], 1.2, steps=20)
            torch.testing.assert_close(together.times[i, j], one.times)
            torch.testing.assert_close(together.tokens[i, j], one.tokens)
    assert torch.equal(together.tokens[1, 0, -1], torch.tensor(START, dtype=torch.float64))


def test_a_zero_token_stays():
    path = token_dynamics.follow_tokens([1.0, 0.0, -0.5], -1.0, 0.8, 1.0, steps=80, length=30.0)
    assert (path.tokens[:, 1] == 0).all()
    exact = token_dynamics.integrate_tokens([1.0, 0.0, -0.5], -1.0, 0.8, 1.0, path.times[-1:])
    torch.testing.assert_close(path.tokens[-1:], exact, rtol=1e-3, atol=0)


def test_gradient_of_the_blow_up_time():
    """Through the path and through the quadrature, against differences."""
    x0 = torch.tensor([1.0], dtype=torch.float64, requires_grad=True)
    path = token_dynamics.follow_tokens(x0, 1.0, 1.0, 1.0, steps=200)
    (through_path,) = torch.autograd.grad(path.times[-1], x0)
    (through_integral,) = torch.autograd.grad(token_dynamics.blow_up_time(x0, 1.0, 1.0).sum(), x0)
    exact = -1 / math.log1p(math.e)  # dT/dx0 is minus one over the first velocity
    assert float(through_integral) == pytest.approx(exact, rel=1e-12)
    assert float(through_path) == pytest.approx(exact, rel=1e-3)


def test_the_page_follows_tokens_as_torch_does():
    def figure(mu, s, a, start):
        x0 = torch.cat([start[None], torch.tensor(START[1:], dtype=torch.float64)])
        path = token_dynamics.follow_tokens(x0, mu, s, a, steps=40, length=40.0)
        ends = token_dynamics.blow_up_time(x0, mu, s)
        return path.times, path.tokens, torch.where(ends < 1e9, ends, 0)

    program = recorded(figure, {"mu": -1.0, "s": 0.8, "a": 1.0, "start": 1.0})
    settings = [
        {"mu": mu, "s": s, "a": a, "start": start}
        for mu, s, a, start in [
            (1.0, 0.8, 1.0, 1.0),
            (2.0, -2.0, 0.1, 0.0),
            (-2.0, 0.0, 3.0, -2.0),
            (0.0, 1.0, 1.0, 1.0),
        ]
    ]
    for got, wanted in replays(program, figure, settings):
        torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-12)
